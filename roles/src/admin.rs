//! What a node answers over HTTP: discovery for clients, health, diagnosis, operators' changes, metrics.
//!
//! Every role has a port and a table of paths of its own, as in SOFARegistry. Nothing of the registry lives here: the
//! handlers ask the cores through `Node` and add up.

mod access;
mod clients;
mod data;
mod discovery;
mod gather;
mod health;
mod json;
mod meta;
mod node;
mod params;
mod reply;
mod routes;
mod session;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::{fmt, io};

use hyper::{HeaderMap, Method};
use rollcall_io::http::{HttpLimits, HttpListener, HttpServer, Request, Response};

pub use access::Access;
pub use node::{
    Advertise, Facts, Node, NodeEntry, NotProposed, Pending, Phase, Roles, Unanswered, WholeAnswer,
};

use params::Params;
use reply::Problem;
use routes::{Endpoint, Found};

/// Which server of SOFARegistry a port stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Clients find servers here; 9603 by default.
    Session,
    /// Operators change things here; 9615 by default.
    Meta,
    /// What is stored can be looked at here; 9622 by default.
    Data,
}

impl Role {
    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Meta => "meta",
            Self::Data => "data",
        }
    }
}

/// How many requests were answered, by role and status.
pub(crate) type Answered = BTreeMap<(Role, u16), u64>;

/// The answering side of all ports of a node.
pub struct Admin {
    node: Rc<dyn Node>,
    access: Access,
    answered: RefCell<Answered>,
}

impl Admin {
    /// Answers for `node`, with changes allowed by `access`.
    pub fn new(node: Rc<dyn Node>, access: Access) -> Rc<Self> {
        Rc::new(Self {
            node,
            access,
            answered: RefCell::default(),
        })
    }

    /// Begins to answer on a port. The returned server is stopped by its owner.
    pub fn serve(self: &Rc<Self>, role: Role, listener: HttpListener) -> io::Result<HttpServer> {
        let admin = Rc::clone(self);
        HttpServer::start(listener, HttpLimits::default(), async move |request| {
            admin.answer(role, request).await
        })
    }

    /// The answer to one request; a failure becomes a JSON error.
    pub async fn answer(&self, role: Role, request: Request) -> Response {
        let (method, path, peer) = (
            request.head.method.clone(),
            request.head.uri.path().to_owned(),
            request.peer,
        );
        let response = match self.route(role, request).await {
            Ok(response) => response,
            Err(problem) => {
                tracing::debug!(role = role.as_str(), %method, path, %peer, %problem, "HTTP request not served");
                problem.into_response()
            }
        };
        let key = (role, response.status().as_u16());
        *self.answered.borrow_mut().entry(key).or_default() += 1;
        response
    }

    async fn route(&self, role: Role, request: Request) -> Result<Response, Problem> {
        let (method, path) = (&request.head.method, request.head.uri.path());
        let Found { route, capture } = match routes::find(role, method, path) {
            Ok(found) => found,
            Err(problem) if *method == Method::OPTIONS => return problem.into_options(),
            Err(problem) => return Err(problem),
        };
        reply::check_accept(&request.head.headers, route.makes)?;
        if route.changes {
            self.access.check(&request.head.headers, request.peer)?;
        }
        let asked = Asked {
            capture,
            params: Params::of_query(request.head.uri.query()),
            request,
        };
        let peer = asked.request.peer;
        let response = self.dispatch(route.endpoint, asked).await?;
        if route.changes {
            tracing::info!(role = role.as_str(), path = route.path, %peer, "operator's change");
        }
        Ok(response)
    }

