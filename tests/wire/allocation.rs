//! Counts what a thread allocates: what is claimed about memory is measured.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a piece of code allocated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// How often it asked for memory.
    pub(crate) allocations: usize,
    /// The most bytes that it held at one time.
    pub(crate) peak_bytes: usize,
    held_bytes: usize,
}

/// Runs `code` and says what it allocated on this thread.
pub(crate) fn measured<T>(code: impl FnOnce() -> T) -> (T, Usage) {
    USAGE.set(Usage::default());
    let value = code();
    (value, USAGE.get())
}

thread_local! {
    static USAGE: Cell<Usage> = const { Cell::new(Usage { allocations: 0, peak_bytes: 0, held_bytes: 0 }) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn grow(bytes: usize) {
    let mut usage = USAGE.get();
    usage.allocations += 1;
    usage.held_bytes += bytes;
    usage.peak_bytes = usage.peak_bytes.max(usage.held_bytes);
    USAGE.set(usage);
}

fn shrink(bytes: usize) {
    let mut usage = USAGE.get();
    // What was allocated before the measurement began may be freed in it.
    usage.held_bytes = usage.held_bytes.saturating_sub(bytes);
    USAGE.set(usage);
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a thread-local cell that neither allocates
// nor has a destructor.
#[expect(unsafe_code, reason = "an allocator cannot be written otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
