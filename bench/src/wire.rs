//! What clients say and what they expect to hear, prepared so that the load generator neither encodes nor decodes in its inner loop.

use std::iter;

use rollcall_core::bolt::{Head, Kind, Protocol, Status};
use rollcall_core::message::received_data::{self, Prefix};
use rollcall_core::message::{
    BaseRegister, Boxes, PublisherRegister, PushResult, ReceivedData, SubscriberRegister,
    publisher_register, result, subscriber_register,
};
use rollcall_core::names::{DataInfoId, RegisterId, Scope};

/// The zone of all clients.
pub(crate) const ZONE: &str = "DEFAULT_ZONE";
const GROUP: &str = "SOFA";
const APP: &str = "bench";
/// An IPv4 address and a port.
const ADDRESS_LEN: usize = 6;
/// A canonical UUID without its dashes, in bytes instead of digits.
const UUID_LEN: usize = 16;
const TIMEOUT_MS: i32 = 1_000;
/// Where a frame of version 1 has its request id.
const REQUEST_ID_AT: usize = 5;
/// Length of a canonical UUID, the form of all registration ids.
const REGISTER_ID_LEN: usize = 36;

/// A registration id in the form clients use, which tells publishers and subscribers of any number apart.
pub(crate) fn register_id(kind: u16, number: usize) -> String {
    format!("00000000-0000-4000-{kind:04x}-{number:012x}")
}

/// Who registers what.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// The service.
    pub(crate) data_id: String,
    /// The client's name for the registration.
    pub(crate) register_id: String,
    /// Counts what the client said about it.
    pub(crate) version: i64,
}

impl Registration {
    fn base(&self) -> BaseRegister<'_> {
        BaseRegister {
            zone: Some(ZONE.into()),
            app_name: Some(APP.into()),
            data_id: Some(self.data_id.as_str().into()),
            group: Some(GROUP.into()),
            regist_id: Some(self.register_id.as_str().into()),
            version: Some(self.version),
            timestamp: Some(1_795_322_736_982 + self.version),
            ..BaseRegister::default()
        }
    }

    /// Bytes of what nobody could leave out to know it again: its names, its id as the UUID it is, the client's address, and this text.
    pub(crate) fn own_len(&self, text: &str) -> usize {
        let names = [self.data_id.as_str(), GROUP, ZONE, APP];
        names.map(str::len).iter().sum::<usize>() + UUID_LEN + ADDRESS_LEN + text.len()
    }

    /// Appends the frame that publishes these texts.
    pub(crate) fn publish(&self, request_id: u32, boxes: &Boxes, out: &mut Vec<u8>) {
        let message = PublisherRegister {
            base: self.base(),
            boxes: boxes.clone(),
        };
        head(request_id, publisher_register::CLASS).write(out, |out| message.encode(out));
    }

    /// Appends the frame that subscribes within the data center.
    pub(crate) fn subscribe(&self, request_id: u32, out: &mut Vec<u8>) {
        let message = SubscriberRegister {
            base: self.base(),
            scope: Scope::DataCenter,
            accept_encoding: None,
            accept_multi: false,
        };
        head(request_id, subscriber_register::CLASS).write(out, |out| message.encode(out));
    }
}

/// Appends a heartbeat.
pub(crate) fn heartbeat(request_id: u32, out: &mut Vec<u8>) {
    Head::heartbeat(Protocol::V1, request_id).write(out, |_| {});
}

fn head(request_id: u32, class: &str) -> Head<'_> {
    Head::request(Protocol::V1, request_id, TIMEOUT_MS, class)
}

