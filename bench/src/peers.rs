//! How the clients of each server speak, so that one loop can measure them all: what a subscriber says, what a publisher says, and what of
//! all they hear is a delivery.

mod bolt;
mod etcd;
mod http2;
mod nats;
mod redis;
mod rnacos;
pub(crate) mod roster;
pub(crate) mod server;
mod zookeeper;

use std::io::{self, ErrorKind};

use crate::target::Kind;

/// The connection of the publisher; subscribers have those from 1.
pub(crate) const PUBLISHER: usize = 0;

/// The clients of one server: a publisher and its subscribers, each on a connection of its own.
pub(crate) trait Dialect {
    /// Appends what the publisher says before all else.
    fn greet(&mut self, _out: &mut Vec<u8>) {}

    /// Appends what a subscriber says first.
    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>);

    /// Appends what publishes this text, and expects every subscriber to be shown it from here on. Changes are numbered from 1.
    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>);

    /// Appends a question whose answer tells that the server is done with all that the publisher said before.
    fn ping(&mut self, out: &mut Vec<u8>);

    /// Whether the server ends connections on which nobody pings.
    fn must_ping(&self) -> bool {
        false
    }

    /// Takes the first message of these bytes, if it is complete, and tells its length. What is appended to `out` is sent on the same
    /// connection.
    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>>;
}

/// What a message means to those who measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing to count.
    Nothing,
    /// The subscription stands, and showed the subscriber this version; zero if there was nothing to show.
    Ready(i64),
    /// The subscriber has the complete text of the newest change, under this version.
    Value(i64),
    /// The answer to a ping.
    Pong,
    /// What nobody should have heard: another text, an error.
    Wrong,
}

/// How the clients of this server speak.
pub(crate) fn dialect(kind: Kind, subscribers: usize) -> Box<dyn Dialect> {
    match kind {
        Kind::Redis => Box::new(redis::Redis::default()),
        Kind::Etcd => Box::new(etcd::Etcd::default()),
        Kind::Zookeeper => Box::new(zookeeper::Zookeeper::default()),
        Kind::Rnacos => Box::new(rnacos::Rnacos::default()),
        Kind::Nats => Box::new(nats::Nats::default()),
        _ => Box::new(bolt::Bolt::new(kind, subscribers)),
    }
}

/// The text of the newest change, where messages carry it as it is.
#[derive(Debug, Default)]
struct Newest {
    change: i64,
    text: Vec<u8>,
}

impl Newest {
    fn set(&mut self, change: u64, text: &str) {
        self.change = i64::try_from(change).expect("a run ends");
        self.text.clear();
        self.text.extend_from_slice(text.as_bytes());
    }

    fn heard(&self, text: &[u8]) -> Heard {
        if text == self.text {
            Heard::Value(self.change)
        } else {
            Heard::Wrong
        }
    }
}

/// The line that bytes begin with, if it is complete, without its end, and its length with it.
fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// A number in decimal digits.
fn number(digits: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        invalid(format!(
            "{} is not a number",
            String::from_utf8_lossy(digits)
        ))
    })
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.into())
}
