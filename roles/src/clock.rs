//! A clock that may be wrong where only the clock gives versions: clients that hold higher ones ignore every push until it has passed them.

use std::time::Duration;

use rollcall_io::clock::Clock;
use rollcall_io::host;

/// Seconds since 1970 when this program was built.
const BUILT_AT: &str = env!("ROLLCALL_BUILT_AT");

/// Why the clock of this host is not to be trusted, if it is not.
pub(crate) fn doubt(now: Duration, is_synchronised: Option<bool>) -> Option<&'static str> {
    let built_at = BUILT_AT.parse().map_or(Duration::ZERO, Duration::from_secs);
    if now < built_at {
        return Some("it is before the time when this program was built");
    }
    (is_synchronised == Some(false)).then_some("nothing keeps it synchronised")
}

/// Warns of a clock that is not to be trusted. For starts that know of no version that was given before.
pub(crate) fn warn_of_doubts() {
    let now = Duration::from_millis(Clock::now().wall_ms);
    if let Some(why) = doubt(now, host::clock_is_synchronised()) {
        tracing::warn!(
            why,
            "no earlier life is known here, so versions come from the clock alone: clients that hold higher ones from before ignore pushes \
             until it has passed them"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_build_or_without_a_source_is_doubtful() {
        let built_at = Duration::from_secs(BUILT_AT.parse().expect("seconds"));
        let earlier = built_at - Duration::from_secs(1);

        assert!(doubt(earlier, Some(true)).is_some_and(|why| why.contains("built")));
        assert!(doubt(built_at, Some(false)).is_some_and(|why| why.contains("synchronised")));
        assert_eq!(doubt(built_at, Some(true)), None);
        assert_eq!(doubt(built_at, None), None, "the kernel does not say");
    }
}
