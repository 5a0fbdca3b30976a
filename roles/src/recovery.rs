//! A start on what former lives left: which journals are the truth, and what they hold.
//!
//! Each core replays its own shard. If the number of cores has changed since, every core reads the journals of all and keeps what the ring
//! gives it; what it kept must be in a journal of its own before the old ones go, so all cores together begin an *era*, a directory of
//! its own, and one file says which era is the truth.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall_core::data::journal::manifest::{Current, Manifest, ManifestError};
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{Expected, HeaderError, Scanned, Scanner, Tail};
use rollcall_core::data::journal::{Durability, File, Former};
use rollcall_core::machine::Instant;
use rollcall_core::names::{CoreId, Interner};
use rollcall_core::tables::Seed;
use rollcall_io::clock::Clock;
use rollcall_io::file::{DiskError, Folder, replace};
use rollcall_io::host;

/// The directory of all eras, in the data directory.
pub(crate) const JOURNAL: &str = "journal";
/// The file that says which era is the truth.
pub(crate) const CURRENT: &str = "current";
/// Until a node belongs to a cluster.
pub(crate) const CLUSTER: u64 = 0;
/// How often a long replay says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The journals of a node.
#[derive(Clone, Debug)]
pub(crate) struct Journals {
    root: PathBuf,
    /// Where this life writes.
    era: u64,
    cores: u16,
    /// Former lives have said that this era is the truth.
    is_current: bool,
    /// Where former lives wrote, if that was another era.
    before: Option<Current>,
    durability: Durability,
    boot_id: [u8; 16],
}

/// Why what is on the disk cannot be taken over.
#[derive(Debug)]
pub(crate) enum RecoveryError {
    Disk(DiskError),
    Manifest(PathBuf, ManifestError),
    Segment(PathBuf, HeaderError),
    /// Reading a directory or a small file.
    Unreadable(PathBuf, io::Error),
    /// What this file said is not known, and without it older or shorter lists might be shown.
    Lost {
        file: PathBuf,
        why: String,
        /// The directory of all eras.
        journal: PathBuf,
    },
}

/// What one shard begins with.
pub(crate) struct Recovered {
    pub(crate) former: Former,
    pub(crate) replayed: Replayed,
    /// Stretches of the journal that could not be read.
    pub(crate) damages: u64,
}

/// A replay of one shard by one core.
struct Reading<'a> {
    core: CoreId,
    journal: &'a Path,
    replay: Replay,
    names: &'a mut Interner,
    is_mine: &'a dyn Fn(u64) -> bool,
    began: Instant,
    reported: Instant,
    bytes: u64,
    damages: u64,
}

/// What is known of the last segment of a journal.
#[derive(Clone, Copy)]
struct End {
    boot_id: Option<[u8; 16]>,
    is_sealed: bool,
}

impl Journals {
    /// Finds out which era is the truth. Nothing is changed.
    pub(crate) fn find(
        data_dir: &Path,
        cores: u16,
        durability: Durability,
    ) -> Result<Self, RecoveryError> {
        let root = data_dir.join(JOURNAL);
        let (is_said, current) = match durability {
            // What is there counts for nothing, and will be removed.
            Durability::Off => (false, None),
            _ => match said(&root)? {
                Ok(said) => (true, Some(said)),
                Err(why) => (false, unsaid(&root, &why)?),
            },
        };
        let before = current.filter(|current| current.cores != cores);
        Ok(Self {
            root,
            era: current.map_or(0, |current| current.era) + u64::from(before.is_some()),
            cores,
            is_current: is_said && before.is_none(),
            before,
            durability,
            boot_id: host::boot_id(),
        })
    }

    /// How sure a restart finds everything.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// How many shards there are.
    pub(crate) fn cores(&self) -> u16 {
        self.cores
    }

    /// Which start of the machine this is.
    pub(crate) fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// Where everything is written anew, nothing may be there: an earlier start that did so may have been killed.
    pub(crate) fn make_room(&self) -> Result<(), RecoveryError> {
        if !self.must_move() {
            return Ok(());
        }
        let path = self.root.join(self.era.to_string());
        match remove_if_there(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(RecoveryError::Unreadable(path, error)),
        }
    }

