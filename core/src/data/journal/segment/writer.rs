//! Turns records into the bytes of a segment, each to be written behind the one before.

use super::header::Header;
use super::{BLOCK_BYTES, FRAGMENT_HEAD_BYTES, Kind, fragment_crc, head_crc};
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
    /// The record at work.
    scratch: Vec<u8>,
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
            scratch: Vec::new(),
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
        let mut content = std::mem::take(&mut self.scratch);
        content.clear();
        record.encode(&mut content);
        let bytes = content.len();
        assert!(
            bytes <= JOURNAL_RECORD_BYTES_MAX,
            "a record of {bytes} bytes"
        );
        self.append_content(&content, out);
        self.scratch = content;
    }

    pub(super) fn append_content(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            let start = out.len();
            let room = self.room(out);
            let (part, behind) = rest.split_at(rest.len().min(room - FRAGMENT_HEAD_BYTES));
            let kind = Kind::of(rest.len() == content.len(), behind.is_empty());
            self.fragment(kind, part, out);
            self.len += (out.len() - start) as u64;
            rest = behind;
        }
    }

    /// Bytes left in the block for one fragment, in a new block if that of now has too few.
    fn room(&self, out: &mut Vec<u8>) -> usize {
        let used = usize::try_from(self.len % BLOCK_BYTES as u64).expect("less than a block");
        let room = (BLOCK_BYTES - used) % BLOCK_BYTES;
        if room > FRAGMENT_HEAD_BYTES {
            return room;
        }
        out.resize(out.len() + room, 0);
        let block = (self.len + room as u64) / BLOCK_BYTES as u64;
        let start = out.len();
        out.extend(self.sequence.to_le_bytes());
        let crc = head_crc(self.salt, block, &out[start..]);
        out.extend(crc.to_le_bytes());
        BLOCK_BYTES - (out.len() - start)
    }

    fn fragment(&mut self, kind: Kind, content: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let len = u16::try_from(content.len()).expect("a fragment is shorter than a block");
        out.extend([0; 4]);
        out.extend(len.to_le_bytes());
        out.push(kind as u8);
        out.extend_from_slice(content);
        let crc = fragment_crc(self.salt, self.sequence, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
    }
}
