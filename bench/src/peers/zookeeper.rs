//! ZooKeeper: a node with data and watches on it. What comes is a notice, which ends the watch; the subscriber reads the new value and watches
//! again in one request, and has the change when it has read it.

use std::io;

use super::{Dialect, Heard, Newest, invalid};

const NODE: &[u8] = b"/fanout";
/// The longest that the server grants; nobody pings while other servers have their turns.
const SESSION_MS: i32 = 3_600_000;
const CREATE: i32 = 1;
const READ: i32 = 4;
const WRITE: i32 = 5;
const PING: i32 = 11;
/// The number of a notice, which answers no request.
const NOTICE: i32 = -1;
/// Every ping has this number.
const PINGED: i32 = -2;
/// Our own numbers of requests: one per kind tells what is answered.
const CREATED: i32 = 1;
const WRITTEN: i32 = 2;
const FIRST_READ: i32 = 3;
const READ_AGAIN: i32 = 4;
/// Every right for everyone.
const ALL_RIGHTS: i32 = 31;
/// Where a node's facts, behind its data, have the transaction that wrote it last.
const WRITTEN_BY_AT: usize = 8;

/// Clients of one node.
#[derive(Debug, Default)]
pub(super) struct Zookeeper {
    newest: Newest,
    /// Which connections have their session.
    has_session: Vec<bool>,
}

impl Zookeeper {
    fn on_session(&mut self, connection: usize, message: &[u8]) -> io::Result<Heard> {
        self.has_session[connection] = true;
        let granted_ms = int(message, 4)?;
        if granted_ms == SESSION_MS {
            Ok(Heard::Nothing)
        } else {
            Err(invalid(format!(
                "a session of {granted_ms} ms, not {SESSION_MS}"
            )))
        }
    }

    fn on_answer(&self, message: &[u8], out: &mut Vec<u8>) -> io::Result<Heard> {
        let (number, error) = (int(message, 0)?, int(message, 12)?);
        let body = &message[16..];
        if error != 0 {
            return Err(invalid(format!("request {number}: error {error}")));
        }
        match number {
            NOTICE => {
                read(READ_AGAIN, out);
                Ok(Heard::Nothing)
            }
            PINGED => Ok(Heard::Pong),
            CREATED | WRITTEN => Ok(Heard::Nothing),
            FIRST_READ => Ok(Heard::Ready(value(body)?.1)),
            READ_AGAIN => {
                let (text, version) = value(body)?;
                Ok(match self.newest.heard(text) {
                    Heard::Value(_) => Heard::Value(version),
                    other => other,
                })
            }
            _ => Ok(Heard::Wrong),
        }
    }

    fn session(&mut self, connection: usize, out: &mut Vec<u8>) {
        self.has_session.resize(connection + 1, false);
        framed(out, |out| {
            // Version of the protocol, last transaction seen, length, no former session, its empty password, and no read-only server.
            out.extend_from_slice(&[0; 4 + 8]);
            out.extend_from_slice(&SESSION_MS.to_be_bytes());
            out.extend_from_slice(&[0; 8]);
            bytes(&[0; 16], out);
            out.push(0);
        });
    }
}

impl Dialect for Zookeeper {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.session(super::PUBLISHER, out);
        request(CREATED, CREATE, out, |out| {
            bytes(NODE, out);
            bytes(b"", out);
            out.extend_from_slice(&1_i32.to_be_bytes());
            out.extend_from_slice(&ALL_RIGHTS.to_be_bytes());
            bytes(b"world", out);
            bytes(b"anyone", out);
            // It stays when its creator leaves.
            out.extend_from_slice(&0_i32.to_be_bytes());
        });
    }

    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>) {
        self.session(subscriber, out);
        read(FIRST_READ, out);
    }

    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>) {
        self.newest.set(change, text);
        request(WRITTEN, WRITE, out, |out| {
            bytes(NODE, out);
            bytes(text.as_bytes(), out);
            // Whatever is there.
            out.extend_from_slice(&(-1_i32).to_be_bytes());
        });
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        request(PINGED, PING, out, |_| {});
    }

    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        let Some(len) = bytes.first_chunk() else {
            return Ok(None);
        };
        let end = 4 + usize::try_from(i32::from_be_bytes(*len))
            .map_err(|_| invalid("a message of less than nothing"))?;
        let Some(message) = bytes.get(4..end) else {
            return Ok(None);
        };
        let heard = if self.has_session[connection] {
            self.on_answer(message, out)?
        } else {
            self.on_session(connection, message)?
        };
        Ok(Some((heard, end)))
    }
}

/// Appends the request for the value and a watch.
fn read(number: i32, out: &mut Vec<u8>) {
    request(number, READ, out, |out| {
        bytes(NODE, out);
        out.push(1);
    });
}

fn request(number: i32, kind: i32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    framed(out, |out| {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        body(out);
    });
}

/// Appends what `body` does, behind its length.
fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = i32::try_from(out.len() - start - 4).expect("messages are small");
    out[start..][..4].copy_from_slice(&len.to_be_bytes());
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    framed(out, |out| out.extend_from_slice(bytes));
}

/// The data that a message begins with, and the transaction that wrote it.
fn value(message: &[u8]) -> io::Result<(&[u8], i64)> {
    let len = usize::try_from(int(message, 0)?).unwrap_or(0);
    let facts = message.get(4 + len + WRITTEN_BY_AT..);
    let version = facts.and_then(<[u8]>::first_chunk);
    let version = version.ok_or_else(|| invalid("data without facts"))?;
    Ok((&message[4..][..len], i64::from_be_bytes(*version)))
}

fn int(message: &[u8], at: usize) -> io::Result<i32> {
    let number = message.get(at..).and_then(<[u8]>::first_chunk);
    let number = number.ok_or_else(|| invalid("a message that ends early"))?;
    Ok(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: i32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        framed(&mut out, |out| {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&[0; 8 + 4]);
            out.extend_from_slice(body);
        });
        out
    }

    #[test]
    fn a_notice_makes_the_subscriber_read_and_what_it_reads_counts() {
        let mut zookeeper = Zookeeper {
            has_session: vec![true; 2],
            ..Zookeeper::default()
        };
        zookeeper.publish(7, "seven", &mut Vec::new());
        let mut asked = Vec::new();

        let notice = answer(NOTICE, &[0; 12]);
        let heard = zookeeper.next(1, &notice, &mut asked).expect("no fault");
        assert_eq!(heard, Some((Heard::Nothing, notice.len())));
        assert!(asked.ends_with(b"/fanout\x01"), "{asked:?}");

        let mut body = Vec::new();
        bytes(b"seven", &mut body);
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&42_i64.to_be_bytes());
        body.extend_from_slice(&[0; 52]);
        let data = answer(READ_AGAIN, &body);
        let heard = zookeeper.next(1, &data, &mut asked).expect("no fault");
        assert_eq!(heard, Some((Heard::Value(42), data.len())));
    }
}
