//! What lies in the data directory: who may use it, what damage costs, and what an orderly end leaves.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollcall_core::data::journal::File;
use rollcall_core::data::journal::manifest::{Current, Manifest};
use rollcall_core::data::journal::record::{Entry, Record};
use rollcall_core::data::journal::segment::{
    BLOCK_BYTES, Expected, Header, Scanned, Scanner, SegmentWriter, Tail,
};
use rollcall_core::names::{
    DEFAULT_GROUP, DEFAULT_INSTANCE_ID, DEFAULT_ZONE, DataInfoId, RegisterId,
};
use rollcall_core::publisher::{Holder, Order, Publisher};
use rollcall_core::version::DatumVersion;
use rollcall_tests::{Options, Random, Rollcall, Text};

const DAMAGED: &str = "journal damaged, what is sound is kept";
const TORN: &str = "journal ends in the middle of a write, the rest is cut";
const HOUR_MS: u64 = 3_600_000;
/// What the journal may take beyond three times what it holds.
const DISK_SLACK_BYTES: u64 = 64 << 20;

/// A segment that counts.
struct Segment {
    path: PathBuf,
    expected: Expected,
}

/// All segments that count, shard by shard, each shard's in the order in which they were begun.
fn segments(data_dir: &Path) -> Vec<Vec<Segment>> {
    let journal = data_dir.join("journal");
    let current = fs::read(journal.join("current")).expect("the era that counts");
    let Current { era, cores } = Current::decode(&current).expect("a sound one");
    (0..cores)
        .map(|shard| segments_of(&journal.join(format!("{era}/{shard}")), shard))
        .collect()
}

fn segments_of(folder: &Path, shard: u16) -> Vec<Segment> {
    let manifest = fs::read(folder.join(File::Manifest.to_string())).expect("a manifest");
    let manifest = Manifest::decode(&manifest).expect("a sound one");
    let segments = manifest.segments.iter().map(|&segment| Segment {
        path: folder.join(File::Segment(segment).to_string()),
        expected: Expected {
            cluster: None,
            shard,
            segment,
            salt: Some(manifest.salt(segment)),
        },
    });
    segments.collect()
}

impl Segment {
    /// Reads it: where the batch of each record begins, and the service it puts a publisher to.
    fn puts(&self) -> (Vec<(u64, Option<String>)>, Tail) {
        let mut scanner = Scanner::new(self.expected.clone());
        let mut records = Vec::new();
        let bytes = fs::read(&self.path).expect("a segment that the manifest names");
        let found = |scanned: Scanned<'_>| match scanned {
            Scanned::Record {
                offset,
                record: Record::Put { service, .. },
            } => {
                records.push((offset, Some(service.data_id.to_owned())));
            }
            Scanned::Record { offset, .. } => records.push((offset, None)),
            damage @ Scanned::Damage { .. } => panic!("{}: {damage:?}", self.path.display()),
        };
        scanner
            .scan(&bytes, found)
            .expect("a segment of this shard");
        (records, scanner.finish())
    }

    /// The services of the publishers whose records are in batches that have a byte there.
    fn services_between(&self, from: u64, to: u64) -> BTreeSet<String> {
        let records = self.puts().0;
        let begins: BTreeSet<_> = records.iter().map(|(begin, _)| *begin).collect();
        let end_of = |begin: u64| {
            let next = begins.range(begin + 1..).next();
            next.copied().unwrap_or_else(|| self.len())
        };
        let touched = records
            .iter()
            .filter(|(begin, _)| *begin < to && end_of(*begin) > from);
        touched.filter_map(|(_, service)| service.clone()).collect()
    }

    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path);
    let written = file.and_then(|file| file.write_all_at(bytes, at));
    written.expect("nobody else has it open");
}

/// The bytes of all files in a folder and those below it; some may go meanwhile.
fn bytes_below(path: &Path) -> u64 {
    let entries = fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    });
    bytes.sum()
}

fn services(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("service {number}"))
        .collect()
}

