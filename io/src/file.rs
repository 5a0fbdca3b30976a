//! Files of a core, on a disk that it never waits for.
//!
//! A core begins an operation, goes on with its turn, and finds its end in a later one. There is one operation per lane at a time. Writes
//! and syncs of [`Lane::Turn`], which pushes wait for, go through a ring of their own; all else is done by the executor's thread for
//! blocking work, where a sync may take seconds and delays nobody.
//!
//! Before a core serves, [`Folder`] reads what is there; [`DataDirectory`] keeps other processes out.

mod blocking;
mod error;
mod folder;
mod lock;
mod ring;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File as OsFile;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rollcall_core::data::journal::{File, Lane, Operation};
use rollcall_core::machine::Instant;

pub use self::error::{DiskError, Trouble};
pub use self::folder::{Folder, read_if_there, refuse_irregular, replace, set_aside};
pub use self::lock::{DataDirectory, LockError};

use self::blocking::Work;
use self::ring::{Ended, FileRing};
use crate::clock::Clock;
use crate::executor::{Ringer, rt};

/// A file that has grown so far grows on, and has room set aside in large pieces: page by page that takes as long as the writes.
const ALLOCATED_FROM: u64 = 1 << 20;

/// The files of one shard. Lives on its core's executor.
pub struct Directory {
    folder: Folder,
    itself: Arc<OsFile>,
    /// So many bytes ahead of what is written room is set aside.
    ahead: u64,
    open: BTreeMap<File, Arc<OpenFile>>,
    ring: FileRing,
    /// What the ring does.
    in_ring: Option<InRing>,
    /// What the blocking thread does for each lane, or has done.
    beside: [Rc<RefCell<Beside>>; 2],
    ringer: Ringer,
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Whose it was.
    pub lane: Lane,
    /// How it ended. Of a write that failed, a part may be in the file.
    pub result: Result<(), DiskError>,
    /// The bytes that were to be written, for reuse. Empty for operations that have none.
    pub buffer: Vec<u8>,
    /// How long it took, from its beginning until it was taken up.
    pub took: Duration,
}

/// A file that stays open until it is removed.
struct OpenFile {
    file: OsFile,
    /// Its entry in the directory is on the medium. Not known of a file that was there before.
    is_listed: AtomicBool,
    /// Up to here room is set aside; far away if it cannot be.
    allocated: AtomicU64,
}

/// A write or sync on its way through the ring.
struct InRing {
    begun: Instant,
    file: File,
    doing: Doing,
    /// While the kernel has none of them.
    bytes: Vec<u8>,
    /// Not closed before the kernel is done with it, whatever else happens to the file.
    held: Option<Arc<OpenFile>>,
}

enum Doing {
    Write { at: u64, written: usize },
    Sync,
    SyncDirectory,
}

/// An operation on the blocking thread.
#[derive(Default)]
enum Beside {
    #[default]
    Idle,
    UnderWay,
    Ended(Finished, Option<(File, Arc<OpenFile>)>),
}

impl OpenFile {
    fn new(file: OsFile) -> Arc<Self> {
        Arc::new(Self {
            file,
            is_listed: AtomicBool::new(false),
            allocated: AtomicU64::new(ALLOCATED_FROM),
        })
    }

    fn lacks_room(&self, end: u64) -> bool {
        self.allocated.load(Relaxed) < end
    }
}

impl InRing {
    fn new(begun: Instant, file: File, doing: Doing, bytes: Vec<u8>) -> Self {
        Self {
            begun,
            file,
            doing,
            bytes,
            held: None,
        }
    }
}

impl Directory {
    /// Opens the directory, which is made if it is not there. What ends rings `ringer`. For files of more than a megabyte room is set
    /// aside for so many bytes ahead. Blocks, so call it before the core serves, and on the core's thread.
    pub fn open(path: &Path, ringer: &Ringer, ahead: u64) -> Result<Self, DiskError> {
        let folder = Folder::new(path);
        folder.make()?;
        let failed = |error| DiskError::new("opening", path, &error);
        Ok(Self {
            itself: Arc::new(OsFile::open(path).map_err(failed)?),
            folder,
            ahead,
            open: BTreeMap::new(),
            ring: FileRing::new(ringer.descriptor()).map_err(failed)?,
            in_ring: None,
            beside: Default::default(),
            ringer: ringer.clone(),
        })
    }

    /// Begins an operation. Its end is in [`Self::finished`]. One per lane at a time.
    pub fn begin(&mut self, lane: Lane, operation: Operation) {
        let is_idle = matches!(*self.beside[lane as usize].borrow(), Beside::Idle);
        assert!(
            is_idle && (lane != Lane::Turn || self.in_ring.is_none()),
            "{lane:?} has an operation under way"
        );
        let begun = Clock::monotonic();
        match (lane, operation) {
            (Lane::Turn, Operation::Write { file, at, bytes }) => {
                let doing = Doing::Write { at, written: 0 };
                self.step(InRing::new(begun, file, doing, bytes));
            }
            (Lane::Turn, Operation::Sync { file }) if self.open.contains_key(&file) => {
                self.step(InRing::new(begun, file, Doing::Sync, Vec::new()));
            }
            (lane, operation) => self.begin_beside(lane, begun, operation),
        }
    }

