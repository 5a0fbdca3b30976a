//! SOFABolt frames, spelled a second time for raw clients.
//!
//! Both versions of the protocol, with the checksum where it is on. Like [`crate::hessian`], it shares nothing with the server.

use std::fmt;

/// How a frame is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1, which all published clients speak.
    V1,
    /// Version 2 of the frame, version 1 of its contents: never a checksum.
    V2,
    /// Version 2 with the checksum switched on.
    V2Crc,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that wants an answer.
    Request,
    /// A request that wants none.
    OneWay,
    /// An answer with its status.
    Response(u16),
}

/// Command: heartbeat and its answer.
pub const HEARTBEAT: u16 = 0;
/// Command: a request.
pub const REQUEST: u16 = 1;
/// Command: an answer.
pub const RESPONSE: u16 = 2;

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// How it is laid out.
    pub layout: Layout,
    /// What it is.
    pub kind: Kind,
    /// The command.
    pub command: u16,
    /// The id that joins request and answer.
    pub id: u32,
    /// The codec of the content; 1 is Hessian.
    pub codec: u8,
    /// How long the sender of a request waits, in milliseconds.
    pub timeout_ms: i32,
    /// The Java class of the content.
    pub class: String,
    /// One encoded value.
    pub content: Vec<u8>,
}

impl fmt::Debug for Frame {
    /// The head: a content is long, and a failing test heard many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, bytes) = (
            self.class.rsplit('.').next().unwrap_or_default(),
            self.content.len(),
        );
        write!(
            f,
            "{:?} {:?} {} {class} of {bytes} bytes",
            self.layout, self.kind, self.id
        )
    }
}

impl Frame {
    /// A request as the Java client sends it.
    pub fn request(id: u32, class: &str, content: Vec<u8>) -> Self {
        let class = class.to_owned();
        Self {
            layout: Layout::V1,
            kind: Kind::Request,
            command: REQUEST,
            id,
            codec: 1,
            timeout_ms: 1_000,
            class,
            content,
        }
    }

    /// A heartbeat as the Java client sends it.
    pub fn heartbeat(id: u32) -> Self {
        Self {
            command: HEARTBEAT,
            timeout_ms: -1,
            ..Self::request(id, "", Vec::new())
        }
    }

    /// The answer to this request.
    pub fn answer(&self, status: u16, class: &str, content: Vec<u8>) -> Self {
        let command = if self.command == HEARTBEAT {
            HEARTBEAT
        } else {
            RESPONSE
        };
        Self {
            kind: Kind::Response(status),
            command,
            class: class.to_owned(),
            content,
            ..self.clone()
        }
    }

    /// The bytes of this frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = match self.layout {
            Layout::V1 => vec![1],
            Layout::V2 => vec![2, 1],
            Layout::V2Crc => vec![2, 2],
        };
        out.push(match self.kind {
            Kind::Response(_) => 0,
            Kind::Request => 1,
            Kind::OneWay => 2,
        });
        out.extend(self.command.to_be_bytes());
        out.push(1);
        out.extend(self.id.to_be_bytes());
        out.push(self.codec);
        if self.layout != Layout::V1 {
            out.push(u8::from(self.layout == Layout::V2Crc));
        }
        match self.kind {
            Kind::Response(status) => out.extend(status.to_be_bytes()),
            _ => out.extend(self.timeout_ms.to_be_bytes()),
        }
        out.extend(
            u16::try_from(self.class.len())
                .expect("class names are short")
                .to_be_bytes(),
        );
        out.extend([0, 0]);
        out.extend(
            u32::try_from(self.content.len())
                .expect("tests send less than 4 GiB")
                .to_be_bytes(),
        );
        out.extend(self.class.bytes());
        out.extend(&self.content);
        if self.layout == Layout::V2Crc {
            out.extend(crc_32(&out).to_be_bytes());
        }
        out
    }

    /// The frame at the start of `bytes` and its length, or nothing while it is incomplete.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (start, layout) = match bytes.first()? {
            1 => (1, Layout::V1),
            2 if *bytes.get(1)? == 1 => (2, Layout::V2),
            2 if *bytes.get(11)? == 0 => (2, Layout::V2),
            2 => (2, Layout::V2Crc),
            other => panic!("the server sent protocol {other}"),
        };
        let codec_end = start + 9 + usize::from(start == 2);
        let response = *bytes.get(start)? == 0;
        let lengths = codec_end + if response { 2 } else { 4 };
        let body = lengths + 8;
        if bytes.len() < body {
            return None;
        }
        let number = |at: usize, length: usize| {
            bytes[at..at + length]
                .iter()
                .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        };
        let size =
            |at: usize, length: usize| usize::try_from(number(at, length)).expect("32 bits fit");
        let (class, header, content) =
            (size(lengths, 2), size(lengths + 2, 2), size(lengths + 4, 4));
        let end = body + class + header + content;
        let whole = end + if layout == Layout::V2Crc { 4 } else { 0 };
        if bytes.len() < whole {
            return None;
        }
        if layout == Layout::V2Crc {
            assert_eq!(
                number(end, 4),
                crc_32(&bytes[..end]),
                "the server's checksum"
            );
        }
        let narrow = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let frame = Self {
            layout,
            kind: match bytes[start] {
                0 => Kind::Response(narrow(codec_end)),
                1 => Kind::Request,
                _ => Kind::OneWay,
            },
            command: narrow(start + 1),
            id: number(start + 4, 4),
            codec: bytes[start + 8],
            timeout_ms: if response {
                0
            } else {
                number(codec_end, 4).cast_signed()
            },
            class: String::from_utf8_lossy(&bytes[body..body + class]).into_owned(),
            content: bytes[end - content..end].to_vec(),
        };
        Some((frame, whole))
    }
}

/// The checksum of zlib, bit by bit.
pub fn crc_32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc_32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_heartbeat_looks_like_that_of_the_java_client() {
        let bytes = [
            1, 1, 0, 0, 1, 0, 0, 0, 5, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(Frame::heartbeat(5).encode(), bytes);
    }

    #[test]
    fn frames_survive_in_every_layout() {
        for layout in [Layout::V1, Layout::V2, Layout::V2Crc] {
            let request = Frame {
                layout,
                ..Frame::request(7, "a.Class", vec![1, 2, 3])
            };
            let answer = request.answer(2, "b.Class", vec![9; 40]);
            let bytes = [request.encode(), answer.encode()].concat();
            let first = request.encode().len();

            assert_eq!(Frame::decode(&bytes), Some((request, first)));
            assert_eq!(Frame::decode(&bytes[first..bytes.len() - 1]), None);
            let answer = Frame {
                timeout_ms: 0,
                ..answer
            };
            assert_eq!(
                Frame::decode(&bytes[first..]),
                Some((answer, bytes.len() - first))
            );
        }
    }
}
