//! Answers to requests: what is said, and how it is written in the protocol, codec and checksum mode that the peer used.

use std::borrow::Cow;
use std::fmt;

use crate::bolt::{self, Head, Protocol, Status};
use crate::limits;
use crate::message::{
    PushResult, RegisterResponse, register_response, result, sync_config_response,
};
use crate::names::{Name, RegisterId};
use crate::publisher::Order;
use crate::stats::Stats;

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

/// Why a registration is answered with success=false. The client tries again, so the text names what must change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field that must be there is null or blank.
    Missing(&'static str),
    /// A name is longer than the limit.
    NameTooLong {
        /// Which field.
        field: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The event type is neither REGISTER nor UNREGISTER.
    UnknownEventType(String),
    /// One connection has as many registrations as it may.
    TooManyRegistrations,
    /// The node knows as many services as it may.
    TooManyServices,
    /// The services here hold as many bytes as they may.
    TooManyBytes {
        /// What they may hold.
        limit: usize,
    },
    /// The publisher has too many strings.
    TooManyBoxes(usize),
    /// The service has publishers in as many zones as it may.
    TooManyZones,
    /// As many connections declare this registration as may.
    TooManyClaims,
    /// The list of the service would be longer than it may.
    ListTooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// What was removed is newer than this registration.
    Superseded {
        /// The order of the removal. What the connection asks next counts as later.
        by: Order,
    },
}

impl Refusal {
    /// Counts it under the bound that it names.
    pub(super) fn count(&self, stats: &mut Stats) {
        match self {
            Self::Missing(_) | Self::UnknownEventType(_) => {}
            Self::NameTooLong { .. } => stats.refused_name_length += 1,
            Self::TooManyRegistrations => stats.refused_connection_registrations += 1,
            Self::TooManyServices => stats.refused_data_info_ids += 1,
            Self::TooManyBytes { .. } => stats.refused_bytes += 1,
            Self::TooManyBoxes(_) => stats.refused_boxes += 1,
            Self::TooManyZones => stats.refused_zones += 1,
            Self::TooManyClaims => stats.refused_claims += 1,
            Self::ListTooLong { .. } => stats.refused_list_bytes += 1,
            Self::Superseded { .. } => stats.refused_superseded += 1,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "{field} is missing"),
            Self::NameTooLong { field, bytes } => {
                write!(
                    f,
                    "{field} has {bytes} bytes: limit is {}",
                    limits::NAME_BYTES_MAX
                )
            }
            Self::UnknownEventType(text) => {
                write!(f, "event type {text:?} is neither REGISTER nor UNREGISTER")
            }
            Self::TooManyRegistrations => write!(
                f,
                "this connection has {} registrations, which is the limit",
                limits::REGISTRATIONS_PER_CONNECTION_MAX
            ),
            Self::TooManyServices => write!(
                f,
                "this core knows {} services, which is the limit",
                limits::SERVICES_PER_CORE_MAX
            ),
            Self::TooManyBytes { limit } => write!(
                f,
                "the services of this core may hold {limit} bytes, and this is more: [session] published_bytes_max"
            ),
            Self::TooManyBoxes(count) => write!(
                f,
                "the publisher has {count} strings: limit is {}",
                limits::BOXES_PER_PUBLISHER_MAX
            ),
            Self::TooManyZones => write!(
                f,
                "the service has publishers in {} zones, which is the limit",
                limits::ZONES_PER_DATUM_MAX
            ),
            Self::TooManyClaims => write!(
                f,
                "{} connections declare this registration id, which is the limit",
                limits::CLAIMS_PER_REGISTRATION_MAX
            ),
            Self::ListTooLong { bytes_max } => write!(
                f,
                "the list of this service would take more than {bytes_max} bytes, which is the limit"
            ),
            Self::Superseded { by } => write!(
                f,
                "this registration was taken back at version {}: register it again, or under a higher version",
                by.version
            ),
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
    Refused {
        /// What it was.
        kind: Kind,
        /// Why.
        refusal: Refusal,
    },
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
            Self::Refused { kind, refusal } => {
                let message = format!("{} register failed! {refusal}", kind.word());
                let response = RegisterResponse {
                    success: false,
                    regist_id: None,
                    version: 0,
                    refused: false,
                    message: Some(Cow::Owned(message)),
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
