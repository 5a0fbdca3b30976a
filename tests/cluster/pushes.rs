//! What a session pushes, to whom, how often, and what it does when a client does not take it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall_tests::frame::{Kind, Layout};
use rollcall_tests::hessian::Value;
use rollcall_tests::messages::{self, Config};
use rollcall_tests::{Acknowledge, List, RawClient, Registration, Rollcall, Text};

const SCOPES: [&str; 3] = ["zone", "dataCenter", "global"];

fn publish(client: &mut RawClient, registration: &Registration, strings: &[&str]) {
    let strings: Vec<Text> = strings.iter().map(|text| Text::from(*text)).collect();
    client.register_well(&registration.publish(Some(&strings)));
}

/// A subscriber that does not take pushes gets the newest list again; `refusal` is how it declines.
fn is_sent_again(cores: usize, refusal: Acknowledge) {
    let node = Rollcall::start(cores);
    let mut publisher = node.client();
    let mut subscriber = node.client();
    let service = Registration::new("again", "p");
    subscriber.register_well(&Registration::new("again", "s").subscribe("zone"));
    assert!(subscriber.list().zones.is_empty());

    subscriber.acknowledge = refusal;
    publish(&mut publisher, &service, &["first"]);
    let declined = subscriber.list_of(&["first"]);
    publish(&mut publisher, &service.clone().version(2), &["second"]);
    let again = subscriber.list_of(&["second"]);
    assert!(again.version > declined.version);
    let repeated = subscriber.list_of(&["second"]);
    assert_eq!(
        (repeated.version, &repeated.zones),
        (again.version, &again.zones),
        "two pushes of one version are equal"
    );

    subscriber.acknowledge = Acknowledge::Success;
    subscriber.list_of(&["second"]);
    publish(&mut publisher, &service.version(3), &["third"]);
    subscriber.list_of(&["third"]);
}

