//! A disk that does not do what a journal wants, and a journal that does not take for such a disk what is none.

use std::time::Duration;

use super::journal::{BOOT, Node};
use super::*;
use crate::data::Report;
use crate::data::journal::{Durability, File};

/// As long as a frame lets it be.
fn large(register_id: &str) -> Publisher {
    publisher(
        register_id,
        1,
        1,
        &"x".repeat(limits::FRAME_BYTES_MAX - 1_000),
    )
}

#[test]
fn many_large_publishers_in_one_turn_are_no_trouble_of_the_disk() {
    let mut node = Node::new();
    for number in 0..5 {
        node.put("s", large(&format!("p{number}")));
    }
    node.turn();
    // While that is written, others come.
    for number in 5..10 {
        node.put("s", large(&format!("p{number}")));
    }
    node.turn();
    node.settle();

    assert!(
        !matches!(node.reports[..], [Report::JournalDegraded(_), ..]),
        "{:?}",
        node.data.journal().trouble()
    );
    assert_eq!(node.kill().held("s"), 10);
}

#[test]
fn what_waits_behind_a_write_that_does_not_end_is_dropped() {
    let mut node = Node::new();
    node.put("s", publisher("first", 1, 1, "one"));
    node.pass(Duration::ZERO);
    node.now.monotonic = node.now.monotonic + limits::JOURNAL_GATHER_MAX;
    node.turn();
    for number in 0..5 {
        node.put("s", large(&format!("p{number}")));
    }
    node.now.monotonic = node.now.monotonic + limits::JOURNAL_STALL_MAX;
    node.turn();

    let failure = node.data.journal().failure().map(str::to_owned);
    assert!(
        failure
            .as_deref()
            .is_some_and(|text| text.contains("wait for the disk")),
        "{failure:?}"
    );
    assert_eq!(node.data.journal().pending_bytes(), 0);
    node.pass(limits::JOURNAL_RETRY_MIN);
    assert_eq!(node.data.journal().failure(), None);
    assert_eq!(node.kill().held("s"), 6);
}

#[test]
fn what_is_live_is_counted_where_only_the_application_changes() {
    let of = |app: &str, version| Publisher {
        app: app.into(),
        ..publisher("a", version, 1, "text")
    };
    let mut node = Node::new();
    node.put("s", of("a", 1));
    node.settle();

    node.put("s", of("an application with a long name", 2));
    node.settle();
    node.remove("s", "a", closed(2, 1));
    node.settle();

    assert_eq!(node.data.journal().live_bytes(), 0);
}

/// A node whose disk fails for so long that it has shown what is in no log.
fn on_a_full_disk(is_strict: bool) -> Node {
    let mut node = Node::new();
    node.interest("s");
    node.put("s", publisher("a", 1, 1, "before"));
    node.settle();
    node.disk.is_full = true;
    node.disk.is_strict = is_strict;
    node.put("s", publisher("a", 2, 1, "after"));
    node.settle();
    node.told();
    node
}

/// The same process again, on the same disk, which has room by now.
fn started_again(node: &Node) -> Node {
    let mut disk = node.disk.clone();
    disk.is_full = false;
    let durability = Durability::Interval(Duration::from_secs(1));
    Node::start(disk, node.now, BOOT, durability)
}

#[test]
fn a_kill_while_the_disk_fails_is_followed_by_the_caution_of_a_loss_of_power() {
    for is_strict in [false, true] {
        let node = on_a_full_disk(is_strict);
        let shown = node.version("s");

        let mut again = started_again(&node);

        // What is there is outdated: nobody is shown it as news.
        again.interest("s");
        again.settle();
        assert_eq!(again.told(), [], "strict: {is_strict}");
        again.put("s", publisher("a", 2, 2, "after"));
        again.settle();
        let told = again.told();
        let Some(&(version, 1)) = told.first() else {
            panic!("its publisher is back: {told:?}")
        };
        assert!(version > shown, "{version:?} after {shown:?}");
    }
}

#[test]
fn the_mark_of_a_gap_goes_once_there_is_none() {
    let mut node = on_a_full_disk(false);
    assert!(node.disk.kernel.contains_key(&File::Gap));

    node.disk.is_full = false;
    node.pass(limits::JOURNAL_RETRY_MAX);

    assert!(!node.disk.kernel.contains_key(&File::Gap));
    let again = started_again(&node);
    assert!(again.data.journal().is_complete());
    assert_eq!(again.held("s"), 1);
}

#[test]
fn the_mark_of_a_gap_stays_until_the_next_life_has_made_up_for_it() {
    let again = started_again(&on_a_full_disk(false));
    assert!(!again.data.journal().is_complete());
    // Killed before everybody is back.
    let mut third = started_again(&again);
    assert!(!third.data.journal().is_complete());

    third.put("s", publisher("a", 2, 2, "after"));
    third.pass(limits::HELD_AFTER_POWER_LOSS);
    third.pass(Duration::from_secs(2));

    assert!(!third.disk.kernel.contains_key(&File::Gap));
    assert!(started_again(&third).data.journal().is_complete());
}

#[test]
fn a_disk_that_the_log_itself_fills_has_room_for_what_is_left_of_it() {
    let text = "x".repeat(2_000);
    let mut node = Node::new();
    // The log may have 640 KiB beyond twice what is live.
    node.disk.capacity = 500 << 10;

    for round in 0..10 {
        for number in 0..50 {
            let text = format!("{round} {text}");
            node.put("s", publisher(&format!("p{number}"), round, 1, &text));
            node.turn();
            node.work();
        }
        node.pass(limits::JOURNAL_RETRY_MIN);
        node.pass(limits::JOURNAL_RETRY_MIN);
        assert_eq!(node.data.journal().trouble(), None, "round {round}");
    }

    let degraded = |report: &&Report| matches!(report, Report::JournalDegraded(_));
    assert!(node.reports.iter().filter(degraded).count() > 0);
    let again = started_again(&node);
    assert!(again.data.journal().is_complete());
    assert_eq!(again.held("s"), 50);
}