on_one_and_two_cores! {
    fn a_second_node_on_the_same_directory_is_refused_with_the_pid_of_the_first(cores: usize) {
        let mut node = Rollcall::start(cores);
        let other = rollcall_tests::program::Addresses::free();

        let refused = Options::cores(cores).command(&other, node.data_dir()).output().expect("the server's binary runs");

        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(69), "{said}");
        let line = said.lines().find(|line| line.starts_with("rollcall: ")).unwrap_or_else(|| panic!("no reason: {said}"));
        assert!(line.contains(&format!("process {}", node.pid())), "{line}");
        assert!(line.contains(&node.data_dir().display().to_string()), "{line}");

        // The first has not noticed, and leaves nothing locked, however it ends.
        node.client().heartbeat();
        node.kill();
        node.restart();
        assert_eq!(node.stop().code(), Some(0));
        node.restart();
    }

    fn an_orderly_stop_seals_the_journal_with_everybody_in_it(cores: usize) {
        let mut node = Rollcall::with(Options::cores(cores).set("session.drain_ms", 300));
        let services = services(50);
        let mut publisher = node.client();
        publisher.publish_all(&services, "a", 1, "a");
        let mut observer = node.client();
        observer.subscribe_all(&services);
        let held = observer.lists_until(&services, &["a"]);

        // The second stop comes before anybody is back.
        for _ in 0..2 {
            assert_eq!(node.stop().code(), Some(0));

            for shard in segments(node.data_dir()) {
                let tail = shard.last().expect("a live segment").puts().1;
                assert_eq!(tail, Tail::Sealed);
            }
            node.restart();
        }

        let mut observer = node.client();
        observer.subscribe_all(&services);
        let mut lists = observer.lists_until(&services, &["a"]);
        assert_eq!(lists.len(), held.len(), "{lists:#?}");
        lists.sort_by_key(|list| list.data_id.clone());
        let mut held = held;
        held.sort_by_key(|list| list.data_id.clone());
        assert_eq!(lists, held, "the same under the same versions");
        assert_eq!(node.logged(TORN).len() + node.logged(DAMAGED).len(), 0);
    }

    fn damage_and_a_torn_tail_cost_their_block_and_are_told(cores: usize) {
        let mut node = Rollcall::start(cores);
        let services = services(4_000);
        let value = "x".repeat(300);
        let mut publisher = node.client();
        publisher.publish_all(&services, "a", 1, &value);
        let mut observer = node.client();
        observer.subscribe_all(&services);
        observer.lists_until(&services, &[&value]);
        node.kill();
        drop(publisher);
        let segments = segments(node.data_dir()).into_iter().flatten();
        let segment = segments.max_by_key(Segment::len).expect("there is one");
        let len = segment.len();
        let damaged_at = BLOCK_BYTES as u64 * 3 / 2;
        let block_end = BLOCK_BYTES as u64 * 2;
        let lost = segment.services_between(damaged_at, block_end);
        overwrite(&segment.path, damaged_at, &[0x5a; 16]);
        // The head of a fragment that says it is longer than what there is of it.
        let mut begun = vec![0, 0, 0, 0, 200, 0, 1];
        begun.resize(100, 0x5a);
        overwrite(&segment.path, len, &begun);

        node.restart();

        let [damage] = &node.logged(DAMAGED)[..] else { panic!("{:#?}", node.log()) };
        let [torn] = &node.logged(TORN)[..] else { panic!("{:#?}", node.log()) };
        for line in [damage, torn] {
            assert_eq!(line["file"], segment.path.display().to_string(), "{line}");
        }
        let [from, to, offset] = [(damage, "from"), (damage, "to"), (torn, "offset")].map(|(line, key)| line[key].as_u64());
        assert!(from.is_some_and(|from| from <= damaged_at), "{damage}");
        // It ends with the block, or with the batch that goes on in the next.
        assert!(to.is_some_and(|to| (block_end..block_end + 1_000).contains(&to)), "{damage}");
        assert_eq!(offset, Some(len), "{torn}");
        assert_eq!(node.metric("rollcall_journal_damages_total"), 1);
        let (gone, sound): (Vec<_>, Vec<_>) = services.iter().cloned().partition(|service| lost.contains(service));
        assert!(!gone.is_empty() && gone.len() < services.len() / 4, "{gone:?}");
        let mut observer = node.client();
        observer.subscribe_all(&services);
        for list in observer.lists_until(&sound, &[&value]) {
            let is_lost = lost.contains(&list.data_id.to_string()) && list.zones.is_empty();
            assert!(is_lost || list.strings() == [Text::from(value.as_str())], "{list:#?}");
        }

        // Who was lost is there again with its client, and nothing is read twice.
        let mut publisher = node.client();
        publisher.publish_all(&services, "a", 1, &value);
        observer.lists_until(&gone, &[&value]);
        node.kill();
        node.restart();
        assert_eq!(node.metric("rollcall_journal_damages_total"), 0);
        assert_eq!(node.logged(DAMAGED).len(), 1, "only the first start told of it");
        let mut observer = node.client();
        observer.subscribe_all(&services);
        assert_eq!(observer.lists_until(&services, &[&value]).len(), services.len());
    }

    fn a_damaged_manifest_header_or_word_on_the_era_costs_nobody(cores: usize) {
        let mut node = Rollcall::start(cores);
        let services = services(50);
        let mut publisher = node.client();
        publisher.publish_all(&services, "a", 1, "a");
        let mut observer = node.client();
        observer.subscribe_all(&services);
        observer.lists_until(&services, &["a"]);
        node.kill();
        drop(publisher);

        for round in 0..3 {
            // The last may not be begun: once all is whole again, a snapshot is on its way.
            for segment in segments(node.data_dir()).into_iter().flatten().filter(|it| it.path.exists()) {
                match round {
                    0 => overwrite(&segment.path.with_file_name(File::Manifest.to_string()), 12, &[0x5a]),
                    1 => overwrite(&segment.path, 12, &[0x5a]),
                    _ => overwrite(&node.data_dir().join("journal/current"), 12, &[0x5a]),
                }
            }
            node.restart();

            let mut observer = node.client();
            observer.subscribe_all(&services);
            assert_eq!(observer.lists_until(&services, &["a"]).len(), services.len());
            node.kill();
        }
        assert!(!node.logged(DAMAGED).is_empty());
        node.restart();
        assert_eq!(node.metric("rollcall_journal_damages_total"), 0);
    }

    fn what_is_gone_from_a_data_directory_is_told_and_what_is_left_is_served(cores: usize) {
        let mut node = Rollcall::start(cores);
        let services = services(50);
        node.client().publish_all(&services, "a", 1, "gone with its client");
        let mut publisher = node.client();
        publisher.publish_all(&services, "b", 1, "b");
        let mut observer = node.client();
        observer.subscribe_all(&services);
        observer.lists_until(&services, &["b"]);
        node.kill();
        drop(publisher);
        let shard = node.data_dir().join("journal/0/0");
        fs::write(shard.join("manifest"), b"").expect("a folder of ours");
        fs::remove_file(node.data_dir().join("operators.redb")).expect("it was there");

        node.restart();

        assert_eq!(node.logged("every segment that is there is read").len(), 1);
        assert_eq!(node.metric("rollcall_journal_damages_total"), 1);
        assert_eq!(node.metric("rollcall_journal_gaps"), 1);
        assert_eq!(node.metric("rollcall_operators_lost"), 1);
        assert!(shard.join("manifest.damaged").exists());
        let mut observer = node.client();
        observer.subscribe_all(&services);
        assert_eq!(observer.lists_until(&services, &["b"]).len(), services.len());

        // All of a shard.
        node.kill();
        fs::remove_dir_all(&shard).expect("it was there");
        node.restart();
        assert_eq!(node.metric("rollcall_journal_gaps"), 1);
        assert_eq!(node.metric("rollcall_operators_lost"), 0, "there are new ones");
    }

    fn a_data_directory_is_for_its_user_only(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data_dir = folder.path().join("data");
        let node = Rollcall::on(Options::cores(cores), &data_dir);
        node.client().publish_all(&["service".to_owned()], "a", 1, "a");

        let mut folders = vec![data_dir];
        while let Some(folder) = folders.pop() {
            let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
            for entry in fs::read_dir(&folder).expect("a folder of ours") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => assert_eq!(mode(&path), 0o600, "{}", path.display()),
                }
            }
        }
    }

    fn a_crash_while_the_log_is_replaced_by_a_snapshot_costs_nobody(cores: usize) {
        let seed = Random::seed();
        println!("ROLLCALL_CRASH_SEED={seed}");
        let mut random = Random::new(seed);
        let mut node = Rollcall::start(cores);
        let services = services(20);
        let padding = "x".repeat(100_000);
        let mut snapshots = 0;
        let mut round = 0;
        for _ in 0..4 {
            let mut publisher = node.client();
            let mut observer = node.client();
            observer.subscribe_all(&services);
            let mut value;
            let mut disk = 0;
            // The log grows until it is replaced.
            loop {
                round += 1;
                value = format!("{round} {padding}");
                publisher.publish_all(&services, "a", round, &value);
                let before = std::mem::replace(&mut disk, bytes_below(&node.data_dir().join("journal")));
                let live = value.len() * services.len();
                assert!(disk <= 3 * live as u64 + DISK_SLACK_BYTES, "{disk} bytes for {live}");
                if disk < before || disk > 40 << 20 {
                    break;
                }
            }
            observer.lists_until(&services, &[&value]);
            random.pause(Duration::from_millis(60));

            node.kill();
            snapshots += segments(node.data_dir()).iter().filter(|shard| shard.iter().all(|it| it.expected.segment > 0)).count();
            node.restart();

            let mut observer = node.client();
            observer.subscribe_all(&services);
            assert_eq!(observer.lists_until(&services, &[&value]).len(), services.len());
        }
        assert!(snapshots > 0, "no log was replaced");
        assert_eq!(node.logged(DAMAGED).len(), 0);
    }

    fn versions_are_above_all_reserved_ones_though_the_clock_was_set_back_an_hour(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let version = by_clock(HOUR_MS);
        let ceiling = by_clock(HOUR_MS + 60_000);
        write_journal(folder.path(), boot_id(), version, ceiling);
        let mut node = Rollcall::on(Options::cores(cores), folder.path());
        let mut observer = node.client();
        observer.subscribe_all(&["old".to_owned(), "new".to_owned()]);

        let old = observer.list_until(|list| list.data_id == "old");
        assert_eq!((old.version, old.strings()), (version.wire(), vec!["before".into()]), "as it was, and at once");

        let mut last = ceiling.wire();
        for round in 2..=4 {
            let mut publisher = node.client();
            for service in ["old", "new"] {
                let value = format!("round {round}");
                publisher.publish_all(&[service.to_owned()], "a", round, &value);
                let list = observer.list_of(&[&value]);
                assert!(list.version > last, "{service} has {} after {last}", list.version);
                last = list.version;
            }
            node.kill();
            node.restart();
            observer = node.client();
            observer.subscribe_all(&["old".to_owned(), "new".to_owned()]);
        }
    }

    fn a_list_is_held_after_a_loss_of_power_until_its_publishers_are_back(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (version, ceiling) = (by_clock(0), by_clock(60_000));
        write_journal(folder.path(), [7; 16], version, ceiling);
        let node = Rollcall::on(Options::cores(cores), folder.path());
        let services = ["old".to_owned()];
        let mut observer = node.client();
        observer.subscribe_all(&services);
        // What was pushed by now would be heard before this answer, also from another core.
        assert_eq!(node.metric("rollcall_publishers_awaiting"), 1);
        observer.heartbeat();
        assert_eq!(observer.lists_heard(), [], "the disk may hold less than subscribers do");

        node.client().publish_all(&services, "a", 2, "after");

        let list = observer.list();
        assert_eq!(list.strings(), ["after"]);
        assert!(list.version > ceiling.wire(), "whatever was shown last was not above {ceiling:?}");
    }

    fn a_life_without_a_journal_leaves_none_that_is_outdated(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_journal(folder.path(), boot_id(), by_clock(0), by_clock(60_000));
        // Not even what is damaged in it keeps the node from starting.
        fs::write(folder.path().join("journal/current"), b"damaged").expect("a folder of ours");
        let mut node = Rollcall::on(Options::cores(cores).set("data.journal", "off"), folder.path());
        assert!(!folder.path().join("journal").exists());
        assert_eq!(node.stop().code(), Some(0));

        let node = Rollcall::on(Options::cores(cores), folder.path());

        assert_eq!(node.metric("rollcall_publishers_awaiting"), 0);
        let mut observer = node.client();
        observer.subscribe_all(&["old".to_owned()]);
        assert_eq!(observer.list().strings(), [""; 0], "that client may be long gone");
    }

    fn a_segment_that_was_never_begun_is_no_trouble(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let version = by_clock(0);
        write_journal(folder.path(), boot_id(), version, by_clock(60_000));
        let manifest = folder.path().join("journal/0/0").join(File::Manifest.to_string());
        // Killed when the manifest named the next segment, and nothing of that was written.
        let next = Manifest { key: 1, segments: vec![0, 1], is_last_to_begin: true, next_segment: 2 };
        fs::write(manifest, next.encode()).expect("a folder of ours");

        let node = Rollcall::on(Options::cores(cores), folder.path());

        let mut observer = node.client();
        observer.subscribe_all(&["old".to_owned()]);
        assert_eq!(observer.list().strings(), ["before"]);
        let mut publisher = node.client();
        publisher.publish_all(&["new".to_owned()], "a", 1, "new");
        observer.subscribe_all(&["new".to_owned()]);
        observer.list_of(&["new"]);
        // A disk may be slow at any time; that file cannot be.
        let mut log = node.log().into_iter();
        assert_eq!(log.find(|line| line.contains("0000000001.segment")), None);
    }

    fn a_list_is_held_for_ten_seconds_at_most(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ceiling = by_clock(60_000);
        write_journal(folder.path(), [7; 16], by_clock(0), ceiling);
        let began = Instant::now();
        let node = Rollcall::on(Options::cores(cores), folder.path());
        let mut observer = node.client();
        observer.subscribe_all(&["old".to_owned()]);

        let list = observer.list();

        let took = began.elapsed();
        assert!(took >= Duration::from_secs(10), "{took:?}");
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert_eq!(list.strings(), ["before"], "it is better than nothing");
        assert!(list.version > ceiling.wire(), "above whatever was shown last");
    }
}

