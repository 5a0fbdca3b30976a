//! Taking clients off and on again.
//!
//! Two different things: by connection (5.4.2) or by address at this node (6.x) it is done once, and what the client
//! registers later counts. As a lasting change (6.x) the address stays off until it is taken on.

use std::net::{IpAddr, SocketAddr};

use rollcall_core::meta::{MetaCommand, OffClient};
use rollcall_core::query::Order;
use rollcall_io::http::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::node::{Node, Proposed};
use super::params::{self, Params};
use super::reply::{self, Came, Outcome, OutcomeWith, Problem};
use super::{Asked, discovery};

/// Off or on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Off,
    On,
}

/// `/api/clients/off` and `/on` with `{"connectIds":[…]}`, each `"ip:port"` or the object of 6.x.
///
/// A connection that is not there is success: an operator tells all nodes and only one has it.
pub(super) async fn connections(
    node: &dyn Node,
    asked: &Asked,
    turn: Turn,
) -> Result<Response, Problem> {
    if asked.request.body.is_empty() {
        return Ok(reply::refused("Request can not be null."));
    }
    let body = params::json_body(asked.headers(), &asked.request.body)?;
    let connections = connect_ids(&body)?;
    if connections.is_empty() {
        return Ok(reply::refused("ConnectIds can not be null."));
    }
    let order = match turn {
        Turn::Off => Order::ConnectionsOff(connections),
        Turn::On => Order::ConnectionsOpen(connections),
    };
    let met = node.order(order).await?;
    Ok(done(met))
}

fn connect_ids(body: &Value) -> Result<Vec<SocketAddr>, Problem> {
    let wrong = || Problem::Body {
        why: "must be {\"connectIds\":[…]} and nothing else".into(),
    };
    let fields = body.as_object().ok_or_else(wrong)?;
    if fields.keys().any(|name| name != "connectIds") {
        return Err(wrong());
    }
    let ids = match fields.get("connectIds") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(wrong()),
    };
    let addresses: Result<Vec<_>, _> = ids.iter().map(connect_id).collect();
    params::bounded("connectIds", addresses?)
}

fn connect_id(id: &Value) -> Result<SocketAddr, Problem> {
    let wrong = || {
        let why =
            format!("must list ip:port or objects with clientHostAddress and clientPort, not {id}");
        Problem::Parameter {
            name: "connectIds",
            why,
        }
    };
    match id {
        Value::String(text) => params::connection("connectIds", text),
        Value::Object(fields) => {
            let host = fields
                .get("clientHostAddress")
                .and_then(Value::as_str)
                .ok_or_else(wrong)?;
            let port = fields
                .get("clientPort")
                .and_then(Value::as_u64)
                .ok_or_else(wrong)?;
            let port = u16::try_from(port).map_err(|_| wrong())?;
            Ok(SocketAddr::new(params::ip("connectIds", host)?, port))
        }
        _ => Err(wrong()),
    }
}

/// `/api/clientManager/clientOff` and `clientOpen` of the session port: the connections that these addresses have here.
pub(super) async fn here(node: &dyn Node, asked: &Asked, turn: Turn) -> Result<Response, Problem> {
    let Some(ips) = form_ips(asked)? else {
        return Ok(reply::refused("ips is empty"));
    };
    let order = match turn {
        Turn::Off => Order::ClientsOff(ips),
        Turn::On => Order::ClientsOpen(ips),
    };
    let met = node.order(order).await?;
    Ok(done(met))
}

/// The same of the meta port: for good, and for all sessions.
pub(super) async fn lasting(
    node: &dyn Node,
    asked: &Asked,
    turn: Turn,
) -> Result<Response, Problem> {
    match change(node, asked, turn).await? {
        Ok(proposed) => Ok(done(proposed.met)),
        Err(why) => Ok(reply::refused(&why)),
    }
}

/// `/api/clientManager/persistence/…` of the session port: the same, answered with the version of the list.
pub(super) async fn versioned(
    node: &dyn Node,
    asked: &Asked,
    turn: Turn,
) -> Result<Response, Problem> {
    let (version, came) = match change(node, asked, turn).await? {
        Ok(proposed) => (Some(proposed.applied.version), Came::Met(proposed.met)),
        Err(why) => (None, Came::Refused(why)),
    };
    let message = match &came {
        Came::Refused(why) => Some(why.as_str()),
        Came::Met(_) => None,
    };
    let response = reply::json(&OutcomeWith {
        success: version.is_some(),
        message,
        data: version,
    });
    Ok(reply::with_note(response, came))
}

