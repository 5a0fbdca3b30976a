//! Pushes that a client has not acknowledged yet, found by the request id of its answer.
//!
//! A request id is a place in this table and the generation of that place, so an answer that comes late, twice or from the
//! wrong connection names a push that is no more, and counts for nothing.

use slab::Slab;

use crate::limits;
use crate::machine::Instant;
use crate::version::DatumVersion;

use super::chain::{Chain, Link, Linked};
use super::index::{ConnectionIndex, GroupIndex, Index, PushIndex};

/// Low bits of a request id: the place. What is left, below the sign, is its generation.
const PLACE_BITS: u32 = 22;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const GENERATIONS: u32 = 1 << (31 - PLACE_BITS);

const _: () = assert!(limits::PUSHES_IN_FLIGHT_MAX < 1 << PLACE_BITS);

/// One push on its way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) sending: Sending,
    /// When its last byte went to the kernel; a client's time to answer starts here.
    pub(super) sent_at: Option<Instant>,
    generation: u32,
    /// Where its connection lists it.
    place: u32,
    /// Its place among the pushes of its group.
    link: Link<PushIndex>,
}

/// What a push is about.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    /// The connection it went to.
    pub(super) connection: ConnectionIndex,
    /// The group of which it lists subscribers.
    pub(super) group: GroupIndex,
    /// What it shows.
    pub(super) version: DatumVersion,
    /// Whether it is the group's change push, of which there is one at a time.
    pub(super) is_change: bool,
    /// Since when its subscribers should have had it.
    pub(super) due_since: Instant,
}

/// The request ids of a connection's pushes that wait for their acknowledgement.
pub(super) type Unacknowledged = Vec<u32>;

/// All pushes of one core that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct InFlights {
    slots: Slab<InFlight>,
    next_generation: u32,
}

impl Linked<PushIndex> for InFlight {
    fn link(&mut self) -> &mut Link<PushIndex> {
        &mut self.link
    }
}

impl InFlights {
    /// Whether as many are on their way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= limits::PUSHES_IN_FLIGHT_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes it in, lists it with its connection and its group, and gives its request id.
    pub(super) fn insert(
        &mut self,
        sending: Sending,
        listed: &mut Unacknowledged,
        of_group: &mut Chain<PushIndex>,
    ) -> u32 {
        self.next_generation = (self.next_generation + 1) % GENERATIONS;
        let generation = self.next_generation;
        let place = self.slots.insert(InFlight {
            sending,
            sent_at: None,
            generation,
            place: narrow(listed.len()),
            link: Link::default(),
        });
        of_group.push(&mut self.slots, PushIndex::of(place));
        let request_id = generation << PLACE_BITS | narrow(place);
        listed.push(request_id);
        request_id
    }

    /// The push with this request id, if it went to this connection and still waits.
    pub(super) fn find(
        &mut self,
        connection: ConnectionIndex,
        request_id: u32,
    ) -> Option<&mut InFlight> {
        let push = self.slots.get_mut((request_id & PLACE_MASK) as usize)?;
        let is_it =
            push.generation == request_id >> PLACE_BITS && push.sending.connection == connection;
        is_it.then_some(push)
    }

    /// Takes out one that is in flight, also of the lists of its connection and its group.
    pub(super) fn remove(
        &mut self,
        request_id: u32,
        listed: &mut Unacknowledged,
        of_group: &mut Chain<PushIndex>,
    ) -> InFlight {
        let place = (request_id & PLACE_MASK) as usize;
        of_group.remove(&mut self.slots, PushIndex::of(place));
        let push = self.slots.remove(place);
        listed.swap_remove(push.place as usize);
        if let Some(moved) = listed.get(push.place as usize) {
            self.slots[(moved & PLACE_MASK) as usize].place = push.place;
        }
        push
    }

    /// Takes one out whose connection and group have forgotten it.
    pub(super) fn take(
        &mut self,
        connection: ConnectionIndex,
        request_id: u32,
    ) -> Option<InFlight> {
        self.find(connection, request_id)?;
        Some(self.slots.remove((request_id & PLACE_MASK) as usize))
    }

    /// The first push of a group, by its request id.
    pub(super) fn first_of(&self, of_group: &Chain<PushIndex>) -> Option<u32> {
        let place = of_group.first()?.place();
        Some(self.slots[place].generation << PLACE_BITS | narrow(place))
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("is_full bounds the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(connection: ConnectionIndex) -> Sending {
        Sending {
            connection,
            group: GroupIndex::of(0),
            version: DatumVersion::NOTHING_KNOWN,
            is_change: true,
            due_since: Instant(0),
        }
    }

    #[test]
    fn an_answer_counts_once_and_only_from_the_connection_that_was_asked() {
        let [asked, other] = [7, 8].map(ConnectionIndex::of);
        let (mut listed, mut of_group) = (Vec::new(), Chain::default());
        let mut in_flight = InFlights::default();
        let request_id = in_flight.insert(to(asked), &mut listed, &mut of_group);

        assert!(in_flight.find(other, request_id).is_none());
        assert!(in_flight.find(asked, request_id).is_some());
        in_flight.remove(request_id, &mut listed, &mut of_group);
        assert!(in_flight.find(asked, request_id).is_none());
    }

    #[test]
    fn a_late_answer_never_acknowledges_the_next_push_in_its_place() {
        let asked = ConnectionIndex::of(7);
        let (mut listed, mut of_group) = (Vec::new(), Chain::default());
        let mut in_flight = InFlights::default();
        let first = in_flight.insert(to(asked), &mut listed, &mut of_group);
        in_flight.remove(first, &mut listed, &mut of_group);

        let second = in_flight.insert(to(asked), &mut listed, &mut of_group);

        assert_ne!(first, second);
        assert!(in_flight.find(asked, first).is_none());
    }

    #[test]
    fn whatever_the_order_of_the_answers_each_leaves_the_list_alone() {
        let asked = ConnectionIndex::of(7);
        let (mut listed, mut of_group) = (Vec::new(), Chain::default());
        let mut in_flight = InFlights::default();
        let mut ids: Vec<_> = (0..5)
            .map(|_| in_flight.insert(to(asked), &mut listed, &mut of_group))
            .collect();

        for taken in [3, 0, 2, 0, 0] {
            let request_id = ids.remove(taken);
            in_flight.remove(request_id, &mut listed, &mut of_group);
            let mut left = listed.clone();
            left.sort_unstable();
            assert_eq!(left, ids);
        }
        assert!(of_group.is_empty());
    }
}
