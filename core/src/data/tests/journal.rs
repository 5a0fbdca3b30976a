//! A shard with a disk that a test rules: what it is told to do is done when the test says so.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;
use crate::clients::Clients;
use crate::data::Report;
use crate::data::journal::manifest::Manifest;
use crate::data::journal::replay::{Replay, Replayed};
use crate::data::journal::segment::{Expected, Scanned, Scanner, Tail};
use crate::data::journal::{Durability, Failure, File, Former, Lane, Life, Operation};
use crate::names::Interner;

/// What is in the kernel, and what is on the medium.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) kernel: BTreeMap<File, Vec<u8>>,
    pub(super) medium: BTreeMap<File, Vec<u8>>,
    pub(super) is_full: bool,
    /// Where it is full, there is not even room for an empty file.
    pub(super) is_strict: bool,
    pub(super) capacity: usize,
    synced_bytes: usize,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            kernel: BTreeMap::new(),
            medium: BTreeMap::new(),
            is_full: false,
            is_strict: false,
            capacity: usize::MAX,
            synced_bytes: 0,
        }
    }
}

impl Disk {
    fn perform(&mut self, operation: Operation) -> (Result<(), Failure>, Vec<u8>) {
        let is_small = matches!(&operation, Operation::Replace { bytes, .. } if bytes.is_empty());
        let is_full = match &operation {
            Operation::Remove { .. } | Operation::Sync { .. } => self.is_full,
            Operation::Write { bytes, .. } | Operation::Replace { bytes, .. } => {
                self.is_full || self.bytes() + bytes.len() > self.capacity
            }
        };
        let needs_none = match self.is_strict {
            true => matches!(operation, Operation::Remove { .. }),
            false => is_small || matches!(operation, Operation::Remove { .. }),
        };
        if is_full && !needs_none {
            let said = "no space left".to_owned();
            return (Err(Failure { is_full, said }), Vec::new());
        }
        match operation {
            Operation::Write { file, at, bytes } => {
                let content = self.kernel.entry(file).or_default();
                let at = usize::try_from(at).expect("small");
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
                return (Ok(()), bytes);
            }
            Operation::Sync { file } => {
                let content = self.kernel.get(&file).cloned().unwrap_or_default();
                let known = self.medium.get(&file).map_or(0, Vec::len);
                self.synced_bytes += content.len() - known;
                self.medium.insert(file, content);
            }
            Operation::Replace { file, bytes } => {
                self.kernel.insert(file, bytes.clone());
                self.medium.insert(file, bytes);
            }
            Operation::Remove { files } => {
                for file in files {
                    self.kernel.remove(&file);
                    self.medium.remove(&file);
                }
            }
        }
        (Ok(()), Vec::new())
    }

    fn bytes(&self) -> usize {
        self.kernel.values().map(Vec::len).sum()
    }
}

/// A shard whose disk works when `work` is called.
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) now: Now,
    pub(super) disk: Disk,
    asked: VecDeque<(Lane, Operation)>,
    said: Vec<ToSession>,
    pub(super) reports: Vec<Report>,
}

pub(super) const BOOT: [u8; 16] = [1; 16];
/// As many as make a shard's share of the disk small.
const SHARDS: u16 = 64;

impl Node {
    /// A node on an empty disk that is ready.
    pub(super) fn new() -> Self {
        Self::start(
            Disk::default(),
            now(),
            BOOT,
            Durability::Interval(Duration::from_secs(1)),
        )
    }

    /// Starts on what is on this disk.
    pub(super) fn start(disk: Disk, now: Now, boot_id: [u8; 16], durability: Durability) -> Self {
        let (former, replayed) = replay(&disk);
        let life = Life {
            durability,
            cluster: 0,
            shard: 0,
            shards: SHARDS,
            boot_id,
        };
        let floor = replayed.highest;
        let mut data = Data::new(Seed(1), floor, Journal::new(life, former, floor));
        data.recover(now.monotonic, limits::RETURN_GRACE, replayed.services);
        let mut node = Self {
            data,
            now,
            disk,
            asked: VecDeque::new(),
            said: Vec::new(),
            reports: Vec::new(),
        };
        while !node.data.journal().is_ready() {
            node.turn();
            let is_waiting = !node.asked.is_empty() || node.data.journal().is_ready();
            assert!(
                is_waiting,
                "it waits for nothing: {:?}",
                node.data.journal()
            );
            node.work();
        }
        node.settle();
        node
    }

