//! Turns records into the bytes of a segment, each to be written behind the one before.

use super::header::Header;
use super::{BLOCK_BYTES, FRAGMENT_HEAD_BYTES, HEAD_BYTES, Kind, fragment_crc, head_crc};
use crate::data::journal::record::{Record, Told};
use crate::limits::JOURNAL_RECORD_BYTES_MAX;

/// So many bytes in front of a fragment let what is summed of it begin at a multiple of eight, where each eight are one step.
const ALIGNING_BYTES: usize = 4;

/// Writes one segment from its header on.
#[derive(Debug)]
pub struct SegmentWriter {
    salt: u64,
    /// Bytes so far.
    len: u64,
    /// Of the next fragment.
    sequence: u64,
    /// In the present block.
    told: Told,
    /// The fragment that is being made, in memory that is always near: what waits to be written is long out of the caches when it is
    /// written over, and a checksum would wait for it.
    fragment: Vec<u8>,
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
            told: Told::default(),
            fragment: Vec::new(),
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
        let room = self.room(out);
        self.begin_fragment();
        record.encode(&mut self.told, &mut self.fragment);
        if self.fragment.len() - ALIGNING_BYTES <= room {
            return self.end_fragment(Kind::Full, out);
        }
        // What goes on in the next block knows nothing of this one.
        self.fragment = Vec::new();
        let mut content = Vec::new();
        record.encode(&mut Told::default(), &mut content);
        let bytes = content.len();
        assert!(
            bytes <= JOURNAL_RECORD_BYTES_MAX,
            "a record of {bytes} bytes"
        );
        self.append_content(&content, out);
        self.told.forget();
    }

    /// Appends the content of a record, in as many fragments as it takes.
    pub(super) fn append_content(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            let room = self.room(out);
            let (part, behind) = rest.split_at(rest.len().min(room - FRAGMENT_HEAD_BYTES));
            let kind = Kind::of(rest.len() == content.len(), behind.is_empty());
            self.begin_fragment();
            self.fragment.extend_from_slice(part);
            self.end_fragment(kind, out);
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
        self.told.forget();
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

    /// Leaves room for the head of the next fragment. Its content follows.
    fn begin_fragment(&mut self) {
        self.fragment.clear();
        self.fragment
            .extend([0; ALIGNING_BYTES + FRAGMENT_HEAD_BYTES]);
    }

    /// Appends the fragment, whose content is there.
    fn end_fragment(&mut self, kind: Kind, out: &mut Vec<u8>) {
        let fragment = &mut self.fragment[ALIGNING_BYTES..];
        let len = fragment.len() - FRAGMENT_HEAD_BYTES;
        let len = u16::try_from(len).expect("a fragment is shorter than a block");
        fragment[4..6].copy_from_slice(&len.to_le_bytes());
        fragment[6] = kind as u8;
        let crc = fragment_crc(self.salt, self.sequence, &fragment[4..]);
        fragment[..4].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(fragment);
        self.sequence += 1;
        self.len += fragment.len() as u64;
    }
}
