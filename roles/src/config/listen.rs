//! Where a port is listened on: at an address, or at both of the host's loopback addresses.
//!
//! `localhost` is `127.0.0.1` for some programs and `::1` for others; a port for this host has to answer both.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Where a port is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At the loopback addresses of both families, on this port.
    Localhost(u16),
    /// At one address, or at all where it is unspecified.
    At(SocketAddr),
}

impl Listen {
    /// The address that must be had. A host without IPv6 has no other.
    pub fn first(self) -> SocketAddr {
        match self {
            Self::Localhost(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Self::At(address) => address,
        }
    }

    /// The address beside it, on this port.
    pub fn second(self, port: u16) -> Option<SocketAddr> {
        match self {
            Self::Localhost(_) => Some(SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
            Self::At(_) => None,
        }
    }

    /// The port, 0 if the system is to choose.
    pub fn port(self) -> u16 {
        self.first().port()
    }

    /// Whether only this host can connect.
    pub fn is_loopback(self) -> bool {
        self.first().ip().to_canonical().is_loopback()
    }

    /// Whether it is one address, and one that Java clients cannot parse.
    pub fn is_one_of_ipv6(self) -> bool {
        matches!(self.first().ip().to_canonical(), IpAddr::V6(ip) if !ip.is_unspecified())
    }

    /// Whether both want the same port of the same address.
    pub fn overlaps(self, other: Self) -> bool {
        let port = self.port();
        let mut pairs = self.ips().flat_map(|a| other.ips().map(move |b| (a, b)));
        let is_shared =
            |(a, b): (IpAddr, IpAddr)| a == b || a.is_unspecified() || b.is_unspecified();
        port != 0 && port == other.port() && pairs.any(is_shared)
    }

    fn ips(self) -> impl Iterator<Item = IpAddr> {
        let second = self.second(self.port());
        [self.first()]
            .into_iter()
            .chain(second)
            .map(|address| address.ip())
    }
}

impl FromStr for Listen {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("localhost:") {
            Some(port) => port.parse().map(Self::Localhost).map_err(|_| ()),
            None => text.parse().map(Self::At).map_err(|_| ()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse().expect(text)
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in [
            "localhost:9600",
            "localhost:0",
            "127.0.0.1:9600",
            "[::]:9600",
        ] {
            assert_eq!(listen(text).to_string(), text);
        }
        for text in [
            "localhost",
            "localhost:",
            "localhost:70000",
            "host:9600",
            "9600",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_for_this_host_is_at_both_loopback_addresses() {
        let both = listen("localhost:9600");

        assert_eq!(both.first().to_string(), "127.0.0.1:9600");
        assert_eq!(
            both.second(9).map(|address| address.to_string()).as_deref(),
            Some("[::1]:9")
        );
        assert!(both.is_loopback() && !both.is_one_of_ipv6());
        assert_eq!(listen("127.0.0.1:9600").second(9600), None);
        for other in [
            "localhost:9600",
            "127.0.0.1:9600",
            "[::1]:9600",
            "0.0.0.0:9600",
        ] {
            assert!(both.overlaps(listen(other)), "{other}");
        }
        for other in ["localhost:9601", "10.0.0.1:9600"] {
            assert!(!both.overlaps(listen(other)), "{other}");
        }
        assert!(!listen("localhost:0").overlaps(listen("localhost:0")));
    }
}
