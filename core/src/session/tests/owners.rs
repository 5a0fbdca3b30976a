//! A silent owner: the client is answered in time, and the owner is told until it says that it knows.

use std::time::Duration;

use super::node::{Node, taken};
use crate::limits;
use crate::session::EndedBy;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_client_is_answered_in_time_although_the_owner_is_silent() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.owner_is_silent = true;

    node.publish(client, "s", 1, "here");
    node.pass(limits::ANSWER_WITHIN - MS);
    assert!(node.answers.is_empty());
    node.pass(MS);

    assert_eq!(node.answers, [(client, taken("pub", 1))]);
}

#[test]
fn an_owner_that_was_silent_gets_what_stands_when_it_is_told_again() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.owner_is_silent = true;
    node.publish(client, "s", 1, "one");
    node.publish(client, "s", 2, "two");

    node.owner_is_silent = false;
    node.pass(limits::RESEND_AFTER);

    assert_eq!(node.stored("s"), ["two"]);
    assert_eq!(node.answers.len(), 2);
    node.to_owners.clear();
    node.pass(limits::RESEND_AFTER * 4);
    assert!(node.to_owners.is_empty());
}

#[test]
fn a_storm_that_a_silent_owner_misses_is_told_once() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.owner_is_silent = true;
    for version in 1..=100 {
        node.publish(client, "s", version, "here");
    }
    node.pass(limits::RESEND_AFTER);
    node.to_owners.clear();

    node.pass(limits::RESEND_AFTER);

    assert_eq!(node.to_owners.len(), 1);
    assert_eq!(node.answers.len(), 100);
}

#[test]
fn a_removal_that_the_owner_missed_is_told_again() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 1, "here");
    node.owner_is_silent = true;
    node.close(client, EndedBy::Peer);
    assert_eq!(node.stored("s"), ["here"]);

    node.owner_is_silent = false;
    node.pass(limits::RESEND_AFTER);

    assert!(node.stored("s").is_empty());
}

#[test]
fn a_removal_told_again_names_no_successor_that_has_gone_meanwhile() {
    let mut node = Node::new(1);
    let old = node.open(0);
    node.publish(old, "s", 1, "old");
    let new = node.open(0);
    node.publish(new, "s", 1, "new");
    node.owner_is_silent = true;
    node.close(new, EndedBy::Peer);
    node.owner_is_silent = false;
    node.close(old, EndedBy::Peer);

    node.pass(limits::RESEND_AFTER * 2);

    assert!(node.stored("s").is_empty());
}

#[test]
fn a_removal_told_again_spares_what_was_registered_since() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 1, "one");
    node.owner_is_silent = true;
    node.unpublish(client, "s", 1);
    node.owner_is_silent = false;

    node.publish(client, "s", 1, "two");
    node.pass(limits::RESEND_AFTER * 2);

    assert_eq!(node.stored("s"), ["two"]);
}

#[test]
fn an_unanswered_interest_is_told_again() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.owner_is_silent = true;
    node.subscribe(client, "s", "sub");
    assert!(node.sent().is_empty());

    node.owner_is_silent = false;
    node.pass(limits::RESEND_AFTER);

    assert_eq!(node.delivered().len(), 1);
}

#[test]
fn a_notice_that_was_lost_is_noticed_at_the_next() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.owner_is_mute = true;
    node.publish_as("one", "z", client, "s", 1, "one");

    node.owner_is_mute = false;
    node.publish_as("two", "z", client, "s", 1, "two");

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].zones["z"], ["one", "two"]);
}

#[test]
fn notices_that_do_not_fit_cost_one_question() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.owner_is_mute = true;
    node.publish(client, "s", 1, "one");
    node.owner_is_mute = false;
    node.owner_is_silent = true;
    let notice = |from: u64| crate::exchange::ToSession::Notice {
        data_info_id: super::node::service("s"),
        from: crate::version::DatumVersion::new(from),
        to: crate::version::DatumVersion::new(from + 1),
        changes: std::sync::Arc::new([]),
    };
    node.to_owners.clear();

    for from in 1 << 60..(1 << 60) + 10 {
        node.tell(0, crate::session::Event::FromData(notice(from)));
    }

    assert_eq!(node.to_owners.len(), 1);
}
