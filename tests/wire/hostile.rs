//! Senders who mean harm: small bodies that would cost a careless reader all its memory, its stack, or minutes.

use rollcall_core::bolt::{Decoded, FrameError, decode};
use rollcall_core::hessian::{HessianError, Value};
use rollcall_core::limits::{
    BOXES_PER_PUBLISHER_MAX, FRAME_BYTES_MAX, HESSIAN_CLASSES_MAX, HESSIAN_DEPTH_MAX,
    HESSIAN_FIELDS_MAX, HESSIAN_VALUES_MAX, NAME_BYTES_MAX,
};
use rollcall_core::message::{
    MessageError, PublisherRegister, ReceivedData, publisher_register, received_data,
};

use crate::allocation::measured;

/// A body of this class whose one field has this value.
fn object(class: &str, field: &str, value: &[u8]) -> Vec<u8> {
    let head = [
        b"O\xc8",
        &[class.len() as u8][..],
        class.as_bytes(),
        b"\x91",
    ]
    .concat();
    [
        &head[..],
        &[field.len() as u8],
        field.as_bytes(),
        b"o\x90",
        value,
    ]
    .concat()
}

fn publisher(data_list: &[u8]) -> Vec<u8> {
    object(publisher_register::CLASS, "dataList", data_list)
}

/// The error of reading this as a publisher, in memory that the frame's own size bounds.
fn refused(body: &[u8]) -> MessageError {
    let (decoded, usage) = measured(|| PublisherRegister::decode(body));
    assert!(
        usage.peak_bytes <= 4 * body.len() + (64 << 10),
        "{} bytes for {}",
        usage.peak_bytes,
        body.len()
    );
    decoded.expect_err("a hostile body")
}

#[test]
fn nesting_ends_at_its_limit() {
    for nest in [&b"V"[..], b"M", b"Vn\x01", b"MN"] {
        let deep = nest.repeat(100_000);

        assert!(matches!(
            Value::decode(&deep),
            Err(HessianError::TooDeep {
                limit: HESSIAN_DEPTH_MAX,
                ..
            })
        ));
        let unknown = object(publisher_register::CLASS, "unknown", &deep);
        assert!(matches!(
            refused(&unknown),
            MessageError::Malformed(HessianError::TooDeep { .. })
        ));
    }
}

#[test]
fn counts_are_checked_against_what_is_there() {
    for huge in [
        &b"Vl\x7f\xff\xff\xff\x91z"[..],
        b"Vt\x00\x04[intl\x7f\xff\xff\xff\x91z",
        b"Vl\xff\xff\xff\xff\x91z",
    ] {
        let refused = refused(&publisher(huge));

        assert!(
            matches!(
                refused,
                MessageError::Malformed(HessianError::BadLength { .. })
            ),
            "{refused}"
        );
    }
    let fields = b"O\x91AI\x7f\xff\xff\xff";
    let limit = HESSIAN_FIELDS_MAX;
    assert!(
        matches!(Value::decode(fields), Err(HessianError::BadLength { limit: at_most, .. }) if at_most == limit)
    );
}

#[test]
fn class_definitions_end_at_their_limit() {
    let many = [b"O\x91A\x90".repeat(HESSIAN_CLASSES_MAX + 1), b"N".to_vec()].concat();
    let enough = [b"O\x91A\x90".repeat(HESSIAN_CLASSES_MAX), b"N".to_vec()].concat();

    assert!(matches!(
        Value::decode(&many),
        Err(HessianError::TooManyClasses { .. })
    ));
    assert!(matches!(Value::decode(&enough), Ok(Value::Null)));
    let unknown = object(
        publisher_register::CLASS,
        "unknown",
        &b"O\x91A\x90".repeat(100_000),
    );
    assert!(matches!(
        refused(&unknown),
        MessageError::Malformed(HessianError::TooManyClasses { .. })
    ));
}

#[test]
fn tiny_values_end_at_their_limit() {
    let unknown = object(
        publisher_register::CLASS,
        "unknown",
        &[b"V", &vec![b'N'; HESSIAN_VALUES_MAX][..], b"z"].concat(),
    );

    assert!(matches!(
        refused(&unknown),
        MessageError::Malformed(HessianError::TooManyValues { .. })
    ));
}

