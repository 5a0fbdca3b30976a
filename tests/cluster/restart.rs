//! The server goes and comes back; its clients and their lists do not suffer.

use rollcall_tests::{Client, EVERY_CLIENT, Rollcall, Text};

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

on_one_and_two_cores! {
    fn clients_survive_a_restart_in_order(cores: usize) {
        survives(cores, |node| assert_eq!(node.stop().code(), Some(0)));
    }

    fn clients_survive_a_crash(cores: usize) {
        survives(cores, Rollcall::kill);
    }

    fn versions_never_go_back_over_a_restart(cores: usize) {
        use rollcall_tests::Registration;
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
        let off = "POST /api/clientManager/clientOff HTTP/1.1\r\nHost: meta\r\nConnection: close\r\n\
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
}
