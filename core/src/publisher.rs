//! One publisher as everyone holds it, and the set of them that a datum is.
//!
//! The record is made once, at the socket's core, and never changed: registration, datum and the session's view share it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::message::Boxes;
use crate::names::{ConnectId, CoreId, Name, NodeId, RegisterId};

/// Which of two claims to one registration id is shown where several sessions make one: compared field by field, from the top.
///
/// Never by order of arrival: the stamp is given once, when the connection is accepted. Nor by a clock alone, as both may be wrong: a claim that
/// loses is kept, and takes the place of the winner when that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Order {
    /// The client's version of the registration: 1, then one more for each change.
    pub version: i64,
    /// The client's clock.
    pub timestamp: i64,
    /// When the connection was accepted.
    pub stamp: u64,
}

impl Order {
    /// What a session goes by among its own connections: the client's clock may have been set back.
    pub fn on_session(self) -> (i64, u64) {
        (self.version, self.stamp)
    }

    /// Whether a removal of this order forbids a claim of lower version, whenever it came.
    pub fn forbids_version_of(self, claim: Self) -> bool {
        claim.version < self.version
    }

    /// Whether a removal of this order forbids a claim that arrives after it: of the same version only one that is older by both clocks.
    pub fn forbids_late(self, claim: Self) -> bool {
        let is_older = claim.timestamp < self.timestamp && claim.stamp < self.stamp;
        self.forbids_version_of(claim) || claim.version == self.version && is_older
    }
}

/// Whose registration it is: this connection of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The session node.
    pub node: NodeId,
    /// The random number that node's process drew at its start.
    pub incarnation: u64,
    /// The connection.
    pub connect_id: ConnectId,
}

impl Holder {
    /// Of a publisher that was read from a journal and awaits its client: no connection of any session.
    pub const NOBODY: Self = Self {
        node: NodeId(0),
        incarnation: 0,
        connect_id: ConnectId {
            core: CoreId(0),
            slot: 0,
            generation: 0,
        },
    };

    /// Whether both are connections of one session node, in one life of its process.
    pub fn is_of_same_session(self, other: Self) -> bool {
        (self.node, self.incarnation) == (other.node, other.incarnation)
    }

    /// Whether this is no connection of any session.
    pub fn is_nobody(self) -> bool {
        self == Self::NOBODY
    }
}

/// What one client publishes under one registration id.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The client's id of the registration.
    pub register_id: RegisterId,
    /// Who declared it.
    pub holder: Holder,
    /// What it is newer than.
    pub order: Order,
    /// The client's zone.
    pub zone: Name,
    /// The client's application.
    pub app: Name,
    /// The client's address and port.
    pub address: SocketAddr,
    /// When this node took it, in milliseconds since 1970.
    pub registered_ms: u64,
    /// The published strings, as a push carries them.
    pub boxes: Boxes,
}

impl Publisher {
    /// The same, as of a connection that was accepted then.
    #[must_use]
    pub fn restamped(&self, stamp: u64) -> Self {
        Self {
            register_id: self.register_id.clone(),
            holder: self.holder,
            order: Order {
                stamp,
                ..self.order
            },
            zone: Name::clone(&self.zone),
            app: Name::clone(&self.app),
            address: self.address,
            registered_ms: self.registered_ms,
            boxes: self.boxes.clone(),
        }
    }

    /// Whether it is known from before a restart, and its client has not come back.
    pub fn awaits_client(&self) -> bool {
        self.holder.is_nobody()
    }

    /// What its strings take in a push.
    pub fn pushed_bytes(&self) -> usize {
        self.boxes.bytes().len()
    }

    /// Whether a subscriber could tell the two apart.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.zone == other.zone && self.boxes == other.boxes
    }
}

/// What was there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept;

/// The publishers of one dataInfoId, by zone; the order of both levels is that of the ids, the same on every holder.
#[derive(Debug, Default)]
pub struct Publishers {
    zones: BTreeMap<Name, BTreeMap<RegisterId, Arc<Publisher>>>,
}

