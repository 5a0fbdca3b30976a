//! `[log]`: what is written to standard error, and how.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tracing_subscriber::EnvFilter;

use super::settings::Settings;

/// The keys of `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogConfig {
    /// Which lines: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module such as
    /// `"info,rollcall=debug"`. Default: `"info"`. `trace` writes a line per message and slows a busy node.
    pub filter: LogFilter,
    /// `"human"`, `"json"` or `"auto"`. Default: `"auto"`, human on a terminal and a JSON object per line elsewhere.
    pub format: LogFormat,
}

impl LogConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let filter =
            "must be error, warn, info, debug, trace, off, or a list such as info,rollcall=debug";
        Self {
            filter: settings.parsed("log", "filter", LogFilter("info".to_owned()), filter),
            format: settings.parsed(
                "log",
                "format",
                LogFormat::Auto,
                "must be auto, human or json",
            ),
        }
    }
}

/// A filter that is known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as the subscriber takes it.
    pub fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // A bare word that is no level would be taken for the name of a module, and silence the log.
        let bare = |part: &str| !part.contains(['=', '[', ':']);
        let level =
            |part: &str| part.eq_ignore_ascii_case("off") || part.parse::<tracing::Level>().is_ok();
        let mistyped = text
            .split(',')
            .map(str::trim)
            .any(|part| bare(part) && !level(part));
        if mistyped || EnvFilter::try_new(text).is_err() {
            Err(())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for LogFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}
