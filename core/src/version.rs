//! Versions of a datum: strictly growing for ever, in the form that SOFARegistry's clients already hold.
//!
//! `(milliseconds since 2019-01-01 00:00 Beijing) << 15 | sequence` (`sofaregistry-wire.md` 7.4): a client that moves here from
//! the Java server compares our versions with those it has. The lowest three bits name the ownership that gave the number, so
//! that two owners of one shard never give the same.

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::machine::Now;

/// 2019-01-01 00:00 in Beijing, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_546_272_000_000;
const SEQUENCE_BITS: u32 = 15;
const OWNERSHIP_BITS: u32 = 3;
/// Nobody has given more than this before the year 4000; what a peer claims beyond it would use the numbers up.
const HEARD_MAX: u64 = 1 << 61;
/// Versions ahead of the clock are reserved by so many numbers: those of half a minute.
const VERSIONS_RESERVED_BITS: u32 = 30;
const OWNERSHIP_MASK: u64 = (1 << OWNERSHIP_BITS) - 1;

/// The version of a datum: clients accept a list only if its version is above the one they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatumVersion(u64);

impl DatumVersion {
    /// "Nothing was ever known of this": every client that holds a list ignores it, so a fresh server wipes nobody's.
    pub const NOTHING_KNOWN: Self = Self(1);

    /// Above all that anybody gives.
    pub const MAX: Self = Self(u64::MAX);

    /// The version with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number on the wire. Below 2^63 until the year 10,000.
    pub fn wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Versions that may be given once it is known for good that they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The highest of them.
    pub ceiling: DatumVersion,
    /// Half of them are given then: time to reserve further ones.
    pub renew_at: DatumVersion,
}

fn by_clock(wall_ms: u64) -> u64 {
    wall_ms.saturating_sub(EPOCH_MS) << SEQUENCE_BITS
}

/// Gives the versions of one shard.
#[derive(Debug)]
pub struct VersionClock {
    highest: u64,
    ownership: u64,
}

impl VersionClock {
    /// A clock that gives nothing at or below `floor`, on behalf of this ownership epoch.
    pub fn new(floor: DatumVersion, ownership: u64) -> Self {
        Self {
            highest: floor.0,
            ownership: ownership & OWNERSHIP_MASK,
        }
    }

    /// The next version: above all given before, and near the wall clock unless that has jumped back or is not below `clock_max`.
    pub fn next(&mut self, now: Now, clock_max: DatumVersion) -> DatumVersion {
        let by_clock = by_clock(now.wall_ms);
        let by_order = (self.highest | OWNERSHIP_MASK) + 1;
        let next = match by_clock < clock_max.0 {
            true => by_clock.max(by_order),
            false => by_order,
        };
        self.highest = next | self.ownership;
        DatumVersion(self.highest)
    }

    /// Reserves versions ahead: none at or below the ceiling counts as new after a restart.
    ///
    /// By the clock if versions follow it. If they are ahead of it, as after a quick restart, by number.
    pub fn reserve(&self, now: Now) -> Reservation {
        let reserved = u64::try_from(limits::VERSIONS_RESERVED.as_millis()).unwrap_or(0);
        let ahead = by_clock(now.wall_ms.saturating_add(reserved));
        let ceiling = ahead.max(self.highest.saturating_add(1 << VERSIONS_RESERVED_BITS));
        let present = self.highest.max(by_clock(now.wall_ms));
        Reservation {
            ceiling: DatumVersion(ceiling),
            renew_at: DatumVersion(present + ceiling.saturating_sub(present) / 2),
        }
    }

    /// Whether further versions should be reserved.
    pub fn is_at(&self, now: Now, renew_at: DatumVersion) -> bool {
        self.highest >= renew_at.0 || by_clock(now.wall_ms) >= renew_at.0
    }

    /// The highest version given or heard of.
    pub fn highest(&self) -> DatumVersion {
        DatumVersion(self.highest)
    }

    /// Hears of a version given elsewhere: everything given from here on is above it, if it can be one at all.
    pub fn raise(&mut self, heard: DatumVersion) {
        self.highest = self.highest.max(heard.0.min(HEARD_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Instant;

    fn at(wall_ms: u64) -> Now {
        Now {
            monotonic: Instant(0),
            wall_ms,
        }
    }

    #[test]
    fn versions_have_the_form_clients_already_hold() {
        let mut clock = VersionClock::new(DatumVersion::NOTHING_KNOWN, 0);

        let version = clock.next(at(EPOCH_MS + 7), DatumVersion::MAX);

        assert_eq!(version.wire(), 7 << 15);
    }

    #[test]
    fn versions_grow_when_the_clock_stands_or_jumps_back() {
        let mut clock = VersionClock::new(DatumVersion::NOTHING_KNOWN, 5);

        let first = clock.next(at(EPOCH_MS + 1000), DatumVersion::MAX);
        let same_ms = clock.next(at(EPOCH_MS + 1000), DatumVersion::MAX);
        let jumped_back = clock.next(at(EPOCH_MS), DatumVersion::MAX);

        assert!(first < same_ms && same_ms < jumped_back);
    }

    #[test]
    fn two_ownerships_never_give_the_same_version() {
        let mut one = VersionClock::new(DatumVersion::NOTHING_KNOWN, 1);
        let mut two = VersionClock::new(DatumVersion::NOTHING_KNOWN, 2);

        let ones: Vec<_> = (0..100)
            .map(|_| one.next(at(EPOCH_MS + 5), DatumVersion::MAX))
            .collect();

        assert!((0..100).all(|_| !ones.contains(&two.next(at(EPOCH_MS + 5), DatumVersion::MAX))));
    }

    #[test]
    fn reserved_versions_last_whether_the_clock_is_ahead_or_behind() {
        let mut on_time = VersionClock::new(DatumVersion::NOTHING_KNOWN, 0);
        on_time.next(at(EPOCH_MS + 1_000_000), DatumVersion::MAX);
        let mut ahead = VersionClock::new(on_time.reserve(at(EPOCH_MS + 1_000_000)).ceiling, 0);

        for clock in [&mut on_time, &mut ahead] {
            let Reservation { ceiling, renew_at } = clock.reserve(at(EPOCH_MS + 1_000_000));
            for _ in 0..1_000_000 {
                assert!(clock.next(at(EPOCH_MS + 1_000_001), renew_at) < renew_at);
            }
            // After a long rest the clock is far ahead of what is reserved.
            let rested = at(EPOCH_MS + 3_600_000);
            assert!(clock.is_at(rested, renew_at));
            for _ in 0..1_000_000 {
                assert!(clock.next(rested, renew_at) < ceiling);
            }
        }
    }

    #[test]
    fn nothing_is_given_at_or_below_a_version_heard_of() {
        let mut clock = VersionClock::new(DatumVersion::NOTHING_KNOWN, 0);

        clock.raise(DatumVersion::new(1 << 60));

        assert!(clock.next(at(EPOCH_MS), DatumVersion::MAX) > DatumVersion::new(1 << 60));
    }
}
