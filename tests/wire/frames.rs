//! Bolt frames: every recording decodes to what its index says, and is written in the same bytes.

use rollcall_core::bolt::{Decoded, Frame, FrameError, Head, Kind, Protocol, Shared, decode};
use serde_json::Value as Json;

use crate::golden::{Recording, cuts, recordings};

fn frames() -> Vec<Recording> {
    recordings("bolt", "frames")
}

fn singles() -> impl Iterator<Item = Recording> {
    frames()
        .into_iter()
        .filter(|recording| recording.facts["fields"].is_object())
}

pub(crate) fn whole(bytes: &[u8]) -> (Frame<'_>, usize) {
    match decode(bytes) {
        Ok(Decoded::Frame { frame, len }) => (frame, len),
        other => panic!("no frame: {other:?}"),
    }
}

#[test]
fn every_recorded_frame_has_the_facts_of_its_index() {
    for recording in singles() {
        let (frame, len) = whole(&recording.bytes);

        let facts = &recording.facts["fields"];
        assert_eq!(facts_of(&frame, len, facts), *facts, "{}", recording.id());
    }
}

/// The facts as this decoder sees them, for the keys that the index has and a decoder can tell.
fn facts_of(frame: &Frame<'_>, len: usize, index: &Json) -> Json {
    let (type_byte, command, timeout, status) = match frame.kind {
        Kind::Request { timeout_ms } => (1, 1, Some(timeout_ms), None),
        Kind::OneWay { timeout_ms } => (2, 1, Some(timeout_ms), None),
        Kind::Heartbeat { timeout_ms } => (1, 0, Some(timeout_ms), None),
        Kind::Response { status } => (0, 2, None, Some(status)),
        Kind::HeartbeatAck { status } => (0, 0, None, Some(status)),
    };
    let (protocol, version) = match frame.protocol {
        Protocol::V1 => (1, None),
        Protocol::V2Plain => (2, Some(1)),
        Protocol::V2 { .. } => (2, Some(2)),
    };
    let mut facts = index.clone();
    let mut set = |key: &str, value: Json| facts[key] = value;
    set("proto", protocol.into());
    set("type", type_byte.into());
    set("cmdcode", command.into());
    set("requestId", frame.request_id.into());
    set("codec", frame.codec.into());
    set("classLen", frame.class.len().into());
    set("headerLen", frame.header.len().into());
    set("contentLen", frame.content.len().into());
    set("className", String::from_utf8_lossy(frame.class).into());
    set("total", len.into());
    if let Some(version) = version {
        set("ver1", version.into());
    }
    if let Some(timeout) = timeout {
        set("timeout", timeout.into());
    }
    if let Some(status) = status {
        set("status", status.code().into());
    }
    if frame.protocol == (Protocol::V2 { crc: true }) {
        set("switch", 1.into());
        set("crc_ok", true.into());
    }
    facts
}

#[test]
fn every_recorded_frame_is_written_in_the_same_bytes() {
    for recording in singles() {
        let (frame, len) = whole(&recording.bytes);
        // Two things are read and never written: a header, and a switch that promises a checksum where none can be.
        let switch = recording.facts["fields"]["switch"].as_u64();
        if !frame.header.is_empty() || (frame.protocol == Protocol::V2Plain && switch != Some(0)) {
            continue;
        }

        let head = head_of(&frame);
        let mut out = Vec::new();
        head.write(&mut out, |out| out.extend_from_slice(frame.content));

        assert_eq!(out, recording.bytes[..len], "{}", recording.id());
    }
}

fn head_of<'a>(frame: &Frame<'a>) -> Head<'a> {
    let class = std::str::from_utf8(frame.class).unwrap();
    Head {
        protocol: frame.protocol,
        kind: frame.kind,
        codec: frame.codec,
        request_id: frame.request_id,
        class,
    }
}

#[test]
fn a_content_with_a_shared_part_is_the_same_frame() {
    for recording in singles().filter(|recording| recording.facts["fields"]["headerLen"] == 0) {
        let (frame, _) = whole(&recording.bytes);
        for cut in cuts(frame.content) {
            let (own, shared) = frame.content.split_at(cut);
            let mut out = b"a frame before".to_vec();

            let begun = head_of(&frame).begin(&mut out);
            out.extend_from_slice(own);
            let crc = begun
                .finish_with_shared(&mut out, Shared::of(shared))
                .unwrap();

            let sent = [
                &out[b"a frame before".len()..],
                shared,
                crc.as_ref().map_or(&[], |crc| &crc[..]),
            ]
            .concat();
            assert_eq!(
                whole(&sent),
                (frame, sent.len()),
                "{} {cut}",
                recording.id()
            );
        }
    }
}

#[test]
fn every_truncation_is_incomplete_and_says_how_much_is_missing() {
    for recording in singles() {
        let (_, total) = whole(&recording.bytes);
        let mut known = 0;
        for len in 0..total {
            match decode(&recording.bytes[..len]) {
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(
                        needed > len && needed <= total && needed >= known,
                        "{} {len} {needed}",
                        recording.id()
                    );
                    known = needed;
                }
                other => panic!("{} {len}: {other:?}", recording.id()),
            }
        }
    }
}

#[test]
fn a_stream_is_its_frames_one_after_the_other() {
    let all = frames();
    for stream in all
        .iter()
        .filter(|recording| recording.facts["multi"] == true)
    {
        let mut rest = &stream.bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let (_, len) = whole(rest);
            let named = stream.facts["frames"][count].as_str();
            if let Some(part) =
                named.and_then(|id| all.iter().find(|recording| recording.id() == id))
            {
                assert_eq!(rest[..len], part.bytes, "{} {count}", stream.id());
            }
            rest = &rest[len..];
            count += 1;
        }
        assert!(count >= 2, "{}: {count}", stream.id());
    }
}

#[test]
fn bad_streams_are_refused_with_the_reason() {
    for bad in frames().iter().filter(|recording| recording.must_fail()) {
        let error = decode(&bad.bytes).expect_err(bad.id());

        let is_expected = match bad.id() {
            "bad_unknown_protocol" => matches!(error, FrameError::UnknownProtocol { .. }),
            "bad_unknown_type" => matches!(error, FrameError::UnknownType { .. }),
            "bad_v2_version3" => matches!(error, FrameError::UnknownVersion { version: 3 }),
            "bad_v2_switch_high_bit" => matches!(error, FrameError::BadSwitch { .. }),
            "bad_content_len_huge" => matches!(error, FrameError::TooLarge { .. }),
            "bad_content_len_negative" => matches!(
                error,
                FrameError::NegativeLength {
                    part: "content",
                    ..
                }
            ),
            "bad_class_len_negative" => {
                matches!(error, FrameError::NegativeLength { part: "class", .. })
            }
            _ => true,
        };
        assert!(is_expected, "{}: {error}", bad.id());
    }
}

#[test]
fn a_flipped_bit_under_a_checksum_is_noticed() {
    let recording = singles()
        .find(|recording| recording.facts["fields"]["crc_ok"] == true)
        .unwrap();
    for at in [30, recording.bytes.len() / 2, recording.bytes.len() - 1] {
        let Some(_) = recording.bytes.get(at) else {
            continue;
        };
        let mut bytes = recording.bytes.clone();
        bytes[at] ^= 1;

        assert!(
            !matches!(decode(&bytes), Ok(Decoded::Frame { .. })),
            "{} {at}",
            recording.id()
        );
    }
}
