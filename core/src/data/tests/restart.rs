//! What a shard shows after its process was killed or its machine lost its power.

use std::time::Duration;

use super::journal::{BOOT, Disk, Node, now};
use super::{closed, publisher};
use crate::clients::Clients;
use crate::data::Report;
use crate::data::journal::Durability;
use crate::limits;

#[test]
fn a_killed_node_serves_the_same_lists_under_the_same_versions() {
    let mut node = Node::new();
    for register_id in ["a", "b", "c"] {
        node.put("s", publisher(register_id, 1, 1, "here"));
    }
    node.remove("s", "b", closed(1, 1));
    node.put("t", publisher("x", 1, 1, "there"));
    node.remove("t", "x", closed(1, 1));
    node.settle();
    let versions = [node.version("s"), node.version("t")];

    let mut node = node.kill();
    node.interest("s");
    node.interest("t");
    node.settle();

    assert_eq!(node.told(), [(versions[0], 2), (versions[1], 0)]);
    assert_eq!(node.data.awaiting(), 2);
}

#[test]
fn whoever_comes_back_unchanged_causes_nothing_and_changed_one_push() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    node.put("s", publisher("b", 1, 1, "two"));
    node.settle();
    let mut node = node.kill();
    node.interest("s");
    node.settle();
    node.told();

    node.put("s", publisher("a", 2, 1, "one"));
    node.settle();
    assert!(node.told().is_empty());
    node.put("s", publisher("b", 2, 2, "changed"));
    node.settle();

    assert_eq!(node.told().len(), 1);
    assert_eq!(node.data.awaiting(), 0);
}

#[test]
fn who_does_not_come_back_is_gone_after_the_grace_in_one_notice() {
    let mut node = Node::new();
    for number in 0..10 {
        node.put("s", publisher(&format!("p{number}"), 1, 1, "here"));
    }
    node.settle();
    let mut node = node.kill();
    node.interest("s");
    node.put("s", publisher("p3", 2, 1, "here"));
    node.settle();
    node.told();

    node.pass(limits::RETURN_GRACE - Duration::from_millis(1));
    assert!(node.told().is_empty());
    node.pass(Duration::from_millis(1));

    assert_eq!(
        node.told().iter().map(|told| told.1).collect::<Vec<_>>(),
        [9]
    );
    assert_eq!(node.held("s"), 1);
    let over = Report::ReturnOver {
        removed: 9,
        awaited: 10,
    };
    assert_eq!(node.reports, [over]);
}

#[test]
fn the_grace_is_extended_while_most_of_many_are_missing_and_ends_at_last() {
    let mut node = Node::new();
    for number in 0..20 {
        node.put("s", publisher(&format!("p{number}"), 1, 1, "here"));
    }
    node.settle();
    let mut node = node.kill();

    node.pass(limits::RETURN_GRACE);
    assert_eq!(node.held("s"), 20);
    let extended = Report::ReturnExtended {
        missing: 20,
        awaited: 20,
    };
    assert_eq!(node.reports, [extended]);
    (0..18).for_each(|_| node.pass(limits::RETURN_GRACE));
    assert_eq!(node.held("s"), 20);
    node.pass(limits::RETURN_GRACE);

    assert_eq!(node.held("s"), 0);
}

#[test]
fn versions_grow_over_a_kill_and_a_power_cut_though_the_clock_goes_back_an_hour() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    node.settle();
    for power in [false, true] {
        let last = node.version("s");
        node.now.wall_ms -= 3_600_000;
        node = match power {
            false => node.kill(),
            true => node.cut_power(),
        };
        node.put("s", publisher("b", 1, 1, if power { "two" } else { "one" }));
        node.settle();
        assert!(node.version("s") > last);
        // Nothing of this is on the medium.
        node.put("s", publisher("c", 1, 1, if power { "two" } else { "one" }));
        node.turn();
        node.work();
    }
}

