//! Who is pushed to next: services have turns, and so have the subscribers of one service.

use std::collections::BTreeSet;

use super::node::{Node, Push, ZONE, declared};
use crate::names::{ConnectId, Scope};
use crate::session::request::Request;

/// A service with a thousand subscribers that changes with every turn, and whose pushes are acknowledged one turn late.
struct Hot {
    node: Node,
    publisher: ConnectId,
    changes: i64,
    unanswered: Vec<Push>,
}

impl Hot {
    fn new() -> Self {
        let mut node = Node::new(1);
        let publisher = node.open(0);
        for _ in 0..1_000 {
            let subscriber = node.open(0);
            node.subscribe(subscriber, "hot", "sub");
        }
        node.settle();
        Self {
            node,
            publisher,
            changes: 0,
            unanswered: Vec::new(),
        }
    }

    /// One turn, and what it pushed.
    fn turn(&mut self) -> &[Push] {
        self.changes += 1;
        let text = self.changes.to_string();
        self.node
            .publish_without_turns(self.publisher, "hot", self.changes, &text);
        for push in std::mem::take(&mut self.unanswered) {
            self.node.answer_without_turns(&push, true);
        }
        self.node.one_turn(0);
        self.unanswered = self.node.sent();
        &self.unanswered
    }
}

#[test]
fn a_service_that_changes_every_turn_leaves_the_next_one_its_turn() {
    let mut hot = Hot::new();
    let quiet = hot.node.open(0);
    hot.node.subscribe(quiet, "quiet", "sub");
    hot.node.settle();
    for _ in 0..10 {
        hot.turn();
    }

    let publisher = hot.publisher;
    hot.node
        .publish_without_turns(publisher, "quiet", 1, "here");

    let is_for_quiet = |push: &Push| push.connect_id == quiet;
    let told = (0..2).any(|_| hot.turn().iter().any(is_for_quiet));
    assert!(told, "within two turns");
}

#[test]
fn who_joins_another_service_meanwhile_has_a_first_push_within_two_turns() {
    let mut hot = Hot::new();
    for _ in 0..10 {
        hot.turn();
    }
    let joins = hot.node.open(0);

    let request = Request::Subscriber {
        declared: declared("quiet", "sub", 1, ZONE),
        scope: Scope::DataCenter,
        registers: true,
    };
    hot.node.ask(joins, request);

    let told = (0..2).any(|_| hot.turn().iter().any(|push| push.connect_id == joins));
    assert!(told, "within two turns");
}

#[test]
fn every_subscriber_of_a_service_that_changes_every_turn_has_its_turn() {
    let mut hot = Hot::new();
    for _ in 0..10 {
        hot.turn();
    }

    let mut told = BTreeSet::new();
    for _ in 0..10 {
        told.extend(hot.turn().iter().map(|push| push.connect_id));
    }

    assert_eq!(told.len(), 1_000);
}
