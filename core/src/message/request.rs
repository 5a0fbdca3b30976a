//! What a client may ask a session for.

use super::{
    CancelAddressRequest, ConfiguratorRegister, MessageError, PublisherRegister,
    SubscriberRegister, SyncConfigRequest, cancel_address_request, configurator_register,
    publisher_register, subscriber_register, sync_config_request,
};
use crate::bolt::{CODEC_HESSIAN, Frame};

/// A decoded request. The names borrow from the frame, what will be kept does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Publish, or take back.
    PublisherRegister(PublisherRegister<'a>),
    /// Subscribe, or take back.
    SubscriberRegister(SubscriberRegister<'a>),
    /// Ask for a configuration value, or stop asking.
    ConfiguratorRegister(ConfiguratorRegister<'a>),
    /// Ask for the client's settings.
    SyncConfigRequest(SyncConfigRequest<'a>),
    /// End the registrations of some connections.
    CancelAddressRequest(CancelAddressRequest),
}

impl<'a> Request<'a> {
    /// The request in a frame of kind request or one-way.
    pub fn of(frame: &Frame<'a>) -> Result<Self, MessageError> {
        if frame.codec == CODEC_HESSIAN || !is_known(frame.class) {
            Self::decode(frame.class, frame.content)
        } else {
            Err(MessageError::UnknownCodec { codec: frame.codec })
        }
    }

    /// The request of this class in Hessian content.
    pub fn decode(class: &[u8], content: &'a [u8]) -> Result<Self, MessageError> {
        match Class::of(class) {
            Some(Class::Publisher) => {
                PublisherRegister::decode(content).map(Self::PublisherRegister)
            }
            Some(Class::Subscriber) => {
                SubscriberRegister::decode(content).map(Self::SubscriberRegister)
            }
            Some(Class::Configurator) => {
                ConfiguratorRegister::decode(content).map(Self::ConfiguratorRegister)
            }
            Some(Class::SyncConfig) => {
                SyncConfigRequest::decode(content).map(Self::SyncConfigRequest)
            }
            Some(Class::CancelAddress) => {
                CancelAddressRequest::decode(content).map(Self::CancelAddressRequest)
            }
            None => Err(MessageError::UnknownClass {
                class: String::from_utf8_lossy(class).into_owned(),
            }),
        }
    }
}

fn is_known(class: &[u8]) -> bool {
    Class::of(class).is_some()
}

#[derive(Clone, Copy)]
enum Class {
    Publisher,
    Subscriber,
    Configurator,
    SyncConfig,
    CancelAddress,
}

impl Class {
    fn of(name: &[u8]) -> Option<Self> {
        [
            (publisher_register::CLASS, Self::Publisher),
            (subscriber_register::CLASS, Self::Subscriber),
            (configurator_register::CLASS, Self::Configurator),
            (sync_config_request::CLASS, Self::SyncConfig),
            (cancel_address_request::CLASS, Self::CancelAddress),
        ]
        .into_iter()
        .find_map(|(known, class)| (known.as_bytes() == name).then_some(class))
    }
}
