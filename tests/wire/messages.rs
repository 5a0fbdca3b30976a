//! Messages: recorded bodies are understood, answered in the same bytes as the Java library writes, and passed on intact.

use rollcall_core::bolt::{Frame, Kind, Protocol};
use rollcall_core::hessian::{Value, Writer};
use rollcall_core::message::received_data::{Prefix, body_len, encode_body, write_prefix};
use rollcall_core::message::{
    Acknowledgement, BaseRegister, Boxes, EventType, PublisherRegister, PushResult,
    ReceivedConfigData, ReceivedData, RegisterResponse, Request, SubscriberRegister,
    SyncConfigResponse, acknowledgement, multi_received_data,
};
use rollcall_core::names::{DataInfoId, RegisterId, Scope};
use serde_json::Value as Json;

use crate::allocation::measured;
use crate::frames::whole;
use crate::golden::{cuts, recordings, units};
use crate::values::Walk;

#[test]
fn the_content_of_every_recorded_frame_is_what_its_index_says() {
    for recording in recordings("bolt", "frames")
        .iter()
        .filter(|recording| recording.facts["body"].is_object())
    {
        let (frame, _) = whole(&recording.bytes);

        let value = Value::decode(frame.content).unwrap();

        Walk {
            id: recording.id(),
            next_reference: 0,
        }
        .compare(&value, &recording.facts["body"]);
    }
}

/// The text of a field of the described object.
fn text<'a>(body: &'a Json, field: &str) -> Option<&'a str> {
    let fields = body["fields"].as_array().unwrap();
    fields.iter().find(|pair| pair[0] == field)?[1]["v"].as_str()
}

fn is_registry(class: &[u8]) -> bool {
    class.starts_with(b"com.alipay.sofa.registry.core.model.")
}

#[test]
fn every_recorded_registration_is_understood() {
    for recording in recordings("bolt", "frames")
        .iter()
        .filter(|recording| recording.facts["body"].is_object())
    {
        let (frame, _) = whole(&recording.bytes);
        let base = match Request::of(&frame) {
            Ok(Request::PublisherRegister(register)) => register.base,
            Ok(Request::SubscriberRegister(register)) => register.base,
            Ok(Request::ConfiguratorRegister(register)) => register.base,
            Ok(_) | Err(_) => continue,
        };

        let body = &recording.facts["body"];
        assert_eq!(
            base.data_id.as_deref(),
            text(body, "dataId"),
            "{}",
            recording.id()
        );
        assert_eq!(
            base.group.as_deref(),
            text(body, "group"),
            "{}",
            recording.id()
        );
        assert_eq!(
            base.instance_id.as_deref(),
            text(body, "instanceId"),
            "{}",
            recording.id()
        );
        assert_eq!(
            base.regist_id.as_deref(),
            text(body, "registId"),
            "{}",
            recording.id()
        );
        assert_eq!(
            Some(base.event_type.as_str()),
            text(body, "eventType"),
            "{}",
            recording.id()
        );
        assert_eq!(
            base.version.map(|version| version.to_string()).as_deref(),
            text(body, "version")
        );
        assert_eq!(
            base.timestamp.map(|time| time.to_string()).as_deref(),
            text(body, "timestamp")
        );
    }
}

#[test]
fn every_recorded_message_of_the_registry_is_understood_and_every_truncation_refused() {
    for recording in recordings("bolt", "frames")
        .iter()
        .filter(|recording| recording.facts["body"].is_object())
    {
        let (frame, _) = whole(&recording.bytes);
        if !is_registry(frame.class) {
            continue;
        }
        assert!(is_understood(&frame), "{}", recording.id());
        for cut in cuts(frame.content) {
            let truncated = Frame {
                content: &frame.content[..cut],
                ..frame
            };
            assert!(!is_understood(&truncated), "{} {cut}", recording.id());
        }
    }
}

fn is_understood(frame: &Frame<'_>) -> bool {
    match frame.kind {
        Kind::Response { .. } => {
            let content = frame.content;
            RegisterResponse::decode(content).is_ok()
                || SyncConfigResponse::decode(content).is_ok()
                || PushResult::decode(content).is_ok()
        }
        _ => {
            Request::of(frame).is_ok()
                || ReceivedData::decode(frame.content).is_ok()
                || ReceivedConfigData::decode(frame.content).is_ok()
        }
    }
}

#[test]
fn a_recorded_result_says_delivered() {
    for recording in recordings("bolt", "frames") {
        if recording.facts["fields"]["className"] == "com.alipay.sofa.registry.core.model.Result" {
            let (frame, _) = whole(&recording.bytes);
            let (delivered, usage) = measured(|| acknowledgement(&frame));

            assert_eq!(delivered, Acknowledgement::Delivered, "{}", recording.id());
            assert_eq!(usage.allocations, 0);
        }
    }
}

