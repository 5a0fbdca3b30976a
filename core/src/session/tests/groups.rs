//! Subscribers that come, go and come again while pushes are on their way.

use super::node::Node;
use crate::names::Scope;

#[test]
fn a_group_that_left_takes_its_push_with_it() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    let push = node.sent();

    node.unsubscribe(client, "s", "sub");
    node.acknowledge(&push[0]);

    let stats = node.stats();
    assert_eq!(stats.pushes_in_flight, 0);
    assert_eq!(stats.dropped_stale_response, 1);
}

#[test]
fn an_answer_to_a_group_that_left_counts_not_for_the_next_in_its_place() {
    let mut node = Node::new(1);
    let (client, other) = (node.open(0), node.open(0));
    node.subscribe(client, "s", "sub");
    node.subscribe(other, "s", "sub");
    node.settle();
    node.publish(client, "s", 1, "one");
    let pushes = node.sent();
    let to_client = pushes.iter().find(|push| push.connect_id == client);

    node.unsubscribe(client, "s", "sub");
    node.subscribe(client, "t", "sub");
    node.acknowledge(to_client.expect("a push"));
    node.publish(client, "s", 2, "two");

    assert!(node.sent().iter().all(|push| push.connect_id == client));
}

#[test]
fn a_client_that_subscribes_again_in_pause_is_not_kept_waiting() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "first");
    let push = node.sent();
    node.refuse(&push[0]);

    node.subscribe(client, "s", "second");

    let pushes = node.sent();
    let told: Vec<_> = pushes
        .iter()
        .map(|push| push.register_ids.as_slice())
        .collect();
    assert_eq!(
        told,
        [["first"], ["second"]],
        "each gets a first push of its own"
    );
}

#[test]
fn a_registration_in_another_scope_or_zone_moves() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish_in("zone-a", client, "s", 1, "in a");
    node.subscribe_in(Scope::Zone, "zone-a", client, "s", "sub");
    node.settle();

    node.subscribe_in(Scope::Zone, "zone-b", client, "s", "sub");
    node.subscribe_in(Scope::Global, "zone-b", client, "s", "sub");
    node.settle();
    node.publish_in("zone-a", client, "s", 2, "changed");

    let pushes = node.delivered();
    let scopes: Vec<_> = pushes.iter().map(|push| push.scope.as_str()).collect();
    assert_eq!(
        scopes,
        ["global"],
        "one list, and no other alternates with it"
    );
    assert!(node.sent().is_empty());
    assert_eq!(node.stats().subscribers, 1);
}

#[test]
fn one_that_moves_leaves_the_others_their_seats() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for register_id in ["moves", "stays"] {
        node.subscribe_in(Scope::Zone, "zone-a", client, "s", register_id);
    }
    node.configure(client, "s", "moves");
    node.settle();

    node.subscribe_in(Scope::Zone, "zone-b", client, "s", "moves");
    node.settle();
    node.publish_in("zone-a", client, "s", 1, "in a");

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].register_ids, ["stays"]);
    let stats = node.stats();
    assert_eq!((stats.subscribers, stats.configurators), (2, 1));
}

#[test]
fn an_unsubscription_that_names_another_scope_ends_the_subscription() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe_in(Scope::Zone, "zone-b", client, "s", "sub");
    node.settle();

    node.unsubscribe(client, "s", "sub");
    node.publish_in("zone-b", client, "s", 1, "in b");

    assert!(node.sent().is_empty());
    assert_eq!(node.stats().subscribers, 0);
}