/// The version that the clock gives when it is so much later.
fn by_clock(later_ms: u64) -> DatumVersion {
    // 2019-01-01 in Beijing.
    const EPOCH_MS: u64 = 1_546_272_000_000;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("this century");
    let now_ms = u64::try_from(now.as_millis()).expect("this century");
    DatumVersion::new((now_ms + later_ms - EPOCH_MS) << 15)
}

fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("every kernel says it");
    let id = u128::from_str_radix(&text.trim().replace('-', ""), 16).expect("hexadecimal digits");
    id.to_be_bytes()
}

/// What a killed node of one core leaves: one publisher of the service `old`, and the versions it had reserved.
fn write_journal(data_dir: &Path, boot_id: [u8; 16], version: DatumVersion, ceiling: DatumVersion) {
    let journal = data_dir.join("journal");
    let shard = journal.join("0/0");
    fs::create_dir_all(&shard).expect("a folder of ours");
    let manifest = Manifest {
        key: 1,
        segments: vec![0],
        is_last_to_begin: false,
        next_segment: 1,
    };
    let header = Header {
        cluster: 0,
        shard: 0,
        segment: 0,
        salt: manifest.salt(0),
        boot_id,
    };
    let publisher = Publisher {
        register_id: RegisterId::new("a of old"),
        holder: Holder::NOBODY,
        order: Order {
            version: 1,
            stamp: 0,
            timestamp: 1_790_000_000_000,
        },
        zone: DEFAULT_ZONE.into(),
        app: "raw".into(),
        address: ([127, 0, 0, 1], 1).into(),
        registered_ms: 1_790_000_000_000,
        boxes: ["before"].into_iter().collect(),
    };
    let service = DataInfoId::new("old", DEFAULT_INSTANCE_ID, DEFAULT_GROUP);
    let mut bytes = Vec::new();
    let mut writer = SegmentWriter::new(&header, &mut bytes);
    writer.append(&Entry::Ceiling { version: ceiling }, &mut bytes);
    writer.append(&Entry::put(&service, &publisher, version), &mut bytes);
    writer.close(&mut bytes);
    let current = Current { era: 0, cores: 1 };
    for (path, bytes) in [
        (shard.join(File::Segment(0).to_string()), bytes),
        (shard.join(File::Manifest.to_string()), manifest.encode()),
        (journal.join("current"), current.encode()),
    ] {
        fs::write(path, bytes).expect("a folder of ours");
    }
}
