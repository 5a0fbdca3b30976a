//! `[admin]`: who may change things over HTTP.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Serialize;

use super::masked::MaskedString;
use super::settings::Settings;

/// The keys of `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdminConfig {
    /// Bearer token that changing HTTP requests from other machines must carry. Default: none, then such requests are
    /// refused. At least 16 visible ASCII characters. Better said by the environment than in a file that others can read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<MaskedString>,
    /// Whether changing HTTP requests from other machines are taken without a token. Default: false. With true, whoever
    /// reaches an HTTP port can stop pushes and remove services.
    pub allow_unauthenticated_admin: bool,
    /// Addresses from which a Bolt `CancelAddressRequest` counts, beside loopback. Default: none. Each address listed can
    /// take any client's registrations off the registry.
    pub cancel_address_from: Vec<IpAddr>,
}

impl AdminConfig {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let section = "admin";
        let addresses = "must be addresses without ports, such as [\"10.0.0.7\", \"2001:db8::7\"]";
        let admin = Self {
            token: read_token(settings),
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
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}
