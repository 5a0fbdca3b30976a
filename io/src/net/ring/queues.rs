//! The two queues shared with the kernel: operations go in, completions come out, and none is lost when a queue is full.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::{IoUring, Submitter, cqueue, opcode, squeue, types};
use rollcall_core::limits;

use super::operation::{Completion, Operation, user_data};
use crate::net::transport::{Key, Trouble};

/// Calls after which the end of a ring no longer waits for the kernel.
const FINISH_CALLS_MAX: usize = 1_000;

/// Calls in a row that bring nothing, after which the kernel's word that there is work is not believed until something comes.
const EMPTY_WORDS_MAX: u32 = 3;

/// A ring with the flags the transport needs; fails on kernels that lack them (before 6.1).
pub(crate) fn build_ring(submissions: u32, completions: u32) -> io::Result<IoUring> {
    // COOP_TASKRUN is left out on purpose: its task work shares a list with glommio's rings.
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}

/// A core's ring as two queues.
pub(super) struct Queues {
    ring: IoUring,
    /// Entries that found the submission queue full; at most a few per connection.
    backlog: VecDeque<squeue::Entry>,
    completions: VecDeque<Completion>,
    /// Operations the kernel has not finished.
    under_way: usize,
    /// Operations whose completions nobody waits for any more, though they never came.
    lost: usize,
    /// Completions that the kernel said it dropped, and whether that was not looked at yet.
    dropped: u32,
    has_dropped: bool,
    /// How often in a row, before a sleep, the kernel has said that there is work and brought none.
    empty_words: u32,
    pub(super) trouble: Trouble,
}

