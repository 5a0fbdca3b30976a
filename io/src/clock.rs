//! The only place that reads a clock: machines are told the time, and here is where it comes from.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollcall_core::limits;
use rollcall_core::machine::{Instant, Now};

use crate::sys;

/// When this process first asked; the start of its monotonic time. One second ahead, so that no deadline lies before zero.
static START: LazyLock<Duration> = LazyLock::new(sys::time_since_boot);
/// The last stamp given.
static LAST_STAMP: AtomicU64 = AtomicU64::new(0);
/// Low bits of a stamp that count within one millisecond.
const STAMP_COUNTER_BITS: u32 = 16;

/// The clocks of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Both clocks. Monotonic time is the same on all cores of this process.
    pub fn now() -> Now {
        Now {
            monotonic: Self::monotonic(),
            wall_ms: wall_ms(),
        }
    }

    /// The clock that never goes back, and goes on while the machine sleeps.
    pub fn monotonic() -> Instant {
        let start = *START;
        let nanoseconds = sys::time_since_boot().saturating_sub(start).as_nanos();
        Instant(
            u64::try_from(nanoseconds)
                .unwrap_or(u64::MAX)
                .saturating_add(1_000_000_000),
        )
    }

    /// The next connection stamp: milliseconds since 1970 and a counter, larger than every stamp before in this process,
    /// whatever the host's clock does. On one host, later processes stamp higher as long as that clock does not go back.
    pub fn stamp() -> u64 {
        let floor = wall_ms() << STAMP_COUNTER_BITS;
        let next = |last: u64| Some(floor.max(last + 1));
        let last = LAST_STAMP
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .expect("`next` always answers");
        floor.max(last + 1)
    }
}

/// The time of one core, which stands still while the core does: stopped by a signal, with its machine paused or asleep, or left
/// without a CPU. So nothing that was awaited is late because this core did not look.
#[derive(Debug, Default)]
pub struct CoreClock {
    ticked_at: Option<Instant>,
    stood_still: Duration,
}

/// What a core finds when it looks at its clock.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// The time of this core.
    pub now: Now,
    /// How long the core stood still since its last tick, if that was for long.
    pub stood_still: Option<Duration>,
}

impl CoreClock {
    /// The time of a turn. A core takes a turn once a second at least, so a longer pause is a standstill.
    pub fn tick(&mut self) -> Tick {
        let (monotonic, stood_still) = self.tick_at(Clock::monotonic());
        let wall_ms = wall_ms();
        Tick {
            now: Now { monotonic, wall_ms },
            stood_still,
        }
    }

    fn tick_at(&mut self, time: Instant) -> (Instant, Option<Duration>) {
        let since = self
            .ticked_at
            .replace(time)
            .map(|before| time.since(before));
        let pause = since.filter(|since| *since >= limits::STOOD_STILL_MIN);
        self.stood_still += pause.unwrap_or_default();
        let nanos = u64::try_from(self.stood_still.as_nanos()).unwrap_or(u64::MAX);
        (Instant(time.0.saturating_sub(nanos)), pause)
    }
}

fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_many_threads_are_all_different_and_grow() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..10_000).map(|_| Clock::stamp()).collect::<Vec<_>>()))
            .collect();

        let stamps: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();

        assert!(stamps.iter().all(|of_thread| of_thread.is_sorted()));
        let mut all = stamps.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40_000);
    }

    #[test]
    fn the_time_of_a_core_stands_still_while_the_core_does() {
        let at = |millis: u64| Instant(millis * 1_000_000);
        let mut clock = CoreClock::default();
        assert_eq!(clock.tick_at(at(5_000)), (at(5_000), None));
        assert_eq!(clock.tick_at(at(6_500)), (at(6_500), None));

        let pause = Duration::from_secs(60);
        assert_eq!(clock.tick_at(at(66_500)), (at(6_500), Some(pause)));

        assert_eq!(clock.tick_at(at(67_000)), (at(7_000), None));
    }

    #[test]
    fn a_stamp_tells_its_millisecond() {
        let before = Clock::now().wall_ms;

        let stamp = Clock::stamp();

        assert!(stamp >> STAMP_COUNTER_BITS >= before);
    }
}
