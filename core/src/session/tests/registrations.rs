//! Which registration wins, what is answered, and what a limit says.

use super::node::{Node, ZONE, declared, taken};
use crate::session::answer::{Answer, Kind, Refusal};
use crate::session::request::Request;
use crate::session::{EndedBy, Rules};

#[test]
fn a_lower_version_is_ignored_and_answered_with_success() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 3, "three");

    node.publish(client, "s", 2, "two");

    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert_eq!(node.stored("s"), ["three"]);
    assert_eq!(node.stats().registrations_stale, 1);
}

#[test]
fn a_reconnect_takes_over_in_silence() {
    let mut node = Node::new(2);
    let (old, watcher) = (node.open(0), node.open(0));
    node.publish(old, "s", 1, "here");
    node.subscribe(watcher, "s", "sub");
    node.settle();
    let version = node.version("s");

    let new = node.open(1);
    node.publish(new, "s", 1, "here");
    node.close(old, EndedBy::Peer);

    assert_eq!(node.stored("s"), ["here"]);
    assert_eq!(node.version("s"), version);
    assert!(node.sent().is_empty());
}

#[test]
fn the_older_connection_cannot_take_back_what_the_newer_has() {
    let mut node = Node::new(2);
    let old = node.open(0);
    let new = node.open(1);
    node.publish(new, "s", 1, "new");

    node.publish(old, "s", 1, "old");

    assert_eq!(node.last_answer(), &taken("pub", 1));
    assert_eq!(node.stored("s"), ["new"]);
}

#[test]
fn what_lost_stands_again_when_the_winner_goes() {
    let mut node = Node::new(2);
    let old = node.open(0);
    node.publish(old, "s", 1, "old");
    let new = node.open(1);
    node.publish(new, "s", 1, "new");

    node.close(new, EndedBy::Peer);

    assert_eq!(node.stored("s"), ["old"]);
    node.close(old, EndedBy::Peer);
    assert!(node.stored("s").is_empty());
}

#[test]
fn unregistering_removes_whoever_holds_it() {
    let mut node = Node::new(2);
    let holder = node.open(1);
    node.publish(holder, "s", 1, "here");
    let other = node.open(0);

    node.unpublish(other, "s", 2);

    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert!(node.stored("s").is_empty());
    assert_eq!(node.stats().publishers, 0);
}

#[test]
fn unregistering_with_a_lower_version_removes_nobody() {
    let mut node = Node::new(1);
    let client = node.open(0);
    node.publish(client, "s", 3, "here");

    node.unpublish(client, "s", 2);

    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert_eq!(node.stored("s"), ["here"]);
}

#[test]
fn a_late_registration_revives_nothing_that_was_unregistered() {
    let mut node = Node::new(2);
    let (old, new) = (node.open(0), node.open(1));
    node.unpublish(new, "s", 2);

    node.publish(old, "s", 1, "late");

    assert_eq!(node.last_answer(), &taken("pub", 1));
    assert!(node.stored("s").is_empty());
}

#[test]
fn a_refusal_names_the_limit() {
    let refusals = [
        Refusal::TooManyRegistrations,
        Refusal::TooManyServices,
        Refusal::TooManyBytes { limit: 1 << 30 },
        Refusal::TooManyBoxes(10_001),
        Refusal::TooManyZones,
    ];

    let texts = refusals.map(|refusal| refusal.to_string());

    let numbers = ["100000", "4000000", "1073741824", "10000", "256"];
    for (text, number) in texts.iter().zip(numbers) {
        assert!(text.contains(number), "{text}");
    }
}

#[test]
fn a_service_has_as_many_zones_as_it_may_and_those_stay_changeable() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for zone in 0..crate::limits::ZONES_PER_DATUM_MAX {
        let (register_id, zone) = (format!("pub-{zone}"), format!("zone-{zone}"));
        node.publish_as(&register_id, &zone, client, "s", 1, "here");
    }

    node.publish_as("one-more", "zone-more", client, "s", 1, "here");

    let refused = Answer::Refused {
        kind: Kind::Publisher,
        refusal: Refusal::TooManyZones,
    };
    assert_eq!(node.last_answer(), &refused);
    node.publish_as("pub-7", "zone-7", client, "s", 2, "there");
    assert_eq!(node.last_answer(), &taken("pub-7", 2));
}

#[test]
fn a_connection_at_its_limit_may_still_change_what_it_has() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for index in 0..crate::limits::REGISTRATIONS_PER_CONNECTION_MAX {
        let request = Request::Publisher {
            declared: declared("s", &format!("pub-{index}"), 1, ZONE),
            boxes: Some(crate::message::Boxes::default()),
        };
        node.ask(client, request);
        node.answers.clear();
        node.to_owners.clear();
    }

    node.publish_as("one-more", ZONE, client, "s", 1, "here");
    let refused = Answer::Refused {
        kind: Kind::Publisher,
        refusal: Refusal::TooManyRegistrations,
    };
    assert_eq!(node.last_answer(), &refused);
    node.publish_as("pub-7", ZONE, client, "s", 2, "there");

    assert_eq!(node.last_answer(), &taken("pub-7", 2));
}

#[test]
fn what_a_client_may_not_is_answered_in_its_own_words() {
    let mut node = Node::new(1);
    let client = node.open(0);
    let refused = |refusal| Request::Refused {
        kind: Kind::Subscriber,
        refusal,
    };

    node.ask(client, refused(Refusal::Missing("dataId")));

    let answer = Answer::Refused {
        kind: Kind::Subscriber,
        refusal: Refusal::Missing("dataId"),
    };
    assert_eq!(node.last_answer(), &answer);
}

#[test]
fn published_bytes_beyond_the_bound_are_refused_and_replacing_is_not() {
    let rules = Rules {
        published_bytes_max: 100,
        ..Rules::default()
    };
    let mut node = Node::with_rules(1, &rules);
    let client = node.open(0);
    node.publish(client, "s", 1, &"a".repeat(80));
    assert_eq!(node.last_answer(), &taken("pub", 1));

    node.publish(client, "s", 2, &"b".repeat(80));
    assert_eq!(node.last_answer(), &taken("pub", 2));
    node.publish(client, "other", 1, &"c".repeat(80));

    let refused = Answer::Refused {
        kind: Kind::Publisher,
        refusal: Refusal::TooManyBytes { limit: 100 },
    };
    assert_eq!(node.last_answer(), &refused);
    assert!(node.stored("other").is_empty());
}
