//! One registration on several connections: whoever lives is listed, in whatever order the node accepted them.

use rollcall_tests::program::signal;
use rollcall_tests::{
    Client, Published, RawClient, Registration, Relay, Rollcall, Text, eventually,
};

fn publish(client: &mut RawClient, data_id: &str, name: &str, value: &str) {
    let strings = [Text::from(value)];
    client.register_well(&Registration::new(data_id, name).publish(Some(&strings)));
}

fn observer_of(node: &Rollcall, data_id: &str) -> RawClient {
    let mut observer = node.client();
    observer.register_well(&Registration::new(data_id, "observer").subscribe("global"));
    observer
}

/// The first list in which so many are, to who subscribes now.
fn listed(node: &Rollcall, data_id: &str, count: usize) -> Vec<Text> {
    let list = observer_of(node, data_id).list_until(|list| list.strings().len() == count);
    let mut strings = list.strings();
    strings.sort();
    strings
}

/// Who subscribes now sees the one publisher of each of these services.
fn all_listed(node: &Rollcall, services: &[String]) {
    let mut observer = node.client();
    observer.subscribe_all(services);
    observer.lists_until(services, &["value"]);
}

on_one_and_two_cores! {
    fn a_close_never_buries_who_was_accepted_before_it(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observer = observer_of(&node, "claims");
        let mut living = Vec::new();
        for number in 0..8 {
            let name = format!("p{number}");
            let mut first = node.client_on_core(0);
            let mut second = node.client_on_core(cores - 1);
            publish(&mut second, "claims", &name, "old");
            second.close();
            eventually("the close is heard", || node.metric("rollcall_connections") == 2 + number);

            publish(&mut first, "claims", &name, &format!("new {number}"));
            living.push(first);
        }

        let all: Vec<Text> = (0..8)
            .map(|number| format!("new {number}").into())
            .collect();
        observer.list_until(|list| list.strings() == all);
    }

    fn published_clients_that_are_cut_while_the_node_stands_still_are_all_listed_again(cores: usize) {
        for kind in [Published::Java("6.5.6"), Published::Node] {
            let node = Rollcall::start(cores);
            let relay = Relay::to(node.addresses);
            let mut client = or_skip!(Client::start(kind));
            client.connect(relay.endpoint, "DEFAULT_ZONE", None);
            let services: Vec<String> = (0..36).map(|number| format!("still {number}")).collect();
            for service in &services {
                client.publish(service, service.as_str(), &["value".into()]);
            }
            all_listed(&node, &services);

            // Connections queue up at a node that accepts none; the one that lives came last, and may be accepted first.
            signal(node.pid(), "STOP");
            for _ in 0..3 {
                relay.cut_clients();
                eventually("the client is at the relay again", || relay.ways() > 0);
            }
            signal(node.pid(), "CONT");
            relay.release();

            eventually("nobody but the client is connected", || node.metric("rollcall_connections") == 1);
            all_listed(&node, &services);
        }
    }

    fn who_died_with_the_node_and_came_back_under_another_id_is_listed_once(cores: usize) {
        let mut node = Rollcall::start(cores);
        let mut provider = node.client();
        publish(&mut provider, "site", "first life", "10.0.0.1:12200");
        publish(&mut provider, "site", "stays away", "10.0.0.1:12201");
        assert_eq!(listed(&node, "site", 2).len(), 2);

        node.kill();
        node.restart();
        let mut provider = node.client();
        publish(&mut provider, "site", "second life", "10.0.0.1:12200");

        assert_eq!(listed(&node, "site", 2), ["10.0.0.1:12200", "10.0.0.1:12201"]);
    }
}
