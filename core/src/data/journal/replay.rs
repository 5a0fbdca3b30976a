//! Puts records together again to what a shard held when the last of them was written.
//!
//! Per publisher the record of the highest version wins, so neither order nor repetition matters: segments may be read in any
//! order, a snapshot may overlap what was written meanwhile, and records of several shards may be mixed. All are gathered in a
//! row and sorted now and then: a table per service would be as many cold lines of memory as there are records.

use std::cmp::Ordering;
use std::sync::Arc;

use super::record::{Published, Record, Service};
use crate::names::{DataInfoId, Interner, RegisterId};
use crate::publisher::Publisher;
use crate::tables::{Seed, Table};
use crate::version::DatumVersion;

/// A replay at work.
#[derive(Debug)]
pub struct Replay {
    /// Where each service is among `services`; nothing for one that is another shard's.
    places: Table<DataInfoId, Option<usize>>,
    /// Each service with the highest version of its records.
    services: Vec<(DataInfoId, DatumVersion)>,
    /// What became of publishers: sorted, and the newest of each only, up to the last sweep.
    fates: Vec<Fate>,
    sweep_at: usize,
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
    /// How many services were there that were not wanted.
    pub unwanted: usize,
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

/// What became of one publisher at one version.
#[derive(Debug)]
struct Fate {
    /// Which service, by its place.
    service: usize,
    register_id: RegisterId,
    version: DatumVersion,
    /// Nothing if it is gone.
    publisher: Option<Arc<Publisher>>,
}

impl Replay {
    /// So many outdated records at least are worth a sweep.
    const FIRST_SWEEP: usize = if cfg!(test) { 100 } else { 1 << 17 };

    /// One that has taken nothing yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            places: seed.table(),
            services: Vec::new(),
            fates: Vec::new(),
            sweep_at: Self::FIRST_SWEEP,
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
                if let Some(service) = self.place(*service, *version, names, is_mine) {
                    self.fates.push(Fate {
                        service,
                        register_id: publisher.register_id().to_register_id(),
                        version: *version,
                        publisher: Some(publisher.to_publisher(names)),
                    });
                }
            }
            Record::Removed {
                version,
                service,
                register_id,
            } => {
                if let Some(service) = self.place(*service, *version, names, is_mine) {
                    self.fates.push(Fate {
                        service,
                        register_id: register_id.to_register_id(),
                        version: *version,
                        publisher: None,
                    });
                }
            }
            Record::Empty { version, service } => {
                self.place(*service, *version, names, is_mine);
            }
            Record::Ceiling { .. } | Record::Sealed => {}
        }
        if self.fates.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = (2 * self.fates.len()).max(Self::FIRST_SWEEP);
        }
    }

    /// All that is left, in an order that depends on nothing but itself.
    pub fn finish(mut self) -> Replayed {
        self.sweep();
        let unwanted = self.places.len() - self.services.len();
        let service = |(data_info_id, version)| ReplayedService {
            data_info_id,
            version,
            publishers: Vec::new(),
        };
        let mut services: Vec<_> = self.services.into_iter().map(service).collect();
        for run in self
            .fates
            .chunk_by_mut(|one, other| one.service == other.service)
        {
            let publishers = run.iter_mut().filter_map(|fate| fate.publisher.take());
            services[run[0].service].publishers = publishers.collect();
        }
        services.sort_unstable_by(|one, other| one.data_info_id.cmp(&other.data_info_id));
        Replayed {
            services,
            highest: self.highest,
            records: self.records,
            unwanted,
        }
    }

    /// Where a service of this version is, if it is wanted.
    fn place(
        &mut self,
        service: Service<'_>,
        version: DatumVersion,
        names: &mut Interner,
        is_mine: impl Fn(u64) -> bool,
    ) -> Option<usize> {
        let data_info_id = service.to_data_info_id(names);
        let place = match self.places.get(&data_info_id) {
            Some(place) => *place,
            None => self.meet(data_info_id, is_mine),
        }?;
        let (_, highest) = &mut self.services[place];
        *highest = version.max(*highest);
        Some(place)
    }

    fn meet(&mut self, data_info_id: DataInfoId, is_mine: impl Fn(u64) -> bool) -> Option<usize> {
        let place = is_mine(data_info_id.ring_hash()).then_some(self.services.len());
        if place.is_some() {
            self.services
                .push((data_info_id.clone(), DatumVersion::NOTHING_KNOWN));
        }
        self.places.insert(data_info_id, place);
        place
    }

    /// Leaves the newest of each publisher. Also of those that are gone: what is older may still come.
    fn sweep(&mut self) {
        self.fates.sort_by(Fate::newest_first);
        self.fates
            .dedup_by(|older, newer| older.key() == newer.key());
    }
}

