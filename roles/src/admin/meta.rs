//! What the meta port (9615) tells of the nodes, and what operators change there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rollcall_core::meta::{Blacklist, MetaCommand, Switch};
use rollcall_core::names::DataInfoId;
use rollcall_io::http::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::json::Url;
use super::node::{Node, Proposed};
use super::params::{self, Params};
use super::reply::{self, Came, Outcome, OutcomeWith, Problem};
use super::{Asked, discovery};

/// `/digest/{type}/node/query`: the nodes of a role by data center and address.
pub(super) fn nodes(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let facts = node.facts();
    let has_role = super::session::role_of(&asked.capture)?;
    let own_host = discovery::own_host(node, &facts, &asked.request);
    let own = has_role(&facts.roles).then_some((own_host.as_str(), facts.zone.as_str()));
    let others = facts.others.iter().filter(|other| has_role(&other.roles));
    let all = own
        .into_iter()
        .chain(others.map(|other| (other.host.as_str(), other.zone.as_str())));
    let entries = all.map(|(host, zone)| {
        let entry = node_entry(&asked.capture, host, zone, &facts.data_center);
        (host.to_owned(), entry)
    });
    let entries: Map<String, Value> = entries.collect();
    Ok(reply::json(&json!({ facts.data_center: entries })))
}

/// A node in the fields that 5.4.2 shows for its role.
fn node_entry(role: &str, host: &str, zone: &str, data_center: &str) -> Value {
    let url = Url::of_host(host);
    match role {
        "session" => json!({
            "nodeUrl": url, "regionId": zone, "name": null, "nodeStatus": "INIT", "nodeType": "SESSION", "ip": host,
        }),
        "data" => json!({
            "nodeUrl": url, "nodeName": host, "dataCenter": data_center, "regionId": null, "nodeStatus": "INIT",
            "registrationTimestamp": 0, "nodeType": "DATA", "ip": host,
        }),
        _ => json!({
            "nodeType": "META", "nodeUrl": url, "dataCenter": data_center, "name": host, "regionId": null,
            "nodeStatus": "INIT", "ip": host,
        }),
    }
}

/// `/digest/pushSwitch`.
pub(super) fn push_switch(node: &dyn Node) -> Response {
    match node.meta().switch(Switch::StopPush) {
        Some(true) => reply::json(&json!({ "pushSwitch": "closed" })),
        Some(false) => reply::json(&json!({ "pushSwitch": "open" })),
        None => reply::json(&json!({ "msg": "OperationStatus is NOTFOUND", "pushSwitch": "open" })),
    }
}

/// `/renewSwitch/get`: texts, also for what was never turned.
pub(super) fn renew_switches(node: &dyn Node) -> Response {
    let meta = node.meta();
    let text = |switch| {
        meta.switch(switch)
            .map_or("null".to_owned(), |on| on.to_string())
    };
    reply::json(&json!({
        "enableDataDatumExpire": text(Switch::DatumExpire),
        "enableDataRenewSnapshot": text(Switch::SessionRenew),
    }))
}

/// `/stopPushDataSwitch/…` and `/renewSwitch/…`.
pub(super) async fn turn(
    node: &dyn Node,
    switches: &[Switch],
    on: bool,
) -> Result<Response, Problem> {
    for &switch in switches {
        let command = MetaCommand::Turn {
            switch,
            on,
            version: clock_version(node),
        };
        if let Err(refusal) = reply::of_command(node.propose(command).await)? {
            return Ok(reply::refused(&refusal.to_string()));
        }
    }
    Ok(reply::success())
}

/// `/blacklist/update`: replaces the lists.
pub(super) async fn blacklist(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let text = std::str::from_utf8(&asked.request.body);
    let text = text.map_err(|_| Problem::Body {
        why: "is not text".into(),
    })?;
    let command = MetaCommand::Blacklist {
        blacklist: parse_blacklist(text)?,
        text: text.into(),
        version: clock_version(node),
    };
    apply(node, command).await
}

fn parse_blacklist(text: &str) -> Result<Blacklist, Problem> {
    let body = serde_json::from_str::<Value>(text);
    let body = body.map_err(|error| Problem::Body {
        why: format!("is not JSON: {error}"),
    })?;
    let wrong = |why: String| Problem::Body { why };
    let types = body
        .as_object()
        .ok_or_else(|| wrong("must be an object".into()))?;
    let mut blacklist = Blacklist::default();
    for (name, matches) in types {
        let list = match name.as_str() {
            "FORBIDDEN_PUB" => &mut blacklist.publishers,
            "FORBIDDEN_SUB_BY_PREFIX" => &mut blacklist.subscribers,
            other => {
                return Err(wrong(format!(
                    "knows FORBIDDEN_PUB and FORBIDDEN_SUB_BY_PREFIX, not {other}"
                )));
            }
        };
        let matches = matches
            .as_object()
            .ok_or_else(|| wrong(format!("{name} must be an object")))?;
        for (how, ips) in matches {
            if how != "IP_FULL" {
                return Err(wrong(format!(
                    "{name} can be matched by IP_FULL, not by {how}"
                )));
            }
            list.extend(parse_ips(name, ips)?);
        }
    }
    Ok(blacklist)
}

fn parse_ips(name: &str, ips: &Value) -> Result<BTreeSet<IpAddr>, Problem> {
    let wrong = |what: &Value| Problem::Body {
        why: format!("{name}.IP_FULL must list addresses, not {what}"),
    };
    let parse = |ip: &Value| {
        let parsed = ip
            .as_str()
            .and_then(|text| text.trim().parse::<IpAddr>().ok());
        parsed.map(|ip| ip.to_canonical()).ok_or_else(|| wrong(ip))
    };
    ips.as_array()
        .ok_or_else(|| wrong(ips))?
        .iter()
        .map(parse)
        .collect()
}

