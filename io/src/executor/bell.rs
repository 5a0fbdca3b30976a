//! How a core sleeps and is woken: one descriptor that its ring, other cores and signals write to.
//!
//! Both ends obey one rule, so that no wake-up is lost: who brings work makes it visible first and looks for a sleeper then; who goes to
//! sleep says so first and looks for work then.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Poll, Waker};
use std::time::Duration;

use rollcall_core::limits;
use rollcall_core::machine::Instant;

use super::rt;
use crate::sys::{self, TimerFd};

/// While a core works, its runtime gets to see the kernel at least so often.
const RUNTIME_VISIT_INTERVAL: Duration = Duration::from_millis(2);
/// glommio 0.9 may park although a task can run. The pulse bounds that: while a core works ...
const PULSE_BUSY: Duration = Duration::from_millis(5);
/// ... when it has worked lately ...
const PULSE_CALM: Duration = Duration::from_millis(100);
/// ... and when it has not, where each wake-up of an idle core costs about 0.1 ms of CPU.
const PULSE_IDLE: Duration = Duration::from_secs(1);
const _: () = assert!(2 * PULSE_IDLE.as_millis() <= limits::STOOD_STILL_MIN.as_millis());
/// Calm pulses after which a core counts as idle.
const CALM_PULSES: u32 = 50;

/// Wakes one core, from anywhere.
#[derive(Clone, Debug)]
pub struct Ringer(Arc<Ringing>);

#[derive(Debug)]
struct Ringing {
    eventfd: File,
    sleeps: AtomicBool,
}

impl Ringer {
    /// A bell's ringing end. The bell itself is made on the core's own thread.
    pub fn new() -> io::Result<Self> {
        let eventfd = sys::eventfd()?;
        Ok(Self(Arc::new(Ringing {
            eventfd,
            sleeps: AtomicBool::new(false),
        })))
    }

    /// Wakes the core if it sleeps. What it shall find must have been made visible before.
    pub fn ring_if_asleep(&self) {
        fence(Ordering::SeqCst);
        if self.0.sleeps.load(Ordering::Relaxed) && self.0.sleeps.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Wakes the core, or makes its next sleep end at once. May be called from a signal handler.
    pub fn ring(&self) {
        // It fails only when the counter is full, and then the core will wake.
        let _ = (&self.0.eventfd).write(&1_u64.to_ne_bytes());
    }

    /// What a ring writes to.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.eventfd.as_fd()
    }
}

/// The sleeping end: belongs to the one task of an executor that works in turns.
pub struct Bell {
    ringer: Ringer,
    sleeper: Rc<Sleeper>,
    /// Of the first turn since the runtime has seen the kernel.
    working_since: Option<Instant>,
    shares_cpu: bool,
}

struct Sleeper {
    is_rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    turns: Cell<u64>,
    timer: TimerFd,
    interval: Cell<Duration>,
}

impl Sleeper {
    fn new() -> io::Result<Self> {
        let timer = TimerFd::new()?;
        timer.set(PULSE_CALM, PULSE_CALM)?;
        Ok(Self {
            is_rung: Cell::new(false),
            waker: RefCell::new(None),
            turns: Cell::new(0),
            timer,
            interval: Cell::new(PULSE_CALM),
        })
    }

    fn wake(&self) {
        self.is_rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn count_turn(&self) {
        self.turns.set(self.turns.get() + 1);
    }

    fn pulse_every(&self, interval: Duration) {
        if self.interval.replace(interval) != interval {
            self.timer
                .set(interval, interval)
                .expect("a valid time for our own timer");
        }
    }
}

impl Bell {
    /// The bell of the executor this is called on.
    pub fn new(ringer: &Ringer) -> io::Result<Self> {
        let sleeper = Rc::new(Sleeper::new()?);
        rt::spawn(listen(ringer.0.eventfd.try_clone()?, Rc::clone(&sleeper)));
        rt::spawn(pulse(
            sleeper.timer.file().try_clone()?,
            Rc::clone(&sleeper),
        ));
        Ok(Self {
            ringer: ringer.clone(),
            sleeper,
            working_since: None,
            shares_cpu: false,
        })
    }

    /// Whether another core of the node works on the same CPU, so that it works when this one passes or sleeps.
    pub fn shares_cpu(&self) -> bool {
        self.shares_cpu
    }

    /// Where cores share a CPU they take it in turns: one that goes on at once would handle what comes in bit by bit, while what it said
    /// to the others waits for them to run.
    pub(super) fn sharing(self, shares_cpu: bool) -> Self {
        Self { shares_cpu, ..self }
    }

    /// Lets the other tasks of this executor run; from time to time also those that wait for the kernel. `now` is of any one clock.
    pub async fn pass(&mut self, now: Instant) {
        self.sleeper.count_turn();
        if self.shares_cpu {
            std::thread::yield_now();
        }
        let since = *self.working_since.get_or_insert(now);
        if now.since(since) >= RUNTIME_VISIT_INTERVAL {
            self.ringer.ring();
            self.rest().await;
            self.working_since = None;
        } else {
            rt::yield_now().await;
        }
    }

    /// Sleeps until rung, unless `is_quiet` says that there is work. It is asked when whoever brings work already rings.
    ///
    /// May return without work: look for it.
    pub async fn wait(&mut self, is_quiet: impl FnOnce() -> bool) {
        self.sleeper.count_turn();
        self.ringer.0.sleeps.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_quiet() {
            self.rest().await;
            self.working_since = None;
        } else {
            rt::yield_now().await;
        }
        self.ringer.0.sleeps.store(false, Ordering::SeqCst);
    }

    async fn rest(&self) {
        poll_fn(|context| {
            if self.sleeper.is_rung.replace(false) {
                return Poll::Ready(());
            }
            self.sleeper.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Reads the eventfd through the runtime's ring, for ever.
async fn listen(eventfd: File, sleeper: Rc<Sleeper>) {
    let readable = rt::Readable::new(eventfd);
    loop {
        readable.next().await;
        sleeper.wake();
        if sleeper.interval.get() == PULSE_IDLE {
            sleeper.pulse_every(PULSE_CALM);
        }
    }
}

/// Wakes the executor now and then: often while it takes turns, seldom while it sleeps.
async fn pulse(timer: File, sleeper: Rc<Sleeper>) {
    let readable = rt::Readable::new(timer);
    let mut turns = 0;
    let mut calm = 0;
    loop {
        readable.next().await;
        // The turn that this pulse causes does not count as work.
        let worked = sleeper.turns.get() > turns + 1;
        turns = sleeper.turns.get();
        calm = if worked { 0 } else { calm + 1 };
        sleeper.pulse_every(match calm {
            0 => PULSE_BUSY,
            1..CALM_PULSES => PULSE_CALM,
            _ => PULSE_IDLE,
        });
        sleeper.wake();
    }
}
