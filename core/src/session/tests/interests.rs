//! What a home core watches, for how long, and what it keeps.

use std::time::Duration;

use super::node::Node;
use crate::exchange::ToData;
use crate::limits;
use crate::session::{EndedBy, Rules};

fn interests_told(node: &Node) -> usize {
    let told = node.to_owners.iter();
    told.filter(|message| matches!(message, ToData::Interest { .. }))
        .count()
}

#[test]
fn an_owner_is_asked_once_for_all_subscribers() {
    let mut node = Node::new(2);
    for core in [0, 1, 0, 1] {
        let client = node.open(core);
        node.subscribe(client, "s", "sub");
    }

    assert_eq!(interests_told(&node), 1);
}

#[test]
fn an_interest_is_kept_warm_for_a_while_and_then_dropped() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.unsubscribe(client, "s", "sub");

    node.pass(limits::INTEREST_KEPT - Duration::from_millis(1));
    let kept = node.to_owners.len();
    node.pass(Duration::from_millis(1));

    let dropped = &node.to_owners[kept..];
    assert!(matches!(dropped, [ToData::NoInterest { .. }]));
}

#[test]
fn a_subscriber_that_comes_back_in_time_finds_it_warm() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.close(client, EndedBy::Peer);
    node.pass(limits::INTEREST_KEPT / 2);
    let publisher = node.open(0);
    node.publish(publisher, "s", 1, "here");

    let again = node.open(0);
    node.subscribe(again, "s", "sub");
    assert_eq!(node.delivered()[0].texts(), ["here"]);
    node.pass(limits::INTEREST_KEPT);

    assert_eq!(interests_told(&node), 1);
    node.publish(publisher, "s", 2, "there");
    assert_eq!(node.delivered()[0].texts(), ["there"]);
}

#[test]
fn a_subscriber_after_the_interest_was_dropped_gets_the_newest() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.unsubscribe(client, "s", "sub");
    node.pass(limits::INTEREST_KEPT);
    node.sent();
    node.publish(client, "s", 1, "here");

    node.subscribe(client, "s", "sub");

    assert_eq!(node.delivered()[0].texts(), ["here"]);
}

#[test]
fn who_joins_while_a_change_is_held_back_is_not_kept_waiting() {
    let rules = Rules {
        push_floor: Duration::from_secs(5),
        ..Rules::default()
    };
    let mut node = Node::with_rules(1, &rules);
    let (early, late) = (node.open(0), node.open(0));
    node.subscribe(early, "s", "early");
    node.publish(early, "s", 1, "one");
    node.settle();
    node.pass(rules.push_floor);
    node.settle();
    node.publish(early, "s", 2, "two");
    node.settle();
    node.publish(early, "s", 3, "three");
    assert!(node.sent().is_empty());

    node.subscribe(late, "s", "late");

    let pushes = node.delivered();
    let first = pushes.iter().find(|push| push.connect_id == late);
    assert_eq!(first.map(|push| push.texts()), Some(vec!["three"]));
}
