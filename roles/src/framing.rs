//! Bolt as a way to cut bytes into frames.

use rollcall_core::bolt::{self, FrameError, Measured};
use rollcall_io::net::{FrameLen, Framing};

/// The framing of every client connection.
#[derive(Debug)]
pub(crate) struct Bolt;

impl Framing for Bolt {
    type Error = FrameError;

    fn frame_len(bytes: &[u8]) -> Result<FrameLen, FrameError> {
        Ok(match bolt::measure(bytes)? {
            Measured::Whole { len } => FrameLen::Complete(len),
            Measured::Incomplete { needed } => FrameLen::Incomplete { needed },
        })
    }
}
