//! Why the content of a frame is no message of ours, and what its sender should see.

use std::fmt;

use crate::bolt::{Consequence, Status};
use crate::hessian::HessianError;

/// Why a frame's content is not the message it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Nobody handles this class.
    UnknownClass {
        /// The class of the frame.
        class: String,
    },
    /// The content is serialized in a way nobody here reads.
    UnknownCodec {
        /// The codec of the frame.
        codec: u8,
    },
    /// The content is empty or null.
    NoBody,
    /// The content is not Hessian, or does not fit its class.
    Malformed(HessianError),
    /// The content is an object of another class than the frame says.
    WrongClass {
        /// The class of the object.
        class: String,
    },
    /// A name, or the number of a publisher's texts, is larger than allowed.
    OverLimit {
        /// Which field.
        field: &'static str,
        /// Its size: bytes of a name, number of texts.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A name has half a surrogate pair.
    NotText {
        /// Which field.
        field: &'static str,
    },
}

impl MessageError {
    /// What the sender of a request should see.
    ///
    /// As the Java server, except where it would take what is refused here. For a class that nobody handles it answers
    /// `ServerException`, though there is a status of its own.
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::UnknownClass { .. } | Self::NoBody | Self::WrongClass { .. } => {
                Consequence::Answer(Status::ServerException)
            }
            Self::UnknownCodec { .. } | Self::Malformed(_) => {
                Consequence::Answer(Status::ServerDeserialException)
            }
            Self::OverLimit { .. } | Self::NotText { .. } => Consequence::Refuse,
        }
    }
}

impl From<HessianError> for MessageError {
    fn from(error: HessianError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The words of the Java server, for operators know them.
            Self::UnknownClass { class } => {
                write!(f, "No user processor found for request: {class}")
            }
            Self::UnknownCodec { codec } => write!(f, "codec {codec}: only 1 (Hessian) is known"),
            Self::NoBody => f.write_str("the content is empty"),
            Self::Malformed(error) => error.fmt(f),
            Self::WrongClass { class } => write!(f, "the content is a {class}"),
            Self::OverLimit { field, size, limit } => {
                write!(f, "{field} of size {size}: limit is {limit}")
            }
            Self::NotText { field } => write!(f, "{field} has half a surrogate pair"),
        }
    }
}

impl std::error::Error for MessageError {}
