//! What is pushed, when, and to whom.

use bytes::Bytes;

use super::node::{Node, ZONE, service};
use crate::names::{CoreId, Scope};
use crate::session::lane::{Lane, Slice, ToSocket};
use crate::session::{EndedBy, Event};
use crate::version::DatumVersion;

#[test]
fn a_subscriber_of_what_nobody_published_gets_an_empty_list_at_version_1() {
    let mut node = Node::new(1);
    let client = node.open(0);

    node.subscribe(client, "s", "sub");

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].version, 1);
    assert_eq!(pushes[0].register_ids, ["sub"]);
    assert!(pushes[0].zones.is_empty());
}

#[test]
fn a_change_reaches_subscribers_on_every_core() {
    let mut node = Node::new(3);
    let publisher = node.open(0);
    let subscribers = [0, 1, 2].map(|core| node.open(core));
    for subscriber in subscribers {
        node.subscribe(subscriber, "s", "sub");
    }
    node.settle();

    node.publish(publisher, "s", 1, "here");

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 3);
    for push in &pushes {
        assert_eq!(push.texts(), ["here"]);
        assert_eq!(push.version, node.version("s"));
    }
    assert!(node.sent().is_empty());
}

#[test]
fn the_last_publisher_that_leaves_is_an_empty_list_at_a_higher_version() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 1, "here");
    node.subscribe(client, "s", "sub");
    let with = node.delivered();

    node.unpublish(client, "s", 2);

    let without = node.delivered();
    assert_eq!(without.len(), 1);
    assert!(without[0].zones.is_empty());
    assert!(without[0].version > with[0].version);
}

#[test]
fn a_thousand_subscribers_cost_one_encoding() {
    let mut node = Node::new(2);
    let publisher = node.open(0);
    for index in 0..1000_u16 {
        let subscriber = node.open(index % 2);
        node.subscribe(subscriber, "s", "sub");
    }
    node.settle();
    let before = node.stats().bodies_encoded;
    node.bodies_sent = 0;

    node.publish(publisher, "s", 1, "here");

    assert_eq!(node.delivered().len(), 1000);
    assert_eq!(node.stats().bodies_encoded, before + 1);
    assert_eq!(node.bodies_sent, 1);
}

#[test]
fn a_thousand_late_subscribers_cost_one_encoding() {
    let mut node = Node::new(1);
    let publisher = node.open(0);
    node.publish(publisher, "s", 1, "here");
    let before = node.stats().bodies_encoded;

    for _ in 0..1000 {
        let subscriber = node.open(0);
        node.subscribe(subscriber, "s", "sub");
        node.settle();
    }

    assert_eq!(node.stats().bodies_encoded, before + 1);
}

#[test]
fn changes_of_one_turn_cost_one_push() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();
    let publishers: Vec<_> = (0..400).map(|_| node.open(0)).collect();

    for (index, &publisher) in publishers.iter().enumerate() {
        let units: Vec<u16> = format!("{index:03}").encode_utf16().collect();
        let request = crate::session::request::Request::Publisher {
            declared: super::node::declared("s", &format!("pub-{index:03}"), 1, ZONE),
            boxes: Some(crate::message::Boxes::from_utf16([units.as_slice()])),
        };
        node.ask(publisher, request);
    }
    node.run();

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].texts().len(), 400);
}

#[test]
fn one_change_push_is_on_its_way_and_the_newest_replaces_those_that_wait() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();

    for (version, text) in [(1, "one"), (2, "two"), (3, "three")] {
        node.publish(client, "s", version, text);
    }

    let first = node.delivered();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].texts(), ["one"]);
    let second = node.delivered();
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].texts(), ["three"]);
    assert!(node.sent().is_empty());
}

#[test]
fn one_push_serves_all_subscribers_of_a_connection_that_see_the_same() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for (scope, register_id) in [
        (Scope::Zone, "zone-1"),
        (Scope::Zone, "zone-2"),
        (Scope::DataCenter, "center"),
        (Scope::Global, "global"),
    ] {
        node.subscribe_in(scope, ZONE, client, "s", register_id);
    }
    node.settle();

    node.publish(client, "s", 1, "here");

    let mut pushes = node.delivered();
    pushes.sort_by(|a, b| a.scope.cmp(&b.scope));
    let served: Vec<_> = pushes
        .iter()
        .map(|push| (push.scope.as_str(), push.register_ids.join(",")))
        .collect();
    let expected = [
        ("dataCenter", "center"),
        ("global", "global"),
        ("zone", "zone-1,zone-2"),
    ];
    assert_eq!(served, expected.map(|(scope, ids)| (scope, ids.to_owned())));
}

#[test]
fn who_joins_while_a_change_is_on_its_way_gets_an_own_first_push_at_once() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "early");
    node.settle();
    node.publish(client, "s", 1, "here");
    let change = node.sent();

    node.subscribe(client, "s", "late");

    let first = node.sent();
    assert_eq!(change[0].register_ids, ["early"]);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].register_ids, ["late"]);
    assert_eq!(first[0].texts(), ["here"]);
}

#[test]
fn a_subscriber_that_registers_again_is_pushed_to_again() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 1, "here");
    node.subscribe(client, "s", "sub");
    let first = node.delivered();

    node.subscribe(client, "s", "sub");

    let again = node.delivered();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].version, first[0].version);
    assert_eq!(again[0].texts(), ["here"]);
}

