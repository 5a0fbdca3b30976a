//! One line of the journal: what became of one publisher or one service, at which version.
//!
//! Each carries the version of its datum, so that order and repetition do not matter to who reads them again. Records borrow: what
//! is written is not cloned, and what is read is not copied before it is wanted.

mod line;
#[cfg(test)]
pub(in crate::data::journal) mod samples;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::line::{Known, Told};
use crate::message::Boxes;
use crate::names::{DEFAULT_GROUP, DEFAULT_INSTANCE_ID, DataInfoId, Interner, RegisterId, Uuid};
use crate::publisher::{Holder, Order, Publisher};
use crate::version::DatumVersion;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A publisher as it is from this version of its datum on.
    Put {
        /// The version of the datum with it.
        version: DatumVersion,
        /// Which service.
        service: Service<'a>,
        /// The registration.
        publisher: Published<'a>,
    },
    /// A publisher is gone from this version of its datum on.
    Removed {
        /// The version of the datum without it.
        version: DatumVersion,
        /// Which service.
        service: Service<'a>,
        /// Which of its publishers.
        register_id: Id<'a>,
    },
    /// A service has this version, and the publishers that other records give it: none, or those it had before.
    Empty {
        /// The version of the datum.
        version: DatumVersion,
        /// Which service.
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

/// The three parts of a dataInfoId; an instance id or group that is the registry's default is blank, as most are.
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
    Uuid(#[serde(with = "line::bytes")] [u8; 16]),
    /// Any other text.
    Text(&'a str),
}

/// What of a publisher outlives the process: all but who held it, and on which connection.
///
/// Ordered by which is newer, as far as that can be told without the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published<'a> {
    client_version: i64,
    timestamp: i64,
    registered_ms: u64,
    register_id: Id<'a>,
    origin: Origin<'a>,
    box_count: u32,
    boxes: &'a [u8],
}

/// The client of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin<'a> {
    zone: &'a str,
    app: &'a str,
    address: SocketAddr,
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

    /// The line for the version of a service, where no publisher's line tells it.
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

    /// About [`Self::encoded_len`] of a publisher that is put, as every registration asks for it twice. Names that are the registry's
    /// defaults count here, though they are not written, and make up for some numbers.
    pub fn put_len(data_info_id: &DataInfoId, publisher: &Publisher) -> usize {
        let id = match &publisher.register_id {
            RegisterId::Uuid(_) => 16,
            RegisterId::Text(text) => text.len(),
        };
        data_info_id.len()
            + id
            + publisher.zone.len()
            + publisher.app.len()
            + publisher.boxes.bytes().len()
            + PUT_BYTES
    }
}

/// What a publisher that is put takes beside its texts: its address, and numbers of which most are small.
const PUT_BYTES: usize = 20;

impl<'a> Service<'a> {
    /// The parts of this id.
    pub fn of(data_info_id: &'a DataInfoId) -> Self {
        let unless = |default, text| if text == default { "" } else { text };
        Self {
            data_id: data_info_id.data_id(),
            instance_id: unless(DEFAULT_INSTANCE_ID, data_info_id.instance_id()),
            group: unless(DEFAULT_GROUP, data_info_id.group()),
        }
    }

    /// The id with these parts.
    pub fn to_data_info_id(self, names: &mut Interner) -> DataInfoId {
        names.data_info_id(self.data_id, self.instance_id, self.group)
    }
}

impl<'a> Id<'a> {
    /// The same, borrowed.
    pub fn of(register_id: &'a RegisterId) -> Self {
        match register_id {
            RegisterId::Uuid(uuid) => Self::Uuid(uuid.to_bytes()),
            RegisterId::Text(text) => Self::Text(text),
        }
    }

    /// The same, to keep.
    pub fn to_register_id(self) -> RegisterId {
        match self {
            Self::Uuid(uuid) => RegisterId::Uuid(Uuid::from_bytes(uuid)),
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
            origin: Origin {
                zone: &publisher.zone,
                app: &publisher.app,
                address: publisher.address,
            },
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
            zone: names.intern(self.origin.zone),
            app: names.intern(self.origin.app),
            address: self.origin.address,
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

#[cfg(test)]
mod tests {
    use super::samples::{self, Random};
    use super::*;
    use crate::data::journal::segment::stored_len;
    use crate::tables::Seed;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut Told::default(), &mut bytes);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
        Record::decode(bytes, &mut Known::default())
    }

    fn one_of_each<'a>(
        service: &'a DataInfoId,
        publisher: &'a Publisher,
        version: DatumVersion,
    ) -> [Record<'a>; 5] {
        [
            Record::put(service, publisher, version),
            Record::removed(service, &publisher.register_id, version),
            Record::empty(service, version),
            Record::Ceiling { version },
            Record::Sealed,
        ]
    }

    #[test]
    fn round_trip() {
        let mut random = Random(1);
        let mut names = Interner::new(Seed(1));
        for number in 0..200 {
            let service = samples::service(number);
            let publisher = samples::publisher(&mut random, number, 3_000);
            let version = DatumVersion::new(random.next());
            for record in one_of_each(&service, &publisher, version) {
                let bytes = encoded(&record);

                let read = decoded(&bytes).unwrap();

                assert_eq!(read, record);
                assert_eq!(bytes.len(), record.encoded_len());
                let Record::Put {
                    service: read_service,
                    publisher: read_publisher,
                    ..
                } = read
                else {
                    continue;
                };
                assert_eq!(read_service.to_data_info_id(&mut names), service);
                assert_eq!(*read_publisher.to_publisher(&mut names), publisher);
            }
        }
    }