/// `/api/clientManager/clientOffWithSub`: `ips` is a list of `{"address","pub","sub"}`.
pub(super) async fn lasting_by_side(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let form = Params::of_form(asked.headers(), &asked.request.body)?;
    let Some(text) = form.value("ips") else {
        return Ok(reply::refused("ips is empty"));
    };
    let wrong = || {
        let why =
            "must be a list of {\"address\":…,\"pub\":…,\"sub\":…} with one of the two true".into();
        Problem::Parameter { name: "ips", why }
    };
    let clients: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    let clients = clients.iter().map(|client| {
        let is_set = |name: &str| client.get(name).and_then(Value::as_bool).unwrap_or(false);
        let address = client
            .get("address")
            .and_then(Value::as_str)
            .ok_or_else(wrong)?;
        let (publishers, subscribers) = (is_set("pub"), is_set("sub"));
        let ip = params::ip("ips", address)?;
        (publishers || subscribers)
            .then_some(OffClient {
                ip,
                publishers,
                subscribers,
            })
            .ok_or_else(wrong)
    });
    let clients = params::bounded("ips", clients.collect::<Result<Vec<_>, _>>()?)?;
    match reply::of_command(node.propose(MetaCommand::ClientsOff(clients)).await)? {
        Ok(proposed) => Ok(done(proposed.met)),
        Err(refusal) => Ok(reply::refused(&refusal.to_string())),
    }
}

/// Proposes the lasting change; the inner error is an answer, not a failure.
async fn change(
    node: &dyn Node,
    asked: &Asked,
    turn: Turn,
) -> Result<Result<Proposed, String>, Problem> {
    let Some(ips) = form_ips(asked)? else {
        return Ok(Err("ips is empty".into()));
    };
    let off = |ip| OffClient {
        ip,
        publishers: true,
        subscribers: true,
    };
    let command = match turn {
        Turn::Off => MetaCommand::ClientsOff(ips.into_iter().map(off).collect()),
        Turn::On => MetaCommand::ClientsOpen(ips),
    };
    let proposed = reply::of_command(node.propose(command).await)?;
    Ok(proposed.map_err(|refusal| refusal.to_string()))
}

fn form_ips(asked: &Asked) -> Result<Option<Vec<IpAddr>>, Problem> {
    let form = Params::of_form(asked.headers(), &asked.request.body)?;
    let ips = form
        .value("ips")
        .map(|text| params::ips("ips", text))
        .transpose()?;
    Ok(ips.filter(|ips| !ips.is_empty()))
}

/// `/api/clientManager/query`: the list, as 6.x shows it.
pub(super) fn query(node: &dyn Node) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        version: i64,
        client_off_address: Map<String, Value>,
        reduces: [(); 0],
    }
    let meta = node.meta();
    if meta.clients_off_version() == 0 {
        return reply::json(&OutcomeWith {
            success: false,
            message: Some("data not found"),
            data: (),
        });
    }
    let entries = meta.clients_off().map(|off| {
        let address = off.client.ip.to_string();
        let entry = json!({
            "version": off.version, "address": address, "pub": off.client.publishers, "sub": off.client.subscribers,
        });
        (address, entry)
    });
    let data = List {
        version: meta.clients_off_version(),
        client_off_address: entries.collect(),
        reduces: [],
    };
    reply::json(&OutcomeWith {
        success: true,
        message: None,
        data,
    })
}

/// `/api/clientManager/zone/queryClientOff`: the addresses that are off, by session node.
pub(super) fn query_zone(node: &dyn Node, asked: &Asked) -> Response {
    let host = discovery::own_host(node, &node.facts(), &asked.request);
    let ips: Vec<String> = node
        .meta()
        .clients_off()
        .map(|off| off.client.ip.to_string())
        .collect();
    let data = json!({ host: { "success": true, "ips": ips } });
    reply::json(&OutcomeWith {
        success: true,
        message: None,
        data,
    })
}

/// `{"success":true,"message":""}`: these endpoints have an empty message where others have none.
fn done(met: u64) -> Response {
    let outcome = Outcome {
        success: true,
        message: Some(""),
    };
    reply::with_note(reply::json(&outcome), Came::Met(met))
}
