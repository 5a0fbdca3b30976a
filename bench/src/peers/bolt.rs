//! SOFABolt with Hessian: Rollcall, its yardsticks, and SOFARegistry.

use std::io;

use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::{Boxes, ReceivedData, received_data};

use super::{Dialect, Heard, PUBLISHER};
use crate::clients::first_frame;
use crate::crowd::is_taken;
use crate::target::Kind;
use crate::wire::{self, Expected, Registration};

const DATA_ID: &str = "com.example.Fanout:1.0@DEFAULT";

/// Clients of one service.
#[derive(Debug)]
pub(super) struct Bolt {
    kind: Kind,
    acknowledgement: Vec<u8>,
    register_ids: Vec<String>,
    /// Nothing before the first change.
    expected: Option<Expected>,
}

impl Bolt {
    /// So many subscribers, with their connections numbered from 1.
    pub(super) fn new(kind: Kind, subscribers: usize) -> Self {
        Self {
            kind,
            acknowledgement: wire::acknowledgement(),
            register_ids: (1..=subscribers)
                .map(|number| wire::register_id(2, number))
                .collect(),
            expected: None,
        }
    }

    /// SOFARegistry refuses a registration that comes before it has noted the connection, on another of its threads. Its clients try again.
    fn may_try_again(&self, connection: usize) -> bool {
        self.kind == Kind::Sofaregistry && connection != PUBLISHER && self.expected.is_none()
    }

    fn on_push(&self, subscriber: usize, frame: &Frame<'_>) -> Heard {
        let Some(expected) = &self.expected else {
            let push = ReceivedData::decode(frame.content).ok();
            return push
                .and_then(|push| push.version)
                .map_or(Heard::Wrong, Heard::Ready);
        };
        let named = self
            .kind
            .names_subscribers()
            .then(|| self.register_ids[subscriber - 1].as_str());
        expected
            .version_of(frame.content, named)
            .map_or(Heard::Wrong, Heard::Value)
    }
}

impl Dialect for Bolt {
    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>) {
        let registration = Registration {
            data_id: DATA_ID.to_owned(),
            register_id: self.register_ids[subscriber - 1].clone(),
            version: 1,
        };
        registration.subscribe(1, out);
    }

    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>) {
        let boxes: Boxes = [text].into_iter().collect();
        let registration = Registration {
            data_id: DATA_ID.to_owned(),
            register_id: wire::register_id(1, 0),
            version: i64::try_from(change).expect("a run ends"),
        };
        let request_id = u32::try_from(change).expect("a run ends");
        registration.publish(request_id, &boxes, out);
        self.expected = Some(Expected::new(DATA_ID, boxes));
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        wire::heartbeat(0, out);
    }

    fn must_ping(&self) -> bool {
        true
    }

    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        let Some((frame, len)) = first_frame(bytes)? else {
            return Ok(None);
        };
        let heard = match frame.kind {
            FrameKind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                let heard = self.on_push(connection, &frame);
                if self.kind.is_acknowledged() {
                    wire::append_as(out, &self.acknowledgement, frame.request_id);
                }
                heard
            }
            FrameKind::HeartbeatAck { .. } => Heard::Pong,
            FrameKind::Response { .. } if is_taken(&frame) => Heard::Nothing,
            FrameKind::Response { .. } if self.may_try_again(connection) => {
                self.subscribe(connection, out);
                Heard::Nothing
            }
            _ => Heard::Wrong,
        };
        Ok(Some((heard, len)))
    }
}
