//! An owner shard, told what sessions say and asked what it answers; time is a number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::journal::Journal;
use super::{Data, Effect, Event};
use crate::exchange::{Change, Removal, ToData, ToSession, Token};
use crate::limits;
use crate::machine::{Instant, Machine, Now};
use crate::message::Boxes;
use crate::names::{ConnectId, CoreId, DataInfoId, Member, NodeId, RegisterId};
use crate::publisher::{Holder, Order, Publisher};
use crate::tables::Seed;
use crate::version::DatumVersion;

const SESSION: Member = Member {
    node: NodeId(1),
    core: CoreId(0),
};
const OTHER: Member = Member {
    node: NodeId(2),
    core: CoreId(0),
};

mod claims;
mod journal;
mod protection;
mod restart;
mod seal;
mod trouble;

struct Shard {
    data: Data,
    now: Now,
    out: Vec<(Member, ToSession)>,
}

impl Shard {
    fn new() -> Self {
        Self::above(DatumVersion::NOTHING_KNOWN)
    }

    fn above(floor: DatumVersion) -> Self {
        Self {
            data: Data::new(Seed(1), floor, Journal::off()),
            now: Now {
                monotonic: Instant(1),
                wall_ms: 1_800_000_000_000,
            },
            out: Vec::new(),
        }
    }

    fn tell(&mut self, session: Member, message: ToData) {
        let mut out = Vec::new();
        let event = Event::FromSession { session, message };
        self.data.handle(self.now, event, &mut out);
        self.take(out);
    }

    /// Ends the turn and gives what was said in it.
    fn turn(&mut self) -> Vec<(Member, ToSession)> {
        let mut out = Vec::new();
        self.data.handle_timeout(self.now, &mut out);
        self.take(out);
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::ToSession { session, message } = effect else {
                panic!("without a journal there is nothing else to do: {effect:?}");
            };
            self.out.push((session, message));
        }
    }

    fn put(&mut self, publisher: Publisher) {
        self.put_to("s", publisher);
    }

    fn put_to(&mut self, service: &str, publisher: Publisher) {
        let put = ToData::Put {
            data_info_id: id(service),
            publisher: Arc::new(publisher),
            token: Token(1),
        };
        self.tell(SESSION, put);
    }

    fn remove(&mut self, register_id: &str, removal: Removal) {
        let remove = ToData::Remove {
            data_info_id: id("s"),
            register_id: RegisterId::new(register_id),
            removal: Box::new(removal),
            token: Token(2),
        };
        self.tell(SESSION, remove);
    }

    fn interest(&mut self, session: Member, have: DatumVersion) {
        let data_info_id = id("s");
        self.tell(session, ToData::Interest { data_info_id, have });
    }

    fn no_interest(&mut self, session: Member) {
        let data_info_id = id("s");
        self.tell(session, ToData::NoInterest { data_info_id });
    }

    fn version(&self) -> DatumVersion {
        self.data
            .datum(&id("s"))
            .map_or(DatumVersion::NOTHING_KNOWN, super::Datum::version)
    }

    fn held(&self) -> Vec<String> {
        let datum = self.data.datum(&id("s"));
        let publishers = datum
            .into_iter()
            .flat_map(|datum| datum.publishers().iter());
        publishers
            .map(|publisher| publisher.register_id.to_string())
            .collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic + time;
    }
}

fn id(name: &str) -> DataInfoId {
    DataInfoId::new(name, "", "")
}

fn connect_id(slot: u32) -> ConnectId {
    ConnectId {
        core: CoreId(0),
        slot,
        generation: 0,
    }
}

fn holder(slot: u32) -> Holder {
    Holder {
        node: NodeId(1),
        incarnation: 7,
        connect_id: connect_id(slot),
    }
}

fn order(version: i64, slot: u32) -> Order {
    Order {
        version,
        stamp: u64::from(slot),
        timestamp: 0,
    }
}

/// By the connection in this slot, whose stamp is the same number.
fn publisher(register_id: &str, version: i64, slot: u32, text: &str) -> Publisher {
    let units: Vec<u16> = text.encode_utf16().collect();
    Publisher {
        register_id: RegisterId::new(register_id),
        holder: holder(slot),
        order: order(version, slot),
        zone: "z".into(),
        app: "app".into(),
        address: SocketAddr::from(([10, 0, 0, 1], 4000)),
        registered_ms: 0,
        boxes: Boxes::from_utf16([units.as_slice()]),
    }
}

fn closed(version: i64, slot: u32) -> Removal {
    Removal {
        holder: holder(slot),
        order: order(version, slot),
        may_return: true,
        successor: None,
    }
}

fn unregistered(version: i64, slot: u32) -> Removal {
    Removal {
        may_return: false,
        ..closed(version, slot)
    }
}

