//! Several sessions say something of one registration id: all of it is kept, and one is shown.

use std::sync::Arc;

use super::{Shard, closed, id, publisher, unregistered};
use crate::exchange::{Removal, ToSession};
use crate::names::{NodeId, RegisterId};
use crate::publisher::{Order, Publisher};

/// What a session of this node says, on a connection with this stamp, at this time of its client.
fn claim(node: u64, version: i64, timestamp: i64, stamp: u64, text: &str) -> Publisher {
    let mut publisher = publisher("a", version, 1, text);
    publisher.holder.node = NodeId(node);
    publisher.order = Order {
        version,
        timestamp,
        stamp,
    };
    publisher
}

fn ended(publisher: &Publisher) -> Removal {
    Removal {
        holder: publisher.holder,
        order: publisher.order,
        ..closed(1, 1)
    }
}

fn taken_back(publisher: &Publisher) -> Removal {
    let mut removal = ended(publisher);
    removal.order.version += 1;
    removal.may_return = false;
    removal
}

/// The node whose claim is shown.
fn shown(shard: &Shard) -> Option<u64> {
    let datum = shard.data.datum(&id("s"))?;
    let publisher = datum.find(&RegisterId::new("a"))?;
    Some(publisher.holder.node.0)
}

/// The removals that were named as reasons, in this turn.
fn refused(shard: &mut Shard) -> Vec<Order> {
    let said = shard.turn();
    let done = said.into_iter().filter_map(|(_, message)| match message {
        ToSession::Done { refused, .. } => refused,
        _ => None,
    });
    done.collect()
}

#[test]
fn the_highest_order_is_shown_whatever_comes_first() {
    let claims = [(1, 1, 5, 9), (2, 2, 1, 1), (3, 1, 7, 7)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut shard = Shard::new();
        for (node, version, timestamp, stamp) in order.map(|index| claims[index]) {
            shard.put(claim(node, version, timestamp, stamp, "x"));
        }
        assert_eq!(shown(&shard), Some(2));
    }
}

#[test]
fn a_client_that_moves_is_safe_whatever_the_clocks_say() {
    for (timestamp, stamp) in [(1, 1), (1, 9), (9, 1), (9, 9), (5, 5)] {
        let mut shard = Shard::new();
        let old = claim(1, 1, 5, 5, "x");
        shard.put(claim(1, 1, 5, 5, "x"));
        shard.turn();
        let version = shard.version();

        shard.put(claim(2, 1, timestamp, stamp, "x"));
        shard.remove("a", ended(&old));

        assert_eq!(shown(&shard), Some(2));
        assert_eq!(shard.version(), version, "nobody sees a difference");
        assert!(refused(&mut shard).is_empty());
    }
}

#[test]
fn the_next_claim_takes_the_place_in_the_same_change() {
    let mut shard = Shard::new();
    let new = claim(2, 2, 9, 9, "two");
    shard.put(claim(1, 2, 5, 5, "two, too"));
    shard.put(claim(2, 2, 9, 9, "two"));
    shard.interest(super::SESSION, crate::version::DatumVersion::NOTHING_KNOWN);
    shard.turn();

    shard.remove("a", ended(&new));

    let said = shard.turn();
    let changes = said.iter().filter_map(|(_, message)| match message {
        ToSession::Notice { changes, .. } => Some(changes.len()),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), [1]);
    assert_eq!(shown(&shard), Some(1));
}

#[test]
fn a_close_takes_out_only_what_its_session_claims() {
    let mut shard = Shard::new();
    let old = claim(1, 1, 9, 9, "x");
    shard.put(claim(1, 1, 9, 9, "x"));
    shard.put(claim(2, 1, 1, 1, "x"));

    shard.remove("a", ended(&old));
    shard.remove("a", ended(&old));

    assert_eq!(shown(&shard), Some(2));
}

#[test]
fn what_was_taken_back_is_not_shown_for_a_half_open_connection_of_lower_version() {
    let mut shard = Shard::new();
    shard.put(claim(1, 1, 5, 5, "x"));
    shard.put(claim(2, 1, 6, 6, "x"));

    shard.remove("a", taken_back(&claim(2, 1, 6, 6, "x")));

    assert_eq!(shown(&shard), None);
    shard.put(claim(1, 1, 9, 9, "x"));
    assert_eq!(shown(&shard), None);
    let by = claim(2, 2, 6, 6, "").order;
    assert_eq!(refused(&mut shard), [by]);
    shard.put(claim(1, 3, 9, 9, "x"));
    assert_eq!(shown(&shard), Some(1));
}

#[test]
fn what_comes_late_and_is_older_by_both_clocks_is_refused() {
    let mut shard = Shard::new();
    let new = claim(1, 1, 9, 9, "x");
    shard.put(claim(1, 1, 9, 9, "x"));
    shard.remove("a", ended(&new));

    for (timestamp, stamp, is_shown) in [(5, 5, false), (5, 9, true), (9, 5, true), (5, 10, true)] {
        let late = claim(2, 1, timestamp, stamp, "x");
        shard.put(claim(2, 1, timestamp, stamp, "x"));
        assert_eq!(shown(&shard).is_some(), is_shown, "{timestamp} {stamp}");
        shard.remove("a", ended(&late));
    }
    assert_eq!(refused(&mut shard), [new.order]);
}

#[test]
fn what_takes_the_place_of_a_claim_of_its_session_did_not_come_late() {
    let mut shard = Shard::new();
    let other = claim(2, 1, 9, 9, "x");
    shard.put(claim(1, 1, 9, 8, "x"));
    shard.put(claim(2, 1, 9, 9, "x"));
    shard.remove("a", ended(&other));

    shard.put(claim(1, 1, 3, 3, "x"));

    assert_eq!(shown(&shard), Some(1));
    assert!(refused(&mut shard).is_empty());
}

#[test]
fn three_words_of_one_version_and_time_are_three_words() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 1, "one"));
    shard.remove("a", unregistered(1, 1));

    shard.put(publisher("a", 1, 1, "two"));

    assert_eq!(shard.held(), ["a"]);
    assert!(refused(&mut shard).is_empty());
}

#[test]
fn a_successor_is_there_in_the_same_change() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 9, "x"));
    shard.turn();
    let version = shard.version();
    let removal = Removal {
        successor: Some(Arc::new(publisher("a", 1, 2, "x"))),
        ..closed(1, 9)
    };

    shard.remove("a", removal);

    assert_eq!(shard.held(), ["a"]);
    assert_eq!(shard.version(), version);
}

#[test]
fn claims_that_were_never_shown_leave_nothing_behind() {
    let mut shard = Shard::new();
    shard.remove("a", unregistered(5, 1));
    let late = claim(2, 1, 1, 1, "x");
    shard.put(claim(2, 1, 1, 1, "x"));
    assert!(shard.data.datum(&id("s")).is_some());

    shard.remove("a", ended(&late));

    assert!(shard.data.datum(&id("s")).is_none());
}
