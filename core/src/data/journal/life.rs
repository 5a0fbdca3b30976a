//! What a journal is started with: how sure it must be, whose it is, and what former lives have left.

use std::time::Duration;

/// How much a crash of the machine may lose. A crash of the process loses nothing that anybody was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is written: a restart knows nobody until they come back.
    Off,
    /// What was written longer ago than this is on the medium.
    Interval(Duration),
    /// Whatever anybody was shown is on the medium.
    Always,
}

/// What a journal is told about the life of the process it belongs to.
#[derive(Clone, Debug)]
pub struct Life {
    /// How much a crash may lose.
    pub durability: Durability,
    /// Which cluster it belongs to.
    pub cluster: u64,
    /// Which shard of the node it is.
    pub shard: u16,
    /// How many shards the node has.
    pub shards: u16,
    /// Which start of the machine this is.
    pub boot_id: [u8; 16],
}

/// What former lives have left on the disk.
#[derive(Clone, Debug, Default)]
pub struct Former {
    /// Its segments and their bytes, oldest first.
    pub segments: Vec<(u64, u64)>,
    /// How many records are in them.
    pub records: u64,
    /// The first number that no segment had.
    pub next_segment: u64,
    /// The start of the machine in which they were written, unless they lack nothing whatever happened: they are sealed, or none.
    pub boot_id: Option<[u8; 16]>,
    /// The manifest's key; of a directory that was never used a random number that nobody outside knows.
    pub key: u64,
    /// What was replayed is not in these segments, or not safe there: another number of shards wrote it, or some of it is damaged.
    pub needs_snapshot: bool,
    /// Something may have been shown that is not in these segments: they are marked so, or something of them is lost.
    pub has_gap: bool,
}
