//! Bytes no client should send: each ends in the error a Java server would answer or in a close, and nobody else notices.

use std::time::Duration;

use rollcall_tests::frame::{Frame, Kind, Layout};
use rollcall_tests::{RawClient, Registration, Rollcall};

/// A begun frame has 10 s; the rest is patience.
const BEGUN_FRAME: Duration = Duration::from_secs(20);
const SERVER_EXCEPTION: u16 = 2;
const DESERIALIZE_EXCEPTION: u16 = 0x12;

/// A client on the same core as all others of a one-core node, at work before and after.
struct Neighbour {
    client: RawClient,
    service: Registration,
}

impl Neighbour {
    fn of(node: &Rollcall) -> Self {
        let mut client = node.client();
        client.register_well(&Registration::new("neighbour", "s").subscribe("zone"));
        client.list();
        Self {
            client,
            service: Registration::new("neighbour", "p").version(0),
        }
    }

    fn notices_nothing(&mut self) {
        self.service.version += 1;
        let value = format!("value {}", self.service.version);
        self.client
            .register_well(&self.service.publish(Some(&[value.as_str().into()])));
        assert_eq!(self.client.list().strings(), [value.as_str()]);
        self.client.heartbeat();
    }
}

/// Sends bytes after which the session must close without a word.
fn closes(cores: usize, bytes: &[u8]) {
    let node = Rollcall::start(cores);
    let mut neighbour = Neighbour::of(&node);
    for _ in 0..10 {
        let mut client = node.client();
        let _ = client.try_send_bytes(bytes);
        let heard = client.until_closed(BEGUN_FRAME);
        assert!(heard.is_empty(), "{heard:?}");
    }
    neighbour.notices_nothing();
    assert!(
        node.resident_kib() < 200 * 1024,
        "{} KiB",
        node.resident_kib()
    );
}

/// Sends a request with this content; the session must answer with this status and keep the connection.
fn is_answered(cores: usize, status: u16, change: impl Fn(&mut Frame)) {
    let node = Rollcall::start(cores);
    let mut neighbour = Neighbour::of(&node);
    let mut client = node.client();
    let mut request =
        client.request(&Registration::new("bad", "p").publish(Some(&["value".into()])));
    change(&mut request);
    for _ in 0..10 {
        client.send_bytes(&request.encode());
        let answer = client.answer(request.id);
        assert_eq!(
            answer.kind,
            Kind::Response(status),
            "{}",
            String::from_utf8_lossy(&answer.content)
        );
    }
    client.register_well(&Registration::new("good", "p").publish(Some(&["value".into()])));
    neighbour.notices_nothing();
    assert!(
        node.resident_kib() < 200 * 1024,
        "{} KiB",
        node.resident_kib()
    );
}

fn heartbeat_with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Frame::heartbeat(1).encode();
    frame.splice(at..at + bytes.len(), bytes.iter().copied());
    // Enough behind it that nothing waits for more.
    frame.extend([0; 64]);
    frame
}

fn v2_with(at: usize, byte: u8) -> Vec<u8> {
    let mut frame = Frame {
        layout: Layout::V2Crc,
        ..Frame::heartbeat(1)
    }
    .encode();
    frame[at] = byte;
    frame.extend([0; 64]);
    frame
}

fn i32_tag(number: i32) -> Vec<u8> {
    [vec![b'I'], number.to_be_bytes().to_vec()].concat()
}

