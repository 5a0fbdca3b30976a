//! Cores that wait for each other: credit, parked requests, lanes without room.

use super::node::{Node, ZONE, declared, service};
use crate::limits;
use crate::message::Boxes;
use crate::names::{ConnectId, CoreId, Scope};
use crate::session::request::Request;
use crate::session::{EndedBy, Event};

fn publisher(id: &str, index: u32) -> Request {
    Request::Publisher {
        declared: declared(id, &format!("pub-{index}"), 1, ZONE),
        boxes: Some(Boxes::default()),
    }
}

/// Uses up all credit of core 0 at core 1.
fn exhaust(node: &mut Node, client: ConnectId, id: &str) {
    node.lanes_are_held = true;
    for index in 0..limits::CREDITS_PER_CORE {
        assert!(node.sessions[0].admit(client, &service(id)));
        node.ask(client, publisher(id, index));
    }
}

#[test]
fn a_request_without_credit_waits_and_is_resumed_when_there_is_some() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let (busy, waiting) = (node.open(0), node.open(0));
    exhaust(&mut node, busy, &remote);

    assert!(!node.sessions[0].admit(waiting, &service(&remote)));
    assert_eq!(node.stats().queue_parked_requests, 1);
    node.lanes_are_held = false;
    node.run();

    assert_eq!(node.resumed, [waiting]);
    assert!(node.sessions[0].admit(waiting, &service(&remote)));
    assert_eq!(node.answers.len(), limits::CREDITS_PER_CORE as usize);
}

#[test]
fn a_silent_core_holds_up_nobody_who_wants_another() {
    let mut node = Node::new(3);
    let (silent, other) = (node.service_at(1), node.service_at(2));
    let (busy, waiting, client) = (node.open(0), node.open(0), node.open(0));
    node.silent = Some(CoreId(1));
    for index in 0..limits::CREDITS_PER_CORE {
        assert!(node.sessions[0].admit(busy, &service(&silent)));
        node.ask(busy, publisher(&silent, index));
    }
    assert!(!node.sessions[0].admit(waiting, &service(&silent)));

    for version in 1..10 {
        assert!(node.sessions[0].admit(client, &service(&other)));
        node.subscribe(client, &other, "sub");
        node.publish(client, &other, version, "here");
        node.settle();
    }

    assert_eq!(node.stored(&other), ["here"]);
    assert!(
        node.resumed.is_empty(),
        "who waits for the silent core waits on"
    );
}

#[test]
fn connections_that_end_while_a_core_is_silent_are_forgotten() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let busy = node.open(0);
    exhaust(&mut node, busy, &remote);

    for _ in 0..3 * limits::PARKED_GONE_MAX {
        let client = node.open(0);
        assert!(!node.sessions[0].admit(client, &service(&remote)));
        node.close(client, EndedBy::Peer);
    }

    let parked = node.stats().queue_parked_requests as usize;
    assert!(parked <= limits::PARKED_GONE_MAX + 10, "{parked}");
}

#[test]
fn the_own_core_needs_no_credit() {
    let mut node = Node::new(2);
    let (local, remote) = (node.service_at(0), node.service_at(1));
    let client = node.open(0);
    exhaust(&mut node, client, &remote);

    assert!(node.sessions[0].admit(client, &service(&local)));
}

#[test]
fn connections_that_ended_while_they_waited_use_up_nobodys_turn() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let busy = node.open(0);
    exhaust(&mut node, busy, &remote);
    let ended: Vec<_> = (0..limits::CREDITS_PER_CORE + 10)
        .map(|_| node.open(0))
        .collect();
    for &client in &ended {
        assert!(!node.sessions[0].admit(client, &service(&remote)));
    }
    let waiting = node.open(0);
    assert!(!node.sessions[0].admit(waiting, &service(&remote)));
    for client in ended {
        node.close(client, EndedBy::Peer);
    }

    node.lanes_are_held = false;
    node.run();

    assert_eq!(node.resumed, [waiting]);
}

#[test]
fn requests_that_need_no_credit_after_all_leave_it_to_the_next() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let busy = node.open(0);
    node.subscribe(busy, &remote, "first");
    exhaust(&mut node, busy, &remote);
    let waiting: Vec<_> = (0..3 * limits::CREDITS_PER_CORE)
        .map(|_| node.open(0))
        .collect();
    for &client in &waiting {
        assert!(!node.sessions[0].admit(client, &service(&remote)));
    }

    node.lanes_are_held = false;
    node.run();
    let mut served = 0;
    while !node.resumed.is_empty() {
        for client in std::mem::take(&mut node.resumed) {
            if node.sessions[0].admit(client, &service(&remote)) {
                node.subscribe(client, &remote, "joins-what-is-watched");
                served += 1;
            }
        }
        node.run();
    }

    assert_eq!(served, waiting.len());
}

#[test]
fn watches_give_their_credit_back() {
    let mut node = Node::new(2);
    let client = node.open(0);
    let remote = node.service_at(1);

    for round in 0..2 * limits::CREDITS_PER_CORE {
        assert!(node.sessions[0].admit(client, &service(&remote)), "{round}");
        node.subscribe(client, &remote, "sub");
        node.unsubscribe(client, &remote, "sub");
        node.sent();
    }
}

#[test]
fn a_core_without_room_in_its_lane_gets_the_newest_body_when_there_is_some() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let client = node.open(0);
    node.subscribe(client, &remote, "sub");
    node.settle();
    let congested = |full| Event::Congested {
        core: CoreId(0),
        full,
    };
    node.tell(1, congested(true));
    node.publish(client, &remote, 1, "one");
    node.publish(client, &remote, 2, "two");
    assert!(node.sent().is_empty());

    node.tell(1, congested(false));
    node.run();

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].texts(), ["two"]);
}

#[test]
fn a_core_that_left_while_its_lane_was_full_is_sent_nothing() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let client = node.open(0);
    node.subscribe(client, &remote, "sub");
    node.settle();
    let congested = |full| Event::Congested {
        core: CoreId(0),
        full,
    };
    node.tell(1, congested(true));
    node.publish(client, &remote, 1, "one");
    node.unsubscribe(client, &remote, "sub");
    node.bodies_sent = 0;

    node.tell(1, congested(false));
    node.run();

    assert_eq!(node.bodies_sent, 0);
}

#[test]
fn a_registration_and_the_close_after_it_arrive_in_their_order() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let client = node.open(0);
    node.lanes_are_held = true;
    node.publish(client, &remote, 1, "here");
    node.close(client, EndedBy::Peer);

    node.lanes_are_held = false;
    node.run();

    assert!(node.stored(&remote).is_empty());
    assert_eq!(node.stats().publishers, 0);
}

#[test]
fn scopes_that_see_the_same_share_one_watch() {
    let mut node = Node::new(2);
    let remote = node.service_at(1);
    let client = node.open(0);

    node.subscribe_in(Scope::DataCenter, ZONE, client, &remote, "a");
    node.subscribe_in(Scope::Global, "elsewhere", client, &remote, "b");
    node.settle();
    node.bodies_sent = 0;
    node.publish(client, &remote, 1, "here");

    assert_eq!(node.bodies_sent, 1);
    assert_eq!(node.delivered().len(), 2);
}
