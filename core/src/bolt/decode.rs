//! Bytes to [`Frame`], without allocation and without trust.
//!
//! Layout, all integers big-endian and signed (v1 has neither `version` nor `switch`):
//!
//! ```text
//! protocol:1 [version:1] type:1 command:2 command version:1 request id:4 codec:1 [switch:1]
//! timeout:4 (response: status:2)  class length:2  header length:2  content length:4
//! class, header, content  [CRC-32:4, if version is 2 and bit 0 of switch is set]
//! ```

use super::frame::STATUS_SHORTER;
use super::{Frame, FrameError, Kind, Protocol, Status};
use crate::limits::{CLASS_NAME_BYTES_MAX, FRAME_BYTES_MAX};

/// What the bytes at the head of a connection's buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// How many bytes it took, checksum included.
        len: usize,
    },
    /// The beginning of a frame.
    Incomplete {
        /// How long the frame is as far as its head tells; always more than there is, never more than a frame may be.
        needed: usize,
    },
}

const CRC_LEN: usize = 4;
/// Bit 0 of the switch: a checksum follows.
const SWITCH_CRC: u8 = 1;
/// Above it the Java decoder fails, or worse.
const SWITCH_MAX: u8 = 0x7f;
/// The four length fields end the fixed header: class 2, header 2, content 4.
const LENGTHS_LEN: usize = 8;

/// How long the frame at the head of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// All of it is there, checksum included.
    Whole {
        /// How many bytes it takes.
        len: usize,
    },
    /// The beginning of a frame, as in [`Decoded::Incomplete`].
    Incomplete {
        /// How long the frame is as far as its head tells.
        needed: usize,
    },
}

/// Measures the frame at the head of `bytes`. What is wrong is found as soon as its byte is there, apart from the checksum: whoever
/// decodes the frame sums it.
pub fn measure(bytes: &[u8]) -> Result<Measured, FrameError> {
    Ok(match FixedHeader::of(bytes)? {
        Ok(head) if head.len <= bytes.len() => Measured::Whole { len: head.len },
        Ok(head) => Measured::Incomplete { needed: head.len },
        Err(Begun { needed }) => Measured::Incomplete { needed },
    })
}

/// Decodes the frame at the head of `bytes`. What is wrong is found as soon as its byte is there.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, FrameError> {
    let head = match FixedHeader::of(bytes)? {
        Ok(head) => head,
        Err(Begun { needed }) => return Ok(Decoded::Incomplete { needed }),
    };
    let len = head.len;
    let Some(frame) = bytes.get(..len) else {
        return Ok(Decoded::Incomplete { needed: len });
    };
    verify_crc(frame, head.protocol)?;
    let (class, rest) = frame[head.header_len..].split_at(head.lengths.class);
    let (header, rest) = rest.split_at(head.lengths.header);
    let content = &rest[..head.lengths.content];
    let frame = Frame {
        protocol: head.protocol,
        kind: head.kind,
        codec: head.codec,
        request_id: head.request_id,
        class,
        header,
        content,
    };
    Ok(Decoded::Frame { frame, len })
}

/// The fixed header of a frame.
struct FixedHeader {
    protocol: Protocol,
    kind: Kind,
    codec: u8,
    request_id: u32,
    lengths: Lengths,
    header_len: usize,
    /// Of the whole frame.
    len: usize,
}

/// A fixed header that is not all there.
struct Begun {
    needed: usize,
}

impl FixedHeader {
    fn of(bytes: &[u8]) -> Result<Result<Self, Begun>, FrameError> {
        let Some(shape) = Shape::of(bytes)? else {
            let needed = header_len_min(bytes);
            return Ok(Err(Begun { needed }));
        };
        let header_len = shape.header_len;
        let Some(head) = bytes.get(..header_len) else {
            return Ok(Err(Begun { needed: header_len }));
        };
        let mut fields = Fields {
            rest: &head[shape.fields_at..],
        };
        let command = u16::from_be_bytes(fields.take());
        let _command_version: [u8; 1] = fields.take();
        let request_id = u32::from_be_bytes(fields.take());
        let [codec] = fields.take();
        let protocol = match shape.protocol {
            Protocol::V1 => Protocol::V1,
            v2 => with_switch(v2, fields.take())?,
        };
        let kind = kind(shape.type_byte, command, &mut fields)?;
        let lengths = Lengths::take(&mut fields)?;
        let len = lengths.frame_len(header_len, protocol)?;
        Ok(Ok(Self {
            protocol,
            kind,
            codec,
            request_id,
            lengths,
            header_len,
            len,
        }))
    }
}

