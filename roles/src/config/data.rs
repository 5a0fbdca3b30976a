//! `[data]`: the role that holds the datums.

use std::str::FromStr;
use std::time::Duration;

use rollcall_core::limits;
use serde::Serialize;

use super::listen::Listen;
use super::settings::Settings;
use super::{ADDRESS, as_millis};

/// The keys of `[data]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataConfig {
    /// Address of this role's health, digest and metrics over HTTP. Default: `"localhost:9622"`; port 0 leaves the choice
    /// to the system.
    pub http: Listen,
    /// How sure it is that a restart finds every publisher in the data directory: `"interval"`, `"always"` or `"off"`.
    /// Default: `"interval"`, which survives any end of the process, and a loss of power but for what the last
    /// `journal_sync_ms` brought. `"always"` survives that too, and each push waits for the disk. `"off"` writes no
    /// journal: after a restart a service is shown when its clients are back.
    pub journal: Journal,
    /// How often the journal is brought to the medium with `journal = "interval"`, in milliseconds. Default: 1000.
    /// Range: 10 to 60000. A loss of power takes what was not; below 100 the disk is kept busy by it.
    #[serde(rename = "journal_sync_ms", serialize_with = "as_millis")]
    pub journal_sync: Duration,
    /// How long publishers known from before a restart stay listed without their client, in milliseconds. Default:
    /// 30000. Range: 0 to 600000. Clients need up to 10 s to come back; below that their services vanish for a moment,
    /// and a publisher that died while the node was away is listed for so long.
    #[serde(rename = "return_grace_ms", serialize_with = "as_millis")]
    pub return_grace: Duration,
    /// How long publishers stay listed whose connections ended, where a list would lose more than half of what it showed
    /// in that time, in milliseconds. Default: 1500. Range: 0 to 60000. What looks like many deaths at once is most often a
    /// cut, and the clients are on their way back. 0 removes each at once; longer hides longer cuts, and real deaths too.
    #[serde(rename = "protect_ms", serialize_with = "as_millis")]
    pub protect: Duration,
}

impl DataConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let section = "data";
        let default = Listen::Localhost(9622);
        let must = "must be interval, always or off";
        let second = Duration::from_secs(1);
        Self {
            http: settings.parsed(section, "http", default, ADDRESS),
            journal: settings.parsed(section, "journal", Journal::Interval, must),
            journal_sync: settings.millis(section, "journal_sync_ms", second, 10..=60_000),
            return_grace: settings.millis(
                section,
                "return_grace_ms",
                limits::RETURN_GRACE,
                0..=600_000,
            ),
            protect: settings.millis(section, "protect_ms", limits::PROTECT, 0..=60_000),
        }
    }
}

/// How sure it is that a restart finds every publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Journal {
    /// The kernel has what changed before it is pushed, the medium a little later.
    Interval,
    /// The medium has what changed before it is pushed.
    Always,
    /// Nothing is written.
    Off,
}

impl FromStr for Journal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "interval" => Ok(Self::Interval),
            "always" => Ok(Self::Always),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}
