//! What clients and operators ask over HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rollcall_tests::http::{self, get, post};
use rollcall_tests::{Registration, Rollcall, eventually};

fn bolt_of(node: &Rollcall) -> String {
    node.addresses.bolt.to_string()
}

fn good_json(server: SocketAddr, path: &str) -> serde_json::Value {
    let reply = get(server, path);
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

on_one_and_two_cores! {
    fn clients_are_told_the_session_as_they_parse_it(cores: usize) {
        let node = Rollcall::start(cores);
        let session = node.addresses.session;

        let asked = "/api/servers/query?env=null&zone=DEFAULT_ZONE&dataCenter=DefaultDataCenter&appName=a&instanceId=null";
        let reply = get(session, asked);
        assert_eq!((reply.status, reply.body.as_str()), (200, bolt_of(&node).as_str()), "no trailing newline, no parameters");
        assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{reply:?}");
        assert_eq!(reply.header("content-encoding"), None);
        assert_eq!(good_json(session, "/api/servers/query.json"), serde_json::json!([bolt_of(&node)]));
        assert_eq!(get(session, "/api/servers/alive").body, "OK");
        let weighted = get(session, "/api/servers/queryWithWeight?zone=DEFAULT_ZONE").body;
        let (address, weight) = weighted.split_once("?weight=").expect("a weight");
        assert_eq!(address, bolt_of(&node));
        weight.parse::<u32>().expect("a number");
        let _one = node.client();
        node.client().heartbeat();
        get(session, "/api/servers/connectionNum").body.parse::<u32>().expect("a number");
    }

    fn a_zone_without_servers_gets_all_nodes(cores: usize) {
        let node = Rollcall::start(cores);

        for zone in ["NO_SUCH_ZONE", "no_such_zone", "", "null", "%E6%BC%A2"] {
            let reply = get(node.addresses.session, &format!("/api/servers/query?zone={zone}&env=&instanceId="));
            assert_eq!((reply.status, reply.body), (200, bolt_of(&node)), "zone {zone:?}");
        }
    }

    fn every_role_is_healthy_when_the_node_says_it_is_ready(cores: usize) {
        let node = Rollcall::start(cores);

        for server in [node.addresses.session, node.addresses.meta, node.addresses.data] {
            assert_eq!(good_json(server, "/health/check")["success"], true);
        }
        assert_eq!(get(node.addresses.session, "/api/servers/query").body, bolt_of(&node), "and its list is complete");
    }

    fn the_digests_count_what_is_registered(cores: usize) {
        let node = Rollcall::start(cores);
        let (session, data) = (node.addresses.session, node.addresses.data);
        let mut client = node.client();
        client.register_well(&Registration::new("counted", "p").publish(Some(&["value".into()])));
        client.register_well(&Registration::new("counted", "s").subscribe("zone"));
        client.list();
        client.register_well(&Registration::new("setting", "c").configure());
        client.config();
        let counted = "counted%23%40%23DEFAULT_INSTANCE_ID%23%40%23DEFAULT_GROUP";

        assert_eq!(node.counts(), "Subscriber count: 1, Publisher count: 1, Watcher count: 1");
        let of_service = good_json(session, &format!("/digest/all/data/query?dataInfoId={counted}"));
        assert_eq!(of_service["PUB"][0]["registerId"], "p");
        assert_eq!(of_service["SUB"][0]["registerId"], "s");
        let asked = format!(r#"["{}"]"#, client.address());
        let of_connection = post(session, "/digest/all/connect/query", &asked).json();
        assert_eq!(of_connection["PUB"][0]["dataId"], "counted");
        assert_eq!(of_connection["WAT"][0]["registerId"], "c");
        let ids = good_json(session, "/digest/getDataInfoIdList");
        assert!(ids.as_array().expect("a list").contains(&"counted#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP".into()), "{ids}");
        let datum = "/digest/datum/query?dataId=counted&group=DEFAULT_GROUP&instanceId=DEFAULT_INSTANCE_ID";
        let datum = good_json(data, datum);
        assert_eq!(datum["DefaultDataCenter"]["pubMap"]["p"]["dataId"], "counted");
        let count = get(data, "/digest/datum/count").body;
        assert!(count.contains("[Publisher] size of publisher in DefaultDataCenter is 1"), "{count}");

        drop(client);
        eventually("everything left with its connection", || {
            node.counts() == "Subscriber count: 0, Publisher count: 0, Watcher count: 0"
        });
    }

    fn connections_tell_their_facts(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client_on_core(cores - 1);
        client.register_well(&Registration::new("facts", "s").subscribe("zone"));

        let facts = node.addresses.connections(&format!("?address={}", client.address())).pop().expect("it is connected");

        assert_eq!(facts["address"], client.address().to_string().as_str());
        assert_eq!(facts["core"], cores - 1);
        assert_eq!(facts["appName"], "raw");
        assert_eq!(facts["subscribers"], 1);
        assert!(facts["receivedBytes"].as_u64() > Some(100), "{facts}");
    }

    fn the_push_switch_is_told_where_it_is_asked(cores: usize) {
        let node = Rollcall::start(cores);

        for (stop, word) in [(true, "closed"), (false, "open")] {
            node.stop_pushes(stop);
            for server in [node.addresses.session, node.addresses.meta] {
                assert_eq!(good_json(server, "/digest/pushSwitch")["pushSwitch"], word);
            }
        }
    }

    fn a_blacklisted_publisher_is_answered_well_and_not_stored(cores: usize) {
        let node = Rollcall::start(cores);
        let list = r#"{"FORBIDDEN_PUB":{"IP_FULL":["127.0.0.1"]},"FORBIDDEN_SUB_BY_PREFIX":{"IP_FULL":[]}}"#;
        assert_eq!(post(node.addresses.meta, "/blacklist/update", list).json()["success"], true);
        let mut client = node.client();

        client.register_well(&Registration::new("black", "p").publish(Some(&["value".into()])));
        client.register_well(&Registration::new("black", "s").subscribe("zone"));

        assert!(client.list().zones.is_empty());
    }

    fn what_makes_no_sense_is_refused_with_a_reason(cores: usize) {
        let node = Rollcall::start(cores);
        let (session, meta) = (node.addresses.session, node.addresses.meta);
        let put = "/persistentData/put";

        let refused = [
            (404, get(session, "/no/such/page")),
            (404, get(meta, "/")),
            (405, http::request(meta, "PUT", put, Some("{}"))),
            (405, http::request(session, "DELETE", "/api/servers/query", None)),
            (400, post(meta, put, "no json")),
            (400, post(meta, put, r#"{"dataId":"a","group":"b","instanceId":"c","data":"no version"}"#)),
            (400, post(meta, "/blacklist/update", "no json")),
            (400, post(session, "/digest/all/connect/query", r#"{"not":"a list"}"#)),
        ];

        for (status, reply) in refused {
            assert_eq!(reply.status, status, "{reply:?}");
            assert!(!reply.body.is_empty() && !reply.body.contains("<html"), "it says why: {reply:?}");
        }
    }

    fn metrics_count_what_happens(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        client.register_well(&Registration::new("metrics", "p").publish(Some(&["value".into()])));
        client.register_well(&Registration::new("metrics", "s").subscribe("zone"));
        client.list_of(&["value"]);

        let text = get(node.addresses.session, "/metrics");

        assert!(text.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{text:?}");
        for line in ["rollcall_publishers 1", "rollcall_subscribers 1", "rollcall_datums 1", "rollcall_connections 1"] {
            assert!(text.body.lines().any(|known| known == line), "no line {line:?} in\n{}", text.body);
        }
        assert!(text.body.contains("rollcall_push_latency_seconds_count"), "{}", text.body);
    }

    fn whoever_lists_everything_gets_all_of_it_while_others_are_pushed_to(cores: usize) {
        const SERVICES: usize = 150;
        const PUBLISHERS: usize = 600;
        let node = Rollcall::start(cores);
        let mut provider = node.client();
        for number in 0..PUBLISHERS {
            let registration = Registration::new(&format!("service {}", number % SERVICES), &format!("p{number}"));
            provider.register_well(&registration.publish(Some(&["value".into()])));
        }
        let provided = good_json(node.addresses.session, "/connections/query").to_string();
        let is_over = AtomicBool::new(false);
        let answers = AtomicUsize::new(0);

        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let ids = good_json(node.addresses.data, "/digest/datum/getDataInfoIdList");
                        let ids: BTreeSet<_> = ids.as_array().expect("a list").iter().map(ToString::to_string).collect();
                        assert!(ids.len() >= SERVICES, "{}", ids.len());
                        let all = post(node.addresses.session, "/digest/pub/connect/query", &provided).json();
                        assert_eq!(all["PUB"].as_array().map(Vec::len), Some(PUBLISHERS));
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let (mut publisher, mut subscriber) = (node.client(), node.client());
            subscriber.register_well(&Registration::new("changing", "s").subscribe("zone"));
            let mut changes = 0;
            while changes < 50 || answers.load(Ordering::Relaxed) < 16 {
                changes += 1;
                let value = changes.to_string();
                let registration = Registration::new("changing", "p").version(changes);
                publisher.register_well(&registration.publish(Some(&[value.as_str().into()])));
                subscriber.list_of(&[&value]);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    fn an_http_port_survives_rubbish(cores: usize) {
        let node = Rollcall::start(cores);
        let session = node.addresses.session;

        let reply = http::exchange(session, "NONSENSE\r\n\r\n");
        assert_eq!(reply.status / 100, 4, "{reply:?}");
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
        let refused = http::try_exchange(session, &long);
        assert!(refused.is_none_or(|reply| reply.status / 100 == 4));

        assert_eq!(get(session, "/api/servers/alive").body, "OK");
    }
}
