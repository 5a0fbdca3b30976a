//! What operators set, on disk: it is there before they are told so, and after every restart.
//!
//! A log of commands behind the state before them, in one file. When the log has outgrown the state, the state after it takes the place of
//! both. The file is redb's, which syncs each change, is whole after any crash and finds damage by itself.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use rollcall_core::meta::{MetaCommand, MetaState};
use rollcall_io::file::refuse_irregular;
use serde::de::DeserializeOwned;

/// Its name in the data directory.
const FILE: &str = "operators.redb";
/// How commands and state are written; the state's version, too. Raised with every change of `MetaCommand` and `MetaState`.
const FORMAT: u32 = 1;
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const COMMANDS: TableDefinition<u64, &[u8]> = TableDefinition::new("commands");
/// Keys of `about`.
const FORMAT_KEY: &str = "format";
const STATE_KEY: &str = "state";
/// A log shorter than this is kept, however small the state is.
const LOG_BYTES_MIN: usize = 1 << 20;
/// Memory for pages of the file, which is read once and then written a little at a time.
const CACHE_BYTES: usize = 1 << 20;
/// How long a start waits for the file: the kernel lets go of a killed process's locks one after the other.
const RELEASE_PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The file of one node. Every call blocks.
#[derive(Debug)]
pub(crate) struct Operators {
    path: PathBuf,
    /// `None` after a failure, until the next command opens it again.
    database: Option<Database>,
    next: u64,
    log_bytes: usize,
    state_bytes: usize,
    /// There was no such file.
    is_new: bool,
}

/// Why it cannot be read.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file system says no.
    File(PathBuf, redb::Error),
    /// What is there was not written by us, or not to its end, or has changed since.
    Damaged(PathBuf, String),
    /// Another version of this program wrote it.
    Format(PathBuf, u32),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => {
                write!(
                    f,
                    "{}: {error}; let this user read and write it",
                    path.display()
                )
            }
            Self::Damaged(path, what) => write!(
                f,
                "{}: damaged: {what}; it holds what operators set (persistent data, switches, blacklist, clients off): put a backup in its \
                 place, or move it away to start without any of it",
                path.display()
            ),
            Self::Format(path, format) => write!(
                f,
                "{}: has format {format}, this version knows format {FORMAT}: start the version that wrote it",
                path.display()
            ),
        }
    }
}

/// A command that is not on disk. The registry goes on with what was set before.
#[derive(Debug)]
pub(crate) struct NotStored(String);

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Operators {
    /// Opens the file in this directory, which is made if it is not there, and says what it holds.
    pub(crate) fn open(directory: &Path) -> Result<(Self, MetaState), OpenError> {
        let path = directory.join(FILE);
        refuse_irregular(&path)
            .map_err(|error| OpenError::File(path.clone(), redb::Error::Io(error)))?;
        let is_new = !path.exists();
        if is_new {
            make(&path).map_err(|error| OpenError::File(path.clone(), error))?;
        }
        let database = patiently(|| open(&path)).map_err(|error| told(&path, error))?;
        let mut operators = Self {
            path: path.clone(),
            database: None,
            next: 0,
            log_bytes: 0,
            state_bytes: 0,
            is_new,
        };
        let state = operators.load(&database)?;
        operators.database = Some(database);
        Ok((operators, state))
    }

    /// Whether the file was made by this start.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    fn load(&mut self, database: &Database) -> Result<MetaState, OpenError> {
        let held = read(database).map_err(|error| told(&self.path, error))?;
        let damaged = |what: &str| OpenError::Damaged(self.path.clone(), what.to_owned());
        match held.format.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) if u32::from_le_bytes(bytes) == FORMAT => {}
            Some(bytes) => {
                let format = u32::from_le_bytes(bytes);
                return Err(OpenError::Format(self.path.clone(), format));
            }
            None => return Err(damaged("it does not say its format")),
        }
        let mut state = match &held.state {
            Some(bytes) => decode(bytes).ok_or_else(|| damaged("its state cannot be read"))?,
            None => MetaState::default(),
        };
        for (place, bytes) in &held.commands {
            decode::<MetaCommand>(bytes)
                .and_then(|command| state.apply(command).ok())
                .ok_or_else(|| damaged(&format!("command {place} cannot be read")))?;
        }
        self.next = held.commands.last().map_or(0, |(place, _)| place + 1);
        self.log_bytes = held.commands.iter().map(|(_, bytes)| bytes.len()).sum();
        self.state_bytes = held.state.map_or(0, |bytes| bytes.len());
        Ok(state)
    }

    /// Writes a command that leads to the state `after`; it is on the medium then.
    pub(crate) fn record(
        &mut self,
        command: &MetaCommand,
        after: &MetaState,
    ) -> Result<(), NotStored> {
        let written = match self.database.take() {
            Some(database) => self.write(database, command, after),
            // Whether the command that failed is in the file is not known: the state as a whole takes the place of both.
            None => open(&self.path).and_then(|database| self.write_state(database, after)),
        };
        match written {
            Ok(database) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => Err(NotStored(format!(
                "nothing was changed, because it cannot be kept: {}: {error}",
                self.path.display()
            ))),
        }
    }

    fn write(
        &mut self,
        database: Database,
        command: &MetaCommand,
        after: &MetaState,
    ) -> Result<Database, redb::Error> {
        let bytes = encode(command);
        if self.log_bytes + bytes.len() > self.state_bytes.max(LOG_BYTES_MIN) {
            return self.write_state(database, after);
        }
        let write = begin(&database)?;
        write.open_table(COMMANDS)?.insert(self.next, &*bytes)?;
        write.commit()?;
        self.next += 1;
        self.log_bytes += bytes.len();
        Ok(database)
    }

    fn write_state(
        &mut self,
        database: Database,
        state: &MetaState,
    ) -> Result<Database, redb::Error> {
        let bytes = encode(state);
        let write = begin(&database)?;
        write.open_table(ABOUT)?.insert(STATE_KEY, &*bytes)?;
        write.delete_table(COMMANDS)?;
        write.open_table(COMMANDS)?;
        write.commit()?;
        (self.next, self.log_bytes, self.state_bytes) = (0, 0, bytes.len());
        Ok(database)
    }
}

