//! The push to a subscriber of 6.x that asked for all data centers in one message (`acceptMulti` with scope `global`).
//!
//! Fields on the wire, in Java's order (texts first): `dataId`, `group`, `instanceId`, `scope`, `localSegment`,
//! `localZone`, `subscriberRegistIds`, `multiData` (segment → `MultiSegmentData`). A segment has `segment`, `encoding`,
//! `version`, `zipData`, `unzipData` (zone → list of `DataBox`), `dataCount` (zone → number of publishers). Prefix and
//! body are divided as in [`received_data`](super::received_data). `DataBox` is defined first of all in the body, so
//! that it is class definition 1 here too and the boxes have the same bytes.

use super::boxes::{self, Boxes};
use super::received_data::{Prefix, write_register_ids};
use crate::hessian::{Writer, definition, definition_len};
use crate::names::RegisterId;

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.MultiReceivedData";

const FIELDS: &[&str] = &[
    "dataId",
    "group",
    "instanceId",
    "scope",
    "localSegment",
    "localZone",
    "subscriberRegistIds",
    "multiData",
];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

const SEGMENT_CLASS: &str = "com.alipay.sofa.registry.core.model.MultiSegmentData";
const SEGMENT_FIELDS: &[&str] = &[
    "segment",
    "encoding",
    "version",
    "zipData",
    "unzipData",
    "dataCount",
];
const SEGMENT_DEFINITION: [u8; definition_len(SEGMENT_CLASS, SEGMENT_FIELDS)] =
    definition(SEGMENT_CLASS, SEGMENT_FIELDS);

/// Appends everything in front of the body. The version of `prefix` is not in it, but in the body.
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
    writer.text(prefix.scope.as_str());
    writer.text(prefix.segment);
    writer.text(prefix.local_zone);
    write_register_ids(&mut writer, register_ids);
}

/// The body with one segment.
pub fn encode_body<'a, P>(
    segment: &str,
    version: i64,
    zones: impl Iterator<Item = (&'a str, P)> + Clone,
) -> Vec<u8>
where
    P: Iterator<Item = &'a Boxes> + Clone,
{
    let mut out =
        Vec::with_capacity(super::received_data::body_len(zones.clone()) + SEGMENT_LEN_ROUGHLY);
    let mut writer = Writer::new(&mut out);
    writer.map();
    writer.text(segment);
    writer.raw(&boxes::DEFINITION);
    writer.raw(&SEGMENT_DEFINITION);
    writer.object(2);
    writer.text(segment);
    writer.null();
    writer.long(version);
    writer.null();
    writer.map();
    for (zone, publishers) in zones.clone() {
        Writer::new(&mut out).text(zone);
        boxes::write_list(&mut out, publishers, &mut true);
    }
    let mut writer = Writer::new(&mut out);
    writer.end();
    writer.map();
    for (zone, publishers) in zones {
        writer.text(zone);
        writer.int(i32::try_from(publishers.count()).unwrap_or(i32::MAX));
    }
    writer.end();
    writer.end();
    out
}

/// What a segment takes besides its zones' boxes, with a few short zone names.
const SEGMENT_LEN_ROUGHLY: usize = 512;
