//! What a session core tells about itself, in slices: registrations whose home it is, and the connections whose sockets it has.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::bolt::Protocol;
use crate::names::{ConnectId, DataInfoId, Name, Scope};
use crate::query::{
    Answer, ConfiguratorRow, ConnectionRow, Counts, Cursor, DataInfoIdRow, Gathered, HeldPublisher,
    Query, RegistrationRow, Selection, Slice, SubscriberRow, Weigh,
};

use super::Session;
use super::connections::Connection;
use super::lane;
use super::pushes::{Group, Subscriber, TopicKey};
use super::roster::merged;

/// What only the owner of the sockets knows of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes received on it.
    pub received_bytes: u64,
    /// Bytes sent on it.
    pub sent_bytes: u64,
}

impl Session {
    /// The answer to a question about sessions; `None` if it is one for the data role.
    pub fn answer(&self, query: &Query, traffic: impl Fn(ConnectId) -> Traffic) -> Option<Answer> {
        Some(match query {
            Query::Counts => Answer::Counts(self.counts()),
            Query::Publishers { of, after } => Answer::Publishers(self.publishers(of, after)),
            Query::Subscribers { of, after } => {
                let row = |registration, scope| SubscriberRow {
                    registration,
                    scope,
                };
                Answer::Subscribers(self.subscriptions(of, after, false, row))
            }
            Query::Configurators { of, after } => {
                let row = |registration, _| ConfiguratorRow { registration };
                Answer::Configurators(self.subscriptions(of, after, true, row))
            }
            Query::DataInfoIds { after } => Answer::DataInfoIds(self.data_info_ids(after)),
            Query::Connections { address, after } => {
                Answer::Connections(self.connection_rows(*address, after, traffic))
            }
            Query::Stats
            | Query::Datum { .. }
            | Query::Datums { .. }
            | Query::StoredPublishers { .. } => return None,
        })
    }

    /// The counters, with the gauges as they are.
    pub fn gauge(&mut self) -> &crate::stats::Stats {
        let counts = self.counts();
        self.stats.connections = counts.connections;
        self.stats.publishers = counts.publishers;
        self.stats.subscribers = counts.subscribers;
        self.stats.configurators = counts.configurators;
        self.stats.pushes_in_flight = self.pushes.unacknowledged() as u64;
        self.stats.bodies_bytes = self.interests.held_bytes() as u64;
        self.stats.published_bytes = self.registrations.bytes() as u64;
        self.stats.published_bytes_max = self.rules.published_bytes_max as u64;
        self.stats.publishers_in_grace = self.registrations.in_grace() as u64;
        self.stats.queue_parked_requests =
            self.parked.iter().map(|parked| parked.len() as u64).sum();
        self.stats.queue_behind = self.pushes.behind() as u64;
        &self.stats
    }

    fn counts(&self) -> Counts {
        let seated = self.pushes.seated();
        Counts {
            connections: self.connections.len() as u64,
            publishers: self.registrations.count() as u64,
            subscribers: seated.subscribers as u64,
            configurators: seated.configurators as u64,
            ..Counts::default()
        }
    }

    /// Subscribers and configurators as they are found in all groups, for tests of the numbers that are kept.
    #[cfg(test)]
    pub(super) fn recount(&self) -> [u64; 2] {
        let mut found = [0; 2];
        for (key, group) in self.pushes.places_from(0).filter_map(|(_, held)| held) {
            let kind = usize::from(key.slice == lane::Slice::Config);
            found[kind] += group.subscribers.len() as u64;
        }
        found
    }

    fn publishers(&self, of: &Selection, after: &Cursor) -> Slice<HeldPublisher> {
        let (first, within) = service_of(after);
        let mut gathered = Gathered::default();
        if let Selection::DataInfoId(wanted) = of {
            let next = self.gather_publishers(of, wanted, within, &mut gathered);
            return gathered.until(next);
        }
        for id in self.registrations.services_from(first) {
            // Only the service at which the last slice ended is begun in the middle.
            let within = if first == Some(id) { within } else { 0 };
            if let Some(next) = self.gather_publishers(of, id, within, &mut gathered) {
                return gathered.until(Some(next));
            }
        }
        gathered.until(None)
    }

    /// Gathers the publishers of one service from this place on; says where the next slice goes on if this one is full.
    fn gather_publishers(
        &self,
        of: &Selection,
        id: &DataInfoId,
        within: u64,
        gathered: &mut Gathered<HeldPublisher>,
    ) -> Option<Cursor> {
        for (place, publisher) in self.registrations.of_service_from(id, within) {
            if gathered.is_full() {
                return Some(Cursor::Service {
                    data_info_id: id.clone(),
                    within: place,
                });
            }
            gathered.look();
            if let Some(publisher) = publisher.filter(|it| of.means_peer(&it.address)) {
                gathered.add(HeldPublisher {
                    data_info_id: id.clone(),
                    publisher: Arc::clone(publisher),
                });
            }
        }
        None
    }

