//! A record as it is written: without what the record before it in its batch has told.
//!
//! Most are of the client and the service of the one before, and little later: both are left out then, numbers are told as the difference, and
//! strings as what they have of their own. A registration of a text of 64 bytes takes 31 and not 200, to be summed, copied by the kernel, brought
//! to the medium, and read by the next start.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bincode::Options;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeStructVariant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::edit::{Before, Edit};
use super::{Entry, Id, Origin, Published, Record, RecordError, Service};
use crate::limits::JOURNAL_RECORD_BYTES_MAX;
use crate::message::Boxes;
use crate::names::{DataInfoId, Name, RegisterId};
use crate::publisher::Publisher;
use crate::version::DatumVersion;

/// [`Record`], with nothing where something is as before. [`Telling`] is its other half.
#[derive(Deserialize)]
enum Line<'a> {
    Put {
        steps: Numbers<i64>,
        #[serde(borrow)]
        service: Option<Service<'a>>,
        #[serde(borrow)]
        origin: Option<Origin<'a>>,
        #[serde(borrow)]
        register_id: Id<'a>,
        box_count: u32,
        #[serde(borrow)]
        boxes: Edit<'a>,
    },
    #[serde(borrow)]
    Next(Next<'a>),
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

/// A publisher of the client and the service of the one before, all its numbers a little more or less: as most are.
#[derive(Deserialize)]
struct Next<'a> {
    steps: Numbers<i8>,
    box_count: u8,
    #[serde(with = "serde_bytes")]
    register_id: [u8; 16],
    #[serde(borrow)]
    boxes: Edit<'a>,
}

/// The numbers of a publisher, or the steps to them from those before.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Numbers<N> {
    version: N,
    client_version: N,
    registered_ms: N,
    /// From `registered_ms`, as the two are near each other.
    timestamp: N,
}

/// What a writer has told in a batch: names by their shared copies, as equal ones nearly always are the same.
#[derive(Debug, Default)]
pub struct Told {
    service: Option<DataInfoId>,
    zone_and_app: Option<[Name; 2]>,
    address: Option<SocketAddr>,
    numbers: Numbers<u64>,
    boxes: Before,
}

/// What a reader was told in a batch.
#[derive(Default)]
struct Known<'a> {
    service: Option<Service<'a>>,
    origin: Option<Origin<'a>>,
    numbers: Numbers<u64>,
    boxes: Before,
}

impl<'a> Entry<'a> {
    /// Appends it to `out`, as it is written behind what was told.
    #[inline]
    pub fn encode(&self, told: &mut Told, out: &mut Vec<u8>) {
        let telling = told.tell(self);
        if let Some(next) = telling.next() {
            return next.encode(out);
        }
        options()
            .serialize_into(out, &telling)
            .expect("a vector takes all bytes, and every part knows its length");
    }
}

/// An entry with what must be told of it, as a [`Line`] is written.
struct Telling<'e> {
    entry: &'e Entry<'e>,
    steps: Numbers<i64>,
    service: bool,
    origin: bool,
    /// Of a publisher.
    boxes: Edit<'e>,
}

impl Telling<'_> {
    /// The short form of a publisher, if that has room for all of it.
    #[inline]
    fn next(&self) -> Option<Next<'_>> {
        let Entry::Put { publisher, .. } = self.entry else {
            return None;
        };
        let RegisterId::Uuid(uuid) = &publisher.register_id else {
            return None;
        };
        if self.service || self.origin || self.boxes.between.len() > Next::BETWEEN_MAX {
            return None;
        }
        Some(Next {
            steps: self.steps.small()?,
            box_count: publisher.boxes.raw_count().try_into().ok()?,
            register_id: uuid.to_bytes(),
            boxes: self.boxes,
        })
    }
}

impl Next<'_> {
    /// Its number among the lines.
    const VARIANT: u8 = 1;
    /// The length of longer bytes takes more than one.
    const BETWEEN_MAX: usize = 250;

    /// Appends it as bincode would, in one piece: nearly all records take this form, and a call for each of its parts takes three times
    /// as long.
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        let Numbers {
            version,
            client_version,
            registered_ms,
            timestamp,
        } = self.steps;
        let [v, c, r, t] =
            [version, client_version, registered_ms, timestamp].map(i8::cast_unsigned);
        let Edit {
            head,
            tail,
            between,
        } = self.boxes;
        let id = self.register_id;
        let mut line = [0; 26];
        line[..7].copy_from_slice(&[Self::VARIANT, v, c, r, t, self.box_count, id.len() as u8]);
        line[7..23].copy_from_slice(&id);
        line[23..].copy_from_slice(&[head, tail, between.len() as u8]);
        out.extend_from_slice(&line);
        out.extend_from_slice(between);
    }
}

