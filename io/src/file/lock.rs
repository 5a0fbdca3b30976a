//! A data directory belongs to one process at a time.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::folder::{FILE_MODE, Folder, refuse_irregular};

/// The file that is locked. It stays, and says nothing while nobody holds it.
const LOCK: &str = "lock";
/// How long a start waits for the lock: the kernel closes the files of a killed process a little after its end.
const RELEASE_PATIENCE: Duration = Duration::from_millis(1_500);
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A directory that this process alone uses. The kernel gives the lock back when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    was_used: bool,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum LockError {
    /// Another process uses it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other one has written about itself.
        pid: Option<u32>,
    },
    /// The file system says no.
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, pid } => {
                write!(f, "data directory {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop it or give --data-dir another one")
            }
            Self::Unusable { path, reason } => write!(
                f,
                "data directory {} cannot be used: {reason}; let this user write there or give --data-dir another one",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockError {}

impl DataDirectory {
    /// Takes the directory for this process, and makes it if it is not there. Blocks up to 1.5 s while another process has it.
    pub fn lock(path: &Path) -> Result<Self, LockError> {
        let unusable = |reason: String| LockError::Unusable {
            path: path.to_owned(),
            reason,
        };
        Folder::new(path)
            .make()
            .map_err(|error| unusable(error.to_string()))?;
        let file = path.join(LOCK);
        let was_used = file.exists();
        let lock = take(&file)
            .map_err(|error| unusable(format!("{}: {error}", file.display())))?
            .ok_or_else(|| LockError::InUse {
                path: path.to_owned(),
                pid: pid_in(&file),
            })?;
        Ok(Self {
            path: path.to_owned(),
            was_used,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier process has used it.
    pub fn was_used(&self) -> bool {
        self.was_used
    }

    /// The permissions of the directory, if other users have any: what is in it says who publishes what.
    pub fn is_open_to_others(&self) -> Option<u32> {
        let mode = fs::metadata(&self.path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }
}

/// The locked file, with our number in it; nothing if another process keeps it.
fn take(path: &Path) -> io::Result<Option<File>> {
    refuse_irregular(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let mut file = options.mode(FILE_MODE).open(path)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if started.elapsed() < RELEASE_PATIENCE => {
                thread::sleep(LOOK_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    // The number is for people only; a disk without room for it is no reason not to start.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", process::id());
    Ok(Some(file))
}

fn pid_in(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const IN_CHILD: &str = "ROLLCALL_TEST_HOLDS";

    /// Runs `test` in a process of its own, which finds the directory in its environment. It lives until its standard input ends.
    fn child(test: &str, directory: &Path) -> Child {
        let mut child = Command::new(env::current_exe().expect("this test"));
        child.args(["--exact", "--nocapture", test]);
        child.env(IN_CHILD, directory).stdin(Stdio::piped());
        child.stdout(Stdio::piped()).spawn().expect("a process")
    }

    #[test]
    fn a_second_process_is_told_who_has_it_and_a_killed_one_has_it_no_longer() {
        if let Some(path) = env::var_os(IN_CHILD) {
            let _held = DataDirectory::lock(Path::new(&path)).expect("a free directory");
            println!("\nheld");
            let _ = io::stdin().read(&mut [0]);
            return;
        }
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().join("data");
        let test = "file::lock::tests::a_second_process_is_told_who_has_it_and_a_killed_one_has_it_no_longer";
        let mut other = child(test, &path);
        let said = BufReader::new(other.stdout.take().expect("piped"));
        let is_held = said
            .lines()
            .map_while(Result::ok)
            .any(|line| line == "held");
        assert!(is_held, "the other process has it");

        let refused = DataDirectory::lock(&path).expect_err("the other has it");
        other.kill().expect("it runs");
        let taken = DataDirectory::lock(&path);
        other.wait().expect("it has ended");

        let pid = other.id();
        let directory = path.display();
        let must = format!(
            "data directory {directory} is in use by process {pid}; stop it or give --data-dir another one"
        );
        assert_eq!(refused.to_string(), must);
        assert_eq!(taken.expect("given back").path(), path);
        let number = fs::read_to_string(path.join(LOCK)).expect("ours");
        assert_eq!(number.trim(), process::id().to_string());
    }

    #[test]
    fn a_path_that_is_no_directory_is_refused_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");

        let refused = DataDirectory::lock(file.path()).expect_err("a file");

        let said = refused.to_string();
        assert!(matches!(refused, LockError::Unusable { .. }), "{said}");
        assert!(said.contains("give --data-dir another one"), "{said}");
    }
}
