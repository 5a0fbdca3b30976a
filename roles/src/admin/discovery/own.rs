//! Under which address a client is told this node: one at which the Bolt port listens, and which this client can parse and reach.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper::header::HOST;
use rollcall_io::http::Request;
use rollcall_io::seldom::Seldom;

use super::super::node::{Facts, Node};
use crate::config::is_host_name;

/// Where a client reaches the Bolt port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why there is no address for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// The Bolt port listens for this host only, and the client is elsewhere.
    ListensToItself,
    /// It listens at no address of the interface on which the client came.
    ListensElsewhere,
}

/// What an operator advertises; else an address at which the port listens and at which the client reached us, an IPv4 one first,
/// as no Java client can parse the others; else the name by which it asked; an IPv6 address only if there is nothing else.
pub(super) fn named(node: &dyn Node, facts: &Facts, request: &Request) -> Result<Named, Unnamed> {
    let is_local = is_local(request);
    let is_useful = |ip: &IpAddr| {
        let is_elsewhere = ip.is_loopback() && !is_local;
        !ip.is_unspecified() && !is_elsewhere && !needs_a_zone(*ip)
    };
    let port = facts.bolt.port();
    if let Some(advertise) = &facts.advertise {
        let ip = advertise.host.parse::<IpAddr>();
        if ip.is_err() || ip.is_ok_and(|ip| is_useful(&ip)) {
            let host = advertise.host.clone();
            let port = advertise.port.unwrap_or(port);
            return Ok(Named { host, port });
        }
    }
    let listening = listening(node, facts, request);
    let mut useful = listening.iter().filter(|ip| is_useful(ip));
    let first = useful.clone().next();
    let four = useful.find(|ip| ip.is_ipv4());
    let by_name = || {
        let name = name_asked(request)?;
        // It leads to the address that was asked, and must lead to one that is listened at.
        let leads_here = listening.contains(&request.local.ip());
        (leads_here && (is_local || name != "localhost")).then_some(name)
    };
    let host = match (four, first) {
        (Some(four), _) => four.to_string(),
        (None, Some(six)) => by_name().unwrap_or_else(|| six.to_string()),
        (None, None) if facts.bolt.ip().to_canonical().is_loopback() => {
            return Err(Unnamed::ListensToItself);
        }
        (None, None) => return Err(Unnamed::ListensElsewhere),
    };
    Ok(Named { host, port })
}

/// The addresses at which the Bolt port can be reached by whoever reached the one that was asked.
fn listening(node: &dyn Node, facts: &Facts, request: &Request) -> Vec<IpAddr> {
    let bound = facts.bolt.ip();
    // A port that is bound to one address answers at no other.
    if !bound.is_unspecified() {
        return vec![bound.to_canonical()];
    }
    let local = request.local.ip();
    let mut addresses = vec![local];
    if local.is_ipv6() && local.is_loopback() {
        addresses.push(Ipv4Addr::LOCALHOST.into());
    } else if local.is_ipv6() {
        addresses.extend(node.addresses_beside(local));
    }
    addresses.retain(|ip| ip.is_ipv4() || bound.is_ipv6());
    addresses
}

/// The name of a host by which the client asked, which leads here.
fn name_asked(request: &Request) -> Option<String> {
    let host = request.head.headers.get(HOST)?.to_str().ok()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    is_host_name(name).then(|| name.to_ascii_lowercase())
}

/// A link-local address leads somewhere only together with the interface, whose name at the client nobody here knows.
fn needs_a_zone(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether the client is on this host: it came over loopback, or from the address that it asked.
fn is_local(request: &Request) -> bool {
    request.peer.ip().is_loopback() || request.peer.ip() == request.local.ip()
}

/// So often a client that cannot reach this node is worth a line.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What operators are told of clients that cannot reach this node.
#[derive(Debug)]
pub(in crate::admin) struct Warnings {
    empty: Seldom,
    unparsable: Seldom,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            empty: Seldom::new(1, WARN_EVERY),
            unparsable: Seldom::new(1, WARN_EVERY),
        }
    }
}

impl Warnings {
    /// Says what to set when a client is told nothing, or something that only some clients can parse. Clients never ask why.
    pub(super) fn tell(&self, facts: &Facts, request: &Request, named: &Result<Named, Unnamed>) {
        let (peer, local, listen) = (request.peer, request.local, facts.bolt);
        match named {
            Err(unnamed) => {
                let Some(unsaid) = self.empty.pass() else {
                    return;
                };
                let advice = match unnamed {
                    Unnamed::ListensToItself => {
                        "[session] listen serves this host only: set it to an address that clients reach, such as 0.0.0.0:9600, or set [node] advertise"
                    }
                    Unnamed::ListensElsewhere => {
                        "[session] listen has no address where this client asked: set it to [::]:9600, or set [node] advertise"
                    }
                };
                tracing::warn!(%peer, %local, %listen, unsaid, advice, "a client was told no server");
            }
            Ok(named) if named.host.contains(':') => {
                let Some(unsaid) = self.unparsable.pass() else {
                    return;
                };
                let advice = "set [node] advertise to a host name, or give the interface an IPv4 address at which [session] listen listens";
                tracing::warn!(%peer, %local, %listen, unsaid, advice, "a client was told an IPv6 address, which Java clients cannot parse");
            }
            Ok(_) => {}
        }
    }
}
