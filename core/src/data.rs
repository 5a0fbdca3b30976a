//! The owner of a shard: the one place where a datum changes and gets its next version.
//!
//! What arrives in one turn is merged: each changed datum costs one notice per interested session, however many publishers
//! moved. A removal leaves a tombstone, so that an older registration that comes late cannot revive what is gone.
//!
//! Notices and answers tell only what the journal has written; while a write is under way, changes gather for the next.

mod awaiting;
mod claims;
pub mod datum;
mod datums;
mod emptied;
mod former_lives;
pub mod journal;
mod protection;
mod questions;
mod returning;
mod tombstones;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clients::Clients;
use crate::exchange::{Removal, ToData, ToSession, Token};
use crate::limits;
use crate::machine::{Instant, Machine, Now};
use crate::names::{DataInfoId, Member, RegisterId};
use crate::publisher::{Order, Publisher};
use crate::stats::Stats;
use crate::tables::Seed;
use crate::version::{DatumVersion, VersionClock};

use awaiting::Awaiting;
use datum::{Datum, Shift};
use datums::DatumStore;
use emptied::Emptied;
use journal::{Failure, Journal, Lane, Operation};
use tombstones::Tombstones;

/// What can happen to an owner shard.
#[derive(Debug)]
pub enum Event {
    /// A session core says something.
    FromSession {
        /// Which one; answers and notices go there.
        session: Member,
        /// What it says.
        message: ToData,
    },
    /// The disk has ended what it was asked to do last in this lane.
    Disk {
        /// Which lane.
        lane: Lane,
        /// Why it was not done, in words.
        result: Result<(), Failure>,
        /// The buffer that was written.
        buffer: Vec<u8>,
    },
    /// These clients are not awaited any more.
    Expel(Clients),
    /// The node ends in order: nothing follows.
    Seal,
}

/// What an owner shard may do.
#[derive(Debug)]
pub enum Effect {
    /// Say something to a session core.
    ToSession {
        /// To which.
        session: Member,
        /// What.
        message: ToSession,
    },
    /// Have the disk do something; its end is an event.
    Disk {
        /// In which lane; the last operation there has ended.
        lane: Lane,
        /// What.
        operation: Operation,
    },
    /// Tell the operator.
    Report(Report),
}

/// What an operator would act on, or be glad to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Pushes no longer wait for the disk; says why.
    JournalDegraded(String),
    /// All is on the disk again.
    JournalRecovered,
    /// Most publishers from before the restart have not come back: they are awaited for longer.
    ReturnExtended {
        /// How many are missing.
        missing: usize,
        /// Of how many.
        awaited: usize,
    },
    /// Nobody from before the restart is awaited any more.
    ReturnOver {
        /// How many did not come back in time.
        removed: usize,
        /// Of how many.
        awaited: usize,
    },
}

/// The datums of one shard.
#[derive(Debug)]
pub struct Data {
    datums: DatumStore,
    versions: VersionClock,
    /// Changed since the last notice, each once, in the order of their first change.
    changed: VecDeque<DataInfoId>,
    /// What may be said once the write that is under way is done.
    held: Vec<Effect>,
    /// Who asked for a datum whose last change is not written.
    asking: Vec<(Member, DataInfoId, DatumVersion)>,
    tombstones: Tombstones,
    /// Datums without publishers.
    emptied: Emptied,
    /// How long publishers are held whose connections ended, where a list would lose most of its own; zero is not at all.
    protect: Duration,
    /// Datums with publishers that are held, by when these go.
    holds: BTreeSet<(Instant, DataInfoId)>,
    stored_publishers: usize,
    awaiting: Option<Awaiting>,
    removed_awaiting: usize,
    /// Up to this version something may have been shown that is lost.
    unsure: DatumVersion,
    /// Where the walk is that gives such lists versions of their own.
    renewing: Option<usize>,
    journal: Journal,
    stats: Stats,
}

impl Data {
    /// An empty shard that gives no version at or below `floor`.
    pub fn new(seed: Seed, floor: DatumVersion, journal: Journal) -> Self {
        Self {
            datums: DatumStore::new(seed),
            versions: VersionClock::new(floor, 0),
            changed: VecDeque::new(),
            held: Vec::new(),
            asking: Vec::new(),
            tombstones: Tombstones::new(seed),
            emptied: Emptied::default(),
            protect: Duration::ZERO,
            holds: BTreeSet::new(),
            stored_publishers: 0,
            awaiting: None,
            removed_awaiting: 0,
            unsure: DatumVersion::new(0),
            renewing: None,
            journal,
            stats: Stats::default(),
        }
    }

    /// How its journal does.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// One datum.
    pub fn datum(&self, data_info_id: &DataInfoId) -> Option<&Datum> {
        self.datums.get(data_info_id)
    }

