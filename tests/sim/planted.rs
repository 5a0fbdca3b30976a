//! Bugs that somebody could write one day, made in the world by tampering with what the machines say to each other.
//!
//! Each is switched on alone, and the invariants must find it: this is the test of the simulator itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::data::journal::{self, Operation};
use rollcall_core::exchange::{Change, ToData, ToSession};
use rollcall_core::machine::Instant;
use rollcall_core::names::{DataInfoId, Member, RegisterId};
use rollcall_core::publisher::{Order, Publisher};
use rollcall_core::session::Event;
use rollcall_core::session::lane::{Lane, ToHome};
use rollcall_core::version::DatumVersion;

use crate::disk::Done;
use crate::world::{ConnectionKey, World};

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The end of an old connection takes what its client holds on the next.
    LateCloseRemovesNewHolder,
    /// What is said of a connection counts for the next one in its slot.
    ReusedSlot,
    /// A snapshot that comes late replaces what is newer.
    SnapshotAnsweredLate,
    /// Any acknowledgement counts for the newest push.
    OldAcknowledgementCounts,
    /// The end of a connection overtakes its registrations.
    LaneReordersCloseAndRegister,
    /// The end of a connection removes although the node drains.
    DrainRemoves,
    /// A reconnect with an equal version is not noted.
    EqualVersionIgnored,
    /// A notice that does not fit is applied all the same.
    LostNoticeUnnoticed,
    /// An older registration revives what was removed.
    TombstoneMissing,
    /// A removal forbids all that comes later, whatever the clocks say, and nobody is told.
    TombstoneForbidsTooMuch,
    /// The end of a connection takes what another of its session claims.
    SuccessorForgotten,
    /// An old registration that comes twice is applied twice.
    DuplicateAppliedTwice,
    /// A change does not reach the view of a session.
    PushWithoutOnePublisher,
    /// A registration is confirmed that the owner never had.
    AnsweredWithoutOwner,
    /// A push goes to another connection.
    PushToAnother,
    /// A change that reached the owner is told to nobody.
    NoticeNeverSent,
    /// A write of the journal counts before the kernel has it.
    WriteAnsweredEarly,
    /// A start does not know which versions were given.
    CeilingForgotten,
    /// Publishers known from before a restart do not await their client.
    GraceForgotten,
}

/// What the bugs remember.
#[derive(Default)]
pub(crate) struct Mischief {
    puts: BTreeMap<(DataInfoId, RegisterId), Arc<Publisher>>,
    replays: Vec<(Instant, Member, Member, ToData)>,
    hidden: BTreeMap<(Member, DataInfoId), DatumVersion>,
    snapshots: BTreeMap<(Member, DataInfoId), Vec<Arc<Publisher>>>,
    /// What a disk was said to have written; it gets it with the next write.
    pub(crate) unwritten: BTreeMap<usize, Operation>,
}

