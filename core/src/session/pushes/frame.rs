//! A push as bytes: the small own part of a group in front of the body that all share.

use std::rc::Rc;

use crate::bolt::{FrameError, Head, Protocol, Shared};
use crate::limits;
use crate::message::{received_config_data, received_data};
use crate::session::index::{ConnectionIndex, Index};
use crate::session::lane::Slice;

use super::Pushes;
use super::body::Body;

/// The own bytes of a push, and the body to be sent after them.
#[derive(Debug)]
pub struct Written {
    /// Shared by all pushes of this body.
    pub body: Rc<Body>,
    /// Checksum to be sent after the body, where the protocol has one.
    pub tail: Option<[u8; 4]>,
}

impl Pushes {
    /// Appends the own bytes of a push to `out`. Nothing if its connection or topic went meanwhile, or if its list is longer than a frame can be.
    pub(in crate::session) fn write(
        &mut self,
        connection: ConnectionIndex,
        protocol: Protocol,
        request_id: u32,
        out: &mut Vec<u8>,
    ) -> Result<Option<Written>, FrameError> {
        let Some(push) = self.in_flight.find(connection, request_id) else {
            return Ok(None);
        };
        let push = &mut push.sending;
        let group = &self.groups[push.group.place()];
        let topic = &mut self.topics[group.topic.place()];
        let (Some(body), Some(version)) = (topic.body.as_ref(), topic.version) else {
            return Ok(None);
        };
        // The body is the topic's newest, and so the version that goes with it.
        push.version = version;
        let crc = match topic.crc {
            Some(crc) => crc,
            None if protocol.has_crc() => *topic.crc.insert(crc32fast::hash(body)),
            None => 0,
        };
        let listed = group
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.carried_by == Some(request_id));
        let register_ids = listed.map(|subscriber| &subscriber.register_id);
        let id = &topic.key.data_info_id;
        let class = match topic.key.slice {
            Slice::Config => received_config_data::CLASS,
            Slice::All | Slice::Zone(_) | Slice::Nothing => received_data::CLASS,
        };
        let timeout_ms = i32::try_from(limits::PUSH_TIMEOUT.as_millis()).expect("a few seconds");
        let begun = Head::request(protocol, request_id, timeout_ms, class).begin(out);
        match topic.key.slice {
            Slice::Config => {
                received_config_data::write_prefix(out, id, push.version.wire(), register_ids)
            }
            Slice::All | Slice::Zone(_) | Slice::Nothing => {
                let prefix = received_data::Prefix {
                    data_info_id: id,
                    segment: &self.segment,
                    scope: group.scope,
                    version: push.version.wire(),
                    local_zone: &group.zone,
                };
                received_data::write_prefix(out, &prefix, register_ids);
            }
        }
        let tail = begun.finish_with_shared(
            out,
            Shared {
                len: body.len(),
                crc,
            },
        )?;
        Ok(Some(Written {
            body: Rc::clone(body),
            tail,
        }))
    }
}
