//! A disk made up from a seed: it takes its time, fails and fills up, tears what was under way when the process or the power went, and
//! loses what was not synced, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_core::data::journal::manifest::Manifest;
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{Expected, Header, Scanned, Scanner, Tail};
use rollcall_core::data::journal::{Failure, File, Former, Lane, Operation};
use rollcall_core::machine::Instant;
use rollcall_core::names::Interner;
use rollcall_core::tables::Seed;

use crate::random::Random;

/// The disk of one shard.
#[derive(Default)]
pub(crate) struct Disk {
    kernel: BTreeMap<File, Vec<u8>>,
    /// The manifest may be an older one than the kernel's.
    medium: BTreeMap<File, Vec<u8>>,
    /// Writes since the last sync of their file.
    unsynced: Vec<Written>,
    /// How many writes there were.
    writes: u64,
    /// Removed, and maybe there again after a loss of power.
    removed: BTreeSet<File>,
    under_way: Vec<UnderWay>,
    fails_until: Instant,
    /// It takes so little time for everything that pushes always wait for it.
    pub(crate) is_steady: bool,
    /// While it fails it is merely full: an empty file has room.
    takes_notes: bool,
}

/// Bytes that the kernel has.
struct Written {
    number: u64,
    file: File,
    at: usize,
    bytes: Vec<u8>,
}

struct UnderWay {
    /// Which one of all that were asked of any disk.
    number: usize,
    at: Instant,
    lane: Lane,
    operation: Operation,
    found: Option<Content>,
}

/// What a sync brings to the medium: what the kernel has when it begins, after so many writes.
struct Content {
    bytes: Vec<u8>,
    writes: u64,
}

/// An operation that has ended.
pub(crate) struct Done {
    pub(crate) lane: Lane,
    pub(crate) result: Result<(), Failure>,
    pub(crate) buffer: Vec<u8>,
}

/// What a start finds.
pub(crate) struct Found {
    pub(crate) former: Former,
    pub(crate) replayed: Replayed,
    /// A log had to go that left no room for a snapshot, and with it went its ceilings.
    pub(crate) lacks_log: bool,
}

impl Disk {
    pub(crate) fn new(takes_notes: bool) -> Self {
        Self {
            takes_notes,
            ..Self::default()
        }
    }

    pub(crate) fn ask(&mut self, number: usize, at: Instant, lane: Lane, operation: Operation) {
        let is_busy = self.under_way.iter().any(|it| it.lane == lane);
        assert!(!is_busy, "two operations in {lane:?}");
        let found = match &operation {
            Operation::Sync { file } => {
                let bytes = self.kernel.get(file).cloned();
                let writes = self.writes;
                bytes.map(|bytes| Content { bytes, writes })
            }
            _ => None,
        };
        self.under_way.push(UnderWay {
            number,
            at,
            lane,
            operation,
            found,
        });
    }

    /// Everything fails until then.
    pub(crate) fn fail_until(&mut self, until: Instant) {
        self.fails_until = until;
    }

    /// The operations that end until then.
    pub(crate) fn due(&self, until: Instant) -> Vec<usize> {
        let due = self.under_way.iter().filter(|it| it.at <= until);
        due.map(|it| it.number).collect()
    }

    pub(crate) fn finish(&mut self, number: usize) -> Done {
        let place = self.under_way.iter().position(|it| it.number == number);
        let ended = self.under_way.remove(place.expect("it is under way"));
        let lane = ended.lane;
        let fails = ended.at < self.fails_until;
        let result = match &ended.operation {
            Operation::Remove { .. } => Ok(()),
            Operation::Replace { bytes, .. } if self.takes_notes && bytes.is_empty() => Ok(()),
            _ if fails => Err(failure("no space left")),
            Operation::Sync { .. } if ended.found.is_none() => Err(failure("no such file")),
            _ => Ok(()),
        };
        let buffer = match result {
            Ok(()) => self.perform(ended.operation, ended.found),
            Err(_) => Vec::new(),
        };
        Done {
            lane,
            result,
            buffer,
        }
    }

