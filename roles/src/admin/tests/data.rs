//! The diagnosis of the data port.

use rollcall_core::query::PublisherRow;

use super::super::data;
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

/// A node whose only core has this many publishers of each of these connections.
fn publishing(connections: usize, each: usize, text: &str) -> FakeNode {
    let row = |connection: usize, number: usize| {
        let regist_id = format!("pub-{connection}-{number}");
        let mut registration = fake::registration("s", &regist_id, 1);
        registration.address = at(&format!("10.0.0.1:{}", 1_000 + connection));
        PublisherRow {
            registration,
            boxes: vec![text.to_owned()],
        }
    };
    let rows = (0..each).flat_map(|number| (0..connections).map(move |at| row(at, number)));
    fake::with_cores(vec![FakeCore {
        publishers: rows.collect(),
        ..FakeCore::default()
    }])
}

/// The connections from the first to this one, as 5.4.2 names them.
fn first(connections: usize) -> String {
    let pairs =
        (0..connections).map(|at| (format!("10.0.0.1:{}", 1_000 + at), json!("10.0.0.2:1")));
    Value::Object(pairs.collect()).to_string()
}

#[test]
fn a_thousand_connections_are_asked_for_in_one_walk() {
    let questions = |connections: usize| {
        let node = Rc::new(publishing(1_000, 3, "text"));
        let seen = Port::of(&node, DATA).post("/digest/connect/query", &first(connections));
        let told = seen.json();
        let told = told.as_object().expect("an object");
        assert_eq!(told.len(), connections);
        for (at, (shown, publishers)) in told.iter().enumerate() {
            assert_eq!(*shown, format!("10.0.0.1:{}_10.0.0.2:1", 1_000 + at));
            assert_eq!(publishers.as_object().map(|it| it.len()), Some(3));
        }
        node.asked.get()
    };

    assert_eq!(questions(1_000), questions(1));
}

#[test]
fn connections_that_hold_more_than_fits_in_memory_are_told_in_several_walks() {
    let text = "x".repeat(data::GROUPED_BYTES_MAX / 8);
    let node = Rc::new(publishing(7, 3, &text));
    let walk = 21_usize.div_ceil(node.slice);

    let seen = Port::of(&node, DATA).post("/digest/connect/query", &first(7));

    let told = seen.json();
    let told = told.as_object().expect("an object");
    let shown: Vec<_> = told.keys().map(|shown| &shown[..13]).collect();
    let expected: Vec<_> = (0..7)
        .map(|at| format!("10.0.0.1:{}", 1_000 + at))
        .collect();
    assert_eq!(shown, expected);
    assert!(
        told.values()
            .all(|it| it.as_object().is_some_and(|it| it.len() == 3))
    );
    assert_eq!(node.asked.get(), 4 * walk, "two at a time");
}

#[test]
fn a_connection_that_alone_holds_more_than_fits_is_told_too() {
    let text = "x".repeat(data::GROUPED_BYTES_MAX);
    let node = Rc::new(publishing(2, 2, &text));

    let seen = Port::of(&node, DATA).post("/digest/connect/query", &first(2));

    let told = seen.json();
    let told = told.as_object().expect("an object");
    assert_eq!(told.len(), 2);
    assert!(
        told.values()
            .all(|it| it.as_object().is_some_and(|it| it.len() == 2))
    );
}
