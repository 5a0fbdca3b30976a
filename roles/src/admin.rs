//! What a node answers over HTTP: discovery for clients, health, diagnosis, operators' changes, metrics.
//!
//! Every role has a port and a table of paths of its own, as in SOFARegistry. Nothing of the registry lives here: the
//! handlers ask the cores through `Node` and add up.

mod access;
mod audit;
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
use std::net::SocketAddr;
use std::rc::Rc;
use std::{fmt, io};

use hyper::{HeaderMap, Method};
use rollcall_io::http::{
    Admitted, HttpLimits, HttpListener, HttpServer, Request, RequestHead, Response, Service,
};

pub use access::Access;
pub use node::{
    Advertise, Facts, Node, NodeEntry, NotProposed, Pending, Phase, Proposed, Roles, Unanswered,
    WholeAnswer,
};

use access::Right;
use audit::Audit;
use params::Params;
use reply::Problem;
use routes::{Change, Endpoint, Found};

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
    audit: Audit,
    warnings: Rc<discovery::Warnings>,
    answered: RefCell<Answered>,
}

impl Admin {
    /// Answers for `node`, with changes allowed by `access`.
    pub fn new(node: Rc<dyn Node>, access: Access) -> Rc<Self> {
        Rc::new(Self {
            node,
            access,
            audit: Audit::default(),
            warnings: Rc::default(),
            answered: RefCell::default(),
        })
    }

    /// Begins to answer on a port. The returned server is stopped by its owner.
    pub fn serve(
        self: &Rc<Self>,
        role: Role,
        listeners: Vec<HttpListener>,
    ) -> io::Result<HttpServer> {
        let admin = Rc::clone(self);
        HttpServer::start(listeners, HttpLimits::default(), Door { admin, role })
    }

    fn let_pass(
        &self,
        role: Role,
        head: &RequestHead,
        peer: SocketAddr,
    ) -> Result<Admitted<Known>, Problem> {
        let found = routes::find(role, &head.method, head.uri.path())?;
        let route = found.route;
        let right = self.access.check(route, head, peer)?;
        reply::check_accept(&head.headers, route.makes)?;
        let urgency = route.urgency;
        let known = Known { found, right };
        Ok(Admitted { known, urgency })
    }

    /// The answer to an allowed request; a failure becomes a JSON error.
    async fn serve_known(&self, role: Role, known: Known, request: Request) -> Response {
        let Known { found, right } = known;
        let Found { route, capture } = found;
        let asked = Asked {
            capture,
            params: Params::of_query(request.head.uri.query()),
            warnings: Rc::clone(&self.warnings),
            request,
        };
        let audited = route
            .changes()
            .then(|| audit::Entry::of(role, right, &asked));
        let outcome = self.dispatch(route.endpoint, asked).await;
        if let Some(entry) = audited {
            entry.tell(&outcome);
        }
        outcome.unwrap_or_else(Problem::into_response)
    }

    fn count(&self, role: Role, response: &Response) {
        let key = (role, response.status().as_u16());
        *self.answered.borrow_mut().entry(key).or_default() += 1;
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

            Endpoint::Change(change) => self.change(change, &asked).await,
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
            Endpoint::RenewSwitches => Ok(meta::renew_switches(&**node)),
            Endpoint::Provided => meta::provided(&**node, &asked),
            Endpoint::DataCenter => Ok(meta::data_center(&**node)),
            Endpoint::ShutdownQuery => Ok(meta::shutdown_query(&**node)),
        }
    }

    /// The same for what operators change.
    async fn change(&self, change: Change, asked: &Asked) -> Result<Response, Problem> {
        let node = &*self.node;
        match change {
            Change::Connections(turn) => clients::connections(node, asked, turn).await,
            Change::ClientsHere(turn) => clients::here(node, asked, turn).await,
            Change::Clients(turn) => clients::lasting(node, asked, turn).await,
            Change::ClientsVersioned(turn) => clients::versioned(node, asked, turn).await,
            Change::ClientsOffBySide => clients::lasting_by_side(node, asked).await,
            Change::Turn(switches, on) => meta::turn(node, switches, on).await,
            Change::Blacklist => meta::blacklist(node, asked).await,
            Change::Put => meta::put(node, asked).await,
            Change::Remove => meta::remove(node, asked).await,
            Change::Shutdown => meta::shutdown(node, asked).await,
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

/// A port of a node, for one role.
struct Door {
    admin: Rc<Admin>,
    role: Role,
}

/// What the head of a request tells: where it goes, and by what right.
struct Known {
    found: Found,
    right: Right,
}

impl Service for Door {
    type Known = Known;

    fn admit(
        &self,
        head: &RequestHead,
        peer: SocketAddr,
    ) -> Result<Admitted<Known>, Box<Response>> {
        let Self { admin, role } = self;
        admin.let_pass(*role, head, peer).map_err(|problem| {
            admin.audit.refused(*role, head, peer, &problem);
            let response = match head.method == Method::OPTIONS {
                true => problem.into_options(),
                false => problem.into_response(),
            };
            admin.count(*role, &response);
            Box::new(response)
        })
    }

    async fn answer(&self, known: Known, request: Request) -> Response {
        let response = self.admin.serve_known(self.role, known, request).await;
        self.admin.count(self.role, &response);
        response
    }
}

/// A request that found its handler.
struct Asked {
    request: Request,
    /// What stood in the place of the pattern's `{…}`.
    capture: String,
    params: Params,
    warnings: Rc<discovery::Warnings>,
}

impl Asked {
    fn headers(&self) -> &HeaderMap {
        &self.request.head.headers
    }
}
