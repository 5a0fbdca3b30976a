//! What is done with hostile bytes, for the fuzz targets and for the mutation test alike: nothing may panic, and what
//! was understood must survive being written and read again.

use rollcall_core::bolt::{self, Decoded, Head};
use rollcall_core::data::journal::record::{self, Entry, Record, Told};
use rollcall_core::data::journal::segment::{Expected, Header, Scanned, Scanner, SegmentWriter};
use rollcall_core::hessian::Value;
use rollcall_core::message::{
    PublisherRegister, PushResult, ReceivedConfigData, ReceivedData, RegisterResponse, Request,
    SyncConfigResponse, acknowledgement, cancel_address_request, configurator_register,
    publisher_register, subscriber_register, sync_config_request,
};
use rollcall_core::names::{DataInfoId, Interner};
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

/// A stream of Bolt frames.
pub fn bolt_frame(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match bolt::decode(rest) {
            Ok(Decoded::Frame { frame, len }) => {
                write_again(&frame);
                let _answered = Request::of(&frame).map_err(|error| error.consequence());
                let _delivered = acknowledgement(&frame);
                rest = &rest[len..];
            }
            Ok(Decoded::Incomplete { needed }) => {
                assert!(
                    needed > rest.len(),
                    "a frame that needs no more is complete"
                );
                return;
            }
            Err(error) => {
                let _closed = error.consequence();
                return;
            }
        }
    }
}

fn write_again(frame: &bolt::Frame<'_>) {
    let Ok(class) = std::str::from_utf8(frame.class) else {
        return;
    };
    let head = Head {
        protocol: frame.protocol,
        kind: frame.kind,
        codec: frame.codec,
        request_id: frame.request_id,
        class,
    };
    let mut out = Vec::new();
    head.write(&mut out, |out| out.extend_from_slice(frame.content));
    let written = bolt::Frame {
        header: &[],
        ..*frame
    };
    assert_eq!(
        bolt::decode(&out),
        Ok(Decoded::Frame {
            frame: written,
            len: out.len()
        })
    );
}

/// One Hessian body.
pub fn hessian_value(bytes: &[u8]) {
    let Ok(value) = Value::decode(bytes) else {
        return;
    };
    let written = encoded(&value);
    // Writing keeps one definition per class name, so a body with two of one name may not read back; see there.
    if let Ok(again) = Value::decode(&written) {
        let _twice = encoded(&again);
    }
}

fn encoded(value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// The content of a request of any class.
pub fn request_message(bytes: &[u8]) {
    for class in [
        publisher_register::CLASS,
        subscriber_register::CLASS,
        configurator_register::CLASS,
        sync_config_request::CLASS,
        cancel_address_request::CLASS,
    ] {
        match Request::decode(class.as_bytes(), bytes) {
            Ok(Request::PublisherRegister(register)) => publish_again(&register),
            Ok(_) => {}
            Err(error) => drop((error.consequence(), error.to_string())),
        }
    }
}

fn publish_again(register: &PublisherRegister<'_>) {
    assert_eq!(
        register.boxes.texts().count(),
        register.boxes.count(),
        "all that was kept is text"
    );
    let mut out = Vec::new();
    register.encode(&mut out);
    let again = PublisherRegister::decode(&out).expect("what was written can be read");
    if register.base.event_type.as_str() != "UNREGISTER" {
        assert_eq!(again.boxes, register.boxes);
    }
}

/// What a client reads.
pub fn push_messages(bytes: &[u8]) {
    if let Ok(push) = ReceivedData::decode(bytes) {
        let texts: usize = push
            .data
            .iter()
            .map(|(_, boxes)| boxes.texts().count())
            .sum();
        let boxes: usize = push.data.iter().map(|(_, boxes)| boxes.count()).sum();
        assert_eq!(texts, boxes, "all that was kept is text");
    }
    let _config = ReceivedConfigData::decode(bytes);
    let _response = RegisterResponse::decode(bytes);
    let _sync = SyncConfigResponse::decode(bytes);
    let _result = PushResult::decode(bytes);
}

/// Records of a journal; and, as places and what is done to them, damage to a segment.
pub fn journal_segment(bytes: &[u8]) {
    let _malformed = record::read(bytes, |record| write_record_again(&record));
    let (sound, header) = segment();
    let mut damaged = sound.clone();
    let (edits, rest) = bytes.as_chunks::<4>();
    for &[low, middle, high, change] in edits {
        let at = u32::from_le_bytes([low, middle, high, 0]) as usize;
        damaged[at % sound.len()] ^= change;
    }
    damaged.truncate(sound.len() - rest.iter().map(|&cut| usize::from(cut)).sum::<usize>());
    let written = records(&sound, &header);
    let read = records(&damaged, &header);
    assert!(
        read.iter().all(|record| written.contains(record)),
        "a record that was never written"
    );
    let _nothing_but_an_error = records(bytes, &header);
}

/// A record that was read can be written, and is then the same to a reader.
fn write_record_again(record: &Record<'_>) {
    let mut names = Interner::new(Seed(1));
    match *record {
        Record::Put {
            version,
            service,
            publisher,
        } => {
            let service = service.to_data_info_id(&mut names);
            let publisher = publisher.to_publisher(&mut names);
            write_entry(&Entry::put(&service, &publisher, version));
        }
        Record::Removed {
            version,
            service,
            register_id,
        } => {
            let service = service.to_data_info_id(&mut names);
            let register_id = register_id.to_register_id();
            write_entry(&Entry::removed(&service, &register_id, version));
        }
        Record::Empty { version, service } => {
            let service = service.to_data_info_id(&mut names);
            write_entry(&Entry::empty(&service, version));
        }
        Record::Ceiling { version } => write_entry(&Entry::Ceiling { version }),
        Record::Sealed => write_entry(&Entry::Sealed),
    }
}

fn write_entry(entry: &Entry<'_>) {
    let mut batch = vec![1];
    entry.encode(&mut Told::default(), &mut batch);
    let mut found = 0;
    let read = record::read(&batch, |record| {
        assert_eq!(record, entry.to_record());
        found += 1;
    });
    assert_eq!((read, found), (Ok(()), 1));
}

fn segment() -> (Vec<u8>, Header) {
    let header = Header {
        cluster: 1,
        shard: 2,
        segment: 3,
        salt: 4,
        boot_id: [5; 16],
    };
    let mut bytes = Vec::new();
    let mut writer = SegmentWriter::new(&header, &mut bytes);
    let longest = "x".repeat(70_000);
    for (number, len) in [10, 33_000, 0, 70_000, 1]
        .into_iter()
        .cycle()
        .take(20)
        .enumerate()
    {
        let service = DataInfoId::new(&longest[..len], "", "");
        let version = DatumVersion::new(number as u64);
        writer.append(&Entry::empty(&service, version), &mut bytes);
    }
    writer.append(&Entry::Sealed, &mut bytes);
    writer.close(&mut bytes);
    (bytes, header)
}

/// All that is found, with its place.
fn records(segment: &[u8], header: &Header) -> Vec<(u64, String)> {
    let mut records = Vec::new();
    let mut scanner = Scanner::new(Expected {
        cluster: Some(header.cluster),
        shard: header.shard,
        segment: header.segment,
        salt: Some(header.salt),
    });
    let scanned = scanner.scan(segment, |found| {
        if let Scanned::Record { offset, record } = found {
            records.push((offset, format!("{record:?}")));
        }
    });
    if scanned.is_ok() {
        let _tail = scanner.finish();
    }
    records
}
