//! The datums of one shard, found by their id and walked in slices: each has a place that it keeps while it lives.

use slab::Slab;

use crate::names::DataInfoId;
use crate::tables::{Seed, Table};

use super::datum::Datum;

/// All datums of a shard.
#[derive(Debug)]
pub(super) struct DatumStore {
    places: Table<DataInfoId, usize>,
    datums: Slab<(DataInfoId, Datum)>,
}

impl DatumStore {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            places: seed.table(),
            datums: Slab::new(),
        }
    }

    pub(super) fn get(&self, id: &DataInfoId) -> Option<&Datum> {
        let &place = self.places.get(id)?;
        Some(&self.datums[place].1)
    }

    pub(super) fn get_mut(&mut self, id: &DataInfoId) -> Option<&mut Datum> {
        let &place = self.places.get(id)?;
        Some(&mut self.datums[place].1)
    }

    /// The datum of this id; an empty one that was never published if there was none.
    pub(super) fn get_or_insert(&mut self, id: &DataInfoId) -> &mut Datum {
        let place = match self.places.get(id) {
            Some(&place) => place,
            None => {
                let place = self.datums.insert((id.clone(), Datum::default()));
                self.places.insert(id.clone(), place);
                place
            }
        };
        &mut self.datums[place].1
    }

    pub(super) fn remove(&mut self, id: &DataInfoId) {
        if let Some(place) = self.places.remove(id) {
            self.datums.remove(place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.datums.len()
    }

    /// Each place from this one on, with what is there. As with `next_from`, what stays is met however slowly it is walked.
    pub(super) fn places_from(
        &self,
        start: u64,
    ) -> impl Iterator<Item = (u64, Option<(&DataInfoId, &Datum)>)> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        (start..self.datums.capacity()).map(|place| {
            let held = self.datums.get(place);
            (place as u64, held.map(|(id, datum)| (id, datum)))
        })
    }

    /// The first datum at this place or behind it, and its place. Whoever goes on behind it each time meets every datum that
    /// was there from the first step to the last.
    pub(super) fn next_from(&self, place: usize) -> Option<(usize, &DataInfoId, &Datum)> {
        // Places are dense: a slab hands out a freed one before it grows.
        let end = self.datums.capacity();
        let (place, (id, datum)) =
            (place..end).find_map(|place| Some((place, self.datums.get(place)?)))?;
        Some((place, id, datum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> DataInfoId {
        DataInfoId::new(&format!("service-{number}"), "", "")
    }

    #[test]
    fn a_walk_meets_every_datum_that_stays_whatever_else_comes_and_goes() {
        let mut datums = DatumStore::new(Seed(1));
        for number in 0..100 {
            datums.get_or_insert(&id(number));
        }

        let mut met = Vec::new();
        let mut place = 0;
        let mut step = 0;
        while let Some((at, data_info_id, _)) = datums.next_from(place) {
            met.push(data_info_id.clone());
            place = at + 1;
            step += 1;
            datums.remove(&id(step * 7 % 50));
            if step < 50 {
                datums.get_or_insert(&id(100 + step));
            }
        }

        for number in 50..100 {
            let met = met.iter().filter(|met| **met == id(number)).count();
            assert_eq!(met, 1, "service {number}");
        }
    }

    #[test]
    fn what_was_removed_is_not_there_and_its_place_is_used_again() {
        let mut datums = DatumStore::new(Seed(1));
        datums.get_or_insert(&id(1));
        datums.remove(&id(1));
        assert!(datums.get(&id(1)).is_none());

        datums.get_or_insert(&id(2));

        assert_eq!(
            (datums.len(), datums.next_from(0).map(|(at, ..)| at)),
            (1, Some(0))
        );
    }
}
