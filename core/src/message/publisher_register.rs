//! A client publishes its addresses, or takes them back.
//!
//! Fields on the wire: the 14 of [`BaseRegister`], `dataList`, `attributes`. A Node client has the last two the other way
//! round and names the list's type. `dataList` is null when the event type is `UNREGISTER`.

use super::base_register::{with_base, write_no_attributes};
use super::fields::read_message;
use super::{BaseRegister, Boxes, EventType, MessageError, boxes};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.PublisherRegister";

const FIELDS: [&str; 16] = with_base(&[], &["dataList"]);
const DEFINITION: [u8; definition_len(CLASS, &FIELDS)] = definition(CLASS, &FIELDS);

/// A registration of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherRegister<'a> {
    /// Who publishes what.
    pub base: BaseRegister<'a>,
    /// The published texts.
    pub boxes: Boxes,
}

impl<'a> PublisherRegister<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut register = Self {
            base: BaseRegister::empty(),
            boxes: Boxes::default(),
        };
        read_message(content, CLASS, |name, reader| {
            if name == b"dataList" {
                register.boxes = Boxes::read(reader, content)?;
                return Ok(true);
            }
            register.base.read_field(name, reader)
        })?;
        Ok(register)
    }

    /// Appends the content as the Java client writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        self.base.write_fields(&mut writer);
        if self.base.event_type == EventType::Unregister {
            writer.null();
        } else {
            boxes::write_list(out, std::iter::once(&self.boxes), &mut false);
        }
        write_no_attributes(&mut Writer::new(out));
    }
}