on_one_and_two_cores! {
    fn a_push_answered_with_an_error_is_sent_again(cores: usize) {
        is_sent_again(cores, Acknowledge::Error);
    }

    fn a_push_answered_with_failure_is_sent_again(cores: usize) {
        is_sent_again(cores, Acknowledge::Failure);
    }

    fn a_push_nobody_answers_is_sent_again(cores: usize) {
        is_sent_again(cores, Acknowledge::Never);
    }

    fn a_first_push_that_fails_is_sent_again(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        publish(&mut publisher, &Registration::new("first", "p"), &["value"]);
        let mut subscriber = node.client();
        subscriber.acknowledge = Acknowledge::Error;

        subscriber.register_well(&Registration::new("first", "s").subscribe("zone"));

        subscriber.list_of(&["value"]);
        subscriber.list_of(&["value"]);
    }

    fn a_push_says_what_the_original_says(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        publish(&mut client, &Registration::new("service", "p").zone("OTHER"), &["value"]);

        client.register_well(&Registration::new("service", "s").subscribe("dataCenter"));

        let list = client.list();
        let expected = List {
            data_id: "service".into(),
            group: "DEFAULT_GROUP".into(),
            instance: "DEFAULT_INSTANCE_ID".into(),
            segment: "DefaultDataCenter".into(),
            scope: "dataCenter".into(),
            version: list.version,
            local_zone: "DEFAULT_ZONE".into(),
            regist_ids: vec!["s".into()],
            zones: [("OTHER".to_owned(), vec!["value".into()])].into(),
        };
        assert_eq!(list, expected);
        // Milliseconds since 2019, shifted by 15: clients compare it with what the original gave them.
        let milliseconds = (list.version >> 15) + 1_546_272_000_000;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
        assert!(now.abs_diff(u128::try_from(milliseconds).expect("positive")) < 3_600_000, "version {}", list.version);
    }

    fn what_was_never_known_is_pushed_empty_with_version_1(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();

        client.register_well(&Registration::new("nobody", "s").subscribe("global"));

        let list = client.list();
        assert_eq!((list.version, list.zones.len()), (1, 0));
    }

    fn the_last_unregister_is_pushed_empty_with_a_new_version(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let service = Registration::new("leaving", "p");
        publish(&mut client, &service, &["value"]);
        client.register_well(&Registration::new("leaving", "s").subscribe("global"));
        let full = client.list_of(&["value"]);

        client.register_well(&service.version(2).publish(None));

        let empty = client.list();
        assert!(empty.zones.is_empty() && empty.version > full.version, "{empty:?}");
        // One that comes later is told the same: known, and empty.
        let mut late = node.client();
        late.register_well(&Registration::new("leaving", "late").subscribe("global"));
        assert_eq!(late.list().version, empty.version);
    }

    fn two_hundred_subscribers_on_one_connection_get_one_push_per_scope(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        let mut subscriber = node.client();
        for number in 0..200 {
            let registration = Registration::new("popular", &format!("s{number}"));
            subscriber.register_well(&registration.subscribe(SCOPES[number % 3]));
        }
        for _ in 0..200 {
            assert_eq!(subscriber.list().regist_ids.len(), 1, "a first push is for one");
        }

        publish(&mut publisher, &Registration::new("popular", "p"), &["news"]);

        let lists: Vec<_> = (0..3).map(|_| subscriber.list()).collect();
        let scopes: BTreeSet<_> = lists.iter().map(|list| list.scope.to_string()).collect();
        let told: BTreeSet<_> = lists.iter().flat_map(|list| &list.regist_ids).collect();
        assert_eq!((scopes.len(), told.len()), (3, 200));
        assert!(lists.iter().all(|list| list.strings() == ["news"] && list.version == lists[0].version));
        subscriber.heartbeat();
        assert_eq!(subscriber.lists_heard(), [], "nothing is said twice");
    }

    fn a_publisher_that_changes_nothing_pushes_nothing(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        let mut subscriber = node.client();
        let service = Registration::new("same", "p");
        publish(&mut publisher, &service, &["value"]);
        subscriber.register_well(&Registration::new("same", "s").subscribe("zone"));
        subscriber.list_of(&["value"]);

        let mut again = node.client();
        publish(&mut again, &Registration { timestamp: service.timestamp + 5, ..service.clone() }, &["value"]);
        publish(&mut again, &service.version(2), &["other"]);

        assert_eq!(subscriber.list().strings(), ["other"], "the reconnect in between was no news");
    }

    fn a_subscriber_that_left_is_told_nothing(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let subscriber = Registration::new("service", "s");
        client.register_well(&subscriber.subscribe("zone"));
        client.list();

        client.register_well(&subscriber.version(2).unsubscribe("zone"));
        client.register_well(&Registration::new("service", "other").subscribe("zone"));
        client.list();
        publish(&mut client, &Registration::new("service", "p"), &["value"]);

        assert_eq!(client.list_of(&["value"]).regist_ids, ["other"]);
    }

    fn an_older_version_from_another_connection_is_answered_well_and_changes_nothing(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let service = Registration::new("order", "p");
        client.register_well(&Registration::new("order", "s").subscribe("zone"));
        client.list();

        publish(&mut client, &service.clone().version(3), &["third"]);
        client.list_of(&["third"]);
        publish(&mut node.client(), &service.clone().version(2), &["late second"]);
        publish(&mut client, &service.version(4), &["fourth"]);

        assert_eq!(client.list().strings(), ["fourth"]);
    }

    fn a_configurator_hears_null_then_values_then_null(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();

        client.register_well(&Registration::new("setting", "c").version(0).configure());

        assert_eq!(client.config().value, None);
        node.put_config("setting", 1, "one");
        let one = config_of(&mut client, Some("one"));
        assert_eq!(one.regist_ids, ["c"]);
        node.put_config("setting", 2, "two");
        let two = config_of(&mut client, Some("two"));
        assert!(two.version > one.version);
        node.remove_config("setting", 3);
        config_of(&mut client, None);
        let mut late = node.client();
        late.register_well(&Registration::new("setting", "late").version(0).configure());
        assert_eq!(late.config().value, None);
    }

    fn stopped_pushes_stay_away_until_they_go_on_and_then_tell_the_newest(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        let mut before = node.client();
        let service = Registration::new("stopped", "p");
        publish(&mut publisher, &service, &["0"]);
        before.register_well(&Registration::new("stopped", "before").subscribe("zone"));
        before.list_of(&["0"]);

        node.stop_pushes(true);
        for round in 1..=5 {
            publish(&mut publisher, &service.clone().version(1 + round), &[&round.to_string()]);
        }
        let mut during = node.client();
        during.register_well(&Registration::new("stopped", "during").subscribe("zone"));
        during.register_well(&Registration::new("stopped", "configurator").version(0).configure());
        for client in [&mut before, &mut during] {
            client.heartbeat();
            assert_eq!(client.lists_heard(), []);
        }
        node.stop_pushes(false);

        assert_eq!(before.list().strings(), ["5"], "the first word is the newest");
        assert_eq!(during.list().strings(), ["5"]);
        assert_eq!(during.config().value, None);
    }

    fn groups_and_tenants_with_one_data_id_are_different_services(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let plain = Registration::new("same name", "plain");
        let others = [
            Registration { group: "OTHER".into(), regist_id: "group".into(), ..plain.clone() },
            Registration { instance: Some("OTHER".into()), regist_id: "tenant".into(), ..plain.clone() },
        ];

        publish(&mut client, &plain, &["plain"]);
        for other in &others {
            client.register_well(&other.subscribe("global"));
            assert_eq!(client.list().version, 1, "nothing is known of {other:?}");
            publish(&mut client, other, &["other"]);
            assert_eq!(client.list().strings(), ["other"]);
        }

        client.register_well(&plain.subscribe("global"));
        assert_eq!(client.list().strings(), ["plain"]);
    }

    fn sync_config_names_the_one_segment_that_pushes_carry(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();

        let id = client.send(&messages::sync_config());

        let answer = Value::decode(&client.answer(id).content);
        assert_eq!(answer.field("success"), &Value::Bool(true));
        assert_eq!(answer.field("availableSegments"), &Value::List(vec![Value::Text("DefaultDataCenter".into())]));
        assert_eq!(answer.field("retryInterval").number(), Some(0));
    }

    fn a_session_speaks_the_protocol_its_peer_speaks(cores: usize) {
        let node = Rollcall::start(cores);
        for layout in [Layout::V1, Layout::V2, Layout::V2Crc] {
            let mut client = node.client();
            let service = format!("layout {layout:?}");
            let subscribe = Registration::new(&service, "s").subscribe("zone");
            let mut request = client.request(&subscribe);
            request.layout = layout;

            client.send_bytes(&request.encode());

            let answer = client.answer(request.id);
            assert_eq!((answer.layout, answer.codec), (layout, 1));
            let push = client.push("ReceivedData");
            assert_eq!(push.layout, layout);
            assert!(push.timeout_ms >= 1_000, "a client drops a push that waited longer than {} ms", push.timeout_ms);
        }
    }

    fn a_one_way_request_is_done_and_never_answered(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let mut request = client.request(&Registration::new("quiet", "s").subscribe("zone"));
        request.kind = Kind::OneWay;

        client.send_bytes(&request.encode());

        client.list();
        client.heartbeat();
        client.register_well(&Registration::new("quiet", "t").subscribe("zone"));
        client.list();
    }

    fn every_answer_echoes_version_and_registration(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        let registration = Registration::new("echo", "8f14e45f-ceea-467f-ab6d-8b3e2d3f4a1c").version(41);
        let requests = [registration.publish(Some(&["x".into()])), registration.subscribe("zone"), registration.configure()];

        for request in requests {
            let answer = client.register(&request);

            assert!(answer.success && !answer.refused);
            assert_eq!((answer.version, answer.regist_id), (41, Some(registration.regist_id.clone())));
            assert!(answer.message.expect("words").to_string().ends_with(" register success!"));
        }
    }

    fn a_client_that_never_reads_costs_the_others_nothing(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        let mut reader = node.client();
        let mut sleepers: Vec<_> = (0..20).map(|_| node.client()).collect();
        let service = Registration::new("loud", "p");
        reader.register_well(&Registration::new("loud", "reader").subscribe("zone"));
        reader.list();
        for (number, sleeper) in sleepers.iter_mut().enumerate() {
            sleeper.send(&Registration::new("loud", &format!("sleeper {number}")).subscribe("zone"));
        }
        let before = node.resident_kib();

        let large = "x".repeat(256 * 1024);
        let started = Instant::now();
        for round in 1..=60 {
            let value = format!("{round} {large}");
            publish(&mut publisher, &service.clone().version(round), &[&value]);
            reader.list_of(&[&value]);
        }

        assert!(started.elapsed() < Duration::from_secs(20), "60 rounds took {:?}", started.elapsed());
        let grown = node.resident_kib().saturating_sub(before);
        // 20 sleepers x 60 rounds x 256 KiB would be 300 MiB.
        assert!(grown < 100 * 1024, "memory grew by {grown} KiB");
    }
}

fn config_of(client: &mut RawClient, value: Option<&str>) -> Config {
    loop {
        let config = client.config();
        if config.value == value.map(Text::from) {
            return config;
        }
    }
}
