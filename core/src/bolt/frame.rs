//! One Bolt frame as it was received, borrowed from the connection's buffer.

use super::Status;

/// The only codec of the registry's clients: Hessian, the 3.x dialect.
pub const CODEC_HESSIAN: u8 = 1;

/// A frame without its checksum, which [`decode`](super::decode) has already verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the peer spoke in this frame; answer in the same.
    pub protocol: Protocol,
    /// What the frame is, with its time-out or status.
    pub kind: Kind,
    /// How the content is serialized; answers repeat it.
    pub codec: u8,
    /// Pairs a response with its request; each side counts its own requests.
    pub request_id: u32,
    /// Name of the content's class; empty for heartbeats and null results.
    pub class: &'a [u8],
    /// Bytes that Bolt carries and the registry does not use.
    pub header: &'a [u8],
    /// One serialized object.
    pub content: &'a [u8],
}

/// The framing a peer speaks, as far as an answer must repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Version 1: what all known registry clients speak.
    V1,
    /// Version 2 whose own version byte is 1: never has a checksum, whatever its switch says.
    V2Plain,
    /// Version 2 whose own version byte is 2: the switch decides per frame about the checksum.
    V2 {
        /// Whether a CRC-32 of the whole frame follows the content.
        crc: bool,
    },
}

impl Protocol {
    /// Whether frames of this protocol end in a checksum.
    pub fn has_crc(self) -> bool {
        self == Self::V2 { crc: true }
    }

    /// How many bytes the fixed header of a request takes; that of a response is shorter by [`STATUS_SHORTER`].
    pub(super) fn request_header_len(self) -> usize {
        match self {
            Self::V1 => 22,
            Self::V2Plain | Self::V2 { .. } => 24,
        }
    }
}

/// A response has a status of two bytes where a request has a time-out of four.
pub(super) const STATUS_SHORTER: usize = 2;

/// What a frame is. Only the combinations of type and command that mean something exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer.
    Request {
        /// How long the sender waits, in milliseconds; negative is no limit.
        timeout_ms: i32,
    },
    /// Wants no answer, and must get none, not even an error.
    OneWay {
        /// Without meaning, but kept.
        timeout_ms: i32,
    },
    /// Asks for a sign of life.
    Heartbeat {
        /// How long the sender waits, in milliseconds; negative is no limit.
        timeout_ms: i32,
    },
    /// Answers a request.
    Response {
        /// How it went.
        status: Status,
    },
    /// Answers a heartbeat.
    HeartbeatAck {
        /// Always success from known peers.
        status: Status,
    },
}

impl Kind {
    /// The type byte on the wire.
    pub(super) fn type_byte(self) -> u8 {
        match self {
            Self::Response { .. } | Self::HeartbeatAck { .. } => 0,
            Self::Request { .. } | Self::Heartbeat { .. } => 1,
            Self::OneWay { .. } => 2,
        }
    }

    /// The command on the wire.
    pub(super) fn command(self) -> u16 {
        match self {
            Self::Heartbeat { .. } | Self::HeartbeatAck { .. } => 0,
            Self::Request { .. } | Self::OneWay { .. } => 1,
            Self::Response { .. } => 2,
        }
    }
}
