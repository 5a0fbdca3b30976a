//! What a journal asks of a disk, and what it hears of it.

use std::fmt;

/// A file of one shard's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// Which segments there are.
    Manifest,
    /// It is there while something may have been shown that is in no segment: the next start is as careful as after a loss of power.
    Gap,
    /// Records.
    Segment(u64),
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest"),
            Self::Gap => f.write_str("gap"),
            Self::Segment(number) => write!(f, "{number:010}.segment"),
        }
    }
}

/// What a disk is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes at an offset of a file, which is made if it is not there. Done when the kernel has them.
    Write {
        /// Where.
        file: File,
        /// Behind so many bytes.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// All that was written to the file is on the medium, and so is its name.
    Sync {
        /// Which file.
        file: File,
    },
    /// The whole file at once, on the medium, or as it was before.
    Replace {
        /// Which file.
        file: File,
        /// What it is from then on.
        bytes: Vec<u8>,
    },
    /// These are gone. One that is not there is no error.
    Remove {
        /// Which files.
        files: Vec<File>,
    },
}

/// Why an operation did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The disk has no room for it.
    pub is_full: bool,
    /// In words: which file, and what the disk said.
    pub said: String,
}

/// One operation at a time is under way in each lane; the two know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What pushes wait for.
    Turn,
    /// Syncs, snapshots, manifests.
    Background,
}
