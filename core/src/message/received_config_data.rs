//! The push of a configuration value.
//!
//! Fields on the wire: `dataId`, `group`, `instanceId`, `version`, `configuratorRegistIds`, `dataBox`. The box is null when
//! there is no value; the version is never null, for a client that meets one fails at the next.

use super::MessageError;
use super::boxes;
use super::fields::{read_message, read_string, read_strings};
use super::received_data::write_register_ids;
use crate::hessian::{Reader, Writer, definition, definition_len};
use crate::names::{DataInfoId, RegisterId};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.ReceivedConfigData";

const FIELDS: &[&str] = &[
    "dataId",
    "group",
    "instanceId",
    "version",
    "configuratorRegistIds",
    "dataBox",
];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// Appends everything in front of the box.
pub fn write_prefix<'a>(
    out: &mut Vec<u8>,
    data_info_id: &DataInfoId,
    version: i64,
    register_ids: impl Iterator<Item = &'a RegisterId> + Clone,
) {
    let mut writer = Writer::new(out);
    writer.raw(&DEFINITION);
    writer.object(0);
    writer.text(data_info_id.data_id());
    writer.text(data_info_id.group());
    writer.text(data_info_id.instance_id());
    writer.long(version);
    write_register_ids(&mut writer, register_ids);
}

/// The box, which all configurators of the value share: null when there is none.
pub fn encode_body(value: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    match value {
        Some(value) => {
            writer.raw(&boxes::DEFINITION);
            writer.object(1);
            writer.text(value);
        }
        None => writer.null(),
    }
    out
}

/// The push as a client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedConfigData {
    /// The data id.
    pub data_id: String,
    /// Its group.
    pub group: String,
    /// Its tenant.
    pub instance_id: String,
    /// Clients take a value only if this is higher than what they have.
    pub version: Option<i64>,
    /// Whom it is for.
    pub configurator_regist_ids: Vec<String>,
    /// The value, if there is one.
    pub value: Option<String>,
}

impl ReceivedConfigData {
    /// Reads the content of a frame.
    pub fn decode(content: &[u8]) -> Result<Self, MessageError> {
        let mut push = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"dataId" => push.data_id = read_string(reader, "dataId")?.unwrap_or_default(),
                b"group" => push.group = read_string(reader, "group")?.unwrap_or_default(),
                b"instanceId" => {
                    push.instance_id = read_string(reader, "instanceId")?.unwrap_or_default()
                }
                b"version" => push.version = reader.long()?,
                b"configuratorRegistIds" => {
                    push.configurator_regist_ids = read_strings(reader, "configuratorRegistIds")?;
                }
                b"dataBox" => push.value = reader.follow(read_value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(push)
    }
}

fn read_value(reader: &mut Reader<'_>) -> Result<Option<String>, MessageError> {
    let Some(class) = reader.object()? else {
        return Ok(None);
    };
    boxes::read_data(reader, class)?
        .map(|text| text.to_str().map(|text| text.into_owned()))
        .transpose()
        .map_err(|_| MessageError::NotText { field: "dataBox" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java server 5.4.2, which names the type of the list.
    const VALUE: &[u8] =
        b"O\xc86com.alipay.sofa.registry.core.model.ReceivedConfigData\x96\x06dataId\x05group\x0ai\
        nstanceId\x07version\x15configuratorRegistIds\x07dataBoxo\x90\x08cfg.demo\x0dDEFAULT_GRO\
        UP\x13DEFAULT_INSTANCE_IDL\x00\x00\x01\xa2\x01\x92\xedqVt\x00#java.util.Collections$Sing\
        letonListn\x01S\x00$26c65512-a81e-4814-ac7b-c1e22179bd3ezO\xbbcom.alipay.sofa.registry.c\
        ore.model.DataBox\x91\x04datao\x91\x09cfg-value";

    fn encoded(value: Option<&str>) -> Vec<u8> {
        let id = DataInfoId::new("cfg.demo", "", "");
        let register_id = RegisterId::new("26c65512-a81e-4814-ac7b-c1e22179bd3e");
        let mut out = Vec::new();
        write_prefix(&mut out, &id, 1_795_322_735_985, [register_id].iter());
        out.extend(encode_body(value));
        out
    }

    #[test]
    fn golden_bytes() {
        let typed = b"Vt\x00\x23java.util.Collections$SingletonListn\x01";
        let at = VALUE
            .windows(typed.len())
            .position(|bytes| bytes == typed)
            .unwrap();
        let untyped = [&VALUE[..at], b"Vn\x01", &VALUE[at + typed.len()..]].concat();

        assert_eq!(encoded(Some("cfg-value")), untyped);
    }

    #[test]
    fn round_trip() {
        let push = ReceivedConfigData::decode(VALUE).unwrap();

        assert_eq!(push.value.as_deref(), Some("cfg-value"));
        assert_eq!(push.version, Some(1_795_322_735_985));
        assert_eq!(
            push.configurator_regist_ids,
            ["26c65512-a81e-4814-ac7b-c1e22179bd3e"]
        );
        assert_eq!(
            ReceivedConfigData::decode(&encoded(Some("cfg-value"))).unwrap(),
            push
        );
    }

    #[test]
    fn no_value_is_no_box() {
        assert_eq!(
            ReceivedConfigData::decode(&encoded(None)).unwrap().value,
            None
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..VALUE.len() {
            assert!(ReceivedConfigData::decode(&VALUE[..len]).is_err(), "{len}");
        }
    }
}
