//! What the session port (9603) tells about registrations and connections of this node.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rollcall_core::limits;
use rollcall_core::names::DataInfoId;
use rollcall_core::query::{
    ConfiguratorRow, ConnectionRow, DataInfoIdRow, PublisherRow, Query, Selection, SubscriberRow,
};
use rollcall_io::http::Response;
use serde::Serialize;

use super::gather::{self, Out};
use super::node::{Node, Roles, Unanswered};
use super::reply::{JSON, Problem, json, text, typed, wants_text};
use super::{Asked, discovery, json as shape, params};

/// Which kinds of registrations are asked for.
#[derive(Clone, Copy)]
struct Kinds {
    subscribers: bool,
    watchers: bool,
    publishers: bool,
}

impl Kinds {
    fn of(text: &str) -> Result<Self, Problem> {
        let (subscribers, watchers, publishers) = match text {
            "sub" => (true, false, false),
            "wat" => (false, true, false),
            "pub" => (false, false, true),
            "all" => (true, true, true),
            other => {
                let why = format!("must be pub, sub, wat or all, not {other:?}");
                return Err(Problem::Parameter { name: "type", why });
            }
        };
        Ok(Self {
            subscribers,
            watchers,
            publishers,
        })
    }
}

/// `/digest/{type}/data/query?dataInfoId=`.
pub(super) async fn by_data_info_id(
    node: &Rc<dyn Node>,
    asked: &Asked,
) -> Result<Response, Problem> {
    let kinds = Kinds::of(&asked.capture)?;
    let id = params::data_info_id("dataInfoId", asked.params.required("dataInfoId")?)?;
    registrations(node, kinds, Selection::DataInfoId(id)).await
}

/// `/digest/{type}/connect/query` with `["ip:port"]`.
pub(super) async fn by_connection(node: &Rc<dyn Node>, asked: &Asked) -> Result<Response, Problem> {
    let kinds = Kinds::of(&asked.capture)?;
    let body = params::json_body(asked.headers(), &asked.request.body)?;
    let texts = serde_json::from_value::<Vec<String>>(body);
    let texts = texts.map_err(|_| Problem::Body {
        why: "must be a list of texts ip:port".into(),
    })?;
    let addresses = texts
        .iter()
        .map(|text| params::connection("connectId", text));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let addresses = params::bounded("connectId", addresses)?;
    let addresses = Arc::new(addresses.into_iter().collect());
    registrations(node, kinds, Selection::Connections(addresses)).await
}

/// `{"SUB":[…],"WAT":[…],"PUB":[…]}`, without those that have none.
async fn registrations(
    node: &Rc<dyn Node>,
    kinds: Kinds,
    of: Selection,
) -> Result<Response, Problem> {
    Out::answer(node, async move |out| {
        out.raw("{").await;
        let mut separator = "";
        if kinds.subscribers {
            let query = |after| Query::Subscribers {
                of: of.clone(),
                after,
            };
            let rows = out.rows("\"SUB\":[", query, async |out, row: SubscriberRow| {
                out.value(&shape::subscriber(&row)).await;
            });
            separator = close(rows.await?, out, separator).await;
        }
        if kinds.watchers {
            let query = |after| Query::Configurators {
                of: of.clone(),
                after,
            };
            let before = format!("{separator}\"WAT\":[");
            let rows = out.rows(&before, query, async |out, row: ConfiguratorRow| {
                out.value(&shape::configurator(&row)).await;
            });
            separator = close(rows.await?, out, separator).await;
        }
        if kinds.publishers {
            let query = |after| Query::Publishers {
                of: of.clone(),
                after,
            };
            let before = format!("{separator}\"PUB\":[");
            let rows = out.rows(&before, query, async |out, row: PublisherRow| {
                out.value(&shape::publisher(&row)).await;
            });
            close(rows.await?, out, separator).await;
        }
        out.raw("}").await;
        Ok(())
    })
    .await
}

