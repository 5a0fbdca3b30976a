//! What operators want: values, the switch that stops pushes, the blacklist, clients off and on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::node::{Node, service, taken};
use crate::meta::{Blacklist, MetaCommand, OffClient, Switch};
use crate::query::Order;
use crate::session::{EndedBy, Event};

fn put(node: &mut Node, version: i64, value: &str) {
    let command = MetaCommand::Put {
        data_info_id: service("config"),
        version,
        value: value.into(),
    };
    node.tell_all(|| Event::Meta(command.clone()));
}

fn stop_pushes(node: &mut Node, on: bool, version: i64) {
    let command = MetaCommand::Turn {
        switch: Switch::StopPush,
        on,
        version,
    };
    node.tell_all(|| Event::Meta(command.clone()));
}

fn blacklist(node: &mut Node, publishers: &[&str], subscribers: &[&str], version: i64) {
    let parse = |ips: &[&str]| -> BTreeSet<IpAddr> {
        let ips = ips.iter().map(|ip| ip.parse().expect("an address"));
        ips.collect()
    };
    let command = MetaCommand::Blacklist {
        blacklist: Blacklist {
            publishers: parse(publishers),
            subscribers: parse(subscribers),
        },
        text: "{}".into(),
        version,
    };
    node.tell_all(|| Event::Meta(command.clone()));
}

#[test]
fn a_configurator_gets_the_value_its_changes_and_its_removal() {
    let mut node = Node::new(2);
    put(&mut node, 5, "one");
    let client = node.open(1);
    node.configure(client, "config", "conf");
    let first = node.delivered();

    put(&mut node, 6, "two");
    let second = node.delivered();
    let remove = MetaCommand::Remove {
        data_info_id: service("config"),
        version: 6,
    };
    node.tell_all(|| Event::Meta(remove.clone()));
    let third = node.delivered();

    let told: Vec<_> = [first, second, third]
        .into_iter()
        .flatten()
        .map(|push| (push.version, push.value))
        .collect();
    let expected = [
        (5, Some("one".to_owned())),
        (6, Some("two".to_owned())),
        (7, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_configurator_of_nothing_is_told_so_and_hears_of_the_first_value() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.configure(client, "config", "conf");
    let nothing = node.delivered();

    put(&mut node, 5, "one");

    assert_eq!((nothing[0].version, &nothing[0].value), (0, &None));
    assert_eq!(nothing[0].register_ids, ["conf"]);
    assert_eq!(node.delivered()[0].value.as_deref(), Some("one"));
}

#[test]
fn while_pushing_is_stopped_nothing_is_pushed_and_afterwards_the_newest() {
    let mut node = Node::new(2);
    let (old, publisher) = (node.open(0), node.open(0));
    node.subscribe(old, "s", "sub");
    node.settle();

    stop_pushes(&mut node, true, 1);
    let new = node.open(1);
    node.subscribe(new, "s", "sub");
    node.configure(new, "config", "conf");
    node.publish(publisher, "s", 1, "one");
    node.publish(publisher, "s", 2, "two");
    assert!(node.sent().is_empty());
    assert!(node.stats().pushes_withheld > 0);
    stop_pushes(&mut node, false, 2);

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 3);
    let services = pushes.iter().filter(|push| push.register_ids == ["sub"]);
    assert!(services.into_iter().all(|push| push.texts() == ["two"]));
}

#[test]
fn a_blacklisted_publisher_is_dropped_and_what_it_registers_counts_for_nothing() {
    let mut node = Node::new(2);
    let client = node.open_from(0, "10.1.1.1:7");
    node.publish(client, "s", 1, "here");

    blacklist(&mut node, &["10.1.1.1"], &[], 1);

    assert!(node.stored("s").is_empty());
    node.publish(client, "s", 2, "here");
    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert!(node.stored("s").is_empty());
}

#[test]
fn a_list_after_the_blacklist_is_newer_than_the_empty_one() {
    let mut node = Node::new(2);
    let publisher = node.open(0);
    node.publish(publisher, "s", 1, "here");
    let client = node.open_from(1, "10.1.1.1:7");
    node.subscribe(client, "s", "sub");
    node.delivered();
    blacklist(&mut node, &[], &["10.1.1.1"], 1);
    let emptied = node.delivered();

    blacklist(&mut node, &[], &[], 2);
    let back = node.open_from(1, "10.1.1.1:8");
    node.subscribe(back, "s", "sub");

    let lists = node.delivered();
    let list = lists.last().expect("a first push");
    assert_eq!((list.connect_id, list.zones.len()), (back, 1));
    assert!(emptied.iter().all(|empty| list.version > empty.version));
}

#[test]
fn a_blacklisted_subscriber_sees_nobody() {
    let mut node = Node::new(1);
    let client = node.open_from(0, "10.1.1.1:7");
    node.publish(client, "s", 1, "here");
    node.subscribe(client, "s", "sub");
    let before = node.delivered();

    blacklist(&mut node, &[], &["10.1.1.1"], 1);

    let emptied = node.delivered();
    assert_eq!(emptied.len(), 1);
    assert!(emptied[0].zones.is_empty());
    assert!(emptied[0].version > before[0].version);
    node.publish(client, "s", 2, "there");
    assert!(node.sent().is_empty());
    node.subscribe(client, "s", "sub-2");
    let late = node.delivered();
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].register_ids, ["sub-2"]);
    assert!(late[0].zones.is_empty());
}

