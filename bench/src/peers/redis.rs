//! Redis: `SUBSCRIBE` and `PUBLISH`. The message is the value; nothing is kept.

use std::io;

use super::{Dialect, Heard, Newest, first_line, invalid, number};

const CHANNEL: &str = "com.example.Fanout";

/// Clients of one channel.
#[derive(Debug, Default)]
pub(super) struct Redis {
    newest: Newest,
}

impl Redis {
    /// A reply of several parts: a confirmation or a message.
    fn parts(&self, bytes: &[u8], head: usize, count: usize) -> io::Result<Option<(Heard, usize)>> {
        let mut parts = [&bytes[..0]; 3];
        if count != parts.len() {
            return Err(invalid(format!(
                "a reply of {count} parts, not {}",
                parts.len()
            )));
        }
        let mut at = head;
        for part in &mut parts {
            let Some((found, len)) = part_of(&bytes[at..])? else {
                return Ok(None);
            };
            *part = found;
            at += len;
        }
        let heard = match parts[0] {
            b"subscribe" => Heard::Ready(0),
            b"message" => self.newest.heard(parts[2]),
            _ => Heard::Wrong,
        };
        Ok(Some((heard, at)))
    }
}

/// A string or a number, and its length with its frame.
fn part_of(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some((line, head)) = first_line(bytes) else {
        return Ok(None);
    };
    match line.split_first() {
        Some((b':', digits)) => Ok(Some((digits, head))),
        Some((b'$', digits)) => {
            let end = head + number(digits)?;
            Ok((bytes.len() >= end + 2).then(|| (&bytes[head..end], end + 2)))
        }
        _ => Err(invalid("a part that is neither string nor number")),
    }
}

impl Dialect for Redis {
    fn subscribe(&mut self, _: usize, out: &mut Vec<u8>) {
        command(out, &["SUBSCRIBE", CHANNEL]);
    }

    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>) {
        self.newest.set(change, text);
        command(out, &["PUBLISH", CHANNEL, text]);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        command(out, &["PING"]);
    }

    fn next(
        &mut self,
        _: usize,
        bytes: &[u8],
        _: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        let Some((line, len)) = first_line(bytes) else {
            return Ok(None);
        };
        match line.split_first() {
            Some((b'*', count)) => self.parts(bytes, len, number(count)?),
            Some((b'+', b"PONG")) => Ok(Some((Heard::Pong, len))),
            // How many subscribers a message was for.
            Some((b':', _)) => Ok(Some((Heard::Nothing, len))),
            _ => Err(invalid(String::from_utf8_lossy(line))),
        }
    }
}

fn command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_complete() {
        let mut redis = Redis::default();
        redis.publish(7, "seven", &mut Vec::new());
        let message = b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nseven\r\n";

        for len in 0..message.len() {
            let heard = redis.next(1, &message[..len], &mut Vec::new());
            assert_eq!(heard.expect("no fault"), None);
        }
        let heard = redis.next(1, message, &mut Vec::new()).expect("no fault");
        assert_eq!(heard, Some((Heard::Value(7), message.len())));
    }

    #[test]
    fn a_message_of_another_text_is_wrong() {
        let mut redis = Redis::default();
        redis.publish(7, "seven", &mut Vec::new());

        let old = b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\nsix\r\n";
        let heard = redis.next(1, old, &mut Vec::new()).expect("no fault");

        assert_eq!(heard, Some((Heard::Wrong, old.len())));
    }

    #[test]
    fn an_error_of_the_server_is_told() {
        let mut redis = Redis::default();

        let heard = redis.next(1, b"-ERR max number of clients\r\n", &mut Vec::new());

        let error = heard.expect_err("an error");
        assert_eq!(error.to_string(), "-ERR max number of clients");
    }
}
