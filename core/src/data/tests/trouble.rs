//! A disk that does not do what a journal wants, and a journal that does not take for such a disk what is none.

use std::time::Duration;

use super::journal::Node;
use super::*;
use crate::data::Report;

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
