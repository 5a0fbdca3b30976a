//! What the data port (9622) tells about the datums of this node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rollcall_core::limits;
use rollcall_core::names::{CoreId, DataInfoId};
use rollcall_core::publisher::Publisher;
use rollcall_core::query::{
    Answer, Cursor, DatumRow, HeldPublisher, PublisherRow, Query, Selection,
};
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

fn stored(of: Selection) -> impl Fn(Cursor) -> Query {
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
        let mut rest = &connections[..];
        let mut before = "{";
        while !rest.is_empty() {
            let (told, left) = write_first(out, rest, &mut before).await?;
            debug_assert!(told > 0, "each walk gets further");
            rest = left;
        }
        out.raw(if before == "{" { "{}" } else { "}" }).await;
        Ok(())
    })
    .await
}

/// Writes what the first of these connections published, of as many as may be held at a time: all that were asked for are one walk over
/// the datums, unless they hold very much. Says how many were written, and who is left.
async fn write_first<'a>(
    out: &mut Out,
    connections: &'a [(String, SocketAddr)],
    before: &mut &'static str,
) -> Result<(usize, &'a [(String, SocketAddr)]), Unanswered> {
    let grouped = Grouped::gather(out, connections).await?;
    if grouped.whole == 0 {
        let (shown, address) = &connections[0];
        let head = format!("{before}{}:{{", Value::from(shown.as_str()));
        let alone = Selection::Connections(Arc::new([*address].into()));
        if out.rows(&head, stored(alone), write_entry).await? > 0 {
            out.raw("}").await;
            *before = ",";
        }
        return Ok((1, &connections[1..]));
    }
    let (first, left) = connections.split_at(grouped.whole);
    for (shown, address) in first {
        let mut comma = "";
        for held in grouped.of(address) {
            if comma.is_empty() {
                let head = format!("{before}{}:{{", Value::from(shown.as_str()));
                out.raw(&head).await;
            }
            out.raw(comma).await;
            write_entry(out, held.clone().into()).await;
            comma = ",";
        }
        if !comma.is_empty() {
            out.raw("}").await;
            *before = ",";
        }
    }
    Ok((first.len(), left))
}

/// Tests write as JSON what is beyond it, so there it is less.
pub(super) const GROUPED_BYTES_MAX: usize = match cfg!(test) {
    true => 1 << 20,
    false => limits::HTTP_GROUPED_BYTES_MAX,
};

/// Publishers by the connection that they came on.
struct Grouped {
    /// Of each address the place where it is listed first.
    listed: BTreeMap<SocketAddr, usize>,
    by_place: BTreeMap<usize, Vec<HeldPublisher>>,
    bytes: usize,
    /// The connections before this place are gathered whole.
    whole: usize,
}

impl Grouped {
    async fn gather(out: &Out, connections: &[(String, SocketAddr)]) -> Result<Self, Unanswered> {
        let addresses = connections.iter().map(|(_, address)| *address);
        let mut listed = BTreeMap::new();
        for (place, address) in addresses.clone().enumerate() {
            listed.entry(address).or_insert(place);
        }
        let mut grouped = Self {
            listed,
            by_place: BTreeMap::new(),
            bytes: 0,
            whole: connections.len(),
        };
        let of = Selection::Connections(Arc::new(addresses.collect()));
        let each = async |held: HeldPublisher| grouped.add(held);
        gather::for_each(&*out.node, out.until, stored(of), each).await?;
        Ok(grouped)
    }

    /// Above the limit the last connections are let go, and are left for another walk.
    fn add(&mut self, held: HeldPublisher) {
        let listed = self.listed.get(&held.publisher.address).copied();
        let Some(place) = listed.filter(|&place| place < self.whole) else {
            return;
        };
        self.bytes += weight(&held);
        self.by_place.entry(place).or_default().push(held);
        while self.bytes > GROUPED_BYTES_MAX
            && let Some((last, publishers)) = self.by_place.pop_last()
        {
            self.bytes -= publishers.iter().map(weight).sum::<usize>();
            self.whole = last;
        }
    }

    fn of(&self, address: &SocketAddr) -> &[HeldPublisher] {
        let held = self.listed.get(address);
        let held = held.and_then(|place| self.by_place.get(place));
        held.map_or(&[], Vec::as_slice)
    }
}

/// What a publisher takes while it is held here, should the core let it go meanwhile.
fn weight(held: &HeldPublisher) -> usize {
    size_of::<HeldPublisher>() + size_of::<Publisher>() + held.publisher.boxes.bytes().len()
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