    /// What has ended since it was asked last.
    pub fn finished(&mut self) -> impl Iterator<Item = Finished> + use<> {
        let in_ring = self.poll_ring();
        let [turn, background] = [Lane::Turn, Lane::Background].map(|lane| self.poll_beside(lane));
        [in_ring, turn, background].into_iter().flatten()
    }

    /// Makes whatever ends from here on ring the bell. False if something already has.
    pub fn prepare_sleep(&mut self) -> bool {
        let has_ended = |beside: &RefCell<Beside>| matches!(*beside.borrow(), Beside::Ended(..));
        !self.beside.iter().any(|beside| has_ended(beside)) && self.ring.prepare_sleep()
    }

    /// Hands the next step to the ring.
    fn step(&mut self, mut now: InRing) {
        let open = self.open.get(&now.file);
        match (&now.doing, open) {
            (_, None) => {
                let name = CString::new(now.file.to_string()).expect("no name of ours has a zero");
                self.ring.open(&self.itself, name);
            }
            (Doing::Write { at, .. }, Some(open))
                if open.lacks_room(at + now.bytes.len() as u64) =>
            {
                let bytes = now.bytes.len() as u64 + self.ahead;
                self.ring.allocate(&open.file, *at, bytes);
            }
            (Doing::Write { at, written }, Some(open)) => {
                let bytes = std::mem::take(&mut now.bytes);
                self.ring
                    .write(&open.file, at + *written as u64, bytes, *written);
            }
            (Doing::Sync, Some(open)) => self.ring.sync(&open.file),
            (Doing::SyncDirectory, Some(_)) => self.ring.sync(&self.itself),
        }
        now.held = open.cloned();
        self.in_ring = Some(now);
    }

    fn poll_ring(&mut self) -> Option<Finished> {
        let ended = self.ring.poll()?;
        let mut now = self.in_ring.take().expect("the ring works for it");
        match self.is_done(&mut now, ended) {
            Ok(false) => {
                self.step(now);
                None
            }
            result => Some(self.finish(now, result.map(drop))),
        }
    }

    /// Takes up the end of a step; true if it was the last.
    fn is_done(&mut self, now: &mut InRing, ended: Ended) -> io::Result<bool> {
        match ended {
            Ended::Opened(file) => {
                self.open.insert(now.file, OpenFile::new(file?));
                Ok(false)
            }
            Ended::Allocated(result) => {
                if let (Doing::Write { at, .. }, Some(open)) = (&now.doing, &now.held) {
                    // A write says itself if there is no room; and not every file system can set it aside.
                    let end = at + now.bytes.len() as u64 + self.ahead;
                    let end = result.map_or(u64::MAX, |()| end);
                    open.allocated.store(end, Relaxed);
                }
                Ok(false)
            }
            Ended::Written(result, bytes) => {
                now.bytes = bytes;
                let Doing::Write { written, .. } = &mut now.doing else {
                    unreachable!("only a write is written");
                };
                match result {
                    Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
                    Ok(0) if *written < now.bytes.len() => return Err(ErrorKind::WriteZero.into()),
                    result => *written += result?,
                }
                Ok(*written == now.bytes.len())
            }
            Ended::Synced(result) => {
                result?;
                let open = &self.open[&now.file];
                let is_directory = matches!(now.doing, Doing::SyncDirectory);
                now.doing = Doing::SyncDirectory;
                Ok(open.is_listed.fetch_or(is_directory, Relaxed) || is_directory)
            }
        }
    }

    fn finish(&self, now: InRing, result: io::Result<()>) -> Finished {
        let doing = match now.doing {
            Doing::Write { .. } => "writing",
            Doing::Sync | Doing::SyncDirectory => "syncing",
        };
        let failed = |error| DiskError::new(doing, &self.folder.path_of(now.file), &error);
        Finished {
            lane: Lane::Turn,
            result: result.map_err(failed),
            buffer: now.bytes,
            took: Clock::monotonic().since(now.begun),
        }
    }

    fn begin_beside(&mut self, lane: Lane, begun: Instant, operation: Operation) {
        let slot = Rc::clone(&self.beside[lane as usize]);
        *slot.borrow_mut() = Beside::UnderWay;
        let work = Work::new(&self.folder, &self.itself, &mut self.open, operation);
        let (folder, ringer) = (self.folder.clone(), self.ringer.clone());
        rt::spawn(async move {
            let panicked = |_| blocking::Done::panicked(&folder);
            let done = rt::spawn_blocking(move || work.run()).await;
            let done = done.unwrap_or_else(panicked);
            let finished = Finished {
                lane,
                result: done.result,
                buffer: done.buffer,
                took: Clock::monotonic().since(begun),
            };
            *slot.borrow_mut() = Beside::Ended(finished, done.opened);
            ringer.ring_if_asleep();
        });
    }

    fn poll_beside(&mut self, lane: Lane) -> Option<Finished> {
        let mut slot = self.beside[lane as usize].borrow_mut();
        if !matches!(*slot, Beside::Ended(..)) {
            return None;
        }
        let Beside::Ended(finished, opened) = std::mem::take(&mut *slot) else {
            return None;
        };
        self.open.extend(opened);
        Some(finished)
    }
}
