//! The only place that reads a clock: machines are told the time, and here is where it comes from.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_core::machine::{Instant, Now};

/// When this process first asked; the start of its monotonic time. One second ahead, so that no deadline lies before zero.
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
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

    /// The clock that never goes back.
    pub fn monotonic() -> Instant {
        let nanoseconds = START.elapsed().as_nanos();
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
    fn a_stamp_tells_its_millisecond() {
        let before = Clock::now().wall_ms;

        let stamp = Clock::stamp();

        assert!(stamp >> STAMP_COUNTER_BITS >= before);
    }
}
