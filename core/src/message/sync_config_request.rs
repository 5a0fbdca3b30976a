//! A client asks, every 30 seconds, how often to ask and which segments to believe.
//!
//! Fields on the wire: `dataCenter`, `zone`. The answer depends on neither.

use std::borrow::Cow;

use super::MessageError;
use super::fields::{read_message, read_name};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.SyncConfigRequest";

const FIELDS: &[&str] = &["dataCenter", "zone"];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// A question for the client's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncConfigRequest<'a> {
    /// The client's data center.
    pub data_center: Option<Cow<'a, str>>,
    /// The client's zone.
    pub zone: Option<Cow<'a, str>>,
}

impl<'a> SyncConfigRequest<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut request = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"dataCenter" => request.data_center = read_name(reader, "dataCenter")?,
                b"zone" => request.zone = read_name(reader, "zone")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }

    /// Appends the content as the Java client writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        writer.optional_text(self.data_center.as_deref());
        writer.optional_text(self.zone.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java client 5.4.2.
    const ASK: &[u8] =
        b"O\xc85com.alipay.sofa.registry.core.model.SyncConfigRequest\x92\x0adataCenter\x04zoneo\
        \x90\x11DefaultDataCenter\x0cDEFAULT_ZONE";

    fn encoded(message: &SyncConfigRequest<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn ask() -> SyncConfigRequest<'static> {
        SyncConfigRequest {
            data_center: Some("DefaultDataCenter".into()),
            zone: Some("DEFAULT_ZONE".into()),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(SyncConfigRequest::decode(ASK).unwrap(), ask());
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&ask()), ASK);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..ASK.len() {
            assert!(SyncConfigRequest::decode(&ASK[..len]).is_err(), "{len}");
        }
    }
}