#[test]
fn every_change_is_confirmed_and_told_once_to_each_interested_session() {
    let mut shard = Shard::new();
    for session in [SESSION, OTHER, SESSION] {
        shard.interest(session, DatumVersion::NOTHING_KNOWN);
    }
    shard.turn();

    for index in 0..400 {
        shard.put(publisher(&format!("pub-{index:03}"), 1, 1, "here"));
    }
    let said = shard.turn();

    let done = said.iter().filter(|(_, message)| {
        matches!(
            message,
            ToSession::Done {
                token: Token(1),
                refused: None
            }
        )
    });
    assert_eq!(done.count(), 400);
    let notices: Vec<_> = said
        .iter()
        .filter_map(|(to, message)| match message {
            ToSession::Notice {
                from,
                to: version,
                changes,
                ..
            } => Some((*to, *from, *version, changes.len())),
            _ => None,
        })
        .collect();
    let nothing = DatumVersion::NOTHING_KNOWN;
    let expected = [SESSION, OTHER].map(|session| (session, nothing, shard.version(), 400));
    assert_eq!(notices, expected);
    assert!(shard.turn().is_empty());
}

#[test]
fn a_notice_carries_what_changed_and_where_it_starts() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    shard.put(publisher("a", 1, 1, "one"));
    shard.turn();
    let before = shard.version();

    shard.put(publisher("b", 1, 1, "two"));
    shard.remove("a", closed(1, 1));

    let said = shard.turn();
    let expected = ToSession::Notice {
        data_info_id: id("s"),
        from: before,
        to: shard.version(),
        changes: Arc::new([
            Change::Put(Arc::new(publisher("b", 1, 1, "two"))),
            Change::Removed(RegisterId::new("a")),
        ]),
    };
    assert_eq!(said.last(), Some(&(SESSION, expected)));
}

#[test]
fn an_equal_registration_moves_the_holder_in_silence() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    shard.put(publisher("a", 1, 1, "same"));
    shard.turn();
    let version = shard.version();

    shard.put(publisher("a", 1, 2, "same"));

    assert_eq!(shard.turn().len(), 1, "done and no notice");
    assert_eq!(shard.version(), version);
    shard.remove("a", closed(1, 2));
    assert!(shard.held().is_empty());
}

#[test]
fn a_tombstone_outlives_its_removal_but_not_for_ever() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 1, "here"));
    shard.remove("a", unregistered(2, 1));

    shard.put(publisher("a", 1, 9, "late"));
    assert!(shard.held().is_empty());
    shard.put(publisher("a", 3, 1, "anew"));
    assert_eq!(shard.held(), ["a"]);

    shard.remove("a", unregistered(4, 1));
    shard.pass(limits::TOMBSTONE_KEPT);
    shard.turn();
    shard.put(publisher("a", 1, 9, "forgotten"));
    assert_eq!(shard.held(), ["a"]);
}

#[test]
fn a_close_takes_what_an_older_connection_of_its_session_left() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 1, "one"));
    let mut elsewhere = publisher("b", 1, 1, "two");
    elsewhere.holder.node = NodeId(2);
    shard.put(elsewhere);

    shard.remove("a", closed(1, 2));
    shard.remove("b", closed(1, 2));

    assert_eq!(shard.held(), ["b"]);
}

#[test]
fn a_successor_takes_the_place_of_who_closed() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 2, "two"));
    let successor = Removal {
        successor: Some(Arc::new(publisher("a", 1, 1, "one"))),
        ..closed(1, 2)
    };

    shard.remove("a", successor);

    let datum = shard.data.datum(&id("s")).expect("a datum");
    let held = datum.find(&RegisterId::new("a")).expect("a publisher");
    assert_eq!(held.holder, holder(1));
    shard.put(publisher("a", 1, 1, "one"));
    assert_eq!(shard.held(), ["a"]);
}

#[test]
fn a_successor_that_shows_the_same_tells_nobody() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 2, "same"));
    shard.turn();
    let version = shard.version();
    let successor = Removal {
        successor: Some(Arc::new(publisher("a", 1, 1, "same"))),
        ..closed(1, 2)
    };

    shard.remove("a", successor);

    assert_eq!(shard.version(), version);
}

#[test]
fn an_interest_is_always_answered() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    let (_, nothing) = &shard.turn()[0];
    assert!(matches!(
        nothing,
        ToSession::Snapshot { version: DatumVersion::NOTHING_KNOWN, publishers, .. } if publishers.is_empty()
    ));
    shard.put(publisher("a", 1, 1, "here"));
    shard.turn();

    let version = shard.version();
    shard.interest(SESSION, version);
    shard.interest(OTHER, DatumVersion::NOTHING_KNOWN);

    let said = shard.turn();
    let data_info_id = id("s");
    let unchanged = ToSession::Unchanged {
        data_info_id: data_info_id.clone(),
        version,
    };
    let snapshot = ToSession::Snapshot {
        data_info_id,
        version,
        publishers: vec![Arc::new(publisher("a", 1, 1, "here"))],
    };
    assert_eq!(said, [(SESSION, unchanged), (OTHER, snapshot)]);
}

