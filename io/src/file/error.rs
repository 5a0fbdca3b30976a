//! Why a disk did not do what it was asked for.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// An operation that failed: what kind of trouble, and in words which file, which operation and what the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What can be done about it.
    pub trouble: Trouble,
    said: String,
}

/// What ails a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room, or a quota is used up: it heals when something is removed.
    Full,
    /// Mounted read-only, as the kernel does when a file system is damaged.
    ReadOnly,
    /// The device fails. What was written since the last sync that succeeded may be lost, even if the next one succeeds.
    Io,
    /// Anything else, such as a directory that is gone or a permission that is missing.
    Other,
}

impl DiskError {
    pub(super) fn new(doing: &str, path: &Path, error: &io::Error) -> Self {
        let trouble = match (error.kind(), error.raw_os_error()) {
            (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => Trouble::Full,
            (ErrorKind::ReadOnlyFilesystem, _) => Trouble::ReadOnly,
            (_, Some(libc::EIO)) => Trouble::Io,
            _ => Trouble::Other,
        };
        Self {
            trouble,
            said: format!("{doing} {}: {error}", path.display()),
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for DiskError {}
