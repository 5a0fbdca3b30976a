//! A client that behaves as the Java client does: registers anew on every connection, resends what is not answered, and takes a
//! push only if its version is above what it holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rollcall_core::machine::Instant;
use rollcall_core::message::Boxes;
use rollcall_core::names::{DataInfoId, RegisterId, Scope};
use rollcall_core::session::request::{Declared, Request};

use crate::world::ConnectionKey;

/// What a client reads in a push: the texts by zone.
pub(crate) type Zones = BTreeMap<String, Vec<String>>;

pub(crate) struct Client {
    /// How far its clock is from that of the world, in milliseconds.
    pub(crate) clock_ms: i64,
    /// It gives its registrations a new timestamp on each connection, as the Java client does; the Node client does not.
    pub(crate) renews_timestamps: bool,
    pub(crate) peer: SocketAddr,
    /// Its process lives.
    pub(crate) lives: bool,
    pub(crate) connection: Option<ConnectionKey>,
    pub(crate) reconnects_at: Instant,
    /// Waits for each answer before it sends the next request.
    pub(crate) one_at_a_time: bool,
    pub(crate) publishers: Vec<Publishing>,
    pub(crate) subscribers: Vec<Subscribing>,
}

pub(crate) struct Publishing {
    pub(crate) service: usize,
    pub(crate) register_id: String,
    pub(crate) zone: &'static str,
    pub(crate) version: i64,
    pub(crate) timestamp: i64,
    pub(crate) text: String,
    /// False while it is being taken back.
    pub(crate) wanted: bool,
    pub(crate) sending: Sending,
    /// What was acknowledged last, and on which connection.
    pub(crate) acknowledged: Option<(i64, ConnectionKey)>,
}

pub(crate) struct Subscribing {
    pub(crate) service: usize,
    pub(crate) register_id: String,
    pub(crate) zone: &'static str,
    pub(crate) scope: Scope,
    pub(crate) wanted: bool,
    pub(crate) sending: Sending,
    pub(crate) held: Option<(i64, Zones)>,
}

/// Where a registration is on its way to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    Due,
    SentAt(Instant),
    Answered,
}

impl Sending {
    /// Whether it has to be sent now: for the first time, or again after a second.
    fn is_due(self, now: Instant) -> bool {
        match self {
            Self::Due => true,
            Self::SentAt(at) => now.since(at).as_millis() >= 1000,
            Self::Answered => false,
        }
    }
}

impl Client {
    /// A connection is there: everything is to be registered on it.
    pub(crate) fn on_connected(&mut self, wall_ms: u64, key: ConnectionKey) {
        self.connection = Some(key);
        let timestamp = self.timestamp(wall_ms);
        for publishing in &mut self.publishers {
            publishing.sending = Sending::Due;
            if self.renews_timestamps {
                publishing.timestamp = timestamp;
            }
        }
        for subscribing in &mut self.subscribers {
            subscribing.sending = Sending::Due;
        }
    }

    /// What its clock says.
    pub(crate) fn timestamp(&self, wall_ms: u64) -> i64 {
        wall_ms.cast_signed() + self.clock_ms
    }

    /// The requests it sends now.
    pub(crate) fn requests(&mut self, now: Instant, services: &[DataInfoId]) -> Vec<Request> {
        let waits =
            |sending: Sending| matches!(sending, Sending::SentAt(_)) && !sending.is_due(now);
        let is_waiting = self.publishers.iter().any(|one| waits(one.sending))
            || self.subscribers.iter().any(|one| waits(one.sending));
        if self.one_at_a_time && is_waiting {
            return Vec::new();
        }
        let limit = if self.one_at_a_time { 1 } else { usize::MAX };
        let publishers = self.publishers.iter_mut();
        let publishers = publishers
            .filter(|one| one.sending.is_due(now))
            .map(|one| one.request(now, services));
        let subscribers = self.subscribers.iter_mut();
        let subscribers = subscribers
            .filter(|one| one.sending.is_due(now))
            .map(|one| one.request(now, services));
        publishers.chain(subscribers).take(limit).collect()
    }

    /// An answer came; those to an older version count for nothing.
    pub(crate) fn on_answer(&mut self, key: ConnectionKey, register_id: &str, version: i64) {
        let mut publishers = self.publishers.iter_mut();
        if let Some(one) = publishers.find(|one| one.register_id == register_id)
            && one.version == version
        {
            one.sending = Sending::Answered;
            one.acknowledged = Some((version, key));
        }
        let mut subscribers = self.subscribers.iter_mut();
        if let Some(one) = subscribers.find(|one| one.register_id == register_id)
            && one.wire_version() == version
        {
            one.sending = Sending::Answered;
        }
        self.publishers
            .retain(|one| one.wanted || one.sending != Sending::Answered);
        self.subscribers
            .retain(|one| one.wanted || one.sending != Sending::Answered);
    }

    /// A push came.
    pub(crate) fn on_push(&mut self, register_ids: &[String], version: i64, zones: &Zones) {
        for one in &mut self.subscribers {
            let is_newer = one.held.as_ref().is_none_or(|(held, _)| *held < version);
            if register_ids.contains(&one.register_id) && is_newer {
                one.held = Some((version, zones.clone()));
            }
        }
    }
}

impl Publishing {
    fn request(&mut self, now: Instant, services: &[DataInfoId]) -> Request {
        self.sending = Sending::SentAt(now);
        let units: Vec<u16> = self.text.encode_utf16().collect();
        Request::Publisher {
            declared: declared(
                &services[self.service],
                &self.register_id,
                self.version,
                self.timestamp,
                self.zone,
            ),
            boxes: self.wanted.then(|| Boxes::from_utf16([units.as_slice()])),
        }
    }
}

impl Subscribing {
    fn wire_version(&self) -> i64 {
        if self.wanted { 1 } else { 2 }
    }

    fn request(&mut self, now: Instant, services: &[DataInfoId]) -> Request {
        self.sending = Sending::SentAt(now);
        let id = &services[self.service];
        Request::Subscriber {
            declared: declared(id, &self.register_id, self.wire_version(), 0, self.zone),
            scope: self.scope,
            registers: self.wanted,
        }
    }
}

fn declared(
    id: &DataInfoId,
    register_id: &str,
    version: i64,
    timestamp: i64,
    zone: &str,
) -> Declared {
    Declared {
        data_info_id: id.clone(),
        register_id: RegisterId::new(register_id),
        version,
        timestamp,
        zone: zone.into(),
        app: "app".into(),
    }
}
