//! One line of the journal: what became of one publisher or one service, at which version.
//!
//! Each carries the version of its datum, so that order and repetition do not matter to who reads them again. Both sides borrow: an
//! [`Entry`] what is written, a [`Record`] what is read.

mod edit;
mod line;
#[cfg(test)]
pub(in crate::data::journal) mod samples;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::line::{Told, read};
use crate::message::Boxes;
use crate::names::{DEFAULT_GROUP, DEFAULT_INSTANCE_ID, DataInfoId, Interner, RegisterId, Uuid};
use crate::publisher::{Holder, Order, Publisher};
use crate::version::DatumVersion;

/// One line of the journal, as the owner of a datum writes it.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A publisher as it is from this version of its datum on.
    Put {
        /// The version of the datum with it.
        version: DatumVersion,
        /// Which service.
        data_info_id: &'a DataInfoId,
        /// The registration.
        publisher: &'a Publisher,
    },
    /// A publisher is gone from this version of its datum on.
    Removed {
        /// The version of the datum without it.
        version: DatumVersion,
        /// Which service.
        data_info_id: &'a DataInfoId,
        /// Which of its publishers.
        register_id: &'a RegisterId,
    },
    /// A service has this version, and the publishers that other lines give it: none, or those it had before.
    Empty {
        /// The version of the datum.
        version: DatumVersion,
        /// Which service.
        data_info_id: &'a DataInfoId,
    },
    /// No version above it is given before a higher ceiling is on the medium.
    Ceiling {
        /// The highest version that may be given.
        version: DatumVersion,
    },
    /// The last of an orderly stop.
    Sealed,
}

/// One line of the journal, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
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
#[cfg_attr(test, derive(Hash))]
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
#[cfg_attr(test, derive(Hash))]
pub enum Id<'a> {
    /// A lower-case hyphenated UUID.
    Uuid(#[serde(with = "serde_bytes")] [u8; 16]),
    /// Any other text.
    Text(&'a str),
}

/// What of a publisher outlives the process: all but who held it, and on which connection.
///
/// Ordered by which is newer, as far as that can be told without the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Hash))]
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
#[cfg_attr(test, derive(Hash))]
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

impl<'a> Entry<'a> {
    /// A publisher that is put.
    pub fn put(
        data_info_id: &'a DataInfoId,
        publisher: &'a Publisher,
        version: DatumVersion,
    ) -> Self {
        Self::Put {
            version,
            data_info_id,
            publisher,
        }
    }

    /// A publisher that is gone.
    pub fn removed(
        data_info_id: &'a DataInfoId,
        register_id: &'a RegisterId,
        version: DatumVersion,
    ) -> Self {
        Self::Removed {
            version,
            data_info_id,
            register_id,
        }
    }

    /// A version and nothing else.
    pub fn empty(data_info_id: &'a DataInfoId, version: DatumVersion) -> Self {
        Self::Empty {
            version,
            data_info_id,
        }
    }

    /// About what a publisher that is put takes by itself, as every registration asks for it twice. Names that are the registry's
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

    /// What who reads it finds.
    pub fn to_record(self) -> Record<'a> {
        match self {
            Self::Put {
                version,
                data_info_id,
                publisher,
            } => Record::Put {
                version,
                service: Service::of(data_info_id),
                publisher: Published::of(publisher),
            },
            Self::Removed {
                version,
                data_info_id,
                register_id,
            } => Record::Removed {
                version,
                service: Service::of(data_info_id),
                register_id: Id::of(register_id),
            },
            Self::Empty {
                version,
                data_info_id,
            } => Record::Empty {
                version,
                service: Service::of(data_info_id),
            },
            Self::Ceiling { version } => Record::Ceiling { version },
            Self::Sealed => Record::Sealed,
        }
    }
}

impl Record<'_> {
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

