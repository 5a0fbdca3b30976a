//! Frames into the buffer that will be sent, without a temporary allocation.
//!
//! A push consists of a few bytes of its own and a body that many connections share. The body is never copied: its length
//! goes into the header, and its checksum, known once, is combined with that of the own bytes.

use crc32fast::Hasher;

use super::{CODEC_HESSIAN, Frame, FrameError, Kind, Protocol, Status};

/// Everything in front of the content of a frame that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The framing the peer speaks.
    pub protocol: Protocol,
    /// What the frame is.
    pub kind: Kind,
    /// How the content is serialized.
    pub codec: u8,
    /// The id of the request, the sender's own or the answered one.
    pub request_id: u32,
    /// Name of the content's class.
    pub class: &'a str,
}

impl<'a> Head<'a> {
    /// The head of an answer to `request`, in the protocol and codec of the request.
    pub fn answer(request: &Frame<'_>, status: Status, class: &'a str) -> Self {
        Self {
            protocol: request.protocol,
            kind: Kind::Response { status },
            codec: request.codec,
            request_id: request.request_id,
            class,
        }
    }

    /// The head of a request with Hessian content.
    pub fn request(protocol: Protocol, request_id: u32, timeout_ms: i32, class: &'a str) -> Self {
        Self {
            protocol,
            kind: Kind::Request { timeout_ms },
            codec: CODEC_HESSIAN,
            request_id,
            class,
        }
    }

    /// The head of a heartbeat, as the Java client sends it.
    pub fn heartbeat(protocol: Protocol, request_id: u32) -> Self {
        let kind = Kind::Heartbeat { timeout_ms: -1 };
        Self {
            protocol,
            kind,
            codec: CODEC_HESSIAN,
            request_id,
            class: "",
        }
    }

    /// Writes a whole frame whose content is what `content` appends: an answer, which is about as long as what it answers. One that were too
    /// long for a frame would leave nothing.
    pub fn write(&self, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
        let begun = self.begin(out);
        content(out);
        begun.finish(out);
    }

    /// Writes everything in front of the content. The content is whatever is appended to `out` until the frame is finished.
    pub fn begin(&self, out: &mut Vec<u8>) -> Begun {
        let start = out.len();
        match self.protocol {
            Protocol::V1 => out.push(1),
            Protocol::V2Plain => out.extend([2, 1]),
            Protocol::V2 { .. } => out.extend([2, 2]),
        }
        out.push(self.kind.type_byte());
        out.extend(self.kind.command().to_be_bytes());
        out.push(COMMAND_VERSION);
        out.extend(self.request_id.to_be_bytes());
        out.push(self.codec);
        match self.protocol {
            Protocol::V1 => {}
            v2 => out.push(v2.has_crc().into()),
        }
        match self.kind {
            Kind::Request { timeout_ms }
            | Kind::OneWay { timeout_ms }
            | Kind::Heartbeat { timeout_ms } => {
                out.extend(timeout_ms.to_be_bytes());
            }
            Kind::Response { status } | Kind::HeartbeatAck { status } => {
                out.extend(status.code().to_be_bytes());
            }
        }
        let class_len =
            u16::try_from(self.class.len()).expect("class names are constants of a few bytes");
        out.extend(class_len.to_be_bytes());
        out.extend(NO_HEADER);
        out.extend([0; CONTENT_LEN_LEN]);
        out.extend(self.class.as_bytes());
        let content_len_at = out.len() - self.class.len() - CONTENT_LEN_LEN;
        Begun {
            start,
            content_len_at,
            content_at: out.len(),
            crc: self.protocol.has_crc(),
        }
    }
}

/// Appends the answer to a heartbeat, in the form of the heartbeat.
pub fn write_heartbeat_ack(out: &mut Vec<u8>, heartbeat: &Frame<'_>) {
    let kind = Kind::HeartbeatAck {
        status: Status::Success,
    };
    let head = Head {
        kind,
        ..Head::answer(heartbeat, Status::Success, "")
    };
    head.write(out, |_| {});
}

/// The version of the command, which every receiver ignores.
const COMMAND_VERSION: u8 = 1;
const NO_HEADER: [u8; 2] = [0; 2];
const CONTENT_LEN_LEN: usize = 4;

/// A frame of which the content is being appended.
#[must_use = "a frame without its length is no frame"]
#[derive(Debug)]
pub struct Begun {
    start: usize,
    content_len_at: usize,
    content_at: usize,
    crc: bool,
}

/// The end of a content that is kept elsewhere and sent after the bytes of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// How long it is.
    pub len: usize,
    /// Its CRC-32.
    pub crc: u32,
}

impl Shared {
    /// Length and checksum of these bytes; to be kept next to them, for the sum reads them all.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            len: bytes.len(),
            crc: crc32fast::hash(bytes),
        }
    }
}

