//! Bolt as a way to cut bytes into frames.

use rollcall_core::bolt::{self, Decoded, FrameError};
use rollcall_io::net::{FrameLen, Framing};

/// The framing of every client connection.
#[derive(Debug)]
pub(crate) struct Bolt;

impl Framing for Bolt {
    type Error = FrameError;

    fn frame_len(bytes: &[u8]) -> Result<FrameLen, FrameError> {
        Ok(match bolt::decode(bytes)? {
            Decoded::Frame { len, .. } => FrameLen::Complete(len),
            Decoded::Incomplete { needed } => FrameLen::Incomplete { needed },
        })
    }
}
