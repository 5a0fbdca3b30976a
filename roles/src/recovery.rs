//! A start on what former lives left: which journals are the truth, and what they hold.
//!
//! Each core replays its own shard. If the number of cores has changed since, every core reads the journals of all and keeps what the ring
//! gives it; what it kept must be in a journal of its own before the old ones go, so all cores together begin an *era*, a directory of
//! its own, and one file says which era is the truth.

mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rollcall_core::data::journal::manifest::{Current, ManifestError};
use rollcall_core::data::journal::replay::Replayed;
use rollcall_core::data::journal::segment::HeaderError;
use rollcall_core::data::journal::{Durability, Former};
use rollcall_core::names::{CoreId, Interner};
use rollcall_core::ring;
use rollcall_core::tables::Seed;
use rollcall_io::file::{DiskError, Folder, read_if_there, replace, set_aside};
use rollcall_io::host;

use self::shard::{End, Reader, Reading};

/// The directory of all eras, in the data directory.
pub(crate) const JOURNAL: &str = "journal";
/// The file that says which era is the truth.
pub(crate) const CURRENT: &str = "current";
/// The file that says by which rule its services belong to cores.
const RULE: &str = "ring";
/// Until a node belongs to a cluster.
pub(crate) const CLUSTER: u64 = 0;

/// The journals of a node.
#[derive(Clone, Debug)]
pub(crate) struct Journals {
    root: PathBuf,
    /// Where this life writes.
    era: u64,
    cores: u16,
    /// Former lives have said that this era is the truth.
    is_current: bool,
    /// Former lives were ready, and have said so.
    was_begun: bool,
    /// What former lives said is lost.
    is_doubtful: bool,
    /// Something could not be read.
    is_damaged: Arc<AtomicBool>,
    /// The rule by which services belong to cores is not, or not for certain, on the disk as this build knows it.
    rule_is_new: bool,
    /// Where former lives wrote, if that was another era.
    before: Option<Current>,
    durability: Durability,
    boot_id: [u8; 16],
}

/// By which rule the services of a journal belong to cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Same,
    Another,
    /// Builds that did not say it had the first rule there was.
    Unknown,
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

impl Rule {
    fn of(root: &Path) -> Result<Self, RecoveryError> {
        let path = root.join(RULE);
        let read = read_if_there(&path);
        let said = read.map_err(|error| RecoveryError::Unreadable(path, error))?;
        Ok(match said {
            Some(said) if said == Self::text().as_bytes() => Self::Same,
            Some(_) => Self::Another,
            None if ring::rule() != ring::FIRST_RULE => Self::Another,
            None => Self::Unknown,
        })
    }

    fn text() -> String {
        format!("{:016x}\n", ring::rule())
    }
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
        let rule = match current {
            Some(_) => Rule::of(&root)?,
            None => Rule::Unknown,
        };
        if rule == Rule::Another {
            tracing::warn!(journal = %root.display(), "written under another rule for which core has which service: all of it is read and written anew");
        }
        let is_other = |current: &Current| current.cores != cores || rule == Rule::Another;
        let before = current.filter(is_other);
        Ok(Self {
            root,
            era: current.map_or(0, |current| current.era) + u64::from(before.is_some()),
            cores,
            is_current: is_said && before.is_none(),
            was_begun: is_said,
            rule_is_new: rule != Rule::Same,
            is_doubtful: !is_said && current.is_some(),
            is_damaged: Arc::default(),
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
        self.say_rule();
        self.remove_other_eras()
    }

    /// After the era, which counts: without that a start would take over under this rule what was written under another.
    fn say_rule(&self) {
        if !self.rule_is_new {
            return;
        }
        let said = replace(&self.root.join(RULE), Rule::text().as_bytes());
        if let Err(error) = said {
            tracing::warn!(%error, "the next start does not know by which rule the journal is written");
        }
    }

    /// Whether there was a life before this one of which something is known.
    pub(crate) fn has_former(&self) -> bool {
        self.is_current || self.before.is_some()
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
                let removed = match self.is_damaged.load(Relaxed) {
                    true => set_aside(&path).map(|kept| {
                        let (era, kept) = (path.display(), kept.display());
                        tracing::warn!(%era, %kept, "set aside, as not all of it could be read");
                    }),
                    false => fs::remove_dir_all(&path),
                };
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
        let mut reading = Reading::new(core, seed, names, is_mine);
        let mut former = Former {
            key: host::random(),
            ..Former::default()
        };
        let mut ends = Vec::new();
        let reader = Reader {
            cleans: self.before.is_none(),
            was_begun: self.was_begun,
        };
        match self.before {
            Some(before) => {
                for other in (0..before.cores).map(CoreId) {
                    let folder = Folder::new(self.path_in(before.era, other));
                    let (known, end) = reading.read_shard(other, &folder, reader)?;
                    former.has_gap |= known.is_some_and(|known| known.has_gap);
                    ends.extend(end);
                }
                former.needs_snapshot = true;
            }
            None => {
                let folder = Folder::new(self.path_of(core));
                let (known, end) = reading.read_shard(core, &folder, reader)?;
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
        let mut damages = reading.damages;
        if damages > 0 {
            self.is_damaged.store(true, Relaxed);
        }
        let replayed = reading.finish();
        if self.before.is_none() && replayed.unwanted > 0 {
            damages += 1;
            let services = replayed.unwanted;
            tracing::warn!(
                core = core.0,
                services,
                "in the journal of a core that does not have them, they are not served"
            );
        }
        // A first start that was killed has said nothing either, and shown nothing.
        if self.is_doubtful && !replayed.services.is_empty() {
            damages += 1;
            former.has_gap = true;
        }
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
    let read = read_if_there(&path);
    let Some(bytes) = read.map_err(|error| RecoveryError::Unreadable(path.clone(), error))? else {
        return Ok(Err("missing".to_owned()));
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
