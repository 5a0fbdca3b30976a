//! Surveys of real directories.

use std::fs;
use std::net::Ipv4Addr;

use rollcall_core::data::journal::record::Entry;
use rollcall_core::data::journal::segment::{BLOCK_BYTES, Header, SegmentWriter};
use rollcall_core::names::{DataInfoId, Name, RegisterId};
use rollcall_core::publisher::{Holder, Order, Publisher};
use tempfile::TempDir;

use super::*;

const KEY: u64 = 77;

/// A data directory with the journal of an era.
struct Directory {
    place: TempDir,
    era: u64,
}

impl Directory {
    fn new(era: u64, cores: u16) -> Self {
        let directory = Self {
            place: tempfile::tempdir().expect("a temporary directory"),
            era,
        };
        for core in 0..cores {
            fs::create_dir_all(directory.shard(core)).expect("a directory");
        }
        directory.write(
            &directory.journal().join(CURRENT),
            &Current { era, cores }.encode(),
        );
        directory
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn journal(&self) -> PathBuf {
        self.path().join(JOURNAL)
    }

    fn shard(&self, core: u16) -> PathBuf {
        self.journal()
            .join(self.era.to_string())
            .join(core.to_string())
    }

    fn segment(&self, core: u16, number: u64) -> PathBuf {
        self.shard(core).join(File::Segment(number).to_string())
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("written");
    }

    fn manifest(&self, core: u16, segments: &[u64]) {
        let path = self.shard(core).join(File::Manifest.to_string());
        self.write(&path, &manifest(segments).encode());
    }

    /// Writes a segment with the publishers of these numbers, then others gone, then, in a batch of its own, a ceiling.
    fn fill(
        &self,
        core: u16,
        number: u64,
        put: std::ops::Range<u64>,
        removed: std::ops::Range<u64>,
    ) {
        let header = Header {
            cluster: 9,
            shard: core,
            segment: number,
            salt: manifest(&[]).salt(number),
            boot_id: [1; 16],
        };
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&header, &mut bytes);
        for number in put {
            let (service, publisher) = (service(number), publisher(number));
            let version = DatumVersion::new(100 + number);
            writer.append(&Entry::put(&service, &publisher, version), &mut bytes);
        }
        for number in removed {
            let (service, publisher) = (service(number), publisher(number));
            let version = DatumVersion::new(200 + number);
            let entry = Entry::removed(&service, &publisher.register_id, version);
            writer.append(&entry, &mut bytes);
        }
        writer.close(&mut bytes);
        let version = DatumVersion::new(5_000 + number);
        writer.append(&Entry::Ceiling { version }, &mut bytes);
        writer.close(&mut bytes);
        self.write(&self.segment(core, number), &bytes);
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).expect("a file");
        change(&mut bytes);
        self.write(path, &bytes);
    }

    fn survey(&self) -> Survey {
        survey(self.path()).expect("a journal")
    }
}

fn manifest(segments: &[u64]) -> Manifest {
    Manifest {
        key: KEY,
        segments: segments.to_vec(),
        is_last_to_begin: segments.contains(&7),
        next_segment: 100,
    }
}

/// Two publishers each.
fn service(number: u64) -> DataInfoId {
    DataInfoId::new(&format!("com.example.Service{}", number / 2), "", "SOFA")
}

fn publisher(number: u64) -> Publisher {
    // No two are alike.
    let letter = |place| b'a' + ((number + 1) * (place + 7) % 26) as u8;
    let text: String = (0_u64..200)
        .map(|place| char::from(letter(place)))
        .collect();
    Publisher {
        register_id: RegisterId::new(&format!("publisher {number}")),
        holder: Holder::NOBODY,
        order: Order {
            version: 1,
            stamp: 0,
            timestamp: 1,
        },
        zone: Name::from("DEFAULT_ZONE"),
        app: Name::from("test"),
        address: (Ipv4Addr::LOCALHOST, 12_200).into(),
        registered_ms: 1,
        boxes: [text.as_str()].into_iter().collect(),
    }
}

/// A journal of two cores: the first has two segments and a stray one, the second one of several blocks.
fn usual() -> Directory {
    let directory = Directory::new(3, 2);
    directory.fill(0, 4, 0..10, 0..4);
    directory.fill(0, 6, 10..12, 0..0);
    directory.fill(0, 5, 50..60, 0..0);
    directory.manifest(0, &[4, 6, 7]);
    directory.fill(1, 1, 100..500, 0..0);
    directory.manifest(1, &[1]);
    directory
}

#[test]
fn a_sound_journal_is_told_in_numbers() {
    let directory = usual();
    let len = |core, number| {
        fs::metadata(directory.segment(core, number))
            .expect("a file")
            .len()
    };

    let survey = directory.survey();

    assert_eq!(survey.damages(), 0);
    let [first, second] = &survey.shards[..] else {
        panic!("{survey:?}");
    };
    // Of six services two have lost both publishers.
    assert_eq!((first.publishers, first.services), (8, 4));
    assert_eq!((second.publishers, second.services), (400, 200));
    assert_eq!(first.ceiling, Some(DatumVersion::new(5_006)));
    let all = len(0, 4) + len(0, 5) + len(0, 6);
    assert!(first.live_bytes < len(0, 4), "{survey}");
    let text = survey.to_string();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let told: Vec<_> = text.lines().map(words).collect();
    let (live, dead) = (first.live_bytes, all - first.live_bytes);
    for line in [
        &format!(
            "{}: era 3 of 2 cores, cluster 0000000000000009",
            survey.path.display()
        ),
        "core segment bytes records damaged end",
        &format!("0 4 {} 15 0 whole", len(0, 4)),
        &format!("0 6 {} 3 0 whole", len(0, 6)),
        "0 7 0 0 0 not begun",
        &format!("0 5 {} 0 0 stray: in no manifest, not read", len(0, 5)),
        &format!("1 1 {} 401 0 whole", len(1, 1)),
        "core bytes live dead publishers services ceiling",
        &format!("0 {all} {live} {dead} 8 4 5006"),
        "No damage.",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}\n\n{text}");
    }
}

