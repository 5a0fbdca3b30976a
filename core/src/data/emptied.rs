//! Services without publishers, whose versions are remembered: clients hold lists of them, and ignore whatever is not above.

use std::collections::BTreeSet;

use crate::limits;
use crate::machine::Instant;
use crate::names::DataInfoId;

/// What one takes beside its name: the datum, its place in the tables, its turn to be forgotten.
const OVERHEAD_BYTES: usize = 320;

/// By when they may be forgotten, each once.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    by_time: BTreeSet<(Instant, DataInfoId)>,
    bytes: usize,
}

impl Emptied {
    pub(super) fn insert(&mut self, until: Instant, data_info_id: &DataInfoId) {
        if self.by_time.insert((until, data_info_id.clone())) {
            self.bytes += weight(data_info_id);
        }
    }

    pub(super) fn remove(&mut self, until: Instant, data_info_id: &DataInfoId) {
        if self.by_time.remove(&(until, data_info_id.clone())) {
            self.bytes -= weight(data_info_id);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.by_time.first().map(|&(until, _)| until)
    }

    /// Takes the next one out that is to be forgotten: its time is over, or all together take too much memory.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<DataInfoId> {
        let is_over = self.next_timeout()? <= now;
        if !is_over && self.bytes <= limits::EMPTY_DATUMS_BYTES_MAX {
            return None;
        }
        let (_, data_info_id) = self.by_time.pop_first()?;
        self.bytes -= weight(&data_info_id);
        Some(data_info_id)
    }
}

fn weight(data_info_id: &DataInfoId) -> usize {
    OVERHEAD_BYTES + data_info_id.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> DataInfoId {
        DataInfoId::new(&format!("{number:01000}"), "", "")
    }

    #[test]
    fn those_that_are_over_go_and_then_the_oldest_beyond_the_bound() {
        let mut emptied = Emptied::default();
        let count = limits::EMPTY_DATUMS_BYTES_MAX / weight(&id(0));
        for number in 0..count + 2 {
            emptied.insert(Instant(10 + number as u64), &id(number));
        }

        emptied.remove(Instant(11), &id(1));
        assert_eq!(emptied.pop_due(Instant(5)), Some(id(0)));
        assert_eq!(emptied.pop_due(Instant(5)), None);
        assert_eq!(emptied.pop_due(Instant(12)), Some(id(2)));
        assert_eq!(emptied.pop_due(Instant(12)), None);
        assert_eq!(emptied.next_timeout(), Some(Instant(13)));
    }
}