#[test]
fn after_a_long_rest_versions_stay_below_what_is_reserved() {
    let mut node = Node::new();
    node.pass(Duration::from_secs(3_600));

    node.put("s", publisher("a", 1, 1, "one"));
    node.turn();
    let given = node.version("s");
    let node = node.cut_power();

    assert!(node.data.versions.highest() > given);
}

#[test]
fn after_a_power_cut_a_list_is_held_until_it_is_whole() {
    let mut node = Node::new();
    for register_id in ["a", "b"] {
        node.put("s", publisher(register_id, 1, 1, register_id));
    }
    node.settle();
    node.pass(Duration::from_secs(2));
    // Shown, and lost with the power.
    node.put("s", publisher("c", 1, 1, "c"));
    node.turn();
    node.work();
    let shown = node.version("s");

    let mut node = node.cut_power();
    node.interest("s");
    node.put("s", publisher("c", 2, 1, "c"));
    node.put("s", publisher("a", 2, 1, "a"));
    node.settle();
    assert!(node.told().is_empty());
    node.put("s", publisher("b", 2, 1, "b"));
    node.settle();

    let told = node.told();
    assert_eq!(told[0].1, 3);
    assert!(told[0].0 > shown);
}

#[test]
fn after_a_power_cut_a_list_is_held_for_ten_seconds_at_most() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "here"));
    node.pass(Duration::from_secs(2));
    let mut node = node.cut_power();
    node.interest("s");
    node.settle();
    assert!(node.told().is_empty());

    node.pass(limits::HELD_AFTER_POWER_LOSS);

    assert_eq!(node.told().first().map(|told| told.1), Some(1));
}

#[test]
fn where_pushes_wait_for_the_medium_nothing_shown_is_lost_with_the_power() {
    let mut node = Node::start(Disk::default(), now(), BOOT, Durability::Always);
    node.interest("s");
    node.put("s", publisher("a", 1, 1, "one"));
    while node.told().iter().all(|told| told.1 == 0) {
        node.turn();
        node.work();
    }

    assert_eq!(node.cut_power().held("s"), 1);
}

#[test]
fn who_comes_back_under_another_id_takes_the_place_of_its_former_life() {
    let mut node = Node::new();
    for register_id in ["a", "b"] {
        node.put("s", publisher(register_id, 1, 1, register_id));
    }
    node.settle();
    let mut node = node.kill();
    node.interest("s");
    node.settle();
    node.told();

    let mut anew = publisher("c", 1, 1, "a");
    anew.address.set_port(5000);
    node.put("s", anew);
    node.settle();

    assert_eq!(
        node.told().iter().map(|told| told.1).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!((node.held("s"), node.data.awaiting()), (2, 1));
}

#[test]
fn who_is_new_or_elsewhere_is_nobodys_next_life() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "same"));
    node.put("s", publisher("b", 1, 1, "same"));
    node.settle();
    let mut node = node.kill();

    let mut elsewhere = publisher("c", 1, 1, "same");
    elsewhere.address.set_ip([10, 0, 0, 2].into());
    node.put("s", elsewhere);
    node.put("s", publisher("d", 1, 1, "other"));
    assert_eq!((node.held("s"), node.data.awaiting()), (4, 2));
    node.put("s", publisher("e", 1, 1, "same"));
    node.put("s", publisher("b", 1, 1, "same"));

    assert_eq!((node.held("s"), node.data.awaiting()), (4, 0));
}

#[test]
fn who_is_taken_off_is_not_awaited_any_more() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    let mut elsewhere = publisher("b", 1, 1, "two");
    elsewhere.address.set_ip([10, 0, 0, 2].into());
    node.put("s", elsewhere);
    node.settle();
    let mut node = node.kill();

    node.expel(Clients::at([[10, 0, 0, 2].into()]));

    assert_eq!((node.held("s"), node.data.awaiting()), (1, 1));
}