#[test]
fn a_torn_tail_is_told_and_is_no_damage() {
    let directory = usual();
    let path = directory.segment(0, 6);
    let whole = fs::metadata(&path).expect("a file").len();
    directory.change(&path, |bytes| bytes.truncate(bytes.len() - 3));

    let survey = directory.survey();

    assert_eq!(survey.damages(), 0);
    let torn = format!("torn at {}", whole - 12);
    assert!(survey.to_string().contains(&torn), "{torn}\n{survey}");
    assert!(survey.to_string().contains("it is no damage"));
}

#[test]
fn damage_is_told_with_file_and_place() {
    let directory = usual();
    let path = directory.segment(1, 1);
    directory.change(&path, |bytes| bytes[BLOCK_BYTES + 1_000] ^= 1);

    let survey = directory.survey();

    assert_eq!(survey.damages(), 1);
    let [(from, to)] = survey
        .faults
        .iter()
        .filter_map(|fault| fault.place)
        .collect::<Vec<_>>()[..]
    else {
        panic!("{survey}");
    };
    let hit = BLOCK_BYTES as u64 + 1_000;
    assert!(
        from <= hit && hit < to && to - from <= 2 * BLOCK_BYTES as u64,
        "{survey}"
    );
    let line = format!(
        "  {}: bytes {from} to {to}: a checksum is wrong",
        path.display()
    );
    assert!(
        survey
            .to_string()
            .ends_with(&format!("Damage in 1 place:\n{line}\n")),
        "{survey}"
    );
    assert!(
        (250..400).contains(&survey.shards[1].publishers),
        "{survey}"
    );
}

#[test]
fn a_damaged_header_costs_nothing_while_the_manifest_is_sound() {
    let directory = usual();
    directory.change(&directory.segment(0, 4), |bytes| bytes[..56].fill(0));

    let survey = directory.survey();

    assert_eq!(survey.damages(), 1);
    assert_eq!(survey.shards[0].publishers, 8);
}

#[test]
fn without_a_sound_manifest_all_segments_are_read() {
    let directory = usual();
    let path = directory.shard(0).join(File::Manifest.to_string());
    directory.change(&path, |bytes| bytes[12] ^= 1);

    let survey = directory.survey();

    assert_eq!(survey.damages(), 1);
    assert_eq!(survey.shards[0].publishers, 18);
    assert!(survey.to_string().contains("manifest: damaged"), "{survey}");
}

#[test]
fn without_a_sound_word_on_the_era_the_last_is_read() {
    for spoil in [
        |path: &Path| fs::write(path, b"x"),
        |path: &Path| fs::remove_file(path),
    ] {
        let directory = usual();
        spoil(&directory.journal().join(CURRENT)).expect("spoilt");

        let survey = directory.survey();

        assert_eq!(survey.damages(), 1);
        assert_eq!(survey.current, Current { era: 3, cores: 2 });
        assert_eq!(survey.shards[1].publishers, 400);
    }
}

#[test]
fn a_segment_that_was_begun_and_is_not_there_is_told() {
    let directory = usual();
    fs::remove_file(directory.segment(0, 4)).expect("it was there");
    directory.change(&directory.segment(1, 1), Vec::clear);

    let survey = directory.survey();

    assert_eq!(survey.damages(), 2);
    let said = survey.to_string();
    assert!(
        said.contains("0000000004.segment: empty or missing"),
        "{said}"
    );
    assert!(
        said.contains("0000000001.segment: empty or missing"),
        "{said}"
    );
}

#[test]
fn the_mark_of_a_gap_is_told() {
    let directory = usual();
    directory.write(&directory.shard(1).join("gap"), b"");

    let survey = directory.survey();

    assert_eq!(survey.damages(), 1);
    assert!(
        survey.to_string().contains("gap: the disk failed"),
        "{survey}"
    );
}

#[test]
fn what_is_of_another_cluster_or_place_is_not_read() {
    let directory = usual();
    fs::copy(directory.segment(1, 1), directory.segment(0, 6)).expect("copied");

    let survey = directory.survey();

    assert_eq!(survey.damages(), 1);
    let told = survey.to_string();
    assert!(
        told.contains("written as segment 1 of core 1, in another place"),
        "{told}"
    );
    assert_eq!(survey.shards[0].publishers, 6);
}

#[test]
fn a_directory_without_a_journal_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");

    let refused = survey(place.path()).expect_err("nothing is there");

    assert!(matches!(refused, JournalError::Nothing(_)));
    assert!(
        refused
            .to_string()
            .contains("give the data directory of a node"),
        "{refused}"
    );
}
