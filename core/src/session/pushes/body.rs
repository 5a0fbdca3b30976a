//! A body that many pushes share, and how many of those still have to be written.

use std::cell::Cell;
use std::ops::Deref;

use bytes::Bytes;

/// The shared part of pushes. Whoever queues it says so, and again when it is written: all of them together hold its memory once.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Bytes,
    owed: Cell<u32>,
}

impl Body {
    /// A body that nobody has queued.
    pub fn new(bytes: Bytes) -> Self {
        let owed = Cell::default();
        Self { bytes, owed }
    }

    /// It is queued once more. True for the first who owes it.
    pub fn owe(&self) -> bool {
        self.owed.replace(self.owed.get() + 1) == 0
    }

    /// It is owed once less. True for the last who owed it.
    pub fn settle(&self) -> bool {
        let left = self.owed.get() - 1;
        self.owed.set(left);
        left == 0
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