impl Publishers {
    /// The one with this id.
    pub fn find(&self, register_id: &RegisterId) -> Option<&Arc<Publisher>> {
        self.zones.values().find_map(|zone| zone.get(register_id))
    }

    /// Puts it in the place of whatever had its id, and returns that.
    pub fn put(&mut self, publisher: Arc<Publisher>) -> Option<Arc<Publisher>> {
        match self.put_unless(publisher, |_| false) {
            Ok(replaced) => replaced,
            Err(Kept) => unreachable!("nothing is kept"),
        }
    }

    /// Puts it in the place of whatever had its id, and returns that, unless it is to be kept.
    pub fn put_unless(
        &mut self,
        publisher: Arc<Publisher>,
        is_kept: impl FnOnce(&Publisher) -> bool,
    ) -> Result<Option<Arc<Publisher>>, Kept> {
        if let Some(zone) = self.zones.get_mut(&publisher.zone)
            && let Some(place) = zone.get_mut(&publisher.register_id)
        {
            return match is_kept(place) {
                true => Err(Kept),
                false => Ok(Some(std::mem::replace(place, publisher))),
            };
        }
        if self
            .find(&publisher.register_id)
            .is_some_and(|held| is_kept(held))
        {
            return Err(Kept);
        }
        let moved = self.remove(&publisher.register_id);
        let zone = self.zones.entry(Arc::clone(&publisher.zone)).or_default();
        zone.insert(publisher.register_id.clone(), publisher);
        Ok(moved)
    }

    /// Takes the one with this id out; a zone leaves with its last publisher.
    pub fn remove(&mut self, register_id: &RegisterId) -> Option<Arc<Publisher>> {
        let removed = self
            .zones
            .values_mut()
            .find_map(|zone| zone.remove(register_id))?;
        if self
            .zones
            .get(&removed.zone)
            .is_some_and(BTreeMap::is_empty)
        {
            self.zones.remove(&removed.zone);
        }
        if self.zones.is_empty() {
            // A tree that was emptied keeps a node.
            self.zones = BTreeMap::new();
        }
        Some(removed)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.zones.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// How many zones they are in.
    pub fn zone_count(&self) -> usize {
        self.zones.len()
    }

    /// Whether any is in this zone.
    pub fn has_zone(&self, zone: &str) -> bool {
        self.zones.contains_key(zone)
    }

    /// Each zone with its publishers.
    pub fn zones(
        &self,
    ) -> impl Iterator<Item = (&Name, &BTreeMap<RegisterId, Arc<Publisher>>)> + Clone {
        self.zones.iter()
    }

    /// The publishers of one zone.
    pub fn zone(&self, zone: &str) -> Option<(&Name, &BTreeMap<RegisterId, Arc<Publisher>>)> {
        self.zones.get_key_value(zone)
    }

    /// All of them that follow this zone and id.
    pub fn behind(
        &self,
        after: Option<&(Name, RegisterId)>,
    ) -> impl Iterator<Item = &Arc<Publisher>> {
        let first = match after {
            Some((zone, _)) => Bound::Included(&**zone),
            None => Bound::Unbounded,
        };
        let zones = self.zones.range::<str, _>((first, Bound::Unbounded));
        zones.flat_map(move |(zone, publishers)| {
            let first = match after {
                Some((of, register_id)) if of == zone => Bound::Excluded(register_id),
                _ => Bound::Unbounded,
            };
            let rest = publishers.range::<RegisterId, _>((first, Bound::Unbounded));
            rest.map(|(_, publisher)| publisher)
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.zones.values().flat_map(BTreeMap::values)
    }
}

impl FromIterator<Arc<Publisher>> for Publishers {
    fn from_iter<I: IntoIterator<Item = Arc<Publisher>>>(publishers: I) -> Self {
        let mut all = Self::default();
        for publisher in publishers {
            all.put(publisher);
        }
        all
    }
}