    /// The process is killed, a moment after the last change: what the kernel has stays.
    pub(super) fn kill(mut self) -> Self {
        self.pass(limits::JOURNAL_GATHER_MAX);
        self.kill_at_once()
    }

    fn kill_at_once(self) -> Self {
        Self::start(
            self.disk,
            self.now,
            BOOT,
            Durability::Interval(Duration::from_secs(1)),
        )
    }

    /// The power is cut: what is on the medium stays.
    pub(super) fn cut_power(self) -> Self {
        let disk = Disk {
            kernel: self.disk.medium.clone(),
            ..self.disk
        };
        Self::start(
            disk,
            self.now,
            [2; 16],
            Durability::Interval(Duration::from_secs(1)),
        )
    }

    pub(super) fn handle(&mut self, event: Event) {
        let mut out = Vec::new();
        self.data.handle(self.now, event, &mut out);
        self.take(out);
    }

    pub(super) fn turn(&mut self) {
        let mut out = Vec::new();
        self.data.handle_timeout(self.now, &mut out);
        self.take(out);
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ToSession { message, .. } => self.said.push(message),
                Effect::Disk { lane, operation } => {
                    let is_busy = self.asked.iter().any(|(busy, _)| *busy == lane);
                    assert!(!is_busy, "two operations in {lane:?}");
                    self.asked.push_back((lane, operation));
                }
                Effect::Report(report) => self.reports.push(report),
            }
        }
    }

    /// The disk does what it was asked to.
    pub(super) fn work(&mut self) {
        (0..self.asked.len()).for_each(|_| self.work_once());
    }

    /// A turn, and one operation of the disk; false if nothing is due.
    pub(super) fn step(&mut self) -> bool {
        self.turn();
        let next = self.data.next_timeout();
        let is_due = !self.asked.is_empty() || next.is_some_and(|at| at <= self.now.monotonic);
        self.work_once();
        is_due
    }

    /// The disk does the next operation, if there is one.
    fn work_once(&mut self) {
        if let Some((lane, operation)) = self.asked.pop_front() {
            let (result, buffer) = self.disk.perform(operation);
            self.handle(Event::Disk {
                lane,
                result,
                buffer,
            });
        }
    }

    /// Turns and the disk's work until nothing is due.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.turn();
            self.work();
            let next = self.data.next_timeout();
            if self.asked.is_empty() && next.is_none_or(|at| at > self.now.monotonic) {
                return;
            }
        }
        panic!("it never rests: {:?}", self.data.journal());
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic + time;
        self.now.wall_ms += time.as_millis() as u64;
        self.settle();
    }

    pub(super) fn put(&mut self, service: &str, publisher: Publisher) {
        self.handle(Event::FromSession {
            session: SESSION,
            message: ToData::Put {
                data_info_id: id(service),
                publisher: Arc::new(publisher),
                token: Token(1),
            },
        });
    }

    pub(super) fn interest(&mut self, service: &str) {
        let have = DatumVersion::NOTHING_KNOWN;
        let data_info_id = id(service);
        self.handle(Event::FromSession {
            session: SESSION,
            message: ToData::Interest { data_info_id, have },
        });
    }

    pub(super) fn expel(&mut self, clients: Clients) {
        self.handle(Event::Expel(clients));
    }

    pub(super) fn remove(&mut self, service: &str, register_id: &str, removal: Removal) {
        self.handle(Event::FromSession {
            session: SESSION,
            message: ToData::Remove {
                data_info_id: id(service),
                register_id: RegisterId::new(register_id),
                removal: Box::new(removal),
                token: Token(2),
            },
        });
    }

    /// What was told of lists since this was asked last: version and how many publishers it speaks of.
    pub(super) fn told(&mut self) -> Vec<(DatumVersion, usize)> {
        let told = self.said.drain(..).filter_map(|said| match said {
            ToSession::Notice { to, changes, .. } => Some((to, changes.len())),
            ToSession::Snapshot {
                version,
                publishers,
                ..
            } => Some((version, publishers.len())),
            ToSession::Done { .. } | ToSession::Unchanged { .. } => None,
        });
        told.collect()
    }

    pub(super) fn version(&self, service: &str) -> DatumVersion {
        self.data.datum(&id(service)).expect("a datum").version()
    }

    pub(super) fn held(&self, service: &str) -> usize {
        let datum = self.data.datum(&id(service));
        datum.map_or(0, |datum| datum.publishers().len())
    }
}

