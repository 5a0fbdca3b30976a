//! What looks like many deaths at once is most often a cut: the clients are on their way back.
//!
//! If ends of connections would leave a list fewer than half of what it showed lately, the rest of them is held: shown, until the interval that
//! began with the first is over, and then gone in one change. A client that is back meanwhile, anywhere, has a claim of its own.

use std::time::Duration;

use crate::exchange::Removal;
use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{DataInfoId, RegisterId};

use super::Data;

impl Data {
    /// The same shard, which holds publishers for so long.
    #[must_use]
    pub fn protecting(self, protect: Duration) -> Self {
        Self { protect, ..self }
    }

    /// Whether the publisher that is to be removed is held instead; if it is the first of its datum, the interval begins.
    pub(super) fn must_hold(
        &mut self,
        now: Instant,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
        removal: &Removal,
    ) -> bool {
        if self.protect.is_zero() || !removal.may_return || removal.successor.is_some() {
            return false;
        }
        let Some(datum) = self.datums.get_mut(data_info_id) else {
            return false;
        };
        if !datum.would_lose(register_id, removal.holder) {
            return false;
        }
        let shown = datum.publishers().len();
        let (at, peak) = datum.peak;
        if now.since(at) > self.protect || shown > peak {
            datum.peak = (now, shown);
        }
        if datum.held_until().is_some() {
            return true;
        }
        let left = shown - 1;
        if left * 2 >= datum.peak.1 {
            return false;
        }
        let until = now + self.protect;
        datum.hold_until(until);
        self.holds.insert((until, data_info_id.clone()));
        self.stats.lists_protected += 1;
        true
    }

    /// Ends the holds that are over: who is not back is gone.
    pub(super) fn end_holds(&mut self, now: Now) {
        for _ in 0..limits::SERVICES_SETTLED_PER_TURN {
            let Some((until, data_info_id)) = self.holds.pop_first() else {
                return;
            };
            if until > now.monotonic {
                self.holds.insert((until, data_info_id));
                return;
            }
            let Some(datum) = self.datums.get_mut(&data_info_id) else {
                continue;
            };
            if datum.held_until() == Some(until) {
                for shift in datum.end_holds() {
                    self.on_shift(now, &data_info_id, shift);
                }
                self.rest(now.monotonic, &data_info_id);
            }
        }
    }
}