    /// The table of contents: what each endpoint is answered by.
    async fn dispatch(&self, endpoint: Endpoint, asked: Asked) -> Result<Response, Problem> {
        let node = &self.node;
        match endpoint {
            Endpoint::Health(role) => Ok(health::check(role, &node.facts())),
            Endpoint::Alive => Ok(health::alive()),
            Endpoint::Ready(role) => Ok(health::ready(role, &node.facts())),
            Endpoint::Version => Ok(health::version()),
            Endpoint::Metrics => self.metrics().await,

            Endpoint::Servers => discovery::servers(&**node, &asked),
            Endpoint::ServersJson => discovery::servers_json(&**node, &asked),
            Endpoint::ServersWithWeight => discovery::servers_with_weight(&**node, &asked).await,
            Endpoint::ServersOfDataCenter => discovery::servers_of_data_center(&**node, &asked),
            Endpoint::ServersAlive => Ok(discovery::alive(&asked)),
            Endpoint::ConnectionNumber => discovery::connection_number(&**node).await,

            Endpoint::RegistrationsById => session::by_data_info_id(node, &asked).await,
            Endpoint::RegistrationsByConnection => session::by_connection(node, &asked).await,
            Endpoint::SessionCount => session::count(&**node, &asked).await,
            Endpoint::SessionPushSwitch => Ok(session::push_switch(&**node)),
            Endpoint::SessionIds => session::data_info_ids(node).await,
            Endpoint::SessionIdsChecksum => session::data_info_ids_checksum(&**node).await,
            Endpoint::SessionIdsByCount => session::data_info_ids_by_count(node, &asked).await,
            Endpoint::SessionPublishers => session::publishers_of(node, &asked).await,
            Endpoint::SessionServerList => session::server_list(&**node, &asked),
            Endpoint::Connections => session::connections(node).await,
            Endpoint::ConnectionDetails => session::connection_details(node, &asked).await,

            Endpoint::ConnectionsOff => {
                clients::connections(&**node, &asked, clients::Turn::Off).await
            }
            Endpoint::ConnectionsOn => {
                clients::connections(&**node, &asked, clients::Turn::On).await
            }
            Endpoint::ClientsOffHere => clients::here(&**node, &asked, clients::Turn::Off).await,
            Endpoint::ClientsOnHere => clients::here(&**node, &asked, clients::Turn::On).await,
            Endpoint::ClientsOff => clients::lasting(&**node, &asked, clients::Turn::Off).await,
            Endpoint::ClientsOffBySide => clients::lasting_by_side(&**node, &asked).await,
            Endpoint::ClientsOn => clients::lasting(&**node, &asked, clients::Turn::On).await,
            Endpoint::ClientsOffVersioned => {
                clients::versioned(&**node, &asked, clients::Turn::Off).await
            }
            Endpoint::ClientsOnVersioned => {
                clients::versioned(&**node, &asked, clients::Turn::On).await
            }
            Endpoint::ClientsOffQuery => Ok(clients::query(&**node)),
            Endpoint::ClientsOffOfZone => Ok(clients::query_zone(&**node, &asked)),

            Endpoint::Datum => data::datum(node, &asked).await,
            Endpoint::StoredByConnection => data::by_connection(node, &asked).await,
            Endpoint::DatumCount => data::count(&**node, &asked).await,
            Endpoint::DatumSizes => data::sizes(&**node).await,
            Endpoint::DatumSummary => data::summary(node).await,
            Endpoint::DatumIds => data::data_info_ids(node).await,
            Endpoint::DataServerList => data::server_list(&**node, &asked),

            Endpoint::Nodes => meta::nodes(&**node, &asked),
            Endpoint::MetaPushSwitch => Ok(meta::push_switch(&**node)),
            Endpoint::Turn(switches, on) => meta::turn(&**node, switches, on).await,
            Endpoint::RenewSwitches => Ok(meta::renew_switches(&**node)),
            Endpoint::Blacklist => meta::blacklist(&**node, &asked).await,
            Endpoint::Put => meta::put(&**node, &asked).await,
            Endpoint::Remove => meta::remove(&**node, &asked).await,
            Endpoint::Provided => meta::provided(&**node, &asked),
            Endpoint::DataCenter => Ok(meta::data_center(&**node)),
            Endpoint::Shutdown => meta::shutdown(&**node, &asked).await,
            Endpoint::ShutdownQuery => Ok(meta::shutdown_query(&**node)),
        }
    }

    async fn metrics(&self) -> Result<Response, Problem> {
        let stats = gather::stats(&*self.node).await?;
        let facts = self.node.facts();
        let stopped = self.node.meta().is_push_stopped();
        let text = crate::metrics::exposition(&stats, &facts, stopped, &self.answered.borrow());
        Ok(reply::typed(crate::metrics::CONTENT_TYPE, text))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// A request that found its handler.
struct Asked {
    request: Request,
    /// What stood in the place of the pattern's `{…}`.
    capture: String,
    params: Params,
}

impl Asked {
    fn headers(&self) -> &HeaderMap {
        &self.request.head.headers
    }
}
