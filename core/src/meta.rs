//! What operators told the registry: switches, lists of addresses, values for configurators.
//!
//! It changes by commands only. Every holder applies the same commands in the same order and so holds the same state; who
//! puts them in order (one process, or Raft) is not known here.

pub mod state;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use state::MetaState;

use crate::names::DataInfoId;

/// One change of the operators' data. Whatever depends on the clock comes inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaCommand {
    /// Store a value for configurators.
    Put {
        /// Whose value.
        data_info_id: DataInfoId,
        /// Given by the caller; must grow.
        version: i64,
        /// The value.
        value: Arc<str>,
    },
    /// Remove a value; configurators are told that there is none.
    Remove {
        /// Whose value.
        data_info_id: DataInfoId,
        /// Given by the caller; must not be older than the value's.
        version: i64,
    },
    /// Turn a switch.
    Turn {
        /// Which.
        switch: Switch,
        /// How.
        on: bool,
        /// Milliseconds since 1970, as the version of the stored value; raised if it would not grow.
        version: i64,
    },
    /// Replace the blacklist.
    Blacklist {
        /// The new lists.
        blacklist: Blacklist,
        /// The same as the operator wrote it, which is what configurators of it see.
        text: Arc<str>,
        /// As for `Turn`.
        version: i64,
    },
    /// Take clients off: what they registered goes, and what they register counts for nothing until they are on again.
    ClientsOff(Vec<OffClient>),
    /// Take clients on again.
    ClientsOpen(Vec<IpAddr>),
    /// Ask all sessions to stop, or take that back.
    Shutdown {
        /// Whether to stop.
        requested: bool,
    },
}

impl MetaCommand {
    /// The addresses whose clients it is about, if it is about clients.
    pub fn whom(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::ClientsOff(clients) => Some(clients.iter().map(|client| client.ip).collect()),
            Self::ClientsOpen(ips) => Some(ips.clone()),
            Self::Blacklist { blacklist, .. } => {
                let both = blacklist.publishers.union(&blacklist.subscribers);
                Some(both.copied().collect())
            }
            Self::Put { .. } | Self::Remove { .. } | Self::Turn { .. } | Self::Shutdown { .. } => {
                None
            }
        }
    }
}

/// A value that is on or off, kept as text under a reserved id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// Stop pushing.
    StopPush,
    /// Sessions renew what they published. Kept and shown; publishers here live as long as their connection.
    SessionRenew,
    /// Data servers expire what was not renewed. Kept and shown, as above.
    DatumExpire,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StopPush, Self::SessionRenew, Self::DatumExpire];

    /// Where its value is stored.
    pub fn data_info_id(self) -> DataInfoId {
        reserved(match self {
            Self::StopPush => "session.stop.push.data.switch",
            Self::SessionRenew => "session.enable.datum.renew.switch",
            Self::DatumExpire => "data.enable.datum.expire.switch",
        })
    }
}

/// Who may not publish or subscribe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blacklist {
    /// Clients whose publishers are not taken.
    pub publishers: BTreeSet<IpAddr>,
    /// Clients whose subscribers get nothing.
    pub subscribers: BTreeSet<IpAddr>,
}

impl Blacklist {
    /// Where its text is stored.
    pub fn data_info_id() -> DataInfoId {
        reserved("session.blacklist.data")
    }
}

/// The id of a setting of the registry itself among the stored values.
fn reserved(name: &str) -> DataInfoId {
    DataInfoId::new(name, "9600", "CONFIG")
}

/// A client that an operator took off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffClient {
    /// Its address.
    pub ip: IpAddr,
    /// Whether its publishers count for nothing.
    pub publishers: bool,
    /// Whether its subscribers get nothing.
    pub subscribers: bool,
}

/// The two sides that a list of addresses may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Who publishes.
    Publisher,
    /// Who subscribes.
    Subscriber,
}

/// A command that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version that the touched value, or list of clients, has.
    pub version: i64,
    /// The stored value that changed: its configurators are to be told.
    pub provided: Option<DataInfoId>,
    /// What else the sessions have to do.
    pub effect: Effect,
}

/// What a command means for the sessions beyond a changed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Push no more.
    PushStopped,
    /// Push again, and first what subscribers missed.
    PushResumed,
    /// Look again at who may publish and subscribe.
    BlacklistChanged,
    /// Drop what these clients registered.
    ClientsOff(Vec<OffClient>),
    /// Close the connections of these clients, so that they register again.
    ClientsOpened(Vec<IpAddr>),
    /// Stop the sessions.
    Shutdown,
}

/// Why a command was not taken; the state is as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The value held is as new or newer.
    NotNewer {
        /// The version held.
        held: i64,
        /// The version given.
        given: i64,
    },
    /// There are as many values as may be.
    TooManyValues {
        /// How many may be.
        limit: usize,
    },
    /// The values together would be too long.
    TooManyBytes {
        /// How long they may be.
        limit: usize,
    },
    /// A list of addresses would be too long.
    TooManyAddresses {
        /// How long it may be.
        limit: usize,
    },
    /// Settings of the registry are changed by their own commands.
    Reserved {
        /// The setting.
        data_info_id: DataInfoId,
    },
    /// Sessions are stopped only while pushing is stopped, so that clients do not see each other go.
    NotStopped,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNewer { held, given } => write!(f, "version {given} is not newer than {held}"),
            Self::TooManyValues { limit } => {
                write!(f, "there are {limit} values already, the most there may be")
            }
            Self::TooManyBytes { limit } => write!(f, "all values together may have {limit} bytes"),
            Self::TooManyAddresses { limit } => write!(f, "a list may have {limit} addresses"),
            Self::Reserved { data_info_id } => {
                write!(f, "{data_info_id} is a setting with an endpoint of its own")
            }
            Self::NotStopped => f.write_str("stop pushing first"),
        }
    }
}

impl std::error::Error for Refusal {}
