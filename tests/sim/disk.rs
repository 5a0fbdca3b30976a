//! A disk made up from a seed: it takes its time, fails and fills up, tears what was under way when the process or the power went, and
//! loses what was not synced, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_core::data::journal::manifest::Manifest;
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{Expected, Scanned, Scanner, Tail};
use rollcall_core::data::journal::{File, Former, Lane, Operation};
use rollcall_core::machine::Instant;
use rollcall_core::names::Interner;
use rollcall_core::tables::Seed;

use crate::random::Random;

/// The disk of one shard.
#[derive(Default)]
pub(crate) struct Disk {
    kernel: BTreeMap<File, Vec<u8>>,
    medium: BTreeMap<File, Vec<u8>>,
    /// Writes since the last sync of their file.
    unsynced: Vec<(File, usize, Vec<u8>)>,
    /// Removed, and maybe there again after a loss of power.
    removed: BTreeSet<File>,
    under_way: Vec<(Instant, Lane, Operation)>,
    fails_until: Instant,
}

/// An operation that has ended.
pub(crate) struct Done {
    pub(crate) lane: Lane,
    pub(crate) result: Result<(), String>,
    pub(crate) buffer: Vec<u8>,
}

/// What a start finds.
pub(crate) struct Found {
    pub(crate) former: Former,
    pub(crate) replayed: Replayed,
}

impl Disk {
    pub(crate) fn ask(&mut self, at: Instant, lane: Lane, operation: Operation) {
        let is_busy = self.under_way.iter().any(|(_, busy, _)| *busy == lane);
        assert!(!is_busy, "two operations in {lane:?}");
        self.under_way.push((at, lane, operation));
    }

    /// Everything fails until then.
    pub(crate) fn fail_until(&mut self, until: Instant) {
        self.fails_until = until;
    }

    pub(crate) fn finished(&mut self, now: Instant) -> Vec<Done> {
        let under_way = std::mem::take(&mut self.under_way);
        let (due, later) = under_way.into_iter().partition(|(at, ..)| *at <= now);
        self.under_way = later;
        let due: Vec<(Instant, Lane, Operation)> = due;
        due.into_iter()
            .map(|(at, lane, operation)| self.end(at, lane, operation))
            .collect()
    }

    fn end(&mut self, at: Instant, lane: Lane, operation: Operation) -> Done {
        let removes = matches!(operation, Operation::Remove { .. });
        let result = match at < self.fails_until && !removes {
            true => Err("no space left".to_owned()),
            false => Ok(()),
        };
        let buffer = match result {
            Ok(()) => self.perform(operation),
            Err(_) => Vec::new(),
        };
        Done {
            lane,
            result,
            buffer,
        }
    }

    fn perform(&mut self, operation: Operation) -> Vec<u8> {
        match operation {
            Operation::Write { file, at, bytes } => {
                let at = usize::try_from(at).expect("small files");
                put(self.kernel.entry(file).or_default(), at, &bytes);
                self.unsynced.push((file, at, bytes.clone()));
                return bytes;
            }
            Operation::Sync { file } => {
                let content = self.kernel.get(&file).cloned().unwrap_or_default();
                self.medium.insert(file, content);
                self.unsynced.retain(|(of, ..)| *of != file);
            }
            Operation::Replace { file, bytes } => {
                self.kernel.insert(file, bytes.clone());
                self.medium.insert(file, bytes);
                self.removed.clear();
            }
            Operation::Remove { files } => {
                for file in files {
                    self.kernel.remove(&file);
                    self.unsynced.retain(|(of, ..)| *of != file);
                    self.removed.insert(file);
                }
            }
        }
        Vec::new()
    }

    /// The process is gone: what was under way is done, or not, or a part of it.
    pub(crate) fn lose_process(&mut self, random: &mut Random) {
        for (_, _, operation) in std::mem::take(&mut self.under_way) {
            match operation {
                _ if random.chance(400) => {}
                Operation::Write {
                    file,
                    at,
                    mut bytes,
                } => {
                    bytes.truncate(random.index(bytes.len() + 1));
                    self.perform(Operation::Write { file, at, bytes });
                }
                whole => drop(self.perform(whole)),
            }
        }
    }

    /// The power is gone: of what was not synced any part may be there.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        self.lose_process(random);
        for (file, at, mut bytes) in std::mem::take(&mut self.unsynced) {
            if random.chance(500) {
                if random.chance(300) {
                    bytes.truncate(random.index(bytes.len() + 1));
                }
                put(self.medium.entry(file).or_default(), at, &bytes);
            }
        }
        for file in std::mem::take(&mut self.removed) {
            if random.chance(500) {
                self.medium.remove(&file);
            }
        }
        self.kernel = self.medium.clone();
    }

    /// Reads what there is, as a start does: torn tails are cut, files that nobody names removed.
    pub(crate) fn replay(&mut self, shard: u16, tables: Seed, key: u64) -> Found {
        let mut replay = Replay::new(tables);
        let Some(manifest) = self.kernel.get(&File::Manifest) else {
            let former = Former {
                key,
                ..Former::default()
            };
            return Found {
                former,
                replayed: replay.finish(),
            };
        };
        let manifest = Manifest::decode(manifest).expect("it is replaced as a whole");
        let mut names = Interner::new(tables);
        let mut boot_id = None;
        let mut segments = Vec::new();
        let mut is_damaged = false;
        for &segment in &manifest.segments {
            let Some(bytes) = self.kernel.get_mut(&File::Segment(segment)) else {
                segments.push((segment, 0));
                continue;
            };
            let mut scanner = Scanner::new(Expected {
                cluster: None,
                shard,
                segment,
                salt: Some(manifest.salt(segment)),
            });
            let scanned = scanner.scan(bytes, |scanned| match scanned {
                Scanned::Record { record, .. } => replay.take(&record, &mut names, |_| true),
                Scanned::Damage { .. } => is_damaged = true,
            });
            scanned.expect("a segment of ours");
            boot_id = scanner.header().map(|header| header.boot_id).or(boot_id);
            if let Tail::Torn { offset } = scanner.finish() {
                bytes.truncate(usize::try_from(offset).expect("small files"));
            }
            segments.push((segment, bytes.len() as u64));
        }
        self.kernel.retain(|file, _| match file {
            File::Manifest => true,
            File::Segment(segment) => manifest.segments.contains(segment),
        });
        let former = Former {
            segments,
            next_segment: manifest.next_segment,
            boot_id,
            key: manifest.key,
            needs_snapshot: is_damaged,
        };
        Found {
            former,
            replayed: replay.finish(),
        }
    }

    /// How long an operation takes: hardly ever long.
    pub(crate) fn delay(random: &mut Random) -> Duration {
        let ms = match random.below(1000) {
            0..5 => 30 + random.below(200),
            5..300 => 10 + random.below(10),
            _ => random.below(10),
        };
        Duration::from_millis(ms)
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
}