/// What the first bytes say about the header that follows.
struct Shape {
    protocol: Protocol,
    type_byte: u8,
    fields_at: usize,
    header_len: usize,
}

impl Shape {
    fn of(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let (protocol, type_at) = match *bytes {
            [] | [2] => return Ok(None),
            [1, ..] => (Protocol::V1, 1),
            [2, 1, ..] => (Protocol::V2Plain, 2),
            [2, 2, ..] => (Protocol::V2 { crc: false }, 2),
            [2, version, ..] => return Err(FrameError::UnknownVersion { version }),
            [code, ..] => return Err(FrameError::UnknownProtocol { code }),
        };
        let header_len = match bytes.get(type_at) {
            None => return Ok(None),
            Some(0) => protocol.request_header_len() - STATUS_SHORTER,
            Some(1 | 2) => protocol.request_header_len(),
            Some(&code) => return Err(FrameError::UnknownType { code }),
        };
        Ok(Some(Self {
            protocol,
            type_byte: bytes[type_at],
            fields_at: type_at + 1,
            header_len,
        }))
    }
}

/// The least a frame takes that begins with these bytes, as long as its type is not there.
fn header_len_min(bytes: &[u8]) -> usize {
    let protocol = if bytes.first() == Some(&2) {
        Protocol::V2Plain
    } else {
        Protocol::V1
    };
    protocol.request_header_len() - STATUS_SHORTER
}

/// Walks over the fixed header, whose length was checked before.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .expect("the fixed header is complete");
        self.rest = rest;
        *field
    }
}

fn with_switch(protocol: Protocol, [switch]: [u8; 1]) -> Result<Protocol, FrameError> {
    if switch > SWITCH_MAX {
        return Err(FrameError::BadSwitch { switch });
    }
    Ok(match protocol {
        Protocol::V2 { .. } => Protocol::V2 {
            crc: switch & SWITCH_CRC != 0,
        },
        plain => plain,
    })
}

fn kind(type_byte: u8, command: u16, fields: &mut Fields<'_>) -> Result<Kind, FrameError> {
    if type_byte == 0 {
        let code = u16::from_be_bytes(fields.take());
        let status = Status::from_code(code).ok_or(FrameError::UnknownStatus { code });
        return match command {
            0 => Ok(Kind::HeartbeatAck { status: status? }),
            2 => Ok(Kind::Response { status: status? }),
            code => Err(FrameError::UnknownCommand { type_byte, code }),
        };
    }
    let timeout_ms = i32::from_be_bytes(fields.take());
    match (type_byte, command) {
        // A one-way heartbeat is acknowledged by Java like any other.
        (1 | 2, 0) => Ok(Kind::Heartbeat { timeout_ms }),
        (1, 1) => Ok(Kind::Request { timeout_ms }),
        (2, 1) => Ok(Kind::OneWay { timeout_ms }),
        (_, code) => Err(FrameError::UnknownCommand { type_byte, code }),
    }
}

struct Lengths {
    class: usize,
    header: usize,
    content: usize,
}

impl Lengths {
    fn take(fields: &mut Fields<'_>) -> Result<Self, FrameError> {
        debug_assert_eq!(fields.rest.len(), LENGTHS_LEN);
        let class = i16::from_be_bytes(fields.take()).into();
        let header = i16::from_be_bytes(fields.take()).into();
        let content = i32::from_be_bytes(fields.take());
        Ok(Self {
            class: not_negative("class", class)?,
            header: not_negative("header", header)?,
            content: not_negative("content", content)?,
        })
    }

    /// The whole frame's length; the limits are checked before anybody waits for or keeps its bytes.
    fn frame_len(&self, header_len: usize, protocol: Protocol) -> Result<usize, FrameError> {
        if self.class > CLASS_NAME_BYTES_MAX {
            return Err(FrameError::ClassTooLong {
                bytes: self.class,
                limit: CLASS_NAME_BYTES_MAX,
            });
        }
        let crc = if protocol.has_crc() { CRC_LEN } else { 0 };
        let bytes = header_len + self.class + self.header + self.content + crc;
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge {
                bytes,
                limit: FRAME_BYTES_MAX,
            });
        }
        Ok(bytes)
    }
}

fn not_negative(part: &'static str, length: i32) -> Result<usize, FrameError> {
    usize::try_from(length).map_err(|_| FrameError::NegativeLength { part, length })
}

