//! Turns records into the bytes of a segment, each to be written behind the one before.

use super::header::Header;
use super::{
    BATCH_HEAD_BYTES, BLOCK_BYTES, FRAGMENT_HEAD_BYTES, HEAD_BYTES, Kind, fragment_crc, head_crc,
};
use crate::data::journal::record::{Entry, Told};
use crate::limits::{JOURNAL_BATCH_BYTES, JOURNAL_RECORD_BYTES_MAX};

/// Writes one segment from its header on.
#[derive(Debug)]
pub struct SegmentWriter {
    salt: u64,
    /// Bytes so far.
    len: u64,
    /// Of the next fragment.
    sequence: u64,
    batch: Batch,
}

/// The batch that is open, if it has bytes: a fragment at the end of `out` whose head is still blank.
#[derive(Debug, Default)]
struct Batch {
    /// With its head.
    bytes: usize,
    records: usize,
    /// What it may come to in this block.
    room: usize,
    told: Told,
}

impl Batch {
    /// As many as bincode tells in one byte.
    const RECORDS_MAX: usize = 250;
    const BLANK_HEAD: [u8; BATCH_HEAD_BYTES] = [0; BATCH_HEAD_BYTES];

    fn is_full(&self) -> bool {
        self.bytes >= JOURNAL_BATCH_BYTES || self.records == Self::RECORDS_MAX
    }
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
            batch: Batch::default(),
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

    /// Appends a record, to the batch that is open. Until that is closed, nothing else may be done to `out`.
    ///
    /// # Panics
    /// If the record is longer than `JOURNAL_RECORD_BYTES_MAX`, which no registration can be that a client was able to send.
    pub fn append(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        if self.batch.bytes == 0 {
            self.open(out);
        }
        let before = out.len();
        entry.encode(&mut self.batch.told, out);
        let bytes = out.len() - before;
        if self.batch.bytes + bytes > self.batch.room {
            out.truncate(before);
            return self.append_elsewhere(entry, out);
        }
        self.batch.bytes += bytes;
        self.batch.records += 1;
        self.len += bytes as u64;
        if self.batch.is_full() {
            self.close(out);
        }
    }

    /// Ends the batch that is open, if one is: `out` is complete then.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let Batch { bytes, records, .. } = std::mem::take(&mut self.batch);
        let start = out.len() - bytes;
        if records == 0 {
            out.truncate(start);
            self.len -= bytes as u64;
            return;
        }
        out[start + FRAGMENT_HEAD_BYTES] = u8::try_from(records).expect("few enough");
        self.seal(Kind::Full, &mut out[start..]);
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        self.batch.room = self.room(out);
        self.batch.bytes = Batch::BLANK_HEAD.len();
        out.extend(Batch::BLANK_HEAD);
        self.len += Batch::BLANK_HEAD.len() as u64;
    }

    /// Appends a record that the open batch has no room for: to the next, or, if it is alone in this one, to this block and those behind.
    #[cold]
    fn append_elsewhere(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let is_alone = self.batch.records == 0;
        self.close(out);
        if !is_alone {
            return self.append(entry, out);
        }
        let mut content = vec![1];
        entry.encode(&mut Told::default(), &mut content);
        let bytes = content.len();
        assert!(
            bytes <= JOURNAL_RECORD_BYTES_MAX,
            "a record of {bytes} bytes"
        );
        self.append_content(&content, out);
    }

    /// Appends the content of a batch, in as many fragments as it takes.
    pub(super) fn append_content(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            let room = self.room(out);
            let (part, behind) = rest.split_at(rest.len().min(room - FRAGMENT_HEAD_BYTES));
            let start = out.len();
            out.extend([0; FRAGMENT_HEAD_BYTES]);
            out.extend_from_slice(part);
            self.len += (out.len() - start) as u64;
            let kind = Kind::of(rest.len() == content.len(), behind.is_empty());
            self.seal(kind, &mut out[start..]);
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

    /// Fills in the head of a fragment whose content is there.
    fn seal(&mut self, kind: Kind, fragment: &mut [u8]) {
        let len = fragment.len() - FRAGMENT_HEAD_BYTES;
        let len = u16::try_from(len).expect("a fragment is shorter than a block");
        fragment[4..6].copy_from_slice(&len.to_le_bytes());
        fragment[6] = kind as u8;
        let crc = fragment_crc(self.salt, self.sequence, &fragment[4..]);
        fragment[..4].copy_from_slice(&crc.to_le_bytes());
        self.sequence += 1;
    }
}
