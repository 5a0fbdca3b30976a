//! The server goes and comes back; its clients and their lists do not suffer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rollcall_tests::{
    Client, EVERY_CLIENT, List, Options, RawClient, Registration, Rollcall, Text, eventually,
};

fn value_of(place: usize) -> Text {
    Text::from(format!("client {place}"))
}

/// Every client publishes and subscribes; `end` ends the server; after it is back, all see all, and nobody ever saw fewer.
fn survives(cores: usize, end: impl Fn(&mut Rollcall)) {
    let mut node = Rollcall::start(cores);
    let mut clients: Vec<_> = or_skip!(
        EVERY_CLIENT
            .iter()
            .map(|kind| Client::of(*kind, &node))
            .collect::<Option<_>>()
    );
    let values: Vec<_> = (0..clients.len()).map(value_of).collect();
    for (place, client) in clients.iter_mut().enumerate() {
        client.subscribe("list", "service", "global");
        client.publish("service", "service", &[value_of(place)]);
    }
    clients
        .iter_mut()
        .for_each(|client| drop(client.lists_until_strings("list", &values)));

    end(&mut node);
    node.restart();
    // A change that each client makes after it is back reaches each of them.
    let changed: Vec<_> = values
        .iter()
        .map(|value| Text::from(format!("{value} changed")))
        .collect();
    for (client, value) in clients.iter_mut().zip(&changed) {
        client.republish("service", std::slice::from_ref(value));
    }

    for client in &mut clients {
        let lists = client.lists_until_strings("list", &changed);
        for list in &lists {
            assert_eq!(
                list.strings().len(),
                values.len(),
                "{:?} was shown a wrong list: {lists:#?}",
                client.kind
            );
        }
    }
    let counts = node.counts();
    assert_eq!(
        counts, "Subscriber count: 5, Publisher count: 5, Watcher count: 0",
        "lost or doubled"
    );
}

fn services(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("service {number}"))
        .collect()
}

/// A client that publishes its own name to each service.
fn publisher(node: &Rollcall, services: &[String], name: &str) -> RawClient {
    let mut client = node.client();
    client.publish_all(services, name, 1, name);
    client
}

/// A client that subscribed to each service and was shown nothing yet.
fn subscriber(node: &Rollcall, services: &[String]) -> RawClient {
    let mut client = node.client();
    client.subscribe_all(services);
    client
}

/// The version of the last list of each service.
fn versions(lists: &[List]) -> BTreeMap<Text, i64> {
    let versions = lists
        .iter()
        .map(|list| (list.data_id.clone(), list.version));
    versions.collect()
}

/// All lists are as wanted, one of each service, and none is older than before.
fn assert_whole(lists: &[List], count: usize, before: &BTreeMap<Text, i64>) {
    assert_eq!(
        lists.len(),
        count,
        "not one list of each service: {lists:#?}"
    );
    for list in lists {
        assert!(
            list.version >= before[&list.data_id],
            "{before:?} before {list:#?}"
        );
    }
}

