//! What HTTP asks of the data cores, and what they answer: the only door from the outside to their state.
//!
//! HTTP owns nothing of the registry. It sends a question to one core or to all and adds up the answers, which come in
//! slices, so that a question about everything never keeps a core from its clients for long.

mod page;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::names::{CoreId, DataInfoId, Name, RegisterId, Scope};
use crate::publisher::Publisher;
use crate::stats::Stats;

pub(crate) use page::page;

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
        /// Where to go on.
        after: Cursor,
    },
    /// One connection by the peer's address. Answered by `Answer::Connections` with one row or none.
    Connection {
        /// The peer.
        address: SocketAddr,
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
    /// Those that came on these connections, named by the peer's address.
    Connections(Vec<SocketAddr>),
}

/// A place in a core's tables, where the next slice begins. What stays in the table while slices are fetched comes exactly once;
/// what comes or goes meanwhile may be missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The first place.
    pub const START: Self = Self(0);

    /// A place in a table of tables, `inner` of `outer`. `(0, 0)` is the first.
    pub fn pair(outer: u32, inner: u32) -> Self {
        Self(u64::from(outer) << 32 | u64::from(inner))
    }

    /// What `pair` was made of.
    pub fn parts(self) -> (u32, u32) {
        let low = u32::try_from(self.0 & u64::from(u32::MAX)).expect("masked to 32 bits");
        let high = u32::try_from(self.0 >> 32).expect("shifted to 32 bits");
        (high, low)
    }
}

/// Some of the rows: at most `limits::QUERY_ROWS_MAX`, and not many more than `limits::QUERY_SLICE_BYTES_MAX` of text.
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

    /// The same slice with other rows.
    pub fn map<U>(self, row: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            rows: self.rows.into_iter().map(row).collect(),
            next: self.next,
        }
    }
}

/// What a core says. Which variant belongs to which question is said there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Counts`.
    Counts(Counts),
    /// To `Publishers` and `StoredPublishers`.
    Publishers(Slice<PublisherRow>),
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
    /// To `Connections` and `Connection`.
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

/// A publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherRow {
    /// The common part.
    pub registration: RegistrationRow,
    /// What it publishes. Lone surrogates appear as replacement characters here.
    pub boxes: Vec<String>,
}

impl PublisherRow {
    /// The row of a publisher, registered or stored.
    pub(crate) fn of(data_info_id: &DataInfoId, publisher: &Publisher) -> Self {
        let texts = publisher.boxes.texts().flatten();
        Self {
            registration: RegistrationRow {
                data_info_id: data_info_id.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_gives_back_the_pair_it_was_made_of() {
        let cursor = Cursor::pair(7, u32::MAX);

        assert_eq!(cursor.parts(), (7, u32::MAX));
        assert_eq!(Cursor::START.parts(), (0, 0));
    }

    #[test]
    fn a_later_row_of_an_outer_table_follows_all_rows_of_the_one_before() {
        assert!(Cursor::pair(1, 0) > Cursor::pair(0, u32::MAX));
    }
}
