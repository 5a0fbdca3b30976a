//! What the log says of clients whose frames or registrations cannot be taken: the first of an address and a kind is a line, and those
//! that follow are counted and told with the next line. Clients try again for as long as they live, some of them at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rollcall_core::limits;
use rollcall_core::machine::Instant;

/// What was told of lately on this core.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    told: BTreeMap<(IpAddr, &'static str), Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Complaints {
    /// Notes one of this kind. Answers with how many like it were not told of before it, if it shall be told of.
    pub(crate) fn note(&mut self, now: Instant, of: IpAddr, kind: &'static str) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&(of, kind)) {
            if now < told.at + limits::COMPLAINTS_TOLD_APART {
                told.untold += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if self.told.len() >= limits::COMPLAINTS_MAX {
            self.told
                .retain(|_, told| now < told.at + limits::COMPLAINTS_TOLD_APART);
        }
        // The metrics count all of them.
        if self.told.len() >= limits::COMPLAINTS_MAX {
            return None;
        }
        self.told.insert((of, kind), Told { at: now, untold: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::from(
            u128::try_from(number)
                .expect("a small number")
                .to_be_bytes(),
        )
    }

    #[test]
    fn a_client_that_comes_back_is_told_of_once_and_counted() {
        let mut complaints = Complaints::default();
        let now = Instant(1);

        assert_eq!(complaints.note(now, address(1), "frame"), Some(0));
        assert_eq!(complaints.note(now, address(1), "frame"), None);
        assert_eq!(complaints.note(now, address(1), "frame"), None);
        assert_eq!(complaints.note(now, address(2), "frame"), Some(0));
        assert_eq!(complaints.note(now, address(1), "zones"), Some(0));

        let later = now + limits::COMPLAINTS_TOLD_APART;
        assert_eq!(complaints.note(later, address(1), "frame"), Some(2));
        assert_eq!(complaints.note(later, address(1), "frame"), None);
    }

    #[test]
    fn many_addresses_take_bounded_room() {
        let mut complaints = Complaints::default();
        for number in 0..2 * limits::COMPLAINTS_MAX {
            complaints.note(Instant(1), address(number), "frame");
        }
        assert_eq!(complaints.told.len(), limits::COMPLAINTS_MAX);

        let later = Instant(1) + limits::COMPLAINTS_TOLD_APART;
        assert_eq!(
            complaints.note(later, address(usize::MAX), "frame"),
            Some(0)
        );
    }
}
