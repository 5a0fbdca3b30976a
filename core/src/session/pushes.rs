//! Who on this core has to be told what: subscribers, what each was sent and what it acknowledged.
//!
//! A *topic* is a part of a datum that somebody here subscribes to, with its newest body. A *group* is the subscribers of one
//! connection that get the same bytes; it has at most one change push unacknowledged. There is no queue of pushes: that a
//! group is behind its topic is a comparison of versions, so a newer body replaces an older one that still waits, for free.

mod frame;
mod group;
mod retry;
mod topic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{ConnectId, Name, RegisterId, Scope};
use crate::stats::Stats;
use crate::tables::{Seed, Table};
use crate::version::DatumVersion;

pub use frame::Written;
pub use group::Subscriber;
pub use topic::TopicKey;

pub(super) use group::{Group, Seat};
use retry::Alarm;
use topic::Topic;

use super::connections::Connections;
use super::in_flight::{InFlights, Sending};
use super::lane::Slice;

/// What the table of contents has to do for the pushes.
#[derive(Debug)]
pub(super) enum Need {
    /// Write this push to this connection.
    Push {
        connect_id: ConnectId,
        request_id: u32,
    },
    /// Somebody here subscribes for the first time.
    Watch(TopicKey),
    /// The last subscriber left.
    Unwatch(TopicKey),
    /// The body was let go and is needed again.
    Body(TopicKey),
}

/// All subscribers of one core.
#[derive(Debug)]
pub(super) struct Pushes {
    topics: Slab<Topic>,
    by_key: Table<TopicKey, u32>,
    groups: Slab<Group>,
    by_member: Table<(u32, u32, Scope, Name), u32>,
    in_flight: InFlights,
    /// Groups to be looked at: each at most once.
    ready: VecDeque<u32>,
    /// Topics with a newer body than some of their groups were sent: each at most once.
    fanouts: VecDeque<u32>,
    alarms: BinaryHeap<Reverse<(Instant, Alarm)>>,
    stopped: bool,
    highest: DatumVersion,
    /// The data center that pushes name.
    segment: Name,
}

