//! What the published clients do all day: register, publish again, unregister, subscribe, be told, and die.

use std::time::{Duration, Instant};

use rollcall_tests::{Client, EVERY_CLIENT, ONE_OF_EACH, Published, Rollcall, Text};

const SCOPES: [&str; 3] = ["zone", "dataCenter", "global"];

fn connected(node: &Rollcall, kinds: &[Published]) -> Option<Vec<Client>> {
    kinds.iter().map(|kind| Client::of(*kind, node)).collect()
}

/// What the client at this place publishes: as many strings as its place.
fn strings_of(place: usize, round: usize) -> Vec<Text> {
    (0..place)
        .map(|number| Text::from(format!("client {place} string {number} round {round}")))
        .collect()
}

fn everyones_strings(count: usize, round: usize) -> Vec<Text> {
    (0..count)
        .flat_map(|place| strings_of(place, round))
        .collect()
}

fn all_see(clients: &mut [Client], strings: &[Text]) {
    for client in clients {
        for scope in SCOPES {
            client.lists_until_strings(scope, strings);
        }
    }
}

on_one_and_two_cores! {
    fn every_published_client_sees_every_other_register_change_and_leave(cores: usize) {
        let node = Rollcall::start(cores);
        let mut clients = or_skip!(connected(&node, &EVERY_CLIENT));

        for client in &mut clients {
            SCOPES.iter().for_each(|scope| client.subscribe(scope, "shared", scope));
            SCOPES.iter().for_each(|scope| assert!(client.list(scope).zones.is_empty(), "the first push is empty"));
        }
        let publish = |(place, client): (usize, &mut Client)| client.publish("shared", "shared", &strings_of(place, 0));
        clients.iter_mut().enumerate().map(publish).for_each(drop);
        all_see(&mut clients, &everyones_strings(EVERY_CLIENT.len(), 0));

        let republish = |(place, client): (usize, &mut Client)| client.republish("shared", &strings_of(place, 1));
        clients.iter_mut().enumerate().map(republish).for_each(drop);
        all_see(&mut clients, &everyones_strings(EVERY_CLIENT.len(), 1));

        clients.iter_mut().for_each(|client| client.unregister("shared"));
        for client in &mut clients {
            SCOPES.iter().for_each(|scope| drop(client.lists_until(scope, |seen| seen.zones.is_empty())));
        }
    }

    fn a_subscriber_that_comes_late_is_told_at_once(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        publisher.publish("service", "service", &["one".into(), "two".into()]);
        publisher.acknowledged("service", "service");

        for mut client in or_skip!(connected(&node, &EVERY_CLIENT)) {
            SCOPES.iter().for_each(|scope| client.subscribe(scope, "service", scope));
            for scope in SCOPES {
                let lists = client.lists_until_strings(scope, &["one", "two"]);
                // A push for one scope makes the Node client call the observers of all.
                assert!(lists.len() == 1 || client.kind == Published::Node, "{:?}: {lists:?}", client.kind);
            }
            assert_eq!(client.peek("zone")["DEFAULT_ZONE"], ["one", "two"]);
        }
    }

    fn scope_zone_shows_the_subscribers_own_zone_and_wider_scopes_show_all(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in ONE_OF_EACH {
            let mut here = or_skip!(Client::in_zone(kind, &node, "ZONE_HERE"));
            let mut there = or_skip!(Client::in_zone(kind, &node, "ZONE_THERE"));
            let service = format!("zones of {kind:?}");

            here.publish("service", service.as_str(), &["here".into()]);
            there.publish("service", service.as_str(), &["there".into()]);
            SCOPES.iter().for_each(|scope| here.subscribe(scope, service.as_str(), scope));

            let own = here.lists_until_strings("zone", &["here"]);
            assert_eq!(own.last().expect("the last one").local_zone.as_deref(), Some("ZONE_HERE"));
            assert!(own.iter().all(|seen| !seen.zones.contains_key("ZONE_THERE")));
            for scope in ["dataCenter", "global"] {
                let wide = here.lists_until_strings(scope, &["here", "there"]).pop().expect("the last one");
                assert_eq!(wide.zones["ZONE_THERE"], ["there"]);
                assert_eq!(wide.local_zone.as_deref(), Some("ZONE_HERE"));
            }
        }
    }

    fn a_killed_publisher_leaves_every_list(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in ONE_OF_EACH {
            let mut observers = or_skip!(connected(&node, &[Published::Java("5.4.2"), Published::Node]));
            let mut victim = or_skip!(Client::of(kind, &node));
            let service = format!("killed {kind:?}");
            observers[1].publish("stays", service.as_str(), &["stays".into()]);
            observers.iter_mut().for_each(|client| client.subscribe("list", service.as_str(), "global"));
            victim.publish("dies", service.as_str(), &["dies".into()]);
            observers.iter_mut().for_each(|client| drop(client.lists_until_strings("list", &["stays", "dies"])));

            let killed = Instant::now();
            victim.kill();

            observers.iter_mut().for_each(|client| drop(client.lists_until_strings("list", &["stays"])));
            assert!(killed.elapsed() < Duration::from_secs(5), "it took {:?}", killed.elapsed());
        }
    }

    fn a_configurator_hears_the_first_value_every_update_and_the_removal(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in EVERY_CLIENT {
            let setting = format!("setting of {kind:?}");
            let mut client = or_skip!(Client::of(kind, &node));

            client.configure("early", setting.as_str());
            assert_eq!(client.config("early"), None, "nothing was put yet");
            node.put_config(&setting, 1, "first");
            if kind == Published::Node {
                // It keeps the first answer for ever, so a later process asks for the value.
                let mut client = or_skip!(Client::of(kind, &node));
                client.configure("late", setting.as_str());
                assert_eq!(client.config("late"), Some("first".into()));
                continue;
            }
            client.config_until("early", Some("first"));
            node.put_config(&setting, 2, "second");
            client.config_until("early", Some("second"));
            node.remove_config(&setting, 3);
            client.config_until("early", None);
        }
    }

    fn a_hundred_republishes_end_with_the_last(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in ONE_OF_EACH {
            let service = format!("republished by {kind:?}");
            let mut publisher = or_skip!(Client::of(kind, &node));
            let mut observer = or_skip!(Client::of(Published::Java("6.5.6"), &node));
            observer.subscribe("list", service.as_str(), "zone");
            publisher.publish("service", service.as_str(), &["0".into()]);

            for round in 1..=100 {
                publisher.republish("service", &[format!("{round}").into()]);
            }

            let lists = observer.lists_until_strings("list", &["100"]);
            let round = |strings: &[Text]| strings.first().map_or(-1, |text| text.to_string().parse::<i32>().expect("a round"));
            let rounds: Vec<_> = lists.iter().map(|seen| round(&seen.strings())).collect();
            assert!(rounds.is_sorted(), "a list went back: {rounds:?}");
        }
    }

    fn two_hundred_subscribers_of_one_client_are_all_told(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        let mut client = or_skip!(Client::of(Published::Java("5.4.2"), &node));
        let names: Vec<_> = (0..200).map(|number| format!("subscriber {number}")).collect();
        for (number, name) in names.iter().enumerate() {
            client.subscribe(name, "popular", SCOPES[number % 3]);
        }
        names.iter().for_each(|name| assert!(client.list(name).zones.is_empty()));

        publisher.publish("popular", "popular", &["news".into()]);

        names.iter().for_each(|name| drop(client.lists_until_strings(name, &["news"])));
    }

    fn a_tenant_sees_only_its_own(cores: usize) {
        let node = Rollcall::start(cores);
        let mut tenant = or_skip!(Client::start(Published::Java("6.5.6")));
        tenant.connect(node.addresses.session, "DEFAULT_ZONE", Some("TENANT"));
        let mut other = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        tenant.publish("service", "tenants", &["of the tenant".into()]);
        tenant.acknowledged("service", "tenants");

        tenant.subscribe("list", "tenants", "global");
        other.subscribe("list", "tenants", "global");

        tenant.lists_until_strings("list", &["of the tenant"]);
        assert!(other.list("list").zones.is_empty());
        let count = node.counts();
        assert!(count.contains("Publisher count: 1"), "{count}");
    }

    fn a_delimiter_inside_a_data_id_is_delivered(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in ONE_OF_EACH {
            let service = format!("a#@#b#@#{kind:?}");
            let mut client = or_skip!(Client::of(kind, &node));
            client.subscribe("list", service.as_str(), "zone");

            client.publish("service", service.as_str(), &["delivered".into()]);

            client.lists_until_strings("list", &["delivered"]);
        }
    }
}
