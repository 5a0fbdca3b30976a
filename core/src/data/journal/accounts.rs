//! How much of what is written is live.

use crate::data::datums::DatumStore;
use crate::names::DataInfoId;
use crate::publisher::Publisher;

use super::record::Entry;
use super::segment;

/// What all live publishers take as records, each by itself: in a log they are mostly smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    bytes: u64,
    publishers: u64,
}

impl Accounts {
    /// A publisher is there, in the place of another or of none.
    pub(super) fn put(
        &mut self,
        data_info_id: &DataInfoId,
        publisher: &Publisher,
        replaced: Option<&Publisher>,
    ) {
        self.bytes += bytes(data_info_id, publisher);
        self.publishers += 1;
        if let Some(replaced) = replaced {
            self.remove(data_info_id, replaced);
        }
    }

    /// A publisher is gone: the very one that was put last.
    pub(super) fn remove(&mut self, data_info_id: &DataInfoId, publisher: &Publisher) {
        self.bytes -= bytes(data_info_id, publisher);
        self.publishers -= 1;
    }

    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    pub(super) fn publishers(self) -> u64 {
        self.publishers
    }

    /// That they are what a count of all comes to, where that is soon counted. Free in a release.
    pub(super) fn check_if_few(self, datums: &DatumStore) {
        const FEW: usize = 100;
        if cfg!(debug_assertions) && datums.len() <= FEW && self.publishers <= FEW as u64 {
            self.check(datums);
        }
    }

    /// That they are what a count of all comes to. Free in a release.
    pub(super) fn check(self, datums: &DatumStore) {
        debug_assert_eq!(self, Self::of(datums), "accounts and a recount");
    }

    /// What a count of all comes to.
    fn of(datums: &DatumStore) -> Self {
        let mut accounts = Self::default();
        let mut place = 0;
        while let Some((found, data_info_id, datum)) = datums.next_from(place) {
            for publisher in datum.publishers().iter() {
                accounts.put(data_info_id, publisher, None);
            }
            place = found + 1;
        }
        accounts
    }
}

/// What a live publisher takes, under whatever version.
fn bytes(data_info_id: &DataInfoId, publisher: &Publisher) -> u64 {
    (segment::FRAGMENT_HEAD_BYTES + Entry::put_len(data_info_id, publisher)) as u64
}
