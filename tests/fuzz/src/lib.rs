//! What is done with hostile bytes, for the fuzz targets and for the mutation test alike: nothing may panic, and what
//! was understood must survive being written and read again.

use rollcall_core::bolt::{self, Decoded, Head};
use rollcall_core::hessian::Value;
use rollcall_core::message::{
    PublisherRegister, PushResult, ReceivedConfigData, ReceivedData, RegisterResponse, Request,
    SyncConfigResponse, acknowledgement, cancel_address_request, configurator_register,
    publisher_register, subscriber_register, sync_config_request,
};

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
