//! What a client's response to a push means: the hottest message that a session reads.

use super::PushResult;
use super::result::DEFINITION;
use crate::bolt::{Frame, Kind, Status};

/// Whether a push reached its subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The client has it.
    Delivered,
    /// The client could not take it; it must be sent again.
    Failed,
}

const SUCCESS: &[u8] = b"o\x90TN";
const FAILURE: &[u8] = b"o\x90FN";

/// Reads the response to a push. All known clients write one of two bodies, which are recognised without decoding.
pub fn acknowledgement(response: &Frame<'_>) -> Acknowledgement {
    if response.kind
        != (Kind::Response {
            status: Status::Success,
        })
    {
        return Acknowledgement::Failed;
    }
    match response.content.strip_prefix(&DEFINITION) {
        Some(SUCCESS) => Acknowledgement::Delivered,
        Some(FAILURE) => Acknowledgement::Failed,
        _ => decoded(response.content),
    }
}

fn decoded(content: &[u8]) -> Acknowledgement {
    match PushResult::decode(content) {
        Ok(PushResult { success: true, .. }) => Acknowledgement::Delivered,
        Ok(_) | Err(_) => Acknowledgement::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::Protocol;

    fn of(status: Status, content: &[u8]) -> Acknowledgement {
        acknowledgement(&Frame {
            protocol: Protocol::V1,
            kind: Kind::Response { status },
            codec: 1,
            request_id: 7,
            class: super::super::result::CLASS.as_bytes(),
            header: &[],
            content,
        })
    }

    /// Longer than a name may be.
    const LONG: &str = match std::str::from_utf8(&[b'x'; 2_000]) {
        Ok(text) => text,
        Err(_) => "",
    };

    fn result(success: bool, message: Option<&'static str>) -> Vec<u8> {
        let mut content = Vec::new();
        PushResult {
            success,
            message: message.map(Into::into),
        }
        .encode(&mut content);
        content
    }

    #[test]
    fn success_means_delivered_with_or_without_a_message() {
        assert_eq!(
            of(Status::Success, &result(true, None)),
            Acknowledgement::Delivered
        );
        assert_eq!(
            of(Status::Success, &result(true, Some(LONG))),
            Acknowledgement::Delivered
        );
    }

    #[test]
    fn failure_and_error_status_and_rubbish_mean_failed() {
        assert_eq!(
            of(Status::Success, &result(false, None)),
            Acknowledgement::Failed
        );
        assert_eq!(
            of(Status::Success, &result(false, Some(""))),
            Acknowledgement::Failed
        );
        assert_eq!(
            of(Status::ServerException, &result(true, None)),
            Acknowledgement::Failed
        );
        assert_eq!(of(Status::Success, b"rubbish"), Acknowledgement::Failed);
        assert_eq!(of(Status::Success, b""), Acknowledgement::Failed);
    }
}
