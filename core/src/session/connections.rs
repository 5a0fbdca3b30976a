//! What a core knows of each connection whose socket it has.

use std::net::SocketAddr;

use slab::Slab;

use crate::limits;
use crate::names::{ConnectId, CoreId, Name};

use super::answer::ReplyTo;
use super::in_flight::Unacknowledged;
use super::index::{ConnectionIndex, GroupIndex, Index};

/// One connected client.
#[derive(Debug)]
pub struct Connection {
    /// Its identity.
    pub connect_id: ConnectId,
    /// When it was accepted, on the clock that orders registrations.
    pub stamp: u64,
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end: what the client dialled.
    pub local: SocketAddr,
    /// How the client spoke last; pushes are written so.
    pub speaks: Option<ReplyTo>,
    /// The application of its last registration.
    pub app: Option<Name>,
    /// Push groups of this connection.
    pub(super) groups: Vec<GroupIndex>,
    pub(super) unacknowledged: Unacknowledged,
    /// Its outgoing window is full; groups wait until it drains.
    pub(super) blocked: bool,
    /// A look at its unacknowledged pushes is due already.
    pub(super) ack_check_due: bool,
    /// Home cores that were told something of this connection, and must hear of its end.
    homes: CoreSet,
    /// Subscribers and configurators it has.
    pub(super) subscriptions: usize,
    /// How many of them are configurators.
    pub(super) configurators: usize,
    /// Publishers it declared and did not take back, as the home cores told.
    pub(super) publishers: usize,
    /// When it was accepted, in milliseconds since 1970.
    pub(super) opened_ms: u64,
}

impl Connection {
    pub(super) fn has_room_for_subscription(&self) -> bool {
        self.subscriptions < limits::REGISTRATIONS_PER_CONNECTION_MAX
    }

    pub(super) fn remember_home(&mut self, home: CoreId) {
        self.homes.insert(home);
    }

    pub(super) fn remember_app(&mut self, app: &Name) {
        if self.app.as_ref() != Some(app) {
            self.app = Some(Name::clone(app));
        }
    }

    /// The home cores that were told something, which is forgotten.
    pub(super) fn take_homes(&mut self) -> impl Iterator<Item = CoreId> + use<> {
        std::mem::take(&mut self.homes).iter()
    }
}

/// A set of this node's cores.
#[derive(Clone, Copy, Debug, Default)]
struct CoreSet([u64; limits::CORES_MAX.div_ceil(64)]);

impl CoreSet {
    fn insert(&mut self, core: CoreId) {
        self.0[core.index() / 64] |= 1 << (core.index() % 64);
    }

    fn iter(self) -> impl Iterator<Item = CoreId> {
        let cores = 0..u16::try_from(limits::CORES_MAX).expect("a core number fits its type");
        cores
            .map(CoreId)
            .filter(move |core| self.0[core.index() / 64] >> (core.index() % 64) & 1 == 1)
    }
}

/// The connections of one core, each at the place that its id names.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_slot: Vec<Option<ConnectionIndex>>,
    places: Slab<Connection>,
}

impl Connections {
    pub(super) fn open(
        &mut self,
        now_ms: u64,
        connect_id: ConnectId,
        stamp: u64,
        peer: SocketAddr,
        local: SocketAddr,
    ) {
        let place = self.places.insert(Connection {
            connect_id,
            stamp,
            peer,
            local,
            speaks: None,
            app: None,
            groups: Vec::new(),
            unacknowledged: Vec::new(),
            blocked: false,
            ack_check_due: false,
            homes: CoreSet::default(),
            subscriptions: 0,
            configurators: 0,
            publishers: 0,
            opened_ms: now_ms,
        });
        let slot = connect_id.slot as usize;
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, None);
        }
        self.by_slot[slot] = Some(ConnectionIndex::of(place));
    }

    /// The place of this very connection, not of one that had its slot before or has it now.
    pub(super) fn place(&self, connect_id: ConnectId) -> Option<ConnectionIndex> {
        let place = self
            .by_slot
            .get(connect_id.slot as usize)
            .copied()
            .flatten()?;
        (self.places[place.place()].connect_id == connect_id).then_some(place)
    }

    pub(super) fn at(&mut self, index: ConnectionIndex) -> &mut Connection {
        &mut self.places[index.place()]
    }

    pub(super) fn peek(&self, index: ConnectionIndex) -> &Connection {
        &self.places[index.place()]
    }

    pub(super) fn close(&mut self, connect_id: ConnectId) -> Option<Connection> {
        let place = self.place(connect_id)?;
        self.by_slot[connect_id.slot as usize] = None;
        Some(self.places.remove(place.place()))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Each place from this one on, with the connection that is there.
    pub(super) fn places_from(
        &self,
        start: u64,
    ) -> impl Iterator<Item = (u64, Option<&Connection>)> {
        let places = usize::try_from(start).unwrap_or(usize::MAX)..self.places.capacity();
        places.map(|place| (place as u64, self.places.get(place)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().map(|(_, connection)| connection)
    }
}