on_one_and_two_cores! {
    fn clients_survive_a_restart_in_order(cores: usize) {
        survives(cores, |node| assert_eq!(node.stop().code(), Some(0)));
    }

    fn clients_survive_a_crash(cores: usize) {
        survives(cores, Rollcall::kill);
    }

    fn versions_never_go_back_over_a_restart(cores: usize) {
        let mut node = Rollcall::start(cores);
        let mut last = 1;
        for round in 1..=3 {
            let mut client = node.client();
            let service = Registration::new("service", "p").version(round);
            client.register_well(&service.publish(Some(&[format!("round {round}").into()])));
            client.register_well(&Registration::new("service", "s").subscribe("zone"));

            let list = client.list_of(&[&format!("round {round}")]);

            assert!(list.version > last, "{} after {last}", list.version);
            last = list.version;
            node.kill();
            node.restart();
        }
    }

    fn what_operators_set_is_kept_whatever_ends_the_node(cores: usize) {
        use rollcall_tests::Registration;
        use rollcall_tests::http::{exchange, get, post};
        let mut node = Rollcall::start(cores);
        let shown = |node: &Rollcall| {
            let value = |id| format!("/persistentData/query?dataInfoId={id}%23@%23DEFAULT_INSTANCE_ID%23@%23DEFAULT_GROUP");
            let paths = [value("kept"), value("removed"), "/digest/pushSwitch".into(), "/api/clientManager/query".into()];
            paths.map(|path| get(node.addresses.meta, &path).body)
        };
        node.put_config("kept", 7, "value");
        node.put_config("removed", 8, "value");
        node.remove_config("removed", 9);
        node.stop_pushes(true);
        let listed = r#"{"FORBIDDEN_PUB":{"IP_FULL":["127.0.0.1"]}}"#;
        assert_eq!(post(node.addresses.meta, "/blacklist/update", listed).json()["success"], true);
        let off = "POST /api/clientManager/clientOff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\nips=10.0.0.7";
        assert_eq!(exchange(node.addresses.meta, off).json()["success"], true);
        let before = shown(&node);
        assert!(before[0].contains("value") && before[2].contains("closed") && before[3].contains("10.0.0.7"), "{before:?}");

        for end in [Rollcall::kill, |node: &mut Rollcall| assert!(node.stop().success())] {
            end(&mut node);
            node.restart();

            assert_eq!(shown(&node), before);
        }
        node.stop_pushes(false);
        let mut client = node.client();
        client.register_well(&Registration::new("black", "p").publish(Some(&["value".into()])));
        client.register_well(&Registration::new("black", "s").subscribe("zone"));
        assert!(client.list().zones.is_empty(), "every core knows the blacklist");
    }

    fn a_configuration_value_is_told_again_after_the_clients_come_back(cores: usize) {
        use rollcall_tests::{Published, Relay};
        let node = Rollcall::start(cores);
        let relay = Relay::to(node.addresses);
        let mut client = or_skip!(Client::start(Published::Java("6.5.6")));
        client.connect(relay.endpoint, "DEFAULT_ZONE", None);
        client.configure("setting", "setting");
        assert_eq!(client.config("setting"), None);
        node.put_config("setting", 1, "before");
        client.config_until("setting", Some("before"));

        relay.cut_clients();
        node.put_config("setting", 2, "meanwhile");

        client.config_until("setting", Some("meanwhile"));
    }

    fn who_died_while_the_node_was_away_leaves_each_list_in_one_push_after_the_grace(cores: usize) {
        let grace = Duration::from_secs(3);
        let mut node = Rollcall::with(Options::cores(cores).set("data.return_grace_ms", grace.as_millis()));
        let services = services(20);
        let everybody = ["a", "b", "dies"];
        let publishers = everybody.map(|name| publisher(&node, &services, name));
        let before = versions(&subscriber(&node, &services).lists_until(&services, &everybody));

        node.kill();
        drop(publishers);
        let began = Instant::now();
        node.restart();

        // Until the grace is over everybody is listed, whoever asks and whoever is back.
        let mut subscriber = subscriber(&node, &services);
        assert_whole(&subscriber.lists_until(&services, &everybody), services.len(), &before);
        assert_eq!(node.metric("rollcall_publishers_awaiting"), 60);
        let _publishers = ["a", "b"].map(|name| publisher(&node, &services, name));
        eventually("only one of three is awaited", || node.metric("rollcall_publishers_awaiting") <= 20);
        let lists = subscriber.lists_until(&services, &["a", "b"]);
        assert!(began.elapsed() >= grace, "gone after {:?}", began.elapsed());
        assert_whole(&lists, services.len(), &before);
        subscriber.heartbeat();
        assert_eq!(subscriber.lists_heard(), []);
        assert_eq!(node.metric("rollcall_publishers_awaiting"), 0);
    }

    fn who_comes_back_counting_from_one_again_stays_listed(cores: usize) {
        // An application that keeps its key over its own restart, and ended with the node.
        let mut node = Rollcall::with(Options::cores(cores).set("data.return_grace_ms", 2_000));
        let services = services(2);
        let mut publisher = node.client();
        publisher.publish_all(&services, "a", 5, "before");
        subscriber(&node, &services).lists_until(&services, &["before"]);

        node.kill();
        drop(publisher);
        node.restart();
        let mut observer = subscriber(&node, &services);
        let mut publisher = node.client();
        publisher.publish_all(&services[..1], "a", 1, "after");

        // The other's end shows that the grace is over.
        observer.lists_until(&services[1..], &[]);
        let list = subscriber(&node, &services[..1]).list();
        assert_eq!(list.strings(), ["after"]);
    }

    fn who_left_before_a_crash_does_not_come_back(cores: usize) {
        let mut node = Rollcall::start(cores);
        let services = services(3);
        let [unregistered, closed, emptied] = [0, 1, 2].map(|it| services[it].as_str());
        let mut stays = node.client();
        stays.publish_all(&services[..2], "stays", 1, "stays");
        let mut leaves = node.client();
        leaves.publish_all(&services, "leaves", 1, "leaves");
        for service in [unregistered, emptied] {
            let registration = Registration::new(service, &format!("leaves of {service}"));
            leaves.register_well(&registration.version(2).publish(None));
        }
        leaves.close();
        let left = [(unregistered, &["stays"][..]), (closed, &["stays"]), (emptied, &[])];
        let versions = left.map(|(service, strings)| subscriber(&node, &[service.to_owned()]).list_of(strings).version);

        node.kill();
        node.restart();

        for ((service, strings), version) in left.into_iter().zip(versions) {
            let list = subscriber(&node, &[service.to_owned()]).list();
            assert_eq!(list.strings(), strings.iter().map(|it| Text::from(*it)).collect::<Vec<_>>());
            assert_eq!(list.version, version, "nothing has changed");
        }
    }
}

#[test]
fn lists_are_whole_on_whatever_number_of_cores_comes_next() {
    let mut node = Rollcall::start(1);
    let services = services(100);
    let mut publishers = ["a", "b"].map(|name| publisher(&node, &services, name));
    let mut held = subscriber(&node, &services).lists_until(&services, &["a", "b"]);
    let mut value = "a".to_owned();
    for (version, cores) in [(2, 2), (3, 1), (4, 2), (5, 2)] {
        node.kill();
        // Whatever moment a start on yet another number of cores is killed at.
        for millis in [10, 40, 80, 160] {
            node.restart_on_and_kill(3 - cores, Duration::from_millis(millis));
        }
        node.restart_on(cores);

        let mut subscriber = subscriber(&node, &services);
        let lists = subscriber.lists_until(&services, &[&value, "b"]);
        assert_whole(&lists, services.len(), &versions(&held));

        // One has news when it is back, the other has not.
        value = format!("a, round {version}");
        publishers = [node.client(), node.client()];
        publishers[0].publish_all(&services, "a", version, &value);
        publishers[1].publish_all(&services, "b", 1, "b");
        held = subscriber.lists_until(&services, &[&value, "b"]);
        assert_whole(&held, services.len(), &versions(&lists));
    }
    assert_eq!(
        node.logged("journal damaged, what is sound is kept").len(),
        0
    );
    drop(publishers);
}
