//! `[data]`: the role that holds the datums.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::ADDRESS;
use super::settings::Settings;

/// The keys of `[data]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataConfig {
    /// Address of this role's health, digest and metrics over HTTP. Default: `"127.0.0.1:9622"`; port 0 leaves the choice
    /// to the system.
    pub http: SocketAddr,
}

impl DataConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9622));
        Self {
            http: settings.parsed("data", "http", default, ADDRESS),
        }
    }
}
