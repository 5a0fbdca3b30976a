//! A client subscribes, or takes a subscription back.
//!
//! Fields on the wire: `scope`, the 14 of [`BaseRegister`], `attributes`. Clients of 6.x have `acceptEncoding` and
//! `acceptMulti` behind `scope`; the published ones never set them.

use std::borrow::Cow;

use super::base_register::{with_base, write_no_attributes};
use super::fields::{read_message, read_name};
use super::{BaseRegister, MessageError};
use crate::hessian::{Writer, definition, definition_len};
use crate::names::Scope;

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.SubscriberRegister";

const FIELDS: [&str; 16] = with_base(&["scope"], &[]);
const DEFINITION: [u8; definition_len(CLASS, &FIELDS)] = definition(CLASS, &FIELDS);
const FIELDS_6: [&str; 18] = with_base(&["scope", "acceptEncoding", "acceptMulti"], &[]);
const DEFINITION_6: [u8; definition_len(CLASS, &FIELDS_6)] = definition(CLASS, &FIELDS_6);

/// A registration of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberRegister<'a> {
    /// Who subscribes to what.
    pub base: BaseRegister<'a>,
    /// How far to look for publishers.
    pub scope: Scope,
    /// Compressions the client takes; without effect for Hessian clients.
    pub accept_encoding: Option<Cow<'a, str>>,
    /// Whether the client takes one push with all data centers.
    pub accept_multi: bool,
}

impl<'a> SubscriberRegister<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut register = Self {
            base: BaseRegister::empty(),
            scope: Scope::Zone,
            accept_encoding: None,
            accept_multi: false,
        };
        read_message(content, CLASS, |name, reader| {
            match name {
                b"scope" => {
                    register.scope = Scope::from_wire(read_name(reader, "scope")?.as_deref())
                }
                b"acceptEncoding" => {
                    register.accept_encoding = read_name(reader, "acceptEncoding")?
                }
                b"acceptMulti" => register.accept_multi = reader.boolean()?.unwrap_or(false),
                _ => return register.base.read_field(name, reader),
            }
            Ok(true)
        })?;
        Ok(register)
    }

    /// Appends the content as the Java client writes it: that of 6.x if one of its fields is set, else that of 5.4.2.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let is_6 = self.accept_multi || self.accept_encoding.is_some();
        let mut writer = Writer::new(out);
        writer.raw(if is_6 { &DEFINITION_6 } else { &DEFINITION });
        writer.object(0);
        writer.text(self.scope.as_str());
        if is_6 {
            writer.optional_text(self.accept_encoding.as_deref());
            writer.boolean(self.accept_multi);
        }
        self.base.write_fields(&mut writer);
        write_no_attributes(&mut writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java client 5.4.2.
    const SUBSCRIBE: &[u8] =
        b"O\xc86com.alipay.sofa.registry.core.model.SubscriberRegister\xa0\x05scope\x0ainstanceId\
        \x04zone\x07appName\x06dataId\x05group\x09processId\x08registId\x08clientId\x0adataInfoI\
        d\x02ip\x04port\x09eventType\x07version\x09timestamp\x0aattributeso\x90\x0adataCenterN\
        \x0cDEFAULT_ZONE\x08demo-app\x18com.demo.Svc:1.0@DEFAULT\x0dDEFAULT_GROUPNS\x00$1935ae4c\
        -63bf-47d0-b359-6d4f97c00492NNNN\x08REGISTER\xe1L\x00\x00\x01\xa2\x01\x92\xe9\x84Mz";

    /// Sent by the Java client 6.6.3, which has two fields more.
    const SUBSCRIBE_6: &[u8] =
        b"O\xc86com.alipay.sofa.registry.core.model.SubscriberRegister\xa2\x05scope\x0eacceptEncod\
        ing\x0bacceptMulti\x0ainstanceId\x04zone\x07appName\x06dataId\x05group\x09processId\x08r\
        egistId\x08clientId\x0adataInfoId\x02ip\x04port\x09eventType\x07version\x09timestamp\x0a\
        attributeso\x90\x0adataCenterNFN\x0cDEFAULT_ZONE\x08demo-app\x18com.demo.Svc:1.0@DEFAULT\
        \x0dDEFAULT_GROUPNS\x00$13e6e780-b42d-416d-be97-9cf5316a0eb6NNNN\x08REGISTER\xe1L\x00\
        \x00\x01\xa2\x01\x94v/Mz";

    fn base() -> BaseRegister<'static> {
        BaseRegister {
            zone: Some("DEFAULT_ZONE".into()),
            app_name: Some("demo-app".into()),
            data_id: Some("com.demo.Svc:1.0@DEFAULT".into()),
            group: Some("DEFAULT_GROUP".into()),
            regist_id: Some("1935ae4c-63bf-47d0-b359-6d4f97c00492".into()),
            version: Some(1),
            timestamp: Some(1_795_322_734_980),
            ..BaseRegister::default()
        }
    }

    fn encoded(message: &SubscriberRegister<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn subscribe() -> SubscriberRegister<'static> {
        SubscriberRegister {
            base: base(),
            scope: Scope::DataCenter,
            accept_encoding: None,
            accept_multi: false,
        }
    }

    #[test]
    fn round_trip() {
        let multi = SubscriberRegister {
            scope: Scope::Global,
            accept_encoding: Some("gzip,zstd".into()),
            accept_multi: true,
            ..subscribe()
        };

        assert_eq!(SubscriberRegister::decode(SUBSCRIBE).unwrap(), subscribe());
        assert_eq!(SubscriberRegister::decode(&encoded(&multi)).unwrap(), multi);
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&subscribe()), SUBSCRIBE);
    }

    #[test]
    fn a_client_of_6_is_understood() {
        let register = SubscriberRegister::decode(SUBSCRIBE_6).unwrap();

        assert_eq!(
            (
                register.scope,
                register.accept_encoding,
                register.accept_multi
            ),
            (Scope::DataCenter, None, false)
        );
        assert_eq!(
            register.base.regist_id.as_deref(),
            Some("13e6e780-b42d-416d-be97-9cf5316a0eb6")
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..SUBSCRIBE_6.len() {
            assert!(
                SubscriberRegister::decode(&SUBSCRIBE_6[..len]).is_err(),
                "{len}"
            );
        }
    }
}
