//! A client asks for a configuration value and its changes, or stops asking.
//!
//! Fields on the wire: the 14 of [`BaseRegister`], `attributes`.

use super::base_register::{with_base, write_no_attributes};
use super::fields::read_message;
use super::{BaseRegister, MessageError};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.ConfiguratorRegister";

const FIELDS: [&str; 15] = with_base(&[], &[]);
const DEFINITION: [u8; definition_len(CLASS, &FIELDS)] = definition(CLASS, &FIELDS);

/// A registration of a configurator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguratorRegister<'a> {
    /// Who asks for what.
    pub base: BaseRegister<'a>,
}

impl<'a> ConfiguratorRegister<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut base = BaseRegister::empty();
        read_message(content, CLASS, |name, reader| base.read_field(name, reader))?;
        Ok(Self { base })
    }

    /// Appends the content as the Java client writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        self.base.write_fields(&mut writer);
        write_no_attributes(&mut writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java client 5.4.2.
    const CONFIGURE: &[u8] =
        b"O\xc88com.alipay.sofa.registry.core.model.ConfiguratorRegister\x9f\x0ainstanceId\x04zone\
        \x07appName\x06dataId\x05group\x09processId\x08registId\x08clientId\x0adataInfoId\x02ip\
        \x04port\x09eventType\x07version\x09timestamp\x0aattributeso\x90N\x0cDEFAULT_ZONE\x08dem\
        o-app\x08cfg.demo\x0dDEFAULT_GROUPNS\x00$26c65512-a81e-4814-ac7b-c1e22179bd3eNNNN\x08REG\
        ISTER\xe0L\x00\x00\x01\xa2\x01\x92\xedmMz";

    fn encoded(message: &ConfiguratorRegister<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn configure() -> ConfiguratorRegister<'static> {
        let base = BaseRegister {
            zone: Some("DEFAULT_ZONE".into()),
            app_name: Some("demo-app".into()),
            data_id: Some("cfg.demo".into()),
            group: Some("DEFAULT_GROUP".into()),
            regist_id: Some("26c65512-a81e-4814-ac7b-c1e22179bd3e".into()),
            version: Some(0),
            timestamp: Some(1_795_322_735_981),
            ..BaseRegister::default()
        };
        ConfiguratorRegister { base }
    }

    #[test]
    fn round_trip() {
        assert_eq!(
            ConfiguratorRegister::decode(CONFIGURE).unwrap(),
            configure()
        );
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&configure()), CONFIGURE);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..CONFIGURE.len() {
            assert!(
                ConfiguratorRegister::decode(&CONFIGURE[..len]).is_err(),
                "{len}"
            );
        }
    }
}
