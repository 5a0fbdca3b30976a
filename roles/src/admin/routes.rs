//! The paths of the three ports, as tables: method, pattern, what is made, whether it changes something, who answers.

use hyper::Method;
use rollcall_core::meta::Switch;
use rollcall_io::http::Urgency;

use super::Role;
use super::clients::Turn;
use super::reply::{Makes, Problem};

/// One line of a table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// At most one segment is `{…}` and matches anything.
    pub(super) path: &'static str,
    pub(super) makes: Makes,
    pub(super) urgency: Urgency,
    pub(super) endpoint: Endpoint,
}

impl Route {
    /// Whether operators change something here. Such requests need a right and are logged; HEAD does not reach them.
    pub(super) fn changes(&self) -> bool {
        matches!(self.endpoint, Endpoint::Change(_))
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Health(Role),
    Alive,
    Ready(Role),
    Version,
    Metrics,

    Servers,
    ServersJson,
    ServersWithWeight,
    ServersOfDataCenter,
    ServersAlive,
    ConnectionNumber,

    RegistrationsById,
    RegistrationsByConnection,
    SessionCount,
    SessionPushSwitch,
    SessionIds,
    SessionIdsChecksum,
    SessionIdsByCount,
    SessionPublishers,
    SessionServerList,
    Connections,
    ConnectionDetails,

    Change(Change),
    ClientsOffQuery,
    ClientsOffOfZone,

    Datum,
    StoredByConnection,
    DatumCount,
    DatumSizes,
    DatumSummary,
    DatumIds,
    DataServerList,

    Nodes,
    MetaPushSwitch,
    RenewSwitches,
    Provided,
    DataCenter,
    ShutdownQuery,
}

/// What operators change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Connections(Turn),
    ClientsHere(Turn),
    Clients(Turn),
    ClientsVersioned(Turn),
    ClientsOffBySide,
    Turn(&'static [Switch], bool),
    Blacklist,
    Put,
    Remove,
    Shutdown,
}

/// A route and what stood in the place of its `{…}`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) route: &'static Route,
    pub(super) capture: String,
}

/// The route of a request. A trailing slash is no other path, and HEAD is GET where nothing is changed.
pub(super) fn find(role: Role, method: &Method, path: &str) -> Result<Found, Problem> {
    let trimmed = path
        .strip_suffix('/')
        .filter(|path| !path.is_empty())
        .unwrap_or(path);
    let mut allowed: Vec<&str> = Vec::new();
    for route in table(role).iter().flat_map(|part| part.iter()) {
        let Some(capture) = capture(route.path, trimmed) else {
            continue;
        };
        let answers_head = route.method == Method::GET && !route.changes();
        if route.method == *method || (answers_head && *method == Method::HEAD) {
            return Ok(Found {
                route,
                capture: capture.to_owned(),
            });
        }
        allowed.push(route.method.as_str());
        if answers_head {
            allowed.push("HEAD");
        }
    }
    match allowed.is_empty() {
        true => Err(Problem::NotFound {
            path: path.to_owned(),
        }),
        false => Err(Problem::MethodNotAllowed {
            allow: allowed.join(", "),
        }),
    }
}

/// What stands in the place of the pattern's `{…}`, or nothing in a pattern without; `None` if the path is another.
fn capture<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let mut captured = "";
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.starts_with('{') {
            true if segment.is_empty() => return None,
            true => captured = segment,
            false if expected != segment => return None,
            false => (),
        }
    }
    segments.next().is_none().then_some(captured)
}

fn table(role: Role) -> [&'static [Route]; 2] {
    match role {
        Role::Session => [SESSION, SESSION_COMMON],
        Role::Meta => [META, META_COMMON],
        Role::Data => [DATA, DATA_COMMON],
    }
}

const fn get(path: &'static str, makes: Makes, endpoint: Endpoint) -> Route {
    Route {
        method: Method::GET,
        path,
        makes,
        urgency: Urgency::Ordinary,
        endpoint,
    }
}

/// What clients and platforms ask, who must have an answer however busy the port is.
const fn vital(path: &'static str, makes: Makes, endpoint: Endpoint) -> Route {
    Route {
        method: Method::GET,
        path,
        makes,
        urgency: Urgency::Vital,
        endpoint,
    }
}

/// A question whose body says what is asked.
const fn ask(path: &'static str, endpoint: Endpoint) -> Route {
    Route {
        method: Method::POST,
        path,
        makes: Makes::Json,
        urgency: Urgency::Ordinary,
        endpoint,
    }
}

const fn change(method: Method, path: &'static str, change: Change) -> Route {
    Route {
        method,
        path,
        makes: Makes::Json,
        urgency: Urgency::Ordinary,
        endpoint: Endpoint::Change(change),
    }
}

