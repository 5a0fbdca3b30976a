//! Answers to requests: what is said, and how it is written in the protocol, codec and checksum mode that the peer used.

use std::borrow::Cow;

use crate::bolt::{self, Head, Protocol, Status};
use crate::message::{
    PushResult, RegisterResponse, register_response, result, sync_config_response,
};
use crate::names::{Name, RegisterId};

use super::refusal::Refused;

/// How a peer spoke, and the number of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// Version of the frame, with its checksum switch.
    pub protocol: Protocol,
    /// Number of the serializer.
    pub codec: u8,
    /// The request to answer.
    pub request_id: u32,
    /// A one-way request gets no answer.
    pub one_way: bool,
}

/// What kind of registration a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `PublisherRegister`.
    Publisher,
    /// `SubscriberRegister`.
    Subscriber,
    /// `ConfiguratorRegister`.
    Configurator,
}

impl Kind {
    /// As the messages of the original spell it.
    fn word(self) -> &'static str {
        match self {
            Self::Publisher => "Publisher",
            Self::Subscriber => "Subscriber",
            Self::Configurator => "ConfiguratorRegister",
        }
    }

    fn success(self) -> &'static str {
        match self {
            Self::Publisher => "Publisher register success!",
            Self::Subscriber => "Subscriber register success!",
            Self::Configurator => "ConfiguratorRegister register success!",
        }
    }
}

/// What is said.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A registration was taken.
    Registered {
        /// What it was.
        kind: Kind,
        /// Echoed.
        register_id: RegisterId,
        /// Echoed.
        version: i64,
    },
    /// It was not.
    Refused(Box<Refused>),
    /// The segments a client may show.
    SyncConfig {
        /// The one segment there is: the data center that pushes name.
        segment: Name,
    },
    /// The operator's request was carried out.
    Cancelled,
    /// The operator's request was not.
    NotCancelled(&'static str),
}

impl Answer {
    /// A registration was taken.
    pub(super) fn registered(kind: Kind, register_id: RegisterId, version: i64) -> Self {
        Self::Registered {
            kind,
            register_id,
            version,
        }
    }

    /// Appends the whole frame to `out`; nothing if nobody waits for it.
    pub fn encode(&self, reply_to: ReplyTo, out: &mut Vec<u8>) {
        if reply_to.one_way {
            return;
        }
        match self {
            Self::Registered {
                kind,
                register_id,
                version,
            } => register_id.with_text(|register_id| {
                let response = RegisterResponse {
                    success: true,
                    regist_id: Some(Cow::Borrowed(register_id)),
                    version: *version,
                    refused: false,
                    message: Some(Cow::Borrowed(kind.success())),
                };
                write(reply_to, register_response::CLASS, out, |out| {
                    response.encode(out)
                });
            }),
            Self::Refused(refused) => {
                let is_for_good = refused.refusal.is_for_good();
                let (kind, refusal) = (refused.kind.word(), &refused.refusal);
                let response = RegisterResponse {
                    success: is_for_good,
                    regist_id: None,
                    version: refused.version,
                    refused: is_for_good,
                    message: Some(Cow::Owned(format!("{kind} register failed! {refusal}"))),
                };
                write(reply_to, register_response::CLASS, out, |out| {
                    response.encode(out)
                });
            }
            Self::SyncConfig { segment } => {
                write(reply_to, sync_config_response::CLASS, out, |out| {
                    sync_config_response::write_success(out, segment);
                })
            }
            Self::Cancelled => write_result(reply_to, true, None, out),
            Self::NotCancelled(why) => write_result(reply_to, false, Some(why), out),
        }
    }
}

fn write_result(
    reply_to: ReplyTo,
    success: bool,
    message: Option<&'static str>,
    out: &mut Vec<u8>,
) {
    let message = message.map(Cow::Borrowed);
    let response = PushResult { success, message };
    write(reply_to, result::CLASS, out, |out| response.encode(out));
}

fn write(reply_to: ReplyTo, class: &str, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let head = Head {
        protocol: reply_to.protocol,
        kind: bolt::Kind::Response {
            status: Status::Success,
        },
        codec: reply_to.codec,
        request_id: reply_to.request_id,
        class,
    };
    head.write(out, content);
}
