//! Why bytes are no Bolt frame, and what the sender should see of it.

use std::fmt;

use super::Status;

/// Why the bytes at the head of a connection's buffer are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte is neither 1 nor 2.
    UnknownProtocol {
        /// The byte.
        code: u8,
    },
    /// The version byte of protocol 2 is neither 1 nor 2.
    UnknownVersion {
        /// The byte.
        version: u8,
    },
    /// The type is not response, request or one-way.
    UnknownType {
        /// The byte.
        code: u8,
    },
    /// The command is not heartbeat, request or response, or contradicts the type.
    UnknownCommand {
        /// The type it came with.
        type_byte: u8,
        /// The command.
        code: u16,
    },
    /// The switch of protocol 2 has its highest bit set.
    BadSwitch {
        /// The byte.
        switch: u8,
    },
    /// A response with a status that does not exist.
    UnknownStatus {
        /// The number.
        code: u16,
    },
    /// A length is negative.
    NegativeLength {
        /// Which part of the frame: class, header or content.
        part: &'static str,
        /// The length as sent.
        length: i32,
    },
    /// The class name is longer than a class name may be.
    ClassTooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The whole frame is longer than a frame may be.
    TooLarge {
        /// Its length, all parts together.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The checksum is wrong.
    WrongCrc {
        /// The checksum in the frame.
        sent: u32,
        /// The checksum of the frame.
        computed: u32,
    },
}

/// What a peer sees when something it sent cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The connection is closed without a word.
    Close,
    /// A response with this status and an exception as its content; nothing at all for a one-way request.
    Answer(Status),
    /// The normal answer of the request with `success` = false and the reason as its message.
    Refuse,
}

impl FrameError {
    /// What a Java Bolt server does about it: where frames begin is no longer known, so it closes.
    pub fn consequence(&self) -> Consequence {
        Consequence::Close
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownProtocol { code } => write!(f, "protocol {code:#04x}: must be 1 or 2"),
            Self::UnknownVersion { version } => {
                write!(f, "version {version} of protocol 2: must be 1 or 2")
            }
            Self::UnknownType { code } => write!(f, "frame type {code}: must be 0, 1 or 2"),
            Self::UnknownCommand { type_byte, code } => {
                write!(f, "command {code} in a frame of type {type_byte}")
            }
            Self::BadSwitch { switch } => write!(f, "switch {switch:#04x}: must be below 0x80"),
            Self::UnknownStatus { code } => write!(f, "response status {code:#06x}"),
            Self::NegativeLength { part, length } => write!(f, "{part} of {length} bytes"),
            Self::ClassTooLong { bytes, limit } => {
                write!(f, "class name of {bytes} bytes: limit is {limit}")
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "frame of {bytes} bytes: limit is {limit}")
            }
            Self::WrongCrc { sent, computed } => {
                write!(
                    f,
                    "checksum {sent:#010x} of a frame whose checksum is {computed:#010x}"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}