    /// Gives the removal that forbids to show it, if one does.
    fn on_put(
        &mut self,
        now: Now,
        data_info_id: DataInfoId,
        publisher: Arc<Publisher>,
    ) -> Option<Order> {
        let tombstone = self.tombstones.find(&data_info_id, &publisher.register_id);
        let datum = self.datums.get_or_insert(&data_info_id);
        let (shift, refused) = datum.put(Arc::clone(&publisher), tombstone);
        let former_life = match shift {
            Shift::Shown { was: None, .. } if datum.awaiting > 0 => {
                datum.take_former_life(&publisher)
            }
            _ => Shift::Unseen,
        };
        self.stats.registrations_stale += u64::from(matches!(shift, Shift::Unseen));
        self.on_shift(now, &data_info_id, shift);
        self.on_shift(now, &data_info_id, former_life);
        refused
    }

    /// Gives the removal that forbids to show the successor, if one does.
    fn on_remove(
        &mut self,
        now: Now,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        removal: &Removal,
    ) -> Option<Order> {
        let (at, order) = (now.monotonic, removal.order);
        let tombstone = self.tombstones.bury(at, &data_info_id, &register_id, order);
        let is_held = self.must_hold(now.monotonic, &data_info_id, &register_id, removal);
        let datum = self.datums.get_mut(&data_info_id)?;
        let (shift, refused) = datum.remove(&register_id, removal, tombstone, is_held);
        let is_unseen = matches!(shift, Shift::Unseen);
        self.on_shift(now, &data_info_id, shift);
        if is_unseen && !is_held {
            self.rest(now.monotonic, &data_info_id);
        }
        refused
    }

    /// What is shown may have changed: counts it, writes it down, and has it told.
    fn on_shift(&mut self, now: Now, data_info_id: &DataInfoId, shift: Shift) {
        let was = match shift {
            Shift::Unseen => return,
            Shift::HolderMoved { was, is } => {
                self.journal.put_unseen(data_info_id, &is, Some(&was));
                Some(was)
            }
            Shift::Shown { was, is } => {
                if was.is_none() {
                    self.stored_publishers += 1;
                    self.keep(data_info_id);
                }
                let version = self.mark_changed(now, data_info_id);
                self.journal.put(data_info_id, &is, was.as_deref(), version);
                was
            }
            Shift::Gone { was } => {
                self.stored_publishers -= 1;
                let version = self.mark_changed(now, data_info_id);
                self.journal.removed(data_info_id, &was, version);
                self.forget_later(now.monotonic, data_info_id);
                Some(was)
            }
        };
        if was.is_some_and(|was| was.awaits_client()) {
            self.on_returned(now, data_info_id);
        }
    }

    /// Lets a datum go that was kept for claims which were never shown.
    fn rest(&mut self, now: Instant, data_info_id: &DataInfoId) {
        let Some(datum) = self.datums.get(data_info_id) else {
            return;
        };
        if datum.was_never_published() && datum.is_unused() {
            self.datums.remove(data_info_id);
        } else if datum.kept_until.is_none() {
            self.forget_later(now, data_info_id);
        }
    }

    /// If the datum is empty: its version is remembered for a while from here on.
    fn forget_later(&mut self, now: Instant, data_info_id: &DataInfoId) {
        self.keep(data_info_id);
        let Some(datum) = self.datums.get_mut(data_info_id) else {
            return;
        };
        if datum.publishers().is_empty() && !datum.was_never_published() {
            let until = now + limits::EMPTY_DATUM_KEPT;
            datum.kept_until = Some(until);
            self.emptied.insert(until, data_info_id);
        }
    }

    fn keep(&mut self, data_info_id: &DataInfoId) {
        let datum = self.datums.get_mut(data_info_id);
        if let Some(until) = datum.and_then(|datum| datum.kept_until.take()) {
            self.emptied.remove(until, data_info_id);
        }
    }

    /// Gives the datum its next version, and has it told.
    fn mark_changed(&mut self, now: Now, data_info_id: &DataInfoId) -> DatumVersion {
        let renew_at = self.journal.renew_at();
        let version = self.versions.next(now, renew_at);
        if self.versions.is_at(now, renew_at) {
            self.journal.reserve(self.versions.reserve(now));
        }
        self.stats.datum_versions += 1;
        let datum = self.datums.get_mut(data_info_id);
        let datum = datum.expect("the caller has just changed it");
        if datum.advance(version) {
            // Bounded by the datums: each is in it once until it was told.
            self.changed.push_back(data_info_id.clone());
        }
        version
    }

    /// The same list under a new version.
    fn renew(&mut self, now: Now, data_info_id: &DataInfoId) {
        let version = self.mark_changed(now, data_info_id);
        self.journal.renewed(data_info_id, version);
        self.forget_later(now.monotonic, data_info_id);
    }