impl Serialize for Telling<'_> {
    /// From where all of it is: to make a [`Line`] of it first takes longer than to write it.
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let service = |data_info_id| self.service.then(|| Service::of(data_info_id));
        match *self.entry {
            Entry::Put {
                data_info_id,
                publisher,
                ..
            } => {
                let origin = self.origin.then(|| Origin::of(publisher));
                let mut line = serializer.serialize_struct_variant("Line", 0, "Put", 6)?;
                line.serialize_field("steps", &self.steps)?;
                line.serialize_field("service", &service(data_info_id))?;
                line.serialize_field("origin", &origin)?;
                line.serialize_field("register_id", &Id::of(&publisher.register_id))?;
                line.serialize_field("box_count", &publisher.boxes.raw_count())?;
                line.serialize_field("boxes", &self.boxes)?;
                line.end()
            }
            Entry::Removed {
                data_info_id,
                register_id,
                ..
            } => {
                let mut line = serializer.serialize_struct_variant("Line", 2, "Removed", 3)?;
                line.serialize_field("version", &self.steps.version)?;
                line.serialize_field("service", &service(data_info_id))?;
                line.serialize_field("register_id", &Id::of(register_id))?;
                line.end()
            }
            Entry::Empty { data_info_id, .. } => {
                let mut line = serializer.serialize_struct_variant("Line", 3, "Empty", 2)?;
                line.serialize_field("version", &self.steps.version)?;
                line.serialize_field("service", &service(data_info_id))?;
                line.end()
            }
            Entry::Ceiling { version } => {
                let mut line = serializer.serialize_struct_variant("Line", 4, "Ceiling", 1)?;
                line.serialize_field("version", &version.number())?;
                line.end()
            }
            Entry::Sealed => serializer.serialize_unit_variant("Line", 5, "Sealed"),
        }
    }
}

/// Reads a batch: calls `found` with each of its records, of which there is at least one.
pub fn read(bytes: &[u8], found: impl FnMut(Record<'_>)) -> Result<(), RecordError> {
    let mut error = RecordError::Malformed;
    let lines = Lines {
        known: Known::default(),
        found,
        error: &mut error,
    };
    let limit = JOURNAL_RECORD_BYTES_MAX as u64;
    let read = options().with_limit(limit).deserialize_seed(lines, bytes);
    read.map_err(|_| error)
}

/// Reads a sequence of lines, each when it is wanted.
struct Lines<'e, 'a, F> {
    known: Known<'a>,
    found: F,
    /// What is wrong, if no line is malformed.
    error: &'e mut RecordError,
}

impl<'a, F: FnMut(Record<'_>)> DeserializeSeed<'a> for Lines<'_, 'a, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, F: FnMut(Record<'_>)> Visitor<'a> for Lines<'_, 'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lines of a journal")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut lines: A) -> Result<(), A::Error> {
        let mut is_empty = true;
        while let Some(line) = lines.next_element::<Line<'a>>()? {
            let record = self.known.resolve(line).map_err(|error| {
                *self.error = error;
                A::Error::custom(error)
            })?;
            (self.found)(record);
            is_empty = false;
        }
        match is_empty {
            true => Err(A::Error::invalid_length(0, &self)),
            false => Ok(()),
        }
    }
}

impl Told {
    /// Notes that an entry is told, and what of it must be.
    #[inline]
    fn tell<'e>(&mut self, entry: &'e Entry<'_>) -> Telling<'e> {
        let before = self.numbers;
        let (mut service, mut origin) = (false, false);
        let mut boxes = Edit::default();
        match *entry {
            Entry::Put {
                version,
                data_info_id,
                publisher,
            } => {
                self.numbers = Numbers::of(version, publisher);
                service = self.tells_service(data_info_id);
                origin = self.tells_origin(publisher);
                boxes = self.boxes.edit_to(publisher.boxes.bytes());
            }
            Entry::Removed {
                version,
                data_info_id,
                ..
            }
            | Entry::Empty {
                version,
                data_info_id,
            } => {
                self.numbers.version = version.number();
                service = self.tells_service(data_info_id);
            }
            Entry::Ceiling { .. } | Entry::Sealed => {}
        }
        Telling {
            entry,
            steps: before.steps_to(self.numbers),
            service,
            origin,
            boxes,
        }
    }

    fn tells_service(&mut self, service: &DataInfoId) -> bool {
        let told = self.service.as_ref();
        if told.is_some_and(|told| told.is_same_copy(service)) {
            return false;
        }
        self.service = Some(service.clone());
        true
    }

