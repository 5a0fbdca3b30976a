//! Which registration wins, what is answered, and what a limit says.

use super::node::{Node, ZONE, declared, taken};
use crate::limits;
use crate::names::DataInfoId;
use crate::session::answer::{Answer, Kind};
use crate::session::request::Request;
use crate::session::{EndedBy, Refusal, Rules};

fn refusal(answer: &Answer) -> &Refusal {
    match answer {
        Answer::Refused(refused) => &refused.refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_lower_version_of_another_connection_is_remembered_and_answered_with_success() {
    let mut node = Node::new(1);
    let (client, other) = (node.open(0), node.open(0));
    node.publish(client, "s", 3, "three");

    node.publish(other, "s", 2, "two");

    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert_eq!(node.stored("s"), ["three"]);
    assert_eq!(node.stats().registrations_stale, 1);
}

#[test]
fn of_one_connection_the_later_word_counts() {
    let mut node = Node::new(2);
    let client = node.open(0);
    for core in 0..2 {
        let service = node.service_at(core);
        node.publish(client, &service, 1, "one");
        node.unpublish(client, &service, 1);
        node.publish(client, &service, 1, "two");

        assert_eq!(node.last_answer(), &taken("pub", 1));
        assert_eq!(node.stored(&service), ["two"]);
        node.publish(client, &service, 1, "three");
        assert_eq!(node.stored(&service), ["three"]);
    }
}

#[test]
fn a_close_never_buries_who_was_accepted_before_it() {
    for cores in [1, 2] {
        let mut node = Node::new(cores);
        let first = node.open(0);
        let second = node.open(cores - 1);
        node.publish(second, "s", 1, "here");
        node.close(second, EndedBy::Peer);

        node.publish(first, "s", 1, "here");

        assert_eq!(node.last_answer(), &taken("pub", 1));
        assert_eq!(node.stored("s"), ["here"]);
    }
}

#[test]
fn who_was_accepted_first_stands_when_the_one_accepted_later_closes() {
    let mut node = Node::new(2);
    let first = node.open(0);
    let second = node.open(1);
    node.publish(second, "s", 1, "here");
    node.publish(first, "s", 1, "here");
    let version = node.version("s");

    node.close(second, EndedBy::Peer);

    assert_eq!(node.stored("s"), ["here"]);
    assert_eq!(node.version("s"), version);
}

#[test]
fn as_many_connections_as_may_declare_one_id() {
    let mut node = Node::new(1);
    for _ in 0..limits::CLAIMS_PER_REGISTRATION_MAX {
        let client = node.open(0);
        node.publish(client, "s", 1, "here");
        assert_eq!(node.last_answer(), &taken("pub", 1));
    }
    let client = node.open(0);

    node.publish(client, "s", 1, "here");

    assert_eq!(refusal(node.last_answer()), &Refusal::TooManyClaims);
    assert_eq!(node.stored("s"), ["here"]);
}

#[test]
fn a_list_that_is_full_takes_what_makes_it_no_longer() {
    let rules = Rules {
        list_bytes_max: 100,
        ..Rules::default()
    };
    let mut node = Node::with_rules(1, &rules);
    let client = node.open(0);
    let publish = |node: &mut Node, id: &str, version, len| {
        node.publish_as(id, ZONE, client, "s", version, &"x".repeat(len));
        matches!(node.last_answer(), Answer::Registered { .. })
    };

    assert!(publish(&mut node, "a", 1, 60));
    assert!(!publish(&mut node, "b", 1, 60));
    assert!(publish(&mut node, "b", 1, 20));
    assert!(!publish(&mut node, "b", 2, 60));
    assert!(publish(&mut node, "a", 2, 10));
    assert!(publish(&mut node, "b", 3, 60));

    assert_eq!(node.stored("s").len(), 2);
    assert_eq!(node.stats().refused_list_bytes, 2);
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
    let (client, other) = (node.open(0), node.open(0));
    node.publish(client, "s", 3, "here");

    node.unpublish(other, "s", 2);

    assert_eq!(node.last_answer(), &taken("pub", 2));
    assert_eq!(node.stored("s"), ["here"]);
}

#[test]
fn a_late_registration_revives_nothing_that_was_unregistered() {
    let mut node = Node::new(2);
    let (old, new) = (node.open(0), node.open(1));
    node.unpublish(new, "s", 2);

    node.publish(old, "s", 1, "late");

    assert!(matches!(
        refusal(node.last_answer()),
        Refusal::Superseded { by } if by.version == 2
    ));
    assert!(node.stored("s").is_empty());
    assert_eq!(node.stats().refused_superseded, 1);
}

#[test]
fn a_refusal_names_the_service_and_the_application() {
    let rules = Rules {
        published_bytes_max: 100,
        ..Rules::default()
    };
    let mut node = Node::with_rules(1, &rules);
    let client = node.open(0);

    node.publish(client, "s", 7, &"a".repeat(200));

    let Answer::Refused(refused) = node.last_answer() else {
        panic!("{:?} is no refusal", node.last_answer());
    };
    assert_eq!(refused.kind, Kind::Publisher);
    assert_eq!((refused.version, refused.app.as_str()), (7, "app"));
    assert_eq!(refused.service, DataInfoId::new("s", "", "").to_string());
}

#[test]
fn a_refusal_names_the_limit() {
    let refusals = [
        Refusal::TooManyRegistrations,
        Refusal::TooManyServices,
        Refusal::TooManyBytes { limit: 1 << 30 },
        Refusal::TooManyZones,
    ];

    let texts = refusals.map(|refusal| refusal.to_string());

    let numbers = ["100000", "4000000", "1073741824", "256"];
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

    assert_eq!(refusal(node.last_answer()), &Refusal::TooManyZones);
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
    assert_eq!(refusal(node.last_answer()), &Refusal::TooManyRegistrations);
    node.publish_as("pub-7", ZONE, client, "s", 2, "there");

    assert_eq!(node.last_answer(), &taken("pub-7", 2));
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

    assert_eq!(
        refusal(node.last_answer()),
        &Refusal::TooManyBytes { limit: 100 }
    );
    assert!(node.stored("other").is_empty());
}