    fn perform(&mut self, operation: Operation, found: Option<Content>) -> Vec<u8> {
        match operation {
            Operation::Write { file, at, bytes } => {
                let at = usize::try_from(at).expect("small files");
                put(self.kernel.entry(file).or_default(), at, &bytes);
                self.writes += 1;
                self.unsynced.push(Written {
                    number: self.writes,
                    file,
                    at,
                    bytes: bytes.clone(),
                });
                return bytes;
            }
            Operation::Sync { file } => {
                let Content { bytes, writes } = found.expect("looked at when it began");
                self.medium.insert(file, bytes);
                self.unsynced
                    .retain(|it| it.file != file || it.number > writes);
            }
            Operation::Replace { file, bytes } => {
                self.kernel.insert(file, bytes.clone());
                self.medium.insert(file, bytes);
                self.removed.clear();
            }
            Operation::Remove { files } => self.remove(&files),
        }
        Vec::new()
    }

    fn remove(&mut self, files: &[File]) {
        for file in files {
            self.kernel.remove(file);
            self.unsynced.retain(|it| it.file != *file);
            self.removed.insert(*file);
        }
    }

    /// The process is gone: what was under way is done, or not, or a part of it.
    pub(crate) fn lose_process(&mut self, fate: &mut Fate<'_>) {
        for lost in std::mem::take(&mut self.under_way) {
            if !fate.keeps(600) {
                continue;
            }
            match lost.operation {
                Operation::Write {
                    file,
                    at,
                    mut bytes,
                } => {
                    bytes.truncate(fate.part_of(bytes.len()));
                    self.perform(Operation::Write { file, at, bytes }, None);
                }
                Operation::Replace { file, bytes } if !fate.is_whole() => {
                    // Renamed, and the directory not synced.
                    self.kernel.insert(file, bytes);
                }
                Operation::Remove { mut files } => {
                    files.truncate(fate.part_of(files.len()));
                    self.remove(&files);
                }
                Operation::Sync { .. } if lost.found.is_none() => {}
                whole => drop(self.perform(whole, lost.found)),
            }
        }
    }

    /// The power is gone: of what was not synced any part may be there.
    pub(crate) fn lose_power(&mut self, fate: &mut Fate<'_>) {
        self.lose_process(fate);
        for mut written in std::mem::take(&mut self.unsynced) {
            if fate.keeps_one(500) {
                if !fate.is_whole() {
                    written.bytes.truncate(fate.part_of(written.bytes.len()));
                }
                let content = self.medium.entry(written.file).or_default();
                put(content, written.at, &written.bytes);
            }
        }
        for file in std::mem::take(&mut self.removed) {
            if fate.keeps_one(500) {
                self.medium.remove(&file);
            }
        }
        if fate.keeps_one(500)
            && let Some(manifest) = self.kernel.remove(&File::Manifest)
        {
            self.medium.insert(File::Manifest, manifest);
        }
        self.kernel = self.medium.clone();
    }

