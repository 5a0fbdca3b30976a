//! What the end of a connection takes with it, by whose doing it was.

use std::time::Duration;

use super::node::Node;
use crate::limits;
use crate::session::{EndedBy, Event};

#[test]
fn what_a_closed_connection_holds_goes_at_once() {
    for ended_by in [EndedBy::Peer, EndedBy::Silence, EndedBy::Operator] {
        let mut node = Node::new(2);
        let client = node.open(0);
        for core in 0..2 {
            let service = node.service_at(core);
            node.publish(client, &service, 1, "here");
        }

        node.close(client, ended_by);

        for core in 0..2 {
            assert!(node.stored(&node.service_at(core)).is_empty());
        }
        assert_eq!(node.stats().publishers, 0);
    }
}

#[test]
fn a_connection_that_we_ended_keeps_its_publishers_for_a_grace() {
    let mut node = Node::new(1);
    let (client, watcher) = (node.open(0), node.open(0));
    node.publish(client, "s", 1, "here");
    node.subscribe(watcher, "s", "sub");
    node.settle();

    node.close(client, EndedBy::Us);
    node.pass(limits::GRACE - Duration::from_millis(1));
    assert_eq!(node.stored("s"), ["here"]);
    assert_eq!(node.stats().publishers_in_grace, 1);
    node.pass(Duration::from_millis(1));

    assert!(node.stored("s").is_empty());
    assert!(node.delivered()[0].zones.is_empty());
    assert_eq!(node.stats().publishers_in_grace, 0);
}

#[test]
fn a_client_that_comes_back_within_the_grace_takes_over() {
    let mut node = Node::new(2);
    let old = node.open(0);
    node.publish(old, "s", 1, "here");
    let version = node.version("s");
    node.close(old, EndedBy::Us);

    let new = node.open(1);
    node.publish(new, "s", 1, "here");
    node.pass(limits::GRACE * 2);

    assert_eq!(node.stored("s"), ["here"]);
    assert_eq!(node.version("s"), version);
}

#[test]
fn what_awaits_its_client_stands_again_until_the_grace_is_over() {
    let mut node = Node::new(1);
    let old = node.open(0);
    node.publish(old, "s", 1, "old");
    let new = node.open(0);
    node.publish(new, "s", 1, "new");
    node.close(old, EndedBy::Us);

    node.close(new, EndedBy::Peer);

    assert_eq!(node.stored("s"), ["old"]);
    node.pass(limits::GRACE);
    assert!(node.stored("s").is_empty());
}

#[test]
fn nothing_is_removed_while_draining() {
    let mut node = Node::new(2);
    let clients: Vec<_> = (0..10).map(|index| node.open(index % 2)).collect();
    for (index, &client) in clients.iter().enumerate() {
        node.publish_as(&format!("pub-{index}"), "z", client, "s", 1, "here");
    }
    let watcher = node.open(0);
    node.subscribe(watcher, "s", "sub");
    node.settle();
    node.close(clients[0], EndedBy::Us);
    let version = node.version("s");

    node.tell_all(|| Event::Draining);
    for &client in &clients[1..] {
        node.close(client, EndedBy::Peer);
    }
    node.pass(limits::GRACE * 2);

    assert_eq!(node.version("s"), version);
    assert!(node.sent().is_empty());
}

#[test]
fn the_end_of_a_connection_that_reused_a_slot_is_not_the_end_of_the_next() {
    let mut node = Node::new(1);
    let old = node.open(0);
    node.publish(old, "s", 1, "old");
    node.close(old, EndedBy::Peer);
    let new = node.reopen(old);
    node.publish(new, "s", 1, "new");

    node.close(old, EndedBy::Peer);

    assert_eq!(node.stored("s"), ["new"]);
}

#[test]
fn messages_for_a_connection_that_is_gone_do_nothing() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    let push = node.sent();
    node.close(client, EndedBy::Peer);

    node.acknowledge(&push[0]);
    node.tell(0, Event::Writable(client));
    node.unpublish(client, "s", 2);
    node.subscribe(client, "s", "sub");

    assert!(node.sent().is_empty());
    assert_eq!(node.stats().pushes_lost, 1);
    assert_eq!(node.stats().pushes_in_flight, 0);
}

#[test]
fn the_end_of_a_subscriber_leaves_nothing_behind() {
    let mut node = Node::new(2);
    for index in 0..50_u16 {
        let client = node.open(index % 2);
        node.subscribe(client, "s", "sub");
        node.close(client, EndedBy::Peer);
    }
    node.pass(limits::INTEREST_KEPT);

    let stats = node.stats();
    assert_eq!((stats.subscribers, stats.pushes_in_flight), (0, 0));
    assert_eq!(stats.datums, 0);
}
