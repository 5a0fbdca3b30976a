//! What the kernel must do for one change to reach N subscribers: read the publish, send one ready frame N times, read what comes back.
//!
//! It behaves like the product as long as its clients set themselves up. From then on the bytes of subscribers are dropped unread.

use std::rc::Rc;

use rollcall_core::bolt::{Frame, Head, Kind, Protocol, write_heartbeat_ack};
use rollcall_core::limits;
use rollcall_core::message::{Boxes, PublisherRegister, publisher_register, received_data};

use super::ring::{Answers, Broadcast};
use super::toy;
use crate::wire;

/// The fan-out without a registry.
#[derive(Debug, Default)]
pub(super) struct Floor {
    subscribers: Vec<usize>,
    is_subscriber: Vec<bool>,
    changes: i64,
    to_send: Option<Broadcast>,
}

impl Answers for Floor {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            Kind::Heartbeat { .. } => write_heartbeat_ack(out, frame),
            Kind::Request { .. } if frame.class == publisher_register::CLASS.as_bytes() => {
                toy::answer(frame, out);
                self.publish(frame);
            }
            Kind::Request { .. } => {
                toy::answer(frame, out);
                out.extend_from_slice(&push(0, "", &Boxes::default()));
                self.subscribe(connection);
            }
            _ => {}
        }
    }

    fn ignores(&self, connection: usize) -> bool {
        self.is_subscriber.get(connection) == Some(&true)
    }

    fn broadcast(&mut self) -> Option<Broadcast> {
        self.to_send.take()
    }
}

impl Floor {
    fn subscribe(&mut self, connection: usize) {
        self.subscribers.push(connection);
        if self.is_subscriber.len() <= connection {
            self.is_subscriber.resize(connection + 1, false);
        }
        self.is_subscriber[connection] = true;
    }

    fn publish(&mut self, frame: &Frame<'_>) {
        let Ok(message) = PublisherRegister::decode(frame.content) else {
            return;
        };
        self.changes += 1;
        let data_id = message.base.data_id.unwrap_or_default();
        self.to_send = Some(Broadcast {
            frame: push(self.changes, &data_id, &message.boxes),
            to: self.subscribers.clone(),
        });
    }
}

fn push(change: i64, data_id: &str, boxes: &Boxes) -> Rc<[u8]> {
    // In the range of real versions, so that the frame is as long as the product's.
    let version = (1 << 50) + change;
    let content = wire::push_content(data_id, &wire::register_id(0, 0), version, boxes);
    let timeout_ms = i32::try_from(limits::PUSH_TIMEOUT.as_millis()).expect("a few seconds");
    let request_id = u32::try_from(change).expect("a run has fewer changes");
    let mut frame = Vec::new();
    Head::request(Protocol::V1, request_id, timeout_ms, received_data::CLASS)
        .write(&mut frame, |out| out.extend(content));
    frame.into()
}
