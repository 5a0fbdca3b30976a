//! The owner of a shard: the one place where a datum changes and gets its next version.
//!
//! What arrives in one turn is merged: each changed datum costs one notice per interested session, however many publishers
//! moved. A removal leaves a tombstone, so that a late or repeated older registration cannot revive what is gone.

mod awaiting;
pub mod datum;
pub mod journal;
mod questions;
mod tombstones;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::exchange::{Removal, ToData, ToSession, Token};
use crate::limits;
use crate::machine::{Instant, Machine, Now};
use crate::names::{DataInfoId, Member, RegisterId};
use crate::publisher::Publisher;
use crate::stats::Stats;
use crate::tables::{Seed, Table};
use crate::version::{DatumVersion, VersionClock};

use awaiting::Awaiting;
use datum::Datum;
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
}

/// The datums of one shard.
#[derive(Debug)]
pub struct Data {
    datums: Table<DataInfoId, Datum>,
    versions: VersionClock,
    /// Changed since the last notice, each once, in the order of their first change.
    changed: VecDeque<DataInfoId>,
    tombstones: Tombstones,
    /// Empty datums by when they may be forgotten, each once.
    empty: BTreeSet<(Instant, DataInfoId)>,
    stored_publishers: usize,
    awaiting: Option<Awaiting>,
    /// How often the number of publishers of a service has changed.
    population_changes: u64,
    stats: Stats,
}

/// What must be known of a shard after a restart. Versions are reserved ahead, so it holds for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// No later version may be at or below it.
    pub highest: DatumVersion,
    /// How many publishers each service had, by its place on the ring.
    pub services: Vec<(u64, u32)>,
}

impl Default for Summary {
    /// A shard that never was.
    fn default() -> Self {
        Self {
            highest: DatumVersion::NOTHING_KNOWN,
            services: Vec::new(),
        }
    }
}

impl Data {
    /// An empty shard that gives no version at or below `floor`.
    pub fn new(seed: Seed, floor: DatumVersion) -> Self {
        Self {
            datums: seed.table(),
            versions: VersionClock::new(floor, 0),
            changed: VecDeque::new(),
            tombstones: Tombstones::new(seed),
            empty: BTreeSet::new(),
            stored_publishers: 0,
            awaiting: None,
            population_changes: 0,
            stats: Stats::default(),
        }
    }

    /// After a restart: shows nobody a list that is shorter than it was, until then.
    pub fn expect(
        &mut self,
        until: Instant,
        services: impl IntoIterator<Item = (u64, u32)>,
        seed: Seed,
    ) {
        let mut expected = seed.table();
        expected.extend(services);
        self.awaiting = (!expected.is_empty()).then(|| Awaiting::new(until, expected));
    }

    /// What must be known after the next restart. A service that still awaits its publishers is remembered as it was.
    pub fn remember(&self, now: Now) -> Summary {
        let awaited = self.awaiting.iter().flat_map(Awaiting::expected);
        let present = self.data_info_ids_with_publishers();
        Summary {
            highest: self.versions.ceiling(now),
            services: present.chain(awaited).collect(),
        }
    }

    /// The highest version given so far.
    pub fn highest(&self) -> DatumVersion {
        self.versions.highest()
    }

    /// How often the number of publishers of a service has changed: what `remember` tells of services is as old as this.
    pub fn population_changes(&self) -> u64 {
        self.population_changes
    }

    fn data_info_ids_with_publishers(&self) -> impl Iterator<Item = (u64, u32)> {
        let count = |datum: &Datum| u32::try_from(datum.publishers().len()).unwrap_or(u32::MAX);
        let datums = self
            .datums
            .iter()
            .filter(|(_, datum)| !datum.publishers().is_empty());
        let present = datums.map(move |(id, datum)| (id.ring_hash(), count(datum)));
        present.filter(|(hash, _)| {
            !self
                .awaiting
                .as_ref()
                .is_some_and(|awaiting| awaiting.expects(*hash))
        })
    }

    /// One datum.
    pub fn datum(&self, data_info_id: &DataInfoId) -> Option<&Datum> {
        self.datums.get(data_info_id)
    }

    fn on_put(&mut self, now: Now, data_info_id: DataInfoId, publisher: Arc<Publisher>) {
        let register_id = &publisher.register_id;
        if self
            .tombstones
            .forbids(&data_info_id, register_id, publisher.order)
        {
            self.stats.registrations_stale += 1;
            return;
        }
        let datum = self.datums.entry(data_info_id.clone()).or_default();
        let before = datum.publishers().len();
        let put = datum.put(publisher);
        let joined = datum.publishers().len() - before;
        self.stored_publishers += joined;
        self.population_changes += joined as u64;
        if before == 0 {
            self.keep(&data_info_id);
        }
        match put {
            datum::Put::Shown => self.mark_changed(now, data_info_id),
            datum::Put::HolderMoved => {}
            datum::Put::Outdated => self.stats.registrations_stale += 1,
        }
    }

    fn on_remove(
        &mut self,
        now: Now,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        cause: Removal,
    ) {
        let held = self
            .datums
            .get(&data_info_id)
            .and_then(|datum| datum.find(&register_id));
        match cause {
            Removal::Unregistered(order) => {
                if held.is_some_and(|held| held.order > order) {
                    self.stats.registrations_stale += 1;
                    return;
                }
                let tombstone = held.map_or(order, |held| held.order.max(order));
                self.tombstones
                    .bury(now.monotonic, &data_info_id, &register_id, tombstone);
                self.take_out(now, data_info_id, &register_id);
            }
            Removal::Closed {
                holder,
                order,
                successor,
            } => {
                // An older connection of that session counts too: its own end was told to nobody once it had been taken over,
                // and the registration that took over may have been lost.
                let holds = held.is_some_and(|held| {
                    held.holder.is_of_same_session(holder) && held.order <= order
                });
                if successor.is_none() {
                    self.tombstones
                        .bury(now.monotonic, &data_info_id, &register_id, order);
                }
                match successor {
                    _ if !holds => self.stats.dropped_stale_message += 1,
                    Some(successor) => self.replace(now, data_info_id, successor),
                    None => self.take_out(now, data_info_id, &register_id),
                }
            }
        }
    }

