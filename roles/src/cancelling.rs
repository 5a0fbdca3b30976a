//! Who may take clients off over Bolt.

use std::net::IpAddr;
use std::sync::Arc;

/// Connections named in one log line.
const NAMED_MAX: usize = 16;

/// The addresses from which a `CancelAddressRequest` counts.
#[derive(Clone, Debug)]
pub(crate) struct MayCancel {
    /// Whether this host's own do.
    pub(crate) loopback: bool,
    /// Those that an operator listed.
    pub(crate) others: Arc<[IpAddr]>,
}

impl Default for MayCancel {
    fn default() -> Self {
        Self {
            loopback: true,
            others: Arc::new([]),
        }
    }
}

impl MayCancel {
    /// Whether `peer`, in its canonical form, is one of them.
    pub(crate) fn allows(&self, peer: IpAddr) -> bool {
        self.loopback && peer.is_loopback() || self.others.contains(&peer)
    }

    /// The line of an operator's order. Refusals are counted elsewhere, as any client can cause as many as it likes.
    pub(crate) fn tell(peer: Option<IpAddr>, connections: &[String], is_allowed: bool) {
        let asked = &connections[..connections.len().min(NAMED_MAX)];
        let named = connections.len();
        match is_allowed {
            true => tracing::info!(
                role = "session",
                protocol = "bolt",
                path = "CancelAddressRequest",
                ?asked,
                named,
                ?peer,
                applied = true,
                "operator's change"
            ),
            false => tracing::debug!(?asked, named, ?peer, "may take no client off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_counts_only_where_it_is_trusted() {
        let may = |loopback| MayCancel {
            loopback,
            others: Arc::new(["10.0.0.7".parse().expect("an address")]),
        };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");

        for near in ["127.0.0.1", "::1"] {
            assert!(may(true).allows(ip(near)) && !may(false).allows(ip(near)));
        }
        assert!(may(false).allows(ip("10.0.0.7")) && !may(true).allows(ip("10.0.0.8")));
    }
}
