//! One line of the journal: what became of one publisher or one service, at which version.
//!
//! Each carries the version of its datum, so that order and repetition do not matter to who reads them again. Records borrow: what
//! is written is not cloned, and what is read is not copied before it is wanted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bincode::Options;
use serde::{Deserialize, Serialize, Serializer};

use crate::limits::JOURNAL_RECORD_BYTES_MAX;
use crate::message::Boxes;
use crate::names::{DataInfoId, Interner, RegisterId};
use crate::publisher::{Holder, Order, Publisher};
use crate::version::DatumVersion;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// A publisher as it is from this version of its datum on.
    Put {
        /// The version of the datum with it.
        version: DatumVersion,
        /// Which service.
        #[serde(borrow)]
        service: Service<'a>,
        /// The registration.
        #[serde(borrow)]
        publisher: Published<'a>,
    },
    /// A publisher is gone from this version of its datum on.
    Removed {
        /// The version of the datum without it.
        version: DatumVersion,
        /// Which service.
        #[serde(borrow)]
        service: Service<'a>,
        /// Which of its publishers.
        #[serde(borrow)]
        register_id: Id<'a>,
    },
    /// Of a snapshot: a service without publishers, and its version.
    Empty {
        /// The version of the datum.
        version: DatumVersion,
        /// Which service.
        #[serde(borrow)]
        service: Service<'a>,
    },
    /// No version above it is given before a higher ceiling is on the medium.
    Ceiling {
        /// The highest version that may be given.
        version: DatumVersion,
    },
    /// The last of an orderly stop.
    Sealed,
}

/// The three parts of a dataInfoId.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service<'a> {
    /// As the application named it.
    pub data_id: &'a str,
    /// The tenant.
    pub instance_id: &'a str,
    /// The group.
    pub group: &'a str,
}

/// A registration id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Id<'a> {
    /// A lower-case hyphenated UUID.
    Uuid([u8; 16]),
    /// Any other text.
    Text(&'a str),
}

/// What of a publisher outlives the process: all but who held it, and on which connection.
///
/// Ordered by which is newer, as far as that can be told without the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published<'a> {
    client_version: i64,
    timestamp: i64,
    registered_ms: u64,
    #[serde(borrow)]
    register_id: Id<'a>,
    zone: &'a str,
    app: &'a str,
    address: SocketAddr,
    box_count: u32,
    #[serde(serialize_with = "as_bytes")]
    boxes: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// They end too soon or too late, or a part of them is not what it must be.
    Malformed,
    /// The published strings are not as many as was said, or no strings.
    Boxes,
}

impl<'a> Record<'a> {
    /// The line for a publisher that was put.
    pub fn put(
        data_info_id: &'a DataInfoId,
        publisher: &'a Publisher,
        version: DatumVersion,
    ) -> Self {
        Self::Put {
            version,
            service: Service::of(data_info_id),
            publisher: Published::of(publisher),
        }
    }

    /// The line for a publisher that was removed.
    pub fn removed(
        data_info_id: &'a DataInfoId,
        register_id: &'a RegisterId,
        version: DatumVersion,
    ) -> Self {
        Self::Removed {
            version,
            service: Service::of(data_info_id),
            register_id: Id::of(register_id),
        }
    }

    /// The line for a service that has no publishers.
    pub fn empty(data_info_id: &'a DataInfoId, version: DatumVersion) -> Self {
        Self::Empty {
            version,
            service: Service::of(data_info_id),
        }
    }

    /// Its version, unless it has none.
    pub fn version(&self) -> Option<DatumVersion> {
        match *self {
            Self::Put { version, .. }
            | Self::Removed { version, .. }
            | Self::Empty { version, .. }
            | Self::Ceiling { version } => Some(version),
            Self::Sealed => None,
        }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        options()
            .serialize_into(out, self)
            .expect("a vector takes all bytes, and every part knows its length");
    }

    /// How many bytes [`Self::encode`] appends; nothing is encoded for it.
    pub fn encoded_len(&self) -> usize {
        let len = options().serialized_size(self);
        usize::try_from(len.expect("every part knows its length")).expect("it was in memory")
    }

    /// The record that these bytes are, all of them.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let limit = JOURNAL_RECORD_BYTES_MAX as u64;
        let record = options().with_limit(limit).deserialize(bytes);
        let record = record.map_err(|_| RecordError::Malformed)?;
        if let Self::Put { publisher, .. } = &record
            && !Boxes::are_whole(publisher.box_count, publisher.boxes)
        {
            return Err(RecordError::Boxes);
        }
        Ok(record)
    }
}

/// Numbers in as few bytes as they need: most lengths and client's versions are small, and with eight bytes each a record
/// would have 50 more.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
}

impl<'a> Service<'a> {
    /// The parts of this id.
    pub fn of(data_info_id: &'a DataInfoId) -> Self {
        Self {
            data_id: data_info_id.data_id(),
            instance_id: data_info_id.instance_id(),
            group: data_info_id.group(),
        }
    }

    /// The id with these parts.
    pub fn to_data_info_id(self) -> DataInfoId {
        DataInfoId::new(self.data_id, self.instance_id, self.group)
    }
}

impl<'a> Id<'a> {
    /// The same, borrowed.
    pub fn of(register_id: &'a RegisterId) -> Self {
        match register_id {
            RegisterId::Uuid(uuid) => Self::Uuid(*uuid),
            RegisterId::Text(text) => Self::Text(text),
        }
    }

    /// The same, to keep.
    pub fn to_register_id(self) -> RegisterId {
        match self {
            Self::Uuid(uuid) => RegisterId::Uuid(uuid),
            Self::Text(text) => RegisterId::Text(text.into()),
        }
    }
}

impl<'a> Published<'a> {
    /// What of this publisher outlives the process.
    pub fn of(publisher: &'a Publisher) -> Self {
        Self {
            client_version: publisher.order.version,
            timestamp: publisher.order.timestamp,
            registered_ms: publisher.registered_ms,
            register_id: Id::of(&publisher.register_id),
            zone: &publisher.zone,
            app: &publisher.app,
            address: publisher.address,
            box_count: publisher.boxes.raw_count(),
            boxes: publisher.boxes.bytes(),
        }
    }

    /// Its registration id.
    pub fn register_id(&self) -> Id<'a> {
        self.register_id
    }

    /// The publisher, held by nobody until its client comes back.
    pub fn to_publisher(&self, names: &mut Interner) -> Arc<Publisher> {
        Arc::new(Publisher {
            register_id: self.register_id.to_register_id(),
            holder: Holder::NOBODY,
            order: Order {
                version: self.client_version,
                stamp: 0,
                timestamp: self.timestamp,
            },
            zone: names.intern(self.zone),
            app: names.intern(self.app),
            address: self.address,
            registered_ms: self.registered_ms,
            boxes: Boxes::from_whole(self.box_count, self.boxes),
        })
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "no record, though its checksum is right",
            Self::Boxes => "a publisher whose strings are not whole, though its checksum is right",
        })
    }
}

impl std::error::Error for RecordError {}

fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
