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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::{Consequence, Kind, Protocol, Status};

    fn error(codec: u8, class: &str, content: &[u8]) -> MessageError {
        let frame = Frame {
            protocol: Protocol::V1,
            kind: Kind::Request { timeout_ms: 1_000 },
            codec,
            request_id: 1,
            class: class.as_bytes(),
            header: &[],
            content,
        };
        Request::of(&frame).unwrap_err()
    }

    #[test]
    fn an_unknown_class_is_a_server_exception_whatever_its_codec_and_content() {
        for codec in [1, 11] {
            let error = error(codec, "com.example.Unknown", b"");

            assert_eq!(
                error.to_string(),
                "No user processor found for request: com.example.Unknown"
            );
            assert_eq!(
                error.consequence(),
                Consequence::Answer(Status::ServerException)
            );
        }
    }

    #[test]
    fn a_known_class_in_an_unknown_codec_cannot_be_deserialized() {
        let error = error(11, publisher_register::CLASS, b"");

        assert_eq!(error, MessageError::UnknownCodec { codec: 11 });
        assert_eq!(
            error.consequence(),
            Consequence::Answer(Status::ServerDeserialException)
        );
    }

    #[test]
    fn rubbish_cannot_be_deserialized_and_nothing_is_an_exception() {
        let class = subscriber_register::CLASS;

        let deserial = Consequence::Answer(Status::ServerDeserialException);
        assert_eq!(error(1, class, b"\x43").consequence(), deserial);
        assert_eq!(
            error(1, class, b"").consequence(),
            Consequence::Answer(Status::ServerException)
        );
        assert_eq!(error(1, class, b"N"), MessageError::NoBody);
        assert_eq!(
            error(1, class, b"O\x93a.B\x90o\x90"),
            MessageError::WrongClass {
                class: "a.B".into()
            }
        );
    }

    #[test]
    fn a_name_with_half_a_pair_is_refused_in_the_normal_answer() {
        let content = b"O\xc85com.alipay.sofa.registry.core.model.SyncConfigRequest\x91\x04zoneo\x90\x01\xed\xa0\x80";

        let error = error(1, sync_config_request::CLASS, content);

        assert_eq!(error, MessageError::NotText { field: "zone" });
        assert_eq!(error.consequence(), Consequence::Refuse);
    }
}
