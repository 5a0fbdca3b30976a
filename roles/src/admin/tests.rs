//! What the three ports answer, compared with what SOFARegistry 5.4.2 and 6.6.3 were seen to answer.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, StatusCode};
use rollcall_core::meta::{OffClient, Side};
use rollcall_core::names::CoreId;
use rollcall_core::query::Order;
use serde_json::{Value, json};

use super::fake::{self, CLIENT, FakeCore, FakeNode};
use super::*;

const SESSION: Role = Role::Session;
const META: Role = Role::Meta;
const DATA: Role = Role::Data;

const ECHO: &str = "com.example.golden.Echo%23%40%23DEFAULT_INSTANCE_ID%23%40%23DEFAULT_GROUP";

/// An answer as a client sees it.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn content_type(&self) -> &str {
        self.headers
            .get("content-type")
            .map_or("", |value| value.to_str().expect("text"))
    }

    fn is_ok(&self, content_type: &str, body: &str) -> bool {
        self.status == StatusCode::OK && self.content_type() == content_type && self.body == body
    }
}

/// A port as one client sees it.
struct Port {
    admin: Rc<Admin>,
    role: Role,
    peer: SocketAddr,
    local: SocketAddr,
    headers: HeaderMap,
}

impl Port {
    fn of(node: &Rc<FakeNode>, role: Role) -> Self {
        Self {
            admin: Admin::new(Rc::new(Rc::clone(node)), Access::default()),
            role,
            peer: at("127.0.0.1:40000"),
            local: at("127.0.0.1:9603"),
            headers: HeaderMap::new(),
        }
    }

    fn between(mut self, peer: &str, local: &str) -> Self {
        (self.peer, self.local) = (at(peer), at(local));
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers
            .insert(name, value.parse().expect("a header value"));
        self
    }

    fn get(&self, path: &str) -> Seen {
        self.send(Method::GET, path, "")
    }

    fn post(&self, path: &str, body: &str) -> Seen {
        self.send(Method::POST, path, body)
    }

