//! Who claims one registration id, and whose claim is shown.
//!
//! Each session has at most one claim, and its word on that is final. All are kept: order only decides which is shown, so that a client that moves
//! is safe whatever the clocks of nodes and client say. Its new claim is there before the old one goes, and takes its place in the same change.

use std::sync::Arc;

use crate::exchange::Removal;
use crate::publisher::{Holder, Order, Publisher};

/// What one session says of a registration id.
#[derive(Debug)]
pub(super) struct Claim {
    publisher: Arc<Publisher>,
    /// What was removed is newer: it is kept unseen while its session declares it.
    is_forbidden: bool,
    /// Its connection ended, and its client may be on its way back.
    pub(super) is_held: bool,
}

impl Claim {
    pub(super) fn new(publisher: Arc<Publisher>, is_held: bool) -> Self {
        Self {
            publisher,
            is_forbidden: false,
            is_held,
        }
    }

    fn is_of(&self, holder: Holder) -> bool {
        self.publisher.holder.is_of_same_session(holder)
    }

    fn counts(&self) -> bool {
        !self.is_forbidden && !self.is_held
    }

    fn awaits_client(&self) -> bool {
        self.publisher.awaits_client()
    }
}

/// All claims to one registration id.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, claim: Claim) {
        self.0.push(claim);
    }

    /// A session declares a publisher, whatever it declared before. Gives what forbids that it is shown.
    pub(super) fn put(
        &mut self,
        publisher: Arc<Publisher>,
        tombstone: Option<Order>,
    ) -> Option<Order> {
        let order = publisher.order;
        let own = self.take(publisher.holder);
        let is_forbidden = match &own {
            Some(own)
                if own.publisher.holder == publisher.holder && own.publisher.order == order =>
            {
                own.is_forbidden
            }
            // What takes the place of a claim of its session that counts did not arrive late.
            Some(own) if own.counts() => {
                tombstone.is_some_and(|tombstone| tombstone.forbids_version_of(order))
            }
            _ => tombstone.is_some_and(|tombstone| tombstone.forbids_late(order)),
        };
        // Who is back is newer than who is awaited, though its client may count from one again.
        self.0.retain(|claim| !claim.awaits_client());
        self.0.push(Claim {
            publisher,
            is_forbidden,
            is_held: false,
        });
        tombstone.filter(|_| is_forbidden)
    }

    /// A session takes its claim back, or has it held. Gives what forbids that its successor is shown.
    pub(super) fn remove(
        &mut self,
        removal: &Removal,
        tombstone: Order,
        is_held: bool,
    ) -> Option<Order> {
        let own = self.take(removal.holder);
        let counted = own.as_ref().is_some_and(Claim::counts);
        for claim in &mut self.0 {
            claim.is_forbidden |= tombstone.forbids_version_of(claim.publisher.order);
        }
        // Nobody will take back what awaits its client; so the word of whoever unregisters it counts for it too.
        let version = tombstone.version + i64::from(!removal.may_return);
        self.0
            .retain(|claim| !claim.awaits_client() || claim.publisher.order.version >= version);
        let Some(successor) = &removal.successor else {
            self.0
                .extend(own.filter(|_| is_held).map(|own| Claim { is_held, ..own }));
            return None;
        };
        let is_forbidden = match counted {
            true => tombstone.forbids_version_of(successor.order),
            false => tombstone.forbids_late(successor.order),
        };
        self.0.push(Claim {
            publisher: Arc::clone(successor),
            is_forbidden,
            is_held: false,
        });
        Some(tombstone).filter(|_| is_forbidden)
    }

    /// Whoever was held is not any more.
    pub(super) fn end_holds(&mut self) {
        self.0.retain(|claim| !claim.is_held);
    }

    /// Whether one is left to be shown without this session's.
    pub(super) fn has_other_than(&self, holder: Holder) -> bool {
        let mut others = self.0.iter().filter(|claim| !claim.is_of(holder));
        others.any(|other| !other.is_forbidden)
    }

    /// Takes out the one that is to be shown. One that is held is shown only if there is no other.
    pub(super) fn elect(&mut self) -> Option<Claim> {
        let claims = self.0.iter().enumerate();
        let (place, _) =
            claims
                .filter(|(_, claim)| !claim.is_forbidden)
                .max_by_key(|(_, claim)| {
                    (
                        !claim.is_held,
                        claim.publisher.order,
                        claim.publisher.holder,
                    )
                })?;
        Some(self.0.swap_remove(place))
    }

    fn take(&mut self, holder: Holder) -> Option<Claim> {
        let place = self.0.iter().position(|claim| claim.is_of(holder))?;
        Some(self.0.swap_remove(place))
    }
}

impl From<Claim> for Arc<Publisher> {
    fn from(claim: Claim) -> Self {
        claim.publisher
    }
}
