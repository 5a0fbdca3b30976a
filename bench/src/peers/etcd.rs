//! etcd through its JSON gateway, which is HTTP/1.1: a watch is a request whose answer never ends, one line per event, each with the value.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

use super::{Dialect, Heard, invalid, number};

const KEY: &str = "com.example.Fanout";

/// Clients of one key.
#[derive(Debug, Default)]
pub(super) struct Etcd {
    /// The newest text, as the gateway writes it.
    value: String,
    /// Which subscribers have the head of their answer.
    is_watching: Vec<bool>,
    line: Vec<u8>,
}

impl Etcd {
    /// An event, in one chunk or several: the last of them ends with the line.
    fn event(&mut self, bytes: &[u8]) -> io::Result<Option<(Heard, usize)>> {
        self.line.clear();
        let mut at = 0;
        while let Some((data, len)) = chunk(&bytes[at..])? {
            self.line.extend_from_slice(data);
            at += len;
            if data.ends_with(b"\n") {
                return Ok(Some((self.heard()?, at)));
            }
        }
        Ok(None)
    }

    fn heard(&self) -> io::Result<Heard> {
        let event = parsed(&self.line)?;
        let result = &event["result"];
        if result["created"] == true {
            return Ok(Heard::Ready(0));
        }
        let Some(kv) = result["events"].get(0).map(|event| &event["kv"]) else {
            return Err(invalid(event.to_string()));
        };
        let version = kv["mod_revision"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let is_expected = kv["value"].as_str() == Some(&self.value);
        Ok(match version {
            Some(version) if is_expected => Heard::Value(version),
            _ => Heard::Wrong,
        })
    }
}

impl Dialect for Etcd {
    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>) {
        self.is_watching.resize(subscriber + 1, false);
        let watch = json!({"create_request": {"key": BASE64.encode(KEY)}});
        post("/v3/watch", &watch, out);
    }

    fn publish(&mut self, _: u64, text: &str, out: &mut Vec<u8>) {
        self.value = BASE64.encode(text);
        let put = json!({"key": BASE64.encode(KEY), "value": self.value});
        post("/v3/kv/put", &put, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET /health HTTP/1.1\r\nHost: etcd\r\n\r\n");
    }

    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        _: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        if connection != super::PUBLISHER && self.is_watching[connection] {
            return self.event(bytes);
        }
        let Some(head) = head(bytes)? else {
            return Ok(None);
        };
        let Some(content_len) = head.content_len else {
            self.is_watching[connection] = true;
            return Ok(Some((Heard::Nothing, head.len)));
        };
        let end = head.len + content_len;
        let Some(body) = bytes.get(head.len..end) else {
            return Ok(None);
        };
        let answer = parsed(body)?;
        let heard = match (answer.get("health"), answer.get("header")) {
            (Some(health), _) if health == "true" => Heard::Pong,
            (None, Some(_)) => Heard::Nothing,
            _ => return Err(invalid(answer.to_string())),
        };
        Ok(Some((heard, end)))
    }
}

/// The head of an answer.
struct Head {
    len: usize,
    /// Nothing where the answer comes in chunks.
    content_len: Option<usize>,
}

fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    if !text.starts_with("http/1.1 200") {
        return Err(invalid(text));
    }
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    let len = fields.find(|(name, _)| *name == "content-length");
    Ok(Some(Head {
        len: end + 4,
        content_len: len.map(|(_, len)| number(len.as_bytes())).transpose()?,
    }))
}

/// The data of the chunk that bytes begin with, and its length with its frame.
fn chunk(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some((line, head)) = super::first_line(bytes) else {
        return Ok(None);
    };
    let len = std::str::from_utf8(line).ok();
    let len = len.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let end = head + len.ok_or_else(|| invalid("a chunk without its length"))?;
    Ok((bytes.len() >= end + 2).then(|| (&bytes[head..end], end + 2)))
}

fn parsed(json: &[u8]) -> io::Result<Json> {
    serde_json::from_slice(json)
        .map_err(|error| invalid(format!("{error}: {}", String::from_utf8_lossy(json))))
}

fn post(path: &str, body: &Json, out: &mut Vec<u8>) {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_in_two_chunks_is_one_delivery() {
        let mut etcd = Etcd::default();
        etcd.subscribe(1, &mut Vec::new());
        etcd.publish(7, "seven", &mut Vec::new());
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let heard = etcd.next(1, head, &mut Vec::new()).expect("no fault");
        assert_eq!(heard, Some((Heard::Nothing, head.len())));

        let event = r#"{"result":{"events":[{"kv":{"mod_revision":"42","value":"c2V2ZW4="}}]}}"#;
        let bytes = format!("{:x}\r\n{event}\r\n1\r\n\n\r\n", event.len());
        let bytes = bytes.as_bytes();
        for len in 0..bytes.len() {
            let heard = etcd.next(1, &bytes[..len], &mut Vec::new());
            assert_eq!(heard.expect("no fault"), None);
        }

        let heard = etcd.next(1, bytes, &mut Vec::new()).expect("no fault");
        assert_eq!(heard, Some((Heard::Value(42), bytes.len())));
    }
}
