//! What a shard keeps on disk, so that a restart shows nobody a shorter list: the operations that files are asked for.

pub mod manifest;
pub mod record;
pub mod replay;
pub mod segment;

use std::fmt;

/// A file of one shard's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// Names the live segments.
    Manifest,
    /// Records, in the order in which they were written.
    Segment(u64),
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest"),
            Self::Segment(id) => write!(f, "{id:010}.segment"),
        }
    }
}

/// What a disk is asked to do. One at a time per lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes at an offset of a file, which is made if it is not there. Done when the kernel has them (page cache).
    Write {
        /// Where to.
        file: File,
        /// Where in it.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// All that was written to the file is on the medium (fdatasync; the first sync of a new file also syncs the directory).
    Sync {
        /// Which file.
        file: File,
    },
    /// The whole file at once, or as it was before: temporary file, sync, rename, sync of the directory.
    Replace {
        /// Which file.
        file: File,
        /// Its new content.
        bytes: Vec<u8>,
    },
    /// These are gone. A file that is not there is no error.
    Remove {
        /// Which files.
        files: Vec<File>,
    },
}

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What pushes wait for.
    Turn,
    /// Syncs, snapshots, manifests.
    Background,
}