/// Ends a list that was begun by its first row; says what separates the next list.
async fn close(rows: u64, out: &mut Out, separator: &'static str) -> &'static str {
    if rows == 0 {
        return separator;
    }
    out.raw("]").await;
    ","
}

/// `/digest/data/count`.
pub(super) async fn count(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let counts = gather::counts(node).await?;
    let line = format!(
        "Subscriber count: {}, Publisher count: {}, Watcher count: {}",
        counts.subscribers, counts.publishers, counts.configurators
    );
    Ok(declared(asked, line))
}

/// A line of text as 5.4.2 declares it, or as what it is for those who want that.
pub(super) fn declared(asked: &Asked, line: String) -> Response {
    match wants_text(asked.headers()) {
        true => text(line),
        false => typed(JSON, line),
    }
}

/// `/digest/pushSwitch`.
pub(super) fn push_switch(node: &dyn Node) -> Response {
    let push_switch = if node.meta().is_push_stopped() {
        "closed"
    } else {
        "open"
    };
    json(&serde_json::json!({ "pushSwitch": push_switch }))
}

/// `/digest/getDataInfoIdList`.
pub(super) async fn data_info_ids(node: &Rc<dyn Node>) -> Result<Response, Problem> {
    Out::answer(node, async |out| {
        let query = |after| Query::DataInfoIds { after };
        out.list(query, async |out, row: DataInfoIdRow| {
            out.value(&row.data_info_id.to_string()).await
        })
        .await
    })
    .await
}

/// `/digest/checkSumDataInfoIdList`: what Java's `hashCode` makes of the set, to compare servers.
pub(super) async fn data_info_ids_checksum(node: &dyn Node) -> Result<Response, Problem> {
    let mut sum = 0_i32;
    gather::for_each(
        node,
        gather::deadline(node),
        |after| Query::DataInfoIds { after },
        async |row: DataInfoIdRow| {
            sum = sum.wrapping_add(shape::java_hash(&row.data_info_id.to_string()));
        },
    )
    .await?;
    Ok(json(&sum))
}

/// `/digest/{type}/getDataInfoIdListGroupByCount`: how many registrations each id has, most first.
///
/// What is most is known when all are counted, so this one answer is in memory as a whole: one at a time, of a bounded number of ids.
pub(super) async fn data_info_ids_by_count(
    node: &Rc<dyn Node>,
    asked: &Asked,
) -> Result<Response, Problem> {
    let kinds = Kinds::of(&asked.capture)?;
    let place = node.whole_answer().ok_or_else(|| Problem::Unavailable {
        why: "another such answer is being made, retry".into(),
    })?;
    let mut tally = Tally::default();
    tally.count(&**node, kinds).await?;
    let counts = tally.most_first()?;
    Out::answer(node, async move |out| {
        let _place = place;
        let mut before = "[";
        for (id, count) in counts {
            out.raw(before).await;
            out.value(&serde_json::json!({ id.to_string(): count }))
                .await;
            before = ",";
        }
        out.raw(if before == "[" { "[]" } else { "]" }).await;
        Ok(())
    })
    .await
}

/// How many registrations each id has.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<DataInfoId, u64>,
    is_over: bool,
}

impl Tally {
    async fn count(&mut self, node: &dyn Node, kinds: Kinds) -> Result<(), Unanswered> {
        let until = gather::deadline(node);
        if kinds.publishers {
            let query = |after| Query::DataInfoIds { after };
            let each = async |row: DataInfoIdRow| self.add(row.data_info_id, row.publishers);
            gather::for_each(node, until, query, each).await?;
        }
        let of = || Selection::All;
        if kinds.subscribers {
            let query = |after| Query::Subscribers { of: of(), after };
            let each = async |row: SubscriberRow| self.add(row.registration.data_info_id, 1);
            gather::for_each(node, until, query, each).await?;
        }
        if kinds.watchers {
            let query = |after| Query::Configurators { of: of(), after };
            let each = async |row: ConfiguratorRow| self.add(row.registration.data_info_id, 1);
            gather::for_each(node, until, query, each).await?;
        }
        Ok(())
    }