#[test]
fn an_acknowledgement_of_an_earlier_push_counts_for_nothing() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    let old = node.sent();
    node.subscribe(client, "s", "sub");
    node.publish(client, "s", 1, "here");

    node.acknowledge(&old[0]);
    node.acknowledge(&old[0]);

    let stats = node.stats();
    assert_eq!(stats.dropped_stale_response, 1);
    assert!(node.delivered().iter().any(|push| push.version == 1));
    assert_eq!(node.delivered()[0].texts(), ["here"]);
}

#[test]
fn a_push_never_goes_back_when_the_wall_clock_does() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.publish(client, "s", 1, "one");
    node.settle();
    let before = node.version("s");

    node.now.wall_ms -= 3_600_000;
    node.publish(client, "s", 2, "two");

    assert!(node.delivered()[0].version > before);
}

#[test]
fn an_unsubscribed_client_hears_no_more() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe(client, "s", "sub");
    node.settle();

    node.unsubscribe(client, "s", "sub");
    node.publish(client, "s", 1, "here");

    assert!(node.sent().is_empty());
    assert_eq!(node.stats().subscribers, 0);
}

#[test]
fn a_change_in_another_zone_pushes_nothing_to_zone_subscribers() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.subscribe_in(Scope::Zone, "zone-a", client, "s", "a");
    node.subscribe_in(Scope::Zone, "zone-b", client, "s", "b");
    node.subscribe_in(Scope::DataCenter, "zone-a", client, "s", "all");
    node.settle();

    node.publish_in("zone-b", client, "s", 1, "here");

    let pushes = node.delivered();
    let mut who: Vec<_> = pushes.iter().flat_map(|push| &push.register_ids).collect();
    who.sort();
    assert_eq!(who, ["all", "b"]);
}

#[test]
fn a_publisher_that_moves_to_another_zone_changes_both() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish_in("zone-a", client, "s", 1, "here");
    node.subscribe_in(Scope::Zone, "zone-a", client, "s", "a");
    node.subscribe_in(Scope::Zone, "zone-b", client, "s", "b");
    node.settle();

    node.publish_in("zone-b", client, "s", 2, "here");

    let pushes = node.delivered();
    assert_eq!(pushes.len(), 2);
    for push in pushes {
        assert_eq!(
            push.zones.contains_key("zone-b"),
            push.register_ids == ["b"]
        );
        assert!(!push.zones.contains_key("zone-a"));
    }
}

#[test]
fn a_fan_out_ends_although_others_join_and_newer_versions_come() {
    let mut node = Node::new(1);
    let publisher = node.open(0);
    let subscribers: Vec<_> = (0..600).map(|_| node.open(0)).collect();
    for &subscriber in &subscribers {
        node.subscribe(subscriber, "s", "sub");
    }
    node.settle();

    node.publish_without_turns(publisher, "s", 1, "one");
    node.one_turn(0);
    node.publish_without_turns(publisher, "s", 2, "two");
    node.one_turn(0);
    let late = node.open(0);
    let joins = crate::session::request::Request::Subscriber {
        declared: super::node::declared("s", "late", 1, ZONE),
        scope: Scope::DataCenter,
        registers: true,
    };
    node.ask(late, joins);
    node.run();
    node.settle_recording();

    for subscriber in subscribers {
        let held = node.held_by(subscriber);
        assert_eq!(held, Some("two"), "{subscriber}");
    }
}

#[test]
fn a_fan_out_over_a_list_that_shrinks_passes_over_nobody() {
    let mut node = Node::new(1);
    let publisher = node.open(0);
    let clients: Vec<_> = (0..1_300).map(|_| node.open(0)).collect();
    for client in &clients {
        node.subscribe(*client, "s", "sub");
    }
    node.settle();
    let slices = |node: &mut Node, count| (0..count).for_each(|_| node.one_turn(0));
    node.publish_without_turns(publisher, "s", 1, "one");
    slices(&mut node, 3);
    for push in node.sent() {
        node.answer_without_turns(&push, true);
    }

    // The next version goes on where that one was, and is about to wrap when the end of the list leaves.
    node.publish_without_turns(publisher, "s", 2, "two");
    slices(&mut node, 2);
    let (staying, leaving) = clients.split_at(1_200);
    for client in leaving {
        let ended_by = EndedBy::Peer;
        let connect_id = *client;
        node.tell(
            0,
            Event::Closed {
                connect_id,
                ended_by,
            },
        );
    }
    node.run();
    node.settle_recording();

    let told = staying
        .iter()
        .filter(|client| node.held_by(**client) == Some("two"));
    assert_eq!(told.count(), staying.len());
}

#[test]
fn a_list_that_no_frame_can_carry_is_counted_and_the_next_version_goes_out() {
    let mut node = Node::new(2);
    let (client, remote) = (node.open(0), node.service_at(1));
    node.subscribe(client, &remote, "sub");
    node.settle();
    let version = node.version(&remote);
    let body = |version, body| Event::FromCore {
        core: CoreId(1),
        message: Lane::ToSocket(ToSocket::Body {
            data_info_id: service(&remote),
            slice: Slice::All,
            version,
            body,
        }),
    };
    // Never touched, so it takes no memory.
    let endless = Bytes::from(vec![0; i32::MAX as usize]);
    let after = |count: u64| DatumVersion::new(u64::try_from(version).expect("positive") + count);

    node.tell(0, body(after(1), endless));
    node.run();

    assert!(node.sent().is_empty());
    let stats = node.stats();
    assert_eq!((stats.pushes_too_long, stats.pushes_in_flight), (1, 0));
    let nobody = crate::message::received_data::encode_body(std::iter::empty::<(
        &str,
        std::iter::Empty<_>,
    )>());
    node.tell(0, body(after(2), Bytes::from(nobody)));
    node.run();
    assert_eq!(node.delivered().len(), 1);
}
