//! What the log says of clients that send no frames: the first of an address is a line, and those that follow are counted and told with
//! the next line. A client whose message is too long comes back five times a second for as long as it lives.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rollcall_core::limits;
use rollcall_core::machine::Instant;

/// Who was told of lately on this core.
#[derive(Debug, Default)]
pub(crate) struct BadFrames {
    told: BTreeMap<IpAddr, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl BadFrames {
    /// Notes one. Answers with how many of this address were not told of before it, if it shall be told of.
    pub(crate) fn note(&mut self, now: Instant, address: IpAddr) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&address) {
            if now < told.at + limits::BAD_FRAMES_TOLD_APART {
                told.untold += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if self.told.len() >= limits::BAD_FRAME_ADDRESSES_MAX {
            self.told
                .retain(|_, told| now < told.at + limits::BAD_FRAMES_TOLD_APART);
        }
        // The metric counts all of them.
        if self.told.len() >= limits::BAD_FRAME_ADDRESSES_MAX {
            return None;
        }
        self.told.insert(address, Told { at: now, untold: 0 });
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
        let mut bad = BadFrames::default();
        let now = Instant(1);

        assert_eq!(bad.note(now, address(1)), Some(0));
        assert_eq!(bad.note(now, address(1)), None);
        assert_eq!(bad.note(now, address(1)), None);
        assert_eq!(bad.note(now, address(2)), Some(0));

        let later = now + limits::BAD_FRAMES_TOLD_APART;
        assert_eq!(bad.note(later, address(1)), Some(2));
        assert_eq!(bad.note(later, address(1)), None);
    }

    #[test]
    fn many_addresses_take_bounded_room() {
        let mut bad = BadFrames::default();
        for number in 0..2 * limits::BAD_FRAME_ADDRESSES_MAX {
            bad.note(Instant(1), address(number));
        }
        assert_eq!(bad.told.len(), limits::BAD_FRAME_ADDRESSES_MAX);

        let later = Instant(1) + limits::BAD_FRAMES_TOLD_APART;
        assert_eq!(bad.note(later, address(usize::MAX)), Some(0));
    }
}
