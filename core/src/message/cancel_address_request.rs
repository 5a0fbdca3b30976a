//! An operator's tool asks to end the registrations of some connections.
//!
//! Field on the wire: `connectIds`, a list of `ip:port`. No client sends it; the answer is a [`PushResult`](super::PushResult).

use super::MessageError;
use super::fields::{read_message, read_strings};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.common.model.sessionserver.CancelAddressRequest";

const FIELDS: &[&str] = &["connectIds"];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// Names the connections whose registrations shall end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelAddressRequest {
    /// Addresses of clients, `ip:port` each.
    pub connect_ids: Vec<String>,
}

impl CancelAddressRequest {
    /// Reads the content of a frame.
    pub fn decode(content: &[u8]) -> Result<Self, MessageError> {
        let mut request = Self::default();
        read_message(content, CLASS, |name, reader| {
            if name != b"connectIds" {
                return Ok(false);
            }
            request.connect_ids = read_strings(reader, "connectIds")?;
            Ok(true)
        })?;
        Ok(request)
    }

    /// Appends the content as Java writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        writer.list(self.connect_ids.len());
        self.connect_ids.iter().for_each(|id| writer.text(id));
        writer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel() -> (CancelAddressRequest, Vec<u8>) {
        let request = CancelAddressRequest {
            connect_ids: vec!["10.0.0.1:4711".into(), "10.0.0.2:4712".into()],
        };
        let mut out = Vec::new();
        request.encode(&mut out);
        (request, out)
    }

    #[test]
    fn round_trip() {
        let (request, bytes) = cancel();

        assert_eq!(CancelAddressRequest::decode(&bytes).unwrap(), request);
    }

    #[test]
    fn golden_bytes() {
        let (_, bytes) = cancel();

        let list = b"\x91\x0aconnectIdso\x90Vn\x02\x0d10.0.0.1:4711\x0d10.0.0.2:4712z";
        assert!(bytes.starts_with(
            b"O\xc8\x48com.alipay.sofa.registry.common.model.sessionserver.CancelAddressRequest"
        ));
        assert!(bytes.ends_with(list));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (_, bytes) = cancel();
        for len in 0..bytes.len() {
            assert!(
                CancelAddressRequest::decode(&bytes[..len]).is_err(),
                "{len}"
            );
        }
    }
}
