//! One HTTP request over one connection, answered in full: all that asking the admin pages takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers as they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// GET.
pub fn get(server: SocketAddr, path: &str) -> Reply {
    request(server, "GET", path, None)
}

/// POST with a JSON body.
pub fn post(server: SocketAddr, path: &str, json: &str) -> Reply {
    request(server, "POST", path, Some(json))
}

/// Any method, with a JSON body or none.
pub fn request(server: SocketAddr, method: &str, path: &str, json: Option<&str>) -> Reply {
    let body = json.map_or(String::new(), |json| {
        format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        )
    });
    let end = if json.is_some() { "" } else { "\r\n" };
    exchange(
        server,
        &format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{body}{end}"),
    )
}

/// Sends a request as it is written and reads the answer.
pub fn exchange(server: SocketAddr, request: &str) -> Reply {
    try_exchange(server, request).unwrap_or_else(|| panic!("no answer to {request:?}"))
}

/// Sends a request as it is written and reads the answer, if the server does not close first.
pub fn try_exchange(server: SocketAddr, request: &str) -> Option<Reply> {
    let mut stream =
        TcpStream::connect_timeout(&server, PATIENCE).expect("the HTTP port takes connections");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket of ours");
    let mut bytes = Vec::new();
    // A server that refuses a request half read resets the connection; what it said before still counts.
    let _ = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_end(&mut bytes));
    bytes
        .windows(4)
        .any(|window| window == HEAD_END)
        .then(|| parse(&bytes))
}

fn parse(bytes: &[u8]) -> Reply {
    let end = bytes
        .windows(4)
        .position(|window| window == HEAD_END)
        .expect("an HTTP answer has a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = &bytes[end + 4..];
    let body = if chunked {
        unchunk(body)
    } else {
        body.to_vec()
    };
    Reply {
        status: status.expect("an HTTP answer has a status"),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .expect("a chunk has a length");
        let length = usize::from_str_radix(String::from_utf8_lossy(&rest[..line]).trim(), 16)
            .expect("hexadecimal digits");
        if length == 0 {
            return body;
        }
        body.extend(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_one_body() {
        let reply = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!((reply.status, reply.body.as_str()), (200, "abcde"));
    }
}
