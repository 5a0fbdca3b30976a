//! What HTTP asks of the data cores, and what they answer: the only door from the outside to their state.
//!
//! HTTP owns nothing of the registry. It sends a question to one core or to all and adds up the answers, which come in
//! slices, so that a question about everything never keeps a core from its clients for long.

mod gathered;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::{CoreId, DataInfoId, Name, RegisterId, Scope};
use crate::publisher::Publisher;
use crate::stats::Stats;

pub(crate) use gathered::{Gathered, Weigh};

/// A question to a core. Each core answers for what it holds itself; the asker adds up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// How many of everything. Answered by `Answer::Counts`.
    Counts,
    /// What clients of this node published: the session's view, told by the home core. Answered by `Answer::Publishers`.
    Publishers {
        /// Which of them.
        of: Selection,
        /// Where to go on.
        after: Cursor,
    },
    /// Who subscribed, told by the socket's core. Answered by `Answer::Subscribers`.
    Subscribers {
        /// Which of them.
        of: Selection,
        /// Where to go on.
        after: Cursor,
    },
    /// Who watches a configuration value, told by the socket's core. Answered by `Answer::Configurators`.
    Configurators {
        /// Which of them.
        of: Selection,
        /// Where to go on.
        after: Cursor,
    },
    /// What has a publisher or a subscriber at this node, each told by its session home core alone, so that no id comes twice.
    /// Answered by `Answer::DataInfoIds`.
    DataInfoIds {
        /// Where to go on.
        after: Cursor,
    },
    /// The datum of this id, if this core owns it. Answered by `Answer::Datum`.
    Datum {
        /// Which datum.
        data_info_id: DataInfoId,
    },
    /// The datums that this core owns, empty ones too. Answered by `Answer::Datums`.
    Datums {
        /// Where to go on.
        after: Cursor,
    },
    /// The publishers in the datums that this core owns. Answered by `Answer::Publishers`.
    StoredPublishers {
        /// Which of them.
        of: Selection,
        /// Where to go on.
        after: Cursor,
    },
    /// The connections of this core. Answered by `Answer::Connections`.
    Connections {
        /// Only the one with this peer.
        address: Option<SocketAddr>,
        /// Where to go on.
        after: Cursor,
    },
    /// The counters of this core. Answered by `Answer::Stats`.
    Stats,
}

/// Something an operator has the cores of this node do once; nothing of it is remembered.
///
/// Here and in `Selection` an IPv4 client of an IPv6 socket is named by its IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Drop what these connections registered, at once. They stay open, and what they register later counts.
    ConnectionsOff(Vec<SocketAddr>),
    /// Close these connections, so that their clients connect and register again.
    ConnectionsOpen(Vec<SocketAddr>),
    /// As `ConnectionsOff`, for every connection of these clients.
    ClientsOff(Vec<IpAddr>),
    /// As `ConnectionsOpen`, for every connection of these clients.
    ClientsOpen(Vec<IpAddr>),
}

/// Which rows a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// All that the core holds.
    All,
    /// Those of one id.
    DataInfoId(DataInfoId),
    /// Those that came on these connections, named by the peer's address. However many they are, the tables are walked once.
    Connections(Arc<BTreeSet<SocketAddr>>),
}

impl Selection {
    /// Whether what this peer registered is meant, as far as that depends on the peer.
    pub(crate) fn means_peer(&self, peer: &SocketAddr) -> bool {
        match self {
            Self::All | Self::DataInfoId(_) => true,
            Self::Connections(peers) => peers.contains(peer),
        }
    }
}

/// A place in a core's tables, where the next slice begins. What stays in the table while slices are fetched comes exactly once;
/// what comes or goes meanwhile may be missed.
///
/// One exception: a service whose registrations became so many more meanwhile that their table had to grow is told from its
/// beginning again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// The first place.
    #[default]
    Start,
    /// An entry of a table with places of its own, and how far within it.
    Place {
        /// Where the entry is.
        place: u64,
        /// Rows of it that were told.
        within: u64,
    },
    /// A datum, by its place, and the zone and id of the last of its publishers that were told, if any was.
    Datum {
        /// Where the datum is.
        place: u64,
        /// Behind which publisher to go on.
        behind: Option<(Name, RegisterId)>,
    },
    /// A service, in the order of the ring, and a place among its registrations.
    Service {
        /// Which service.
        data_info_id: DataInfoId,
        /// Where in the table of its registrations.
        within: u64,
    },
}

impl Cursor {
    /// The first row of the entry at this place.
    pub fn at(place: u64) -> Self {
        Self::Place { place, within: 0 }
    }

    /// What `Place` says; the first place if this is none of a table with places.
    pub(crate) fn place(&self) -> (u64, u64) {
        match *self {
            Self::Place { place, within } => (place, within),
            Self::Datum { place, .. } => (place, 0),
            Self::Start | Self::Service { .. } => (0, 0),
        }
    }
}

/// Some of the rows: at most `limits::QUERY_ROWS_MAX`, of no more than `limits::QUERY_SLICE_BYTES_MAX` of text and one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice<T> {
    /// The rows. May be none though more follow, when the core looked at many that were not asked for.
    pub rows: Vec<T>,
    /// Where to go on; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Slice<T> {
    /// A slice after which none follows.
    pub fn last(rows: Vec<T>) -> Self {
        Self { rows, next: None }
    }
}