impl<'a> Origin<'a> {
    fn of(publisher: &'a Publisher) -> Self {
        Self {
            zone: &publisher.zone,
            app: &publisher.app,
            address: publisher.address,
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
            origin: Origin::of(publisher),
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
    use crate::data::journal::segment::FRAGMENT_HEAD_BYTES;
    use crate::names::Name;
    use crate::tables::Seed;

    /// These entries as one batch.
    fn encoded(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(entries.len()).unwrap()];
        let mut told = Told::default();
        for entry in entries {
            entry.encode(&mut told, &mut bytes);
        }
        bytes
    }

    /// The text of each record.
    fn decoded(bytes: &[u8]) -> Result<Vec<String>, RecordError> {
        let mut records = Vec::new();
        read(bytes, |record| records.push(format!("{record:?}")))?;
        Ok(records)
    }

    fn texts(entries: &[Entry<'_>]) -> Vec<String> {
        let text = |entry: &Entry<'_>| format!("{:?}", entry.to_record());
        entries.iter().map(text).collect()
    }

    fn put<'a>(service: &'a DataInfoId, publisher: &'a Publisher, version: u64) -> Entry<'a> {
        Entry::put(service, publisher, DatumVersion::new(version))
    }

    fn one_of_each<'a>(
        service: &'a DataInfoId,
        publisher: &'a Publisher,
        version: u64,
    ) -> [Entry<'a>; 5] {
        let put = put(service, publisher, version);
        let version = DatumVersion::new(version);
        [
            put,
            Entry::removed(service, &publisher.register_id, version),
            Entry::empty(service, version),
            Entry::Ceiling { version },
            Entry::Sealed,
        ]
    }

    #[test]
    fn round_trip() {
        let mut random = Random(1);
        let mut names = Interner::new(Seed(1));
        for number in 0..200 {
            let service = samples::service(number);
            let publisher = samples::publisher(&mut random, number, 3_000);
            for entry in one_of_each(&service, &publisher, random.next()) {
                let bytes = encoded(&[entry]);

                let mut found = 0;
                let read = read(&bytes, |read| {
                    found += 1;
                    assert_eq!(read, entry.to_record());
                    let Record::Put {
                        service: read_service,
                        publisher: read_publisher,
                        ..
                    } = read
                    else {
                        return;
                    };
                    assert_eq!(read_service.to_data_info_id(&mut names), service);
                    assert_eq!(*read_publisher.to_publisher(&mut names), publisher);
                });

                assert_eq!((read, found), (Ok(()), 1));
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
        let version = 0x0123_4567_89ab_cdef;
        let [put, removed, empty, ceiling, sealed] = one_of_each(&service, &publisher, version);

        let number = b"\xfd\xde\x9b\x57\x13\xcf\x8a\x46\x02";
        let name = b"\x01\x01a\x01b\x01c";
        let id = b"\x10\x6e\xd6\x53\xd2\xe5\x7c\x49\x47\xa1\x4d\xf8\xd1\x31\x9b\xf4\xd4";
        let numbers = b"\x04\xfd\0\0\0\0\x26\x03\0\0\xfd\xff\xff\xff\xff\x01\0\0\0";
        let origin = b"\x01\x01z\x03app\0\x7f\0\0\x01\xfb\xa8\x2f";
        let boxes = b"\0\0\x07o\x91\x01xo\x91\0";
        let whole = [number, &numbers[..], name, origin, &[0], id, &[2], boxes].concat();
        assert_eq!(encoded(&[put]), [&[1, 0][..], &whole].concat());
        let next = [&[1, 0, 0, 0, 0, 2][..], id, &[7, 0, 0]].concat();
        assert_eq!(encoded(&[put, put]), [&[2, 0][..], &whole, &next].concat());
        let gone = [number, &name[..], &[0], id].concat();
        assert_eq!(encoded(&[removed]), [&[1, 2][..], &gone].concat());
        assert_eq!(encoded(&[empty]), [&[1, 3][..], number, name].concat());
        let ceiled = b"\x01\x04\xfd\xef\xcd\xab\x89\x67\x45\x23\x01";
        assert_eq!(encoded(&[ceiling]), ceiled);
        assert_eq!(encoded(&[sealed]), [1, 5]);
    }

    #[test]
    fn what_was_told_before_is_left_out_and_found_again() {
        let service = DataInfoId::new("a", "b", "c");
        let mut names = Interner::new(Seed(1));
        let mut publisher = |client_version: i64, timestamp: i64, registered_ms: i64| {
            let base = samples::publisher(&mut Random(5), 1, 300);
            Publisher {
                zone: names.intern(&base.zone),
                app: names.intern(&base.app),
                order: Order {
                    version: base.order.version.wrapping_add(client_version),
                    stamp: 0,
                    timestamp: base.order.timestamp.wrapping_add(timestamp),
                },
                registered_ms: base.registered_ms.wrapping_add_signed(registered_ms),
                ..base
            }
        };
        let steps = [0, 1, 127, -2, -128, 128, -129, i64::MAX, i64::MIN];
        let publishers: Vec<_> = steps
            .into_iter()
            .flat_map(|step| [[0; 3], [step, 0, 0], [0, step, 0], [0, 0, step]])
            .map(|[one, two, three]| publisher(one, two, three))
            .collect();
        let versions = [1 << 58, (1 << 58) + 1, 7, (1 << 58) + 128];
        let entries: Vec<_> = publishers
            .iter()
            .zip(versions.into_iter().cycle())
            .map(|(publisher, version)| put(&service, publisher, version))
            .collect();

        let batch = encoded(&entries);

        assert_eq!(decoded(&batch), Ok(texts(&entries)));
        let first = encoded(&entries[..1]);
        assert!(batch.starts_with(&[&[entries.len() as u8][..], &first[1..]].concat()));
        let second = encoded(&entries[..2]).len() - first.len();
        assert!(second < 30, "{second}");
        let by_itself = [&[1], &encoded(&entries[..2])[first.len()..]].concat();
        assert_eq!(decoded(&by_itself), Err(RecordError::Malformed));
    }

    #[test]
    fn what_the_short_form_has_no_room_for_is_told_at_length() {
        let service = samples::service(1);
        let publisher = samples::publisher(&mut Random(6), 1, 10);
        let like_it = || Publisher {
            zone: Name::clone(&publisher.zone),
            app: Name::clone(&publisher.app),
            ..samples::publisher(&mut Random(6), 1, 10)
        };
        let by_text = Publisher {
            register_id: RegisterId::new("not a UUID"),
            ..like_it()
        };
        let crowded = Publisher {
            boxes: std::iter::repeat_n("", 256).collect(),
            ..like_it()
        };
        let long = [247, 248, 249].map(|len| Publisher {
            boxes: ["x".repeat(len)].iter().map(String::as_str).collect(),
            ..like_it()
        });
        let [fits, fits_just, fits_not] = &long;
        let entries = [
            &publisher, &by_text, &crowded, &publisher, fits, &publisher, fits_just, &publisher,
            fits_not, &publisher,
        ]
        .map(|one| put(&service, one, 7));

        let batch = encoded(&entries);

        assert_eq!(decoded(&batch), Ok(texts(&entries)));
    }

    #[test]
    fn every_truncation_and_every_appended_byte_is_an_error() {
        let service = samples::service(1);
        let publisher = samples::publisher(&mut Random(2), 1, 300);
        let entries = one_of_each(&service, &publisher, 1 << 50);
        for entries in [&entries[..], &[entries[0]; 2]] {
            let bytes = encoded(entries);

            for len in 0..bytes.len() {
                assert!(decoded(&bytes[..len]).is_err(), "{len} bytes");
            }
            assert!(decoded(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert_eq!(decoded(&[0]), Err(RecordError::Malformed), "none at all");
    }

    #[test]
    fn strings_that_are_not_whole_are_no_publisher() {
        let service = samples::service(1);
        let publisher = Publisher {
            boxes: ["one", "two"].into_iter().collect(),
            ..samples::publisher(&mut Random(3), 1, 10)
        };
        let sound = encoded(&[put(&service, &publisher, 7)]);
        let boxes = publisher.boxes.bytes();
        let count_at = sound.len() - boxes.len() - 4;
        assert_eq!(sound[count_at..][..4], [2, 0, 0, boxes.len() as u8]);

        for (at, wrong) in [(count_at, 1), (count_at, 3), (sound.len() - 4, 4)] {
            let mut bytes = sound.clone();
            bytes[at] = wrong;
            assert_eq!(decoded(&bytes), Err(RecordError::Boxes), "byte {at}");
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

        let batch = encoded(&[put(&service, &publisher, 1 << 58)]);

        assert_eq!(FRAGMENT_HEAD_BYTES + batch.len() - own, 44);
        let reckoned = Entry::put_len(&service, &publisher);
        assert!(reckoned.abs_diff(batch.len()) < 8, "{reckoned}");
    }
}
