//! Publishers known from before a restart: they are served at once and await their client, for a grace.
//!
//! Clients need up to ten seconds to find a restarted server again. Who has not come back when the grace ends is gone, unless most are
//! missing: then it is rather the network that is not back, and the grace is extended.
//!
//! If the machine itself went down, what was changed last may never have reached the disk. The lists that then may be older than what
//! subscribers hold are held back until everybody in them is back, for a shorter time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits;
use crate::machine::Instant;
use crate::names::{DataInfoId, Member};
use crate::version::DatumVersion;

use super::datum::Datum;

/// Who awaits whom, and until when.
#[derive(Debug)]
pub(super) struct Awaiting {
    /// The services that had publishers; taken from the end when the grace is over.
    services: Vec<DataInfoId>,
    replayed: usize,
    left: usize,
    grace: Duration,
    until: Instant,
    extended_until_max: Instant,
    is_extended: bool,
    is_over: bool,
    held: Option<Held>,
}

/// Lists that are shown to nobody yet.
#[derive(Debug)]
struct Held {
    until: Instant,
    asking: BTreeMap<DataInfoId, Asking>,
}

/// Who asked for a list, and which version of it they have.
pub(super) type Asking = BTreeMap<Member, DatumVersion>;

/// What the end of a grace means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on: too many are missing.
    Extended,
    /// The publishers of this service that are still awaited are gone.
    Expired(DataInfoId),
    /// All is said.
    Over,
}

impl Awaiting {
    /// So many publishers of these services await their clients from `now` on.
    pub(super) fn new(
        now: Instant,
        grace: Duration,
        services: Vec<DataInfoId>,
        publishers: usize,
        is_complete: bool,
    ) -> Self {
        let held = (!is_complete).then(|| Held {
            until: now + limits::HELD_AFTER_POWER_LOSS,
            asking: BTreeMap::new(),
        });
        Self {
            services,
            replayed: publishers,
            left: publishers,
            grace,
            until: now + grace,
            extended_until_max: now + grace.max(limits::RETURN_GRACE_MAX),
            is_extended: false,
            is_over: false,
            held,
        }
    }

    /// The services that had awaited publishers.
    pub(super) fn services(&self) -> &[DataInfoId] {
        &self.services
    }

    /// How many publishers still await their client.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// How many there were at first.
    pub(super) fn replayed(&self) -> usize {
        self.replayed
    }

    /// Whether the grace goes on because most of them are missing.
    pub(super) fn is_extended(&self) -> bool {
        self.is_extended && !self.is_over
    }

    /// One of them need not be waited for any more.
    pub(super) fn settle_one(&mut self) {
        self.left -= 1;
    }

    /// When something ends.
    pub(super) fn next_timeout(&self) -> Instant {
        self.held.as_ref().map_or(self.until, |held| held.until)
    }

    /// Whether this list is shown to nobody yet. One of which nothing is known may have been lost as a whole.
    pub(super) fn holds(&self, datum: &Datum) -> bool {
        self.held.is_some() && !datum.is_whole_again
    }

    /// Whether any list may be held.
    pub(super) fn holds_any(&self) -> bool {
        self.held.is_some()
    }

    /// Somebody asks for a list that is held.
    pub(super) fn hold_answer(
        &mut self,
        session: Member,
        data_info_id: DataInfoId,
        have: DatumVersion,
    ) {
        if let Some(held) = &mut self.held {
            let asking = held.asking.entry(data_info_id).or_default();
            asking.insert(session, have);
        }
    }

    /// Who asked does no more.
    pub(super) fn no_answer(&mut self, session: Member, data_info_id: &DataInfoId) {
        if let Some(held) = &mut self.held
            && let Some(asking) = held.asking.get_mut(data_info_id)
        {
            asking.remove(&session);
        }
    }

    /// Everybody in this list is back: who asked for it.
    pub(super) fn release(&mut self, data_info_id: &DataInfoId) -> Option<Asking> {
        self.held.as_mut()?.asking.remove(data_info_id)
    }

    /// The next list that was held long enough; none if nothing is to be shown at `now`.
    pub(super) fn release_next(&mut self, now: Instant) -> Option<(DataInfoId, Asking)> {
        let held = self.held.as_mut().filter(|held| held.until <= now)?;
        let next = held.asking.pop_first();
        if next.is_none() {
            self.held = None;
        }
        next
    }

    /// What the end of the grace means, a step at a time; nothing before it ends, or while a list is held.
    pub(super) fn end(&mut self, now: Instant) -> Option<End> {
        if self.until > now || self.held.is_some() {
            return None;
        }
        if !self.is_over && self.is_most_missing() && self.until < self.extended_until_max {
            self.until = (self.until + self.grace)
                .max(now)
                .min(self.extended_until_max);
            self.is_extended = true;
            return Some(End::Extended);
        }
        self.is_over = true;
        Some(self.services.pop().map_or(End::Over, End::Expired))
    }

    fn is_most_missing(&self) -> bool {
        self.replayed >= limits::RETURNING_FEW && self.left * 2 > self.replayed
    }
}
