//! Who on this core has to be told what: subscribers, what each was sent and what it acknowledged.
//!
//! A *topic* is a part of a datum that somebody here subscribes to, with its newest body. A *group* is the subscribers of one
//! connection that get the same bytes; it has at most one change push unacknowledged. There is no queue of pushes: that a
//! group is behind its topic is a comparison of versions, so a newer body replaces an older one that still waits, for free. Who is
//! looked at next is said by the agenda.

mod agenda;
mod body;
mod frame;
mod group;
mod retry;
mod seated;
mod seats;
mod topic;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{ConnectId, DataInfoId, Name, Scope};
use crate::stats::Stats;
use crate::tables::{Seed, Table};
use crate::version::DatumVersion;

pub use body::Body;
pub use frame::Written;
pub use group::Subscriber;
pub use topic::TopicKey;

use agenda::Looked;
pub(super) use group::{Group, Seat};
use retry::Alarm;
use seated::Seated;
pub(super) use seats::Joined;
use topic::Topic;

use super::chain::Chain;
use super::connections::Connections;
use super::in_flight::{InFlight, InFlights, Sending, Unacknowledged};
use super::index::{ConnectionIndex, GroupIndex, Index, TopicIndex};
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
    by_key: Table<TopicKey, TopicIndex>,
    groups: Slab<Group>,
    /// How many sit in all groups together.
    seated: Seated,
    /// The first group of a connection for a service, which leads to the others.
    by_service: Table<(ConnectionIndex, DataInfoId), GroupIndex>,
    in_flight: InFlights,
    /// Topics that have groups to be looked at.
    agenda: Chain<TopicIndex>,
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
            seated: Seated::default(),
            by_service: seed.table(),
            in_flight: InFlights::default(),
            agenda: Chain::default(),
            alarms: BinaryHeap::new(),
            stopped: false,
            highest: DatumVersion::NOTHING_KNOWN,
            segment,
        }
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.in_flight.len()
    }

    /// Each place for a group from this one on, with the group that is there and its topic.
    pub(super) fn places_from(
        &self,
        start: u64,
    ) -> impl Iterator<Item = (u64, Option<(&TopicKey, &Group)>)> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        (start..self.groups.capacity()).map(|place| {
            let group = self.groups.get(place);
            let group = group.map(|group| (&self.topics[group.topic.place()].key, group));
            (place as u64, group)
        })
    }

    /// How many sit here.
    pub(super) fn seated(&self) -> Seated {
        self.seated
    }

    /// Everybody in these groups, and where they sit.
    pub(super) fn contents(
        &self,
        groups: &[GroupIndex],
    ) -> Vec<(TopicKey, Scope, Name, Vec<Subscriber>)> {
        let groups = groups.iter().map(|group| &self.groups[group.place()]);
        groups
            .map(|group| {
                let key = self.topics[group.topic.place()].key.clone();
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
        self.topics[self.by_key.get(key)?.place()].version
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

    /// A connection is gone: what it had in flight and in groups goes with it.
    pub(super) fn forget(
        &mut self,
        connection: ConnectionIndex,
        groups: &[GroupIndex],
        unacknowledged: &[u32],
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        for &request_id in unacknowledged {
            if let Some(push) = self.in_flight.take(connection, request_id) {
                stats.pushes_lost += 1;
                self.release_body(push.sending.group);
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
        let topic = &mut self.topics[index.place()];
        if topic.version.is_some_and(|held| held > version) {
            return;
        }
        if key.slice != Slice::Config {
            self.highest = self.highest.max(version);
        }
        let is_newer = topic.version != Some(version);
        if is_newer || topic.wants_body {
            topic.body = Some(Rc::new(Body::new(body)));
            topic.crc = None;
            topic.wants_body = false;
        }
        topic.version = Some(version);
        if is_newer {
            topic.changed_at = now;
            topic.begin_fanout();
        }
        topic.drop_idle_body();
        self.call(index);
    }

    /// A client answered a push.
    pub(super) fn on_acknowledged(
        &mut self,
        now: Now,
        connections: &mut Connections,
        connection: ConnectionIndex,
        request_id: u32,
        delivered: bool,
        stats: &mut Stats,
    ) {
        let listed = &mut connections.at(connection).unacknowledged;
        let Some(push) = self.end(listed, connection, request_id) else {
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
            .record(nanos(now.monotonic.since(push.sending.due_since)));
        if delivered {
            stats.pushes_acknowledged += 1;
            self.settle(&push.sending, request_id, true);
        } else {
            stats.pushes_refused += 1;
            self.fail(now.monotonic, &push.sending, request_id);
        }
    }

    /// The last byte of a push went to the kernel.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        connection: ConnectionIndex,
        request_id: u32,
        stats: &mut Stats,
    ) {
        let Some(push) = self.in_flight.find(connection, request_id) else {
            return;
        };
        push.sent_at = Some(now);
        stats
            .push_body_to_socket
            .record(nanos(now.since(push.sending.due_since)));
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
        connection: ConnectionIndex,
        request_id: u32,
    ) {
        connections.at(connection).blocked = true;
        self.take_back(connections, connection, request_id);
    }

    /// A push was not sent after all.
    pub(super) fn take_back(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionIndex,
        request_id: u32,
    ) {
        let listed = &mut connections.at(connection).unacknowledged;
        if let Some(push) = self.end(listed, connection, request_id) {
            self.settle(&push.sending, request_id, false);
        }
    }

    /// The connection has room again.
    pub(super) fn on_writable(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionIndex,
    ) {
        let at = connections.at(connection);
        at.blocked = false;
        at.groups.iter().for_each(|&group| self.enqueue(group));
    }

    /// The operator's switch: while stopped nothing is pushed; afterwards everyone gets what is newest then.
    pub(super) fn set_stopped(&mut self, stopped: bool) {
        let resumes = self.stopped && !stopped;
        self.stopped = stopped;
        if resumes {
            let places: Vec<_> = self.groups.iter().map(|(place, _)| place).collect();
            let groups = places.into_iter().map(GroupIndex::of);
            groups.for_each(|group| self.enqueue(group));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if !self.agenda.is_empty() {
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
        self.work_off(now.monotonic, connections, stats, needs);
    }

    fn add_topic(&mut self, key: TopicKey, needs: &mut Vec<Need>) -> TopicIndex {
        let index = TopicIndex::of(self.topics.insert(Topic::new(key.clone())));
        self.by_key.insert(key.clone(), index);
        needs.push(Need::Watch(key));
        index
    }

    fn push_if_due(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        index: GroupIndex,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) -> Looked {
        let group = &mut self.groups[index.place()];
        let connection = connections.at(group.connection);
        let topic = &mut self.topics[group.topic.place()];
        let Some(version) = topic.version else {
            return Looked::Done;
        };
        if connection.blocked || group.retry_at.is_some_and(|at| at > now) {
            return Looked::Done;
        }
        let Some(is_change) = group.due(version) else {
            return Looked::Done;
        };
        if self.stopped {
            stats.pushes_withheld += 1;
            return Looked::Done;
        }
        if topic.body.is_none() {
            return Looked::NoBody;
        }
        if self.in_flight.is_full() {
            group.retry_at = Some(now + limits::PUSH_RETRY_MIN);
            self.alarms
                .push(Reverse((now + limits::PUSH_RETRY_MIN, Alarm::Retry(index))));
            return Looked::Done;
        }
        let sending = Sending {
            connection: group.connection,
            group: index,
            version,
            is_change,
            due_since: if is_change { topic.changed_at } else { now },
        };
        let listed = &mut connection.unacknowledged;
        let request_id = self.in_flight.insert(sending, listed, &mut group.pushes);
        stats.pushes_retried += u64::from(group.failures > 0);
        group.carry(request_id, is_change);
        topic.in_flight += 1;
        stats.pushes_sent += 1;
        needs.push(Need::Push {
            connect_id: connection.connect_id,
            request_id,
        });
        if !is_change && group.due(version).is_some() {
            self.enqueue(index);
        }
        Looked::Done
    }

    /// Takes a push out, if it is on its way.
    fn end(
        &mut self,
        listed: &mut Unacknowledged,
        connection: ConnectionIndex,
        request_id: u32,
    ) -> Option<InFlight> {
        let push = self.in_flight.find(connection, request_id)?;
        let group = &mut self.groups[push.sending.group.place()];
        Some(self.in_flight.remove(request_id, listed, &mut group.pushes))
    }

    /// A push is over: acknowledged, or taken back.
    fn settle(&mut self, push: &Sending, request_id: u32, is_delivered: bool) {
        self.release_body(push.group);
        let delivered = is_delivered.then_some(push.version);
        let group = &mut self.groups[push.group.place()];
        group.put_down(request_id, push.is_change, delivered);
        if !is_delivered {
            return;
        }
        group.failures = 0;
        group.retry_at = None;
        let newest = self.topics[group.topic.place()].version;
        if newest.is_some_and(|newest| group.due(newest).is_some()) {
            self.enqueue(push.group);
        }
    }

    fn release_body(&mut self, group: GroupIndex) {
        let topic = self.groups[group.place()].topic;
        self.topics[topic.place()].release_body();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