    fn add(&mut self, id: DataInfoId, count: u64) {
        if count == 0 {
            return;
        }
        if self.counts.len() < limits::HTTP_SORTED_IDS_MAX || self.counts.contains_key(&id) {
            *self.counts.entry(id).or_default() += count;
        } else {
            self.is_over = true;
        }
    }

    fn most_first(self) -> Result<Vec<(DataInfoId, u64)>, Problem> {
        if self.is_over {
            let limit = limits::HTTP_SORTED_IDS_MAX;
            let why = format!("more than {limit} ids are in use, which is too many to sort");
            return Err(Problem::Unavailable { why });
        }
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(counts)
    }
}

/// `/digest/data/queryPublisher?dataInfoId=`: who publishes it, briefly.
pub(super) async fn publishers_of(node: &Rc<dyn Node>, asked: &Asked) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Brief<'a> {
        client_id: Option<&'static str>,
        source_address: String,
        app_name: &'a str,
    }
    let id = params::data_info_id("dataInfoId", asked.params.required("dataInfoId")?)?;
    Out::answer(node, async move |out| {
        let query = |after| Query::Publishers {
            of: Selection::DataInfoId(id.clone()),
            after,
        };
        let write = async |out: &mut Out, row: PublisherRow| {
            out.value(&Brief {
                client_id: None,
                source_address: shape::canonical(row.registration.address).to_string(),
                app_name: row.registration.app.as_deref().unwrap_or_default(),
            })
            .await;
        };
        // The shape of `OutcomeWith`.
        out.raw("{\"success\":true,\"message\":null,\"data\":")
            .await;
        out.list(query, write).await?;
        out.raw("}").await;
        Ok(())
    })
    .await
}

/// `/digest/{type}/serverList/query`: the hosts of a role.
pub(super) fn server_list(node: &dyn Node, asked: &Asked) -> Result<Response, Problem> {
    let facts = node.facts();
    let has_role = role_of(&asked.capture)?;
    let own = has_role(&facts.roles).then(|| discovery::own_host(node, &facts, &asked.request));
    let others = facts.others.iter().filter(|other| has_role(&other.roles));
    let hosts: Vec<String> = own
        .into_iter()
        .chain(others.map(|other| other.host.clone()))
        .collect();
    Ok(json(&hosts))
}

/// The question whether a node has the role of this name.
pub(super) fn role_of(name: &str) -> Result<fn(&Roles) -> bool, Problem> {
    match name {
        "session" => Ok(|roles| roles.session),
        "data" => Ok(|roles| roles.data),
        "meta" => Ok(|roles| roles.meta),
        other => {
            let why = format!("must be session, data or meta, not {other:?}");
            Err(Problem::Parameter { name: "type", why })
        }
    }
}

/// `/connections/query`: the addresses of all clients.
pub(super) async fn connections(node: &Rc<dyn Node>) -> Result<Response, Problem> {
    Out::answer(node, async |out| {
        let query = |after| Query::Connections {
            address: None,
            after,
        };
        let write = async |out: &mut Out, row: ConnectionRow| {
            out.value(&shape::canonical(row.address)).await;
        };
        out.list(query, write).await
    })
    .await
}

/// `/connections/details`: all that is known of all connections, or of the one with `address=ip:port`.
pub(super) async fn connection_details(
    node: &Rc<dyn Node>,
    asked: &Asked,
) -> Result<Response, Problem> {
    let address = asked.params.value("address");
    let address = address
        .map(|text| params::connection("address", text))
        .transpose()?;
    Out::answer(node, async move |out| -> Result<(), Unanswered> {
        let query = |after| Query::Connections { address, after };
        let write = async |out: &mut Out, row: ConnectionRow| {
            out.value(&shape::connection(&row)).await;
        };
        out.list(query, write).await
    })
    .await
}