impl Pushes {
    pub(super) fn new(seed: Seed, segment: Name) -> Self {
        Self {
            topics: Slab::new(),
            by_key: seed.table(),
            groups: Slab::new(),
            by_member: seed.table(),
            in_flight: InFlights::default(),
            ready: VecDeque::new(),
            fanouts: VecDeque::new(),
            alarms: BinaryHeap::new(),
            stopped: false,
            highest: DatumVersion::NOTHING_KNOWN,
            segment,
        }
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Groups that wait to be looked at, or for the fan-out that has begun to reach them.
    pub(super) fn behind(&self) -> usize {
        let fanouts = self
            .fanouts
            .iter()
            .map(|&topic| self.topics[topic as usize].remaining);
        self.ready.len() + fanouts.sum::<usize>()
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.in_flight.len()
    }

    /// Each group with its place and topic, in the order of places from this one on.
    pub(super) fn groups_from(&self, start: u32) -> impl Iterator<Item = (u32, &TopicKey, &Group)> {
        (start..narrow(self.groups.capacity())).filter_map(|index| {
            let group = self.groups.get(index as usize)?;
            Some((index, &self.topics[group.topic as usize].key, group))
        })
    }

    /// How many configurators these groups have.
    pub(super) fn configurators_of(&self, groups: &[u32]) -> usize {
        let groups = groups.iter().map(|&group| &self.groups[group as usize]);
        groups
            .filter(|group| self.topics[group.topic as usize].key.slice == Slice::Config)
            .map(|group| group.subscribers.len())
            .sum()
    }

    /// Everybody in these groups, and where they sit.
    pub(super) fn contents(&self, groups: &[u32]) -> Vec<(TopicKey, Scope, Name, Vec<Subscriber>)> {
        let groups = groups.iter().map(|&group| &self.groups[group as usize]);
        groups
            .map(|group| {
                let key = self.topics[group.topic as usize].key.clone();
                (
                    key,
                    group.scope,
                    Name::clone(&group.zone),
                    group.subscribers.clone(),
                )
            })
            .collect()
    }

    pub(super) fn has_topic(&self, key: &TopicKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// The newest version heard of this part.
    pub(super) fn version(&self, key: &TopicKey) -> Option<DatumVersion> {
        self.topics[*self.by_key.get(key)? as usize].version
    }

    /// The highest version of a datum heard of.
    pub(super) fn highest(&self) -> DatumVersion {
        self.highest
    }

    /// What is shown to those who may not subscribe.
    pub(super) fn hidden_topics(&self) -> Vec<TopicKey> {
        let topics = self.topics.iter().map(|(_, topic)| &topic.key);
        topics
            .filter(|key| key.slice == Slice::Nothing)
            .cloned()
            .collect()
    }

    /// Whether this subscriber sits there.
    pub(super) fn has(&self, seat: &Seat, register_id: &RegisterId) -> bool {
        let Some(group) = self.find_group(seat) else {
            return false;
        };
        let mut subscribers = self.groups[group as usize].subscribers.iter();
        subscribers.any(|known| known.register_id == *register_id)
    }

    fn find_group(&self, seat: &Seat) -> Option<u32> {
        let topic = *self.by_key.get(&seat.key)?;
        let member = (seat.connection, topic, seat.scope, Name::clone(&seat.zone));
        self.by_member.get(&member).copied()
    }

    /// A subscriber joins, or registers again: it is due a push whatever it was sent before.
    pub(super) fn join(
        &mut self,
        connections: &mut Connections,
        seat: Seat,
        subscriber: Subscriber,
        needs: &mut Vec<Need>,
    ) -> Joined {
        let topic = match self.by_key.get(&seat.key) {
            Some(&topic) => topic,
            None => self.add_topic(seat.key, needs),
        };
        let member = (seat.connection, topic, seat.scope, seat.zone);
        let group = match self.by_member.get(&member) {
            Some(&group) => group,
            None => self.add_group(connections, member),
        };
        let Group {
            subscribers,
            retry_at,
            ..
        } = &mut self.groups[group as usize];
        // A pause after a failure is for those who failed, not for who joins.
        *retry_at = None;
        let known = subscribers
            .iter()
            .position(|known| known.register_id == subscriber.register_id);
        let joined = match known {
            Some(place) => {
                subscribers[place] = subscriber;
                Joined::Again
            }
            None if subscribers.len() == limits::SUBSCRIBERS_PER_GROUP_MAX => return Joined::Full,
            None => {
                subscribers.push(subscriber);
                Joined::First
            }
        };
        self.enqueue(group);
        joined
    }

    /// A subscriber leaves. True if it was there.
    pub(super) fn leave(
        &mut self,
        connections: &mut Connections,
        seat: Seat,
        register_id: &RegisterId,
        needs: &mut Vec<Need>,
    ) -> bool {
        let Some(group) = self.find_group(&seat) else {
            return false;
        };
        let subscribers = &mut self.groups[group as usize].subscribers;
        let Some(place) = subscribers
            .iter()
            .position(|known| known.register_id == *register_id)
        else {
            return false;
        };
        subscribers.remove(place);
        if subscribers.is_empty() {
            let connection = connections.at(seat.connection);
            connection.groups.retain(|&other| other != group);
            // Its pushes leave with it: a late answer must not count for whoever gets its place.
            connection.unacknowledged.retain(|&request_id| {
                let push = self.in_flight.find(seat.connection, request_id);
                let goes = push.is_some_and(|push| push.group == group);
                if goes {
                    self.in_flight.remove(seat.connection, request_id);
                    let topic = self.groups[group as usize].topic;
                    self.topics[topic as usize].release_body();
                }
                !goes
            });
            self.remove_group(group, needs);
        }
        true
    }

    /// A connection is gone: what it had in flight and in groups goes with it.
    pub(super) fn forget(
        &mut self,
        connection: u32,
        groups: &[u32],
        unacknowledged: &[u32],
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        for &request_id in unacknowledged {
            if let Some(push) = self.in_flight.remove(connection, request_id) {
                stats.pushes_lost += 1;
                self.release_body(push.group);
            }
        }
        for &group in groups {
            self.remove_group(group, needs);
        }
    }

    /// The newest body of a topic came. Older ones, and those of topics that nobody here watches any more, are dropped.
    pub(super) fn on_body(
        &mut self,
        now: Instant,
        key: &TopicKey,
        version: DatumVersion,
        body: Bytes,
    ) {
        let Some(&index) = self.by_key.get(key) else {
            return;
        };
        let topic = &mut self.topics[index as usize];
        if topic.version.is_some_and(|held| held > version) {
            return;
        }
        if key.slice != Slice::Config {
            self.highest = self.highest.max(version);
        }
        let is_newer = topic.version != Some(version);
        if is_newer || topic.body.is_none() {
            topic.body = Some(Rc::new(body));
            topic.crc = None;
        }
        topic.version = Some(version);
        if is_newer {
            topic.changed_at = now;
            if topic.remaining == 0 {
                self.fanouts.push_back(index);
            }
            topic.remaining = topic.groups.len();
        }
        for group in topic.waiting.drain(..) {
            self.groups[group as usize].waits = false;
            if !is_newer {
                enqueue(&mut self.groups, &mut self.ready, group);
            }
        }
    }

    /// A client answered a push.
    pub(super) fn on_acknowledged(
        &mut self,
        now: Now,
        connections: &mut Connections,
        connection: u32,
        request_id: u32,
        delivered: bool,
        stats: &mut Stats,
    ) {
        let Some(push) = self.in_flight.remove(connection, request_id) else {
            stats.dropped_stale_response += 1;
            return;
        };
        if let Some(sent_at) = push.sent_at {
            stats
                .push_socket_to_ack
                .record(nanos(now.monotonic.since(sent_at)));
        }
        stats
            .push_total
            .record(nanos(now.monotonic.since(push.due_since)));
        strike(&mut connections.at(connection).unacknowledged, request_id);
        if delivered {
            stats.pushes_acknowledged += 1;
            self.settle(push.group, push.is_change, request_id, Some(push.version));
        } else {
            stats.pushes_refused += 1;
            self.fail(now.monotonic, push.group, push.is_change, request_id);
        }
    }

    /// The last byte of a push went to the kernel.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        connection: u32,
        request_id: u32,
        stats: &mut Stats,
    ) {
        let Some(push) = self.in_flight.find(connection, request_id) else {
            return;
        };
        push.sent_at = Some(now);
        stats
            .push_body_to_socket
            .record(nanos(now.since(push.due_since)));
        let connection = connections.at(connection);
        if !connection.ack_check_due {
            connection.ack_check_due = true;
            let alarm = Alarm::Acknowledgements(connection.connect_id);
            self.alarms
                .push(Reverse((now + limits::PUSH_TIMEOUT, alarm)));
        }
    }

    /// The connection had no room for a push that was due: it waits until there is.
    pub(super) fn on_no_room(
        &mut self,
        connections: &mut Connections,
        connection: u32,
        request_id: u32,
    ) {
        connections.at(connection).blocked = true;
        self.take_back(connections, connection, request_id);
    }

    /// A push was not sent after all.
    pub(super) fn take_back(
        &mut self,
        connections: &mut Connections,
        connection: u32,
        request_id: u32,
    ) {
        strike(&mut connections.at(connection).unacknowledged, request_id);
        if let Some(push) = self.in_flight.remove(connection, request_id) {
            self.settle(push.group, push.is_change, request_id, None);
        }
    }

    /// The connection has room again.
    pub(super) fn on_writable(&mut self, connections: &mut Connections, connection: u32) {
        let at = connections.at(connection);
        at.blocked = false;
        for &group in &at.groups {
            enqueue(&mut self.groups, &mut self.ready, group);
        }
    }

    /// The operator's switch: while stopped nothing is pushed; afterwards everyone gets what is newest then.
    pub(super) fn set_stopped(&mut self, stopped: bool) {
        let resumes = self.stopped && !stopped;
        self.stopped = stopped;
        if resumes {
            let groups: Vec<u32> = self.groups.iter().map(|(index, _)| narrow(index)).collect();
            groups.into_iter().for_each(|group| self.enqueue(group));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if !self.ready.is_empty() || !self.fanouts.is_empty() {
            return Some(Instant::default());
        }
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// Rings what is due, then hands out one slice of pushes; the rest follows after others had their turn.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        connections: &mut Connections,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        self.ring_alarms(now.monotonic, connections, stats);
        let mut slice = limits::FANOUT_SLICE;
        while slice > 0
            && let Some(group) = self.ready.pop_front()
        {
            slice -= 1;
            if let Some(group) = self.groups.get_mut(group as usize) {
                group.queued = false;
            }
            self.push_if_due(now.monotonic, connections, group, stats, needs);
        }
        while slice > 0
            && let Some(&topic) = self.fanouts.front()
        {
            slice -= self.fan_out(now.monotonic, connections, topic, slice, stats, needs);
        }
    }

    fn add_topic(&mut self, key: TopicKey, needs: &mut Vec<Need>) -> u32 {
        let index = narrow(self.topics.insert(Topic {
            key: key.clone(),
            version: None,
            body: None,
            crc: None,
            changed_at: Instant::default(),
            groups: Vec::new(),
            waiting: Vec::new(),
            in_flight: 0,
            cursor: 0,
            remaining: 0,
        }));
        self.by_key.insert(key.clone(), index);
        needs.push(Need::Watch(key));
        index
    }

    fn add_group(&mut self, connections: &mut Connections, member: (u32, u32, Scope, Name)) -> u32 {
        let (connection, topic, scope, ref zone) = member;
        let groups = &mut self.topics[topic as usize].groups;
        let index = narrow(self.groups.insert(Group {
            connection,
            topic,
            place: groups.len(),
            scope,
            zone: Name::clone(zone),
            subscribers: Vec::with_capacity(1),
            change_in_flight: false,
            failures: 0,
            retry_at: None,
            queued: false,
            waits: false,
        }));
        groups.push(index);
        // A fan-out in progress goes round: with one more on its way it would end before it met everybody.
        let remaining = &mut self.topics[topic as usize].remaining;
        *remaining += usize::from(*remaining > 0);
        connections.at(connection).groups.push(index);
        self.by_member.insert(member, index);
        index
    }

    fn remove_group(&mut self, index: u32, needs: &mut Vec<Need>) {
        let group = self.groups.remove(index as usize);
        let member = (group.connection, group.topic, group.scope, group.zone);
        self.by_member.remove(&member);
        let topic = &mut self.topics[group.topic as usize];
        topic.waiting.retain(|&waiting| waiting != index);
        topic.groups.swap_remove(group.place);
        topic.remaining = topic.remaining.min(topic.groups.len());
        if topic.cursor >= topic.groups.len() {
            // The end that the fan-out had reached is gone: the beginning comes next, not wherever the remainder falls.
            topic.cursor = 0;
        }
        if let Some(&moved) = topic.groups.get(group.place) {
            self.groups[moved as usize].place = group.place;
            // The fan-out may have passed its new place without having met it.
            if topic.remaining > 0 {
                self.enqueue(moved);
            }
        } else if topic.groups.is_empty() {
            let topic = self.topics.remove(group.topic as usize);
            self.by_key.remove(&topic.key);
            self.fanouts.retain(|&fanout| fanout != group.topic);
            needs.push(Need::Unwatch(topic.key));
        }
    }

    fn enqueue(&mut self, group: u32) {
        enqueue(&mut self.groups, &mut self.ready, group);
    }

    fn fan_out(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        index: u32,
        slice: usize,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) -> usize {
        let topic = &self.topics[index as usize];
        let step = topic.remaining.min(slice);
        let (start, groups) = (topic.cursor, topic.groups.len());
        for offset in 0..step {
            let group = self.topics[index as usize].groups[(start + offset) % groups];
            self.push_if_due(now, connections, group, stats, needs);
        }
        let topic = &mut self.topics[index as usize];
        topic.remaining -= step;
        topic.cursor = if groups == 0 {
            0
        } else {
            (start + step) % groups
        };
        if topic.remaining == 0 {
            self.fanouts.pop_front();
            if topic.in_flight == 0 {
                topic.body = None;
            }
        }
        step.max(1)
    }

    fn push_if_due(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        index: u32,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        let Some(group) = self.groups.get_mut(index as usize) else {
            return;
        };
        let connection = connections.at(group.connection);
        let topic = &mut self.topics[group.topic as usize];
        let Some(version) = topic.version else {
            return;
        };
        if connection.blocked || group.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let Some(is_change) = group.due(version) else {
            return;
        };
        if self.stopped {
            stats.pushes_withheld += 1;
            return;
        }
        if topic.body.is_none() {
            if topic.waiting.is_empty() {
                needs.push(Need::Body(topic.key.clone()));
            }
            if !std::mem::replace(&mut group.waits, true) {
                topic.waiting.push(index);
            }
            return;
        }
        if self.in_flight.is_full() {
            group.retry_at = Some(now + limits::PUSH_RETRY_MIN);
            self.alarms
                .push(Reverse((now + limits::PUSH_RETRY_MIN, Alarm::Retry(index))));
            return;
        }
        let request_id = self.in_flight.insert(Sending {
            connection: group.connection,
            group: index,
            version,
            is_change,
            due_since: if is_change { topic.changed_at } else { now },
        });
        stats.pushes_retried += u64::from(group.failures > 0);
        group.carry(request_id, is_change);
        topic.in_flight += 1;
        connection.unacknowledged.push(request_id);
        stats.pushes_sent += 1;
        needs.push(Need::Push {
            connect_id: connection.connect_id,
            request_id,
        });
        if !is_change && group.due(version).is_some() {
            self.enqueue(index);
        }
    }

    /// A push is over: acknowledged at a version, or taken back.
    fn settle(
        &mut self,
        index: u32,
        is_change: bool,
        request_id: u32,
        delivered: Option<DatumVersion>,
    ) {
        self.release_body(index);
        let Some(group) = self.groups.get_mut(index as usize) else {
            return;
        };
        group.put_down(request_id, is_change, delivered);
        if delivered.is_some() {
            group.failures = 0;
            group.retry_at = None;
        }
        let newest = self.topics[group.topic as usize].version;
        if delivered.is_some() && newest.is_some_and(|newest| group.due(newest).is_some()) {
            self.enqueue(index);
        }
    }

    fn release_body(&mut self, group: u32) {
        let Some(group) = self.groups.get(group as usize) else {
            return;
        };
        self.topics[group.topic as usize].release_body();
    }
}

/// What became of a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is there.
    First,
    /// It was there before and is due another first push.
    Again,
    /// Its connection has as many subscribers of this service as it may.
    Full,
}

fn enqueue(groups: &mut Slab<Group>, ready: &mut VecDeque<u32>, index: u32) {
    if let Some(group) = groups.get_mut(index as usize)
        && !group.queued
    {
        group.queued = true;
        ready.push_back(index);
    }
}

fn strike(request_ids: &mut Vec<u32>, request_id: u32) {
    if let Some(place) = request_ids.iter().position(|&other| other == request_id) {
        request_ids.swap_remove(place);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("memory ends before this many entries")
}
