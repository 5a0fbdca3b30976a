//! The configuration: a TOML file, then `ROLLCALL__SECTION__KEY`, then flags become one checked [`Config`].
//!
//! Values are parsed once, here. Whoever holds a `Config` holds one that can be run.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

mod admin;
mod advertise;
mod data;
mod error;
mod listen;
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
pub use listen::Listen;
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
        [
            self.anybody_may_change(),
            self.nobody_can_be_told(),
            self.java_cannot_parse(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn anybody_may_change(&self) -> Option<String> {
        let mut http = self.listeners().into_iter().skip(1);
        let (key, listen) = http.find(|(_, listen)| !listen.is_loopback())?;
        self.admin.allow_unauthenticated_admin.then(|| {
            format!(
                "{key} = {listen} with allow_unauthenticated_admin = true: whoever reaches it can change everything"
            )
        })
    }

    /// Discovery that the network reaches and a Bolt port that it does not: clients there get an empty list, for ever.
    fn nobody_can_be_told(&self) -> Option<String> {
        let SessionConfig { listen, http, .. } = self.session;
        let is_hidden = listen.is_loopback() && !http.is_loopback();
        (is_hidden && self.node.advertise.is_none()).then(|| {
            format!(
                "[session] http = {http} tells other hosts of no server, as [session] listen = {listen} serves this host only: \
                 set listen to an address that clients reach, such as 0.0.0.0:{}, or set [node] advertise",
                listen.port()
            )
        })
    }

    /// Java clients split what they are told at its first colon.
    fn java_cannot_parse(&self) -> Option<String> {
        let listen = self.session.listen;
        let must = "Java clients cannot parse an IPv6 address";
        match &self.node.advertise {
            Some(advertise) => advertise
                .host()
                .contains(':')
                .then(|| format!("[node] advertise = {advertise}: {must}, advertise a host name")),
            None => listen.is_one_of_ipv6().then(|| {
                format!("[session] listen = {listen}: {must}, set [node] advertise to a host name")
            }),
        }
    }

    fn listeners(&self) -> [(&'static str, Listen); 4] {
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
                .find(|(_, other)| address.overlaps(*other));
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

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = u64::try_from(duration.as_millis()).map_err(serde::ser::Error::custom)?;
    serializer.serialize_u64(millis)
}
