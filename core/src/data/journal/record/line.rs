//! A record as it is written: without what the record before it in its block has told.
//!
//! Most are of the client and the service of the one before, and little later: both are left out then, and numbers are told as the difference.
//! That takes half of what a registration would take by itself, to be encoded, summed, and copied by the kernel.

use std::net::SocketAddr;

use bincode::Options;
use serde::{Deserialize, Serialize, Serializer};

use super::{Id, Origin, Published, Record, RecordError, Service};
use crate::limits::JOURNAL_RECORD_BYTES_MAX;
use crate::message::Boxes;
use crate::version::DatumVersion;

/// [`Record`], with nothing where something is as before.
#[derive(Serialize, Deserialize)]
enum Line<'a> {
    Put {
        version: i64,
        #[serde(borrow)]
        service: Option<Service<'a>>,
        #[serde(borrow)]
        origin: Option<Origin<'a>>,
        #[serde(borrow)]
        register_id: Id<'a>,
        client_version: i64,
        registered_ms: i64,
        /// From when the node took it.
        timestamp: i64,
        box_count: u32,
        #[serde(serialize_with = "as_bytes")]
        boxes: &'a [u8],
    },
    Removed {
        version: i64,
        #[serde(borrow)]
        service: Option<Service<'a>>,
        #[serde(borrow)]
        register_id: Id<'a>,
    },
    Empty {
        version: i64,
        #[serde(borrow)]
        service: Option<Service<'a>>,
    },
    Ceiling {
        version: u64,
    },
    Sealed,
}

/// What a writer has told in the present block.
#[derive(Debug, Default)]
pub struct Told {
    /// Texts whose buffers are kept from block to block.
    service: [String; 3],
    origin: [String; 2],
    address: Option<SocketAddr>,
    has_service: bool,
    version: u64,
    registered_ms: u64,
}

/// What a reader was told in the present block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    service: Option<Service<'a>>,
    origin: Option<Origin<'a>>,
    version: u64,
    registered_ms: u64,
}

impl Record<'_> {
    /// Appends it to `out`, as it is written behind what was told.
    pub fn encode(&self, told: &mut Told, out: &mut Vec<u8>) {
        options()
            .serialize_into(out, &self.line(told))
            .expect("a vector takes all bytes, and every part knows its length");
    }

    /// How many bytes [`Self::encode`] appends where nothing was told; nothing is encoded for it.
    pub fn encoded_len(&self) -> usize {
        let len = options().serialized_size(&self.line(&mut Told::default()));
        usize::try_from(len.expect("every part knows its length")).expect("it was in memory")
    }

    fn line(&self, told: &mut Told) -> Line<'_> {
        match *self {
            Record::Put {
                version,
                service,
                publisher,
            } => Line::Put {
                version: told.version(version),
                service: told.service(service),
                origin: told.origin(publisher.origin),
                register_id: publisher.register_id,
                client_version: publisher.client_version,
                registered_ms: told.registered_ms(publisher.registered_ms),
                timestamp: difference(publisher.timestamp.cast_unsigned(), publisher.registered_ms),
                box_count: publisher.box_count,
                boxes: publisher.boxes,
            },
            Record::Removed {
                version,
                service,
                register_id,
            } => Line::Removed {
                version: told.version(version),
                service: told.service(service),
                register_id,
            },
            Record::Empty { version, service } => Line::Empty {
                version: told.version(version),
                service: told.service(service),
            },
            Record::Ceiling { version } => Line::Ceiling {
                version: version.number(),
            },
            Record::Sealed => Line::Sealed,
        }
    }
}

impl<'a> Record<'a> {
    /// The record that these bytes are, all of them, behind what is known.
    pub fn decode(bytes: &'a [u8], known: &mut Known<'a>) -> Result<Self, RecordError> {
        let limit = JOURNAL_RECORD_BYTES_MAX as u64;
        let line = options().with_limit(limit).deserialize(bytes);
        let line = line.map_err(|_| RecordError::Malformed)?;
        known.resolve(line).ok_or(RecordError::Malformed)?
    }
}