impl Begun {
    /// Fills in the length of the content and appends the checksum, if the protocol has one.
    fn finish(self, out: &mut Vec<u8>) {
        if let Ok(crc) = self.finish_with_shared(out, Shared { len: 0, crc: 0 }) {
            out.extend(crc.into_iter().flatten());
        }
    }

    /// Fills in the length of a content that continues with a shared part.
    ///
    /// The caller sends the shared part after the bytes in `out`, then the four bytes of the answer, if there are any. Of a frame that is too
    /// long for its length field nothing stays in `out`.
    pub fn finish_with_shared(
        self,
        out: &mut Vec<u8>,
        shared: Shared,
    ) -> Result<Option<[u8; 4]>, FrameError> {
        let bytes = out.len() - self.content_at + shared.len;
        let Ok(content_len) = i32::try_from(bytes) else {
            out.truncate(self.start);
            let limit = i32::MAX as usize;
            return Err(FrameError::TooLarge { bytes, limit });
        };
        out[self.content_len_at..][..CONTENT_LEN_LEN].copy_from_slice(&content_len.to_be_bytes());
        Ok(self.crc.then(|| {
            let mut crc = Hasher::new();
            crc.update(&out[self.start..]);
            let shared_len = shared.len as u64;
            crc.combine(&Hasher::new_with_initial_len(shared.crc, shared_len));
            crc.finalize().to_be_bytes()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoded, decode};
    use super::*;

    fn frame(bytes: &[u8]) -> Frame<'_> {
        match decode(bytes) {
            Ok(Decoded::Frame { frame, len }) if len == bytes.len() => frame,
            other => panic!("no frame: {other:?}"),
        }
    }

    #[test]
    fn round_trip() {
        for protocol in [
            Protocol::V1,
            Protocol::V2Plain,
            Protocol::V2 { crc: false },
            Protocol::V2 { crc: true },
        ] {
            for kind in [
                Kind::Request { timeout_ms: 4_000 },
                Kind::OneWay { timeout_ms: -1 },
                Kind::Heartbeat { timeout_ms: -1 },
                Kind::Response {
                    status: Status::ServerDeserialException,
                },
                Kind::HeartbeatAck {
                    status: Status::Success,
                },
            ] {
                let head = Head {
                    protocol,
                    kind,
                    codec: 11,
                    request_id: u32::MAX,
                    class: "a.B",
                };
                let mut out = Vec::new();

                head.write(&mut out, |out| out.extend(b"content"));

                let (class, content) = (&b"a.B"[..], &b"content"[..]);
                let expected = Frame {
                    protocol,
                    kind,
                    codec: 11,
                    request_id: u32::MAX,
                    class,
                    header: &[],
                    content,
                };
                assert_eq!(frame(&out), expected);
            }
        }
    }

    #[test]
    fn a_heartbeat_is_answered_in_its_own_form() {
        let heartbeat = b"\x02\x02\x01\x00\x00\x01\x00\x00\x00\x07\x01\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00";
        let mut out = b"before".to_vec();

        write_heartbeat_ack(&mut out, &frame(heartbeat));

        let answer = b"\x02\x02\x00\x00\x00\x01\x00\x00\x00\x07\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(out[b"before".len()..], *answer);
    }

    #[test]
    fn the_checksum_covers_the_shared_part_that_is_not_copied() {
        let protocol = Protocol::V2 { crc: true };
        let shared = b"a body of many publishers";
        let mut out = Vec::new();

        let begun = Head::request(protocol, 1, 4_000, "a.B").begin(&mut out);
        out.extend(b"own ");
        let crc = begun
            .finish_with_shared(&mut out, Shared::of(shared))
            .unwrap()
            .unwrap();

        let sent = [&out[..], shared, &crc].concat();
        assert_eq!(frame(&sent).content, b"own a body of many publishers");
    }

    #[test]
    fn without_a_checksum_the_shared_part_is_the_end() {
        let mut out = Vec::new();

        let begun = Head::request(Protocol::V1, 1, 4_000, "a.B").begin(&mut out);
        let crc = begun.finish_with_shared(&mut out, Shared { len: 4, crc: 0 });

        assert_eq!(crc, Ok(None));
        out.extend(b"body");
        assert_eq!(frame(&out).content, b"body");
    }

    #[test]
    fn a_content_beyond_the_length_field_is_an_error_that_leaves_nothing() {
        for protocol in [Protocol::V1, Protocol::V2 { crc: true }] {
            let mut out = b"a frame before".to_vec();
            let begun = Head::request(protocol, 1, 4_000, "a.B").begin(&mut out);
            out.extend(b"own");
            let len = i32::MAX as usize - 2;

            let written = begun.finish_with_shared(&mut out, Shared { len, crc: 0 });

            let (bytes, limit) = (len + 3, i32::MAX as usize);
            assert_eq!(written, Err(FrameError::TooLarge { bytes, limit }));
            assert_eq!(out, b"a frame before");
        }
    }
}
