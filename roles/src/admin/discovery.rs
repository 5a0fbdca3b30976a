//! Where clients find a session server: the few answers that every client parses, in exactly the form they parse.
//!
//! The Java client splits at `;` and `:`, takes a trailing newline for a part of the port, and holds an empty list for the
//! truth; so there is no newline here, a zone without servers is shown all servers, and an IPv6 address is named only where
//! there is nothing else. Which address of this node that is, `own` decides.

mod own;

pub(super) use own::Warnings;

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
    Ok(text(joined(&of_zone(node, asked))))
}

/// `/api/servers/query.json`: the same as a list.
pub(super) fn servers_json(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let servers = of_zone(node, asked);
    Ok(json(&addresses(&servers)))
}

/// `/api/servers/queryWithWeight`: `host:port?weight=connections`; 6.x clients prefer the lower weight.
pub(super) async fn servers_with_weight(
    node: &dyn Node,
    asked: &Asked,
) -> Result<Response, Problem> {
    let servers = of_zone(node, asked);
    let here = gather::counts(node).await?.connections;
    let weighted = servers.iter().map(|server| {
        let weight = server.connections.unwrap_or(here);
        format!("{}?weight={weight}", server.address)
    });
    Ok(text(weighted.collect::<Vec<_>>().join(";")))
}

/// `/api/servers/dataCenter`: all servers, whatever their zone.
pub(super) fn servers_of_data_center(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let servers = all(node, &node.facts(), asked);
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
pub(super) fn own_host(node: &dyn Node, facts: &Facts, request: &Request) -> String {
    match own::named(node, facts, request) {
        Ok(named) => named.host,
        Err(_) => request.local.ip().to_string(),
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
fn of_zone(node: &dyn Node, asked: &Asked) -> Vec<Server> {
    let facts = node.facts();
    let zone = asked
        .params
        .value("zone")
        .unwrap_or(&facts.zone)
        .to_uppercase();
    let servers = all(node, &facts, asked);
    let is_near = |server: &Server| server.zone.to_uppercase() == zone;
    match servers.iter().any(is_near) {
        true => servers.into_iter().filter(is_near).collect(),
        false => servers,
    }
}

/// All servers that take clients, this one first.
fn all(node: &dyn Node, facts: &Facts, asked: &Asked) -> Vec<Server> {
    let others = facts
        .others
        .iter()
        .filter(|other| other.roles.session && !other.draining);
    let others = others.map(|other| Server {
        address: with_port(&other.host, other.bolt_port),
        zone: other.zone.clone(),
        connections: Some(other.connections),
    });
    this(node, facts, asked).into_iter().chain(others).collect()
}

/// This node, if it takes clients and there is a way to name it to this one.
fn this(node: &dyn Node, facts: &Facts, asked: &Asked) -> Option<Server> {
    if !facts.roles.session || facts.phase != Phase::Serving {
        return None;
    }
    let named = own::named(node, facts, &asked.request);
    asked.warnings.tell(facts, &asked.request, &named);
    let named = named.ok()?;
    Some(Server {
        address: with_port(&named.host, named.port),
        zone: facts.zone.clone(),
        connections: None,
    })
}

fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
