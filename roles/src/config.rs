//! The configuration: a TOML file, then `ROLLCALL__SECTION__KEY`, then flags become one checked [`Config`].
//!
//! Values are parsed once, here. Whoever holds a `Config` holds one that can be run.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

mod admin;
mod advertise;
mod data;
mod error;
mod log;
mod masked;
mod meta;
mod node;
mod session;
mod settings;

pub use admin::AdminConfig;
pub use advertise::Advertise;
pub(crate) use advertise::is_host_name;
pub use data::{DataConfig, Journal};
pub use error::{ConfigError, ConfigErrors, Place, environment_variable};
pub use log::{LogConfig, LogFilter, LogFormat};
pub use masked::MaskedString;
pub use meta::MetaConfig;
pub use node::{Cores, NodeConfig, Transport};
pub use session::SessionConfig;
pub use settings::{FlagValue, Settings};

const ADDRESS: &str = "must be an address with a port, such as 127.0.0.1:9600 or [::1]:9600";

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What this node is.
    pub node: NodeConfig,
    /// The role that clients talk to.
    pub session: SessionConfig,
    /// The role that holds the datums.
    pub data: DataConfig,
    /// The role that knows the members.
    pub meta: MetaConfig,
    /// Who may change things over HTTP.
    pub admin: AdminConfig,
    /// What is written to standard error.
    pub log: LogConfig,
}

impl Config {
    /// The configuration that `file`, the environment and the flags make together; the later of them wins.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = FlagValue>,
    ) -> Result<Self, ConfigErrors> {
        let mut settings = Settings::default();
        if let Some(file) = file {
            settings.add_file(file);
        }
        settings.add_environment(environment);
        settings.add_flags(flags);
        Self::read(settings)
    }

    /// The configuration that these settings make, or all that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, ConfigErrors> {
        let config = Self {
            node: NodeConfig::read(&mut settings),
            session: SessionConfig::read(&mut settings),
            data: DataConfig::read(&mut settings),
            meta: MetaConfig::read(&mut settings),
            admin: AdminConfig::read(&mut settings),
            log: LogConfig::read(&mut settings),
        };
        config.refuse_an_address_used_twice(&mut settings);
        settings.finish().map(|()| config)
    }

    /// What is allowed but should not go unsaid when the node starts.
    pub fn warnings(&self) -> Vec<String> {
        let open = self
            .listeners()
            .into_iter()
            .skip(1)
            .find(|(_, address)| !address.ip().is_loopback());
        match open {
            Some((key, address)) if self.admin.allow_unauthenticated_admin => {
                vec![format!(
                    "{key} = {address} with allow_unauthenticated_admin = true: whoever reaches it can change everything"
                )]
            }
            _ => Vec::new(),
        }
    }

    fn listeners(&self) -> [(&'static str, SocketAddr); 4] {
        [
            ("[session] listen", self.session.listen),
            ("[session] http", self.session.http),
            ("[meta] http", self.meta.http),
            ("[data] http", self.data.http),
        ]
    }

    fn refuse_an_address_used_twice(&self, settings: &mut Settings) {
        let listeners = self.listeners();
        for (index, (key, address)) in listeners.iter().enumerate() {
            let twin = listeners[..index]
                .iter()
                .find(|(_, other)| overlap(*address, *other));
            if let Some((other_key, other)) = twin {
                settings.clash(format!(
                    "{other_key} = {other} and {key} = {address}: each needs a port of its own"
                ));
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::read(Settings::default()).expect("the defaults are within their own ranges")
    }
}

impl fmt::Display for Config {
    /// As TOML that loads again, apart from secrets, which are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).expect("every field is a plain TOML value"))
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = u64::try_from(duration.as_millis()).map_err(serde::ser::Error::custom)?;
    serializer.serialize_u64(millis)
}
