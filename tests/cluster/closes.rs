//! Ends of connections: what goes with them, and what must not.

use rollcall_tests::{
    Client, Options, Published, RawClient, Registration, Relay, Rollcall, Text, eventually,
};

fn publish(client: &mut RawClient, registration: &Registration, strings: &[&str]) {
    let strings: Vec<Text> = strings.iter().map(|text| Text::from(*text)).collect();
    client.register_well(&registration.publish(Some(&strings)));
}

fn observer_of(node: &Rollcall, data_id: &str) -> RawClient {
    let mut observer = node.client();
    observer.register_well(&Registration::new(data_id, "observer").subscribe("global"));
    observer.list();
    observer
}

/// The other core of a node that has more than one.
fn other_core(core: usize, cores: usize) -> usize {
    (core + 1) % cores
}

on_one_and_two_cores! {
    fn the_end_of_a_connection_removes_everything_it_owned(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observers: Vec<_> = (0..20).map(|number| observer_of(&node, &format!("owned {number}"))).collect();
        let mut owner = node.client();
        for (number, observer) in observers.iter_mut().enumerate() {
            publish(&mut owner, &Registration::new(&format!("owned {number}"), &format!("p{number}")), &["value"]);
            observer.list_of(&["value"]);
        }

        owner.close();

        for observer in &mut observers {
            assert!(observer.list().zones.is_empty());
        }
    }

    fn a_reconnect_is_not_removed_by_the_late_close_of_its_old_connection(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observer = observer_of(&node, "back");
        let mut old = node.client_on_core(0);
        let service = Registration::new("back", "p");
        publish(&mut old, &service, &["mine"]);
        observer.list_of(&["mine"]);

        let mut new = node.client_on_core(other_core(0, cores));
        publish(&mut new, &Registration { timestamp: service.timestamp + 50, ..service.clone() }, &["mine"]);
        old.close();
        // Each of these must come after the close was handled, from either core.
        for round in 0..50 {
            let mut other = node.client_on_core(round % cores);
            let name = format!("other {round}");
            publish(&mut other, &Registration::new("back", &name), &[&name]);
            observer.list_of(&["mine", &name]);
            other.close();
            observer.list_of(&["mine"]);
        }
        publish(&mut new, &service.version(2), &["still mine"]);

        let still = observer.list_of(&["still mine"]);
        new.close();
        let end = observer.list();
        assert!(end.zones.is_empty(), "after {still:?} came {end:?}");
    }

    fn an_unregister_over_the_new_connection_is_not_undone_by_the_old(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observer = observer_of(&node, "gone");
        let mut old = node.client_on_core(0);
        let service = Registration::new("gone", "p");
        publish(&mut old, &service, &["value"]);
        observer.list_of(&["value"]);
        let mut new = node.client_on_core(other_core(0, cores));

        new.register_well(&service.clone().version(2).publish(None));
        assert!(observer.list().zones.is_empty());
        let late = old.register(&service.publish(Some(&["value".into()])));
        let message = late.message.map(|message| message.to_string()).unwrap_or_default();
        assert!(!late.success && message.contains("taken back at version 2"), "{message}");
        publish(&mut new, &Registration::new("gone", "q"), &["another"]);

        assert_eq!(observer.list().strings(), ["another"], "an older record revives nothing");
    }

    fn a_published_client_that_is_cut_comes_back_and_nobody_notices(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in [Published::Java("5.4.2"), Published::Java("6.5.6"), Published::Node] {
            let service = format!("cut {kind:?}");
            let relay = Relay::to(node.addresses);
            relay.land_on(0);
            let mut client = or_skip!(Client::start(kind));
            client.connect(relay.endpoint, "DEFAULT_ZONE", None);
            let mut observer = observer_of(&node, &service);
            client.publish("service", service.as_str(), &["mine".into()]);
            observer.list_of(&["mine"]);
            client.subscribe("list", service.as_str(), "global");
            client.lists_until_strings("list", &["mine"]);

            relay.land_on(other_core(0, cores));
            relay.cut_clients();
            // The client is back when it hears of something that happened after the cut.
            let mut other = node.client();
            publish(&mut other, &Registration::new(&service, "other"), &["after the cut"]);
            client.lists_until_strings("list", &["mine", "after the cut"]);
            client.republish("service", &["mine again".into()]);
            let seen = observer.list_until(|list| list.strings().contains(&"mine again".into()));
            assert_eq!(relay.ways(), 1);
            relay.release();
            publish(&mut other, &Registration::new(&service, "other").version(2), &["after the release"]);

            let after = observer.list_of(&["mine again", "after the release"]);
            assert!(after.version > seen.version);
            assert_eq!(observer.lists_heard(), []);
            client.lists_until_strings("list", &["mine again", "after the release"]);
        }
    }

    fn an_operator_takes_a_client_off_at_once_and_its_connection_stays_useful(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observer = observer_of(&node, "off");
        let mut client = node.client();
        let service = Registration::new("off", "p");
        publish(&mut client, &service, &["value"]);
        observer.list_of(&["value"]);

        let body = format!(r#"{{"connectIds":["{}"]}}"#, client.address());
        let reply = rollcall_tests::http::post(node.addresses.session, "/api/clients/off", &body);

        assert_eq!((reply.status, reply.json()["success"].as_bool()), (200, Some(true)), "{reply:?}");
        assert!(observer.list().zones.is_empty());
        publish(&mut client, &service.version(2), &["value again"]);
        observer.list_of(&["value again"]);
    }

    fn a_reader_without_progress_is_cut_and_what_it_published_stays_for_a_grace(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("session.grace_ms", 60_000));
        let mut observer = observer_of(&node, "of the slow");
        let mut slow = node.client();
        publish(&mut slow, &Registration::new("of the slow", "p"), &["value"]);
        observer.list_of(&["value"]);
        slow.register_well(&Registration::new("loud", "slow").subscribe("zone"));
        slow.list();
        let address = slow.address();

        // More than the buffers of both ends hold; the slow one never reads it.
        let mut publisher = node.client();
        let large = "x".repeat(7 << 20);
        for round in 1..=4 {
            publish(&mut publisher, &Registration::new("loud", "p").version(round), &[&large]);
            publish(&mut publisher, &Registration::new(&format!("loud {round}"), "p"), &[&large]);
            slow.send(&Registration::new(&format!("loud {round}"), &format!("slow {round}")).subscribe("zone"));
        }
        eventually("a reader without progress is cut", || node.addresses.core_of(address).is_none());

        let mut back = node.client();
        publish(&mut back, &Registration::new("of the slow", "p"), &["value"]);
        publish(&mut back, &Registration::new("of the slow", "q"), &["news"]);
        assert_eq!(observer.list().strings(), ["news", "value"], "nobody noticed the cut");
    }
}