impl Fate {
    fn key(&self) -> (usize, &RegisterId) {
        (self.service, &self.register_id)
    }

    fn newest_first(&self, other: &Self) -> Ordering {
        let by_key = self.key().cmp(&other.key());
        let by_version = || other.version.cmp(&self.version);
        by_key.then_with(by_version).then_with(|| {
            // A snapshot also tells of a change of hands, for which no version is given.
            match (&self.publisher, &other.publisher) {
                (Some(one), Some(other)) => Published::of(other).cmp(&Published::of(one)),
                (one, other) => one.is_some().cmp(&other.is_some()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::journal::record::samples::{self, Random};
    use crate::data::journal::record::{self, Entry, Told};

    const SEED: Seed = Seed(3);

    /// A record that borrows nothing: alone in its batch.
    type Line = Vec<u8>;

    fn line(entry: &Entry<'_>) -> Line {
        let mut bytes = vec![1];
        entry.encode(&mut Told::default(), &mut bytes);
        bytes
    }

    fn replayed<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Replayed {
        replayed_if(lines, |_| true)
    }

    fn replayed_if<'a>(
        lines: impl IntoIterator<Item = &'a Line>,
        is_mine: impl Fn(u64) -> bool + Copy,
    ) -> Replayed {
        let mut names = Interner::new(SEED);
        let mut replay = Replay::new(SEED);
        for line in lines {
            record::read(line, |record| replay.take(&record, &mut names, is_mine)).unwrap();
        }
        replay.finish()
    }

    /// A shard that changes, and all it writes about that: a line per change, ceilings, and now and then all it holds.
    struct Shard {
        random: Random,
        version: u64,
        services: BTreeMap<DataInfoId, (DatumVersion, BTreeMap<RegisterId, Arc<Publisher>>)>,
        lines: Vec<Line>,
    }

    impl Shard {
        fn after(changes: usize, seed: u64) -> Self {
            let mut shard = Self {
                random: Random(seed),
                version: 1,
                services: BTreeMap::new(),
                lines: Vec::new(),
            };
            for _ in 0..changes {
                match shard.random.below(20) {
                    0 => shard.snapshot(),
                    1 => {
                        let version = DatumVersion::new(shard.version + 1);
                        shard.lines.push(line(&Entry::Ceiling { version }));
                    }
                    _ => shard.change(),
                }
            }
            shard
        }

        fn change(&mut self) {
            self.version += 1 + self.random.below(3) as u64;
            let version = DatumVersion::new(self.version);
            let data_info_id = samples::service(self.random.below(6));
            let number = self.random.below(8);
            let publisher = samples::publisher(&mut self.random, number, 60);
            let known = self.services.get_mut(&data_info_id);
            let held = known
                .as_ref()
                .is_some_and(|(_, held)| held.contains_key(&publisher.register_id));
            if held && self.random.below(2) == 0 {
                let (datum, held) = known.expect("it is held");
                *datum = version;
                held.remove(&publisher.register_id);
                let entry = Entry::removed(&data_info_id, &publisher.register_id, version);
                self.lines.push(line(&entry));
                return;
            }
            self.lines
                .push(line(&Entry::put(&data_info_id, &publisher, version)));
            let (datum, held) = self
                .services
                .entry(data_info_id)
                .or_insert((version, BTreeMap::new()));
            *datum = version;
            held.insert(publisher.register_id.clone(), Arc::new(publisher));
        }

        fn snapshot(&mut self) {
            for (data_info_id, (version, held)) in &self.services {
                if held.is_empty() {
                    self.lines.push(line(&Entry::empty(data_info_id, *version)));
                }
                for publisher in held.values() {
                    let entry = Entry::put(data_info_id, publisher, *version);
                    self.lines.push(line(&entry));
                }
            }
        }

        fn holds(&self) -> Vec<ReplayedService> {
            let service = |(data_info_id, (version, held)): (&DataInfoId, &(_, BTreeMap<_, _>))| {
                ReplayedService {
                    data_info_id: data_info_id.clone(),
                    version: *version,
                    publishers: held.values().map(Arc::clone).collect(),
                }
            };
            self.services.iter().map(service).collect()
        }
    }

    fn shuffle(lines: &mut [&Line], random: &mut Random) {
        for end in (1..lines.len()).rev() {
            lines.swap(end, random.below(end + 1));
        }
    }

    #[test]
    fn any_order_with_any_repetition_is_what_the_shard_held() {
        for seed in 0..100 {
            let shard = Shard::after(200, seed);
            let mut random = Random(!seed);
            let mut lines: Vec<_> = shard.lines.iter().collect();
            assert_eq!(replayed(lines.iter().copied()).services, shard.holds());

            for _ in 0..5 {
                let repeated = lines[random.below(lines.len())];
                lines.push(repeated);
                shuffle(&mut lines, &mut random);

                let replayed = replayed(lines.iter().copied());

                assert_eq!(replayed.services, shard.holds(), "seed {seed}");
                assert_eq!(replayed.records, lines.len() as u64);
            }
        }
    }

    #[test]
    fn a_snapshot_replaces_what_was_written_before_it() {
        let mut shard = Shard::after(200, 7);
        shard.lines.clear();
        shard.snapshot();

        assert_eq!(replayed(&shard.lines).services, shard.holds());
    }

    #[test]
    fn each_shard_finds_its_own_among_the_records_of_all() {
        let shard = Shard::after(200, 8);

        let odd = replayed_if(&shard.lines, |hash| hash % 2 == 1);
        let even = replayed_if(&shard.lines, |hash| hash % 2 == 0);

        let is_odd = |service: &ReplayedService| service.data_info_id.ring_hash() % 2 == 1;
        let (odds, evens): (Vec<_>, Vec<_>) = shard.holds().into_iter().partition(is_odd);
        assert!(!odds.is_empty() && !evens.is_empty());
        assert_eq!((odd.services, even.services), (odds, evens));
        assert_eq!(odd.highest, even.highest);
    }

    #[test]
    fn the_highest_version_is_that_of_a_ceiling_too() {
        let ceiling = Entry::Ceiling {
            version: DatumVersion::new(900),
        };

        assert_eq!(replayed(&[line(&ceiling)]).highest, DatumVersion::new(900));
        assert_eq!(replayed(&[]).highest, DatumVersion::NOTHING_KNOWN);
    }

    #[test]
    fn a_change_of_hands_has_no_version_and_the_newer_hand_wins() {
        let service = samples::service(1);
        let version = DatumVersion::new(5);
        let before = samples::publisher(&mut Random(1), 1, 60);
        let mut after = samples::publisher(&mut Random(1), 1, 60);
        after.order.version += 1;
        let lines =
            [&before, &after].map(|publisher| line(&Entry::put(&service, publisher, version)));

        for order in [[0, 1], [1, 0]] {
            let replayed = replayed(order.map(|index| &lines[index]));

            assert_eq!(*replayed.services[0].publishers[0], after);
        }
    }
}