impl Told {
    fn version(&mut self, version: DatumVersion) -> i64 {
        let before = std::mem::replace(&mut self.version, version.number());
        difference(version.number(), before)
    }

    fn registered_ms(&mut self, at: u64) -> i64 {
        difference(at, std::mem::replace(&mut self.registered_ms, at))
    }

    /// What must be told of it.
    fn service<'a>(&mut self, service: Service<'a>) -> Option<Service<'a>> {
        let texts = [service.data_id, service.instance_id, service.group];
        if self.has_service && are_same(&self.service, texts) {
            return None;
        }
        self.has_service = true;
        note(&mut self.service, texts);
        Some(service)
    }

    fn origin<'a>(&mut self, origin: Origin<'a>) -> Option<Origin<'a>> {
        let Origin { zone, app, address } = origin;
        if self.address == Some(address) && are_same(&self.origin, [zone, app]) {
            return None;
        }
        self.address = Some(address);
        note(&mut self.origin, [zone, app]);
        Some(origin)
    }

    /// A new block begins.
    pub fn forget(&mut self) {
        self.has_service = false;
        self.address = None;
        self.version = 0;
        self.registered_ms = 0;
    }
}

/// Equality, without a look at what an empty text points to: that is no memory, and to find that out costs 0.1 us.
fn are_same<const N: usize>(kept: &[String; N], texts: [&str; N]) -> bool {
    let mut pairs = kept.iter().zip(texts);
    pairs.all(|(kept, text)| kept.len() == text.len() && (text.is_empty() || kept == text))
}

/// Keeps texts in the place of others.
fn note<const N: usize>(kept: &mut [String; N], texts: [&str; N]) {
    for (kept, text) in kept.iter_mut().zip(texts) {
        kept.clear();
        kept.push_str(text);
    }
}

impl<'a> Known<'a> {
    /// The whole record; nothing if something is as before, and nothing was before.
    fn resolve(&mut self, line: Line<'a>) -> Option<Result<Record<'a>, RecordError>> {
        Some(Ok(match line {
            Line::Put {
                version,
                service,
                origin,
                register_id,
                client_version,
                registered_ms,
                timestamp,
                box_count,
                boxes,
            } => {
                if !Boxes::are_whole(box_count, boxes) {
                    return Some(Err(RecordError::Boxes));
                }
                self.origin = origin.or(self.origin);
                self.registered_ms = sum(self.registered_ms, registered_ms);
                Record::Put {
                    version: self.version(version),
                    service: self.service(service)?,
                    publisher: Published {
                        client_version,
                        timestamp: sum(self.registered_ms, timestamp).cast_signed(),
                        registered_ms: self.registered_ms,
                        register_id,
                        origin: self.origin?,
                        box_count,
                        boxes,
                    },
                }
            }
            Line::Removed {
                version,
                service,
                register_id,
            } => Record::Removed {
                version: self.version(version),
                service: self.service(service)?,
                register_id,
            },
            Line::Empty { version, service } => Record::Empty {
                version: self.version(version),
                service: self.service(service)?,
            },
            Line::Ceiling { version } => Record::Ceiling {
                version: DatumVersion::new(version),
            },
            Line::Sealed => Record::Sealed,
        }))
    }

    fn version(&mut self, by: i64) -> DatumVersion {
        self.version = sum(self.version, by);
        DatumVersion::new(self.version)
    }

    fn service(&mut self, told: Option<Service<'a>>) -> Option<Service<'a>> {
        self.service = told.or(self.service);
        self.service
    }
}

/// Any two numbers have one, and [`sum`] takes it back.
fn difference(number: u64, from: u64) -> i64 {
    number.wrapping_sub(from).cast_signed()
}

fn sum(from: u64, difference: i64) -> u64 {
    from.wrapping_add_signed(difference)
}

/// Numbers in as few bytes as they need: most are small, and with eight bytes each a record would have 50 more.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
}

fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// An array in one piece, with its length in front; by itself it would be written byte by byte.
pub(super) mod bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &[u8; 16],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 16], D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        bytes.try_into().map_err(D::Error::custom)
    }
}
