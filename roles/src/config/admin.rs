//! `[admin]`: who may change things over HTTP.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Serialize;

use super::advertise::is_host_name;
use super::masked::MaskedString;
use super::settings::Settings;

/// The keys of `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdminConfig {
    /// Bearer token that changing HTTP requests must carry. Default: none, then only those from this machine are taken. At least 16 visible ASCII characters. Better said by the environment than in a file that others can read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<MaskedString>,
    /// Whether who connects over loopback may change things without the token, over HTTP and by a Bolt
    /// `CancelAddressRequest`. Default: true as long as there is no token, then false: behind a sidecar, a port-forward or a
    /// proxy everybody comes over loopback.
    pub trust_loopback: bool,
    /// Names under which this node is asked over HTTP. Default: none. Addresses, `localhost` and the advertised host are known
    /// anyway; health, metrics and discovery are answered under any name, all else is refused under another one, which a web
    /// page may have let point here.
    pub host_names: Vec<String>,
    /// Whether changing HTTP requests from other machines are taken without a token. Default: false. With true, whoever
    /// reaches an HTTP port can stop pushes and remove services.
    pub allow_unauthenticated_admin: bool,
    /// Addresses from which a Bolt `CancelAddressRequest` counts, beside a trusted loopback. Default: none. Each address listed can
    /// take any client's registrations off the registry.
    pub cancel_address_from: Vec<IpAddr>,
}

impl AdminConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let section = "admin";
        let addresses = "must be addresses without ports, such as [\"10.0.0.7\", \"2001:db8::7\"]";
        let token = read_token(settings);
        let names = "must be host names without ports, such as [\"registry.example\"]";
        let admin = Self {
            trust_loopback: settings.parsed(
                section,
                "trust_loopback",
                token.is_none(),
                "must be true or false",
            ),
            token,
            host_names: settings
                .parsed(section, "host_names", HostNames(Vec::new()), names)
                .0,
            allow_unauthenticated_admin: settings.parsed(
                section,
                "allow_unauthenticated_admin",
                false,
                "must be true or false",
            ),
            cancel_address_from: settings
                .parsed(
                    section,
                    "cancel_address_from",
                    Addresses(Vec::new()),
                    addresses,
                )
                .0,
        };
        if admin.token.is_some() && admin.allow_unauthenticated_admin {
            settings.clash("[admin] token is set and allow_unauthenticated_admin = true: remove one of the two".to_owned());
        }
        admin
    }
}

/// Shortest token: 16 random characters are beyond guessing over a network.
const TOKEN_BYTES_MIN: usize = 16;

fn read_token(settings: &mut Settings) -> Option<MaskedString> {
    let (place, token) = settings.secret("admin", "token")?;
    if token.len() >= TOKEN_BYTES_MIN && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(MaskedString::new(token));
    }
    settings.refuse_secret(place, "must be 16 or more visible ASCII characters");
    None
}

struct Addresses(Vec<IpAddr>);

impl FromStr for Addresses {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        items(text)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

struct HostNames(Vec<String>);

impl FromStr for HostNames {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let name = |item: &str| is_host_name(item).then(|| item.to_ascii_lowercase());
        let names = items(text).map(|item| name(item).ok_or(()));
        names.collect::<Result<_, _>>().map(Self)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    let items = text.split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}
