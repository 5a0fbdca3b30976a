//! `[node]`: what this node is, apart from the roles it plays.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use rollcall_core::limits;
use rollcall_core::names::{DEFAULT_DATA_CENTER, DEFAULT_ZONE};
use serde::{Serialize, Serializer};

use super::advertise::Advertise;
use super::settings::Settings;

/// The keys of `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeConfig {
    /// How many data-plane cores: `"all"` or a number. Default: `"all"`, every CPU that the affinity mask and the cgroup
    /// quota leave. Range: 1 to 256; more than there are CPUs is allowed and only useful in tests. Each core costs two
    /// threads and about 5 MB; more cores serve more connections, one is enough for some 100,000 idle ones.
    pub cores: Cores,
    /// How bytes reach the cores: `"auto"`, `"ring"` or `"plain"`. Default: `"auto"`, which takes the ring where the
    /// kernel has it (Linux 6.1) and says so in the log where not. `"ring"` refuses to start without it; `"plain"` is
    /// about a third slower and needs no more than Linux 5.8.
    pub transport: Transport,
    /// Name of this node's data center. Default: `"DefaultDataCenter"`. It is in every push, and clients compare it, so
    /// all nodes and clients of one cluster say the same.
    pub data_center: String,
    /// Zone of this node, and of registrations that name none. Default: `"DEFAULT_ZONE"`. A subscriber with scope zone
    /// sees publishers of its own zone only.
    pub zone: String,
    /// The host, or host and port, under which clients reach this node. Default: none, then a client is told the local
    /// address of the connection it asks on, which is right unless address translation stands between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Advertise>,
    /// Folder of what this node keeps on disk, created when first needed. Default: `"rollcall.data"` in the working
    /// directory.
    pub data_dir: PathBuf,
}

impl NodeConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            cores: settings.parsed("node", "cores", Cores::All, "must be \"all\" or a number from 1 to 256"),
            transport: settings.parsed("node", "transport", Transport::Auto, "must be auto, ring or plain"),
            data_center: name(settings, "data_center", DEFAULT_DATA_CENTER),
            zone: name(settings, "zone", DEFAULT_ZONE),
            advertise: settings.parsed_if_said(
                "node",
                "advertise",
                "must be a host or address that clients can reach, with or without a port, such as 10.0.0.5 or [2001:db8::5]:9600",
            ),
            data_dir: settings.parsed::<Folder>("node", "data_dir", Folder("rollcall.data".into()), "must be a path").0,
        }
    }
}

/// How many data-plane cores a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// One per CPU this process may use.
    All,
    /// So many.
    Count(NonZeroU16),
}

impl FromStr for Cores {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "all" => Ok(Self::All),
            number => match number.parse::<NonZeroU16>() {
                Ok(count) if usize::from(count.get()) <= limits::CORES_MAX => {
                    Ok(Self::Count(count))
                }
                _ => Err(()),
            },
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Count(count) => fmt::Display::fmt(count, f),
        }
    }
}

impl Serialize for Cores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Count(count) => serializer.serialize_u16(count.get()),
        }
    }
}

/// How bytes reach the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The ring where the kernel has what it needs, else plain.
    Auto,
    /// A private ring per core.
    Ring,
    /// The runtime's own streams.
    Plain,
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "plain" => Ok(Self::Plain),
            _ => Err(()),
        }
    }
}

/// A name that goes out on the wire.
struct WireName(String);

impl FromStr for WireName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = !text.is_empty() && text.len() <= rollcall_core::limits::NAME_BYTES_MAX;
        let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if fits && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(())
        }
    }
}

struct Folder(PathBuf);

impl FromStr for Folder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.is_empty() {
            Err(())
        } else {
            Ok(Self(text.into()))
        }
    }
}

fn name(settings: &mut Settings, key: &'static str, default: &str) -> String {
    let must = "must be a name of 1 to 1024 bytes without blanks";
    settings
        .parsed("node", key, WireName(default.to_owned()), must)
        .0
}
