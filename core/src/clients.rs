//! Which clients an operator means.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Clients, by what an operator knows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// All at these addresses.
    Ips(BTreeSet<IpAddr>),
    /// Those with these connections.
    Peers(BTreeSet<SocketAddr>),
}

impl Clients {
    /// All at these addresses, whichever way they are written.
    pub fn at(ips: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::Ips(ips.into_iter().map(|ip| ip.to_canonical()).collect())
    }

    /// Those with these connections, whichever way these are written.
    pub fn with(peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let canonical = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Self::Peers(peers.into_iter().map(canonical).collect())
    }

    /// Whether this is one of them.
    pub fn have(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        match self {
            Self::Ips(ips) => ips.contains(&ip),
            Self::Peers(peers) => peers.contains(&SocketAddr::new(ip, peer.port())),
        }
    }

    /// Whether nobody is meant.
    pub fn are_none(&self) -> bool {
        match self {
            Self::Ips(ips) => ips.is_empty(),
            Self::Peers(peers) => peers.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let peer = |text: &str| text.parse().expect("an address");
        let at = Clients::at(["::ffff:10.0.0.1".parse().expect("an address")]);
        let with = Clients::with([peer("10.0.0.1:7")]);

        assert!(at.have(peer("10.0.0.1:1")) && !at.have(peer("10.0.0.2:1")));
        assert!(with.have(peer("[::ffff:10.0.0.1]:7")) && !with.have(peer("10.0.0.1:8")));
    }
}
