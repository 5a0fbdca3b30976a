//! What a session core tells about itself, in slices: registrations whose home it is, and the connections whose sockets it has.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::bolt::Protocol;
use crate::limits;
use crate::names::{ConnectId, DataInfoId, Name};
use crate::publisher::Publisher;
use crate::query::{
    Answer, ConfiguratorRow, ConnectionRow, Counts, Cursor, DataInfoIdRow, PublisherRow, Query,
    RegistrationRow, Selection, Slice, SubscriberRow, page,
};

use super::Session;
use super::connections::Connection;
use super::lane;
use super::pushes::{Group, Subscriber, TopicKey};

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
            Query::Publishers { of, after } => Answer::Publishers(self.publishers(of, *after)),
            Query::Subscribers { of, after } => {
                let (rows, next) =
                    self.subscriptions(of, *after, |slice| *slice != lane::Slice::Config);
                let slice = Slice { rows, next };
                Answer::Subscribers(slice.map(|(registration, scope)| SubscriberRow {
                    registration,
                    scope,
                }))
            }
            Query::Configurators { of, after } => {
                let (rows, next) =
                    self.subscriptions(of, *after, |slice| *slice == lane::Slice::Config);
                let slice = Slice { rows, next };
                Answer::Configurators(
                    slice.map(|(registration, _)| ConfiguratorRow { registration }),
                )
            }
            Query::DataInfoIds { after } => Answer::DataInfoIds(self.data_info_ids(*after)),
            Query::Connections { after } => {
                Answer::Connections(self.connection_rows(*after, traffic))
            }
            Query::Connection { address } => {
                let connection = self
                    .connections
                    .iter()
                    .find(|connection| connection.peer == *address);
                let rows = connection.map(|connection| self.connection_row(connection, &traffic));
                Answer::Connections(Slice::last(rows.into_iter().collect()))
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
        for (_, key, group) in self.pushes.groups_from(0) {
            let kind = usize::from(key.slice == lane::Slice::Config);
            found[kind] += group.subscribers.len() as u64;
        }
        found
    }

    fn publishers(&self, of: &Selection, after: Cursor) -> Slice<PublisherRow> {
        let row = |(id, publisher): (&DataInfoId, &Arc<Publisher>)| PublisherRow::of(id, publisher);
        match of {
            Selection::All => page(self.registrations.services(), after, |id| {
                self.registrations
                    .of_service(id)
                    .map(move |publisher| (id, publisher))
            })
            .map(row),
            Selection::DataInfoId(wanted) => page([wanted].into_iter(), after, |id| {
                self.registrations
                    .of_service(id)
                    .map(move |publisher| (id, publisher))
            })
            .map(row),
            Selection::Connections(peers) => page(self.registrations.services(), after, |id| {
                let held = self.registrations.of_service(id);
                held.filter(|publisher| peers.contains(&publisher.address))
                    .map(move |publisher| (id, publisher))
            })
            .map(row),
        }
    }

    fn data_info_ids(&self, after: Cursor) -> Slice<DataInfoIdRow> {
        let ids: BTreeSet<&DataInfoId> = self
            .registrations
            .services()
            .chain(self.interests.services())
            .collect();
        page(ids.into_iter(), after, std::iter::once).map(|id| DataInfoIdRow {
            data_info_id: id.clone(),
            publishers: self.registrations.of_service(id).count() as u64,
        })
    }

    fn subscriptions(
        &self,
        of: &Selection,
        after: Cursor,
        is_meant: impl Fn(&lane::Slice) -> bool,
    ) -> (Vec<(RegistrationRow, crate::names::Scope)>, Option<Cursor>) {
        let (outer, inner) = after.parts();
        let mut rows = Vec::new();
        for (index, key, group) in self.pushes.groups_from(outer) {
            let peer = self.connections.peek(group.connection).peer;
            if !is_meant(&key.slice) || !selects(of, key, peer) {
                continue;
            }
            let skip = if index == outer { inner as usize } else { 0 };
            for (offset, subscriber) in group.subscribers.iter().enumerate().skip(skip) {
                if rows.len() == limits::QUERY_ROWS_MAX {
                    let offset = u32::try_from(offset).expect("a group is bounded");
                    return (rows, Some(Cursor::pair(index, offset)));
                }
                rows.push((subscriber_row(key, group, subscriber, peer), group.scope));
            }
        }
        (rows, None)
    }

    fn connection_rows(
        &self,
        after: Cursor,
        traffic: impl Fn(ConnectId) -> Traffic,
    ) -> Slice<ConnectionRow> {
        let Cursor(start) = after;
        let mut rows = Vec::new();
        for (place, connection) in self.connections.iter_from(start) {
            if rows.len() == limits::QUERY_ROWS_MAX {
                let next = Some(Cursor(place));
                return Slice { rows, next };
            }
            rows.push(self.connection_row(connection, &traffic));
        }
        Slice::last(rows)
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

fn selects(of: &Selection, key: &TopicKey, peer: SocketAddr) -> bool {
    match of {
        Selection::All => true,
        Selection::DataInfoId(wanted) => key.data_info_id == *wanted,
        Selection::Connections(peers) => peers.contains(&peer),
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