/// A stored value as an operator sends it.
struct Persistence {
    id: DataInfoId,
    version: i64,
    data: Option<Arc<str>>,
}

impl Persistence {
    fn of(asked: &Asked) -> Result<Self, Problem> {
        let body = params::json_body(asked.headers(), &asked.request.body)?;
        let fields = body.as_object().ok_or(Problem::Body {
            why: "must be an object".into(),
        })?;
        if let Some(unknown) = fields
            .keys()
            .find(|name| !PERSISTENCE_FIELDS.contains(&name.as_str()))
        {
            let why = format!("has {}, not {unknown}", PERSISTENCE_FIELDS.join(", "));
            return Err(Problem::Body { why });
        }
        let name = |name| {
            text_field(fields, name)?
                .filter(|text| !text.trim().is_empty())
                .ok_or(Problem::missing(name))
        };
        Ok(Self {
            id: DataInfoId::new(&name("dataId")?, &name("instanceId")?, &name("group")?),
            version: version_field(fields)?,
            data: text_field(fields, "data")?.map(Into::into),
        })
    }
}

const PERSISTENCE_FIELDS: [&str; 5] = ["dataId", "group", "instanceId", "version", "data"];

/// A text, or a number or truth value as its text, as Java's parser takes it.
fn text_field(fields: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Problem> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(scalar.to_string())),
        Some(_) => Err(Problem::Parameter {
            name,
            why: "must be a text".into(),
        }),
    }
}

fn version_field(fields: &Map<String, Value>) -> Result<i64, Problem> {
    let text = text_field(fields, "version")?.ok_or(Problem::missing("version"))?;
    let version = text
        .trim()
        .parse::<i64>()
        .ok()
        .filter(|version| *version >= 0);
    version.ok_or_else(|| Problem::Parameter {
        name: "version",
        why: format!("must be a whole number from 0 to 2^63 - 1, not {text}"),
    })
}

/// `/persistentData/put`.
pub(super) async fn put(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let Persistence { id, version, data } = Persistence::of(asked)?;
    let value = data.ok_or(Problem::missing("data"))?;
    apply(node, put_command(id, version, value)?).await
}

/// A setting of the registry itself may be put as a value, too; it is then what it means.
fn put_command(id: DataInfoId, version: i64, value: Arc<str>) -> Result<MetaCommand, Problem> {
    if let Some(switch) = Switch::ALL
        .into_iter()
        .find(|switch| switch.data_info_id() == id)
    {
        let on = value.parse().map_err(|_| Problem::Parameter {
            name: "data",
            why: format!("must be true or false for {id}, not {value:?}"),
        })?;
        return Ok(MetaCommand::Turn {
            switch,
            on,
            version,
        });
    }
    if id == Blacklist::data_info_id() {
        let blacklist = parse_blacklist(&value)?;
        return Ok(MetaCommand::Blacklist {
            blacklist,
            text: value,
            version,
        });
    }
    Ok(MetaCommand::Put {
        data_info_id: id,
        version,
        value,
    })
}

/// `/persistentData/remove`.
pub(super) async fn remove(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let Persistence { id, version, .. } = Persistence::of(asked)?;
    apply(
        node,
        MetaCommand::Remove {
            data_info_id: id,
            version,
        },
    )
    .await
}

async fn apply(node: &dyn Node, command: MetaCommand) -> Result<Response, Problem> {
    match reply::of_command(node.propose(command).await)? {
        Ok(Proposed { met: 0, .. }) => Ok(reply::success()),
        Ok(Proposed { met, .. }) => Ok(reply::with_note(reply::success(), Came::Met(met))),
        Err(refusal) => Ok(reply::refused(&refusal.to_string())),
    }
}

/// `/persistentData/query?dataInfoId=`.
pub(super) fn provided(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        data_id: &'a str,
        group: &'a str,
        instance_id: &'a str,
        version: i64,
        data: &'a str,
    }
    let id = params::data_info_id("dataInfoId", asked.params.required("dataInfoId")?)?;
    let meta = node.meta();
    let data = meta.provided(&id).and_then(|provided| {
        Some(Shown {
            data_id: id.data_id(),
            group: id.group(),
            instance_id: id.instance_id(),
            version: provided.version,
            data: provided.value.as_deref()?,
        })
    });
    Ok(reply::json(&OutcomeWith {
        success: true,
        message: None,
        data,
    }))
}

/// `/datacenter/query`.
pub(super) fn data_center(node: &dyn Node) -> Response {
    reply::json(&Outcome {
        success: true,
        message: Some(&node.facts().data_center),
    })
}

/// `/shutdown/update` with the form field `shutdown`.
pub(super) async fn shutdown(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let form = Params::of_form(asked.headers(), &asked.request.body)?;
    let text = form.required("shutdown")?;
    let requested = text.parse().map_err(|_| Problem::Parameter {
        name: "shutdown",
        why: format!("must be true or false, not {text:?}"),
    })?;
    apply(node, MetaCommand::Shutdown { requested }).await
}

/// `/shutdown/query`.
pub(super) fn shutdown_query(node: &dyn Node) -> Response {
    reply::json(&json!({ "switch": node.meta().is_shutdown_requested().to_string() }))
}

/// The version of a setting: the clock, as in 5.4.2. The state raises it if it would not grow.
fn clock_version(node: &dyn Node) -> i64 {
    i64::try_from(node.wall_ms()).unwrap_or(i64::MAX)
}
