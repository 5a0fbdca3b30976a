//! What a client may ask, checked: wire messages end here, names and registrations go inside.

use std::borrow::Cow;

use crate::bolt::{CODEC_HESSIAN, Frame};
use crate::message::{
    self, BaseRegister, Boxes, EventType, MessageError, PublisherRegister, publisher_register,
};
use crate::names::{DataInfoId, Interner, Name, RegisterId, Scope};

use super::answer::Kind;
use super::refusal::{Refusal, Refused};

/// A request of a client.
#[derive(Debug)]
pub enum Request {
    /// Publish, publish anew, or take back.
    Publisher {
        /// Who and what.
        declared: Declared,
        /// The strings; none takes the publisher back.
        boxes: Option<Boxes>,
    },
    /// Subscribe or unsubscribe.
    Subscriber {
        /// Who and what.
        declared: Declared,
        /// How far it looks.
        scope: Scope,
        /// False ends the subscription.
        registers: bool,
    },
    /// Follow an operator's value, or stop.
    Configurator {
        /// Who and what.
        declared: Declared,
        /// False ends it.
        registers: bool,
    },
    /// Ask for the segments that may be shown.
    SyncConfig,
    /// An operator's tool takes these clients (`ip:port`) off.
    CancelAddresses(Vec<String>),
    /// A registration that cannot be taken.
    Refused(Box<Refused>),
}

/// What all registrations have in common.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Which service.
    pub data_info_id: DataInfoId,
    /// The client's id of the registration.
    pub register_id: RegisterId,
    /// The client's version of it; echoed exactly.
    pub version: i64,
    /// The client's clock.
    pub timestamp: i64,
    /// The client's zone.
    pub zone: Name,
    /// The client's application; empty if it named none.
    pub app: Name,
}

impl Request {
    /// The request in a frame of kind request or one-way, checked. A registration that names no zone is of `home_zone`.
    pub fn of(
        frame: &Frame<'_>,
        names: &mut Interner,
        home_zone: &str,
    ) -> Result<Self, MessageError> {
        if frame.codec == CODEC_HESSIAN && frame.class == publisher_register::CLASS.as_bytes() {
            // What there is most of is read where it stays.
            let mut register = PublisherRegister::empty();
            register.read(frame.content)?;
            let PublisherRegister { base, boxes } = &mut register;
            return Ok(Self::publisher(
                base,
                std::mem::take(boxes),
                names,
                home_zone,
            ));
        }
        let message = message::Request::of(frame)?;
        Ok(Self::from_wire(message, names, home_zone))
    }

    fn from_wire(message: message::Request<'_>, names: &mut Interner, home_zone: &str) -> Self {
        match message {
            message::Request::PublisherRegister(register) => {
                Self::publisher(&register.base, register.boxes, names, home_zone)
            }
            message::Request::SubscriberRegister(register) => {
                checked(&register.base, names, home_zone)
                    .map(|(declared, registers)| Self::Subscriber {
                        declared,
                        scope: register.scope,
                        registers,
                    })
                    .unwrap_or_else(|refusal| {
                        Self::refused(Kind::Subscriber, &register.base, refusal)
                    })
            }
            message::Request::ConfiguratorRegister(register) => {
                checked(&register.base, names, home_zone)
                    .map(|(declared, registers)| Self::Configurator {
                        declared,
                        registers,
                    })
                    .unwrap_or_else(|refusal| {
                        Self::refused(Kind::Configurator, &register.base, refusal)
                    })
            }
            message::Request::SyncConfigRequest(_) => Self::SyncConfig,
            message::Request::CancelAddressRequest(cancel) => {
                Self::CancelAddresses(cancel.connect_ids)
            }
        }
    }

    fn publisher(
        base: &BaseRegister<'_>,
        boxes: Boxes,
        names: &mut Interner,
        home_zone: &str,
    ) -> Self {
        let (declared, registers) = match checked(base, names, home_zone) {
            Ok(checked) => checked,
            Err(refusal) => return Self::refused(Kind::Publisher, base, refusal),
        };
        let boxes = registers.then_some(boxes);
        Self::Publisher { declared, boxes }
    }

    fn refused(kind: Kind, base: &BaseRegister<'_>, refusal: Refusal) -> Self {
        let version = base.version.unwrap_or(0);
        let [service, app] =
            [&base.data_id, &base.app_name].map(|name| name.as_deref().unwrap_or(""));
        Self::Refused(Refused::new(kind, version, refusal, service, app))
    }

    /// The service whose home core must be asked, for those requests that need one.
    pub fn data_info_id(&self) -> Option<&DataInfoId> {
        match self {
            Self::Publisher { declared, .. } | Self::Subscriber { declared, .. } => {
                Some(&declared.data_info_id)
            }
            Self::Configurator { .. }
            | Self::SyncConfig
            | Self::CancelAddresses(_)
            | Self::Refused(_) => None,
        }
    }
}

/// The common part, and whether it registers.
fn checked(
    base: &BaseRegister<'_>,
    names: &mut Interner,
    home_zone: &str,
) -> Result<(Declared, bool), Refusal> {
    let registers = match &base.event_type {
        EventType::Register => true,
        EventType::Unregister => false,
        other => return Err(Refusal::UnknownEventType(other.as_str().to_owned())),
    };
    let data_id = required("dataId", &base.data_id)?;
    let register_id = required("registId", &base.regist_id)?;
    let zone = match optional(&base.zone) {
        blank if blank.trim().is_empty() => home_zone,
        zone => zone,
    };
    let (instance_id, group) = (optional(&base.instance_id), optional(&base.group));
    let declared = Declared {
        data_info_id: names.data_info_id(data_id, instance_id, group),
        register_id: RegisterId::new(register_id),
        version: base.version.ok_or(Refusal::Missing("version"))?,
        timestamp: base.timestamp.unwrap_or(0),
        zone: names.intern(zone),
        app: names.intern(optional(&base.app_name)),
    };
    Ok((declared, registers))
}

fn required<'a>(field: &'static str, value: &'a Option<Cow<'_, str>>) -> Result<&'a str, Refusal> {
    match optional(value) {
        blank if blank.trim().is_empty() => Err(Refusal::Missing(field)),
        text => Ok(text),
    }
}

fn optional<'a>(value: &'a Option<Cow<'_, str>>) -> &'a str {
    value.as_deref().unwrap_or("")
}
