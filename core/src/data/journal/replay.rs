//! Puts records together again to what a shard held when the last of them was written.
//!
//! Per publisher the record of the highest version wins, so neither order nor repetition matters: segments may be read in any
//! order, a snapshot may overlap what was written meanwhile, and records of several shards may be mixed.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::record::{Published, Record, Service};
use crate::names::{DataInfoId, Interner, RegisterId};
use crate::publisher::Publisher;
use crate::tables::{Seed, Table};
use crate::version::DatumVersion;

/// A replay at work.
#[derive(Debug)]
pub struct Replay {
    seed: Seed,
    /// Where each service is among `services`, by its parts; nothing for one that is another shard's.
    places: Table<Box<[u8]>, Option<usize>>,
    /// The parts of the service at work.
    parts: Vec<u8>,
    services: Vec<Gathered>,
    highest: DatumVersion,
    records: u64,
}

/// What was replayed.
#[derive(Debug)]
pub struct Replayed {
    /// All services that were wanted, those without publishers too, in the order of their ids.
    pub services: Vec<ReplayedService>,
    /// The highest version of all records, ceilings and unwanted services included: later ones must be above it.
    pub highest: DatumVersion,
    /// How many records were taken, unwanted ones included.
    pub records: u64,
}

/// One service as it was.
#[derive(Debug, PartialEq)]
pub struct ReplayedService {
    /// Which.
    pub data_info_id: DataInfoId,
    /// The highest version of its records.
    pub version: DatumVersion,
    /// Its publishers, in the order of their ids.
    pub publishers: Vec<Arc<Publisher>>,
}

#[derive(Debug)]
struct Gathered {
    data_info_id: DataInfoId,
    version: DatumVersion,
    newest: Table<RegisterId, Newest>,
}

/// The newest that is known of one publisher.
#[derive(Debug)]
struct Newest {
    version: DatumVersion,
    /// Nothing if it is gone.
    publisher: Option<Arc<Publisher>>,
}

impl Replay {
    /// One that has taken nothing yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            places: seed.table(),
            parts: Vec::new(),
            services: Vec::new(),
            highest: DatumVersion::NOTHING_KNOWN,
            records: 0,
        }
    }

    /// Takes a record. Only services whose place on the ring is wanted are kept.
    pub fn take(
        &mut self,
        record: &Record<'_>,
        names: &mut Interner,
        is_mine: impl Fn(u64) -> bool,
    ) {
        self.records += 1;
        if let Some(version) = record.version() {
            self.highest = self.highest.max(version);
        }
        match record {
            Record::Put {
                version,
                service,
                publisher,
            } => {
                if let Some(service) = self.service(*service, *version, is_mine) {
                    service.put(*version, publisher, names);
                }
            }
            Record::Removed {
                version,
                service,
                register_id,
            } => {
                if let Some(service) = self.service(*service, *version, is_mine) {
                    service.remove(*version, register_id.to_register_id());
                }
            }
            Record::Empty { version, service } => {
                self.service(*service, *version, is_mine);
            }
            Record::Ceiling { .. } | Record::Sealed => {}
        }
    }

    /// All that is left, in an order that depends on nothing but itself.
    pub fn finish(self) -> Replayed {
        let mut services: Vec<_> = self.services.into_iter().map(Gathered::finish).collect();
        services.sort_unstable_by(|one, other| one.data_info_id.cmp(&other.data_info_id));
        Replayed {
            services,
            highest: self.highest,
            records: self.records,
        }
    }

    /// What is known of a service, if it is wanted.
    fn service(
        &mut self,
        service: Service<'_>,
        version: DatumVersion,
        is_mine: impl Fn(u64) -> bool,
    ) -> Option<&mut Gathered> {
        self.parts.clear();
        for part in [service.data_id, service.instance_id, service.group] {
            self.parts.extend_from_slice(part.as_bytes());
            // No text contains it.
            self.parts.push(0xff);
        }
        let place = match self.places.get(&self.parts[..]) {
            Some(place) => *place,
            None => self.meet(service, is_mine),
        };
        let gathered = &mut self.services[place?];
        gathered.version = gathered.version.max(version);
        Some(gathered)
    }

    fn meet(&mut self, service: Service<'_>, is_mine: impl Fn(u64) -> bool) -> Option<usize> {
        let data_info_id = service.to_data_info_id();
        let place = is_mine(data_info_id.ring_hash()).then(|| {
            self.services.push(Gathered {
                data_info_id,
                version: DatumVersion::NOTHING_KNOWN,
                newest: self.seed.table(),
            });
            self.services.len() - 1
        });
        self.places.insert(self.parts[..].into(), place);
        place
    }
}

impl Gathered {
    fn put(&mut self, version: DatumVersion, published: &Published<'_>, names: &mut Interner) {
        let put = |names| Newest {
            version,
            publisher: Some(published.to_publisher(names)),
        };
        match self.newest.entry(published.register_id().to_register_id()) {
            Entry::Vacant(vacant) => drop(vacant.insert(put(names))),
            Entry::Occupied(mut known) if known.get().is_older_than(version, published) => {
                known.insert(put(names));
            }
            Entry::Occupied(_) => {}
        }
    }

    fn remove(&mut self, version: DatumVersion, register_id: RegisterId) {
        let gone = || Newest {
            version,
            publisher: None,
        };
        let newest = self.newest.entry(register_id).or_insert_with(gone);
        if newest.version <= version {
            *newest = gone();
        }
    }

    fn finish(self) -> ReplayedService {
        let mut publishers = Vec::with_capacity(self.newest.len());
        for newest in self.newest.into_values() {
            publishers.extend(newest.publisher);
        }
        publishers.sort_unstable_by(|one, other| one.register_id.cmp(&other.register_id));
        ReplayedService {
            data_info_id: self.data_info_id,
            version: self.version,
            publishers,
        }
    }
}

impl Newest {
    fn is_older_than(&self, version: DatumVersion, published: &Published<'_>) -> bool {
        match &self.publisher {
            _ if self.version != version => self.version < version,
            // A snapshot also tells of a change of hands, for which no version is given.
            Some(held) => Published::of(held) < *published,
            None => false,
        }
    }
}
