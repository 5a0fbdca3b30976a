//! The address that clients are told: a host with or without a port, and never one that only this machine understands
//! as itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Where clients reach this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    host: String,
    port: Option<u16>,
}

impl Advertise {
    /// The host name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it differs from the one listened on.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// As clients parse it, `host:port`, with the port listened on where none is given.
    pub fn with_port(&self, listening: u16) -> String {
        let port = self.port.unwrap_or(listening);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl FromStr for Advertise {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = split(text)?;
        let port = port
            .map(|port| port.parse().ok().filter(|port| *port != 0).ok_or(()))
            .transpose()?;
        let reachable = match host.parse::<IpAddr>() {
            Ok(address) => !address.is_unspecified() && !address.is_multicast(),
            Err(_) => is_host_name(host),
        };
        if reachable {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(())
        }
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&self.with_port(port)),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for Advertise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `host`, `host:port`, `v6`, `[v6]` or `[v6]:port`.
fn split(text: &str) -> Result<(&str, Option<&str>), ()> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let Some(bracketed) = text.strip_prefix('[') else {
        return Ok(text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))));
    };
    let (host, rest) = bracketed.split_once(']').ok_or(())?;
    host.parse::<Ipv6Addr>().map_err(|_| ())?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(()),
    }
}

/// Whether it could be the name of a host. A name of digits and dots only is a mistyped address.
pub(crate) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(word)
    };
    let digits = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    host.len() <= 253 && !digits && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_come_with_or_without_a_port() {
        let told = |text: &str| {
            text.parse::<Advertise>()
                .map(|advertise| advertise.with_port(9600))
        };

        assert_eq!(told("10.0.0.5").as_deref(), Ok("10.0.0.5:9600"));
        assert_eq!(told("10.0.0.5:19600").as_deref(), Ok("10.0.0.5:19600"));
        assert_eq!(
            told("registry-0.example").as_deref(),
            Ok("registry-0.example:9600")
        );
        assert_eq!(told("2001:db8::5").as_deref(), Ok("[2001:db8::5]:9600"));
        assert_eq!(told("[2001:db8::5]:1").as_deref(), Ok("[2001:db8::5]:1"));
    }

    #[test]
    fn an_address_nobody_can_reach_is_refused() {
        for text in [
            "",
            "0.0.0.0",
            "[::]:9600",
            "10.0.0",
            "a:b",
            "host:0",
            "host:70000",
            "[::1",
            "[host]:1",
            "a b",
            "http://host",
        ] {
            assert!(text.parse::<Advertise>().is_err(), "{text}");
        }
    }
}