    /// A registration that lost to the one now closed stands again, whatever their order.
    fn replace(&mut self, now: Now, data_info_id: DataInfoId, successor: Arc<Publisher>) {
        if let Some(datum) = self.datums.get_mut(&data_info_id)
            && datum.replace(successor) == datum::Put::Shown
        {
            self.mark_changed(now, data_info_id);
        }
    }

    fn take_out(&mut self, now: Now, data_info_id: DataInfoId, register_id: &RegisterId) {
        let Some(datum) = self.datums.get_mut(&data_info_id) else {
            return;
        };
        if !datum.remove(register_id) {
            return;
        }
        self.stored_publishers -= 1;
        self.population_changes += 1;
        self.forget_later(now.monotonic, &data_info_id);
        self.mark_changed(now, data_info_id);
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
            self.empty.insert((until, data_info_id.clone()));
        }
    }

    fn keep(&mut self, data_info_id: &DataInfoId) {
        let datum = self.datums.get_mut(data_info_id);
        if let Some(until) = datum.and_then(|datum| datum.kept_until.take()) {
            self.empty.remove(&(until, data_info_id.clone()));
        }
    }

    fn mark_changed(&mut self, now: Now, data_info_id: DataInfoId) {
        let version = self.versions.next(now);
        self.stats.datum_versions += 1;
        let datum = self
            .datums
            .get_mut(&data_info_id)
            .expect("the caller has just changed it");
        if datum.advance(version) {
            self.changed.push_back(data_info_id);
        }
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
        let datum = self.datums.entry(data_info_id.clone()).or_default();
        if let Some(awaiting) = &mut self.awaiting
            && awaiting.holds(&data_info_id, datum.publishers().len())
        {
            awaiting.hold(session, data_info_id, have);
            return;
        }
        datum.add_interest(session);
        if have > datum.version() && !datum.was_never_published() {
            // Somebody was shown a higher version: the same list again, above it.
            self.mark_changed(now, data_info_id.clone());
        }
        let datum = self.datums.entry(data_info_id.clone()).or_default();
        out.push(Effect::ToSession {
            session,
            message: datum.answer_interest(data_info_id, have),
        });
    }

    fn on_no_interest(&mut self, now: Instant, session: Member, data_info_id: &DataInfoId) {
        let Some(datum) = self.datums.get_mut(data_info_id) else {
            return;
        };
        datum.remove_interest(session);
        if datum.has_interest() {
            return;
        }
        if datum.was_never_published() {
            self.datums.remove(data_info_id);
        } else if datum.kept_until.is_none() {
            self.forget_later(now, data_info_id);
        }
    }

    /// Lists that are whole again, or were held long enough, are shown to those who asked for them.
    fn show_held(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(awaiting) = &mut self.awaiting else {
            return;
        };
        let mut shown = Vec::new();
        if awaiting.until() <= now.monotonic {
            // Who did not come back is not waited for at the next start.
            self.population_changes += 1;
            shown.extend(
                self.awaiting
                    .take()
                    .into_iter()
                    .flat_map(Awaiting::into_asking),
            );
        } else {
            for data_info_id in &self.changed {
                let publishers = self
                    .datums
                    .get(data_info_id)
                    .map_or(0, |datum| datum.publishers().len());
                if !awaiting.holds(data_info_id, publishers) {
                    let asking = awaiting.release(data_info_id);
                    shown.extend(
                        asking.map(|(session, have)| (data_info_id.clone(), session, have)),
                    );
                }
            }
        }
        for (data_info_id, session, have) in shown {
            self.on_interest(now, session, data_info_id, have, out);
        }
    }

    fn notify(&mut self, out: &mut Vec<Effect>) {
        while let Some(data_info_id) = self.changed.pop_front() {
            let datum = self
                .datums
                .get_mut(&data_info_id)
                .expect("a changed datum stays until it was told");
            datum.notify(&data_info_id, out);
        }
    }

    fn forget_empty(&mut self, now: Instant) {
        while let Some((until, _)) = self.empty.first()
            && (*until <= now || self.empty.len() > limits::EMPTY_DATUMS_MAX)
            && let Some((_, data_info_id)) = self.empty.pop_first()
        {
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
        let Event::FromSession { session, message } = event;
        let mut done = |token: Token| {
            out.push(Effect::ToSession {
                session,
                message: ToSession::Done { token },
            });
        };
        match message {
            ToData::Put {
                data_info_id,
                publisher,
                token,
            } => {
                self.on_put(now, data_info_id, publisher);
                done(token);
            }
            ToData::Remove {
                data_info_id,
                register_id,
                cause,
                token,
            } => {
                self.on_remove(now, data_info_id, register_id, cause);
                done(token);
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
        if !self.changed.is_empty() {
            return Some(Instant::default());
        }
        let empty = self.empty.first().map(|&(until, _)| until);
        let held = self.awaiting.as_ref().map(Awaiting::until);
        [empty, held, self.tombstones.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.show_held(now, out);
        self.notify(out);
        self.forget_empty(now.monotonic);
        self.tombstones.expire(now.monotonic);
    }
}

#[cfg(test)]
mod tests;
