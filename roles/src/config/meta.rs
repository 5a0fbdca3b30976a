//! `[meta]`: the role that knows the members and holds the operator's data.

use serde::Serialize;

use super::ADDRESS;
use super::listen::Listen;
use super::settings::Settings;

/// The keys of `[meta]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MetaConfig {
    /// Address of this role's health, admin and metrics over HTTP. Default: `"localhost:9615"`; port 0 leaves the choice
    /// to the system.
    pub http: Listen,
}

impl MetaConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let default = Listen::Localhost(9615);
        Self {
            http: settings.parsed("meta", "http", default, ADDRESS),
        }
    }
}