pub(super) fn now() -> Now {
    Now {
        monotonic: Instant(1),
        wall_ms: 1_800_000_000_000,
    }
}

pub(super) fn replay(disk: &Disk) -> (Former, Replayed) {
    let mut replay = Replay::new(Seed(1));
    let mut names = Interner::new(Seed(1));
    let there = disk.kernel.keys().filter_map(|file| match *file {
        File::Segment(segment) => Some(segment),
        File::Manifest | File::Gap => None,
    });
    let manifest = disk.kernel.get(&File::Manifest);
    let is_lost = manifest.is_none() && there.clone().next().is_some();
    let manifest = match manifest {
        Some(bytes) => Manifest::decode(bytes).expect("replaced as a whole"),
        None => Manifest::made_up(there.collect(), None, 77),
    };
    let mut boot_id = None;
    let mut segments = Vec::new();
    for &segment in &manifest.segments {
        let Some(bytes) = disk.kernel.get(&File::Segment(segment)) else {
            segments.push((segment, 0));
            continue;
        };
        let mut scanner = Scanner::new(Expected {
            segment,
            salt: (!is_lost).then(|| manifest.salt(segment)),
            ..Expected::default()
        });
        let scanned = scanner.scan(bytes, |scanned| match scanned {
            Scanned::Record { record, .. } => replay.take(&record, &mut names, |_| true),
            other => panic!("nothing is damaged here: {other:?}"),
        });
        scanned.expect("a segment of this build");
        boot_id = scanner.header().map(|header| header.boot_id).or(boot_id);
        let tail = scanner.finish();
        assert!(matches!(tail, Tail::Whole | Tail::Sealed), "{tail:?}");
        segments.push((segment, bytes.len() as u64));
    }
    let replayed = replay.finish();
    let former = Former {
        segments,
        records: replayed.records,
        next_segment: manifest.next_segment,
        boot_id,
        key: manifest.key,
        needs_snapshot: is_lost,
        has_gap: is_lost || disk.kernel.contains_key(&File::Gap),
    };
    (former, replayed)
}

#[test]
fn an_answer_never_waits_for_the_journal_and_a_push_does() {
    let mut node = Node::new();
    node.interest("s");
    node.settle();
    node.told();

    node.put("s", publisher("a", 1, 1, "one"));
    node.turn();

    assert!(matches!(node.said[..], [ToSession::Done { .. }]));
    node.work();
    assert_eq!(node.told().len(), 1);
}

