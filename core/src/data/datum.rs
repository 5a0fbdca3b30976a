//! All publishers of one dataInfoId at one version, who wants to hear of changes, and what they were not told yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::exchange::{Change, Removal, ToSession};
use crate::machine::Instant;
use crate::names::{DataInfoId, Member, RegisterId};
use crate::publisher::{Holder, Kept, Order, Publisher, Publishers};
use crate::version::DatumVersion;

use super::Effect;
use super::claims::{Claim, Claims};
use super::former_lives::FormerLives;

/// The truth about one service.
#[derive(Debug)]
pub struct Datum {
    version: DatumVersion,
    /// The version of the last notice, or of the time when one would have been if anybody were interested.
    notified: DatumVersion,
    publishers: Publishers,
    /// Nothing while nobody is interested.
    audience: Option<Box<Audience>>,
    /// It is empty and may be forgotten then.
    pub(super) kept_until: Option<Instant>,
    /// How many of its publishers await their client since a restart.
    pub(super) awaiting: u32,
    /// It had such, and none is left.
    pub(super) is_whole_again: bool,
    /// The longest that the list was when connections ended lately, and when that was.
    pub(super) peak: (Instant, usize),
    /// What few datums have.
    rare: Option<Box<Rare>>,
}

/// Who wants to hear of changes, and what they were not told yet.
#[derive(Debug)]
struct Audience {
    interested: Vec<Member>,
    /// What happened between `changes_from` and the version.
    changes: Vec<Change>,
    changes_from: DatumVersion,
}

/// What few datums have.
#[derive(Debug, Default)]
struct Rare {
    /// Claims that are not shown, of ids that have such.
    unseen: BTreeMap<RegisterId, Claims>,
    /// Ids whose connection ended, and which are shown until the hold ends.
    held: BTreeSet<RegisterId>,
    /// When all that is held goes.
    held_until: Option<Instant>,
    /// Where awaited publishers are found by what they publish.
    former_lives: Option<FormerLives>,
}

/// What a change of claims means for those who see the list.
#[derive(Debug)]
pub(super) enum Shift {
    /// Nothing: what is shown stays.
    Unseen,
    /// Only who holds it is different from what there was: nobody needs to be told.
    HolderMoved {
        was: Arc<Publisher>,
        is: Arc<Publisher>,
    },
    /// Subscribers must see it, in the place of what there was.
    Shown {
        was: Option<Arc<Publisher>>,
        is: Arc<Publisher>,
    },
    /// It is there no more.
    Gone { was: Arc<Publisher> },
}

impl Default for Datum {
    fn default() -> Self {
        Self {
            version: DatumVersion::NOTHING_KNOWN,
            notified: DatumVersion::NOTHING_KNOWN,
            publishers: Publishers::default(),
            audience: None,
            kept_until: None,
            awaiting: 0,
            is_whole_again: false,
            peak: (Instant::default(), 0),
            rare: None,
        }
    }
}

impl Datum {
    /// Its version; `NOTHING_KNOWN` until the first publisher.
    pub fn version(&self) -> DatumVersion {
        self.version
    }

    /// Who publishes it.
    pub fn publishers(&self) -> &Publishers {
        &self.publishers
    }

    /// One of its publishers.
    pub fn find(&self, register_id: &RegisterId) -> Option<&Publisher> {
        self.publishers.find(register_id).map(Arc::as_ref)
    }

    /// A session declares a publisher. Gives what of that subscribers see, and the removal that forbids to show it.
    pub(super) fn put(
        &mut self,
        publisher: Arc<Publisher>,
        tombstone: Option<Order>,
    ) -> (Shift, Option<Order>) {
        if tombstone.is_some() || self.is_contested(&publisher.register_id) {
            let mut refused = None;
            let register_id = publisher.register_id.clone();
            let shift = self.settle(&register_id, |claims| {
                refused = claims.put(publisher, tombstone)
            });
            return (shift, refused);
        }
        let stays = |held: &Publisher| {
            let is_other =
                !held.awaits_client() && !held.holder.is_of_same_session(publisher.holder);
            is_other && (held.order, held.holder) > (publisher.order, publisher.holder)
        };
        let shift = match self.publishers.put_unless(Arc::clone(&publisher), stays) {
            Ok(was) => {
                if let Some(was) = &was
                    && !was.awaits_client()
                    && !was.holder.is_of_same_session(publisher.holder)
                {
                    self.hide(Arc::clone(was));
                }
                self.note_put(was, publisher)
            }
            Err(Kept) => {
                self.hide(publisher);
                Shift::Unseen
            }
        };
        (shift, None)
    }

