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