    /// Reads what there is, as a start does: torn tails are cut, files that count for nothing removed.
    pub(crate) fn replay(&mut self, shard: u16, tables: Seed, key: u64) -> Found {
        let mut replay = Replay::new(tables);
        let (manifest, mut has_gap) = self.manifest(key);
        let is_lost = has_gap;
        has_gap |= self.kernel.contains_key(&File::Gap);
        let mut lacks_log = false;
        let mut names = Interner::new(tables);
        let mut boot_id = None;
        let mut segments = Vec::new();
        let mut is_damaged = false;
        for &segment in &manifest.segments {
            let bytes = self.kernel.get_mut(&File::Segment(segment));
            let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
                let may_miss =
                    manifest.is_last_to_begin && manifest.segments.last() == Some(&segment);
                lacks_log |= !may_miss;
                continue;
            };
            let mut scanner = Scanner::new(Expected {
                cluster: None,
                shard,
                segment,
                salt: (!is_lost).then(|| manifest.salt(segment)),
            });
            let scanned = scanner.scan(bytes, |scanned| match scanned {
                Scanned::Record { record, .. } => replay.take(&record, &mut names, |_| true),
                Scanned::Damage { .. } => is_damaged = true,
            });
            if scanned.is_err() {
                // It is set aside.
                assert!(is_lost, "a segment of ours");
                continue;
            }
            let written_in = scanner.header().map(|header| header.boot_id);
            let tail = scanner.finish();
            boot_id = match tail {
                Tail::Sealed => None,
                _ => Some(written_in.unwrap_or_default()),
            };
            if let Tail::Torn { offset } | Tail::Damaged { offset, .. } = tail {
                bytes.truncate(usize::try_from(offset).expect("small files"));
            }
            segments.push((segment, bytes.len() as u64));
        }
        self.clean(&segments);
        let replayed = replay.finish();
        let former = Former {
            segments,
            records: replayed.records,
            next_segment: manifest.next_segment,
            boot_id,
            key: manifest.key,
            needs_snapshot: is_damaged || is_lost,
            has_gap: has_gap || lacks_log || is_damaged,
        };
        Found {
            former,
            replayed,
            lacks_log,
        }
    }

    /// The manifest, and whether it is lost: it is not there, and segments are.
    fn manifest(&self, key: u64) -> (Manifest, bool) {
        if let Some(manifest) = self.kernel.get(&File::Manifest) {
            let manifest = Manifest::decode(manifest).expect("it is replaced as a whole");
            return (manifest, false);
        }
        let segments = self.kernel.iter().filter_map(|(file, bytes)| match *file {
            File::Segment(segment) => Some((segment, Header::decode(bytes).ok())),
            File::Manifest | File::Gap => None,
        });
        let (segments, headers): (Vec<_>, Vec<_>) = segments.unzip();
        let is_lost = !segments.is_empty();
        let header = headers.into_iter().flatten().next();
        (Manifest::made_up(segments, header.as_ref(), key), is_lost)
    }

    fn clean(&mut self, kept: &[(u64, u64)]) {
        let is_kept = |file: &File| match file {
            File::Manifest | File::Gap => true,
            File::Segment(number) => kept.iter().any(|(kept, _)| kept == number),
        };
        if let Some(manifest) = self.kernel.get(&File::Manifest) {
            // Before what only an older one names is gone.
            self.medium.insert(File::Manifest, manifest.clone());
        }
        let files = self.kernel.keys().copied();
        let strays: Vec<_> = files.filter(|file| !is_kept(file)).collect();
        self.remove(&strays);
    }

    /// How long an operation takes: hardly ever long.
    pub(crate) fn delay(&self, random: &mut Random) -> Duration {
        let ms = match random.below(1000) {
            _ if self.is_steady => random.below(10),
            0..5 => 30 + random.below(200),
            5..300 => 10 + random.below(10),
            _ => random.below(10),
        };
        Duration::from_millis(ms)
    }
}

/// What a crash leaves of that which it may leave or not.
pub(crate) enum Fate<'a> {
    Nothing,
    /// The first part of everything that has parts, and every second of what has none.
    Half(usize),
    Everything,
    Random(&'a mut Random),
}

impl Fate<'_> {
    /// Whether something that may have parts is there.
    fn keeps(&mut self, per_mille: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Half(_) | Self::Everything => true,
            Self::Random(random) => random.chance(per_mille),
        }
    }

    /// Whether one of many is there.
    fn keeps_one(&mut self, per_mille: u64) -> bool {
        match self {
            Self::Half(seen) => {
                *seen += 1;
                seen.is_multiple_of(2)
            }
            _ => self.keeps(per_mille),
        }
    }

    /// Whether all of it is there, if anything is.
    fn is_whole(&mut self) -> bool {
        match self {
            Self::Nothing | Self::Half(_) => false,
            Self::Everything => true,
            Self::Random(random) => random.chance(700),
        }
    }

    fn part_of(&mut self, len: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Half(_) => len / 2,
            Self::Everything => len,
            Self::Random(random) => random.index(len + 1),
        }
    }
}

fn failure(said: &str) -> Failure {
    let (is_full, said) = (true, said.to_owned());
    Failure { is_full, said }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
}