    /// Whether what former lives left belongs to another number of cores.
    pub(crate) fn must_move(&self) -> bool {
        self.before.is_some()
    }

    /// Where this core writes.
    pub(crate) fn path_of(&self, core: CoreId) -> PathBuf {
        self.path_in(self.era, core)
    }

    /// All cores have what is theirs: from here on their era is the truth, and older ones go.
    pub(crate) fn begin_era(&self) -> Result<(), RecoveryError> {
        if self.durability == Durability::Off {
            self.remove_outdated();
            return Ok(());
        }
        // What is said already needs no room on a disk that may have none.
        if !self.is_current {
            let Self { era, cores, .. } = *self;
            let current = Current { era, cores };
            replace(&self.root.join(CURRENT), &current.encode()).map_err(RecoveryError::Disk)?;
        }
        self.remove_other_eras()
    }

    /// Behind a life that writes nothing down, what former ones wrote is older than what subscribers were shown by it.
    fn remove_outdated(&self) {
        let journal = self.root.display();
        let outdated = self.root.with_extension("outdated");
        // All of it goes at once: half of a journal would be refused as damaged.
        let removed = remove_if_there(&outdated)
            .and_then(|_| if_there(fs::rename(&self.root, &outdated)))
            .and_then(|_| remove_if_there(&outdated));
        match removed {
            Ok(true) => {
                tracing::info!(%journal, "removed: this life keeps no journal, and what is there would be outdated")
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%journal, %error, "not removed: do so before the journal is turned on again, it is outdated then");
            }
        }
    }

    fn remove_other_eras(&self) -> Result<(), RecoveryError> {
        for era in eras(&self.root)? {
            if era != self.era {
                let path = self.root.join(era.to_string());
                let removed = fs::remove_dir_all(&path);
                removed.map_err(|error| RecoveryError::Unreadable(path, error))?;
            }
        }
        Ok(())
    }

    /// Reads what this core begins with. Blocks. Torn tails are cut, files that nobody names removed.
    pub(crate) fn recover(
        &self,
        core: CoreId,
        seed: Seed,
        names: &mut Interner,
        is_mine: &dyn Fn(u64) -> bool,
    ) -> Result<Recovered, RecoveryError> {
        let began = Clock::monotonic();
        let mut reading = Reading {
            core,
            journal: &self.root,
            replay: Replay::new(seed),
            names,
            is_mine,
            began,
            reported: began,
            bytes: 0,
            damages: 0,
        };
        let mut former = Former {
            key: host::random(),
            ..Former::default()
        };
        let mut ends = Vec::new();
        match self.before {
            Some(before) => {
                for other in (0..before.cores).map(CoreId) {
                    let folder = self.path_in(before.era, other);
                    ends.extend(reading.read_shard(other, &Folder::new(folder), false)?.1);
                }
                former.needs_snapshot = true;
            }
            None => {
                let folder = Folder::new(self.path_of(core));
                let (known, end) = reading.read_shard(core, &folder, true)?;
                former = known.unwrap_or(former);
                ends.extend(end);
            }
        }
        let written_in = |end: &End| match end.is_sealed {
            true => None,
            false => Some(end.boot_id.unwrap_or_default()),
        };
        // Of several shards that of another start of the machine counts.
        let boots = ends.iter().filter_map(written_in);
        former.boot_id = boots.max_by_key(|boot_id| *boot_id != self.boot_id);
        let damages = reading.damages;
        let replayed = reading.finish();
        former.records = replayed.records;
        Ok(Recovered {
            former,
            damages,
            replayed,
        })
    }

    fn path_in(&self, era: u64, core: CoreId) -> PathBuf {
        self.root.join(era.to_string()).join(core.0.to_string())
    }
}

