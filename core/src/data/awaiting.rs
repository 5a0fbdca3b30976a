//! Services that had publishers before the restart, and wait for them to come back before anybody is shown a list.
//!
//! Clients need up to ten seconds to find a restarted server again. Whoever asks meanwhile would be shown the few that were
//! faster, and take that for news: so a list is held until it is as long as it was, bounded in time.

use std::collections::BTreeMap;

use crate::machine::Instant;
use crate::names::{DataInfoId, Member};
use crate::tables::Table;
use crate::version::DatumVersion;

/// What a service is known by over a restart: its place on the ring.
type Place = u64;

/// Lists that are held, and who asked for them.
#[derive(Debug)]
pub(super) struct Awaiting {
    until: Instant,
    /// How many publishers each service had.
    expected: Table<Place, u32>,
    asking: BTreeMap<DataInfoId, BTreeMap<Member, DatumVersion>>,
}

impl Awaiting {
    pub(super) fn new(until: Instant, expected: Table<Place, u32>) -> Self {
        Self {
            until,
            expected,
            asking: BTreeMap::new(),
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The services that still wait, in no order.
    pub(super) fn expected(&self) -> impl Iterator<Item = (u64, u32)> {
        self.expected
            .iter()
            .map(|(&place, &publishers)| (place, publishers))
    }

    /// Whether the service at this place still waits.
    pub(super) fn expects(&self, place: u64) -> bool {
        self.expected.contains_key(&place)
    }

    /// Whether a list of so many publishers is shorter than before the restart.
    pub(super) fn holds(&self, data_info_id: &DataInfoId, publishers: usize) -> bool {
        let expected = self.expected.get(&data_info_id.ring_hash());
        expected.is_some_and(|&expected| publishers < expected as usize)
    }

    /// Remembers who wants to see it.
    pub(super) fn hold(&mut self, session: Member, data_info_id: DataInfoId, have: DatumVersion) {
        self.asking
            .entry(data_info_id)
            .or_default()
            .insert(session, have);
    }

    /// The list is whole again: who asked for it.
    pub(super) fn release(
        &mut self,
        data_info_id: &DataInfoId,
    ) -> impl Iterator<Item = (Member, DatumVersion)> + use<> {
        self.expected.remove(&data_info_id.ring_hash());
        self.asking
            .remove(data_info_id)
            .unwrap_or_default()
            .into_iter()
    }

    /// The time is over: everybody who asked for anything.
    pub(super) fn into_asking(self) -> impl Iterator<Item = (DataInfoId, Member, DatumVersion)> {
        self.asking
            .into_iter()
            .flat_map(|(data_info_id, sessions)| {
                sessions
                    .into_iter()
                    .map(move |(session, have)| (data_info_id.clone(), session, have))
            })
    }
}
