//! Where each registration sits: in one group of its connection and service, until it registers in another scope or zone and moves.

use crate::limits;
use crate::names::{DataInfoId, RegisterId};
use crate::session::connections::Connections;
use crate::session::index::{ConnectionIndex, GroupIndex, Index, TopicIndex};
use crate::session::lane::Slice;

use super::group::{Group, Seat, Subscriber};
use super::{Need, Pushes};

/// What became of a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum Joined {
    /// It is there.
    First,
    /// It was there before, in this seat or another, and is due another first push.
    Again,
    /// Its connection has as many subscribers of this service as it may.
    Full,
}

impl Pushes {
    /// Whether this registration has a seat of the same kind.
    pub(in crate::session) fn has(&self, seat: &Seat, register_id: &RegisterId) -> bool {
        self.find(seat, register_id).is_some()
    }

    /// A subscriber joins, or registers again: it is due a push whatever it was sent before. A seat it had elsewhere is free.
    pub(in crate::session) fn join(
        &mut self,
        connections: &mut Connections,
        seat: Seat,
        subscriber: Subscriber,
        needs: &mut Vec<Need>,
    ) -> Joined {
        let former = self.find(&seat, &subscriber.register_id);
        if former.is_none() && self.is_full(&seat) {
            return Joined::Full;
        }
        let group = self.group_of(connections, &seat, needs);
        let it = &mut self.groups[group.place()];
        // A pause after a failure is for those who failed, not for who joins.
        it.retry_at = None;
        match former {
            Some((other, place)) if other == group => it.subscribers[place] = subscriber,
            _ => {
                it.subscribers.push(subscriber);
                let is_configurator = seat.key.slice == Slice::Config;
                self.seated.add(is_configurator, 1);
                connections.at(seat.connection).configurators += usize::from(is_configurator);
            }
        }
        self.enqueue_first(group);
        match former {
            None => Joined::First,
            Some((other, place)) => {
                if other != group {
                    self.vacate(connections, other, place, needs);
                }
                Joined::Again
            }
        }
    }

    /// A subscriber leaves, whichever scope and zone it sits in. True if it was there.
    pub(in crate::session) fn leave(
        &mut self,
        connections: &mut Connections,
        seat: Seat,
        register_id: &RegisterId,
        needs: &mut Vec<Need>,
    ) -> bool {
        let found = self.find(&seat, register_id);
        if let Some((group, place)) = found {
            self.vacate(connections, group, place, needs);
        }
        found.is_some()
    }

    fn vacate(
        &mut self,
        connections: &mut Connections,
        index: GroupIndex,
        place: usize,
        needs: &mut Vec<Need>,
    ) {
        let group = &mut self.groups[index.place()];
        let (connection, topic) = (group.connection, group.topic);
        let at = connections.at(connection);
        let was_configurator = self.topics[topic.place()].key.slice == Slice::Config;
        self.seated.take(was_configurator, 1);
        at.configurators -= usize::from(was_configurator);
        group.subscribers.remove(place);
        if !group.subscribers.is_empty() {
            return;
        }
        // Its pushes leave with it: a late answer must not count for whoever gets its place.
        while let Some(request_id) = self.in_flight.first_of(&group.pushes) {
            let listed = &mut at.unacknowledged;
            self.in_flight.remove(request_id, listed, &mut group.pushes);
            self.topics[topic.place()].release_body();
        }
        let place = group.place_in_connection;
        at.groups.swap_remove(place as usize);
        if let Some(moved) = at.groups.get(place as usize) {
            self.groups[moved.place()].place_in_connection = place;
        }
        self.remove_group(index, needs);
    }

    /// The group and the place in it where this registration sits; subscribers and configurators are of two kinds.
    fn find(&self, seat: &Seat, register_id: &RegisterId) -> Option<(GroupIndex, usize)> {
        let is_config = seat.key.slice == Slice::Config;
        self.groups_of(seat.connection, &seat.key.data_info_id)
            .find_map(|index| {
                let group = &self.groups[index.place()];
                let slice = &self.topics[group.topic.place()].key.slice;
                let place = group.position(register_id)?;
                ((*slice == Slice::Config) == is_config).then_some((index, place))
            })
    }

