//! Decodes the frame of a registration and answers it with success: what answering costs without a registry behind it.

use rollcall_core::bolt::{Frame, Head, Kind, Status, write_heartbeat_ack};
use rollcall_core::message::{
    BaseRegister, PublisherRegister, RegisterResponse, SubscriberRegister, publisher_register,
    register_response,
};

use super::ring::{Answers, Broadcast};

/// The server without a registry.
#[derive(Debug)]
pub(super) struct Toy;

impl Answers for Toy {
    fn frame(&mut self, _: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            Kind::Heartbeat { .. } => write_heartbeat_ack(out, frame),
            Kind::Request { .. } => answer(frame, out),
            _ => {}
        }
    }

    fn ignores(&self, _: usize) -> bool {
        false
    }

    fn broadcast(&mut self) -> Option<Broadcast> {
        None
    }
}

/// Appends success to a registration of any kind.
pub(super) fn answer(frame: &Frame<'_>, out: &mut Vec<u8>) {
    if let Some(base) = base(frame) {
        let response = RegisterResponse {
            success: true,
            regist_id: base.regist_id,
            version: base.version.unwrap_or(0),
            refused: false,
            message: None,
        };
        Head::answer(frame, Status::Success, register_response::CLASS)
            .write(out, |out| response.encode(out));
    }
}

fn base<'a>(frame: &Frame<'a>) -> Option<BaseRegister<'a>> {
    if frame.class == publisher_register::CLASS.as_bytes() {
        return PublisherRegister::decode(frame.content)
            .ok()
            .map(|message| message.base);
    }
    SubscriberRegister::decode(frame.content)
        .ok()
        .map(|message| message.base)
}