fn base() -> BaseRegister<'static> {
    BaseRegister {
        zone: Some("DEFAULT_ZONE".into()),
        data_id: Some("com.demo.Svc:1.0@DEFAULT".into()),
        group: Some("SOFA".into()),
        regist_id: Some("6ed653d2-e57c-4947-a14d-f8d1319bf4d4".into()),
        event_type: EventType::Register,
        version: Some(1),
        timestamp: Some(1_795_322_734_228),
        ..BaseRegister::default()
    }
}

/// A pair of surrogates across the border of the first chunk, and one half of a pair that lost the other.
fn strange_texts() -> Vec<Vec<u16>> {
    let mut long = vec![u16::from(b'a'); 0x7fff];
    long.extend([0xd83d, 0xde00, 0xd800, 0x4e2d]);
    vec![
        long,
        vec![0xdc00],
        Vec::new(),
        "10.0.0.1:12200?a=b".encode_utf16().collect(),
        units("x\u{e9}"),
    ]
}

#[test]
fn a_text_reaches_the_subscriber_byte_for_byte() {
    let texts = strange_texts();
    // As a client may write them that splits a pair between two chunks.
    let mut split = b"s\x80\x00".to_vec();
    split.extend(vec![b'a'; 0x7fff]);
    split.extend(b"\xed\xa0\xbd\x01\xed\xb8\x80");
    let mut data_list = b"V".to_vec();
    data_list.extend(b"O\x91B\x91\x04datao\x91");
    data_list.extend(&split);
    for text in &texts {
        data_list.extend(b"o\x91");
        Writer::new(&mut data_list).utf16(text);
    }
    data_list.extend(b"z");
    let mut body =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\x91\x08dataListo\x90"
            .to_vec();
    body.extend(&data_list);

    let register = PublisherRegister::decode(&body).unwrap();
    let push = push(&[("z", vec![&register.boxes])]);
    let received = ReceivedData::decode(&push).unwrap();

    let sent = &data_list[b"VO\x91B\x91\x04data".len()..data_list.len() - 1];
    assert_eq!(received.data[0].1.bytes(), sent);
    let read: Vec<Vec<u16>> = received.data[0]
        .1
        .texts()
        .map(|text| text.unwrap().utf16().collect())
        .collect();
    assert_eq!(read[1..], texts);
}

fn push(zones: &[(&str, Vec<&Boxes>)]) -> Vec<u8> {
    let id = DataInfoId::new("com.demo.Svc:1.0@DEFAULT", "", "SOFA");
    let prefix = Prefix {
        data_info_id: &id,
        segment: "DefaultDataCenter",
        scope: Scope::DataCenter,
        version: 7,
        local_zone: "z",
    };
    let ids = [
        RegisterId::new("1935ae4c-63bf-47d0-b359-6d4f97c00492"),
        RegisterId::new("not a uuid"),
    ];
    let mut out = Vec::new();
    write_prefix(&mut out, &prefix, ids.iter());
    out.extend(encode_body(
        zones
            .iter()
            .map(|(zone, boxes)| (*zone, boxes.iter().copied())),
    ));
    out
}

#[test]
fn prefix_and_body_are_one_push() {
    let three: Boxes = ["a", "b", "a"].into_iter().collect();
    let none = Boxes::default();
    let zones = [
        ("empty", vec![&none]),
        ("A", vec![&three, &none, &three]),
        ("\u{4e2d}", vec![&three]),
    ];

    let received = ReceivedData::decode(&push(&zones)).unwrap();

    let counts: Vec<_> = received
        .data
        .iter()
        .map(|(zone, boxes)| (zone.as_str(), boxes.count()))
        .collect();
    assert_eq!(counts, [("empty", 0), ("A", 6), ("\u{4e2d}", 3)]);
    assert_eq!(
        received.subscriber_regist_ids,
        ["1935ae4c-63bf-47d0-b359-6d4f97c00492", "not a uuid"]
    );
    assert_eq!(
        (received.version, received.scope.as_str()),
        (Some(7), "dataCenter")
    );
    assert_eq!(received.instance_id, "DEFAULT_INSTANCE_ID");
}

#[test]
fn a_body_of_many_boxes_has_the_length_that_was_computed() {
    let many: Boxes = (0..300).map(|_| "10.0.0.1:12200").collect();
    for publishers in [0, 1, 2] {
        let zones = || std::iter::once(("zone", std::iter::repeat_n(&many, publishers)));

        let body = encode_body(zones());

        assert_eq!(
            (body.len(), body.capacity()),
            (body_len(zones()), body.len())
        );
        assert!(ReceivedData::decode(&push(&[("zone", vec![&many; publishers])])).is_ok());
    }
}

