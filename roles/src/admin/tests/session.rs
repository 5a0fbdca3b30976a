//! The diagnosis of the session port.

use rollcall_core::limits;

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

#[test]
fn an_answer_that_takes_too_long_is_ended_and_not_shorter() {
    let mut core = FakeCore::default();
    for number in 0..1_000 {
        let address = format!("10.0.0.1:{}", 1_000 + number);
        core.connections.push(fake::connection(&address));
    }
    let mut node = fake::with_cores(vec![core]);
    node.answers_within = limits::HTTP_ANSWER_MAX / 100;
    let node = Rc::new(node);

    let seen = Port::of(&node, SESSION).get("/connections/query");

    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE, "{seen:?}");
    assert!(node.asked.get() <= 100, "{}", node.asked.get());
}

#[test]
fn a_long_answer_lets_others_have_their_turn_after_each_piece() {
    let mut core = FakeCore::default();
    for number in 0..1_000 {
        let address = format!("10.0.0.1:{}", 1_000 + number);
        core.connections.push(fake::connection(&address));
    }
    let mut node = fake::with_cores(vec![core]);
    node.slice = 1_000;
    let node = Rc::new(node);

    let seen = Port::of(&node, SESSION).get("/connections/details");

    let pieces = seen.body.len() / limits::HTTP_CHUNK_BYTES;
    assert!(pieces > 5, "{pieces}");
    assert!(node.rests.get() >= pieces - 1, "{}", node.rests.get());
}

#[test]
fn one_answer_at_a_time_is_held_as_a_whole() {
    let node = golden();
    let port = Port::of(&node, SESSION);
    let path = "/digest/all/getDataInfoIdListGroupByCount";

    let place = node.whole_answer.take();
    assert_eq!(port.get(path).status, StatusCode::SERVICE_UNAVAILABLE);
    drop(place);

    assert_eq!(port.get(path).status, StatusCode::OK);
    assert_eq!(port.get(path).status, StatusCode::OK, "it is given back");
    assert!(
        Port::of(&empty(), SESSION)
            .get(path)
            .is_ok("application/json", "[]")
    );
}
