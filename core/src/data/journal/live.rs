//! The segment that changes are appended to, and what of it is where: in memory, in the kernel, on the medium.

use crate::version::DatumVersion;

use super::record::Entry;
use super::segment::{Header, SegmentWriter};

/// A segment that grows.
#[derive(Debug)]
pub(super) struct Live {
    segment: u64,
    writer: SegmentWriter,
    /// Encoded, and taken by no write.
    pending: Vec<u8>,
    /// The buffer of the last write, for the next.
    spare: Vec<u8>,
    newest: DatumVersion,
    written: u64,
    synced: u64,
}

impl Live {
    /// An empty one whose header waits to be written.
    pub(super) fn new(header: &Header, newest: DatumVersion) -> Self {
        let mut pending = Vec::new();
        Self {
            segment: header.segment,
            writer: SegmentWriter::new(header, &mut pending),
            pending,
            spare: Vec::new(),
            newest,
            written: 0,
            synced: 0,
        }
    }

    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Its length with all that is pending.
    pub(super) fn len(&self) -> u64 {
        self.writer.len()
    }

    /// The newest version in it.
    pub(super) fn newest(&self) -> DatumVersion {
        self.newest
    }

    pub(super) fn append(&mut self, entry: &Entry<'_>, version: DatumVersion) {
        self.writer.append(entry, &mut self.pending);
        self.newest = self.newest.max(version);
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// All that is pending, and where it belongs.
    pub(super) fn take_pending(&mut self) -> Option<(u64, Vec<u8>)> {
        self.writer.close(&mut self.pending);
        if self.pending.is_empty() {
            return None;
        }
        let spare = std::mem::take(&mut self.spare);
        let bytes = std::mem::replace(&mut self.pending, spare);
        Some((self.len() - bytes.len() as u64, bytes))
    }

    /// Takes a buffer back whose bytes are written.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() > crate::limits::JOURNAL_BUFFER_KEPT_MAX {
            return;
        }
        self.spare = buffer;
        if self.pending.is_empty() {
            // The one that was used last is nearer.
            std::mem::swap(&mut self.pending, &mut self.spare);
        }
    }

    /// The kernel has so much of it; says how much of that is new.
    pub(super) fn on_written(&mut self, end: u64) -> u64 {
        end - std::mem::replace(&mut self.written, end)
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn on_synced(&mut self, end: u64) {
        self.synced = self.synced.max(end);
    }

    /// Whether the kernel has something of it that may not be on the medium.
    pub(super) fn is_unsynced(&self) -> bool {
        self.synced < self.written
    }

    /// How much of it may not be on the medium.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.len() - self.synced
    }
}
