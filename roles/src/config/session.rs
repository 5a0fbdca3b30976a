//! `[session]`: the role that clients talk to.

use std::time::Duration;

use rollcall_core::limits;
use serde::Serialize;

use super::listen::Listen;
use super::settings::Settings;
use super::{ADDRESS, as_millis};

/// The keys of `[session]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionConfig {
    /// Address of the clients' Bolt connections. Default: `"localhost:9600"`, both loopback addresses, this machine only;
    /// `"0.0.0.0:9600"` or `"[::]:9600"` serve the network. Port 0 leaves the choice to the system; the log tells which it was.
    pub listen: Listen,
    /// Address of discovery, health, admin and metrics over HTTP. Default: `"localhost:9603"`. Clients ask it which
    /// sessions there are, so it should be as reachable as `listen`.
    pub http: Listen,
    /// How long a connection may stay without a received byte before it is closed, in milliseconds. Default: 90000.
    /// Range: 1000 to 86400000. Clients send a heartbeat after 15 to 30 s of silence; below 60000 some of them are cut
    /// while they are well, above it a frozen client's publishers stay listed longer.
    #[serde(rename = "idle_close_ms", serialize_with = "as_millis")]
    pub idle_close: Duration,
    /// Most connections of this node. Default: 100000. Range: 1 to 10000000. One more is refused with a log line. Each
    /// costs a descriptor and, idle, about 6 KB with the kernel's part.
    pub connections_max: u32,
    /// Most connections from one address; 0 means no limit. Default: 0, because many clients may share an address
    /// behind address translation. Range: 0 to 10000000. Loopback is never limited.
    pub connections_per_ip_max: u32,
    /// Over how long a stopping node spreads the hand-over of its clients, in milliseconds. Default: 5000. Range: 0 to
    /// 600000. Longer is gentler to the nodes that take them over; nothing is waited for when no client is connected.
    #[serde(rename = "drain_ms", serialize_with = "as_millis")]
    pub drain: Duration,
    /// How long publishers stay listed after this node closed their connection itself, in milliseconds. Default: 15000.
    /// Range: 0 to 600000. Clients need up to 10 s to come back; below that their services vanish for a moment.
    #[serde(rename = "grace_ms", serialize_with = "as_millis")]
    pub grace: Duration,
    /// Most bytes of published strings that this node keeps, its cores in equal parts; 0 means a quarter of the memory that
    /// its control group, or else the machine, has. Default: 0. Range: 0 to 1125899906842624. One more is refused with the
    /// limit in the answer; lists and pushes take about as much again.
    pub published_bytes_max: u64,
    /// Shortest time between two change pushes of one service, in milliseconds. Default: 0, every change goes out at once.
    /// Range: 0 to 60000. Raising it saves work where services change faster than their subscribers care.
    #[serde(rename = "push_floor_ms", serialize_with = "as_millis")]
    pub push_floor: Duration,
    /// Most bytes that the list of one service may come to in a push. Default: 67108864. Range: 65536 to 1073741824. A
    /// registration that would cross it is refused. Every subscriber is sent the whole list after each change, so a longer
    /// one keeps slow readers busy for longer; what is there after a restart with a smaller bound is served.
    pub list_bytes_max: u32,
}

impl SessionConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let section = "session";
        Self {
            listen: settings.parsed(section, "listen", Listen::Localhost(9600), ADDRESS),
            http: settings.parsed(section, "http", Listen::Localhost(9603), ADDRESS),
            idle_close: settings.millis(
                section,
                "idle_close_ms",
                limits::IDLE_CLOSE,
                1_000..=86_400_000,
            ),
            connections_max: settings.number(section, "connections_max", 100_000, 1..=10_000_000),
            connections_per_ip_max: settings.number(
                section,
                "connections_per_ip_max",
                0,
                0..=10_000_000,
            ),
            drain: settings.millis(section, "drain_ms", Duration::from_secs(5), 0..=600_000),
            grace: settings.millis(section, "grace_ms", Duration::from_secs(15), 0..=600_000),
            published_bytes_max: settings.number(section, "published_bytes_max", 0, 0..=1 << 50),
            push_floor: settings.millis(section, "push_floor_ms", Duration::ZERO, 0..=60_000),
            list_bytes_max: settings.number(
                section,
                "list_bytes_max",
                limits::LIST_BYTES as u32,
                1 << 16..=1 << 30,
            ),
        }
    }
}
