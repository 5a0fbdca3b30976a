//! What wakes a core that sleeps over a readiness queue: the runtime cannot wait for one, but a ring can.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use io_uring::{IoUring, opcode, types};

/// Rings the bell when a readiness queue has something: a ring that polls it once.
pub(super) struct Alarm {
    ring: IoUring,
    queue: RawFd,
    is_armed: bool,
}

impl Alarm {
    /// An alarm of this readiness queue for the bell (an eventfd).
    pub(super) fn new(queue: RawFd, bell: BorrowedFd<'_>) -> io::Result<Self> {
        let ring = IoUring::new(2)?;
        ring.submitter().register_eventfd(bell.as_raw_fd())?;
        Ok(Self {
            ring,
            queue,
            is_armed: false,
        })
    }

    /// Notes an alarm that was given.
    pub(super) fn acknowledge(&mut self) {
        if self.ring.completion().next().is_some() {
            self.is_armed = false;
        }
    }

    /// From here on readiness rings the bell, also one that is there already. False if that could not be started.
    #[expect(
        unsafe_code,
        reason = "the entry names a descriptor that must stay open"
    )]
    pub(super) fn arm(&mut self) -> bool {
        self.acknowledge();
        if self.is_armed {
            return true;
        }
        let entry = opcode::PollAdd::new(types::Fd(self.queue), libc::EPOLLIN as u32).build();
        // SAFETY: the queue is closed together with this ring, and the entry points to no memory.
        let pushed = unsafe { self.ring.submission().push(&entry).is_ok() };
        self.is_armed = pushed && self.ring.submit().is_ok();
        self.is_armed
    }
}
