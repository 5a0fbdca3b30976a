//! The file of a journal: a header, then blocks of a fixed size, in which batches of records stand as one or more fragments.
//!
//! ```text
//! block     0: header (56)          1, 2, …: sequence of its first fragment (8), CRC-32 (4)
//!           then fragments; fewer bytes at its end than a fragment needs are zero
//! fragment  CRC-32 of all behind it (4), length of the content (2), kind (1), content: a batch, or a part of one
//! batch     number of records (1), records: they have one checksum, as to sum each by itself takes twice the time
//! header    magic (8), format (2), cluster (8), shard (2), segment (8), salt (8), boot id (16), CRC-32 of all before (4)
//! ```
//!
//! All numbers are little endian. What is lost is lost up to a block's end at most: a reader that finds a fragment unsound goes
//! on with the next sound block. That cannot be forged by what clients publish. Where a block begins there is always a head
//! of ours; and the checksums of heads and fragments start from the segment's salt, which no client knows, and the number of the
//! block or the sequence of the fragment, so that even a copy of sound bytes is unsound in any other place.

mod header;
mod scanner;
#[cfg(test)]
mod tests;
mod writer;

pub use header::{Expected, Header, HeaderError};
pub use scanner::{Scanned, Scanner, Tail, Why};
pub use writer::SegmentWriter;

use crate::names::mix;

/// Bytes of a block. A damaged byte costs at most one; its head is a 2,700th of it.
pub const BLOCK_BYTES: usize = 32 << 10;
/// Bytes of the head of every block but the first.
const HEAD_BYTES: usize = 12;
/// Bytes in front of a fragment's content.
pub(super) const FRAGMENT_HEAD_BYTES: usize = 7;
/// Bytes in front of the records of a batch that is one fragment: there is the number of them, too.
const BATCH_HEAD_BYTES: usize = FRAGMENT_HEAD_BYTES + 1;

const _: () = assert!(BLOCK_BYTES <= 1 << 16, "a fragment's length has 2 bytes");

/// Which part of a batch a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Full = 1,
    First = 2,
    Middle = 3,
    Last = 4,
}

impl Kind {
    fn of(is_first: bool, is_last: bool) -> Self {
        match (is_first, is_last) {
            (true, true) => Self::Full,
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
        }
    }

    /// Zero is none of them: what a disk never wrote is no fragment.
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Full, Self::First, Self::Middle, Self::Last]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }
}

/// The checksum of a fragment: of its length, kind and content, in this place of this segment.
fn fragment_crc(salt: u64, sequence: u64, bytes: &[u8]) -> u32 {
    crc(mix(salt).wrapping_add(sequence), bytes)
}

/// The checksum of a block's head: of the sequence it tells, as this block of this segment.
fn head_crc(salt: u64, block: u64, bytes: &[u8]) -> u32 {
    crc(mix(!salt).wrapping_add(block), bytes)
}

fn crc(seed: u64, bytes: &[u8]) -> u32 {
    // The low half: neighbours differ for certain, so a fragment is never taken for the next or the one before.
    let mut crc = crc32fast::Hasher::new_with_initial(seed as u32);
    crc.update(bytes);
    crc.finalize()
}