const fn common(role: Role) -> [Route; 5] {
    [
        vital("/health/check", Makes::Json, Endpoint::Health(role)),
        vital("/livez", Makes::Anything, Endpoint::Alive),
        vital("/readyz", Makes::Anything, Endpoint::Ready(role)),
        get("/version", Makes::Text, Endpoint::Version),
        vital("/metrics", Makes::Anything, Endpoint::Metrics),
    ]
}

static SESSION_COMMON: &[Route] = &common(Role::Session);
static META_COMMON: &[Route] = &common(Role::Meta);
static DATA_COMMON: &[Route] = &common(Role::Data);

static SESSION: &[Route] = &[
    vital("/api/servers/query", Makes::Text, Endpoint::Servers),
    vital(
        "/api/servers/query.json",
        Makes::Json,
        Endpoint::ServersJson,
    ),
    vital(
        "/api/servers/queryWithWeight",
        Makes::Text,
        Endpoint::ServersWithWeight,
    ),
    vital(
        "/api/servers/dataCenter",
        Makes::Json,
        Endpoint::ServersOfDataCenter,
    ),
    vital(
        "/api/servers/alive",
        Makes::Anything,
        Endpoint::ServersAlive,
    ),
    vital(
        "/api/servers/connectionNum",
        Makes::Text,
        Endpoint::ConnectionNumber,
    ),
    change(
        Method::POST,
        "/api/clients/off",
        Change::Connections(Turn::Off),
    ),
    change(
        Method::POST,
        "/api/clients/on",
        Change::Connections(Turn::On),
    ),
    change(
        Method::POST,
        "/api/clientManager/clientOff",
        Change::ClientsHere(Turn::Off),
    ),
    change(
        Method::POST,
        "/api/clientManager/clientOpen",
        Change::ClientsHere(Turn::On),
    ),
    change(
        Method::POST,
        "/api/clientManager/zone/clientOff",
        Change::ClientsHere(Turn::Off),
    ),
    change(
        Method::POST,
        "/api/clientManager/zone/clientOpen",
        Change::ClientsHere(Turn::On),
    ),
    ask(
        "/api/clientManager/zone/queryClientOff",
        Endpoint::ClientsOffOfZone,
    ),
    change(
        Method::POST,
        "/api/clientManager/persistence/clientOff",
        Change::ClientsVersioned(Turn::Off),
    ),
    change(
        Method::POST,
        "/api/clientManager/persistence/clientOpen",
        Change::ClientsVersioned(Turn::On),
    ),
    get(
        "/api/clientManager/persistence/query",
        Makes::Json,
        Endpoint::ClientsOffQuery,
    ),
    get("/digest/data/count", Makes::Either, Endpoint::SessionCount),
    get(
        "/digest/data/queryPublisher",
        Makes::Json,
        Endpoint::SessionPublishers,
    ),
    get(
        "/digest/data/zone/queryPublisher",
        Makes::Json,
        Endpoint::SessionPublishers,
    ),
    get(
        "/digest/pushSwitch",
        Makes::Json,
        Endpoint::SessionPushSwitch,
    ),
    get(
        "/digest/getDataInfoIdList",
        Makes::Json,
        Endpoint::SessionIds,
    ),
    get(
        "/digest/checkSumDataInfoIdList",
        Makes::Json,
        Endpoint::SessionIdsChecksum,
    ),
    get(
        "/digest/{type}/getDataInfoIdListGroupByCount",
        Makes::Json,
        Endpoint::SessionIdsByCount,
    ),
    get(
        "/digest/{type}/data/query",
        Makes::Json,
        Endpoint::RegistrationsById,
    ),
    ask(
        "/digest/{type}/connect/query",
        Endpoint::RegistrationsByConnection,
    ),
    get(
        "/digest/{type}/serverList/query",
        Makes::Json,
        Endpoint::SessionServerList,
    ),
    get("/connections/query", Makes::Json, Endpoint::Connections),
    get(
        "/connections/details",
        Makes::Json,
        Endpoint::ConnectionDetails,
    ),
];

static DATA: &[Route] = &[
    get("/digest/datum/query", Makes::Json, Endpoint::Datum),
    ask("/digest/connect/query", Endpoint::StoredByConnection),
    get("/digest/datum/count", Makes::Either, Endpoint::DatumCount),
    get(
        "/digest/datum/getDataInfoIdList",
        Makes::Json,
        Endpoint::DatumIds,
    ),
    get(
        "/digest/{type}/serverList/query",
        Makes::Json,
        Endpoint::DataServerList,
    ),
    get(
        "/datum/api/getDatumSizes",
        Makes::Json,
        Endpoint::DatumSizes,
    ),
    get(
        "/datum/api/summary/query",
        Makes::Json,
        Endpoint::DatumSummary,
    ),
];

const RENEW_SWITCHES: &[Switch] = &[Switch::SessionRenew, Switch::DatumExpire];

