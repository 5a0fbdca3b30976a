//! The registrations of one service, found by their id.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::exchange::Token;
use crate::limits;
use crate::names::{ConnectId, DataInfoId, RegisterId};
use crate::publisher::Publisher;
use crate::session::refusal::Refusal;
use crate::tables::Seed;

/// One registration id of one service. Small, for every registration looks for one that nobody has looked at for long: two share a cache line.
#[derive(Debug)]
pub(super) struct Registration {
    /// The newest declaration: what the owner is told. Its id is that of the registration.
    pub(super) publisher: Arc<Publisher>,
    /// Older declarations of the same id by connections that are still there: the newest of them stands again if the holder closes.
    displaced: Box<[Arc<Publisher>]>,
    /// The last time that the owner was told: what was told before need not be told again.
    pub(super) told: Token,
}

/// The owner was told, and does not show it. No change has this token.
const REFUSED: Token = Token(u64::MAX);

/// All of one service, in no order.
#[derive(Debug)]
pub(super) struct Service {
    /// This core's own copy: what another core sends has that core's.
    data_info_id: DataInfoId,
    registrations: HashTable<Registration>,
    hasher: RandomState,
    /// What its standing publishers take in a push.
    pushed_bytes: usize,
}

impl Service {
    pub(super) fn new(data_info_id: DataInfoId, seed: Seed) -> Self {
        Self {
            data_info_id,
            registrations: HashTable::new(),
            hasher: seed.hasher(),
            pushed_bytes: 0,
        }
    }

    pub(super) fn data_info_id(&self) -> &DataInfoId {
        &self.data_info_id
    }

    pub(super) fn len(&self) -> usize {
        self.registrations.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.registrations.is_empty()
    }

    /// What its standing publishers take in a push.
    pub(super) fn pushed_bytes(&self) -> usize {
        self.pushed_bytes
    }

    pub(super) fn get(&self, register_id: &RegisterId) -> Option<&Registration> {
        let hash = self.hasher.hash_one(register_id);
        self.registrations
            .find(hash, |registration| registration.has_id(register_id))
    }

    /// The registration of this id, and what all that stand take in a push, to be kept in step with it.
    pub(super) fn find_mut(
        &mut self,
        register_id: &RegisterId,
    ) -> Option<(&mut usize, &mut Registration)> {
        let hash = self.hasher.hash_one(register_id);
        let registration = self
            .registrations
            .find_mut(hash, |registration| registration.has_id(register_id))?;
        Some((&mut self.pushed_bytes, registration))
    }

    /// What most likely has this id, found without a look at it.
    pub(super) fn glance(&self, register_id: &RegisterId) -> Option<&Arc<Publisher>> {
        let hash = self.hasher.hash_one(register_id);
        let found = self.registrations.iter_hash(hash).next();
        found.map(|registration| &registration.publisher)
    }

    /// Adds one whose id is not there.
    pub(super) fn insert(&mut self, registration: Registration) {
        let hash_of = |it: &Registration| self.hasher.hash_one(&it.publisher.register_id);
        let hash = hash_of(&registration);
        self.pushed_bytes += registration.publisher.pushed_bytes();
        self.registrations
            .insert_unique(hash, registration, hash_of);
    }

    pub(super) fn remove(&mut self, register_id: &RegisterId) -> Option<Registration> {
        let hash_of = |it: &Registration| self.hasher.hash_one(&it.publisher.register_id);
        let hash = self.hasher.hash_one(register_id);
        let is_it = |registration: &Registration| registration.has_id(register_id);
        match self.registrations.entry(hash, is_it, hash_of) {
            Entry::Occupied(place) => {
                let (removed, _) = place.remove();
                self.pushed_bytes -= removed.publisher.pushed_bytes();
                Some(removed)
            }
            Entry::Vacant(_) => None,
        }
    }

    /// Each place of the table from this one on, with who is there. A place names the size of the table too: when that has grown
    /// since, the walk begins anew.
    pub(super) fn places_from(
        &self,
        start: u64,
    ) -> impl Iterator<Item = (u64, Option<&Arc<Publisher>>)> {
        let size = self.registrations.num_buckets() as u64;
        let start = match start >> 32 == size {
            true => start & u64::from(u32::MAX),
            false => 0,
        };
        (start..size).map(move |bucket| {
            let registration = self.registrations.get_bucket(bucket as usize);
            let publisher = registration.map(|registration| &registration.publisher);
            (size << 32 | bucket, publisher)
        })
    }

    pub(super) fn publishers(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.registrations
            .iter()
            .map(|registration| &registration.publisher)
    }
}

impl Registration {
    pub(super) fn new(publisher: Arc<Publisher>, told: Token) -> Self {
        Self {
            publisher,
            displaced: Box::default(),
            told,
        }
    }

    /// Whether the owner does not show what stands.
    pub(super) fn is_refused(&self) -> bool {
        self.told == REFUSED
    }

    /// The owner does not show it.
    pub(super) fn refuse(&mut self) {
        self.told = REFUSED;
    }

    fn has_id(&self, register_id: &RegisterId) -> bool {
        self.publisher.register_id == *register_id
    }

    /// All declarations, that of the holder last.
    pub(super) fn declarations(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.displaced.iter().chain([&self.publisher])
    }

    pub(super) fn is_declared_by(&self, connect_id: ConnectId) -> bool {
        self.declarations()
            .any(|publisher| publisher.holder.connect_id == connect_id)
    }

    pub(super) fn forget_displaced(&mut self, connect_id: ConnectId) {
        self.keep_displaced(|other| other.holder.connect_id != connect_id);
    }

    /// Keeps an older declaration in the place of what its connection had declared.
    pub(super) fn displace(&mut self, publisher: Arc<Publisher>) {
        let others = std::mem::take(&mut self.displaced).into_iter();
        self.displaced = others
            .filter(|other| other.holder != publisher.holder)
            .chain([Arc::clone(&publisher)])
            .collect();
    }

    /// Whether one more connection may declare it.
    pub(super) fn check_claims(&self) -> Result<(), Refusal> {
        match self.displaced.len() + 1 < limits::CLAIMS_PER_REGISTRATION_MAX {
            true => Ok(()),
            false => Err(Refusal::TooManyClaims),
        }
    }

    /// What all its declarations take.
    pub(super) fn pushed_bytes(&self) -> usize {
        let bytes = |publisher: &Arc<Publisher>| publisher.pushed_bytes();
        self.declarations().map(bytes).sum()
    }

    /// What the declaration of this connection takes, if there is one.
    pub(super) fn pushed_bytes_of(&self, connect_id: ConnectId) -> usize {
        let mut declarations = self.declarations();
        let own = declarations.find(|publisher| publisher.holder.connect_id == connect_id);
        own.map_or(0, |publisher| publisher.pushed_bytes())
    }

    pub(super) fn take_newest_displaced(&mut self) -> Option<Arc<Publisher>> {
        let displaced = self.displaced.iter();
        let newest = displaced.max_by_key(|other| other.order.on_session())?;
        let newest = Arc::clone(newest);
        self.keep_displaced(|other| !Arc::ptr_eq(other, &newest));
        Some(newest)
    }

    fn keep_displaced(&mut self, is_kept: impl Fn(&Arc<Publisher>) -> bool) {
        if !self.displaced.is_empty() {
            let displaced = std::mem::take(&mut self.displaced).into_iter();
            self.displaced = displaced.filter(is_kept).collect();
        }
    }
}
