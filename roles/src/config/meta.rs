//! `[meta]`: the role that knows the members and holds the operator's data.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::ADDRESS;
use super::settings::Settings;

/// The keys of `[meta]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MetaConfig {
    /// Address of this role's health, admin and metrics over HTTP. Default: `"127.0.0.1:9615"`; port 0 leaves the choice
    /// to the system.
    pub http: SocketAddr,
}

impl MetaConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9615));
        Self {
            http: settings.parsed("meta", "http", default, ADDRESS),
        }
    }
}
