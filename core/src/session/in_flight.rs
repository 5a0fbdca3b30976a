//! Pushes that a client has not acknowledged yet, found by the request id of its answer.
//!
//! A request id is a place in this table and the generation of that place, so an answer that comes late, twice or from the
//! wrong connection names a push that is no more, and counts for nothing.

use slab::Slab;

use crate::machine::Instant;
use crate::version::DatumVersion;

/// Low bits of a request id: the place. What is left, below the sign, is its generation.
const PLACE_BITS: u32 = 22;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const GENERATIONS: u32 = 1 << (31 - PLACE_BITS);

/// One push on its way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// The place of the connection it went to.
    pub(super) connection: u32,
    /// The group of which it lists subscribers.
    pub(super) group: u32,
    /// What it shows.
    pub(super) version: DatumVersion,
    /// Whether it is the group's change push, of which there is one at a time.
    pub(super) is_change: bool,
    /// Since when its subscribers should have had it.
    pub(super) due_since: Instant,
    /// When its last byte went to the kernel; a client's time to answer starts here.
    pub(super) sent_at: Option<Instant>,
    generation: u32,
}

/// All pushes of one core that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct InFlights {
    slots: Slab<InFlight>,
    next_generation: u32,
}

/// What a new push is about.
pub(super) struct Sending {
    pub(super) connection: u32,
    pub(super) group: u32,
    pub(super) version: DatumVersion,
    pub(super) is_change: bool,
    pub(super) due_since: Instant,
}

impl InFlights {
    /// Whether as many are on their way as request ids can tell apart.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() > PLACE_MASK as usize - 1
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes it in and gives its request id.
    pub(super) fn insert(&mut self, sending: Sending) -> u32 {
        self.next_generation = (self.next_generation + 1) % GENERATIONS;
        let generation = self.next_generation;
        let Sending {
            connection,
            group,
            version,
            is_change,
            due_since,
        } = sending;
        let place = self.slots.insert(InFlight {
            connection,
            group,
            version,
            is_change,
            due_since,
            sent_at: None,
            generation,
        });
        let place = u32::try_from(place).expect("is_full bounds the table");
        generation << PLACE_BITS | place
    }

    /// The push with this request id, if it went to this connection and still waits.
    pub(super) fn find(&mut self, connection: u32, request_id: u32) -> Option<&mut InFlight> {
        let push = self.slots.get_mut((request_id & PLACE_MASK) as usize)?;
        let is_it = push.generation == request_id >> PLACE_BITS && push.connection == connection;
        is_it.then_some(push)
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, connection: u32, request_id: u32) -> Option<InFlight> {
        self.find(connection, request_id)?;
        Some(self.slots.remove((request_id & PLACE_MASK) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(connection: u32) -> Sending {
        Sending {
            connection,
            group: 0,
            version: DatumVersion::NOTHING_KNOWN,
            is_change: true,
            due_since: Instant(0),
        }
    }

    #[test]
    fn an_answer_counts_once_and_only_from_the_connection_that_was_asked() {
        let mut in_flight = InFlights::default();
        let request_id = in_flight.insert(to(7));

        assert!(in_flight.remove(8, request_id).is_none());
        assert!(in_flight.remove(7, request_id).is_some());
        assert!(in_flight.remove(7, request_id).is_none());
    }

    #[test]
    fn a_late_answer_never_acknowledges_the_next_push_in_its_place() {
        let mut in_flight = InFlights::default();
        let first = in_flight.insert(to(7));
        in_flight.remove(7, first);

        let second = in_flight.insert(to(7));

        assert_ne!(first, second);
        assert!(in_flight.remove(7, first).is_none());
    }
}
