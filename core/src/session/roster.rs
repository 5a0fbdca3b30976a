//! The services of a table in an order of their own, for those who walk them a slice at a time.

use std::collections::BTreeSet;

use crate::names::DataInfoId;

/// Services in the order of their places on the ring. A hash table has no order that outlives its growth; this one is touched only when a
/// service comes or goes, not when it changes.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// The place on the ring stands beside each id, so that finding one looks at hardly any other.
    services: BTreeSet<(u64, DataInfoId)>,
}

impl Roster {
    pub(super) fn add(&mut self, id: &DataInfoId) {
        self.services.insert(entry(id));
    }

    pub(super) fn remove(&mut self, id: &DataInfoId) {
        self.services.remove(&entry(id));
    }

    /// This service, if it is here, and all that follow it; all there are without one.
    pub(super) fn from(&self, first: Option<&DataInfoId>) -> impl Iterator<Item = &DataInfoId> {
        let services = match first {
            Some(first) => self.services.range(entry(first)..),
            None => self.services.range(..),
        };
        services.map(|(_, id)| id)
    }
}

fn entry(id: &DataInfoId) -> (u64, DataInfoId) {
    (id.ring_hash(), id.clone())
}

/// What stands in either of two such walks, each once and in their order.
pub(super) fn merged<'a>(
    one: impl Iterator<Item = &'a DataInfoId>,
    other: impl Iterator<Item = &'a DataInfoId>,
) -> impl Iterator<Item = &'a DataInfoId> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if a == b => {
            other.next();
            one.next()
        }
        (Some(a), Some(b)) if b < a => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: impl Iterator<Item = usize>) -> Vec<DataInfoId> {
        numbers
            .map(|number| DataInfoId::new(&format!("service-{number}"), "", ""))
            .collect()
    }

    fn roster(ids: &[DataInfoId]) -> Roster {
        let mut roster = Roster::default();
        ids.iter().for_each(|id| roster.add(id));
        roster
    }

    #[test]
    fn a_walk_goes_on_where_it_was_though_that_service_has_left() {
        let mut ids = ids(0..100);
        let mut roster = roster(&ids);
        ids.sort_unstable();

        let first: Vec<_> = roster.from(None).take(40).cloned().collect();
        roster.remove(&ids[40]);
        roster.remove(&ids[39]);
        let rest: Vec<_> = roster.from(Some(&ids[40])).cloned().collect();

        assert_eq!(first, ids[..40]);
        assert_eq!(rest, ids[41..]);
    }

    #[test]
    fn what_is_in_both_comes_once() {
        let (even, third) = (ids((0..60).step_by(2)), ids((0..60).step_by(3)));
        let (even, third) = (roster(&even), roster(&third));

        let both: Vec<_> = merged(even.from(None), third.from(None)).cloned().collect();

        let mut expected = ids((0..60).filter(|number| number % 2 == 0 || number % 3 == 0));
        expected.sort_unstable();
        assert_eq!(both, expected);
    }
}
