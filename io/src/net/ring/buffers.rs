//! The receive buffers that all connections of a core share, handed to the kernel as a ring of provided buffers.
#![expect(
    unsafe_code,
    reason = "memory shared with the kernel; every access states who owns the buffer at that moment"
)]

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::net::transport::Chunk;
use crate::sys::Pages;

/// The only buffer group of a core's ring.
pub(super) const GROUP: u16 = 0;

/// Buffers of one size. Each belongs either to the kernel or to one [`Chunk`].
pub(super) struct SharedBuffers {
    entries: Pages,
    memory: Pages,
    count: u16,
    buffer_bytes: u32,
    tail: u16,
}

impl SharedBuffers {
    /// `count` buffers, all of them the kernel's. Must outlive the ring it is registered with.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        buffer_bytes: u32,
    ) -> io::Result<Self> {
        assert!(
            count.is_power_of_two(),
            "{count} buffers, must be a power of two"
        );
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Pages::new(usize::from(count) * buffer_bytes as usize)?;
        let mut buffers = Self {
            entries,
            memory,
            count,
            buffer_bytes,
            tail: 0,
        };
        // SAFETY: the entries are page-aligned, `count` long, zeroed, and live until after the ring is closed.
        unsafe {
            submitter.register_buf_ring_with_flags(
                buffers.entries.start() as u64,
                count,
                GROUP,
                0,
            )?
        };
        for buffer in 0..count {
            buffers.provide(buffer);
        }
        Ok(buffers)
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let start = usize::from(chunk.buffer) * self.buffer_bytes as usize;
        assert!(chunk.len <= self.buffer_bytes as usize && start + chunk.len <= self.memory.len());
        // SAFETY: inside the mapping, and the kernel does not write to a buffer between its completion and `provide`.
        unsafe { std::slice::from_raw_parts(self.memory.start().add(start), chunk.len) }
    }

    /// Keeps the memory for ever: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.entries.leak();
        self.memory.leak();
    }

    /// Gives a buffer (back) to the kernel.
    pub(super) fn provide(&mut self, buffer: u16) {
        assert!(buffer < self.count, "buffer {buffer} of {}", self.count);
        let place = usize::from(self.tail & (self.count - 1));
        let address = self.memory.start() as u64 + u64::from(buffer) * u64::from(self.buffer_bytes);
        let first = self.entries.start().cast::<BufRingEntry>();
        // SAFETY: `place` is inside the mapping; the kernel reads an entry only after the tail below has passed it.
        let entry = unsafe { &mut *first.add(place) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `first` is the start of the registered entries; the tail lies in the reserved field of the first one,
        // is aligned for 16 bits and only read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