    /// A session takes its claim back; it is held, if so it is said. Gives what forbids that its successor is shown, too.
    pub(super) fn remove(
        &mut self,
        register_id: &RegisterId,
        removal: &Removal,
        tombstone: Order,
        is_held: bool,
    ) -> (Shift, Option<Order>) {
        let shown = self.find(register_id);
        let is_own = shown.is_some_and(|it| it.holder.is_of_same_session(removal.holder));
        let is_plain = is_own && !is_held && removal.successor.is_none();
        if is_plain && !self.is_contested(register_id) {
            return (self.take_out(register_id), None);
        }
        let mut refused = None;
        let shift = self.settle(register_id, |claims| {
            refused = claims.remove(removal, tombstone, is_held);
        });
        (shift, refused)
    }

    /// Whether the list would lack this id if the session's claim to it went.
    pub(super) fn would_lose(&self, register_id: &RegisterId, holder: Holder) -> bool {
        let shown = self.find(register_id);
        let unseen = self
            .rare
            .as_ref()
            .and_then(|rare| rare.unseen.get(register_id));
        shown.is_some_and(|shown| shown.holder.is_of_same_session(holder))
            && unseen.is_none_or(|unseen| !unseen.has_other_than(holder))
    }

    /// All that is held goes then.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.rare.as_ref().and_then(|rare| rare.held_until)
    }

    pub(super) fn hold_until(&mut self, until: Instant) {
        self.rare().held_until = Some(until);
    }

    /// What was held goes, unless somebody else claims it.
    pub(super) fn end_holds(&mut self) -> Vec<Shift> {
        let Some(rare) = &mut self.rare else {
            return Vec::new();
        };
        rare.held_until = None;
        for claims in rare.unseen.values_mut() {
            claims.end_holds();
        }
        rare.unseen.retain(|_, claims| !claims.is_empty());
        let held = rare.held.clone();
        let shifts = held.iter().map(|id| self.settle(id, Claims::end_holds));
        let shifts = shifts.collect();
        self.drop_rare_if_empty();
        shifts
    }

    /// Takes out the awaited publisher that this one, which registers under another id, was before.
    pub(super) fn take_former_life(&mut self, publisher: &Publisher) -> Shift {
        let mut lives = match self.rare().former_lives.take() {
            Some(lives) => lives,
            None => FormerLives::of(self.awaited()),
        };
        let publishers = &self.publishers;
        let former = lives.take(publisher, |id| publishers.find(id));
        self.rare().former_lives = Some(lives);
        former.map_or(Shift::Unseen, |former| self.take_out(&former))
    }

    /// Nobody is awaited any more.
    pub(super) fn forget_former_lives(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.former_lives = None;
        }
        self.drop_rare_if_empty();
    }

    /// Takes a publisher out that nobody else claims.
    pub(super) fn take_out(&mut self, register_id: &RegisterId) -> Shift {
        match self.publishers.remove(register_id) {
            Some(was) => self.note_gone(was),
            None => Shift::Unseen,
        }
    }

    /// Whether some claim is kept that is not shown.
    fn has_unseen(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.unseen.is_empty())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn drop_rare_if_empty(&mut self) {
        self.rare.take_if(|rare| {
            rare.unseen.is_empty() && rare.held.is_empty() && rare.former_lives.is_none()
        });
    }

    fn hide(&mut self, publisher: Arc<Publisher>) {
        let register_id = publisher.register_id.clone();
        let claims = self.rare().unseen.entry(register_id).or_default();
        claims.add(Claim::new(publisher, false));
    }

    /// Whether there are claims to this id that are not shown, or what is shown is held.
    fn is_contested(&self, register_id: &RegisterId) -> bool {
        self.rare.as_ref().is_some_and(|rare| {
            rare.unseen.contains_key(register_id) || rare.held.contains(register_id)
        })
    }

    /// Changes the claims to an id, and shows the one that is to be shown then.
    fn settle(&mut self, register_id: &RegisterId, change: impl FnOnce(&mut Claims)) -> Shift {
        let was = self.publishers.find(register_id).cloned();
        let mut claims = Claims::default();
        let mut was_held = false;
        if let Some(rare) = &mut self.rare {
            claims = rare.unseen.remove(register_id).unwrap_or_default();
            was_held = rare.held.remove(register_id);
        }
        if let Some(was) = &was {
            claims.add(Claim::new(Arc::clone(was), was_held));
        }
        change(&mut claims);
        let is = claims.elect();
        if is.as_ref().is_some_and(|is| is.is_held) {
            self.rare().held.insert(register_id.clone());
        }
        match claims.is_empty() {
            true => self.drop_rare_if_empty(),
            false => drop(self.rare().unseen.insert(register_id.clone(), claims)),
        }
        match (was, is.map(Arc::from)) {
            (None, None) => Shift::Unseen,
            (Some(was), Some(is)) if Arc::ptr_eq(&was, &is) => Shift::Unseen,
            (Some(was), None) => {
                self.publishers.remove(register_id);
                self.note_gone(was)
            }
            (was, Some(is)) => {
                self.publishers.put(Arc::clone(&is));
                self.note_put(was, is)
            }
        }
    }

    fn note_put(&mut self, was: Option<Arc<Publisher>>, is: Arc<Publisher>) -> Shift {
        match was {
            Some(was) if was.shows_the_same_as(&is) => Shift::HolderMoved { was, is },
            was => {
                self.note(|| Change::Put(Arc::clone(&is)));
                Shift::Shown { was, is }
            }
        }
    }

    fn note_gone(&mut self, was: Arc<Publisher>) -> Shift {
        self.note(|| Change::Removed(was.register_id.clone()));
        Shift::Gone { was }
    }

    /// Keeps a change for those who want to hear of it.
    fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(audience) = &mut self.audience {
            audience.changes.push(change());
        }
    }

    /// A datum as it was before a restart: all its publishers await their clients.
    pub(super) fn replayed(version: DatumVersion, publishers: Vec<Arc<Publisher>>) -> Self {
        Self {
            version,
            notified: version,
            awaiting: u32::try_from(publishers.len()).expect("memory ends before this many"),
            publishers: publishers.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The publishers that still await their client.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.publishers.iter().filter(|it| it.awaits_client())
    }

    /// Takes the next version; true if this is the first change since the last notice.
    pub(super) fn advance(&mut self, version: DatumVersion) -> bool {
        let first = self.version == self.notified;
        self.version = version;
        first
    }

    pub(super) fn add_interest(&mut self, session: Member) {
        // The first is told the whole list, and what changes from here on.
        let audience = self.audience.get_or_insert_with(|| {
            Box::new(Audience {
                interested: Vec::with_capacity(1),
                changes: Vec::new(),
                changes_from: self.version,
            })
        });
        if !audience.interested.contains(&session) {
            audience.interested.push(session);
        }
    }

    pub(super) fn remove_interest(&mut self, session: Member) {
        self.audience.take_if(|audience| {
            let interested = &mut audience.interested;
            interested.retain(|interested| *interested != session);
            interested.is_empty()
        });
    }

    pub(super) fn has_interest(&self) -> bool {
        self.audience.is_some()
    }

    pub(super) fn was_never_published(&self) -> bool {
        self.version == DatumVersion::NOTHING_KNOWN
    }

    /// Whether nobody publishes it, claims to, or wants to hear of it.
    pub(super) fn is_unused(&self) -> bool {
        self.publishers.is_empty() && !self.has_unseen() && !self.has_interest()
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.is_unused() && self.version == self.notified
    }

    /// What a session that holds version `have` must hear. A change that is waiting for its notice is in the answer, and
    /// the notice that follows starts below it: the session drops what it already has.
    pub(super) fn answer_interest(
        &self,
        data_info_id: DataInfoId,
        have: DatumVersion,
    ) -> ToSession {
        let version = self.version;
        if have == version && version != DatumVersion::NOTHING_KNOWN {
            return ToSession::Unchanged {
                data_info_id,
                version,
            };
        }
        ToSession::Snapshot {
            data_info_id,
            version,
            publishers: self.publishers.iter().map(Arc::clone).collect(),
        }
    }

    /// One notice for each interested session, carrying what happened since the last.
    pub(super) fn notify(&mut self, data_info_id: &DataInfoId, out: &mut Vec<Effect>) {
        self.notified = self.version;
        let Some(audience) = &mut self.audience else {
            return;
        };
        let from = std::mem::replace(&mut audience.changes_from, self.version);
        let changes: Arc<[Change]> = std::mem::take(&mut audience.changes).into();
        out.extend(
            audience
                .interested
                .iter()
                .map(|&session| Effect::ToSession {
                    session,
                    message: ToSession::Notice {
                        data_info_id: data_info_id.clone(),
                        from,
                        to: self.version,
                        changes: Arc::clone(&changes),
                    },
                }),
        );
    }
}
