//! Many connections end at once: most likely their clients are on their way back.

use std::time::Duration;

use super::{SESSION, Shard, closed, publisher, unregistered};
use crate::exchange::{Change, ToSession};
use crate::limits::PROTECT;
use crate::version::DatumVersion;

const MS: Duration = Duration::from_millis(1);

/// A watched list of so many, each on a connection of its own.
fn list_of(publishers: u32) -> Shard {
    let mut shard = Shard::new();
    shard.data = shard.data.protecting(PROTECT);
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    for slot in 0..publishers {
        shard.put(publisher(&name(slot), 1, slot, "here"));
    }
    shard.turn();
    shard
}

fn name(slot: u32) -> String {
    format!("p{slot:03}")
}

fn close(shard: &mut Shard, slots: std::ops::Range<u32>) {
    for slot in slots {
        shard.remove(&name(slot), closed(1, slot));
    }
}

/// How many changes each notice of this turn carried.
fn notices(shard: &mut Shard) -> Vec<usize> {
    let said = shard.turn();
    let notices = said.iter().filter_map(|(_, message)| match message {
        ToSession::Notice { changes, .. } => Some(changes.len()),
        _ => None,
    });
    notices.collect()
}

#[test]
fn of_a_list_that_would_lose_most_the_rest_is_held_and_goes_in_one_change() {
    let mut shard = list_of(100);

    close(&mut shard, 0..100);

    assert_eq!(notices(&mut shard), [50]);
    assert_eq!(shard.held().len(), 50);
    shard.pass(PROTECT - MS);
    assert!(notices(&mut shard).is_empty());
    shard.pass(MS);
    assert_eq!(notices(&mut shard), [50]);
    assert!(shard.held().is_empty());
}

#[test]
fn one_of_three_goes_at_once() {
    let mut shard = list_of(3);

    close(&mut shard, 0..1);

    assert_eq!(shard.held().len(), 2);
}

#[test]
fn deaths_that_lie_apart_are_no_cut() {
    let mut shard = list_of(10);

    for slot in 0..8 {
        close(&mut shard, slot..slot + 1);
        assert_eq!(shard.held().len(), 9 - slot as usize);
        shard.pass(PROTECT + MS);
        shard.turn();
    }
}

#[test]
fn whoever_is_back_was_never_away() {
    let mut shard = list_of(1);
    let version = shard.version();

    close(&mut shard, 0..1);
    shard.pass(PROTECT / 2);
    shard.put(publisher(&name(0), 1, 7, "here"));
    shard.pass(PROTECT);
    shard.turn();

    assert_eq!(shard.held(), [name(0)]);
    assert_eq!(shard.version(), version);
}

#[test]
fn whoever_is_held_and_back_and_leaves_again_is_held_anew() {
    let mut shard = list_of(1);
    close(&mut shard, 0..1);
    shard.pass(PROTECT / 2);
    shard.put(publisher(&name(0), 1, 7, "here"));
    shard.pass(PROTECT / 4);

    shard.remove(&name(0), closed(1, 7));
    shard.pass(PROTECT / 2);
    shard.turn();
    assert_eq!(shard.held(), [name(0)], "the first interval counts no more");

    shard.pass(PROTECT / 2);
    shard.turn();
    assert!(shard.held().is_empty());
}

#[test]
fn a_client_that_takes_itself_back_is_never_held() {
    let mut shard = list_of(2);

    shard.remove(&name(0), unregistered(2, 0));
    shard.remove(&name(1), unregistered(2, 1));

    assert!(shard.held().is_empty());
}

#[test]
fn to_be_taken_back_ends_a_hold() {
    let mut shard = list_of(1);
    close(&mut shard, 0..1);
    shard.turn();

    shard.remove(&name(0), unregistered(2, 7));

    let said = shard.turn();
    let Some((_, ToSession::Notice { changes, .. })) = said.last() else {
        panic!("no notice: {said:?}");
    };
    assert!(matches!(changes[..], [Change::Removed(_)]));
}

#[test]
fn without_protection_everybody_goes_at_once() {
    let mut shard = list_of(4);
    shard.data = shard.data.protecting(Duration::ZERO);

    close(&mut shard, 0..4);

    assert!(shard.held().is_empty());
}
