//! An orderly end: everything is on the medium, whatever the disk did before.

use std::time::Duration;

use super::journal::{Node, replay};
use super::publisher;
use crate::data::Event;
use crate::limits;

#[test]
fn an_orderly_end_is_sealed_on_the_medium() {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));

    node.handle(Event::Seal);
    node.settle();

    assert!(node.data.journal().is_sealed());
    assert_eq!(node.disk.kernel, node.disk.medium);
    let sealed = replay(&node.disk).1;
    assert_eq!(sealed.services.len(), 1);
}

/// A shard with a publisher that its disk, which has room again, does not know of.
fn just_healed() -> Node {
    let mut node = Node::new();
    node.put("s", publisher("a", 1, 1, "one"));
    node.pass(Duration::from_secs(2));
    node.disk.is_full = true;
    node.put("s", publisher("b", 1, 1, "two"));
    node.pass(limits::JOURNAL_GATHER_MAX);
    assert!(node.data.journal().trouble().is_some());
    node.disk.is_full = false;
    node
}

#[test]
fn an_orderly_end_does_not_wait_until_a_failed_disk_is_tried_again() {
    let mut node = just_healed();

    node.handle(Event::Seal);
    assert!(!node.data.journal().is_sealed(), "it is tried at once");
    node.settle();

    assert!(node.data.journal().is_sealed());
    assert_eq!(node.cut_power().held("s"), 2);
}

#[test]
fn an_orderly_end_comes_after_the_snapshot_that_makes_up_for_a_failure() {
    for steps in 0.. {
        let mut node = just_healed();
        node.now.monotonic = node.now.monotonic + limits::JOURNAL_RETRY_MAX;
        let is_over = (0..steps).any(|_| !node.step());

        node.handle(Event::Seal);
        node.settle();

        assert!(node.data.journal().is_sealed());
        assert_eq!(node.cut_power().held("s"), 2, "after {steps} steps");
        if is_over {
            break;
        }
    }
}

#[test]
fn an_orderly_end_on_a_disk_that_still_fails_comes_at_once() {
    let mut node = just_healed();
    node.disk.is_full = true;

    node.handle(Event::Seal);
    node.settle();

    assert!(node.data.journal().is_sealed());
    node.disk.is_full = false;
    assert_eq!(node.cut_power().held("s"), 1);
}
