//! The push: who publishes what a client subscribed to.
//!
//! Fields on the wire: `dataId`, `group`, `instanceId`, `segment`, `scope`, `version`, `localZone`,
//! `subscriberRegistIds`, `data` (zone → list of `DataBox`). The bytes come in two parts. The *prefix* is small and differs
//! per connection: everything up to and including the registration ids. The *body* is the `data` map, encoded once per
//! version and shared by all connections. Neither names a list's type nor refers back, so the body's bytes do not depend
//! on the prefix; `DataBox` is class definition 1 and stands in front of the first box.

use super::MessageError;
use super::boxes::{self, Boxes};
use super::fields::{read_message, read_string, read_strings};
use crate::hessian::{Reader, Writer, definition, definition_len, text_len};
use crate::names::{DataInfoId, RegisterId, Scope};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.ReceivedData";

const FIELDS: &[&str] = &[
    "dataId",
    "group",
    "instanceId",
    "segment",
    "scope",
    "version",
    "localZone",
    "subscriberRegistIds",
    "data",
];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// What is the same for all subscribers of a connection that share a push.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a> {
    /// What was subscribed to.
    pub data_info_id: &'a DataInfoId,
    /// The data center as clients see it: the one of `availableSegments`.
    pub segment: &'a str,
    /// The subscribers' scope.
    pub scope: Scope,
    /// Above every version pushed before.
    pub version: i64,
    /// The subscribers' zone.
    pub local_zone: &'a str,
}

/// Appends everything in front of the body.
pub fn write_prefix<'a>(
    out: &mut Vec<u8>,
    prefix: &Prefix<'_>,
    register_ids: impl Iterator<Item = &'a RegisterId> + Clone,
) {
    let mut writer = Writer::new(out);
    writer.raw(&DEFINITION);
    writer.object(0);
    writer.text(prefix.data_info_id.data_id());
    writer.text(prefix.data_info_id.group());
    writer.text(prefix.data_info_id.instance_id());
    writer.text(prefix.segment);
    writer.text(prefix.scope.as_str());
    writer.long(prefix.version);
    writer.text(prefix.local_zone);
    write_register_ids(&mut writer, register_ids);
}

pub(super) fn write_register_ids<'a>(
    writer: &mut Writer<'_>,
    register_ids: impl Iterator<Item = &'a RegisterId> + Clone,
) {
    writer.list(register_ids.clone().count());
    register_ids.for_each(|id| id.with_text(|id| writer.text(id)));
    writer.end();
}

/// The body of these zones with their publishers' texts, in this order and in a buffer of the exact size.
pub fn encode_body<'a, P>(zones: impl Iterator<Item = (&'a str, P)> + Clone) -> Vec<u8>
where
    P: Iterator<Item = &'a Boxes> + Clone,
{
    let len = body_len(zones.clone());
    let mut out = Vec::with_capacity(len);
    write_body(&mut out, zones);
    debug_assert_eq!(out.len(), len, "the length of a body is known before");
    out
}

/// How many bytes [`encode_body`] makes.
pub fn body_len<'a, P>(zones: impl Iterator<Item = (&'a str, P)>) -> usize
where
    P: Iterator<Item = &'a Boxes>,
{
    let mut is_defined = false;
    let zones = zones.map(|(zone, boxes)| text_len(zone) + boxes::list_len(boxes, &mut is_defined));
    2 + zones.sum::<usize>()
}

fn write_body<'a, P>(out: &mut Vec<u8>, zones: impl Iterator<Item = (&'a str, P)>)
where
    P: Iterator<Item = &'a Boxes> + Clone,
{
    let mut is_defined = false;
    Writer::new(out).map();
    for (zone, publishers) in zones {
        Writer::new(out).text(zone);
        boxes::write_list(out, publishers, &mut is_defined);
    }
    Writer::new(out).end();
}

/// A push as a client reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedData {
    /// The data id.
    pub data_id: String,
    /// Its group.
    pub group: String,
    /// Its tenant.
    pub instance_id: String,
    /// The data center.
    pub segment: String,
    /// The subscribers' scope.
    pub scope: String,
    /// Clients take a push only if this is higher than what they have.
    pub version: Option<i64>,
    /// The subscribers' zone.
    pub local_zone: String,
    /// Whom it is for.
    pub subscriber_regist_ids: Vec<String>,
    /// The texts of all publishers by zone, in the order in which they came.
    pub data: Vec<(String, Boxes)>,
}

impl ReceivedData {
    /// Reads the content of a frame: prefix and body together.
    pub fn decode(content: &[u8]) -> Result<Self, MessageError> {
        let mut push = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"dataId" => push.data_id = read_string(reader, "dataId")?.unwrap_or_default(),
                b"group" => push.group = read_string(reader, "group")?.unwrap_or_default(),
                b"instanceId" => {
                    push.instance_id = read_string(reader, "instanceId")?.unwrap_or_default()
                }
                b"segment" => push.segment = read_string(reader, "segment")?.unwrap_or_default(),
                b"scope" => push.scope = read_string(reader, "scope")?.unwrap_or_default(),
                b"version" => push.version = reader.long()?,
                b"localZone" => {
                    push.local_zone = read_string(reader, "localZone")?.unwrap_or_default()
                }
                b"subscriberRegistIds" => {
                    push.subscriber_regist_ids = read_strings(reader, "subscriberRegistIds")?
                }
                b"data" => push.data = read_zones(reader, content)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(push)
    }
}