#[test]
fn a_push_to_one_more_subscriber_allocates_nothing() {
    let id = DataInfoId::new("com.demo.Svc:1.0@DEFAULT", "", "SOFA");
    let prefix = Prefix {
        data_info_id: &id,
        segment: "DefaultDataCenter",
        scope: Scope::DataCenter,
        version: 7,
        local_zone: "z",
    };
    let ids = [RegisterId::new("1935ae4c-63bf-47d0-b359-6d4f97c00492")];
    let shared = rollcall_core::bolt::Shared::of(b"a body");
    let mut out = Vec::with_capacity(1 << 10);

    let ((), usage) = measured(|| {
        let class = rollcall_core::message::received_data::CLASS;
        let head = rollcall_core::bolt::Head::request(Protocol::V2 { crc: true }, 1, 4_000, class);
        let begun = head.begin(&mut out);
        write_prefix(&mut out, &prefix, ids.iter());
        assert!(matches!(
            begun.finish_with_shared(&mut out, shared),
            Ok(Some(_))
        ));
    });

    assert_eq!(usage.allocations, 0);
}

#[test]
fn a_registration_allocates_what_is_kept_and_no_more() {
    let boxes: Boxes = ["10.0.0.1:12200?a=b", "10.0.0.2:12200?a=b"]
        .into_iter()
        .collect();
    let mut publisher = Vec::new();
    PublisherRegister {
        base: base(),
        boxes,
    }
    .encode(&mut publisher);
    let mut subscriber = Vec::new();
    SubscriberRegister {
        base: base(),
        scope: Scope::Global,
        accept_encoding: None,
        accept_multi: false,
    }
    .encode(&mut subscriber);

    let (published, publishing) = measured(|| PublisherRegister::decode(&publisher).unwrap());
    let (subscribed, subscribing) = measured(|| SubscriberRegister::decode(&subscriber).unwrap());

    assert_eq!(publishing.allocations, 1, "the boxes");
    assert_eq!(publishing.peak_bytes, published.boxes.bytes().len());
    assert_eq!(subscribing.allocations, 0);
    assert_eq!(subscribed.scope, Scope::Global);
}

#[test]
fn a_box_that_is_listed_by_reference_counts_again() {
    let mut body =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\x91\x08dataListo\x90"
            .to_vec();
    body.extend(b"Vn\x04O\x91B\x91\x04datao\x91\x01xJ\x02o\x91NNz");

    let register = PublisherRegister::decode(&body).unwrap();

    assert_eq!(register.boxes.bytes(), b"o\x91\x01xo\x91\x01xo\x91N");
    assert_eq!(
        register.boxes.count(),
        3,
        "two of one object, one without a text, no null"
    );
}

#[test]
fn boxes_of_another_class_index_or_with_more_fields_are_kept_in_the_usual_form() {
    let mut body =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\x91\x08dataListo\x90"
            .to_vec();
    body.extend(b"V\x00\x00"); // A list without a length whose items are no boxes is refused below.
    assert!(PublisherRegister::decode(&body).is_err());
    body.truncate(body.len() - 2);
    body.extend(b"O\x91A\x90O\x91B\x93\x01a\x04data\x01bo\x92Vz\x01xN");
    body.extend(b"o\x92T\x01yMTz");

    body.truncate(body.len() - 3);
    body.extend(b"Mzz");
    let register = PublisherRegister::decode(&body).unwrap();

    assert_eq!(register.boxes.bytes(), b"o\x91\x01xo\x91\x01y");
}

#[test]
fn a_push_of_all_data_centers_is_one_hessian_value() {
    let boxes: Boxes = ["10.0.0.1:12200"].into_iter().collect();
    let id = DataInfoId::new("d", "", "");
    let prefix = Prefix {
        data_info_id: &id,
        segment: "dc",
        scope: Scope::Global,
        version: 9,
        local_zone: "z",
    };
    let mut out = Vec::new();

    multi_received_data::write_prefix(&mut out, &prefix, [].iter());
    out.extend(multi_received_data::encode_body(
        "dc",
        9,
        [("z", std::iter::once(&boxes))].into_iter(),
    ));

    let Value::Object { class, fields } = Value::decode(&out).unwrap() else {
        panic!("no object")
    };
    let Some(Value::Map { entries, .. }) = fields.last() else {
        panic!("no map")
    };
    let Value::Object {
        class: segment,
        fields,
    } = &entries[0].1
    else {
        panic!("no segment")
    };
    assert_eq!(
        class.name(),
        b"com.alipay.sofa.registry.core.model.MultiReceivedData"
    );
    assert_eq!(
        segment.name(),
        b"com.alipay.sofa.registry.core.model.MultiSegmentData"
    );
    assert!(matches!(fields[2], Value::Long(9)));
    let Value::Map { entries: zones, .. } = &fields[4] else {
        panic!("no zones")
    };
    let Value::List { items, .. } = &zones[0].1 else {
        panic!("no boxes")
    };
    let Value::Object {
        class: data_box, ..
    } = &items[0]
    else {
        panic!("no box")
    };
    assert_eq!(
        data_box.name(),
        b"com.alipay.sofa.registry.core.model.DataBox"
    );
}