/// Makes the file under another name first: one that is not whole never has this name, and an empty one is damage.
fn make(path: &Path) -> Result<(), redb::Error> {
    let next = path.with_extension("next");
    if next.exists() {
        fs::remove_file(&next)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options.mode(0o600).open(&next)?;
    let database = Database::create(&next)?;
    let write = begin(&database)?;
    write
        .open_table(ABOUT)?
        .insert(FORMAT_KEY, &FORMAT.to_le_bytes()[..])?;
    write.open_table(COMMANDS)?;
    write.commit()?;
    drop(database);
    fs::rename(&next, path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    Ok(File::open(directory)?.sync_all()?)
}

/// Begins a change. Each is on the medium before the file says that it is the last: with one phase less, a last change that was damaged
/// later is taken for one that was never finished, and what operators were told is gone without a word.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_two_phase_commit(true);
    Ok(write)
}

/// What the file holds, as it is written there.
struct Held {
    format: Option<Vec<u8>>,
    state: Option<Vec<u8>>,
    commands: Vec<(u64, Vec<u8>)>,
}

fn read(database: &Database) -> Result<Held, redb::Error> {
    let read = database.begin_read()?;
    let about = read.open_table(ABOUT)?;
    let bytes_at = |key| {
        about
            .get(key)
            .map(|found| found.map(|bytes| bytes.value().to_vec()))
    };
    let mut commands = Vec::new();
    for command in read.open_table(COMMANDS)?.iter()? {
        let (place, bytes) = command?;
        commands.push((place.value(), bytes.value().to_vec()));
    }
    Ok(Held {
        format: bytes_at(FORMAT_KEY)?,
        state: bytes_at(STATE_KEY)?,
        commands,
    })
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // Without it damage may end the process rather than be an error.
    builder.set_check_integrity_on_open(true);
    Ok(builder.open(path)?)
}

/// Tries again while another process has the file.
fn patiently(attempt: impl Fn() -> Result<Database, redb::Error>) -> Result<Database, redb::Error> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(redb::Error::DatabaseAlreadyOpen) if started.elapsed() < RELEASE_PATIENCE => {
                thread::sleep(LOOK_INTERVAL);
            }
            ended => return ended,
        }
    }
}

/// What an error means for the operator.
fn told(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::File(path.to_owned(), error),
        redb::Error::Io(ref said) if said.raw_os_error().is_some() => {
            OpenError::File(path.to_owned(), error)
        }
        damage => OpenError::Damaged(path.to_owned(), damage.to_string()),
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    bincode::serialize(value).expect("strings, numbers and lists always serialize")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    bincode::deserialize(bytes).ok()
}

#[cfg(test)]
mod tests;