static META: &[Route] = &[
    get("/digest/{type}/node/query", Makes::Json, Endpoint::Nodes),
    get("/digest/pushSwitch", Makes::Json, Endpoint::MetaPushSwitch),
    // "open" opens the switch that stops pushing.
    change(
        Method::GET,
        "/stopPushDataSwitch/open",
        Change::Turn(&[Switch::StopPush], true),
    ),
    change(
        Method::GET,
        "/stopPushDataSwitch/close",
        Change::Turn(&[Switch::StopPush], false),
    ),
    get("/renewSwitch/get", Makes::Json, Endpoint::RenewSwitches),
    change(
        Method::GET,
        "/renewSwitch/enable",
        Change::Turn(RENEW_SWITCHES, true),
    ),
    change(
        Method::GET,
        "/renewSwitch/disable",
        Change::Turn(RENEW_SWITCHES, false),
    ),
    change(
        Method::GET,
        "/renewSwitch/session/enable",
        Change::Turn(&[Switch::SessionRenew], true),
    ),
    change(
        Method::GET,
        "/renewSwitch/session/disable",
        Change::Turn(&[Switch::SessionRenew], false),
    ),
    change(
        Method::GET,
        "/renewSwitch/data/enable",
        Change::Turn(&[Switch::DatumExpire], true),
    ),
    change(
        Method::GET,
        "/renewSwitch/data/disable",
        Change::Turn(&[Switch::DatumExpire], false),
    ),
    change(Method::POST, "/blacklist/update", Change::Blacklist),
    change(Method::POST, "/persistentData/put", Change::Put),
    change(Method::POST, "/persistentData/remove", Change::Remove),
    get("/persistentData/query", Makes::Json, Endpoint::Provided),
    change(
        Method::POST,
        "/api/clientManager/clientOff",
        Change::Clients(Turn::Off),
    ),
    change(
        Method::POST,
        "/api/clientManager/clientOffWithSub",
        Change::ClientsOffBySide,
    ),
    change(
        Method::POST,
        "/api/clientManager/clientOpen",
        Change::Clients(Turn::On),
    ),
    get(
        "/api/clientManager/query",
        Makes::Json,
        Endpoint::ClientsOffQuery,
    ),
    get("/datacenter/query", Makes::Json, Endpoint::DataCenter),
    change(Method::POST, "/shutdown/update", Change::Shutdown),
    get("/shutdown/query", Makes::Json, Endpoint::ShutdownQuery),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(role: Role, method: &Method, path: &str) -> Option<Endpoint> {
        find(role, method, path)
            .ok()
            .map(|found| found.route.endpoint)
    }

    #[test]
    fn a_pattern_gives_what_stood_in_its_place() {
        let found = find(Role::Session, &Method::GET, "/digest/pub/data/query").expect("a route");

        assert_eq!(found.route.endpoint, Endpoint::RegistrationsById);
        assert_eq!(found.capture, "pub");
        assert_eq!(
            endpoint(Role::Session, &Method::GET, "/digest//data/query"),
            None
        );
        assert_eq!(
            endpoint(Role::Session, &Method::GET, "/digest/a/b/data/query"),
            None
        );
    }

    #[test]
    fn a_trailing_slash_is_no_other_path() {
        let health = Some(Endpoint::Health(Role::Data));

        assert_eq!(endpoint(Role::Data, &Method::GET, "/health/check/"), health);
        assert_eq!(endpoint(Role::Data, &Method::GET, "/health/check//"), None);
        assert_eq!(endpoint(Role::Data, &Method::GET, "/"), None);
    }

    #[test]
    fn head_asks_but_never_changes() {
        assert!(endpoint(Role::Session, &Method::HEAD, "/api/servers/query").is_some());

        let refused = find(Role::Meta, &Method::HEAD, "/stopPushDataSwitch/open")
            .expect_err("HEAD changes nothing");

        assert_eq!(
            refused,
            Problem::MethodNotAllowed {
                allow: "GET".into()
            }
        );
    }

    #[test]
    fn a_port_has_its_own_paths() {
        assert!(endpoint(Role::Session, &Method::GET, "/api/servers/query").is_some());
        assert!(endpoint(Role::Meta, &Method::GET, "/api/servers/query").is_none());
        assert!(endpoint(Role::Data, &Method::GET, "/persistentData/query").is_none());
    }

    #[test]
    fn every_path_is_there_once_per_method_and_role() {
        for role in [Role::Session, Role::Meta, Role::Data] {
            let routes: Vec<&Route> = table(role).into_iter().flatten().collect();
            for (place, route) in routes.iter().enumerate() {
                let found = find(role, &route.method, route.path).expect("its own path");
                let first = routes
                    .iter()
                    .position(|other| std::ptr::eq(*other, found.route));
                assert_eq!(first, Some(place), "{}", route.path);
            }
        }
    }
}
