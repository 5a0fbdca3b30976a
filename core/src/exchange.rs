//! What a session and an owner shard say to each other.
//!
//! Inside one process these are moved; between nodes they will be encoded, which is why they derive the codec and why the
//! simulator always sends them through it. All that one session core says to one shard is one FIFO stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::{DataInfoId, RegisterId};
use crate::publisher::{Holder, Order, Publisher};
use crate::version::DatumVersion;

/// The sender's mark on a change: comes back in `Done`, and makes a resend recognisable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

/// From a session home core to the shard that owns the dataInfoId.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToData {
    /// A client registered or changed a publisher. Lost: sent again until `Done`.
    Put {
        /// Which service.
        data_info_id: DataInfoId,
        /// The whole registration.
        publisher: Arc<Publisher>,
        /// Answered with `Done`.
        token: Token,
    },
    /// A publisher goes. Lost: sent again until `Done`.
    Remove {
        /// Which service.
        data_info_id: DataInfoId,
        /// Which of its publishers.
        register_id: RegisterId,
        /// How.
        removal: Box<Removal>,
        /// Answered with `Done`.
        token: Token,
    },
    /// Tell me what you have and, from now on, every change. Answered always; lost: sent again until answered.
    Interest {
        /// Which service.
        data_info_id: DataInfoId,
        /// The version the session holds.
        have: DatumVersion,
    },
    /// I need no more notices. Lost: costs a notice, which is answered with this again.
    NoInterest {
        /// Which service.
        data_info_id: DataInfoId,
    },
}

impl ToData {
    /// Whose owner is told.
    pub fn data_info_id(&self) -> &DataInfoId {
        match self {
            Self::Put { data_info_id, .. }
            | Self::Remove { data_info_id, .. }
            | Self::Interest { data_info_id, .. }
            | Self::NoInterest { data_info_id } => data_info_id,
        }
    }
}

/// A session takes back what it says of one registration id. Its word on that is final, as all it says is one stream; what other sessions
/// say of the id stays, as far as the order left behind does not forbid it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The connection that ended, or asked.
    pub holder: Holder,
    /// The highest order removed: no lower version is shown again, nor what comes later and is older by both clocks.
    pub order: Order,
    /// Its connection ended and the client may be on its way back: not so where client or operator said that it goes.
    pub may_return: bool,
    /// What the session says of the id from here on, if another of its connections claims it.
    pub successor: Option<Arc<Publisher>>,
}

/// From an owner shard to a session home core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToSession {
    /// The change with this token is kept, shown or not. Lost: the session asks again by resending.
    Done {
        /// The session's mark.
        token: Token,
        /// What was registered is not shown: a removal of this order forbids it.
        refused: Option<Order>,
    },
    /// The datum changed. Lost: the next notice does not fit and the session asks for the whole.
    Notice {
        /// Which service.
        data_info_id: DataInfoId,
        /// The version this change starts from.
        from: DatumVersion,
        /// The version it leads to.
        to: DatumVersion,
        /// What changed, in order.
        changes: Arc<[Change]>,
    },
    /// The whole datum; the answer to `Interest`.
    Snapshot {
        /// Which service.
        data_info_id: DataInfoId,
        /// Its version; `NOTHING_KNOWN` for a service that never was.
        version: DatumVersion,
        /// Everybody who publishes it.
        publishers: Vec<Arc<Publisher>>,
    },
    /// The session holds the newest version; the other answer to `Interest`.
    Unchanged {
        /// Which service.
        data_info_id: DataInfoId,
        /// The version both hold.
        version: DatumVersion,
    },
}

/// One difference between two versions of a datum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Registered, or registered differently.
    Put(Arc<Publisher>),
    /// Gone.
    Removed(RegisterId),
}
