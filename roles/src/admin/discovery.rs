//! Where clients find a session server: the few answers that every client parses, in exactly the form they parse.
//!
//! The Java client splits at `;` and `:`, takes a trailing newline for a part of the port, and holds an empty list for the
//! truth; so there is no newline here, and a zone without servers is shown all servers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rollcall_io::http::{Request, Response};

use super::Asked;
use super::gather;
use super::node::{Facts, Node, Phase};
use super::reply::{JSON, Makes, Problem, check_accept, json, text, typed};

/// A session server as a client is told of it.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    address: String,
    zone: String,
    /// `None` for this node, whose connections only its cores know.
    connections: Option<u64>,
}

/// `/api/servers/query`: `host:port;host:port`.
pub(super) fn servers(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    Ok(text(joined(&of_zone(&node.facts(), asked))))
}

/// `/api/servers/query.json`: the same as a list.
pub(super) fn servers_json(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let servers = of_zone(&node.facts(), asked);
    Ok(json(&addresses(&servers)))
}

/// `/api/servers/queryWithWeight`: `host:port?weight=connections`; 6.x clients prefer the lower weight.
pub(super) async fn servers_with_weight(
    node: &dyn Node,
    asked: &Asked,
) -> Result<Response, Problem> {
    let servers = of_zone(&node.facts(), asked);
    let here = gather::counts(node).await?.connections;
    let weighted = servers.iter().map(|server| {
        let weight = server.connections.unwrap_or(here);
        format!("{}?weight={weight}", server.address)
    });
    Ok(text(weighted.collect::<Vec<_>>().join(";")))
}

/// `/api/servers/dataCenter`: all servers, whatever their zone.
pub(super) fn servers_of_data_center(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let servers = all(&node.facts(), &asked.request);
    Ok(json(&addresses(&servers)))
}

/// `/api/servers/alive`: text, or what is wanted instead.
pub(super) fn alive(asked: &Asked) -> Response {
    let wants = |makes| check_accept(asked.headers(), makes).is_ok();
    match !wants(Makes::Text) && wants(Makes::Json) {
        true => typed(JSON, "OK"),
        false => text("OK"),
    }
}

/// `/api/servers/connectionNum`: how many client connections this node has.
pub(super) async fn connection_number(node: &dyn Node) -> Result<Response, Problem> {
    let connections = gather::counts(node).await?.connections;
    Ok(text(connections.to_string()))
}

/// This node's host as the asker should write it, without a port; for lists of nodes.
pub(super) fn own_host(facts: &Facts, request: &Request) -> String {
    match own_address(facts, request) {
        Some((host, _)) => host,
        None => request.local.ip().to_string(),
    }
}

fn joined(servers: &[Server]) -> String {
    addresses(servers).join(";")
}

fn addresses(servers: &[Server]) -> Vec<&str> {
    servers
        .iter()
        .map(|server| server.address.as_str())
        .collect()
}

/// The servers of the zone that is asked for, of our own zone if none is, and of all zones if that zone has none: a client
/// without a server could do nothing, and none can tell the difference.
fn of_zone(facts: &Facts, asked: &Asked) -> Vec<Server> {
    let zone = asked
        .params
        .value("zone")
        .unwrap_or(&facts.zone)
        .to_uppercase();
    let servers = all(facts, &asked.request);
    let is_near = |server: &Server| server.zone.to_uppercase() == zone;
    match servers.iter().any(is_near) {
        true => servers.into_iter().filter(is_near).collect(),
        false => servers,
    }
}

/// All servers that take clients, this one first.
fn all(facts: &Facts, request: &Request) -> Vec<Server> {
    let others = facts
        .others
        .iter()
        .filter(|other| other.roles.session && !other.draining);
    let others = others.map(|other| Server {
        address: with_port(&other.host, other.bolt_port),
        zone: other.zone.clone(),
        connections: Some(other.connections),
    });
    own(facts, request).into_iter().chain(others).collect()
}

fn own(facts: &Facts, request: &Request) -> Option<Server> {
    let is_at_work = facts.roles.session && facts.phase == Phase::Serving;
    let (host, port) = own_address(facts, request).filter(|_| is_at_work)?;
    Some(Server {
        address: with_port(&host, port),
        zone: facts.zone.clone(),
        connections: None,
    })
}

/// Where this client reaches our Bolt port: what an operator advertises, else where the port is bound, else the address at which
/// the client reached us. Never an address that only this host, or nobody, can connect to.
fn own_address(facts: &Facts, request: &Request) -> Option<(String, u16)> {
    let is_local = is_local(request);
    let is_useful = |ip: IpAddr| !ip.is_unspecified() && (is_local || !ip.is_loopback());
    let port = facts.bolt.port();
    if let Some(advertise) = &facts.advertise {
        let ip = advertise.host.parse::<IpAddr>();
        if ip.map_or(true, is_useful) {
            return Some((advertise.host.clone(), advertise.port.unwrap_or(port)));
        }
    }
    let bound = facts.bolt.ip().to_canonical();
    let candidates = [bound, asked_address(facts.bolt, request.local)];
    // A port that is bound to one address answers at no other.
    let candidates = if bound.is_unspecified() {
        &candidates[1..]
    } else {
        &candidates[..1]
    };
    let ip = candidates.iter().copied().find(|ip| is_useful(*ip))?;
    Some((ip.to_string(), port))
}

/// The address of ours that was asked, in the family in which the Bolt port listens.
fn asked_address(bolt: SocketAddr, local: SocketAddr) -> IpAddr {
    match local.ip() {
        IpAddr::V6(ip) if ip.is_loopback() && bolt.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether the client is on this host: it came over loopback, or from the address that it asked.
fn is_local(request: &Request) -> bool {
    request.peer.ip().is_loopback() || request.peer.ip() == request.local.ip()
}

fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
