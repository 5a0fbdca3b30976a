//! The answer to a [`SyncConfigRequest`](super::SyncConfigRequest).
//!
//! Fields on the wire: `retryInterval`, `success`, `message`, `availableSegments`. The list is compared in order: it must
//! be the same each time, or every subscriber is called again.

use super::MessageError;
use super::fields::{read_message, read_string, read_strings};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.SyncConfigResponse";

const FIELDS: &[&str] = &["retryInterval", "success", "message", "availableSegments"];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// Settings for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncConfigResponse {
    /// How long to wait before the next question, in milliseconds; clients take no less than their own interval.
    pub retry_interval_ms: i32,
    /// Whether the settings count.
    pub success: bool,
    /// For logs.
    pub message: Option<String>,
    /// Segments whose pushes are shown; none means all.
    pub available_segments: Vec<String>,
}

impl SyncConfigResponse {
    /// Reads the content of a frame.
    pub fn decode(content: &[u8]) -> Result<Self, MessageError> {
        let mut response = Self::default();
        read_message(content, CLASS, |name, reader| {
            match name {
                b"retryInterval" => {
                    let interval = reader.long()?.unwrap_or(0);
                    response.retry_interval_ms = interval.try_into().unwrap_or(i32::MAX);
                }
                b"success" => response.success = reader.boolean()?.unwrap_or(false),
                b"message" => response.message = read_string(reader, "message")?,
                b"availableSegments" => {
                    response.available_segments = read_strings(reader, "availableSegments")?
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(response)
    }

    /// Appends the content as the Java server writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let segments = self.available_segments.iter().map(String::as_str);
        write(
            out,
            self.retry_interval_ms,
            self.success,
            self.message.as_deref(),
            segments,
        );
    }
}

/// Appends the answer of a session whose pushes have this one segment.
pub fn write_success(out: &mut Vec<u8>, segment: &str) {
    write(out, 0, true, None, std::iter::once(segment));
}

fn write<'a>(
    out: &mut Vec<u8>,
    retry_interval_ms: i32,
    success: bool,
    message: Option<&str>,
    segments: impl ExactSizeIterator<Item = &'a str>,
) {
    let mut writer = Writer::new(out);
    writer.raw(&DEFINITION);
    writer.object(0);
    writer.int(retry_interval_ms);
    writer.boolean(success);
    writer.optional_text(message);
    writer.list(segments.len());
    segments.for_each(|segment| writer.text(segment));
    writer.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java server 5.4.2.
    const ANSWER: &[u8] =
        b"O\xc86com.alipay.sofa.registry.core.model.SyncConfigResponse\x94\x0dretryInterval\x07suc\
        cess\x07message\x11availableSegmentso\x90\x90TNVn\x01\x11DefaultDataCenterz";

    fn answer() -> SyncConfigResponse {
        SyncConfigResponse {
            retry_interval_ms: 0,
            success: true,
            message: None,
            available_segments: vec!["DefaultDataCenter".into()],
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(SyncConfigResponse::decode(ANSWER).unwrap(), answer());
    }

    #[test]
    fn golden_bytes() {
        let (mut encoded, mut written) = (Vec::new(), Vec::new());

        answer().encode(&mut encoded);
        write_success(&mut written, "DefaultDataCenter");

        assert_eq!(encoded, ANSWER);
        assert_eq!(written, ANSWER);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..ANSWER.len() {
            assert!(SyncConfigResponse::decode(&ANSWER[..len]).is_err(), "{len}");
        }
    }
}