on_one_and_two_cores! {
    fn an_unknown_protocol_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(0, &[9]));
    }

    fn http_on_the_bolt_port_is_closed(cores: usize) {
        closes(cores, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }

    fn an_unknown_type_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(1, &[7]));
    }

    fn an_unknown_command_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(2, &[0x7f, 0x7f]));
    }

    fn a_negative_class_length_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(14, &[0x80, 0]));
    }

    fn a_negative_content_length_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(18, &[0xff, 0xff, 0xff, 0xff]));
    }

    fn a_content_of_two_gigabytes_is_closed(cores: usize) {
        closes(cores, &heartbeat_with(18, &[0x7f, 0xff, 0xff, 0xff]));
    }

    fn an_unknown_version_of_the_second_protocol_is_closed(cores: usize) {
        closes(cores, &v2_with(1, 3));
    }

    fn a_negative_switch_is_closed(cores: usize) {
        closes(cores, &v2_with(11, 0x81));
    }

    fn a_wrong_checksum_is_closed(cores: usize) {
        let mut frame = Frame { layout: Layout::V2Crc, ..Frame::request(1, "a.Class", vec![b'N'; 40]) }.encode();
        let last = frame.len() - 1;
        frame[last] ^= 1;
        closes(cores, &frame);
    }

    fn half_a_frame_for_ever_is_closed(cores: usize) {
        let frame = Frame::request(1, "a.Class", vec![b'N'; 40]).encode();
        let node = Rollcall::start(cores);
        let mut neighbour = Neighbour::of(&node);
        // A part of the header, the whole header, and a part of the content.
        let mut clients: Vec<_> = [1, 10, 22, frame.len() - 1].into_iter().map(|length| {
            let mut client = node.client();
            client.send_bytes(&frame[..length]);
            client
        }).collect();

        clients.iter_mut().for_each(|client| assert!(client.until_closed(BEGUN_FRAME).is_empty()));

        neighbour.notices_nothing();
    }

    fn announced_bytes_are_no_memory(cores: usize) {
        let node = Rollcall::start(cores);
        let mut neighbour = Neighbour::of(&node);
        let frame = Frame::request(1, "a.Class", vec![0; 6 << 20]).encode();
        let before = node.resident_kib();

        let mut clients: Vec<_> = (0..200).map(|_| node.client()).collect();
        clients.iter_mut().for_each(|client| client.send_bytes(&frame[..100]));
        neighbour.notices_nothing();

        let grown = node.resident_kib().saturating_sub(before);
        assert!(grown < 50 * 1024, "200 announced frames of 6 MiB took {grown} KiB");
    }

    fn a_class_nobody_knows_is_a_server_exception(cores: usize) {
        is_answered(cores, SERVER_EXCEPTION, |frame| frame.class = "com.example.Unknown".into());
    }

    fn an_unknown_codec_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.codec = 77);
    }

    fn a_body_cut_short_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content.truncate(frame.content.len() / 2));
    }

    fn lists_in_lists_without_end_are_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content = b"Vl\x00\x00\x00\x01".repeat(100_000));
    }

    fn a_list_of_two_billion_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content = b"Vl\x7f\xff\xff\xffNz".to_vec());
    }

    fn a_class_of_two_billion_fields_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content = [b"O\x91a".to_vec(), i32_tag(i32::MAX)].concat());
    }

    fn class_definitions_without_end_are_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content = b"O\x91a\x90".repeat(100_000));
    }

    fn a_reference_to_nothing_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| frame.content = b"J\x07".to_vec());
    }

    fn a_list_that_holds_itself_where_strings_belong_is_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| {
            // The data list of the publisher becomes a list whose only item is that list: object, list, reference to the list.
            let list = frame.content.windows(2).position(|bytes| bytes == b"Vl").expect("there is a list");
            frame.content.splice(list.., b"Vl\x00\x00\x00\x01J\x02z".iter().copied());
        });
    }

    fn four_bytes_for_one_character_are_a_deserialize_exception(cores: usize) {
        is_answered(cores, DESERIALIZE_EXCEPTION, |frame| {
            let value = frame.content.windows(6).position(|bytes| bytes == b"\x05value").expect("the string is in there");
            frame.content.splice(value..value + 6, b"\x02\xf0\x9f\x98\x80".iter().copied());
        });
    }

    fn a_registration_without_a_version_is_refused_for_good(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let mut request = client.request(&Registration::new("bad", "p").version(0x0102_0304_0506_0708).publish(Some(&[])));
        let version = b"L\x01\x02\x03\x04\x05\x06\x07\x08";
        let at = request.content.windows(9).position(|bytes| bytes == version).expect("the version is in there");
        request.content.splice(at..at + 9, [b'N']);

        client.send_bytes(&request.encode());

        let answer = client.registered(request.id);
        assert!(answer.success && answer.refused && answer.message.is_some(), "{answer:?}");
    }

    fn an_unknown_event_type_is_refused_for_good(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let mut request = client.request(&Registration::new("bad", "p").publish(Some(&[])));
        let at = request.content.windows(8).position(|bytes| bytes == b"REGISTER").expect("the type is in there");
        request.content.splice(at..at + 8, b"DISTURBS".iter().copied());

        client.send_bytes(&request.encode());

        let answer = client.registered(request.id);
        assert!(answer.success && answer.refused, "{answer:?}");
    }

    fn unknown_fields_of_unknown_classes_are_skipped(cores: usize) {
        use rollcall_tests::hessian::Value;
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let mut message = Registration::new("newer", "p").publish(Some(&["value".into()]));
        let Value::Object(_, fields) = &mut message else { unreachable!("a message is an object") };
        let nested = Value::Object("com.example.Newer".into(), vec![("deep".into(), Value::List(vec![Value::Map(Vec::new())]))]);
        fields.insert(0, ("addedLater".into(), nested));

        client.register_well(&message);

        client.register_well(&Registration::new("newer", "s").subscribe("zone"));
        client.list_of(&["value"]);
    }

    fn a_response_nobody_asked_for_is_ignored(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let unasked = Frame::request(4_711, "", Vec::new());

        client.send_bytes(&unasked.answer(0, "com.alipay.sofa.registry.core.model.Result", b"N".to_vec()).encode());
        client.send_bytes(&unasked.answer(0, "", vec![0xff; 100]).encode());

        client.heartbeat();
    }
}

/// A client that has more to say than a frame may hold comes back for as long as it lives.
#[test]
fn a_client_that_announces_too_much_costs_one_line_and_little_else() {
    let node = Rollcall::start(1);
    let mut neighbour = Neighbour::of(&node);
    let announced = heartbeat_with(18, &(9_i32 << 20).to_be_bytes());
    let before = node.cpu_ticks();
    for _ in 0..50 {
        let mut client = node.client();
        let _ = client.try_send_bytes(&announced);
        // It is cut before it has sent all.
        let _ = client.try_send_bytes(&[0; 8 << 20]);
        client.until_closed(BEGUN_FRAME);
    }
    let ticks = node.cpu_ticks() - before;

    let told = node.logged("bad frame, closing; further ones of this address are counted");
    assert_eq!(told.len(), 1, "{told:?}");
    let line = told[0].to_string();
    assert!(
        line.contains("frame of 9437206 bytes: limit is 8388608"),
        "{line}"
    );
    assert!(line.contains("127.0.0.1:"), "{line}");
    assert!(node.logged("client cut off").is_empty());
    assert_eq!(
        node.metric("rollcall_frames_bad_total{reason=\"length\"}"),
        50
    );
    // 327 a minute are 50 in 9 s, of which 1 % is 9 ticks; an unoptimised build takes several times as much.
    assert!(ticks < 100, "{ticks} ticks of 10 ms");
    neighbour.notices_nothing();
}
