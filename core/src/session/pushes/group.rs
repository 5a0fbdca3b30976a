//! The subscribers of one connection that get the same bytes, and what each was sent.

use crate::machine::Instant;
use crate::names::{Name, RegisterId, Scope};
use crate::session::chain::{Chain, Link, Linked};
use crate::session::index::{ConnectionIndex, GroupIndex, PushIndex, TopicIndex};
use crate::session::lane::Slice;
use crate::session::request::Declared;
use crate::version::DatumVersion;

use super::topic::TopicKey;

/// The subscribers of one connection that one push can serve: same service, scope and zone.
#[derive(Debug)]
pub(in crate::session) struct Group {
    pub(in crate::session) connection: ConnectionIndex,
    pub(super) topic: TopicIndex,
    /// Where the topic lists it.
    pub(super) place: u32,
    /// Where its connection lists it.
    pub(super) place_in_connection: u32,
    pub(in crate::session) scope: Scope,
    pub(in crate::session) zone: Name,
    pub(in crate::session) subscribers: Vec<Subscriber>,
    pub(super) change_in_flight: bool,
    /// Its pushes on their way.
    pub(super) pushes: Chain<PushIndex>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Its place among those of its topic that are to be looked at.
    pub(super) link: Link<GroupIndex>,
    /// Another group of the same connection for the same service.
    pub(super) sibling: Option<GroupIndex>,
}

/// One subscriber or configurator.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The client's id of the registration.
    pub register_id: RegisterId,
    /// The client's version of the registration.
    pub version: i64,
    /// The client's clock.
    pub timestamp: i64,
    /// When this node took it, in milliseconds since 1970.
    pub registered_ms: u64,
    /// The client's application.
    pub app: Name,
    /// What it acknowledged last.
    pub delivered: Option<DatumVersion>,
    /// The push on its way to it.
    pub(super) carried_by: Option<u32>,
}

impl Subscriber {
    /// One that was sent nothing yet.
    pub fn new(
        register_id: RegisterId,
        version: i64,
        timestamp: i64,
        registered_ms: u64,
        app: Name,
    ) -> Self {
        Self {
            register_id,
            version,
            timestamp,
            registered_ms,
            app,
            delivered: None,
            carried_by: None,
        }
    }
}

/// Where a subscriber sits: with all others of its connection that get the same bytes.
#[derive(Clone, Debug)]
pub(in crate::session) struct Seat {
    pub(in crate::session) connection: ConnectionIndex,
    pub(in crate::session) key: TopicKey,
    pub(in crate::session) scope: Scope,
    pub(in crate::session) zone: Name,
}

impl Seat {
    pub(in crate::session) fn new(
        connection: ConnectionIndex,
        declared: &Declared,
        slice: Slice,
        scope: Scope,
    ) -> Self {
        Self {
            connection,
            key: TopicKey {
                data_info_id: declared.data_info_id.clone(),
                slice,
            },
            scope,
            zone: Name::clone(&declared.zone),
        }
    }
}

impl Linked<GroupIndex> for Group {
    fn link(&mut self) -> &mut Link<GroupIndex> {
        &mut self.link
    }
}

impl Group {
    pub(super) fn new(seat: &Seat, topic: TopicIndex) -> Self {
        Self {
            connection: seat.connection,
            topic,
            place: 0,
            place_in_connection: 0,
            scope: seat.scope,
            zone: Name::clone(&seat.zone),
            subscribers: Vec::with_capacity(1),
            change_in_flight: false,
            pushes: Chain::default(),
            failures: 0,
            retry_at: None,
            link: Link::default(),
            sibling: None,
        }
    }

    /// Where this registration is among its subscribers.
    pub(super) fn position(&self, register_id: &RegisterId) -> Option<usize> {
        let mut subscribers = self.subscribers.iter();
        subscribers.position(|known| known.register_id == *register_id)
    }

    /// Whether a push is due that shows `newest`, and whether it is the change push for all or one for those who just joined.
    pub(super) fn due(&self, newest: DatumVersion) -> Option<bool> {
        let is_behind =
            |subscriber: &Subscriber| subscriber.delivered.is_some_and(|held| held < newest);
        if !self.change_in_flight && self.subscribers.iter().any(is_behind) {
            return Some(true);
        }
        let is_fresh = |subscriber: &Subscriber| subscriber.is_fresh();
        self.subscribers.iter().any(is_fresh).then_some(false)
    }

    pub(super) fn carry(&mut self, request_id: u32, is_change: bool) {
        self.change_in_flight |= is_change;
        if is_change {
            for subscriber in &mut self.subscribers {
                subscriber.carried_by = Some(request_id);
            }
        } else if let Some(fresh) = self
            .subscribers
            .iter_mut()
            .find(|subscriber| subscriber.is_fresh())
        {
            // Each gets a first push of its own, as from the original.
            fresh.carried_by = Some(request_id);
        }
    }

    pub(super) fn put_down(
        &mut self,
        request_id: u32,
        is_change: bool,
        delivered: Option<DatumVersion>,
    ) {
        if is_change {
            self.change_in_flight = false;
        }
        for subscriber in &mut self.subscribers {
            if subscriber.carried_by == Some(request_id) {
                subscriber.carried_by = None;
                subscriber.delivered = subscriber.delivered.max(delivered);
            }
        }
    }
}

impl Subscriber {
    /// It is due a push whatever it was sent before.
    pub(in crate::session) fn forget_delivered(&mut self) {
        self.delivered = None;
        self.carried_by = None;
    }

    fn is_fresh(&self) -> bool {
        self.delivered.is_none() && self.carried_by.is_none()
    }
}