    fn data_info_ids(&self, after: &Cursor) -> Slice<DataInfoIdRow> {
        let (first, _) = service_of(after);
        let mut gathered = Gathered::default();
        let published = self.registrations.services_from(first);
        for id in merged(published, self.interests.services_from(first)) {
            if gathered.is_full() {
                return gathered.until(Some(Cursor::Service {
                    data_info_id: id.clone(),
                    within: 0,
                }));
            }
            gathered.look();
            gathered.add(DataInfoIdRow {
                data_info_id: id.clone(),
                publishers: self.registrations.count_of(id) as u64,
            });
        }
        gathered.until(None)
    }

    /// The subscribers, or the configurators.
    fn subscriptions<T: Weigh>(
        &self,
        of: &Selection,
        after: &Cursor,
        configurators: bool,
        row: impl Fn(RegistrationRow, Scope) -> T,
    ) -> Slice<T> {
        let (start, told) = after.place();
        let mut gathered = Gathered::default();
        for (place, held) in self.pushes.places_from(start) {
            if gathered.is_full() {
                return gathered.until(Some(Cursor::at(place)));
            }
            gathered.look();
            let meant = held.filter(|(key, _)| {
                (key.slice == lane::Slice::Config) == configurators && means_service(of, key)
            });
            let Some((key, group)) = meant else {
                continue;
            };
            let peer = self.connections.peek(group.connection).peer;
            if !of.means_peer(&peer) {
                continue;
            }
            let told = if place == start { told as usize } else { 0 };
            for (within, subscriber) in group.subscribers.iter().enumerate().skip(told) {
                if gathered.is_full() {
                    let within = within as u64;
                    return gathered.until(Some(Cursor::Place { place, within }));
                }
                gathered.look();
                gathered.add(row(
                    subscriber_row(key, group, subscriber, peer),
                    group.scope,
                ));
            }
        }
        gathered.until(None)
    }

    fn connection_rows(
        &self,
        address: Option<SocketAddr>,
        after: &Cursor,
        traffic: impl Fn(ConnectId) -> Traffic,
    ) -> Slice<ConnectionRow> {
        let (start, _) = after.place();
        let mut gathered = Gathered::default();
        for (place, connection) in self.connections.places_from(start) {
            if gathered.is_full() {
                return gathered.until(Some(Cursor::at(place)));
            }
            gathered.look();
            let is_meant = |it: &&Connection| address.is_none_or(|address| it.peer == address);
            if let Some(connection) = connection.filter(is_meant) {
                gathered.add(self.connection_row(connection, &traffic));
            }
        }
        gathered.until(None)
    }

    fn connection_row(
        &self,
        connection: &Connection,
        traffic: &impl Fn(ConnectId) -> Traffic,
    ) -> ConnectionRow {
        let protocol = match connection.speaks.map(|speaks| speaks.protocol) {
            None => "unknown",
            Some(Protocol::V1) => "bolt1",
            Some(Protocol::V2Plain | Protocol::V2 { .. }) => "bolt2",
        };
        let Traffic {
            received_bytes,
            sent_bytes,
        } = traffic(connection.connect_id);
        ConnectionRow {
            address: connection.peer,
            protocol: Name::from(protocol),
            client_version: None,
            app: connection.app.clone().filter(|app| !app.is_empty()),
            labels: Vec::new(),
            core: connection.connect_id.core,
            received_bytes,
            sent_bytes,
            opened_ms: connection.opened_ms,
            publishers: connection.publishers as u64,
            subscribers: (connection.subscriptions - connection.configurators) as u64,
            configurators: connection.configurators as u64,
        }
    }
}

/// Where a walk over services goes on: from which, and from which place within it.
fn service_of(after: &Cursor) -> (Option<&DataInfoId>, u64) {
    match after {
        Cursor::Service {
            data_info_id,
            within,
        } => (Some(data_info_id), *within),
        _ => (None, 0),
    }
}

fn means_service(of: &Selection, key: &TopicKey) -> bool {
    match of {
        Selection::DataInfoId(wanted) => key.data_info_id == *wanted,
        Selection::All | Selection::Connections(_) => true,
    }
}

fn subscriber_row(
    key: &TopicKey,
    group: &Group,
    subscriber: &Subscriber,
    peer: SocketAddr,
) -> RegistrationRow {
    RegistrationRow {
        data_info_id: key.data_info_id.clone(),
        regist_id: subscriber.register_id.clone(),
        zone: Some(Name::clone(&group.zone)),
        app: Some(Name::clone(&subscriber.app)).filter(|app| !app.is_empty()),
        process_id: None,
        address: peer,
        version: subscriber.version,
        client_ms: subscriber.timestamp,
        registered_ms: i64::try_from(subscriber.registered_ms).unwrap_or(i64::MAX),
    }
}
