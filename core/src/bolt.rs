//! SOFABolt frames, both protocol versions: what travels on every connection between a client and a session.
//!
//! A frame is a fixed header, a class name, an opaque header part and one serialized object; version 2 may end in a
//! checksum. [`decode`] borrows from the bytes received and allocates nothing; [`Head::begin`] writes straight into the
//! buffer that will be sent.

mod decode;
mod error;
mod frame;
mod status;
mod write;

pub use decode::{Decoded, Measured, decode, measure};
pub use error::{Consequence, FrameError};
pub use frame::{CODEC_HESSIAN, Frame, Kind, Protocol};
pub use status::Status;
pub use write::{Begun, Head, Shared, write_heartbeat_ack};
