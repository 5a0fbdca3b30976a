//! The status of a Bolt response: the only values a Java peer survives.
//!
//! Any other value makes a Java decoder throw and close the connection, so a status is an enum, never a number.

use std::fmt;

/// What a Bolt response says about its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Status {
    /// The request was handled; the content is the answer.
    Success = 0x00,
    /// Unspecific; no known peer sends it.
    Error = 0x01,
    /// The handler failed, or nobody handles the request's class.
    ServerException = 0x02,
    /// Unspecific; no known peer sends it.
    Unknown = 0x03,
    /// The server was too busy to take the request.
    ServerThreadPoolBusy = 0x04,
    /// Communication failed; no known peer sends it.
    ErrorComm = 0x05,
    /// Nobody handles the class; named by the protocol, but Java sends `ServerException` instead.
    NoProcessor = 0x06,
    /// No answer in time; made up at the caller's side.
    Timeout = 0x07,
    /// The request could not be sent; made up at the caller's side.
    ClientSendError = 0x08,
    /// The codec failed; no known peer sends it.
    CodecException = 0x09,
    /// The connection ended first; made up at the caller's side.
    ConnectionClosed = 0x10,
    /// The answer could not be serialized.
    ServerSerialException = 0x11,
    /// The request could not be deserialized.
    ServerDeserialException = 0x12,
}

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Error,
        Self::ServerException,
        Self::Unknown,
        Self::ServerThreadPoolBusy,
        Self::ErrorComm,
        Self::NoProcessor,
        Self::Timeout,
        Self::ClientSendError,
        Self::CodecException,
        Self::ConnectionClosed,
        Self::ServerSerialException,
        Self::ServerDeserialException,
    ];

    /// The status with this number, if there is one: 0x0a to 0x0f are a gap.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Its number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::ServerException => "server exception",
            Self::Unknown => "unknown",
            Self::ServerThreadPoolBusy => "server thread pool busy",
            Self::ErrorComm => "communication error",
            Self::NoProcessor => "no processor",
            Self::Timeout => "timeout",
            Self::ClientSendError => "client send error",
            Self::CodecException => "codec exception",
            Self::ConnectionClosed => "connection closed",
            Self::ServerSerialException => "server serialization exception",
            Self::ServerDeserialException => "server deserialization exception",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_found_by_its_number() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
    }

    #[test]
    fn the_gap_before_connection_closed_has_no_status() {
        for code in 0x0a..0x10 {
            assert_eq!(Status::from_code(code), None);
        }
        assert_eq!(Status::from_code(0x13), None);
    }
}
