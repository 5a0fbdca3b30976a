//! What the data port (9622) tells about the datums of this node.

use std::rc::Rc;

use rollcall_core::names::{CoreId, DataInfoId};
use rollcall_core::query::{Answer, DatumRow, PublisherRow, Query, Selection};
use rollcall_io::http::Response;
use serde_json::{Value, json};

use super::gather::{self, Out};
use super::node::{Node, Unanswered};
use super::reply::{self, Problem};
use super::session::{declared, role_of};
use super::{Asked, discovery, json as shape, params};

/// `/digest/datum/query?dataId=&group=&instanceId=&dataCenter=`: the datum with all its publishers.
pub(super) async fn datum(node: &Rc<dyn Node>, asked: &Asked) -> Result<Response, Problem> {
    let name = |name| asked.params.required(name);
    let id = DataInfoId::new(name("dataId")?, name("instanceId")?, name("group")?);
    let own = node.facts().data_center;
    let wanted = asked.params.value("dataCenter");
    let datum = match wanted.is_none_or(|wanted| wanted == own) {
        true => find(&**node, &id).await?,
        false => None,
    };
    match (datum, wanted) {
        (Some(datum), _) => write_datum(node, own, datum).await,
        (None, Some(wanted)) => Ok(reply::json(&json!({ wanted: null }))),
        (None, None) => Ok(reply::json(&json!({}))),
    }
}

/// Only the owner has it.
async fn find(node: &dyn Node, id: &DataInfoId) -> Result<Option<DatumRow>, Unanswered> {
    for core in 0..node.facts().cores {
        let query = Query::Datum {
            data_info_id: id.clone(),
        };
        if let Answer::Datum(Some(datum)) = node.ask(CoreId(core), query).await? {
            return Ok(Some(datum));
        }
    }
    Ok(None)
}

/// The fields in the sequence of 5.4.2. The publishers are read after the version, so under change they may be newer.
async fn write_datum(
    node: &Rc<dyn Node>,
    data_center: String,
    datum: DatumRow,
) -> Result<Response, Problem> {
    let id = datum.data_info_id;
    Out::answer(node, async move |out| {
        out.raw("{").await;
        out.value(&data_center).await;
        for (before, text) in [
            (":{\"dataInfoId\":", id.to_string().as_str()),
            (",\"dataCenter\":", &data_center),
            (",\"dataId\":", id.data_id()),
            (",\"instanceId\":", id.instance_id()),
            (",\"group\":", id.group()),
        ] {
            out.raw(before).await;
            out.value(&text).await;
        }
        out.raw(",\"pubMap\":{").await;
        out.rows("", stored(Selection::DataInfoId(id.clone())), write_entry)
            .await?;
        out.raw(&format!(
            "}},\"version\":{},\"containsUnPub\":false}}}}",
            datum.version
        ))
        .await;
        Ok(())
    })
    .await
}

fn stored(of: Selection) -> impl Fn(rollcall_core::query::Cursor) -> Query {
    move |after| Query::StoredPublishers {
        of: of.clone(),
        after,
    }
}

/// A publisher under its id.
async fn write_entry(out: &mut Out, row: PublisherRow) {
    out.value(&row.registration.regist_id.to_string()).await;
    out.raw(":").await;
    out.value(&shape::publisher(&row)).await;
}

/// `/digest/connect/query` with `{"ip":"port"}`, or as 6.x has it, `{"ip:port":"sessionIp:port"}`: what these connections
/// published, by connection.
pub(super) async fn by_connection(node: &Rc<dyn Node>, asked: &Asked) -> Result<Response, Problem> {
    let body = params::json_body(asked.headers(), &asked.request.body)?;
    let wrong = || Problem::Body {
        why: "must be an object of texts, {\"ip\":\"port\"}".into(),
    };
    let pairs = body.as_object().ok_or_else(wrong)?.iter();
    let connections = pairs.map(|(left, right)| {
        let right = right.as_str().ok_or_else(wrong)?;
        let (shown, text) = match left.parse::<std::net::SocketAddr>() {
            Ok(_) => (format!("{left}_{right}"), left.clone()),
            Err(_) => (with_port(left, right), with_port(left, right)),
        };
        Ok((shown, params::connection("connectId", &text)?))
    });
    let connections = params::bounded(
        "connectId",
        connections.collect::<Result<Vec<_>, Problem>>()?,
    )?;
    Out::answer(node, async move |out| {
        out.raw("{").await;
        let mut separator = "";
        for (shown, address) in connections {
            let before = format!("{separator}{}:{{", Value::from(shown));
            let selection = Selection::Connections(vec![address]);
            if out.rows(&before, stored(selection), write_entry).await? > 0 {
                out.raw("}").await;
                separator = ",";
            }
        }
        out.raw("}").await;
        Ok(())
    })
    .await
}

fn with_port(ip: &str, port: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// `/digest/datum/count`. After a restart it also says how many publishers are served and await their client.
pub(super) async fn count(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let counts = gather::counts(node).await?;
    let data_center = node.facts().data_center;
    let mut line = match counts.datums {
        0 => "CacheDigest datum cache is empty".to_owned(),
        datums => format!(
            "CacheDigest [Datum] size of datum in {data_center} is {datums},\
             [Publisher] size of publisher in {data_center} is {}",
            counts.stored_publishers
        ),
    };
    if counts.awaiting_publishers > 0 {
        let awaiting = counts.awaiting_publishers;
        line += &format!(",[Awaiting] size of publisher awaiting its client is {awaiting}");
    }
    Ok(declared(asked, line))
}

/// `/datum/api/getDatumSizes`: how many datums each data center has.
pub(super) async fn sizes(node: &dyn Node) -> Result<Response, Problem> {
    let counts = gather::counts(node).await?;
    Ok(reply::json(
        &json!({ node.facts().data_center: counts.datums }),
    ))
}

/// `/datum/api/summary/query`: how many publishers each datum has.
pub(super) async fn summary(node: &Rc<dyn Node>) -> Result<Response, Problem> {
    Out::answer(node, async |out| {
        out.raw("{").await;
        let query = |after| Query::Datums { after };
        let write = async |out: &mut Out, row: DatumRow| {
            out.value(&row.data_info_id.to_string()).await;
            out.raw(&format!(":{}", row.publishers)).await;
        };
        out.rows("", query, write).await?;
        out.raw("}").await;
        Ok(())
    })
    .await
}

/// `/digest/datum/getDataInfoIdList`: data center, id and number of publishers of each datum, with commas between.
pub(super) async fn data_info_ids(node: &Rc<dyn Node>) -> Result<Response, Problem> {
    let data_center = node.facts().data_center;
    Out::answer(node, async move |out| {
        let query = |after| Query::Datums { after };
        let write = async |out: &mut Out, row: DatumRow| {
            out.value(&format!(
                "{data_center},{},{}",
                row.data_info_id, row.publishers
            ))
            .await;
        };
        out.list(query, write).await
    })
    .await
}

/// `/digest/{type}/serverList/query`: the hosts of a role by data center; of data nodes only the others, as in 5.4.2.
pub(super) fn server_list(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let facts = node.facts();
    let has_role = role_of(&asked.capture)?;
    let shows_itself = asked.capture != "data" && has_role(&facts.roles);
    let own = shows_itself.then(|| discovery::own_host(node, &facts, &asked.request));
    let others = facts.others.iter().filter(|other| has_role(&other.roles));
    let hosts: Vec<String> = own
        .into_iter()
        .chain(others.map(|other| other.host.clone()))
        .collect();
    Ok(reply::json(&json!({ facts.data_center: hosts })))
}
