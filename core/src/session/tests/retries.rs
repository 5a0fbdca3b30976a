//! A push that did not arrive is sent again, with what is newest then.

use std::time::Duration;

use super::node::Node;
use crate::limits;
use crate::session::Event;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_refused_push_is_sent_again_after_a_pause_with_what_is_newest() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.publish(client, "s", 1, "one");
    let push = node.sent();

    node.refuse(&push[0]);
    node.publish(client, "s", 2, "two");
    node.pass(limits::PUSH_RETRY_MIN - MS);
    assert!(node.sent().is_empty());
    node.pass(MS);

    let again = node.delivered();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].texts(), ["two"]);
}

#[test]
fn the_pause_doubles_up_to_its_maximum_and_a_success_ends_it() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    let mut pauses = Vec::new();

    for _ in 0..9 {
        let push = node.sent();
        node.refuse(&push[0]);
        let refused_at = node.now.monotonic;
        while node.pushes.is_empty() {
            let next = node.next_timeout().expect("a retry");
            node.pass(next.since(node.now.monotonic));
        }
        pauses.push(node.now.monotonic.since(refused_at).as_millis());
    }

    let expected = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000];
    assert_eq!(pauses, expected);
    node.settle();
    node.publish(client, "s", 1, "one");
    let push = node.sent();
    node.refuse(&push[0]);
    node.pass(limits::PUSH_RETRY_MIN);
    assert_eq!(node.sent().len(), 1);
}

#[test]
fn a_push_without_an_answer_is_sent_again() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    assert_eq!(node.sent().len(), 1);

    node.pass(limits::PUSH_TIMEOUT + limits::PUSH_RETRY_MIN - MS);
    assert!(node.sent().is_empty());
    node.pass(MS);

    assert_eq!(node.delivered().len(), 1);
    let stats = node.stats();
    assert_eq!((stats.pushes_timed_out, stats.pushes_retried), (1, 1));
}

#[test]
fn the_time_to_answer_begins_when_the_last_byte_is_in_the_kernel() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.kernel_is_stuck = true;
    node.subscribe(client, "s", "sub");
    let push = node.sent();

    node.pass(limits::PUSH_TIMEOUT * 5);
    assert!(node.sent().is_empty());
    let sent = Event::Sent {
        connect_id: client,
        request_id: push[0].request_id,
    };
    node.tell(0, sent);
    node.pass(limits::PUSH_TIMEOUT);

    assert_eq!(node.stats().pushes_timed_out, 1);
}

#[test]
fn a_push_without_room_waits_until_there_is_some_and_then_carries_the_newest() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    node.full.insert(client);
    node.publish(client, "s", 1, "one");
    node.publish(client, "s", 2, "two");
    node.pass(Duration::from_secs(20));
    assert!(node.sent().is_empty());

    node.full.clear();
    node.tell(0, Event::Writable(client));
    node.run();

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].texts(), ["two"]);
    assert_eq!(node.stats().pushes_retried, 0);
}

#[test]
fn a_late_answer_to_the_first_try_leaves_the_second_waiting() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    let first = node.sent();
    node.pass(limits::PUSH_TIMEOUT + limits::PUSH_RETRY_MIN);
    assert_eq!(node.sent().len(), 1);

    node.acknowledge(&first[0]);

    assert_eq!(node.stats().pushes_in_flight, 1);
}
