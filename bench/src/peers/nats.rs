//! NATS: `SUB` and `PUB`. The message is the value; nothing is kept.

use std::io;

use super::{Dialect, Heard, Newest, first_line, invalid, number};

const SUBJECT: &str = "com.example.Fanout";
/// No answer to every command, as clients have it.
const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

/// Clients of one subject.
#[derive(Debug, Default)]
pub(super) struct Nats {
    newest: Newest,
    /// Which subscribers know that they are: the server answers their first ping behind the subscription.
    is_ready: Vec<bool>,
}

impl Nats {
    fn on_pong(&mut self, connection: usize) -> Heard {
        match self.is_ready.get_mut(connection) {
            Some(ready) if !*ready => {
                *ready = true;
                Heard::Ready(0)
            }
            _ => Heard::Pong,
        }
    }
}

impl Dialect for Nats {
    fn greet(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(CONNECT);
    }

    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>) {
        // The publisher has nothing to become ready for.
        self.is_ready.resize(subscriber, true);
        self.is_ready.push(false);
        out.extend_from_slice(CONNECT);
        out.extend_from_slice(format!("SUB {SUBJECT} 1\r\nPING\r\n").as_bytes());
    }

    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>) {
        self.newest.set(change, text);
        out.extend_from_slice(format!("PUB {SUBJECT} {}\r\n{text}\r\n", text.len()).as_bytes());
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PING\r\n");
    }

    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        let Some((line, head)) = first_line(bytes) else {
            return Ok(None);
        };
        let mut words = line.split(|&byte| byte == b' ');
        match words.next() {
            Some(b"MSG") => {
                let end = head + number(words.next_back().unwrap_or_default())?;
                let message = bytes.get(head..end).filter(|_| bytes.len() >= end + 2);
                Ok(message.map(|text| (self.newest.heard(text), end + 2)))
            }
            Some(b"PING") => {
                out.extend_from_slice(b"PONG\r\n");
                Ok(Some((Heard::Nothing, head)))
            }
            Some(b"PONG") => Ok(Some((self.on_pong(connection), head))),
            Some(b"INFO") => Ok(Some((Heard::Nothing, head))),
            _ => Err(invalid(String::from_utf8_lossy(line))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_complete() {
        let mut nats = Nats::default();
        nats.publish(7, "seven", &mut Vec::new());
        let message = b"MSG com.example.Fanout 1 5\r\nseven\r\n";

        for len in 0..message.len() {
            let heard = nats.next(1, &message[..len], &mut Vec::new());
            assert_eq!(heard.expect("no fault"), None);
        }
        let heard = nats.next(1, message, &mut Vec::new()).expect("no fault");
        assert_eq!(heard, Some((Heard::Value(7), message.len())));
    }

    #[test]
    fn the_first_pong_of_a_subscriber_says_that_it_is_one() {
        let mut nats = Nats::default();
        nats.subscribe(1, &mut Vec::new());
        let mut pong = |connection| {
            let heard = nats.next(connection, b"PONG\r\n", &mut Vec::new());
            heard.expect("no fault").expect("a whole line").0
        };

        assert_eq!(pong(0), Heard::Pong);
        assert_eq!(pong(1), Heard::Ready(0));
        assert_eq!(pong(1), Heard::Pong);
    }
}
