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
