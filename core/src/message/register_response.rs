//! The answer to every registration.
//!
//! Fields on the wire: `success`, `registId`, `version`, `refused`, `message`. Clients act on the first, third and fourth;
//! a version that is not exactly the request's makes them send again, for ever.

use std::borrow::Cow;
use std::fmt::Display;

use super::MessageError;
use super::fields::{read_message, read_name};
use crate::bolt::{Frame, Head, Kind, Status};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.RegisterResponse";

const FIELDS: &[&str] = &["success", "registId", "version", "refused", "message"];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// How a registration went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterResponse<'a> {
    /// Whether the registration was taken; if not, the client tries again.
    pub success: bool,
    /// The request's.
    pub regist_id: Option<Cow<'a, str>>,
    /// The request's.
    pub version: i64,
    /// Whether the client must never send it again. It believes that only where `success` is true.
    pub refused: bool,
    /// For logs.
    pub message: Option<Cow<'a, str>>,
}

impl<'a> RegisterResponse<'a> {
    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut response = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"success" => response.success = reader.boolean()?.unwrap_or(false),
                b"registId" => response.regist_id = read_name(reader, "registId")?,
                b"version" => response.version = reader.long()?.unwrap_or(0),
                b"refused" => response.refused = reader.boolean()?.unwrap_or(false),
                b"message" => response.message = reader.text()?.map(|text| text.to_string_lossy()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(response)
    }

    /// Appends the content as the Java server writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        writer.boolean(self.success);
        writer.optional_text(self.regist_id.as_deref());
        writer.long(self.version);
        writer.boolean(self.refused);
        writer.optional_text(self.message.as_deref());
    }
}

/// Appends the whole answer to a request that decodes but can never be taken; nothing to a one-way request.
pub fn write_refusal(out: &mut Vec<u8>, request: &Frame<'_>, reason: &dyn Display) {
    if matches!(request.kind, Kind::OneWay { .. }) {
        return;
    }
    let response = RegisterResponse {
        success: true,
        refused: true,
        message: Some(Cow::Owned(reason.to_string())),
        ..RegisterResponse::default()
    };
    Head::answer(request, Status::Success, CLASS).write(out, |out| response.encode(out));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java server 5.4.2.
    const TAKEN: &[u8] =
        b"O\xc84com.alipay.sofa.registry.core.model.RegisterResponse\x95\x07success\x08registId\
        \x07version\x07refused\x07messageo\x90TS\x00$6ed653d2-e57c-4947-a14d-f8d1319bf4d4\xe1F\
        \x1bPublisher register success!";

    /// As the Java server 5.4.2 writes it.
    const NOT_TAKEN: &[u8] =
        b"O\xc84com.alipay.sofa.registry.core.model.RegisterResponse\x95\x07success\x08registId\
        \x07version\x07refused\x07messageo\x90FN\xe0FS\x00'Publisher register failed!Type:REGIST\
        ER";

    fn encoded(message: &RegisterResponse<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn taken() -> RegisterResponse<'static> {
        RegisterResponse {
            success: true,
            regist_id: Some("6ed653d2-e57c-4947-a14d-f8d1319bf4d4".into()),
            version: 1,
            refused: false,
            message: Some("Publisher register success!".into()),
        }
    }

    fn not_taken() -> RegisterResponse<'static> {
        RegisterResponse {
            message: Some("Publisher register failed!Type:REGISTER".into()),
            ..Default::default()
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(RegisterResponse::decode(TAKEN).unwrap(), taken());
        assert_eq!(RegisterResponse::decode(NOT_TAKEN).unwrap(), not_taken());
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&taken()), TAKEN);
        assert_eq!(encoded(&not_taken()), NOT_TAKEN);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..TAKEN.len() {
            assert!(RegisterResponse::decode(&TAKEN[..len]).is_err(), "{len}");
        }
    }
}