impl World {
    pub(crate) fn is_planted(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    /// Sends again what the bugs kept.
    pub(crate) fn replay(&mut self) {
        let now = self.now.monotonic;
        let replays = std::mem::take(&mut self.mischief.replays);
        let (due, later): (Vec<_>, Vec<_>) = replays.into_iter().partition(|(at, ..)| *at <= now);
        self.mischief.replays = later;
        for (_, session, owner, message) in due {
            let core = self.core_of(owner);
            self.tell_data(core, session, message);
        }
    }

    /// The write counts at once, and is done when the next one comes; until then there is but the file.
    pub(crate) fn answer_early(&mut self, core: usize, number: usize, operation: Operation) {
        let now = self.now.monotonic;
        let mut file_only = operation.clone();
        let mut buffer = Vec::new();
        if let Operation::Write { bytes, .. } = &mut file_only {
            buffer = std::mem::take(bytes);
        }
        let earlier = self.mischief.unwritten.insert(core, operation);
        let disk = self.cores[core].disk_mut();
        for done in earlier.into_iter().chain([file_only]) {
            disk.ask(number, now, journal::Lane::Turn, done);
            disk.finish(number);
        }
        self.cores[core].early = Some(Done {
            lane: journal::Lane::Turn,
            result: Ok(()),
            buffer,
        });
    }

    pub(crate) fn tamper_with_event(&mut self, core: usize, mut event: Event) -> Option<Event> {
        if self.is_planted(Planted::DrainRemoves) && matches!(event, Event::Draining) {
            return None;
        }
        if self.is_planted(Planted::ReusedSlot)
            && let Event::Acknowledged { connect_id, .. }
            | Event::Sent { connect_id, .. }
            | Event::Closed { connect_id, .. } = &mut event
        {
            connect_id.generation = self.cores[core].generation(connect_id.slot);
        }
        Some(event)
    }

    pub(crate) fn tamper_with_lane(&mut self, core: usize, message: Lane) -> Lane {
        match message {
            Lane::ToHome(ToHome::Closed {
                mut connect_id,
                ended_by,
            }) if self.is_planted(Planted::LateCloseRemovesNewHolder) => {
                let node = self.node_of(core);
                let key = ConnectionKey { node, connect_id };
                let client = self.connections.get(&key).map(|one| one.client);
                let newest = client.and_then(|client| self.clients[client].connection);
                if let Some(newest) = newest.filter(|newest| newest.node == node) {
                    connect_id = newest.connect_id;
                }
                Lane::ToHome(ToHome::Closed {
                    connect_id,
                    ended_by,
                })
            }
            message => message,
        }
    }

    pub(crate) fn tamper_with_batch(&mut self, mut batch: Vec<Lane>) -> Vec<Lane> {
        if self.is_planted(Planted::LaneReordersCloseAndRegister) {
            let is_close = |lane: &Lane| matches!(lane, Lane::ToHome(ToHome::Closed { .. }));
            batch.sort_by_key(|lane| !is_close(lane));
        }
        batch
    }

    pub(crate) fn tamper_with_change(
        &mut self,
        core: usize,
        owner: Member,
        message: ToData,
    ) -> Option<ToData> {
        let session = self.cores[core].member;
        let message = self.tamper_with_removal(message);
        match &message {
            ToData::Put {
                data_info_id,
                publisher,
                token,
            } => {
                let is_dropped = match self.planted {
                    Some(Planted::AnsweredWithoutOwner) => self.random.chance(50),
                    Some(Planted::EqualVersionIgnored) => {
                        self.is_equal_held(owner, data_info_id, publisher)
                    }
                    _ => false,
                };
                if is_dropped {
                    let done = ToSession::Done {
                        token: *token,
                        refused: None,
                    };
                    self.tell_session(core, Event::FromData(done));
                    return None;
                }
                let key = (data_info_id.clone(), publisher.register_id.clone());
                let former = self.mischief.puts.insert(key, Arc::clone(publisher));
                if self.is_planted(Planted::DuplicateAppliedTwice)
                    && let Some(former) = former
                    && former.order.version < publisher.order.version
                {
                    self.replay_later(
                        session,
                        owner,
                        data_info_id,
                        &former,
                        publisher.order.version,
                    );
                }
            }
            ToData::Remove {
                data_info_id,
                register_id,
                ..
            } if self.is_planted(Planted::TombstoneMissing) => {
                let key = (data_info_id.clone(), register_id.clone());
                if let Some(former) = self.mischief.puts.get(&key).cloned() {
                    let version = former.order.version + 5;
                    self.replay_later(session, owner, data_info_id, &former, version);
                }
            }
            _ => {}
        }
        Some(message)
    }

    fn tamper_with_removal(&self, mut message: ToData) -> ToData {
        if let ToData::Remove { removal, .. } = &mut message {
            match self.planted {
                Some(Planted::TombstoneForbidsTooMuch) => {
                    removal.order.timestamp = i64::MAX;
                    removal.order.stamp = 1 << 62;
                }
                Some(Planted::SuccessorForgotten) => removal.successor = None,
                _ => {}
            }
        }
        message
    }

    fn is_equal_held(&self, owner: Member, id: &DataInfoId, publisher: &Publisher) -> bool {
        let datum = self.cores[self.core_of(owner)].data.datum(id);
        let held = datum.and_then(|datum| datum.find(&publisher.register_id));
        held.is_some_and(|held| {
            held.holder != publisher.holder && held.order.version == publisher.order.version
        })
    }

    fn replay_later(
        &mut self,
        session: Member,
        owner: Member,
        data_info_id: &DataInfoId,
        former: &Publisher,
        version: i64,
    ) {
        let at = self.now.monotonic + Duration::from_millis(200);
        let order = Order {
            version,
            stamp: u64::MAX,
            ..former.order
        };
        let put = ToData::Put {
            data_info_id: data_info_id.clone(),
            publisher: with_order(former, order),
            token: rollcall_core::exchange::Token(u64::MAX),
        };
        self.mischief.replays.push((at, session, owner, put));
    }

    pub(crate) fn tamper_with_answer(
        &mut self,
        session: Member,
        message: ToSession,
    ) -> Option<ToSession> {
        match message {
            ToSession::Notice {
                data_info_id,
                from,
                to,
                changes,
            } => self.tamper_with_notice(session, data_info_id, from, to, changes),
            ToSession::Snapshot {
                data_info_id,
                version,
                publishers,
            } => {
                let key = (session, data_info_id.clone());
                self.mischief.snapshots.insert(key, publishers.clone());
                Some(ToSession::Snapshot {
                    data_info_id,
                    version,
                    publishers,
                })
            }
            ToSession::Done { token, .. } if self.is_planted(Planted::TombstoneForbidsTooMuch) => {
                let refused = None;
                Some(ToSession::Done { token, refused })
            }
            message => Some(message),
        }
    }

    fn tamper_with_notice(
        &mut self,
        session: Member,
        data_info_id: DataInfoId,
        mut from: DatumVersion,
        to: DatumVersion,
        mut changes: Arc<[Change]>,
    ) -> Option<ToSession> {
        let key = (session, data_info_id.clone());
        match self.planted {
            Some(Planted::SnapshotAnsweredLate) if self.random.chance(100) => {
                if let Some(publishers) = self.mischief.snapshots.get(&key).cloned() {
                    return Some(ToSession::Snapshot {
                        data_info_id,
                        version: to,
                        publishers,
                    });
                }
            }
            Some(Planted::LostNoticeUnnoticed) => {
                if self.random.chance(200) {
                    self.mischief.hidden.entry(key).or_insert(from);
                    return None;
                }
                from = self.mischief.hidden.remove(&key).unwrap_or(from);
            }
            Some(Planted::PushWithoutOnePublisher) if self.random.chance(200) => {
                let is_put = |change: &&Change| matches!(change, Change::Put(_));
                let dropped = changes.iter().position(|change| is_put(&change));
                let kept = changes.iter().enumerate();
                changes = kept
                    .filter(|&(place, _)| Some(place) != dropped)
                    .map(|(_, change)| change.clone())
                    .collect();
            }
            Some(Planted::NoticeNeverSent) if self.random.chance(100) => return None,
            _ => {}
        }
        Some(ToSession::Notice {
            data_info_id,
            from,
            to,
            changes,
        })
    }

    pub(crate) fn tamper_with_target(&mut self, key: ConnectionKey) -> ConnectionKey {
        if !self.is_planted(Planted::PushToAnother) || !self.random.chance(50) {
            return key;
        }
        let others = self.connections.iter();
        let mut others = others.filter(|(other, one)| **other != key && one.ended.is_none());
        others.next().map_or(key, |(&other, _)| other)
    }

    pub(crate) fn tamper_with_acknowledgement(
        &mut self,
        key: ConnectionKey,
        request_id: u32,
    ) -> u32 {
        if !self.is_planted(Planted::OldAcknowledgementCounts) {
            return request_id;
        }
        let connection = self.connections.get(&key);
        let newest = connection.and_then(|connection| connection.sent.last());
        newest.copied().unwrap_or(request_id)
    }
}

fn with_order(publisher: &Publisher, order: Order) -> Arc<Publisher> {
    Arc::new(Publisher {
        register_id: publisher.register_id.clone(),
        holder: publisher.holder,
        order,
        zone: publisher.zone.clone(),
        app: publisher.app.clone(),
        address: publisher.address,
        registered_ms: publisher.registered_ms,
        boxes: publisher.boxes.clone(),
    })
}