/// A text of `bytes` that differs from change to change.
pub(crate) fn text(change: u64, bytes: usize) -> String {
    let mut text = format!("{change:016x}");
    text.extend(iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// Appends a prepared frame under a request id.
pub(crate) fn append_as(out: &mut Vec<u8>, frame: &[u8], request_id: u32) {
    let at = out.len() + REQUEST_ID_AT;
    out.extend_from_slice(frame);
    out[at..][..4].copy_from_slice(&request_id.to_be_bytes());
}

/// The acknowledgement of a push, as all clients send it, to be sent with [`append_as`].
pub(crate) fn acknowledgement() -> Vec<u8> {
    let head = Head {
        protocol: Protocol::V1,
        kind: Kind::Response {
            status: Status::Success,
        },
        codec: rollcall_core::bolt::CODEC_HESSIAN,
        request_id: 0,
        class: result::CLASS,
    };
    let message = PushResult {
        success: true,
        message: None,
    };
    let mut out = Vec::new();
    head.write(&mut out, |out| message.encode(out));
    out
}

/// The content of a push of these texts, for one subscriber.
pub(crate) fn push_content(
    data_id: &str,
    register_id: &str,
    version: i64,
    boxes: &Boxes,
) -> Vec<u8> {
    let mut content = push_prefix(data_id, register_id, version);
    content.extend(push_list(boxes));
    content
}

fn push_prefix(data_id: &str, register_id: &str, version: i64) -> Vec<u8> {
    let id = DataInfoId::new(data_id, "", GROUP);
    let prefix = Prefix {
        data_info_id: &id,
        segment: "DefaultDataCenter",
        scope: Scope::DataCenter,
        version,
        local_zone: ZONE,
    };
    let mut out = Vec::new();
    let register_id = RegisterId::new(register_id);
    received_data::write_prefix(&mut out, &prefix, iter::once(&register_id));
    out
}

fn push_list(boxes: &Boxes) -> Vec<u8> {
    received_data::encode_body(iter::once((ZONE, iter::once(boxes))))
}

/// How a push of a service to one subscriber begins, up to its list.
#[derive(Debug)]
pub(crate) struct Opening {
    bytes: Vec<u8>,
    version_at: usize,
    register_id_at: usize,
}

/// A push that was taken apart without decoding it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened<'a> {
    /// Its version.
    pub(crate) version: i64,
    /// Its list.
    pub(crate) list: &'a [u8],
    register_id: &'a [u8],
}

impl Opening {
    /// As our own codec writes it.
    pub(crate) fn new(data_id: &str) -> Self {
        let register_id = register_id(0xffff, 0);
        let version = 0x1122_3344_5566_7788;
        let bytes = push_prefix(data_id, &register_id, version);
        let place = |wanted: &[u8]| {
            let found = bytes
                .windows(wanted.len())
                .position(|window| window == wanted);
            found.expect("it was just written")
        };
        Self {
            version_at: place(&version.to_be_bytes()),
            register_id_at: place(register_id.as_bytes()),
            bytes,
        }
    }

    /// The parts of a push of this service; nothing if it begins otherwise.
    pub(crate) fn open<'a>(&self, content: &'a [u8]) -> Option<Opened<'a>> {
        let (prefix, list) = content.split_at_checked(self.bytes.len())?;
        let behind_version = self.version_at + 8;
        let behind_id = self.register_id_at + REGISTER_ID_LEN;
        let is_same = |from: usize, to: usize| prefix[from..to] == self.bytes[from..to];
        let begins_so = is_same(0, self.version_at)
            && is_same(behind_version, self.register_id_at)
            && is_same(behind_id, prefix.len());
        let version = prefix[self.version_at..behind_version].try_into();
        begins_so.then(|| Opened {
            version: i64::from_be_bytes(version.expect("eight bytes")),
            register_id: &prefix[self.register_id_at..behind_id],
            list,
        })
    }
}

impl Opened<'_> {
    /// Whether it is for this subscriber alone.
    pub(crate) fn is_for(&self, register_id: &str) -> bool {
        self.register_id == register_id.as_bytes()
    }
}

/// How long the list of a push is in which so many publishers have these texts each.
pub(crate) fn list_len(boxes: &Boxes, publishers: usize) -> usize {
    let publishers = iter::repeat_n(boxes, publishers);
    received_data::body_len(iter::once((ZONE, publishers)))
}

/// What every subscriber of a service must be shown.
#[derive(Debug)]
pub(crate) struct Expected {
    opening: Opening,
    list: Vec<u8>,
    boxes: Boxes,
}

impl Expected {
    /// The complete list of a service that one publisher fills.
    pub(crate) fn new(data_id: &str, boxes: Boxes) -> Self {
        Self {
            opening: Opening::new(data_id),
            list: push_list(&boxes),
            boxes,
        }
    }

    /// The version of a push that shows exactly this to the subscriber; nothing if it shows something else.
    pub(crate) fn version_of(&self, content: &[u8], register_id: Option<&str>) -> Option<i64> {
        self.version_if_same_bytes(content, register_id)
            .or_else(|| self.version_if_same_meaning(content, register_id))
    }

    /// The push as our own codec writes it, which needs no decoding.
    fn version_if_same_bytes(&self, content: &[u8], register_id: Option<&str>) -> Option<i64> {
        let push = self.opening.open(content)?;
        let is_same = push.list == self.list && register_id.is_none_or(|id| push.is_for(id));
        is_same.then_some(push.version)
    }

    fn version_if_same_meaning(&self, content: &[u8], register_id: Option<&str>) -> Option<i64> {
        let push = ReceivedData::decode(content).ok()?;
        let is_same = push.data.len() == 1
            && push.data[0] == (ZONE.to_owned(), self.boxes.clone())
            && register_id.is_none_or(|id| push.subscriber_regist_ids == [id]);
        push.version.filter(|_| is_same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_of_the_expected_list_tells_its_version() {
        let boxes: Boxes = ["a"].into_iter().collect();
        let expected = Expected::new("service", boxes.clone());
        let me = register_id(1, 7);

        let content = push_content("service", &me, 1 << 50, &boxes);

        assert_eq!(expected.version_of(&content, Some(&me)), Some(1 << 50));
        assert_eq!(expected.version_of(&content, None), Some(1 << 50));
    }

    #[test]
    fn a_push_of_another_list_or_for_another_subscriber_is_not_expected() {
        let expected = Expected::new("service", ["a"].into_iter().collect());
        let (me, other) = (register_id(1, 7), register_id(1, 8));

        let wrong_list = push_content("service", &me, 1 << 50, &["b"].into_iter().collect());
        let wrong_subscriber =
            push_content("service", &other, 1 << 50, &["a"].into_iter().collect());

        assert_eq!(expected.version_of(&wrong_list, Some(&me)), None);
        assert_eq!(expected.version_of(&wrong_subscriber, Some(&me)), None);
    }

    #[test]
    fn a_text_has_its_length_and_names_its_change() {
        assert_eq!(text(1, 20), "0000000000000001xxxx");
        assert_ne!(text(1, 16), text(2, 16));
    }
}