/// Reads a map of zones to lists of boxes; null is an empty one.
pub(super) fn read_zones(
    reader: &mut Reader<'_>,
    content: &[u8],
) -> Result<Vec<(String, Boxes)>, MessageError> {
    reader.follow(|reader| {
        let mut zones = Vec::new();
        if reader.map()?.is_none() {
            return Ok(zones);
        }
        while reader.has_entry()? {
            let zone = read_string(reader, "data")?.unwrap_or_default();
            zones.push((zone, Boxes::read_any_number(reader, content)?));
        }
        Ok(zones)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java server 5.4.2 after a publisher changed.
    const TWO_BOXES: &[u8] =
        b"O\xc80com.alipay.sofa.registry.core.model.ReceivedData\x99\x06dataId\x05group\x0ainstanc\
        eId\x07segment\x05scope\x07version\x09localZone\x13subscriberRegistIds\x04datao\x90\x18c\
        om.demo.Svc:1.0@DEFAULT\x0dDEFAULT_GROUP\x13DEFAULT_INSTANCE_ID\x11DefaultDataCenter\x0a\
        dataCenterL\x00\x1c\xfeJT\xad\x00\x00\x0cDEFAULT_ZONEVn\x01S\x00$1935ae4c-63bf-47d0-b359\
        -6d4f97c00492zM\x0cDEFAULT_ZONEVn\x02O\xbbcom.alipay.sofa.registry.core.model.DataBox\
        \x91\x04datao\x91\x0e10.0.0.1:12200o\x91\x0e10.0.0.2:12200zz";

    /// Sent by the Java server 5.4.2 after the last publisher of the zone left.
    const EMPTY_ZONE: &[u8] =
        b"O\xc80com.alipay.sofa.registry.core.model.ReceivedData\x99\x06dataId\x05group\x0ainstanc\
        eId\x07segment\x05scope\x07version\x09localZone\x13subscriberRegistIds\x04datao\x90\x18c\
        om.demo.Svc:1.0@DEFAULT\x0dDEFAULT_GROUP\x13DEFAULT_INSTANCE_ID\x11DefaultDataCenter\x0a\
        dataCenterL\x00\x1c\xfeJ^q\x00\x00\x0cDEFAULT_ZONEVn\x01S\x00$1935ae4c-63bf-47d0-b359-6d\
        4f97c00492zM\x0cDEFAULT_ZONEVn\x00zz";

    fn encoded(version: i64, zones: &[(&str, &Boxes)]) -> Vec<u8> {
        let id = DataInfoId::new("com.demo.Svc:1.0@DEFAULT", "", "");
        let register_id = RegisterId::new("1935ae4c-63bf-47d0-b359-6d4f97c00492");
        let prefix = Prefix {
            data_info_id: &id,
            segment: "DefaultDataCenter",
            scope: Scope::DataCenter,
            version,
            local_zone: "DEFAULT_ZONE",
        };
        let mut out = Vec::new();
        write_prefix(&mut out, &prefix, [register_id].iter());
        out.extend(encode_body(
            zones
                .iter()
                .map(|(zone, boxes)| (*zone, std::iter::once(*boxes))),
        ));
        out
    }

    fn two_boxes() -> Boxes {
        ["10.0.0.1:12200", "10.0.0.2:12200"].into_iter().collect()
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(
            encoded(8160894549557248, &[("DEFAULT_ZONE", &two_boxes())]),
            TWO_BOXES
        );
        assert_eq!(
            encoded(
                8_160_894_713_397_248,
                &[("DEFAULT_ZONE", &Boxes::default())]
            ),
            EMPTY_ZONE
        );
    }

    #[test]
    fn round_trip() {
        let push = ReceivedData::decode(TWO_BOXES).unwrap();

        assert_eq!(push.data_id, "com.demo.Svc:1.0@DEFAULT");
        assert_eq!(push.group, "DEFAULT_GROUP");
        assert_eq!(push.instance_id, "DEFAULT_INSTANCE_ID");
        assert_eq!(push.segment, "DefaultDataCenter");
        assert_eq!(push.scope, "dataCenter");
        assert_eq!(push.version, Some(8160894549557248));
        assert_eq!(push.local_zone, "DEFAULT_ZONE");
        assert_eq!(
            push.subscriber_regist_ids,
            ["1935ae4c-63bf-47d0-b359-6d4f97c00492"]
        );
        assert_eq!(push.data, [("DEFAULT_ZONE".to_owned(), two_boxes())]);
    }

    #[test]
    fn nothing_published_is_an_empty_map() {
        let push = ReceivedData::decode(&encoded(1, &[])).unwrap();

        assert_eq!(push.data, []);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..TWO_BOXES.len() {
            assert!(ReceivedData::decode(&TWO_BOXES[..len]).is_err(), "{len}");
        }
    }
}