    #[test]
    fn golden_bytes() {
        let service = DataInfoId::new("a", "b", "c");
        let publisher = Publisher {
            register_id: RegisterId::new("6ed653d2-e57c-4947-a14d-f8d1319bf4d4"),
            holder: Holder::NOBODY,
            order: Order {
                version: 2,
                stamp: 0,
                timestamp: 0x0192_0000_0000,
            },
            zone: "z".into(),
            app: "app".into(),
            address: ([127, 0, 0, 1], 12_200).into(),
            registered_ms: 0x0193_0000_0000,
            boxes: ["x", ""].into_iter().collect(),
        };
        let version = DatumVersion::new(0x0123_4567_89ab_cdef);
        let [put, removed, empty, ceiling, sealed] =
            one_of_each(&service, &publisher, version).map(|record| encoded(&record));

        let version = b"\xfd\xde\x9b\x57\x13\xcf\x8a\x46\x02";
        let service = b"\x01\x01a\x01b\x01c";
        let id = b"\0\x10\x6e\xd6\x53\xd2\xe5\x7c\x49\x47\xa1\x4d\xf8\xd1\x31\x9b\xf4\xd4";
        let origin = b"\x01\x01z\x03app\0\x7f\0\0\x01\xfb\xa8\x2f";
        let numbers = b"\x04\xfd\0\0\0\0\x26\x03\0\0\xfd\xff\xff\xff\xff\x01\0\0\0";
        let boxes = b"\x02\x07o\x91\x01xo\x91\0";
        assert_eq!(
            put,
            [&[0][..], version, service, origin, id, numbers, boxes].concat()
        );
        assert_eq!(removed, [&[1][..], version, service, id].concat());
        assert_eq!(empty, [&[2][..], version, service].concat());
        assert_eq!(ceiling, b"\x03\xfd\xef\xcd\xab\x89\x67\x45\x23\x01");
        assert_eq!(sealed, [4]);
    }

    #[test]
    fn what_was_told_before_is_left_out() {
        let service = DataInfoId::new("a", "b", "c");
        let publisher = samples::publisher(&mut Random(5), 1, 300);
        let put = |version| Record::put(&service, &publisher, DatumVersion::new(version));
        let records = [put(1 << 58), put((1 << 58) + 1), put(7)];
        let (mut told, mut known) = (Told::default(), Known::default());
        let written = records.each_ref().map(|record| {
            let mut bytes = Vec::new();
            record.encode(&mut told, &mut bytes);
            bytes
        });

        for (bytes, record) in written.iter().zip(&records) {
            assert_eq!(Record::decode(bytes, &mut known).as_ref(), Ok(record));
        }

        assert_eq!(written[0], encoded(&records[0]));
        let numbers_and_id = written[1].len() - publisher.boxes.bytes().len();
        assert!(numbers_and_id < 40, "{numbers_and_id}");
        assert_eq!(
            decoded(&written[1]),
            Err(RecordError::Malformed),
            "by itself"
        );
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_an_error() {
        let service = samples::service(1);
        let publisher = samples::publisher(&mut Random(2), 1, 300);
        for record in one_of_each(&service, &publisher, DatumVersion::new(1 << 50)) {
            let bytes = encoded(&record);

            for len in 0..bytes.len() {
                assert!(decoded(&bytes[..len]).is_err(), "{len} bytes");
            }
            assert!(decoded(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn strings_that_are_not_whole_are_no_publisher() {
        let service = samples::service(1);
        let publisher = Publisher {
            boxes: ["one", "two"].into_iter().collect(),
            ..samples::publisher(&mut Random(3), 1, 10)
        };
        let record = Record::put(&service, &publisher, DatumVersion::new(7));
        let with = |change: fn(&mut Published<'_>)| {
            let mut record = record.clone();
            if let Record::Put { publisher, .. } = &mut record {
                change(publisher);
            }
            encoded(&record)
        };

        for wrong in [
            with(|publisher| publisher.box_count = 1),
            with(|publisher| publisher.box_count = 3),
            with(|publisher| publisher.boxes = b"o\x91\x03onextwo"),
        ] {
            assert_eq!(decoded(&wrong), Err(RecordError::Boxes));
        }
    }

    #[test]
    fn a_registration_takes_by_itself_at_most_64_bytes_beyond_its_own_data() {
        let service = DataInfoId::new("com.example.Service:1.0@DEFAULT", "", "SOFA");
        let text = "x".repeat(200);
        let publisher = Publisher {
            order: Order {
                version: 1,
                stamp: 0,
                timestamp: 1_795_322_736_982,
            },
            registered_ms: 1_795_322_736_990,
            boxes: [&text[..]].into_iter().collect(),
            ..samples::publisher(&mut Random(4), 2, 10)
        };
        let names = [
            service.data_id(),
            service.group(),
            &publisher.zone,
            &publisher.app,
        ];
        let id_and_address = 16 + 4 + 2;
        let own = names.iter().map(|name| name.len()).sum::<usize>()
            + id_and_address
            + publisher.boxes.bytes().len();

        let stored = stored_len(&Record::put(
            &service,
            &publisher,
            DatumVersion::new(1 << 58),
        ));

        assert_eq!(stored - own, 41);
    }
}
