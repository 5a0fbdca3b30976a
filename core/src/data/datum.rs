//! All publishers of one dataInfoId at one version, who wants to hear of changes, and what they were not told yet.

use std::sync::Arc;

use crate::exchange::{Change, ToSession};
use crate::machine::Instant;
use crate::names::{DataInfoId, Member, RegisterId};
use crate::publisher::{Kept, Publisher, Publishers};
use crate::version::DatumVersion;

use super::Effect;

/// The truth about one service.
#[derive(Debug)]
pub struct Datum {
    version: DatumVersion,
    /// The version of the last notice, or of the time when one would have been if anybody were interested.
    notified: DatumVersion,
    publishers: Publishers,
    /// What happened between `changes_from` and `version`; nothing is kept while nobody is interested.
    changes: Vec<Change>,
    changes_from: DatumVersion,
    interested: Vec<Member>,
    /// It is empty and may be forgotten then.
    pub(super) kept_until: Option<Instant>,
    /// How many of its publishers await their client since a restart.
    pub(super) awaiting: usize,
    /// It had such, and none is left.
    pub(super) is_whole_again: bool,
}

/// What became of a registration.
#[derive(Debug)]
pub(super) enum Put {
    /// Subscribers must see it, in the place of what there was.
    Shown(Option<Arc<Publisher>>),
    /// Only who holds it is different from what there was: nobody needs to be told.
    HolderMoved(Arc<Publisher>),
    /// What is there is newer.
    Outdated,
}

impl Default for Datum {
    fn default() -> Self {
        Self {
            version: DatumVersion::NOTHING_KNOWN,
            notified: DatumVersion::NOTHING_KNOWN,
            publishers: Publishers::default(),
            changes: Vec::new(),
            changes_from: DatumVersion::NOTHING_KNOWN,
            interested: Vec::new(),
            kept_until: None,
            awaiting: 0,
            is_whole_again: false,
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

    pub(super) fn put(&mut self, publisher: Arc<Publisher>) -> Put {
        // Who is back is newer than who is awaited, though its client may count from one again.
        let is_newer = |held: &Publisher| held.order > publisher.order && !held.awaits_client();
        match self.publishers.put_unless(Arc::clone(&publisher), is_newer) {
            Ok(held) => self.note_put(held, publisher),
            Err(Kept) => Put::Outdated,
        }
    }

    /// As `put`, whatever the order.
    pub(super) fn replace(&mut self, publisher: Arc<Publisher>) -> Put {
        let held = self.publishers.put(Arc::clone(&publisher));
        self.note_put(held, publisher)
    }

    fn note_put(&mut self, held: Option<Arc<Publisher>>, publisher: Arc<Publisher>) -> Put {
        match held {
            Some(held) if held.shows_the_same_as(&publisher) => Put::HolderMoved(held),
            replaced => {
                self.note(|| Change::Put(publisher));
                Put::Shown(replaced)
            }
        }
    }

    pub(super) fn remove(&mut self, register_id: &RegisterId) -> Option<Arc<Publisher>> {
        let removed = self.publishers.remove(register_id)?;
        self.note(|| Change::Removed(register_id.clone()));
        Some(removed)
    }

    /// Keeps a change for those who want to hear of it.
    fn note(&mut self, change: impl FnOnce() -> Change) {
        if self.has_interest() {
            self.changes.push(change());
        }
    }

    /// A datum as it was before a restart: all its publishers await their clients.
    pub(super) fn replayed(version: DatumVersion, publishers: Vec<Arc<Publisher>>) -> Self {
        Self {
            version,
            notified: version,
            awaiting: publishers.len(),
            publishers: publishers.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The publishers that still await their client.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &RegisterId> {
        let awaited = self.publishers.iter().filter(|it| it.awaits_client());
        awaited.map(|publisher| &publisher.register_id)
    }

    /// Takes the next version; true if this is the first change since the last notice.
    pub(super) fn advance(&mut self, version: DatumVersion) -> bool {
        let first = self.version == self.notified;
        self.version = version;
        first
    }

    pub(super) fn add_interest(&mut self, session: Member) {
        if self.interested.is_empty() {
            // The first is told the whole list, and what changes from here on.
            self.changes.clear();
            self.changes_from = self.version;
        }
        if !self.interested.contains(&session) {
            self.interested.push(session);
        }
    }

    pub(super) fn remove_interest(&mut self, session: Member) {
        self.interested.retain(|interested| *interested != session);
    }

    pub(super) fn has_interest(&self) -> bool {
        !self.interested.is_empty()
    }

    pub(super) fn was_never_published(&self) -> bool {
        self.version == DatumVersion::NOTHING_KNOWN
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.publishers.is_empty() && self.interested.is_empty() && self.version == self.notified
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
        if self.interested.is_empty() {
            self.changes.clear();
            return;
        }
        let from = std::mem::replace(&mut self.changes_from, self.version);
        let changes: Arc<[Change]> = std::mem::take(&mut self.changes).into();
        out.extend(self.interested.iter().map(|&session| Effect::ToSession {
            session,
            message: ToSession::Notice {
                data_info_id: data_info_id.clone(),
                from,
                to: self.version,
                changes: Arc::clone(&changes),
            },
        }));
    }
}
