//! What operators want of this core: values for configurators, the stop-push switch, blacklist, clients off and on.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::clients::Clients;
use crate::limits;
use crate::machine::Now;
use crate::message::received_config_data;
use crate::message::received_data;
use crate::meta::{self, Blacklist, MetaCommand, MetaState, OffClient, Side};
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
        let listed = match command {
            MetaCommand::Blacklist { .. } => self.meta.blacklist().clone(),
            _ => Blacklist::default(),
        };
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
                self.empty_anew(now);
                let blacklist = self.meta.blacklist();
                let publishers = listed.publishers.difference(&blacklist.publishers);
                let subscribers = listed.subscribers.difference(&blacklist.subscribers);
                let off_the_list = publishers.chain(subscribers).copied().collect();
                self.let_back(off_the_list, out);
            }
            meta::Effect::ClientsOff(clients) => {
                self.take_clients_off(now, &clients, out);
                self.empty_anew(now);
            }
            meta::Effect::ClientsOpened(ips) => self.let_back(ips, out),
        }
    }

    /// Something to be done once.
    pub(super) fn on_order(&mut self, now: Now, order: Order, out: &mut Vec<Effect>) {
        match order {
            Order::ConnectionsOff(peers) => self.take_off(now, &peers, out),
            Order::ConnectionsOpen(peers) => self.close_all(&Clients::with(peers), out),
            Order::ClientsOff(ips) => self.drop_all(now, &Clients::at(ips), Sides::BOTH, out),
            Order::ClientsOpen(ips) => self.close_all(&Clients::at(ips), out),
        }
    }

    /// Clients whose word counts again are closed, so that they come back and register anew. What they hold may be an empty list.
    fn let_back(&mut self, ips: Vec<IpAddr>, out: &mut Vec<Effect>) {
        self.close_all(&Clients::at(ips.iter().copied()), out);
        self.let_back.extend(ips.iter().map(IpAddr::to_canonical));
        while self.let_back.len() > limits::CLIENTS_OFF_MAX {
            self.let_back.pop_first();
        }
    }

    /// A client that was shown nobody takes only a list above that for news.
    pub(super) fn rise_above_emptied(&mut self, now: Now, seat: &Seat, out: &mut Vec<Effect>) {
        let peer = self.connections.peek(seat.connection).peer.ip();
        if self.let_back.is_empty()
            || !self.let_back.contains(&peer.to_canonical())
            || seat.key.slice.is_made_here()
            || self.pushes.version(&seat.key) > Some(self.emptied)
        {
            return;
        }
        let data_info_id = seat.key.data_info_id.clone();
        let home = self.home(&data_info_id);
        let overtaken = ToHome::Overtaken {
            data_info_id,
            version: self.emptied,
        };
        self.tell_home(now, home, overtaken, out);
    }

    /// How many connections an order is about.
    pub fn touches(&self, order: &Order) -> u64 {
        let clients = match order {
            Order::ConnectionsOff(peers) | Order::ConnectionsOpen(peers) => {
                Clients::with(peers.iter().copied())
            }
            Order::ClientsOff(ips) | Order::ClientsOpen(ips) => Clients::at(ips.iter().copied()),
        };
        let all = self.connections.iter();
        all.filter(|connection| clients.have(connection.peer))
            .count() as u64
    }

    /// Clients named by address and port stay connected; what they registered is gone until they register anew.
    pub(super) fn take_off(&mut self, now: Now, peers: &[SocketAddr], out: &mut Vec<Effect>) {
        let clients = Clients::with(peers.iter().copied());
        self.drop_all(now, &clients, Sides::BOTH, out);
    }

    /// Whether what this client registers counts.
    pub(super) fn may(&self, side: Side, ip: IpAddr) -> bool {
        !self.meta.is_blacklisted(side, ip) && !self.meta.is_client_off(side, ip)
    }

    /// The bodies that need no home core: an operator's value, or the empty list of a client that may not subscribe.
    pub(super) fn make_body(&mut self, now: Now, key: &TopicKey) {
        if key.slice == Slice::Config {
            self.hand_out_provided(now, key.data_info_id.clone());
            return;
        }
        let version = match self.pushes.version(key) {
            Some(version) => version,
            None => VersionClock::new(self.pushes.highest(), 0).next(now, DatumVersion::MAX),
        };
        self.hand_out_nobody(now, key, version);
    }

    /// Whoever may not subscribe from here on holds a list at any version heard so far: the empty ones need a higher one.
    fn empty_anew(&mut self, now: Now) {
        for key in self.pushes.hidden_topics() {
            let version = VersionClock::new(self.pushes.highest(), 0).next(now, DatumVersion::MAX);
            self.hand_out_nobody(now, &key, version);
        }
    }

    /// Costs nobody else anything: the service's own list goes above it only once somebody who holds it may subscribe again.
    fn hand_out_nobody(&mut self, now: Now, key: &TopicKey, version: DatumVersion) {
        let nobody = received_data::encode_body(std::iter::empty::<(&str, std::iter::Empty<_>)>());
        self.emptied = self.emptied.max(version);
        self.pushes
            .on_body(now.monotonic, key, version, Bytes::from(nobody));
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
        let blacklist = self.meta.blacklist();
        let publishers = Clients::at(blacklist.publishers.iter().copied());
        let subscribers = Clients::at(blacklist.subscribers.iter().copied());
        self.drop_all_publishers(now, &publishers, out);
        for connect_id in self.connections_of(&subscribers) {
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
        for (publishers, subscribers) in [(true, false), (false, true), (true, true)] {
            let is_meant = |client: &&OffClient| {
                (client.publishers, client.subscribers) == (publishers, subscribers)
            };
            let meant = clients.iter().filter(is_meant);
            let sides = Sides {
                publishers,
                subscribers,
            };
            self.drop_all(now, &Clients::at(meant.map(|client| client.ip)), sides, out);
        }
    }

    fn drop_all(&mut self, now: Now, clients: &Clients, sides: Sides, out: &mut Vec<Effect>) {
        if sides.publishers {
            self.drop_all_publishers(now, clients, out);
        }
        if sides.subscribers {
            for connect_id in self.connections_of(clients) {
                self.drop_subscribers(now, connect_id, out);
            }
        }
    }

    /// What these clients publish goes, also what awaits them in a grace or since a restart.
    fn drop_all_publishers(&mut self, now: Now, clients: &Clients, out: &mut Vec<Effect>) {
        if clients.are_none() {
            return;
        }
        for connect_id in self.connections_of(clients) {
            self.drop_publishers(now, connect_id, out);
        }
        let needs = &mut self.registration_needs;
        self.registrations.expel(clients, needs);
        self.perform_registration_needs(now, out);
        out.push(Effect::Expel(clients.clone()));
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
            configurators,
            ..
        } = self.connections.at(place);
        (*subscriptions, *configurators) = (0, 0);
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

    fn close_all(&self, clients: &Clients, out: &mut Vec<Effect>) {
        out.extend(self.connections_of(clients).into_iter().map(Effect::Close));
    }

    fn connections_of(&self, clients: &Clients) -> Vec<ConnectId> {
        if clients.are_none() {
            return Vec::new();
        }
        let meant = self.connections.iter();
        let meant = meant.filter(|connection| clients.have(connection.peer));
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