#[test]
fn versions_are_above_the_floor_and_above_what_sessions_hold() {
    let floor = DatumVersion::new(1 << 57);
    let mut shard = Shard::above(floor);
    shard.put(publisher("a", 1, 1, "here"));
    assert!(shard.version() > floor);

    let heard = DatumVersion::new(1 << 58);
    shard.interest(SESSION, heard);
    shard.put(publisher("a", 2, 1, "there"));

    assert!(shard.version() > heard);
}

#[test]
fn no_version_that_a_peer_claims_to_hold_ends_the_numbers() {
    let mut shard = Shard::new();

    shard.interest(SESSION, DatumVersion::new(u64::MAX));
    shard.put(publisher("a", 1, 1, "one"));
    let first = shard.version();
    shard.put(publisher("a", 2, 1, "two"));

    assert!(first < shard.version());
    assert!(shard.version().wire() < i64::MAX);
}

#[test]
fn a_datum_that_lost_its_last_publisher_keeps_its_version_for_a_day() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 1, "here"));
    shard.remove("a", closed(1, 1));
    let version = shard.version();
    shard.turn();

    shard.pass(limits::EMPTY_DATUM_KEPT - Duration::from_secs(1));
    shard.turn();
    assert_eq!(shard.version(), version);
    shard.pass(Duration::from_secs(1));
    shard.turn();

    assert_eq!(shard.version(), DatumVersion::NOTHING_KNOWN);
    shard.put(publisher("a", 1, 2, "anew"));
    assert!(shard.version() > version);
}

#[test]
fn the_day_begins_when_a_datum_was_emptied_last() {
    let mut shard = Shard::new();
    shard.put(publisher("a", 1, 1, "here"));
    shard.remove("a", closed(1, 1));
    shard.pass(limits::EMPTY_DATUM_KEPT / 2);
    shard.put(publisher("a", 1, 2, "here"));
    shard.remove("a", closed(1, 2));
    shard.turn();

    shard.pass(limits::EMPTY_DATUM_KEPT / 2);
    shard.turn();

    assert_ne!(shard.version(), DatumVersion::NOTHING_KNOWN);
    shard.pass(limits::EMPTY_DATUM_KEPT / 2);
    shard.turn();
    assert_eq!(shard.version(), DatumVersion::NOTHING_KNOWN);
}

#[test]
fn an_empty_datum_that_was_watched_is_forgotten_after_all() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    shard.put(publisher("a", 1, 1, "here"));
    shard.remove("a", closed(1, 1));
    shard.pass(limits::EMPTY_DATUM_KEPT * 2);
    shard.turn();
    assert_ne!(shard.version(), DatumVersion::NOTHING_KNOWN);

    shard.no_interest(SESSION);
    shard.pass(limits::EMPTY_DATUM_KEPT);
    shard.turn();

    assert!(shard.data.datum(&id("s")).is_none());
}

#[test]
fn what_was_asked_for_and_never_published_leaves_with_the_last_who_asked() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    shard.interest(OTHER, DatumVersion::NOTHING_KNOWN);

    shard.no_interest(SESSION);
    assert!(shard.data.datum(&id("s")).is_some());
    shard.no_interest(OTHER);

    assert!(shard.data.datum(&id("s")).is_none());
}

#[test]
fn who_needs_no_more_notices_gets_none() {
    let mut shard = Shard::new();
    shard.interest(SESSION, DatumVersion::NOTHING_KNOWN);
    shard.no_interest(SESSION);
    shard.turn();

    shard.put(publisher("a", 1, 1, "here"));

    assert_eq!(shard.turn().len(), 1, "done and no notice");
}

#[test]
fn services_are_told_in_the_order_in_which_they_changed_first() {
    let mut shard = Shard::new();
    for service in ["c", "a", "b"] {
        let data_info_id = id(service);
        let have = DatumVersion::NOTHING_KNOWN;
        shard.tell(OTHER, ToData::Interest { data_info_id, have });
    }
    shard.turn();

    for service in ["b", "c", "a", "b"] {
        shard.put_to(service, publisher("p", 1, 1, "here"));
    }

    let said = shard.turn();
    let told: Vec<_> = said
        .iter()
        .filter_map(|(_, message)| match message {
            ToSession::Notice { data_info_id, .. } => Some(data_info_id.data_id()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["b", "c", "a"]);
}