impl Queues {
    /// Empty queues that write to `bell` (an eventfd) once [`Self::prepare_sleep`] said so.
    pub(super) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let mut ring = build_ring(limits::RING_SUBMISSIONS, limits::RING_COMPLETIONS)?;
        ring.submitter().register_eventfd(bell.as_raw_fd())?;
        ring.completion().disable_eventfd();
        Ok(Self {
            ring,
            backlog: VecDeque::new(),
            completions: VecDeque::new(),
            under_way: 0,
            lost: 0,
            dropped: 0,
            has_dropped: false,
            empty_words: 0,
            trouble: Trouble::default(),
        })
    }

    /// For what is registered once.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues an operation. Whatever it points to must stay in place until its completion.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        self.under_way += 1;
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            // Bounded by the connections: each has a few operations under way.
            self.backlog.push_back(entry);
        }
    }

    #[expect(unsafe_code, reason = "the kernel follows the entry's pointers")]
    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the pointers of our entries go to boxed sendings and the boxed timer, which live until the completion, and
        // descriptors are closed only after it.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    /// Asks for the end of an operation; how it ended shows in its own completion.
    pub(super) fn cancel(&mut self, operation: Operation, key: Key) {
        let entry = opcode::AsyncCancel::new(user_data(operation, key)).build();
        self.push(entry.user_data(user_data(Operation::Cancel, key)));
    }

    /// Starts what was queued, and lets the kernel post what it has for us. No call if there is nothing of either.
    pub(super) fn enter(&mut self) {
        while let Some(entry) = self.backlog.front().cloned() {
            if self.try_push(&entry) {
                self.backlog.pop_front();
            } else if !self.call() {
                return;
            }
        }
        let submissions = self.ring.submission();
        let has_work =
            !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow();
        drop(submissions);
        if has_work {
            self.call();
        }
    }

    fn call(&mut self) -> bool {
        if self.ring.submission().cq_overflow() {
            self.trouble.completion_overflows += 1;
        }
        // Busy, interrupted or out of memory: the entries stay queued and go with the next call.
        let called = self.ring.submit().is_ok();
        self.trouble.failed_submits += u64::from(!called);
        called
    }

    /// Takes up what is completed, as far as a turn takes.
    pub(super) fn poll(&mut self) {
        self.ring.completion().disable_eventfd();
        if self.ring.completion().is_empty() {
            self.enter();
        }
        self.drain();
        self.call_for_more();
    }

    /// Has the kernel do the rest of its work for us, if it says that there is some.
    ///
    /// A plain call does 20 pieces of it (since Linux 6.14), and a request must not wait behind thousands of acknowledgements for as many
    /// turns. Who waits for more completions gets more done, so the last call waits for all that fit, for no time. Even that lets others
    /// have the CPU, so what is nearly done is done by two small calls, which wait for one completion. None is called again without end: the
    /// kernel may say that there is work, call after call, and bring none; whoever would sleep then takes another turn instead.
    fn call_for_more(&mut self) {
        for wanted in [1, 1, limits::COMPLETIONS_PER_TURN_MAX] {
            let had = self.completions.len();
            let room = limits::COMPLETIONS_PER_TURN_MAX.saturating_sub(had);
            if room == 0 || !self.ring.submission().taskrun() {
                return;
            }
            self.wait_no_time(wanted.min(room));
            self.drain();
            if self.completions.len() == had {
                return;
            }
        }
    }

    fn wait_no_time(&mut self, wanted: usize) {
        let no_time = types::Timespec::new();
        let arguments = types::SubmitArgs::new().timespec(&no_time);
        let called = self.ring.submitter().submit_with_args(wanted, &arguments);
        let is_done =
            called.map_or_else(|error| error.raw_os_error() == Some(libc::ETIME), |_| true);
        self.trouble.failed_submits += u64::from(!is_done);
    }

    /// Whether completions were dropped since the last time this was asked.
    pub(super) fn has_lost(&mut self) -> bool {
        std::mem::take(&mut self.has_dropped)
    }

    /// So many operations are not waited for any more.
    pub(super) fn lose(&mut self, operations: usize) {
        self.under_way = self.under_way.saturating_sub(operations);
        self.lost += operations;
    }

    fn drain(&mut self) {
        // The kernel keeps completions that find the queue full; it drops them only where it has no memory for that.
        let dropped = self.ring.completion().overflow();
        let more = dropped.wrapping_sub(std::mem::replace(&mut self.dropped, dropped));
        self.trouble.lost_completions += u64::from(more);
        self.has_dropped |= more > 0;
        let room = limits::COMPLETIONS_PER_TURN_MAX.saturating_sub(self.completions.len());
        for entry in self.ring.completion().take(room) {
            let ended = usize::from(!cqueue::more(entry.flags()));
            self.under_way = self.under_way.saturating_sub(ended);
            self.completions.push_back(Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
    }

    /// The next completion that was taken up.
    pub(super) fn next(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// Lets completions ring the bell from here on. False if there is one already.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        if !self.completions.is_empty() || !self.backlog.is_empty() {
            return false;
        }
        self.ring.completion().enable_eventfd();
        // The kernel looks at that flag after it has posted; we look for what is posted after we set it.
        fence(Ordering::SeqCst);
        let is_quiet = !self.has_work() && self.ring.completion().is_empty();
        if !is_quiet {
            self.ring.completion().disable_eventfd();
        }
        is_quiet
    }

    /// Whether the kernel has something for us. Asked when new work already rings the bell.
    ///
    /// After the end of a peer that had sent much, Linux 6.18 goes on saying so, with nothing to do, until something else happens. So the
    /// word that is followed by nothing, several times, no longer keeps a core awake.
    fn has_work(&mut self) -> bool {
        let submissions = self.ring.submission();
        let (says_so, overflows) = (submissions.taskrun(), submissions.cq_overflow());
        drop(submissions);
        if !says_so || overflows {
            self.empty_words = 0;
            return overflows;
        }
        self.wait_no_time(limits::COMPLETIONS_PER_TURN_MAX);
        if self.ring.completion().is_empty() {
            self.empty_words += 1;
        } else {
            self.empty_words = 0;
        }
        self.empty_words <= EMPTY_WORDS_MAX
    }

    /// Cancels everything. False if the kernel may still touch memory of ours.
    pub(super) fn finish(&mut self) -> bool {
        self.under_way = self.under_way.saturating_sub(self.backlog.len());
        self.backlog.clear();
        let cancel = user_data(
            Operation::Cancel,
            Key {
                slot: 0,
                generation: 0,
            },
        );
        self.push(
            opcode::AsyncCancel2::new(types::CancelBuilder::any())
                .build()
                .user_data(cancel),
        );
        // A cancelled operation ends at once; the number only bounds what cannot happen.
        for _ in 0..FINISH_CALLS_MAX {
            self.discard();
            self.enter();
            let is_over = self.under_way == 0 || self.lost > 0 || self.trouble.lost_completions > 0;
            if is_over || self.ring.submit_and_wait(1).is_err() {
                break;
            }
            self.drain();
        }
        self.under_way == 0 && self.lost == 0 && self.trouble.lost_completions == 0
    }

    /// Closes connections that nobody will hear of.
    fn discard(&mut self) {
        for completion in self.completions.drain(..) {
            if Operation::of(completion.user_data) == Some(Operation::Accept)
                && completion.result >= 0
            {
                drop(crate::sys::own_completed(completion.result));
            }
        }
    }
}
