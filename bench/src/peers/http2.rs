//! As much of HTTP/2 as a gRPC client needs that never has more than a few calls under way: frames, calls, messages. What the server's headers
//! say is not read; a call that fails says nothing else, and that is noticed.

use std::io;

use super::invalid;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HEAD_LEN: usize = 9;
/// The longest frame that a server must take.
const FRAME_MAX: usize = 16 << 10;
/// The largest window there is: a run never receives as much on one connection, so that it is granted once.
const WINDOW: u32 = (1 << 31) - 1;
/// What a window is before anything is granted.
const WINDOW_FIRST: u32 = (1 << 16) - 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// One byte that says that a message is not compressed, and its length.
const MESSAGE_HEAD_LEN: usize = 5;

/// A frame of any kind.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The frame that bytes begin with, if it is complete, and its length.
pub(super) fn first_frame(bytes: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    let Some(head) = bytes.first_chunk::<HEAD_LEN>() else {
        return Ok(None);
    };
    let [l0, l1, l2, kind, flags, stream @ ..] = *head;
    let end = HEAD_LEN + usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).expect("24 bits");
    let Some(payload) = bytes.get(HEAD_LEN..end) else {
        return Ok(None);
    };
    if kind == DATA && flags & PADDED != 0 {
        return Err(invalid("padded data"));
    }
    let stream = u32::from_be_bytes(stream);
    let frame = Frame {
        kind,
        flags,
        stream,
        payload,
    };
    Ok(Some((frame, end)))
}

/// Appends what a client says first.
pub(super) fn preface(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut window = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    window.extend_from_slice(&WINDOW.to_be_bytes());
    frame(SETTINGS, 0, 0, &window, out);
    let more = WINDOW - WINDOW_FIRST;
    frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), out);
}

/// Appends the begin of a call.
pub(super) fn call(stream: u32, path: &str, out: &mut Vec<u8>) {
    // By number in HPACK's static table: method POST, scheme http; then names by number with a value; then one with both.
    let mut block = vec![0x83, 0x86];
    text(&[0x04], path, &mut block);
    text(&[0x01], "localhost", &mut block);
    text(&[0x0f, 0x10], "application/grpc", &mut block);
    text(&[0x00], "te", &mut block);
    text(&[], "trailers", &mut block);
    frame(HEADERS, END_HEADERS, stream, &block, out);
}

/// Appends a message of a call, and perhaps the end of this side of it. It must fit the window that the server grants, which servers have
/// full again when they have answered; r-nacos grants 1 MiB.
pub(super) fn message(stream: u32, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) {
    let mut message = vec![0];
    let len = u32::try_from(bytes.len()).expect("messages are small");
    message.extend_from_slice(&len.to_be_bytes());
    message.extend_from_slice(bytes);
    let mut parts = message.chunks(FRAME_MAX).peekable();
    while let Some(part) = parts.next() {
        let ends = is_last && parts.peek().is_none();
        frame(DATA, if ends { END_STREAM } else { 0 }, stream, part, out);
    }
}

/// The message that the data of a call begins with, if it is complete, and its length with its head.
pub(super) fn first_message(data: &[u8]) -> Option<(&[u8], usize)> {
    let len = data.get(1..)?.first_chunk()?;
    let end = MESSAGE_HEAD_LEN + usize::try_from(u32::from_be_bytes(*len)).expect("32 bits");
    Some((data.get(MESSAGE_HEAD_LEN..end)?, end))
}

/// Appends a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(payload.len()).expect("frames are small");
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a short text behind its length, as it is.
fn text(before: &[u8], text: &str, block: &mut Vec<u8>) {
    block.extend_from_slice(before);
    block.push(u8::try_from(text.len()).expect("a short text"));
    block.extend_from_slice(text.as_bytes());
}