#[test]
fn whoever_comes_on_the_list_later_sees_nobody_at_a_version_above_its_list() {
    let mut node = Node::new(1);
    let (one, two) = (
        node.open_from(0, "10.1.1.1:7"),
        node.open_from(0, "10.1.1.2:7"),
    );
    node.subscribe(one, "s", "one");
    node.subscribe(two, "s", "two");
    blacklist(&mut node, &[], &["10.1.1.1"], 1);
    node.now.wall_ms -= 5000;
    node.publish(two, "s", 1, "here");
    node.settle();
    let list = node.version("s");

    blacklist(&mut node, &[], &["10.1.1.1", "10.1.1.2"], 2);

    let pushes = node.delivered();
    let emptied = pushes.iter().find(|push| push.connect_id == two);
    assert!(emptied.is_some_and(|push| push.zones.is_empty() && push.version > list));
}

#[test]
fn a_subscriber_that_is_off_the_list_and_registers_again_has_one_seat() {
    let mut node = Node::new(1);
    let client = node.open_from(0, "10.1.1.1:7");
    blacklist(&mut node, &[], &["10.1.1.1"], 1);
    node.subscribe(client, "s", "sub");
    node.settle();
    blacklist(&mut node, &[], &[], 2);

    node.subscribe(client, "s", "sub");
    node.settle();

    assert_eq!(node.stats().subscribers, 1);
    node.publish(client, "s", 1, "here");
    assert_eq!(node.delivered().len(), 1);
    node.unsubscribe(client, "s", "sub");
    assert_eq!(node.stats().subscribers, 0);
}

#[test]
fn a_client_that_is_off_counts_for_nothing_until_it_is_on_again() {
    let mut node = Node::new(2);
    let client = node.open_from(1, "10.1.1.1:7");
    node.publish(client, "s", 1, "here");
    node.subscribe(client, "s", "sub");
    node.settle();
    let ip = "10.1.1.1".parse().expect("an address");
    let off = OffClient {
        ip,
        publishers: true,
        subscribers: true,
    };

    node.tell_all(|| Event::Meta(MetaCommand::ClientsOff(vec![off])));
    node.publish(client, "s", 2, "here");

    assert!(node.stored("s").is_empty());
    assert!(node.sent().is_empty());
    node.tell_all(|| Event::Meta(MetaCommand::ClientsOpen(vec![ip])));
    assert_eq!(node.closed, [client]);
    node.publish(client, "s", 3, "here");
    assert_eq!(node.stored("s"), ["here"]);
}

#[test]
fn a_connection_taken_off_may_register_anew() {
    let mut node = Node::new(1);
    let client = node.open_from(0, "10.1.1.1:7");
    let other = node.open_from(0, "10.1.1.1:8");
    node.publish_as("pub", "z", client, "s", 1, "one");
    node.publish_as("other", "z", other, "s", 1, "two");
    let peers = vec!["10.1.1.1:7".parse().expect("an address")];

    node.tell_all(|| Event::Order(Order::ConnectionsOff(peers.clone())));

    assert_eq!(node.stored("s"), ["two"]);
    node.publish_as("pub", "z", client, "s", 2, "anew");
    assert_eq!(node.stored("s"), ["two", "anew"]);
}

#[test]
fn a_client_that_may_not_subscribe_costs_nobody_else_anything() {
    let mut node = Node::new(2);
    let (publisher, watcher) = (node.open(0), node.open(1));
    node.publish(publisher, "s", 1, "here");
    node.subscribe(watcher, "s", "sub");
    node.settle();
    let version = node.version("s");
    let client = node.open_from(0, "10.1.1.1:7");
    blacklist(&mut node, &[], &["10.1.1.1"], 1);

    for _ in 0..100 {
        node.subscribe(client, "s", "mine");
        let pushes = node.delivered();
        assert_eq!(pushes.len(), 1);
        assert!(pushes[0].connect_id == client && pushes[0].zones.is_empty());
        node.unsubscribe(client, "s", "mine");
    }

    assert_eq!(node.version("s"), version);
}

#[test]
fn who_is_off_the_blacklist_is_closed_to_come_back() {
    let mut node = Node::new(2);
    let publisher = node.open_from(0, "10.1.1.1:7");
    let subscriber = node.open_from(1, "10.1.1.2:7");
    let other = node.open_from(1, "10.1.1.3:7");
    let (listed, more) = (["10.1.1.1", "10.1.1.3"], ["10.1.1.2"]);
    blacklist(&mut node, &listed, &more, 1);

    blacklist(&mut node, &["10.1.1.3"], &[], 2);

    assert_eq!(node.closed, [publisher, subscriber]);
    assert!(!node.closed.contains(&other));
}

#[test]
fn who_is_taken_off_in_a_grace_is_gone_at_once() {
    let off = || {
        let clients = OffClient {
            ip: "10.1.1.1".parse().expect("an address"),
            publishers: true,
            subscribers: false,
        };
        Event::Meta(MetaCommand::ClientsOff(vec![clients]))
    };
    let peer = "10.1.1.1:7".parse().expect("an address");
    let connection = || Event::Order(Order::ConnectionsOff(vec![peer]));
    let orders: [&dyn Fn() -> Event; 2] = [&off, &connection];
    for order in orders {
        let mut node = Node::new(2);
        let client = node.open_from(0, "10.1.1.1:7");
        for core in 0..2 {
            let service = node.service_at(core);
            node.publish(client, &service, 1, "here");
        }
        node.close(client, EndedBy::Us);

        node.tell_all(order);

        for core in 0..2 {
            assert!(node.stored(&node.service_at(core)).is_empty());
        }
        assert_eq!(node.stats().publishers_in_grace, 0);
    }
}
