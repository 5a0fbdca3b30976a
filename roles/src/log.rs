//! Log lines to standard error, without ever making a data core wait for whoever reads them.
//!
//! Lines go through a bounded queue to a thread of their own. When the reader is slower than the node, lines are dropped
//! and counted, and the log says how many.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rollcall_core::limits::LOG_LINES_WAITING_MAX;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogConfig, LogFilter, LogFormat};

/// How long the end of the process waits for the last lines to be written.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<Line>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
static FILTER: OnceLock<(reload::Handle<EnvFilter, Registry>, Source)> = OnceLock::new();

/// Where the filter is read from.
pub type Source = Box<dyn Fn() -> Result<LogFilter, String> + Send + Sync>;

enum Line {
    Text(Vec<u8>),
    /// Everything before it is to be written, then the other end is dropped.
    Finish(SyncSender<Infallible>),
}

/// Starts logging for the rest of the process. Called once. `source` tells the filter anew.
pub fn start(config: &LogConfig, source: Source) -> io::Result<()> {
    let (queue, lines) = sync_channel(LOG_LINES_WAITING_MAX);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines, io::stderr()))?;
    QUEUE.set(queue.clone()).expect("logging is started once");
    let (filter, handle) = reload::Layer::new(config.filter.to_env_filter());
    FILTER
        .set((handle, source))
        .ok()
        .expect("logging is started once");
    let subscriber = Registry::default().with(layer(config, filter, Lines(queue)));
    tracing::subscriber::set_global_default(subscriber).expect("logging is started once");
    Ok(())
}

/// Reads the filter again from where it came from, and goes on with the old one if that cannot be.
pub fn read_filter_again() {
    let Some((handle, source)) = FILTER.get() else {
        return;
    };
    let filter = match source() {
        Ok(filter) => filter,
        Err(error) => {
            return tracing::error!(
                error,
                "the log's filter stays: the configuration cannot be read"
            );
        }
    };
    let changed = handle.reload(filter.to_env_filter());
    match changed {
        Ok(()) => tracing::info!(%filter, "the log's filter was read again"),
        Err(error) => tracing::error!(%error, "the log's filter stays"),
    }
}

/// Waits until what was logged is written, for at most a second.
pub fn finish() {
    let Some(queue) = QUEUE.get() else { return };
    let deadline = Instant::now() + FINISH_WAIT_MAX;
    let (written, wait) = sync_channel(0);
    let mut finish = Line::Finish(written);
    while let Err(TrySendError::Full(again)) = queue.try_send(finish) {
        if Instant::now() > deadline {
            return;
        }
        finish = again;
        std::thread::sleep(Duration::from_millis(1));
    }
    // A reader that does not read loses the rest, as told above.
    let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

/// Lines dropped so far because their reader was too slow.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn layer(
    config: &LogConfig,
    filter: impl Filter<Registry> + Send + Sync + 'static,
    lines: Lines,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = io::stderr().is_terminal();
    let human = match config.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(lines);
    if human {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines
            .with_ansi(colour)
            .with_target(false)
            .with_filter(filter)
            .boxed()
    } else {
        let json = lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        json.with_filter(filter).boxed()
    }
}

/// The writing end of the queue, one write per line.
#[derive(Clone)]
struct Lines(SyncSender<Line>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Line::Text(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Line>, mut out: impl Write) {
    let mut told = 0;
    for line in lines {
        match line {
            // A closed standard error cannot be told about itself.
            Line::Text(text) => drop(out.write_all(&text)),
            Line::Finish(written) => drop(written),
        }
        let dropped = dropped_lines();
        if dropped > told {
            // Said to the log itself, in its own format; it finds room because a line was just taken out.
            tracing::warn!(lines = dropped - told, "log lines dropped");
            told = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let (queue, _unread) = sync_channel(2);
        let mut lines = Lines(queue);
        let before = dropped_lines();

        for _ in 0..5 {
            lines.write_all(b"line\n").expect("writing never fails");
        }

        assert_eq!(dropped_lines() - before, 3);
    }

    #[test]
    fn a_json_line_holds_the_fields_beside_the_message() {
        let (queue, written) = sync_channel(2);
        let config = LogConfig {
            format: LogFormat::Json,
            ..crate::config::Config::default().log
        };
        let subscriber = Registry::default()
            .with(layer(&config, config.filter.to_env_filter(), Lines(queue)))
            .with(LevelFilter::INFO);

        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                role = "session",
                protocol = "bolt",
                address = "127.0.0.1:9600",
                "listening"
            );
            tracing::debug!("too quiet to be written");
        });

        let lines: Vec<_> = written.try_iter().collect();
        let [Line::Text(line)] = &lines[..] else {
            panic!("one line, not {}", lines.len())
        };
        let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "listening");
        assert_eq!(line["role"], "session");
        assert_eq!(line["address"], "127.0.0.1:9600");
        assert!(line["timestamp"].is_string());
    }
}