#[test]
fn what_changes_while_a_write_is_under_way_goes_with_the_next() {
    let mut node = Node::new();
    node.interest("s");
    node.settle();
    node.told();
    node.put("s", publisher("a", 1, 1, "one"));
    node.turn();

    for register_id in ["b", "c", "d"] {
        node.put("s", publisher(register_id, 1, 1, "more"));
        node.turn();
    }
    node.work();
    assert_eq!(
        node.told().iter().map(|told| told.1).collect::<Vec<_>>(),
        [1]
    );
    node.settle();

    assert_eq!(
        node.told().iter().map(|told| told.1).collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn who_asks_for_what_is_not_written_is_answered_when_it_is() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    node.turn();

    node.interest("s");
    node.turn();
    assert!(node.told().is_empty());
    node.settle();

    assert_eq!(node.told(), [(node.version("s"), 1)]);
}

#[test]
fn a_disk_that_is_slow_is_not_waited_for() {
    let mut node = Node::new();
    node.interest("s");
    node.settle();
    node.told();
    node.put("s", publisher("a", 1, 1, "one"));
    node.turn();
    assert_eq!(
        node.data.next_timeout(),
        Some(node.now.monotonic + limits::JOURNAL_WRITE_MAX)
    );

    node.now.monotonic = node.now.monotonic + limits::JOURNAL_WRITE_MAX;
    node.turn();

    assert_eq!(node.told().len(), 1);
    assert!(node.data.journal().trouble().is_some());
    assert_eq!(node.data.journal().failure(), None, "all of it counts");
    node.put("s", publisher("b", 1, 1, "two"));
    node.turn();
    assert_eq!(node.told().len(), 1, "nor is what follows");
    node.settle();
    node.pass(limits::JOURNAL_CALM);
    assert_eq!(node.data.journal().trouble(), None);
    assert!(matches!(
        node.reports[..],
        [Report::JournalDegraded(_), Report::JournalRecovered]
    ));
}

#[test]
fn a_disk_that_is_full_stops_nothing_and_when_it_has_room_all_is_there_again() {
    let mut node = Node::new();
    node.interest("s");
    node.put("s", publisher("a", 1, 1, "one"));
    node.settle();
    node.told();
    node.disk.is_full = true;
    for number in 0..10 {
        node.put("s", publisher(&format!("p{number}"), 1, 1, "here"));
        node.settle();
    }
    assert_eq!(node.told().iter().map(|told| told.1).sum::<usize>(), 10);
    assert_eq!(
        node.data.journal().trouble().as_deref(),
        Some("no space left")
    );
    node.pass(Duration::from_secs(100));
    // Killed now, it knows at least what it knew before.
    let early = Node::start(
        Disk {
            is_full: false,
            ..node.disk.clone()
        },
        node.now,
        BOOT,
        Durability::Always,
    );
    assert_eq!(early.held("s"), 1);

    node.disk.is_full = false;
    node.pass(limits::JOURNAL_RETRY_MAX);

    assert_eq!(node.data.journal().trouble(), None);
    assert_eq!(node.kill().held("s"), 11);
}

#[test]
fn a_log_is_replaced_by_what_is_left_of_it() {
    let mut node = Node::new();
    let text = "x".repeat(200);
    for round in 0..30 {
        for number in 0..1_000 {
            let publisher = publisher(&format!("p{number}"), 1, round, &format!("{text}{round}"));
            node.put(&format!("s{}", number % 10), publisher);
            if number % 100 == 0 {
                node.turn();
                node.work();
            }
        }
        node.settle();
        let bound = 3 * node.data.journal().live_bytes() + (64 << 20) / u64::from(SHARDS);
        assert!(
            (node.disk.bytes() as u64) < bound,
            "round {round}: {}",
            node.disk.bytes()
        );
    }
    let written = node.data.journal().written_bytes();
    assert!(
        (node.disk.bytes() as u64) < written / 2,
        "it was never replaced"
    );

    let node = node.kill();

    for service in 0..10 {
        assert_eq!(node.held(&format!("s{service}")), 100);
    }
    let datum = node.data.datum(&id("s3")).expect("a datum");
    assert!(
        datum
            .publishers()
            .iter()
            .all(|it| it.order.version == 1 && it.boxes.bytes().ends_with(b"29"))
    );
}

/// A shard whose ten publishers were on the medium once, and have changed so often since that a snapshot is due in place of a sync.
fn often_changed() -> Node {
    let mut node = Node::new();
    let text = "x".repeat(20_000);
    for round in 0..=LAST_ROUND {
        for number in 0..10 {
            let text = format!("{text}{round:02}");
            node.put("s", publisher(&format!("p{number}"), 1, round, &text));
        }
        if round == 0 {
            node.pass(SYNC_INTERVAL);
        }
    }
    node.turn();
    node.work_once();
    node
}

const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const LAST_ROUND: u32 = 27;

/// Publishers of the service that have the text of this round.
fn of_round(node: &Node, round: u32) -> usize {
    let text = format!("{round:02}");
    let listed = listed(node).into_iter();
    listed
        .filter(|(_, boxes)| boxes.bytes().ends_with(text.as_bytes()))
        .count()
}

#[test]
fn where_publishers_change_often_only_the_last_of_each_gets_to_the_medium() {
    let mut node = often_changed();
    let before = node.disk.synced_bytes;

    node.settle();

    let synced = node.disk.synced_bytes - before;
    let live = node.data.journal().live_bytes() as usize;
    assert!(synced < 2 * live, "{synced} bytes for {live}");
    let node = node.cut_power();
    assert_eq!(of_round(&node, LAST_ROUND), 10);
}

#[test]
fn a_snapshot_in_place_of_a_sync_loses_nothing_wherever_it_ends() {
    let mut steps = 0;
    loop {
        let after = |steps: usize| {
            let mut node = often_changed();
            let is_over = (0..steps).any(|_| !node.step());
            (node, is_over)
        };
        let (node, is_over) = after(steps);
        assert_eq!(
            of_round(&node.kill_at_once(), LAST_ROUND),
            10,
            "killed after {steps}"
        );
        assert_eq!(
            after(steps).0.cut_power().held("s"),
            10,
            "without power after {steps}"
        );
        let (mut node, _) = after(steps);
        node.handle(Event::Seal);
        while !node.data.journal().is_sealed() {
            assert!(node.step(), "it is never sealed after {steps}");
        }
        assert_eq!(
            of_round(&node.cut_power(), LAST_ROUND),
            10,
            "sealed after {steps}"
        );
        if is_over {
            break;
        }
        steps += 1;
    }
    assert!(steps > 5, "a snapshot has more steps than {steps}");
}

#[test]
fn changes_during_a_snapshot_win_over_it() {
    let mut node = Node::new();
    let text = "x".repeat(2_000);
    for number in 0..1_100 {
        node.put("s", publisher(&format!("p{number:04}"), 1, 1, &text));
    }
    // Half of the log is dead now.
    for number in 0..1_100 {
        node.put(
            "s",
            publisher(&format!("p{number:04}"), 1, 2, &format!("{text}2")),
        );
        if number % 50 == 0 {
            node.turn();
            node.work();
        }
    }
    for number in 0..1_100 {
        let register_id = format!("p{number:04}");
        match number % 3 {
            0 => node.remove("s", &register_id, closed(1, 2)),
            1 => node.put("s", publisher(&register_id, 1, 3, "three")),
            _ => {}
        }
        node.turn();
        node.work();
    }
    node.settle();
    let shown: Vec<_> = listed(&node);

    let node = node.kill();

    assert!(listed(&node) == shown, "another list than before");
}

#[test]
fn what_is_live_is_counted_exactly_whatever_comes_and_goes() {
    let mut node = Node::new();
    let before = node.data.journal().live_bytes();
    for round in 0..50 {
        node.put("s", publisher("a", 1, round, &"x".repeat(round as usize)));
        node.settle();
    }
    node.remove("s", "a", closed(1, 49));
    node.settle();

    assert_eq!(node.data.journal().live_bytes(), before);
}

fn listed(node: &Node) -> Vec<(RegisterId, Boxes)> {
    let datum = node.data.datum(&id("s")).expect("a datum");
    let publishers = datum.publishers().iter();
    publishers
        .map(|publisher| (publisher.register_id.clone(), publisher.boxes.clone()))
        .collect()
}

#[test]
fn what_was_under_way_when_a_disk_failed_is_no_second_failure() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    node.pass(limits::JOURNAL_GATHER_MAX);
    // A sync is under way, and a write.
    node.now.monotonic = node.now.monotonic + Duration::from_secs(1);
    node.turn();
    node.put("s", publisher("b", 1, 1, "two"));
    node.now.monotonic = node.now.monotonic + limits::JOURNAL_GATHER_MAX;
    node.turn();
    assert_eq!(node.asked.len(), 2);
    node.disk.is_full = true;
    node.settle();
    node.disk.is_full = false;

    node.pass(limits::JOURNAL_RETRY_MIN);

    assert_eq!(node.data.journal().trouble(), None);
}