    fn is_full(&self, seat: &Seat) -> bool {
        let groups = self.groups_of(seat.connection, &seat.key.data_info_id);
        let subscribers = groups.map(|group| self.groups[group.place()].subscribers.len());
        subscribers.sum::<usize>() >= limits::SUBSCRIBERS_PER_SERVICE_MAX
    }

    /// The groups of a connection for a service: few, as scopes and zones are.
    fn groups_of(
        &self,
        connection: ConnectionIndex,
        data_info_id: &DataInfoId,
    ) -> impl Iterator<Item = GroupIndex> {
        let first = self.by_service.get(&(connection, data_info_id.clone()));
        let sibling = |group: &GroupIndex| self.groups[group.place()].sibling;
        std::iter::successors(first.copied(), sibling)
    }

    fn group_of(
        &mut self,
        connections: &mut Connections,
        seat: &Seat,
        needs: &mut Vec<Need>,
    ) -> GroupIndex {
        let topic = match self.by_key.get(&seat.key) {
            Some(&topic) => topic,
            None => self.add_topic(seat.key.clone(), needs),
        };
        let mut groups = self.groups_of(seat.connection, &seat.key.data_info_id);
        let group = groups.find(|index| {
            let group = &self.groups[index.place()];
            group.topic == topic && group.scope == seat.scope && group.zone == seat.zone
        });
        drop(groups);
        group.unwrap_or_else(|| self.add_group(connections, seat, topic))
    }

    fn add_group(
        &mut self,
        connections: &mut Connections,
        seat: &Seat,
        topic: TopicIndex,
    ) -> GroupIndex {
        let index = GroupIndex::of(self.groups.insert(Group::new(seat, topic)));
        let service = (seat.connection, seat.key.data_info_id.clone());
        let sibling = self.by_service.insert(service, index);
        let listed = &mut connections.at(seat.connection).groups;
        let place = self.topics[topic.place()].add(index);
        let group = &mut self.groups[index.place()];
        group.place = narrow(place);
        group.place_in_connection = narrow(listed.len());
        group.sibling = sibling;
        listed.push(index);
        index
    }

    /// Takes an empty group, or one of a connection that is gone, out of all tables but its connection's.
    pub(super) fn remove_group(&mut self, index: GroupIndex, needs: &mut Vec<Need>) {
        let topic = self.groups[index.place()].topic;
        self.topics[topic.place()]
            .ready
            .remove(&mut self.groups, index);
        let group = self.groups.remove(index.place());
        let are_configurators = self.topics[topic.place()].key.slice == Slice::Config;
        self.seated.take(are_configurators, group.subscribers.len());
        self.forget_sibling(index, &group);
        let it = &mut self.topics[topic.place()];
        if let Some(moved) = it.remove(group.place as usize) {
            self.groups[moved.place()].place = group.place;
            // The fan-out may have passed its new place without having met it.
            if self.topics[topic.place()].is_fanning_out() {
                self.enqueue(moved);
            }
        } else if it.groups.is_empty() {
            self.agenda.remove(&mut self.topics, topic);
            let topic = self.topics.remove(topic.place());
            self.by_key.remove(&topic.key);
            needs.push(Need::Unwatch(topic.key));
        }
    }

    fn forget_sibling(&mut self, index: GroupIndex, group: &Group) {
        let data_info_id = self.topics[group.topic.place()].key.data_info_id.clone();
        let service = (group.connection, data_info_id);
        let Some(first) = self.by_service.get_mut(&service) else {
            return;
        };
        if *first != index {
            let mut before = *first;
            while let Some(sibling) = self.groups[before.place()].sibling
                && sibling != index
            {
                before = sibling;
            }
            self.groups[before.place()].sibling = group.sibling;
        } else if let Some(sibling) = group.sibling {
            *first = sibling;
        } else {
            self.by_service.remove(&service);
        }
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("memory ends before this many entries")
}
