//! One copy of each name in use: ten thousand publishers of one zone share its text, and all of a service its id.

use ahash::RandomState;
use hashbrown::HashTable;

use super::{DEFAULT_GROUP, DEFAULT_INSTANCE_ID, DataInfoId, Name, or_default};
use crate::tables::{Seed, Table};

/// How many names are kept before the first look for those nobody uses any more.
const FIRST_SWEEP: usize = 1024;

/// The names of a core.
#[derive(Debug)]
pub struct Interner {
    names: Table<Name, ()>,
    sweep_names_at: usize,
    /// By their parts, so that one that is known is found before anything is made or hashed for the ring.
    services: HashTable<DataInfoId>,
    sweep_services_at: usize,
    hasher: RandomState,
}

impl Interner {
    /// An empty one.
    pub fn new(seed: Seed) -> Self {
        Self {
            names: seed.table(),
            sweep_names_at: FIRST_SWEEP,
            services: HashTable::new(),
            sweep_services_at: FIRST_SWEEP,
            hasher: seed.hasher(),
        }
    }

    /// The shared copy of this text. Names leave with their last user, at the latest when the number of names has doubled.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some((name, ())) = self.names.get_key_value(text) {
            return Name::clone(name);
        }
        if self.names.len() >= self.sweep_names_at {
            self.names.retain(|name, ()| Name::strong_count(name) > 1);
            self.sweep_names_at = next_sweep(self.names.len());
        }
        let name = Name::from(text);
        self.names.insert(Name::clone(&name), ());
        name
    }

    /// The shared id with these parts, as [`DataInfoId::new`] makes it. Ids leave as names do.
    pub fn data_info_id(&mut self, data_id: &str, instance_id: &str, group: &str) -> DataInfoId {
        let parts = [
            data_id,
            or_default(instance_id, DEFAULT_INSTANCE_ID),
            or_default(group, DEFAULT_GROUP),
        ];
        let hash = self.hasher.hash_one(parts);
        if let Some(known) = self.services.find(hash, |known| known.parts() == parts) {
            return known.clone();
        }
        if self.services.len() >= self.sweep_services_at {
            self.services.retain(|id| id.owners() > 1);
            self.sweep_services_at = next_sweep(self.services.len());
        }
        let [data_id, instance_id, group] = parts;
        let id = DataInfoId::new(data_id, instance_id, group);
        let hash_of = |id: &DataInfoId| self.hasher.hash_one(id.parts());
        self.services.insert_unique(hash, id.clone(), hash_of);
        id
    }
}

fn next_sweep(len: usize) -> usize {
    (len * 2).max(FIRST_SWEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_the_same_shares_it() {
        let mut names = Interner::new(Seed(1));

        let [one, same, other] = [("a", ""), ("a", DEFAULT_INSTANCE_ID), ("a", "tenant")]
            .map(|(data_id, instance_id)| names.data_info_id(data_id, instance_id, "g"));

        assert_eq!(one, DataInfoId::new("a", "", "g"));
        assert_eq!(one.owners(), 3, "two of ours and the table's");
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(names.intern("zone").as_ptr(), names.intern("zone").as_ptr());
    }

    #[test]
    fn parts_that_join_to_the_same_text_are_not_shared() {
        let mut names = Interner::new(Seed(1));

        let joined = names.data_info_id("ab", "c", "d");
        let split = names.data_info_id("a", "bc", "d");

        assert_eq!(split, DataInfoId::new("a", "bc", "d"));
        assert_ne!(joined, split);
    }

    #[test]
    fn what_nobody_uses_leaves() {
        let mut names = Interner::new(Seed(1));
        let kept: Vec<_> = (0..10)
            .map(|number| names.data_info_id(&format!("kept {number}"), "", ""))
            .collect();

        for number in 0..10 * FIRST_SWEEP {
            names.data_info_id(&number.to_string(), "", "");
            names.intern(&number.to_string());
        }

        assert!(names.services.len() <= FIRST_SWEEP);
        assert!(names.names.len() <= FIRST_SWEEP);
        for (number, id) in kept.iter().enumerate() {
            let same = names.data_info_id(&format!("kept {number}"), "", "");
            assert!(std::ptr::eq(same.data_id(), id.data_id()));
        }
    }
}
