//! What a server of ours tells in its log while it starts.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::START_MAX;
use crate::clients::Address;

/// How a server came up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    bolt: Option<SocketAddr>,
    /// Where it tells its metrics.
    pub(super) http: Option<SocketAddr>,
    /// From its exec until it said that it is ready.
    pub(crate) took: Duration,
    /// What each of its cores found in its journal.
    pub(crate) replayed: Vec<Replayed>,
}

/// What a core found in its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// How many publishers.
    pub(crate) publishers: u64,
    /// How long it read.
    pub(crate) took: Duration,
}

/// Reads the log until the server is ready, and goes on reading so that it never blocks on a full pipe.
pub(super) fn hear(lines: impl BufRead + Send + 'static, executed: Instant) -> io::Result<Start> {
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut start = Start::default();
        let mut last = String::new();
        for line in lines.lines().map_while(Result::ok) {
            start.take(&line);
            if line.contains("\"ready\"") {
                start.took = executed.elapsed();
                let _ = tell.send(Ok(start.clone()));
            }
            if line.contains("\"ERROR\"") {
                eprintln!("server: {line}");
            }
            last = line;
        }
        // Nobody listens any more when it was ready before.
        let _ = tell.send(Err(io::Error::other(last)));
    });
    heard
        .recv_timeout(START_MAX)
        .map_err(|_| io::Error::other(format!("not ready within {START_MAX:?}")))?
}

impl Start {
    /// Where its clients connect.
    pub(super) fn address(&self) -> io::Result<Address> {
        let bolt = self.bolt.map(Address::from);
        bolt.ok_or_else(|| io::Error::other("no Bolt address in its log"))
    }

    fn take(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Json>(line) else {
            return;
        };
        let fields = line.get("fields").unwrap_or(&line);
        let text = |name| fields.get(name).and_then(Json::as_str);
        // The log writes numbers of 128 bits as texts.
        let number = |name| {
            let value = fields.get(name)?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        let address = || text("address")?.parse().ok();
        match text("protocol") {
            Some("bolt") => self.bolt = address().or(self.bolt),
            Some("http") => self.http = address().or(self.http),
            _ => {}
        }
        let is_replay = text("message").is_some_and(|message| message.starts_with("replayed"));
        if let (true, Some(publishers), Some(ms)) = (is_replay, number("publishers"), number("ms"))
        {
            self.replayed.push(Replayed {
                publishers,
                took: Duration::from_millis(ms),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_start_tells_where_it_listens_and_what_it_found() {
        let log = br#"{"level":"INFO","message":"replayed, the publishers await their clients","core":0,"publishers":7,"ms":"3"}
{"level":"INFO","message":"listening","protocol":"bolt","address":"127.0.0.1:9600"}
{"level":"INFO","message":"ready"}
"#;

        let start = hear(&log[..], Instant::now()).expect("it is ready");

        let found = Replayed {
            publishers: 7,
            took: Duration::from_millis(3),
        };
        assert_eq!(start.replayed, [found]);
        assert_eq!(start.bolt, Some(SocketAddr::from(([127, 0, 0, 1], 9600))));
        assert_eq!(start.http, None);
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_is_quoted() {
        let error = hear(&b"no such file\n"[..], Instant::now()).expect_err("never ready");

        assert_eq!(error.to_string(), "no such file");
    }
}
