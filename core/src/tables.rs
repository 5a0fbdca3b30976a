//! The one kind of hash table in here: seeded when it is made, so that a simulated run repeats exactly.
//!
//! Its order must never reach an effect; what has to be walked in order lives in a `BTreeMap` or a `Vec`.

use ahash::RandomState;

/// A hash table with a seed.
#[expect(clippy::disallowed_types, reason = "this is where the seed is given")]
pub type Table<K, V> = std::collections::HashMap<K, V, RandomState>;

/// The seed of a core's tables: random in production, so that no client can aim at one bucket; the run's own in a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// An empty table.
    pub fn table<K, V>(self) -> Table<K, V> {
        Table::with_hasher(self.hasher())
    }

    /// What its tables hash with.
    pub fn hasher(self) -> RandomState {
        let Self(seed) = self;
        RandomState::with_seeds(seed, !seed, seed.rotate_left(21), seed.rotate_left(42))
    }
}