#[test]
fn a_list_that_contains_itself_is_no_list_of_boxes() {
    for cycle in [
        &b"Vn\x01J\x01z"[..],
        b"J\x00",
        b"Vn\x01J\x00z",
        b"Vn\x02J\x00J\x01z",
    ] {
        let decoded =
            PublisherRegister::decode(&publisher(cycle)).map(|register| register.boxes.count());

        // A reference to the register itself is an object, if one without a text.
        assert!(
            matches!(decoded, Err(MessageError::Malformed(_)) | Ok(0 | 1)),
            "{decoded:?}"
        );
    }
}

#[test]
fn references_repeat_no_more_than_a_frame_may_have() {
    let text = [b"S\xff\xff", &vec![b'x'; 0xffff][..]].concat();
    let box_ = [b"O\x91B\x91\x04datao\x91", &text[..]].concat();
    let repeated = [
        b"V",
        &box_[..],
        &b"J\x02".repeat(BOXES_PER_PUBLISHER_MAX - 1),
        b"z",
    ]
    .concat();

    let (decoded, usage) = measured(|| PublisherRegister::decode(&publisher(&repeated)).map(drop));

    let error = decoded.expect_err("more than a frame");
    assert!(
        matches!(
            error,
            MessageError::Malformed(HessianError::TooMuchRepeated { .. })
        ),
        "{error}"
    );
    assert!(
        usage.peak_bytes < 4 * FRAME_BYTES_MAX,
        "{}",
        usage.peak_bytes
    );
}

#[test]
fn lists_of_lists_by_reference_do_not_multiply() {
    // 200 zones that all refer to one list of 200 references to one box of 64 KiB.
    let text = [b"S\xff\xff", &vec![b'x'; 0xffff][..]].concat();
    let list = [
        b"VO\x91B\x91\x04datao\x91",
        &text[..],
        &b"J\x03".repeat(200),
        b"z",
    ]
    .concat();
    let data = [b"M\x01a", &list[..], &b"\x01bJ\x02".repeat(200), b"z"].concat();
    let body = object(received_data::CLASS, "data", &data);

    let (decoded, usage) = measured(|| ReceivedData::decode(&body).map(drop));

    assert!(matches!(
        decoded,
        Err(MessageError::Malformed(
            HessianError::TooMuchRepeated { .. }
        ))
    ));
    assert!(
        usage.peak_bytes < 6 * FRAME_BYTES_MAX,
        "{}",
        usage.peak_bytes
    );
}

#[test]
fn a_publisher_has_a_bounded_number_of_boxes() {
    let box_ = b"O\x91B\x91\x04datao\x91\x01x";
    let too_many = [
        b"V",
        &box_[..],
        &b"o\x91\x01x".repeat(BOXES_PER_PUBLISHER_MAX),
        b"z",
    ]
    .concat();

    assert!(matches!(
        refused(&publisher(&too_many)),
        MessageError::OverLimit {
            field: "dataList",
            ..
        }
    ));
}

#[test]
fn a_name_has_a_bounded_length() {
    let name = |len: usize| [b"S", &(len as u16).to_be_bytes()[..], &vec![b'x'; len]].concat();
    let body = |len| object(publisher_register::CLASS, "dataId", &name(len));

    let longest = body(NAME_BYTES_MAX);
    assert!(PublisherRegister::decode(&longest).is_ok());
    assert!(matches!(
        refused(&body(NAME_BYTES_MAX + 1)),
        MessageError::OverLimit {
            field: "dataId",
            ..
        }
    ));
}

#[test]
fn a_frame_that_announces_too_much_is_refused_by_its_head() {
    let mut head = *b"\x01\x01\x00\x01\x01\x00\x00\x00\x01\x01\x00\x00\x0b\xb8\x00\x00\x00\x00\x00\x00\x00\x00";
    let content = FRAME_BYTES_MAX - head.len();
    head[18..].copy_from_slice(&(content as u32).to_be_bytes());
    assert_eq!(
        decode(&head),
        Ok(Decoded::Incomplete {
            needed: FRAME_BYTES_MAX
        })
    );

    head[18..].copy_from_slice(&(content as u32 + 1).to_be_bytes());
    let bytes = FRAME_BYTES_MAX + 1;
    assert_eq!(
        decode(&head),
        Err(FrameError::TooLarge {
            bytes,
            limit: FRAME_BYTES_MAX
        })
    );
}