    fn on_interest(
        &mut self,
        now: Now,
        session: Member,
        data_info_id: DataInfoId,
        have: DatumVersion,
        out: &mut Vec<Effect>,
    ) {
        if have > self.versions.highest() {
            // The session saw a former life of this shard: what is given from here on must be above it.
            self.versions.raise(have);
        }
        let datum = self.datums.get_or_insert(&data_info_id);
        if let Some(awaiting) = &mut self.awaiting
            && awaiting.holds(datum)
        {
            awaiting.hold_answer(session, data_info_id, have);
            return;
        }
        if have > datum.version() && !datum.was_never_published() {
            // Somebody was shown a higher version: the same list again, above it.
            self.renew(now, &data_info_id);
        }
        self.renew_if_unsure(now, &data_info_id);
        let datum = self.datums.get(&data_info_id);
        if datum.is_some_and(|datum| self.journal.has(datum.version())) {
            out.extend(self.answer_interest(session, data_info_id, have));
        } else {
            self.asking.push((session, data_info_id, have));
        }
    }

    fn answer_interest(
        &mut self,
        session: Member,
        data_info_id: DataInfoId,
        have: DatumVersion,
    ) -> Option<Effect> {
        let datum = self.datums.get_mut(&data_info_id)?;
        datum.add_interest(session);
        let message = datum.answer_interest(data_info_id, have);
        Some(Effect::ToSession { session, message })
    }

    fn on_no_interest(&mut self, now: Instant, session: Member, data_info_id: &DataInfoId) {
        self.asking
            .retain(|(asks, of, _)| (*asks, of) != (session, data_info_id));
        if let Some(awaiting) = &mut self.awaiting {
            awaiting.no_answer(session, data_info_id);
        }
        let Some(datum) = self.datums.get_mut(data_info_id) else {
            return;
        };
        datum.remove_interest(session);
        if !datum.has_interest() {
            self.rest(now, data_info_id);
        }
    }

    /// Says what changed, as soon as that is written; what changes meanwhile is said later.
    fn tell(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.journal.takes() {
            out.append(&mut self.held);
            let mut held = std::mem::take(&mut self.held);
            for (session, data_info_id, have) in std::mem::take(&mut self.asking) {
                held.extend(self.answer_interest(session, data_info_id, have));
            }
            self.notify(&mut held);
            self.held = held;
        }
        let is_waited_for = !self.held.is_empty();
        let (datums, versions) = (&self.datums, &self.versions);
        self.journal.work(now, datums, versions, is_waited_for, out);
        self.release(out);
    }

    /// Says what waited for a write that is done, or is not waited for any more.
    fn release(&mut self, out: &mut Vec<Effect>) {
        if self.journal.takes() {
            out.append(&mut self.held);
        }
        out.extend(self.journal.take_reports().map(Effect::Report));
    }

    fn notify(&mut self, out: &mut Vec<Effect>) {
        while let Some(data_info_id) = self.changed.pop_front() {
            let datum = self.datums.get_mut(&data_info_id);
            let datum = datum.expect("a changed datum stays until it was told");
            datum.notify(&data_info_id, out);
        }
    }

    fn forget_empty(&mut self, now: Instant) {
        while let Some(data_info_id) = self.emptied.pop_due(now) {
            let datum = self.datums.get_mut(&data_info_id);
            if datum.is_some_and(|datum| {
                datum.kept_until = None;
                datum.is_forgettable()
            }) {
                self.datums.remove(&data_info_id);
            }
        }
    }
}

impl Machine for Data {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let (session, message) = match event {
            Event::FromSession { session, message } => (session, message),
            Event::Disk {
                lane,
                result,
                buffer,
            } => {
                self.journal.on_done(now, lane, result, buffer, out);
                return self.release(out);
            }
            Event::Expel(clients) => return self.expel(now, &clients),
            Event::Seal => return self.journal.seal(),
        };
        let mut done = |token: Token, refused: Option<Order>| {
            let message = ToSession::Done { token, refused };
            out.push(Effect::ToSession { session, message });
        };
        match message {
            ToData::Put {
                data_info_id,
                publisher,
                token,
            } => {
                let refused = self.on_put(now, data_info_id, publisher);
                done(token, refused);
            }
            ToData::Remove {
                data_info_id,
                register_id,
                removal,
                token,
            } => {
                let refused = self.on_remove(now, data_info_id, register_id, &removal);
                done(token, refused);
            }
            ToData::Interest { data_info_id, have } => {
                self.on_interest(now, session, data_info_id, have, out)
            }
            ToData::NoInterest { data_info_id } => {
                self.on_no_interest(now.monotonic, session, &data_info_id)
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let is_untold = !self.changed.is_empty() || !self.asking.is_empty();
        if is_untold && self.journal.takes() || self.is_renewing() {
            return Some(Instant::default());
        }
        let emptied = self.emptied.next_timeout();
        let awaiting = self.awaiting.as_ref().map(Awaiting::next_timeout);
        let held = self.holds.first().map(|&(until, _)| until);
        let journal = self.journal.next_timeout();
        let tombstones = self.tombstones.next_timeout();
        [emptied, awaiting, held, journal, tombstones]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.settle_returning(now, out);
        self.end_holds(now);
        self.renew_unsure(now);
        self.tell(now, out);
        self.forget_empty(now.monotonic);
        self.tombstones.expire(now.monotonic);
    }
}

#[cfg(test)]
mod tests;