    fn send(&self, method: Method, path: &str, body: &str) -> Seen {
        let mut request = hyper::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        let request = Request {
            head: request.into_parts().0,
            body: Bytes::from(body.to_owned()),
            peer: self.peer,
            local: self.local,
        };
        let (head, body) = now(self.admin.answer(self.role, request)).into_parts();
        let body = now(body.collect()).expect("a whole body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Seen {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

/// Runs what waits for nobody.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fake node answers at once"),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn golden() -> Rc<FakeNode> {
    Rc::new(fake::golden())
}

fn empty() -> Rc<FakeNode> {
    Rc::new(fake::empty())
}

mod discovery {
    use super::*;

    #[test]
    fn servers_are_told_in_the_form_that_clients_parse() {
        let port = Port::of(&golden(), SESSION);

        assert!(
            port.get("/api/servers/query")
                .is_ok("text/plain", "127.0.0.1:9600")
        );
        assert!(
            port.get("/api/servers/query.json")
                .is_ok("application/json", "[\"127.0.0.1:9600\"]")
        );
        assert!(
            port.get("/api/servers/queryWithWeight")
                .is_ok("text/plain", "127.0.0.1:9600?weight=1")
        );
        assert!(
            port.get("/api/servers/connectionNum")
                .is_ok("text/plain", "1")
        );
        assert!(
            port.get("/api/servers/dataCenter")
                .is_ok("application/json", "[\"127.0.0.1:9600\"]")
        );
        assert!(port.get("/api/servers/alive").is_ok("text/plain", "OK"));
        assert!(
            port.with("accept", "application/json")
                .get("/api/servers/alive")
                .is_ok("application/json", "OK")
        );
    }

    #[test]
    fn the_parameters_of_the_real_clients_are_taken() {
        let port = Port::of(&golden(), SESSION);
        let java = "?env=null&zone=DEFAULT_ZONE&dataCenter=DefaultDataCenter&appName=golden-app&instanceId=null";
        let node = "?env=&zone=DEFAULT_ZONE&dataCenter=DefaultDataCenter&appName=app&instanceId=";

        for query in [
            java,
            node,
            "?zone=null",
            "?zone=",
            "?zone=default_zone",
            "?appName=100%&zone",
        ] {
            let seen = port.get(&format!("/api/servers/query{query}"));
            assert!(
                seen.is_ok("text/plain", "127.0.0.1:9600"),
                "{query}: {seen:?}"
            );
        }
    }

    fn other(host: &str, zone: &str) -> NodeEntry {
        NodeEntry {
            roles: Roles::ALL,
            host: host.into(),
            bolt_port: 9700,
            zone: zone.into(),
            connections: 80,
            draining: false,
        }
    }

    #[test]
    fn a_zone_has_its_own_servers_and_without_any_all() {
        let node = golden();
        node.facts.borrow_mut().others =
            vec![other("10.0.0.2", "SHANGHAI"), other("::2", "DEFAULT_ZONE")];
        let port = Port::of(&node, SESSION);

        assert_eq!(
            port.get("/api/servers/query").body,
            "127.0.0.1:9600;[::2]:9700"
        );
        assert_eq!(
            port.get("/api/servers/query?zone=shanghai").body,
            "10.0.0.2:9700"
        );
        assert_eq!(
            port.get("/api/servers/queryWithWeight?zone=Shanghai").body,
            "10.0.0.2:9700?weight=80"
        );
        let all = "127.0.0.1:9600;10.0.0.2:9700;[::2]:9700";
        assert_eq!(port.get("/api/servers/query?zone=NO_SUCH_ZONE").body, all);
    }

    #[test]
    fn a_draining_node_does_not_list_itself() {
        let node = golden();
        node.facts.borrow_mut().phase = Phase::Draining;
        let port = Port::of(&node, SESSION);

        assert!(port.get("/api/servers/query").is_ok("text/plain", ""));
        assert!(
            port.get("/api/servers/query.json")
                .is_ok("application/json", "[]")
        );
        node.facts.borrow_mut().others = vec![other("10.0.0.2", "SHANGHAI")];
        assert_eq!(port.get("/api/servers/query").body, "10.0.0.2:9700");
    }

    /// What a client is told that comes from `peer` to `local` while Bolt listens at `bolt`.
    fn told(bolt: &str, advertise: Option<(&str, Option<u16>)>, peer: &str, local: &str) -> String {
        let node = golden();
        node.facts.borrow_mut().bolt = at(bolt);
        node.facts.borrow_mut().advertise = advertise.map(|(host, port)| Advertise {
            host: host.into(),
            port,
        });
        Port::of(&node, SESSION)
            .between(peer, local)
            .get("/api/servers/query")
            .body
    }

    #[test]
    fn a_client_is_told_the_address_at_which_it_reached_us() {
        let (near, far, six) = ("127.0.0.1:1", "10.0.0.9:1", "[fd00::9]:1");

        assert_eq!(
            told("0.0.0.0:9611", None, far, "10.0.0.1:9603"),
            "10.0.0.1:9611"
        );
        assert_eq!(
            told("[::]:9600", None, six, "[fd00::1]:9603"),
            "[fd00::1]:9600"
        );
        assert_eq!(
            told("0.0.0.0:9600", None, near, "127.0.0.1:9603"),
            "127.0.0.1:9600"
        );
        assert_eq!(
            told("0.0.0.0:9600", None, "[::1]:1", "[::1]:9603"),
            "127.0.0.1:9600"
        );
    }

    #[test]
    fn a_port_bound_to_one_address_is_told_as_that() {
        assert_eq!(
            told("10.0.0.5:9600", None, "127.0.0.1:1", "127.0.0.1:9603"),
            "10.0.0.5:9600"
        );
        assert_eq!(
            told("127.0.0.1:9600", None, "127.0.0.1:1", "127.0.0.1:9603"),
            "127.0.0.1:9600"
        );
    }

    #[test]
    fn an_advertised_address_goes_first() {
        let far = ("10.0.0.9:1", "10.0.0.1:9603");

        assert_eq!(
            told(
                "0.0.0.0:9600",
                Some(("registry.example", None)),
                far.0,
                far.1
            ),
            "registry.example:9600"
        );
        assert_eq!(
            told(
                "0.0.0.0:9600",
                Some(("10.1.1.1", Some(30600))),
                far.0,
                far.1
            ),
            "10.1.1.1:30600"
        );
    }

    #[test]
    fn nobody_is_told_an_address_that_cannot_be_reached() {
        let far = ("10.0.0.9:1", "10.0.0.1:9603");

        assert_eq!(
            told("0.0.0.0:9600", Some(("0.0.0.0", None)), far.0, far.1),
            "10.0.0.1:9600"
        );
        assert_eq!(
            told("0.0.0.0:9600", Some(("127.0.0.1", None)), far.0, far.1),
            "10.0.0.1:9600"
        );
        assert_eq!(told("127.0.0.1:9600", None, far.0, far.1), "");
        assert_eq!(
            told("0.0.0.0:9600", None, "10.0.0.9:1", "127.0.0.1:9603"),
            ""
        );
    }
}

mod health {
    use super::*;

    #[test]
    fn a_node_at_work_answers_as_the_original() {
        let node = golden();
        let checks = [
            (
                SESSION,
                "SessionServerBoot RaftClientManager:true, MetaServerStart:true, SchedulerStart:true, \
                 HttpServerStart:true, SessionServerStart:true, ConnectDataServer:true",
            ),
            (
                META,
                "MetaServerBoot sessionRegisterServer:true, dataRegisterServerStart:true, \
                 otherMetaRegisterServerStart:true, httpServerStart:true, raftServerStart:true, raftClientStart:true, \
                 raftManagerStart:true, raftStatus:Leader",
            ),
            (
                DATA,
                "DataServerBoot severForSession:true, severForDataSync:true, httpServer:true, schedulerStarted:true, \
                 status:WORKING",
            ),
        ];

        for (role, message) in checks {
            let seen = Port::of(&node, role).get("/health/check");
            let body = format!("{{\"success\":true,\"message\":\"{message}\"}}");
            assert!(seen.is_ok("application/json", &body), "{seen:?}");
        }
    }

    #[test]
    fn who_is_not_ready_says_so_with_500_and_503() {
        let node = golden();
        let phases = |phase| {
            node.facts.borrow_mut().phase = phase;
            [SESSION, META, DATA].map(|role| {
                let port = Port::of(&node, role);
                (
                    port.get("/health/check").status.as_u16(),
                    port.get("/readyz").status.as_u16(),
                )
            })
        };

        assert_eq!(phases(Phase::Starting), [(500, 503); 3]);
        assert_eq!(
            phases(Phase::Draining),
            [(500, 503), (200, 200), (200, 200)]
        );
        assert_eq!(phases(Phase::Serving), [(200, 200); 3]);
        assert!(
            Port::of(&node, DATA)
                .get("/livez")
                .is_ok("text/plain", "ok")
        );
    }
}

mod session {
    use super::*;

    /// The shape of the capture, with the values of the fake; `object` alone says more than the original's null.
    fn captured(data_id: &str, regist_id: &str, version: i64, serializer: Value) -> Value {
        json!({
            "dataInfoId": format!("{data_id}#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP"), "dataId": data_id, "clientId": null,
            "instanceId": "DEFAULT_INSTANCE_ID", "cell": "DEFAULT_ZONE", "appName": "golden-app", "processId": CLIENT,
            "registerId": regist_id, "version": version,
            "sourceAddress": {
                "protocol": null, "host": "", "ipAddress": "127.0.0.1", "port": 58568, "path": "",
                "serializerIndex": serializer, "parameters": null, "addressString": CLIENT,
            },
            "clientVersion": "StoreData", "group": "DEFAULT_GROUP", "registerTimestamp": 1_795_364_962_342_i64,
            "clientRegisterTimestamp": 1_795_364_962_334_i64, "attributes": {},
        })
    }

    fn extended(mut base: Value, more: Value) -> Value {
        let (Some(fields), Value::Object(more)) = (base.as_object_mut(), more) else {
            panic!("two objects");
        };
        fields.extend(more);
        base
    }

    pub(super) fn publisher() -> Value {
        let base = captured(
            "com.example.golden.Echo",
            "7d81966d-0d1f-4d69-aff9-1d8af914796d",
            1,
            json!(1),
        );
        let text = "10.0.0.1:12200?weight=100";
        let data = json!({ "bytes": "rO0ABXQAGTEwLjAuMC4xOjEyMjAwP3dlaWdodD0xMDA=", "serialization": 1, "object": text });
        extended(base, json!({ "dataList": [data], "publishType": "NORMAL" }))
    }

    fn subscriber() -> Value {
        let base = captured(
            "com.example.golden.Echo",
            "942a31f0-439a-446f-934d-89c34ab02c0a",
            1,
            json!(null),
        );
        extended(base, json!({ "scope": "dataCenter", "elementType": null }))
    }

    fn watcher() -> Value {
        let base = captured(
            "com.example.golden.Config",
            "8d2bc38f-b86e-4c3a-9092-d721251a844e",
            0,
            json!(null),
        );
        extended(base, json!({ "dataType": "WATCHER" }))
    }

    #[test]
    fn registrations_of_an_id_have_the_fields_of_the_original_in_their_sequence() {
        let port = Port::of(&golden(), SESSION);
        let query = |kind: &str| port.get(&format!("/digest/{kind}/data/query?dataInfoId={ECHO}"));

        assert_eq!(
            query("pub").body,
            json!({ "PUB": [publisher()] }).to_string()
        );
        assert_eq!(
            query("sub").body,
            json!({ "SUB": [subscriber()] }).to_string()
        );
        assert_eq!(
            query("all").body,
            json!({ "SUB": [subscriber()], "PUB": [publisher()] }).to_string()
        );
        assert!(query("wat").is_ok("application/json", "{}"));
    }

    #[test]
    fn registrations_of_a_connection_are_found_in_both_spellings() {
        let port = Port::of(&golden(), SESSION).with("content-type", "application/json");
        let all =
            json!({ "SUB": [subscriber()], "WAT": [watcher()], "PUB": [publisher()] }).to_string();

        for connection in [CLIENT.to_owned(), format!("{CLIENT}_127.0.0.1:9600")] {
            let seen = port.post(
                "/digest/all/connect/query",
                &json!([connection]).to_string(),
            );
            assert!(seen.is_ok("application/json", &all), "{seen:?}");
        }
        assert!(
            port.post("/digest/all/connect/query", "[\"127.0.0.1:1\"]")
                .is_ok("application/json", "{}")
        );
        assert!(
            port.post("/digest/all/connect/query", "[]")
                .is_ok("application/json", "{}")
        );
    }

    #[test]
    fn counts_are_those_of_all_cores() {
        let line = "Subscriber count: 1, Publisher count: 1, Watcher count: 1";

        assert!(
            Port::of(&golden(), SESSION)
                .get("/digest/data/count")
                .is_ok("application/json", line)
        );
        let choosy = Port::of(&golden(), SESSION).with("accept", "text/plain");
        assert!(choosy.get("/digest/data/count").is_ok("text/plain", line));
    }

    #[test]
    fn ids_and_their_checksum_are_those_of_the_original() {
        let port = Port::of(&golden(), SESSION);
        let id = "com.example.golden.Echo#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP";

        assert_eq!(port.get("/digest/getDataInfoIdList").json(), json!([id]));
        assert!(
            port.get("/digest/checkSumDataInfoIdList")
                .is_ok("application/json", "2054259957")
        );
        assert_eq!(
            port.get("/digest/pub/getDataInfoIdListGroupByCount").json(),
            json!([{ id: 1 }])
        );
        assert_eq!(
            port.get("/digest/all/getDataInfoIdListGroupByCount").json()[0],
            json!({ id: 2 })
        );
        let fresh = Port::of(&empty(), SESSION);
        assert!(
            fresh
                .get("/digest/getDataInfoIdList")
                .is_ok("application/json", "[]")
        );
        assert!(
            fresh
                .get("/digest/checkSumDataInfoIdList")
                .is_ok("application/json", "0")
        );
    }

    #[test]
    fn hosts_of_a_role_are_listed() {
        let port = Port::of(&golden(), SESSION);

        for role in ["session", "data", "meta"] {
            let seen = port.get(&format!("/digest/{role}/serverList/query"));
            assert!(
                seen.is_ok("application/json", "[\"127.0.0.1\"]"),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn connections_are_listed_briefly_and_in_detail() {
        let port = Port::of(&golden(), SESSION);

        assert_eq!(port.get("/connections/query").json(), json!([CLIENT]));
        let details = port
            .get(&format!("/connections/details?address={CLIENT}"))
            .json();
        assert_eq!(details, port.get("/connections/details").json());
        assert_eq!(details[0]["appName"], "golden-app");
        assert_eq!(details[0]["labels"], json!({ "zone": "DEFAULT_ZONE" }));
        assert_eq!(details[0]["receivedBytes"], 1200);
        assert_eq!(
            port.get("/connections/details?address=127.0.0.1:1").json(),
            json!([])
        );
        let brief = json!([{ "clientId": null, "sourceAddress": CLIENT, "appName": "golden-app" }]);
        let query = format!("/digest/data/zone/queryPublisher?dataInfoId={ECHO}");
        assert_eq!(port.get(&query).json()["data"], brief);
    }

    #[test]
    fn an_answer_over_many_rows_is_whole_whatever_the_slices() {
        let mut core = FakeCore::default();
        for number in 0..1000 {
            core.connections
                .push(fake::connection(&format!("10.0.0.1:{}", 1000 + number)));
        }
        let node = Rc::new(fake::with_cores(vec![
            FakeCore::default(),
            core,
            FakeCore::default(),
        ]));

        let seen = Port::of(&node, SESSION).get("/connections/details").json();

        assert_eq!(seen.as_array().map(Vec::len), Some(1000));
        assert_eq!(seen[999]["address"], "10.0.0.1:1999");
    }

    #[test]
    fn a_silent_core_is_an_error_and_not_a_shorter_answer() {
        let node = Rc::new(FakeNode {
            silent: Some(CoreId(1)),
            ..fake::golden()
        });
        let port = Port::of(&node, SESSION);

        for path in [
            "/digest/data/count",
            "/connections/query",
            "/metrics",
            "/api/servers/queryWithWeight",
        ] {
            let seen = port.get(path);
            assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(seen.json()["message"], "core 1 did not answer: it is busy");
        }
        assert_eq!(port.get("/api/servers/query").status, StatusCode::OK);
    }
}

mod data {
    use super::*;

    const QUERY: &str = "/digest/datum/query?dataId=com.example.golden.Echo&group=DEFAULT_GROUP&instanceId=DEFAULT_INSTANCE_ID";

    #[test]
    fn a_datum_has_the_fields_of_the_original_in_their_sequence() {
        let port = Port::of(&golden(), DATA);
        let datum = json!({ "DefaultDataCenter": {
            "dataInfoId": "com.example.golden.Echo#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP",
            "dataCenter": "DefaultDataCenter", "dataId": "com.example.golden.Echo",
            "instanceId": "DEFAULT_INSTANCE_ID", "group": "DEFAULT_GROUP",
            "pubMap": { "7d81966d-0d1f-4d69-aff9-1d8af914796d": session::publisher() },
            "version": 8_162_278_206_996_480_i64, "containsUnPub": false,
        } });

        assert!(
            port.get(QUERY)
                .is_ok("application/json", &datum.to_string())
        );
        let own = format!("{QUERY}&dataCenter=DefaultDataCenter");
        assert!(port.get(&own).is_ok("application/json", &datum.to_string()));
    }

    #[test]
    fn a_datum_that_is_not_there_is_told_as_the_original_does() {
        let port = Port::of(&empty(), DATA);

        assert!(port.get(QUERY).is_ok("application/json", "{}"));
        let own = port.get(&format!("{QUERY}&dataCenter=DefaultDataCenter"));
        assert!(own.is_ok("application/json", "{\"DefaultDataCenter\":null}"));
        let foreign = Port::of(&golden(), DATA).get(&format!("{QUERY}&dataCenter=NoSuchDc"));
        assert!(foreign.is_ok("application/json", "{\"NoSuchDc\":null}"));
    }

    #[test]
    fn publishers_of_a_connection_are_found_in_both_spellings() {
        let port = Port::of(&golden(), DATA);
        let publishers = json!({ "7d81966d-0d1f-4d69-aff9-1d8af914796d": session::publisher() });

        let five = port.post("/digest/connect/query", "{\"127.0.0.1\":\"58568\"}");
        let six = port.post(
            "/digest/connect/query",
            "{\"127.0.0.1:58568\":\"127.0.0.1:9600\"}",
        );

        assert_eq!(five.json(), json!({ "127.0.0.1:58568": publishers }));
        assert_eq!(
            six.json(),
            json!({ "127.0.0.1:58568_127.0.0.1:9600": publishers })
        );
        assert!(
            port.post("/digest/connect/query", "{\"127.0.0.1\":\"1\"}")
                .is_ok("application/json", "{}")
        );
        assert!(
            port.post("/digest/connect/query", "{}")
                .is_ok("application/json", "{}")
        );
    }

    #[test]
    fn datums_are_counted_and_listed() {
        let port = Port::of(&golden(), DATA);
        let id = "com.example.golden.Echo#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP";

        let line = "CacheDigest [Datum] size of datum in DefaultDataCenter is 1,\
                    [Publisher] size of publisher in DefaultDataCenter is 1";
        assert!(
            port.get("/digest/datum/count")
                .is_ok("application/json", line)
        );
        let fresh = Port::of(&empty(), DATA).get("/digest/datum/count");
        assert!(fresh.is_ok("application/json", "CacheDigest datum cache is empty"));
        assert_eq!(
            port.get("/datum/api/getDatumSizes").json(),
            json!({ "DefaultDataCenter": 1 })
        );
        assert_eq!(
            port.get("/datum/api/summary/query").json(),
            json!({ id: 1 })
        );
        assert_eq!(
            port.get("/digest/datum/getDataInfoIdList").json(),
            json!([format!("DefaultDataCenter,{id},1")])
        );
    }

    #[test]
    fn hosts_of_a_role_are_listed_by_data_center() {
        let port = Port::of(&golden(), DATA);

        let hosts = |role| port.get(&format!("/digest/{role}/serverList/query")).body;

        assert_eq!(hosts("meta"), "{\"DefaultDataCenter\":[\"127.0.0.1\"]}");
        assert_eq!(hosts("session"), "{\"DefaultDataCenter\":[\"127.0.0.1\"]}");
        assert_eq!(hosts("data"), "{\"DefaultDataCenter\":[]}");
    }
}

mod meta {
    use super::*;

    const SUCCESS: &str = "{\"success\":true,\"message\":null}";

    #[test]
    fn nodes_have_the_fields_of_the_original_in_their_sequence() {
        let port = Port::of(&golden(), META);
        let url = "{\"protocol\":null,\"host\":\"\",\"ipAddress\":\"127.0.0.1\",\"port\":0,\"path\":\"\",\
                   \"serializerIndex\":1,\"parameters\":null,\"addressString\":\"127.0.0.1:0\"}";
        let nodes = |entry: &str| {
            format!("{{\"DefaultDataCenter\":{{\"127.0.0.1\":{entry}}}}}").replace("URL", url)
        };

        assert_eq!(
            port.get("/digest/session/node/query").body,
            nodes(
                "{\"nodeUrl\":URL,\"regionId\":\"DEFAULT_ZONE\",\"name\":null,\"nodeStatus\":\"INIT\",\
                 \"nodeType\":\"SESSION\",\"ip\":\"127.0.0.1\"}"
            )
        );
        assert_eq!(
            port.get("/digest/data/node/query").body,
            nodes(
                "{\"nodeUrl\":URL,\"nodeName\":\"127.0.0.1\",\"dataCenter\":\"DefaultDataCenter\",\"regionId\":null,\
                 \"nodeStatus\":\"INIT\",\"registrationTimestamp\":0,\"nodeType\":\"DATA\",\"ip\":\"127.0.0.1\"}"
            )
        );
        assert_eq!(
            port.get("/digest/meta/node/query").body,
            nodes(
                "{\"nodeType\":\"META\",\"nodeUrl\":URL,\"dataCenter\":\"DefaultDataCenter\",\"name\":\"127.0.0.1\",\
                 \"regionId\":null,\"nodeStatus\":\"INIT\",\"ip\":\"127.0.0.1\"}"
            )
        );
    }

    #[test]
    fn the_push_switch_is_told_on_both_ports() {
        let node = golden();
        let (meta, session) = (Port::of(&node, META), Port::of(&node, SESSION));
        let told = || {
            (
                meta.get("/digest/pushSwitch").body,
                session.get("/digest/pushSwitch").body,
            )
        };
        let (open, closed) = ("{\"pushSwitch\":\"open\"}", "{\"pushSwitch\":\"closed\"}");

        let never = "{\"msg\":\"OperationStatus is NOTFOUND\",\"pushSwitch\":\"open\"}";
        assert_eq!(told(), (never.into(), open.into()));
        assert!(
            meta.get("/stopPushDataSwitch/open")
                .is_ok("application/json", SUCCESS)
        );
        assert_eq!(told(), (closed.into(), closed.into()));
        assert!(
            meta.get("/stopPushDataSwitch/close")
                .is_ok("application/json", SUCCESS)
        );
        assert_eq!(told(), (open.into(), open.into()));
    }

    #[test]
    fn the_renew_switches_turn_together_and_apart() {
        let port = Port::of(&golden(), META);
        let turned = |path: &str| {
            assert!(port.get(path).is_ok("application/json", SUCCESS), "{path}");
            let told = port.get("/renewSwitch/get").json();
            let text = |name: &str| told[name].as_str().expect("a text").to_owned();
            (
                text("enableDataDatumExpire"),
                text("enableDataRenewSnapshot"),
            )
        };
        let texts = |expire: &str, renew: &str| (expire.to_owned(), renew.to_owned());

        let never = "{\"enableDataDatumExpire\":\"null\",\"enableDataRenewSnapshot\":\"null\"}";
        assert!(
            port.get("/renewSwitch/get")
                .is_ok("application/json", never)
        );
        assert_eq!(turned("/renewSwitch/disable"), texts("false", "false"));
        assert_eq!(turned("/renewSwitch/enable"), texts("true", "true"));
        assert_eq!(
            turned("/renewSwitch/session/disable"),
            texts("true", "false")
        );
        assert_eq!(turned("/renewSwitch/session/enable"), texts("true", "true"));
        assert_eq!(turned("/renewSwitch/data/disable"), texts("false", "true"));
        assert_eq!(turned("/renewSwitch/data/enable"), texts("true", "true"));
    }

    fn value(version: i64, data: &str) -> String {
        json!({
            "dataId": "com.example.golden.Config", "group": "DEFAULT_GROUP", "instanceId": "DEFAULT_INSTANCE_ID",
            "version": version, "data": data,
        })
        .to_string()
    }

    #[test]
    fn a_value_is_put_asked_for_and_removed() {
        let port = Port::of(&golden(), META);
        let query = "/persistentData/query?dataInfoId=com.example.golden.Config%23@%23DEFAULT_INSTANCE_ID%23@%23DEFAULT_GROUP";

        assert!(
            port.post("/persistentData/put", &value(1024, "hello"))
                .is_ok("application/json", SUCCESS)
        );
        assert!(
            port.post("/persistentData/put", &value(1024, "hello"))
                .is_ok("application/json", SUCCESS)
        );
        let older = port.post("/persistentData/put", &value(1000, "older"));
        let why = "{\"success\":false,\"message\":\"version 1000 is not newer than 1024\"}";
        assert!(older.is_ok("application/json", why), "{older:?}");
        let shown = "{\"success\":true,\"message\":null,\"data\":{\"dataId\":\"com.example.golden.Config\",\
                     \"group\":\"DEFAULT_GROUP\",\"instanceId\":\"DEFAULT_INSTANCE_ID\",\"version\":1024,\"data\":\"hello\"}}";
        assert!(port.get(query).is_ok("application/json", shown));
        assert!(
            port.post("/persistentData/remove", &value(1025, ""))
                .is_ok("application/json", SUCCESS)
        );
        assert_eq!(port.get(query).json()["data"], Value::Null);
    }

    #[test]
    fn a_value_without_what_it_needs_is_told_what_it_lacks() {
        let port = Port::of(&golden(), META);
        let lacks = |path: &str, name: &str| {
            let mut body: Value = serde_json::from_str(&value(1, "v")).expect("JSON");
            body.as_object_mut().expect("an object").remove(name);
            let seen = port.post(path, &body.to_string());
            assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{seen:?}");
            assert_eq!(
                seen.json(),
                json!({ "success": false, "message": format!("parameter {name} is missing") })
            );
        };

        for name in ["dataId", "group", "instanceId", "version", "data"] {
            lacks("/persistentData/put", name);
        }
        lacks("/persistentData/remove", "version");
    }

    #[test]
    fn a_setting_put_as_a_value_is_what_it_means() {
        let node = golden();
        let port = Port::of(&node, META);
        let put = |data: &str| {
            let setting = json!({
                "dataId": "session.stop.push.data.switch", "instanceId": "9600", "group": "CONFIG", "version": 1, "data": data,
            });
            port.post("/persistentData/put", &setting.to_string())
        };

        assert!(put("true").is_ok("application/json", SUCCESS));
        assert!(node.meta.borrow().is_push_stopped());
        assert_eq!(put("perhaps").status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_blacklist_replaces_the_one_before() {
        let node = golden();
        let port = Port::of(&node, META);
        let lists = r#"{"FORBIDDEN_PUB":{"IP_FULL":["1.1.1.1","10.15.233.150"]},"FORBIDDEN_SUB_BY_PREFIX":{"IP_FULL":["1.1.1.1"]}}"#;
        let is_forbidden = |side, ip: &str| {
            node.meta
                .borrow()
                .is_blacklisted(side, ip.parse().expect("an address"))
        };

        assert!(
            port.post("/blacklist/update", lists)
                .is_ok("application/json", SUCCESS)
        );
        assert!(
            is_forbidden(Side::Publisher, "10.15.233.150")
                && !is_forbidden(Side::Subscriber, "10.15.233.150")
        );
        assert!(
            port.post("/blacklist/update", "{}")
                .is_ok("application/json", SUCCESS)
        );
        assert!(!is_forbidden(Side::Publisher, "10.15.233.150"));
    }

    #[test]
    fn rubbish_is_no_blacklist() {
        let port = Port::of(&golden(), META);
        let rubbish = [
            "",
            "not json",
            "[]",
            "{\"FORBIDDEN\":{}}",
            "{\"FORBIDDEN_PUB\":[]}",
            "{\"FORBIDDEN_PUB\":{\"IP_PREFIX\":[]}}",
            "{\"FORBIDDEN_PUB\":{\"IP_FULL\":[\"host\"]}}",
        ];

        for body in rubbish {
            let seen = port.post("/blacklist/update", body);
            assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(seen.json()["success"], false);
        }
    }

    #[test]
    fn sessions_stop_only_after_pushing_was_stopped() {
        let port =
            Port::of(&golden(), META).with("content-type", "application/x-www-form-urlencoded");

        let early = port.post("/shutdown/update", "shutdown=true").json();
        port.get("/stopPushDataSwitch/open");
        let late = port.post("/shutdown/update", "shutdown=true").json();

        assert_eq!(
            (&early["success"], &late["success"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(
            port.get("/shutdown/query").json(),
            json!({ "switch": "true" })
        );
        assert_eq!(
            port.post("/shutdown/update", "shutdown=maybe").status,
            StatusCode::BAD_REQUEST
        );
    }
}

mod clients {
    use super::*;

    const DONE: &str = "{\"success\":true,\"message\":\"\"}";

    #[test]
    fn connections_are_taken_off_in_the_forms_of_both_versions() {
        let node = golden();
        let port = Port::of(&node, SESSION).with("content-type", "application/json; charset=utf-8");
        let five = json!({ "connectIds": [CLIENT] }).to_string();
        let six = json!({ "connectIds": [{
            "clientHostAddress": "127.0.0.1", "clientPort": 58568, "sessionHostAddress": "127.0.0.1", "sessionPort": 9600,
        }] });

        for body in [five, six.to_string()] {
            assert!(
                port.post("/api/clients/off", &body)
                    .is_ok("application/json", DONE)
            );
            assert!(
                port.post("/api/clients/on", &body)
                    .is_ok("application/json", DONE)
            );
        }

        let (off, on) = (
            Order::ConnectionsOff(vec![at(CLIENT)]),
            Order::ConnectionsOpen(vec![at(CLIENT)]),
        );
        assert_eq!(*node.orders.borrow(), [off.clone(), on.clone(), off, on]);
    }

    #[test]
    fn a_request_without_connections_is_refused_in_the_words_of_the_original() {
        let port = Port::of(&golden(), SESSION);
        let none = "{\"success\":false,\"message\":\"ConnectIds can not be null.\"}";

        let nothing = port.post("/api/clients/off", "");
        assert!(nothing.is_ok(
            "application/json",
            "{\"success\":false,\"message\":\"Request can not be null.\"}"
        ));
        for body in ["{}", "{\"connectIds\":[]}", "{\"connectIds\":null}"] {
            assert!(
                port.post("/api/clients/off", body)
                    .is_ok("application/json", none),
                "{body}"
            );
        }
    }

    #[test]
    fn rubbish_takes_nobody_off() {
        let node = golden();
        let port = Port::of(&node, SESSION);
        let rubbish = [
            "{\"connectIds\":[",
            "{\"connectIds\":\"x\"}",
            "{\"unknown\":1}",
            "[]",
            "{\"connectIds\":[\"nonsense\"]}",
            "{\"connectIds\":[{\"clientHostAddress\":\"127.0.0.1\"}]}",
            "{\"connectIds\":[7]}",
        ];

        for body in rubbish {
            let seen = port.post("/api/clients/off", body);
            assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{body}");
        }

        assert!(node.orders.borrow().is_empty());
    }

    #[test]
    fn addresses_are_off_for_good_until_they_are_on() {
        let node = golden();
        let port = Port::of(&node, META).with("content-type", "application/x-www-form-urlencoded");
        let query = || port.get("/api/clientManager/query").body;

        assert_eq!(
            query(),
            "{\"success\":false,\"message\":\"data not found\",\"data\":null}"
        );
        assert!(
            port.post("/api/clientManager/clientOff", "ips=127.0.0.1")
                .is_ok("application/json", DONE)
        );
        assert_eq!(
            query(),
            "{\"success\":true,\"message\":null,\"data\":{\"version\":1,\"clientOffAddress\":{\"127.0.0.1\":\
             {\"version\":0,\"address\":\"127.0.0.1\",\"pub\":true,\"sub\":true}},\"reduces\":[]}}"
        );
        assert!(node.is_off("127.0.0.1"));
        assert!(
            port.post("/api/clientManager/clientOpen", "ips=127.0.0.1")
                .is_ok("application/json", DONE)
        );
        assert_eq!(
            query(),
            "{\"success\":true,\"message\":null,\"data\":{\"version\":2,\"clientOffAddress\":{},\"reduces\":[]}}"
        );
        let nobody = "{\"success\":false,\"message\":\"ips is empty\"}";
        assert!(
            port.post("/api/clientManager/clientOff", "")
                .is_ok("application/json", nobody)
        );
        assert_eq!(
            port.post("/api/clientManager/clientOff", "ips=host").status,
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn one_side_of_a_client_can_be_off() {
        let node = golden();
        let port = Port::of(&node, META);
        let ips = "ips=[{\"address\":\"1.1.1.1\",\"pub\":true,\"sub\":false}]";

        assert!(
            port.post("/api/clientManager/clientOffWithSub", ips)
                .is_ok("application/json", DONE)
        );

        let client = OffClient {
            ip: "1.1.1.1".parse().expect("an address"),
            publishers: true,
            subscribers: false,
        };
        assert!(
            node.meta
                .borrow()
                .clients_off()
                .any(|off| off.client == client)
        );
        for body in ["ips=1.1.1.1", "ips=[{\"address\":\"1.1.1.1\"}]", "ips=[7]"] {
            assert_eq!(
                port.post("/api/clientManager/clientOffWithSub", body)
                    .status,
                StatusCode::BAD_REQUEST
            );
        }
    }

    #[test]
    fn the_session_port_takes_clients_off_here_or_for_good() {
        let node = golden();
        let port = Port::of(&node, SESSION);

        assert!(
            port.post("/api/clientManager/clientOff", "ips=127.0.0.9")
                .is_ok("application/json", DONE)
        );
        let ip = "127.0.0.9".parse().expect("an address");
        assert_eq!(*node.orders.borrow(), [Order::ClientsOff(vec![ip])]);
        assert!(!node.is_off("127.0.0.9"));

        let lasting = port.post(
            "/api/clientManager/persistence/clientOff",
            "ips=127.0.0.9;127.0.0.8",
        );
        assert!(lasting.is_ok(
            "application/json",
            "{\"success\":true,\"message\":null,\"data\":1}"
        ));
        let zone = port
            .post("/api/clientManager/zone/queryClientOff", "")
            .json();
        assert_eq!(
            zone["data"]["127.0.0.1"],
            json!({ "success": true, "ips": ["127.0.0.8", "127.0.0.9"] })
        );
    }
}

mod requests {
    use super::*;

    #[test]
    fn an_unknown_path_is_404_and_says_so() {
        for role in [SESSION, META, DATA] {
            for path in ["/", "/no/such/path", "/health", "/manage/queryPeer"] {
                let seen = Port::of(&golden(), role).get(path);
                assert_eq!(seen.status, StatusCode::NOT_FOUND);
                let message = format!("no such path on this port: {path}");
                assert_eq!(seen.json(), json!({ "success": false, "message": message }));
            }
        }
    }

    #[test]
    fn a_wrong_method_is_405_with_the_right_ones() {
        let put = Port::of(&golden(), META).send(Method::PUT, "/persistentData/put", "{}");
        let get = Port::of(&golden(), SESSION).get("/api/clients/off");
        let post = Port::of(&golden(), SESSION).post("/health/check", "");
        let options = Port::of(&golden(), SESSION).send(Method::OPTIONS, "/health/check", "");

        for (seen, allow) in [(&put, "POST"), (&get, "POST"), (&post, "GET, HEAD")] {
            assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(seen.headers["allow"], allow);
            assert_eq!(seen.json()["message"], format!("allowed methods: {allow}"));
        }
        assert_eq!(
            (options.status, options.body.as_str()),
            (StatusCode::NO_CONTENT, "")
        );
        assert_eq!(options.headers["allow"], "GET, HEAD");
    }

    #[test]
    fn a_bad_parameter_is_400_and_named() {
        let node = golden();
        let bad = [
            (SESSION, "/digest/pub/data/query", "dataInfoId"),
            (SESSION, "/digest/pub/data/query?dataInfoId=x", "dataInfoId"),
            (
                SESSION,
                "/digest/nonsense/data/query?dataInfoId=a%23@%23b%23@%23c",
                "type",
            ),
            (SESSION, "/digest/nonsense/serverList/query", "type"),
            (SESSION, "/connections/details?address=x", "address"),
            (DATA, "/digest/nonsense/serverList/query", "type"),
            (DATA, "/digest/datum/query?dataId=x", "instanceId"),
            (DATA, "/digest/datum/query", "dataId"),
            (META, "/digest/nonsense/node/query", "type"),
        ];

        for (role, path, name) in bad {
            let seen = Port::of(&node, role).get(path);
            assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{path}");
            let message = seen.json()["message"].as_str().expect("a text").to_owned();
            assert!(
                message.starts_with(&format!("parameter {name} ")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_bad_body_is_400_and_told_why() {
        let node = golden();
        let bad = [
            (SESSION, "/digest/all/connect/query", "{}"),
            (SESSION, "/digest/all/connect/query", ""),
            (SESSION, "/digest/all/connect/query", "[\"nonsense\"]"),
            (DATA, "/digest/connect/query", "[]"),
            (DATA, "/digest/connect/query", "{\"127.0.0.1\":\"x\"}"),
            (META, "/persistentData/put", "{\"dataId\":\"x\""),
            (
                META,
                "/persistentData/put",
                "{\"dataId\":\"x\",\"extra\":1}",
            ),
            (META, "/persistentData/put", ""),
        ];

        for (role, path, body) in bad {
            let seen = Port::of(&node, role).post(path, body);
            assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{path} {body}");
            assert_eq!(seen.json()["success"], false);
        }
    }

    #[test]
    fn what_a_client_does_not_accept_or_send_rightly_is_406_and_415() {
        let choosy = Port::of(&golden(), SESSION).with("accept", "text/html");
        let typed = Port::of(&golden(), SESSION).with("content-type", "text/plain");

        assert_eq!(
            choosy.get("/health/check").status,
            StatusCode::NOT_ACCEPTABLE
        );
        assert_eq!(
            choosy.get("/api/servers/query").status,
            StatusCode::NOT_ACCEPTABLE
        );
        assert_eq!(choosy.get("/metrics").status, StatusCode::OK);
        assert_eq!(
            typed.post("/api/clients/off", "x").status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        assert_eq!(
            typed.post("/api/clientManager/clientOff", "x").status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
    }

    #[test]
    fn changes_from_another_host_need_the_token_and_questions_do_not() {
        let node = golden();
        let far = |access: Access| {
            let mut port = Port::of(&node, META).between("10.0.0.9:1", "10.0.0.1:9615");
            port.admin = Admin::new(Rc::new(Rc::clone(&node)), access);
            port
        };
        let with_token = || Access {
            token: Some(crate::config::MaskedString::new("s3cret".to_owned())),
            allow_unauthenticated: false,
        };

        let closed = far(Access::default()).get("/stopPushDataSwitch/open");
        let asked = far(with_token()).get("/stopPushDataSwitch/open");
        assert_eq!(
            (closed.status, asked.status),
            (StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED)
        );
        assert_eq!(asked.headers["www-authenticate"], "Bearer");
        assert!(!node.meta.borrow().is_push_stopped());

        assert_eq!(
            far(Access::default()).get("/digest/pushSwitch").status,
            StatusCode::OK
        );
        let shown = far(with_token()).with("authorization", "Bearer s3cret");
        assert_eq!(shown.get("/stopPushDataSwitch/open").status, StatusCode::OK);
        assert!(node.meta.borrow().is_push_stopped());
    }

    #[test]
    fn requests_are_counted_by_role_and_status() {
        let port = Port::of(&golden(), SESSION);
        port.get("/api/servers/query");
        port.get("/no/such/path");

        let text = port.get("/metrics");

        assert_eq!(
            text.content_type(),
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert!(
            text.body
                .contains("rollcall_http_requests_total{role=\"session\",status=\"200\"} 1\n")
        );
        assert!(
            text.body
                .contains("rollcall_http_requests_total{role=\"session\",status=\"404\"} 1\n")
        );
    }
}
