//! The answer to every registration.
//!
//! Fields on the wire: `success`, `registId`, `version`, `refused`, `message`. Clients act on the first, third and fourth;
//! a version that is not exactly the request's makes them send again, for ever.

use std::borrow::Cow;
use std::fmt::Display;

use super::MessageError;
use crate::bolt::{Frame, Head, Kind, Status};
use super::fields::{read_message, read_name};
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
    /// Whether the client must never send it again.
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
                b"message" => response.message = read_name(reader, "message")?,
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

/// Appends the whole answer to a request that decodes but cannot be taken; nothing to a one-way request.
pub fn write_refusal(out: &mut Vec<u8>, request: &Frame<'_>, reason: &dyn Display) {
    if matches!(request.kind, Kind::OneWay { .. }) {
        return;
    }
    let response = RegisterResponse {
        message: Some(Cow::Owned(reason.to_string())),
        ..RegisterResponse::default()
    };
    Head::answer(request, Status::Success, CLASS).write(out, |out| response.encode(out));
}
