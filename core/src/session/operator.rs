//! What operators want of this core: values for configurators, the stop-push switch, blacklist, clients off and on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::machine::Now;
use crate::message::received_config_data;
use crate::message::received_data;
use crate::meta::{self, MetaCommand, MetaState, OffClient, Side};
use crate::names::{ConnectId, DataInfoId};
use crate::query::Order;
use crate::version::{DatumVersion, VersionClock};

use super::connections::Connection;
use super::lane::{Slice, ToHome};
use super::pushes::{Seat, TopicKey};
use super::{Effect, EndedBy, Session};

impl Session {
    /// The same core with what operators set before it began. No client is there yet.
    #[must_use]
    pub fn with_operators(mut self, meta: MetaState) -> Self {
        self.pushes.set_stopped(meta.is_push_stopped());
        self.meta = meta;
        self
    }

    /// The operators' data changed; every core applies the same commands in the same order.
    pub(super) fn on_meta(&mut self, now: Now, command: MetaCommand, out: &mut Vec<Effect>) {
        let Ok(applied) = self.meta.apply(command) else {
            // Refused where it was proposed, too: nothing has changed.
            return;
        };
        if let Some(data_info_id) = applied.provided {
            self.hand_out_provided(now, data_info_id);
        }
        match applied.effect {
            meta::Effect::Nothing | meta::Effect::Shutdown => {}
            meta::Effect::PushStopped => self.pushes.set_stopped(true),
            meta::Effect::PushResumed => self.pushes.set_stopped(false),
            meta::Effect::BlacklistChanged => {
                self.enforce_blacklist(now, out);
                self.empty_anew(now, out);
            }
            meta::Effect::ClientsOff(clients) => {
                self.take_clients_off(now, &clients, out);
                self.empty_anew(now, out);
            }
            meta::Effect::ClientsOpened(ips) => {
                self.close_where(|peer| ips.contains(&peer.ip().to_canonical()), out)
            }
        }
    }

    /// Something to be done once.
    pub(super) fn on_order(&mut self, now: Now, order: Order, out: &mut Vec<Effect>) {
        match order {
            Order::ConnectionsOff(peers) => self.take_off(now, &peers, out),
            Order::ConnectionsOpen(peers) => self.close_where(|peer| peers.contains(&peer), out),
            Order::ClientsOff(ips) => {
                let off = |peer: SocketAddr| ips.contains(&peer.ip().to_canonical());
                self.drop_where(now, off, Sides::BOTH, out);
            }
            Order::ClientsOpen(ips) => {
                self.close_where(|peer| ips.contains(&peer.ip().to_canonical()), out)
            }
        }
    }

    /// How many connections an order is about.
    pub fn touches(&self, order: &Order) -> u64 {
        let peers = self.connections.iter().map(|connection| connection.peer);
        let touched = match order {
            Order::ConnectionsOff(meant) | Order::ConnectionsOpen(meant) => {
                let meant: BTreeSet<_> = meant.iter().collect();
                peers.filter(|peer| meant.contains(peer)).count()
            }
            Order::ClientsOff(ips) | Order::ClientsOpen(ips) => {
                let ips: BTreeSet<_> = ips.iter().collect();
                peers
                    .filter(|peer| ips.contains(&peer.ip().to_canonical()))
                    .count()
            }
        };
        touched as u64
    }

    /// Clients named by address and port stay connected; what they registered is gone until they register anew.
    pub(super) fn take_off(&mut self, now: Now, peers: &[SocketAddr], out: &mut Vec<Effect>) {
        let peers: BTreeSet<_> = peers.iter().copied().collect();
        self.drop_where(now, |peer| peers.contains(&peer), Sides::BOTH, out);
    }

    /// Whether what this client registers counts.
    pub(super) fn may(&self, side: Side, ip: IpAddr) -> bool {
        !self.meta.is_blacklisted(side, ip) && !self.meta.is_client_off(side, ip)
    }

    /// The bodies that need no home core: an operator's value, or the empty list of a client that may not subscribe.
    pub(super) fn make_body(&mut self, now: Now, key: &TopicKey, out: &mut Vec<Effect>) {
        if key.slice == Slice::Config {
            self.hand_out_provided(now, key.data_info_id.clone());
            return;
        }
        let version = match self.pushes.version(key) {
            Some(version) => version,
            None => VersionClock::new(self.pushes.highest(), 0).next(now, DatumVersion::MAX),
        };
        self.hand_out_nobody(now, key, version, out);
    }

    /// Whoever may not subscribe from here on holds a list at any version heard so far: the empty ones need a higher one.
    fn empty_anew(&mut self, now: Now, out: &mut Vec<Effect>) {
        for key in self.pushes.hidden_topics() {
            let version = VersionClock::new(self.pushes.highest(), 0).next(now, DatumVersion::MAX);
            self.hand_out_nobody(now, &key, version, out);
        }
    }