/// What a core says. Which variant belongs to which question is said there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Counts`.
    Counts(Counts),
    /// To `Publishers` and `StoredPublishers`.
    Publishers(Slice<HeldPublisher>),
    /// To `Subscribers`.
    Subscribers(Slice<SubscriberRow>),
    /// To `Configurators`.
    Configurators(Slice<ConfiguratorRow>),
    /// To `DataInfoIds`.
    DataInfoIds(Slice<DataInfoIdRow>),
    /// To `Datum`.
    Datum(Option<DatumRow>),
    /// To `Datums`.
    Datums(Slice<DatumRow>),
    /// To `Connections`.
    Connections(Slice<ConnectionRow>),
    /// To `Stats`.
    Stats(Box<Stats>),
}

/// How many a core holds of everything; added up over the cores it is true for the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Open client connections, told by the socket's core.
    pub connections: u64,
    /// What clients of this node published, told by the home core.
    pub publishers: u64,
    /// Told by the socket's core.
    pub subscribers: u64,
    /// Told by the socket's core.
    pub configurators: u64,
    /// Datums that this core owns, empty ones too.
    pub datums: u64,
    /// Publishers in the datums that this core owns.
    pub stored_publishers: u64,
    /// Those of them that are known from before a restart and await their client.
    pub awaiting_publishers: u64,
}

impl Counts {
    /// Adds what another core holds.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.publishers += other.publishers;
        self.subscribers += other.subscribers;
        self.configurators += other.configurators;
        self.datums += other.datums;
        self.stored_publishers += other.stored_publishers;
        self.awaiting_publishers += other.awaiting_publishers;
    }
}

/// What all registrations of a client have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationRow {
    /// What it is about.
    pub data_info_id: DataInfoId,
    /// The client's id for it.
    pub regist_id: RegisterId,
    /// The client's zone; a configurator may have none.
    pub zone: Option<Name>,
    /// The application, if the client told.
    pub app: Option<Name>,
    /// The process id that the client told, if any.
    pub process_id: Option<Name>,
    /// The peer of the connection that holds it.
    pub address: SocketAddr,
    /// The client's version of it.
    pub version: i64,
    /// When the client says that it registered.
    pub client_ms: i64,
    /// When the server took it.
    pub registered_ms: i64,
}

/// A publisher as its core holds it: the record itself, so that telling it costs the core no copy of its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPublisher {
    /// What it publishes.
    pub data_info_id: DataInfoId,
    /// The record.
    pub publisher: Arc<Publisher>,
}

/// A publisher, for the eyes of operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherRow {
    /// The common part.
    pub registration: RegistrationRow,
    /// What it publishes. Lone surrogates appear as replacement characters here.
    pub boxes: Vec<String>,
}

impl From<HeldPublisher> for PublisherRow {
    fn from(held: HeldPublisher) -> Self {
        let publisher = &*held.publisher;
        let texts = publisher.boxes.texts().flatten();
        Self {
            registration: RegistrationRow {
                data_info_id: held.data_info_id,
                regist_id: publisher.register_id.clone(),
                zone: Some(Name::clone(&publisher.zone)),
                app: Some(Name::clone(&publisher.app)).filter(|app| !app.is_empty()),
                process_id: None,
                address: publisher.address,
                version: publisher.order.version,
                client_ms: publisher.order.timestamp,
                registered_ms: i64::try_from(publisher.registered_ms).unwrap_or(i64::MAX),
            },
            boxes: texts
                .map(|text| text.to_string_lossy().into_owned())
                .collect(),
        }
    }
}

/// A subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberRow {
    /// The common part.
    pub registration: RegistrationRow,
    /// How far it looks.
    pub scope: Scope,
}

/// A configurator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguratorRow {
    /// The common part.
    pub registration: RegistrationRow,
}

/// An id that is in use at this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataInfoIdRow {
    /// The id.
    pub data_info_id: DataInfoId,
    /// How many publishers it has at this node.
    pub publishers: u64,
}

/// A datum without its publishers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatumRow {
    /// Whose datum.
    pub data_info_id: DataInfoId,
    /// Its version, as it is pushed.
    pub version: i64,
    /// How many publishers it has.
    pub publishers: u64,
}

/// A client connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The peer.
    pub address: SocketAddr,
    /// Which core owns the socket.
    pub core: CoreId,
    /// What it speaks: `bolt1` or `bolt2`; `unknown` before its first frame.
    pub protocol: Name,
    /// The client library's version, if it told.
    pub client_version: Option<Name>,
    /// The application, if the client told.
    pub app: Option<Name>,
    /// What else it told about itself.
    pub labels: Vec<(Name, Name)>,
    /// Bytes received on it.
    pub received_bytes: u64,
    /// Bytes sent on it.
    pub sent_bytes: u64,
    /// When it was accepted.
    pub opened_ms: u64,
    /// How many publishers it holds.
    pub publishers: u64,
    /// How many subscribers it holds.
    pub subscribers: u64,
    /// How many configurators it holds.
    pub configurators: u64,
}