    #[inline]
    fn tells_origin(&mut self, publisher: &Publisher) -> bool {
        let Publisher {
            zone, app, address, ..
        } = publisher;
        let told = self.zone_and_app.as_ref();
        if told.is_some_and(|told| Arc::ptr_eq(&told[0], zone) && Arc::ptr_eq(&told[1], app))
            && self.address == Some(*address)
        {
            return false;
        }
        self.address = Some(*address);
        self.zone_and_app = Some([zone, app].map(Arc::clone));
        true
    }
}

impl<'a> Known<'a> {
    /// The whole record; none if something is as before, and nothing was before.
    fn resolve(&mut self, line: Line<'a>) -> Result<Record<'_>, RecordError> {
        match line {
            Line::Put {
                steps,
                service,
                origin,
                register_id,
                box_count,
                boxes,
            } => {
                self.service = service.or(self.service);
                self.origin = origin.or(self.origin);
                self.put(steps, register_id, box_count, boxes)
            }
            Line::Next(Next {
                steps,
                box_count,
                register_id,
                boxes,
            }) => self.put(steps.into(), Id::Uuid(register_id), box_count.into(), boxes),
            Line::Removed {
                version,
                service,
                register_id,
            } => Ok(Record::Removed {
                version: self.version(version),
                service: self.service(service)?,
                register_id,
            }),
            Line::Empty { version, service } => Ok(Record::Empty {
                version: self.version(version),
                service: self.service(service)?,
            }),
            Line::Ceiling { version } => Ok(Record::Ceiling {
                version: DatumVersion::new(version),
            }),
            Line::Sealed => Ok(Record::Sealed),
        }
    }

    fn put(
        &mut self,
        steps: Numbers<i64>,
        register_id: Id<'a>,
        box_count: u32,
        boxes: Edit<'a>,
    ) -> Result<Record<'_>, RecordError> {
        let service = self.service(None)?;
        let boxes = self.boxes.apply(boxes).ok_or(RecordError::Malformed)?;
        if !Boxes::are_whole(box_count, boxes) {
            return Err(RecordError::Boxes);
        }
        self.numbers = self.numbers.after(steps);
        let timestamp = self
            .numbers
            .registered_ms
            .wrapping_add(self.numbers.timestamp);
        Ok(Record::Put {
            version: DatumVersion::new(self.numbers.version),
            service,
            publisher: Published {
                client_version: self.numbers.client_version.cast_signed(),
                timestamp: timestamp.cast_signed(),
                registered_ms: self.numbers.registered_ms,
                register_id,
                origin: self.origin.ok_or(RecordError::Malformed)?,
                box_count,
                boxes,
            },
        })
    }

    fn version(&mut self, step: i64) -> DatumVersion {
        self.numbers.version = sum(self.numbers.version, step);
        DatumVersion::new(self.numbers.version)
    }

    fn service(&mut self, told: Option<Service<'a>>) -> Result<Service<'a>, RecordError> {
        self.service = told.or(self.service);
        self.service.ok_or(RecordError::Malformed)
    }
}

impl Numbers<u64> {
    fn of(version: DatumVersion, publisher: &Publisher) -> Self {
        let timestamp = publisher.order.timestamp.cast_unsigned();
        Self {
            version: version.number(),
            client_version: publisher.order.version.cast_unsigned(),
            registered_ms: publisher.registered_ms,
            timestamp: timestamp.wrapping_sub(publisher.registered_ms),
        }
    }

    /// What [`Self::after`] makes the next ones of.
    fn steps_to(self, next: Self) -> Numbers<i64> {
        Numbers {
            version: difference(next.version, self.version),
            client_version: difference(next.client_version, self.client_version),
            registered_ms: difference(next.registered_ms, self.registered_ms),
            timestamp: difference(next.timestamp, self.timestamp),
        }
    }

    fn after(self, steps: Numbers<i64>) -> Self {
        Self {
            version: sum(self.version, steps.version),
            client_version: sum(self.client_version, steps.client_version),
            registered_ms: sum(self.registered_ms, steps.registered_ms),
            timestamp: sum(self.timestamp, steps.timestamp),
        }
    }
}

impl Numbers<i64> {
    /// The same in a byte each, if they are so small.
    fn small(self) -> Option<Numbers<i8>> {
        Some(Numbers {
            version: self.version.try_into().ok()?,
            client_version: self.client_version.try_into().ok()?,
            registered_ms: self.registered_ms.try_into().ok()?,
            timestamp: self.timestamp.try_into().ok()?,
        })
    }
}

impl From<Numbers<i8>> for Numbers<i64> {
    fn from(small: Numbers<i8>) -> Self {
        Self {
            version: small.version.into(),
            client_version: small.client_version.into(),
            registered_ms: small.registered_ms.into(),
            timestamp: small.timestamp.into(),
        }
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