    /// The service's own list goes above the empty one, or a client that may subscribe again would take it for old.
    fn hand_out_nobody(
        &mut self,
        now: Now,
        key: &TopicKey,
        version: DatumVersion,
        out: &mut Vec<Effect>,
    ) {
        let nobody = received_data::encode_body(std::iter::empty::<(&str, std::iter::Empty<_>)>());
        self.pushes
            .on_body(now.monotonic, key, version, Bytes::from(nobody));
        let data_info_id = key.data_info_id.clone();
        let home = self.home(&data_info_id);
        let overtaken = ToHome::Overtaken {
            data_info_id,
            version,
        };
        self.tell_home(now, home, overtaken, out);
    }

    fn hand_out_provided(&mut self, now: Now, data_info_id: DataInfoId) {
        let provided = self.meta.provided(&data_info_id);
        let version = provided.map_or(0, |provided| u64::try_from(provided.version).unwrap_or(0));
        let value = provided.and_then(|provided| provided.value.as_deref());
        let body = received_config_data::encode_body(value);
        let key = TopicKey {
            data_info_id,
            slice: Slice::Config,
        };
        self.pushes.on_body(
            now.monotonic,
            &key,
            DatumVersion::new(version),
            Bytes::from(body),
        );
    }

    fn enforce_blacklist(&mut self, now: Now, out: &mut Vec<Effect>) {
        let meta = &self.meta;
        let is_listed = |side, peer: SocketAddr| meta.is_blacklisted(side, peer.ip());
        let publishers = self.connections_where(|peer| is_listed(Side::Publisher, peer));
        let subscribers = self.connections_where(|peer| is_listed(Side::Subscriber, peer));
        for connect_id in publishers {
            self.drop_publishers(now, connect_id, out);
        }
        for connect_id in subscribers {
            self.show_nothing(connect_id);
        }
        self.perform_push_needs(now, out);
    }

    /// The subscribers of this connection get an empty list, and no more.
    fn show_nothing(&mut self, connect_id: ConnectId) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        let groups = self.connections.at(place).groups.clone();
        for (key, scope, zone, subscribers) in self.pushes.contents(&groups) {
            if matches!(key.slice, Slice::Config | Slice::Nothing) {
                continue;
            }
            for mut subscriber in subscribers {
                let mut seat = Seat {
                    connection: place,
                    key: key.clone(),
                    scope,
                    zone: zone.clone(),
                };
                let needs = &mut self.push_needs;
                self.pushes.leave(
                    &mut self.connections,
                    seat.clone(),
                    &subscriber.register_id,
                    needs,
                );
                seat.key.slice = Slice::Nothing;
                subscriber.forget_delivered();
                self.pushes
                    .join(&mut self.connections, seat, subscriber, needs);
            }
        }
    }

    fn take_clients_off(&mut self, now: Now, clients: &[OffClient], out: &mut Vec<Effect>) {
        for client in clients {
            let sides = Sides {
                publishers: client.publishers,
                subscribers: client.subscribers,
            };
            self.drop_where(
                now,
                |peer| peer.ip().to_canonical() == client.ip,
                sides,
                out,
            );
        }
    }

    fn drop_where(
        &mut self,
        now: Now,
        is_meant: impl Fn(SocketAddr) -> bool,
        sides: Sides,
        out: &mut Vec<Effect>,
    ) {
        for connect_id in self.connections_where(is_meant) {
            if sides.publishers {
                self.drop_publishers(now, connect_id, out);
            }
            if sides.subscribers {
                self.drop_subscribers(now, connect_id, out);
            }
        }
    }

    fn drop_publishers(&mut self, now: Now, connect_id: ConnectId, out: &mut Vec<Effect>) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        let connection = self.connections.at(place);
        connection.publishers = 0;
        for home in connection.take_homes() {
            let ended_by = EndedBy::Operator;
            self.tell_home(
                now,
                home,
                ToHome::Closed {
                    connect_id,
                    ended_by,
                },
                out,
            );
        }
    }

    fn drop_subscribers(&mut self, now: Now, connect_id: ConnectId, out: &mut Vec<Effect>) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        let Connection {
            groups,
            unacknowledged,
            subscriptions,
            ..
        } = self.connections.at(place);
        *subscriptions = 0;
        let (groups, unacknowledged) = (std::mem::take(groups), std::mem::take(unacknowledged));
        self.pushes.forget(
            place,
            &groups,
            &unacknowledged,
            &mut self.stats,
            &mut self.push_needs,
        );
        self.perform_push_needs(now, out);
    }

    fn close_where(&self, is_meant: impl Fn(SocketAddr) -> bool, out: &mut Vec<Effect>) {
        out.extend(
            self.connections_where(is_meant)
                .into_iter()
                .map(Effect::Close),
        );
    }

    fn connections_where(&self, is_meant: impl Fn(SocketAddr) -> bool) -> Vec<ConnectId> {
        let meant = self
            .connections
            .iter()
            .filter(|connection| is_meant(connection.peer));
        meant.map(|connection| connection.connect_id).collect()
    }
}

/// Which registrations of a client are meant.
#[derive(Clone, Copy)]
struct Sides {
    publishers: bool,
    subscribers: bool,
}

impl Sides {
    const BOTH: Self = Self {
        publishers: true,
        subscribers: true,
    };
}
