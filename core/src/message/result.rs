//! Success or not: the client's answer to a push, and the session's to a [`CancelAddressRequest`](super::CancelAddressRequest).
//!
//! Fields on the wire: `success`, `message`.

use std::borrow::Cow;

use super::MessageError;
use super::fields::read_message;
use crate::bolt::{Frame, Head, Kind, Status};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.Result";

const FIELDS: &[&str] = &["success", "message"];
pub(super) const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// The Java class `Result`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushResult<'a> {
    /// Whether it worked.
    pub success: bool,
    /// For logs.
    pub message: Option<Cow<'a, str>>,
}

impl<'a> PushResult<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut result = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"success" => result.success = reader.boolean()?.unwrap_or(false),
                b"message" => result.message = reader.text()?.map(|text| text.to_string_lossy()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(result)
    }

    /// Appends the content as Java writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        writer.boolean(self.success);
        writer.optional_text(self.message.as_deref());
    }
}

/// Appends the whole answer to a request that is not carried out; nothing to a one-way request.
pub fn write_refusal(out: &mut Vec<u8>, request: &Frame<'_>, reason: &str) {
    if matches!(request.kind, Kind::OneWay { .. }) {
        return;
    }
    let result = PushResult {
        success: false,
        message: Some(Cow::Borrowed(reason)),
    };
    Head::answer(request, Status::Success, CLASS).write(out, |out| result.encode(out));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java client 5.4.2; the Node client writes the same.
    const DELIVERED: &[u8] =
        b"O\xbacom.alipay.sofa.registry.core.model.Result\x92\x07success\x07messageo\x90TN";

    fn encoded(message: &PushResult<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn delivered() -> PushResult<'static> {
        PushResult {
            success: true,
            message: None,
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(PushResult::decode(DELIVERED).unwrap(), delivered());
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&delivered()), DELIVERED);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..DELIVERED.len() {
            assert!(PushResult::decode(&DELIVERED[..len]).is_err(), "{len}");
        }
    }
}