/// What the file says that says which era is the truth; or why it does not.
fn said(root: &Path) -> Result<Result<Current, String>, RecoveryError> {
    let path = root.join(CURRENT);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err("missing".to_owned())),
        read => read.map_err(|error| RecoveryError::Unreadable(path.clone(), error))?,
    };
    match Current::decode(&bytes) {
        Ok(current) => Ok(Ok(current)),
        Err(error @ ManifestError::Newer { .. }) => Err(RecoveryError::Manifest(path, error)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What is the truth if no file says it: nothing, or the only era that is there. Of several, one was being replaced by the other.
fn unsaid(root: &Path, why: &str) -> Result<Option<Current>, RecoveryError> {
    let file = root.join(CURRENT);
    let lost = |and: &str| {
        Err(RecoveryError::lost(
            file.clone(),
            format!("{why}, {and}"),
            root,
        ))
    };
    match eras(root)?[..] {
        [] if !file.exists() => Ok(None),
        [] => lost("and no era of a journal is there"),
        [era] => match eras(&root.join(era.to_string()))?.pop() {
            Some(last) => {
                let cores = u16::try_from(last.saturating_add(1)).unwrap_or(u16::MAX);
                tracing::warn!(file = %file.display(), why, era, cores, "no word on which journal counts; there is only one");
                Ok(Some(Current { era, cores }))
            }
            // The very first start was killed.
            None if era == 0 => Ok(None),
            None => lost("and the only era of a journal is empty"),
        },
        _ => lost("though several eras of a journal are there"),
    }
}

fn eras(path: &Path) -> Result<Vec<u64>, RecoveryError> {
    numbered(path).map_err(|error| RecoveryError::Unreadable(path.to_owned(), error))
}

/// Removes a directory with all in it; whether there was one.
fn remove_if_there(path: &Path) -> io::Result<bool> {
    if_there(fs::remove_dir_all(path))
}

/// Whether something was there for what was done.
fn if_there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directories with numbers for names, in order: eras, or the shards of one.
pub(crate) fn numbered(path: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Reading<'_> {
    /// Reads a shard, and cleans up behind it if it goes on to be written.
    fn read_shard(
        &mut self,
        shard: CoreId,
        folder: &Folder,
        cleans: bool,
    ) -> Result<(Option<Former>, Option<End>), RecoveryError> {
        let Some((manifest, is_sound)) = manifest(folder)? else {
            return Ok((None, None));
        };
        let mut segments = Vec::new();
        let mut end = None;
        for &segment in &manifest.segments {
            let file = File::Segment(segment);
            // One that was never begun need not be kept, and cannot be synced.
            if folder.len(file).map_err(RecoveryError::Disk)? > 0 {
                let salt = is_sound.then(|| manifest.salt(segment));
                end = Some(self.read_segment(shard, folder, segment, salt, cleans)?);
                let len = folder.len(file).map_err(RecoveryError::Disk)?;
                segments.push((segment, len));
            }
        }
        if cleans {
            clean(folder, &segments).map_err(RecoveryError::Disk)?;
        }
        let former = Former {
            segments,
            next_segment: manifest.next_segment,
            key: manifest.key,
            needs_snapshot: !is_sound || self.damages > 0,
            ..Former::default()
        };
        Ok((Some(former), end))
    }

    fn read_segment(
        &mut self,
        shard: CoreId,
        folder: &Folder,
        segment: u64,
        salt: Option<u64>,
        cleans: bool,
    ) -> Result<End, RecoveryError> {
        let file = File::Segment(segment);
        let mut scanner = Scanner::new(Expected {
            cluster: Some(CLUSTER),
            shard: shard.0,
            segment,
            salt,
        });
        let path = folder.path().join(file.to_string());
        let (mut refused, mut len) = (None, 0);
        let read = folder.read(file, |chunk| {
            len += chunk.len() as u64;
            if refused.is_some() {
                return;
            }
            let found = |scanned: Scanned<'_>| match scanned {
                Scanned::Record { record, .. } => {
                    self.replay.take(&record, self.names, self.is_mine);
                }
                Scanned::Damage { from, to, why } => {
                    self.damages += 1;
                    tracing::warn!(file = %path.display(), from, to, %why, "journal damaged, what is sound is kept");
                }
            };
            refused = scanner.scan(chunk, found).err();
            self.report_progress(&path, chunk.len());
        });
        read.map_err(RecoveryError::Disk)?;
        match refused {
            // The manifest would have told what is needed to read it all the same.
            Some(error @ (HeaderError::Damaged | HeaderError::NotASegment)) => {
                let why = format!(
                    "{error}; the manifest beside it, by which it could be read, is damaged too"
                );
                return Err(RecoveryError::lost(path, why, self.journal));
            }
            Some(error) => return Err(RecoveryError::Segment(path, error)),
            None => {}
        }
        let boot_id = scanner.header().map(|header| header.boot_id);
        let tail = scanner.finish();
        if let Tail::Torn { offset } = tail {
            tracing::info!(file = %path.display(), offset, "journal ends in the middle of a write, the rest is cut");
            len = offset;
        }
        if cleans {
            // Also where nothing is to cut: what was set aside behind the end for more to come is given back.
            folder.truncate(file, len).map_err(RecoveryError::Disk)?;
        }
        Ok(End {
            boot_id,
            is_sealed: tail == Tail::Sealed,
        })
    }

    fn report_progress(&mut self, path: &Path, bytes: usize) {
        self.bytes += bytes as u64;
        let now = Clock::monotonic();
        if now.since(self.reported) >= PROGRESS_EVERY {
            self.reported = now;
            let seconds = now.since(self.began).as_secs();
            tracing::info!(core = self.core.0, file = %path.display(), bytes = self.bytes, seconds, "replaying");
        }
    }

    fn finish(self) -> Replayed {
        let replayed = self.replay.finish();
        let took = Clock::monotonic().since(self.began);
        let services = replayed.services.iter();
        let publishers: usize = services.map(|service| service.publishers.len()).sum();
        if replayed.records == 0 {
            return replayed;
        }
        tracing::info!(
            core = self.core.0,
            publishers,
            services = replayed.services.len(),
            records = replayed.records,
            bytes = self.bytes,
            ms = took.as_millis() as u64,
            "replayed, the publishers await their clients"
        );
        replayed
    }
}

/// Removes the files that count for nothing.
fn clean(folder: &Folder, segments: &[(u64, u64)]) -> Result<(), DiskError> {
    let is_kept = |file: &File| match *file {
        File::Manifest => true,
        File::Segment(number) => segments.iter().any(|&(kept, _)| kept == number),
    };
    let mut files = folder.list()?;
    files.retain(|file| !is_kept(file));
    // A node that was killed while it replaced the manifest has left that to the kernel: what only the one before names must not be gone
    // earlier.
    folder.sync()?;
    folder.remove(&files)
}

/// The manifest of a shard, and whether it is sound. If it is not, all segments that are there count.
fn manifest(folder: &Folder) -> Result<Option<(Manifest, bool)>, RecoveryError> {
    let mut bytes = Vec::new();
    let read = folder.read(File::Manifest, |chunk| bytes.extend_from_slice(chunk));
    read.map_err(RecoveryError::Disk)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let path = folder.path().join(File::Manifest.to_string());
    match Manifest::decode(&bytes) {
        Ok(manifest) => Ok(Some((manifest, true))),
        Err(error @ ManifestError::Newer { .. }) => Err(RecoveryError::Manifest(path, error)),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "every segment that is there is read");
            let files = folder.list().map_err(RecoveryError::Disk)?;
            let segments: Vec<_> = files
                .into_iter()
                .filter_map(|file| match file {
                    File::Segment(segment) => Some(segment),
                    File::Manifest => None,
                })
                .collect();
            let manifest = Manifest {
                key: host::random(),
                next_segment: segments.iter().max().map_or(0, |last| last + 1),
                segments,
            };
            Ok(Some((manifest, false)))
        }
    }
}

impl RecoveryError {
    fn lost(file: PathBuf, why: String, journal: &Path) -> Self {
        Self::Lost {
            file,
            why,
            journal: journal.to_owned(),
        }
    }
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Manifest(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Segment(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Lost { file, why, journal } => {
                let data = journal.parent().unwrap_or(journal);
                write!(
                    f,
                    "{}: {why}: put it back from a copy that is as new as the rest, or move {} away to begin without it, subscribers are \
                     then shown only those publishers who are back; `rollcall journal {}` tells what can be read",
                    file.display(),
                    journal.display(),
                    data.display()
                )
            }
        }
    }
}

impl std::error::Error for RecoveryError {}
