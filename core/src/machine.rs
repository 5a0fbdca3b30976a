//! The one shape of a role: a state machine that is told what happened and says what to do.
//!
//! The driver in `roles` feeds a machine with real events and performs its effects; the simulator does the same with a fake
//! world and a seed. A turn hands over everything that is there (bounded), then calls `handle_timeout` once: work that was
//! merged meanwhile (400 changes of one datum) leaves as one effect.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A state machine: events in, effects out, time is a number.
pub trait Machine {
    /// What can happen to it.
    type Event;
    /// What it may ask its driver to do.
    type Effect;

    /// Takes one event in. Effects are appended to `out`, in the order in which they must be performed.
    fn handle(&mut self, now: Now, event: Self::Event, out: &mut Vec<Self::Effect>);

    /// When to call `handle_timeout`, if nothing else happens first. A machine with merged work answers a time in the past.
    fn next_timeout(&self) -> Option<Instant>;

    /// Does what is due at `now`: merged work first, then timers.
    fn handle_timeout(&mut self, now: Now, out: &mut Vec<Self::Effect>);
}

/// The two clocks a decision may use: timers read the first, versions the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never goes back; counts from an arbitrary start.
    pub monotonic: Instant,
    /// Milliseconds since 1970 as the host believes; may jump.
    pub wall_ms: u64,
}

/// A point of the monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The time since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
