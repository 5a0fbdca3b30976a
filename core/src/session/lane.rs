//! What the cores of one node say to each other: the socket's core asks the home core, the home core answers and hands out bodies.
//!
//! Never leaves the process. Per pair of cores these arrive in the order in which they were said.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::names::{ConnectId, DataInfoId, Name, RegisterId};
use crate::publisher::{Order, Publisher};
use crate::version::DatumVersion;

use super::EndedBy;
use super::answer::ReplyTo;
use super::refusal::Refusal;

/// One message between two cores.
#[derive(Debug)]
pub enum Lane {
    /// From a socket's core to the home core of a dataInfoId.
    ToHome(ToHome),
    /// From a home core to the core that has the socket.
    ToSocket(ToSocket),
}

/// Which request of which connection is to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The connection.
    pub connect_id: ConnectId,
    /// How and where in its conversation.
    pub reply_to: ReplyTo,
}

/// The part of a datum that a push shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slice {
    /// All zones: scopes dataCenter and global share one body.
    All,
    /// One zone: scope zone.
    Zone(Name),
    /// No publisher at all: what a blacklisted subscriber sees.
    Nothing,
    /// Not a datum but the operator's value of this dataInfoId, for configurators.
    Config,
}

/// To the home core. A request takes one credit of the pair of cores, which comes back with its answer.
#[derive(Debug)]
pub enum ToHome {
    /// A client publishes.
    Register {
        /// Who waits for the answer.
        asked: Asked,
        /// Which service.
        data_info_id: DataInfoId,
        /// The whole registration.
        publisher: Arc<Publisher>,
    },
    /// A client takes a publisher back.
    Unregister {
        /// Who waits for the answer.
        asked: Asked,
        /// Which service.
        data_info_id: DataInfoId,
        /// Which publisher.
        register_id: RegisterId,
        /// The order of the word, above that of the registration it ends.
        order: Order,
    },
    /// This core has subscribers of this part: send its body at once and after each change.
    Watch {
        /// Which service.
        data_info_id: DataInfoId,
        /// Which part.
        slice: Slice,
    },
    /// Its last subscriber left.
    Unwatch {
        /// Which service.
        data_info_id: DataInfoId,
        /// Which part.
        slice: Slice,
    },
    /// A client of this core was shown an empty list of this version instead of the service's own, which must go above it.
    Overtaken {
        /// Which service.
        data_info_id: DataInfoId,
        /// The version of the empty list.
        version: DatumVersion,
    },
    /// The newest body again: the core let it go when everybody had it.
    BodyWanted {
        /// Which service.
        data_info_id: DataInfoId,
        /// Which part.
        slice: Slice,
    },
    /// A connection ended, after everything it had asked.
    Closed {
        /// Which.
        connect_id: ConnectId,
        /// Whose doing: decides whether its publishers go now or after a grace.
        ended_by: EndedBy,
    },
}

/// What an answered request means for the number of publishers that its connection declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// One more.
    Added,
    /// As many as before.
    Same,
    /// One less.
    Removed,
}

/// A registration that its home does not take.
#[derive(Debug)]
pub struct Denied {
    /// Of which service.
    pub data_info_id: DataInfoId,
    /// Why.
    pub refusal: Refusal,
}

/// To the socket's core.
#[derive(Debug)]
pub enum ToSocket {
    /// A registration or unregistration is answered; the credit is back.
    Registered {
        /// Which request.
        asked: Asked,
        /// Echoed.
        register_id: RegisterId,
        /// Echoed; a client resends for ever if it differs from what it sent.
        version: i64,
        /// Whether it was taken, or what stands against it.
        outcome: Result<Tally, Box<Denied>>,
    },
    /// The newest body of a part that this core watches.
    Body {
        /// Which service.
        data_info_id: DataInfoId,
        /// Which part.
        slice: Slice,
        /// Its version.
        version: DatumVersion,
        /// The `data` map, encoded once.
        body: Bytes,
    },
    /// An operator takes these clients off.
    TakeOff(Arc<[SocketAddr]>),
    /// So many watches were taken; their credits are back.
    Credit(u32),
}
