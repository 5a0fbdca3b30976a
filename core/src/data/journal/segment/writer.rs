//! Turns records into the bytes of a segment, each to be written behind the one before.

use super::header::Header;
use super::{BLOCK_BYTES, FRAGMENT_HEAD_BYTES, HEAD_BYTES, Kind, fragment_crc, head_crc};
use crate::data::journal::record::Record;
use crate::limits::JOURNAL_RECORD_BYTES_MAX;

/// Writes one segment from its header on.
#[derive(Debug)]
pub struct SegmentWriter {
    salt: u64,
    /// Bytes so far.
    len: u64,
    /// Of the next fragment.
    sequence: u64,
}

impl SegmentWriter {
    /// Begins a segment: its header goes to `out`.
    pub fn new(header: &Header, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        header.encode(out);
        Self {
            salt: header.salt,
            len: (out.len() - start) as u64,
            sequence: 0,
        }
    }

    /// The length of the segment with all that was appended, in bytes: where what comes next has its place.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a segment has at least its header"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends a record.
    ///
    /// # Panics
    /// If the record is longer than `JOURNAL_RECORD_BYTES_MAX`, which no registration can be that a client was able to send.
    pub fn append(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.append_with(out, |out| {
            let start = out.len();
            record.encode(out);
            let bytes = out.len() - start;
            assert!(
                bytes <= JOURNAL_RECORD_BYTES_MAX,
                "a record of {bytes} bytes"
            );
        });
    }

    /// Appends what `encode` does: where it belongs at once, if the block has room for all of it, as it nearly always has.
    pub(super) fn append_with(&mut self, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
        let room = self.room(out);
        let start = out.len();
        out.extend([0; FRAGMENT_HEAD_BYTES]);
        encode(out);
        if out.len() - start <= room {
            self.fragment(Kind::Full, start, out);
        } else {
            let content = out.split_off(start + FRAGMENT_HEAD_BYTES);
            out.truncate(start);
            self.append_parts(&content, out);
        }
    }

    fn append_parts(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            let room = self.room(out);
            let (part, behind) = rest.split_at(rest.len().min(room - FRAGMENT_HEAD_BYTES));
            let kind = Kind::of(rest.len() == content.len(), behind.is_empty());
            let start = out.len();
            out.extend([0; FRAGMENT_HEAD_BYTES]);
            out.extend_from_slice(part);
            self.fragment(kind, start, out);
            rest = behind;
        }
    }

    /// Bytes left in the block for one fragment, in a new block if that of now has too few.
    fn room(&mut self, out: &mut Vec<u8>) -> usize {
        let used = usize::try_from(self.len % BLOCK_BYTES as u64).expect("less than a block");
        let room = (BLOCK_BYTES - used) % BLOCK_BYTES;
        if room > FRAGMENT_HEAD_BYTES {
            return room;
        }
        out.resize(out.len() + room, 0);
        self.len += room as u64;
        let start = out.len();
        out.extend(self.sequence.to_le_bytes());
        let block = self.len / BLOCK_BYTES as u64;
        let crc = head_crc(self.salt, block, &out[start..]);
        out.extend(crc.to_le_bytes());
        self.len += HEAD_BYTES as u64;
        BLOCK_BYTES - HEAD_BYTES
    }

    /// Writes the head of a fragment whose content is there, behind room for the head.
    fn fragment(&mut self, kind: Kind, start: usize, out: &mut [u8]) {
        let fragment = &mut out[start..];
        let len = fragment.len() - FRAGMENT_HEAD_BYTES;
        let len = u16::try_from(len).expect("a fragment is shorter than a block");
        fragment[4..6].copy_from_slice(&len.to_le_bytes());
        fragment[6] = kind as u8;
        let crc = fragment_crc(self.salt, self.sequence, &fragment[4..]);
        fragment[..4].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
        self.len += fragment.len() as u64;
    }
}