fn verify_crc(frame: &[u8], protocol: Protocol) -> Result<(), FrameError> {
    if !protocol.has_crc() {
        return Ok(());
    }
    let (summed, crc) = frame
        .split_last_chunk()
        .expect("the length includes the checksum");
    let sent = u32::from_be_bytes(*crc);
    let computed = crc32fast::hash(summed);
    if sent == computed {
        Ok(())
    } else {
        Err(FrameError::WrongCrc { sent, computed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: &[u8] =
        b"\x01\x01\x00\x00\x01\x00\x00\x00\x09\x01\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00";
    /// Version 2, version byte 1, switch 1: promises a checksum that never comes.
    const PLAIN: &[u8] = b"\x02\x01\x00\x00\x02\x01\x00\x00\x00\x09\x01\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02no";

    fn changed(at: usize, byte: u8) -> FrameError {
        let mut bytes = HEARTBEAT.to_vec();
        bytes[at] = byte;
        decode(&bytes).unwrap_err()
    }

    #[test]
    fn golden_bytes() {
        let Decoded::Frame { frame, len } = decode(HEARTBEAT).unwrap() else {
            panic!("incomplete")
        };

        assert_eq!(len, HEARTBEAT.len());
        assert_eq!(frame.kind, Kind::Heartbeat { timeout_ms: -1 });
        assert_eq!(
            (frame.protocol, frame.codec, frame.request_id),
            (Protocol::V1, 1, 9)
        );
        assert_eq!(
            (frame.class, frame.header, frame.content),
            (&b""[..], &b""[..], &b""[..])
        );
    }

    #[test]
    fn a_switch_without_the_version_for_it_means_no_checksum() {
        let Decoded::Frame { frame, len } = decode(PLAIN).unwrap() else {
            panic!("incomplete")
        };

        assert_eq!(len, PLAIN.len());
        assert_eq!(frame.protocol, Protocol::V2Plain);
        assert_eq!(frame.content, b"no");
        assert_eq!(
            frame.kind,
            Kind::Response {
                status: Status::ServerThreadPoolBusy
            }
        );
    }

    #[test]
    fn measuring_a_frame_does_not_sum_it() {
        let mut summed = b"\x02\x02".to_vec();
        summed.extend_from_slice(&PLAIN[2..]);
        summed.extend_from_slice(b"\0\0\0\0");

        assert_eq!(measure(&summed), Ok(Measured::Whole { len: summed.len() }));
        assert!(matches!(decode(&summed), Err(FrameError::WrongCrc { .. })));
        for len in 1..summed.len() {
            let Ok(Decoded::Incomplete { needed }) = decode(&summed[..len]) else {
                panic!("{len}")
            };
            assert_eq!(measure(&summed[..len]), Ok(Measured::Incomplete { needed }));
        }
    }

    #[test]
    fn what_follows_a_frame_is_not_looked_at() {
        let two = [HEARTBEAT, b"rubbish"].concat();

        assert!(matches!(decode(&two), Ok(Decoded::Frame { len: 22, .. })));
    }

    #[test]
    fn every_truncation_is_incomplete() {
        for whole in [HEARTBEAT, PLAIN] {
            for len in 0..whole.len() {
                let Ok(Decoded::Incomplete { needed }) = decode(&whole[..len]) else {
                    panic!("{len}")
                };
                assert!(needed > len && needed <= whole.len());
            }
        }
    }

    #[test]
    fn every_field_out_of_range_is_an_error() {
        assert_eq!(changed(0, 3), FrameError::UnknownProtocol { code: 3 });
        assert_eq!(changed(1, 3), FrameError::UnknownType { code: 3 });
        assert_eq!(
            changed(3, 2),
            FrameError::UnknownCommand {
                type_byte: 1,
                code: 2
            }
        );
        assert_eq!(
            changed(14, 0xff),
            FrameError::NegativeLength {
                part: "class",
                length: -256
            }
        );
        assert_eq!(
            changed(16, 0x80),
            FrameError::NegativeLength {
                part: "header",
                length: -32_768
            }
        );
        assert_eq!(
            changed(18, 0x80),
            FrameError::NegativeLength {
                part: "content",
                length: i32::MIN
            }
        );
        assert_eq!(
            changed(14, 0x7f),
            FrameError::ClassTooLong {
                bytes: 0x7f00,
                limit: CLASS_NAME_BYTES_MAX
            }
        );
    }

    #[test]
    fn an_error_is_seen_as_soon_as_its_byte() {
        assert_eq!(
            decode(b"\x03"),
            Err(FrameError::UnknownProtocol { code: 3 })
        );
        assert_eq!(
            decode(b"\x02\x03"),
            Err(FrameError::UnknownVersion { version: 3 })
        );
        assert_eq!(
            decode(b"\x01\x07"),
            Err(FrameError::UnknownType { code: 7 })
        );
        assert_eq!(
            decode(b"\x01\x07").unwrap_err().consequence(),
            super::super::Consequence::Close
        );
    }
}
