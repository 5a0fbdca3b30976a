//! The orderly end: the last that is written is the word that nothing lacks, and it is over when all is on the medium.

use super::live::Live;
use super::record::Entry;
use super::snapshot::Snapshot;
use super::{Condition, Journal};
use crate::machine::Instant;

/// How far the orderly end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    Open,
    Wanted,
    Written,
    Done,
}

impl Journal {
    /// Nothing follows: what is there is written, and then the word that it is complete. A disk that has failed is tried once more, now.
    pub fn seal(&mut self) {
        if self.seal != Seal::Open {
            return;
        }
        self.seal = match (&mut self.condition, &self.live) {
            (Condition::Failed { retry_at, .. }, _) => {
                *retry_at = Instant::default();
                self.mark.hasten();
                Seal::Wanted
            }
            (_, Some(_)) => Seal::Wanted,
            (_, None) => Seal::Done,
        };
    }

    /// Whether the orderly end is on the medium, or cannot be.
    pub fn is_sealed(&self) -> bool {
        self.seal == Seal::Done || self.condition == Condition::Off
    }

    /// Says the last word, if it is wanted.
    pub(super) fn append_seal(&mut self) {
        let version = self.reserved.ceiling;
        // What may still lack something is not called complete: the next start goes on to make up for it.
        let last = match self.is_complete() {
            true => Entry::Sealed,
            false => Entry::Ceiling { version },
        };
        if let (Seal::Wanted, Some(live)) = (self.seal, &mut self.live) {
            live.append(&last, self.written);
            self.seal = Seal::Written;
        }
    }

    /// It is over once nothing is left that only the kernel has.
    pub(super) fn finish_seal(&mut self) {
        let is_whole = |live: &Live| !live.has_pending() && !live.is_unsynced();
        let former = self.snapshot.as_ref();
        if self.seal == Seal::Written
            && self.live.as_ref().is_some_and(is_whole)
            && !former.is_some_and(Snapshot::awaits_medium)
        {
            self.seal = Seal::Done;
        }
    }
}
