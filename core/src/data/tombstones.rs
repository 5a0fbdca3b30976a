//! What was removed and how new it was: an older registration that comes late must not revive it.

use std::collections::VecDeque;

use crate::limits;
use crate::machine::Instant;
use crate::names::{DataInfoId, RegisterId};
use crate::publisher::Order;
use crate::tables::{Seed, Table};

type Grave = (DataInfoId, RegisterId);

/// Removals of the last minutes, bounded by number (oldest forgotten first).
#[derive(Debug)]
pub(super) struct Tombstones {
    buried: Table<Grave, (Order, Instant)>,
    by_age: VecDeque<(Instant, Grave)>,
}

impl Tombstones {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            buried: seed.table(),
            by_age: VecDeque::new(),
        }
    }

    /// Remembers that what had this order is gone. Gives the highest that went.
    pub(super) fn bury(
        &mut self,
        now: Instant,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
        order: Order,
    ) -> Order {
        let grave = (data_info_id.clone(), register_id.clone());
        let until = now + limits::TOMBSTONE_KEPT;
        let (newest, kept) = self.buried.entry(grave.clone()).or_insert((order, until));
        *newest = order.max(*newest);
        *kept = until;
        let newest = *newest;
        self.by_age.push_back((until, grave));
        if self.by_age.len() > limits::TOMBSTONES_MAX {
            self.forget_oldest();
        }
        newest
    }

    /// The highest order removed of this id.
    pub(super) fn find(
        &self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Option<Order> {
        if self.buried.is_empty() {
            return None;
        }
        let grave = (data_info_id.clone(), register_id.clone());
        self.buried.get(&grave).map(|&(newest, _)| newest)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.by_age.front().map(|&(until, _)| until)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_timeout().is_some_and(|until| until <= now) {
            self.forget_oldest();
        }
        // What a wave of removals took is given back behind it, in steps that cost less than the wave.
        if self.by_age.capacity() / 8 > self.by_age.len().max(1024) {
            self.by_age.shrink_to(2 * self.by_age.len());
            self.buried.shrink_to(2 * self.buried.len());
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, grave)) = self.by_age.pop_front() else {
            return;
        };
        // Buried again meanwhile: the later entry forgets it.
        if self
            .buried
            .get(&grave)
            .is_some_and(|&(_, kept)| kept == until)
        {
            self.buried.remove(&grave);
        }
    }
}
