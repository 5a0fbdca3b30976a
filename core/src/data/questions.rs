//! What an owner shard tells about itself, in slices.

use crate::names::DataInfoId;
use crate::query::{Answer, Counts, DatumRow, PublisherRow, Query, Selection, page};
use crate::stats::Stats;

use super::{Data, Datum};

impl Data {
    /// The answer to a question about datums; `None` if it is one for the session role.
    pub fn answer(&self, query: &Query) -> Option<Answer> {
        let row = |id: &DataInfoId, datum: &Datum| DatumRow {
            data_info_id: id.clone(),
            version: datum.version().wire(),
            publishers: datum.publishers().len() as u64,
        };
        Some(match query {
            Query::Datum { data_info_id } => Answer::Datum(
                self.datums
                    .get(data_info_id)
                    .map(|datum| row(data_info_id, datum)),
            ),
            Query::Datums { after } => Answer::Datums(page(self.datums.ids(), *after, |id| {
                self.datums
                    .get(id)
                    .into_iter()
                    .map(move |datum| row(id, datum))
            })),
            Query::StoredPublishers { of, after } => Answer::Publishers(match of {
                Selection::DataInfoId(wanted) => {
                    page([wanted].into_iter(), *after, |id| self.stored(id))
                }
                Selection::All => page(self.datums.ids(), *after, |id| self.stored(id)),
                Selection::Connections(peers) => page(self.datums.ids(), *after, |id| {
                    self.stored(id)
                        .filter(|row| peers.contains(&row.registration.address))
                }),
            }),
            _ => return None,
        })
    }

    /// Adds what this shard holds.
    pub fn count(&self, counts: &mut Counts) {
        counts.datums = self.datums.len() as u64;
        counts.stored_publishers = self.stored_publishers as u64;
        counts.awaiting_publishers = self.awaiting() as u64;
    }

    /// The counters, with the gauges as they are.
    pub fn gauge(&mut self) -> &Stats {
        self.stats.datums = self.datums.len() as u64;
        self.stats.stored_publishers = self.stored_publishers as u64;
        self.stats.queue_changes = self.changed.len() as u64;
        self.stats.publishers_awaiting = self.awaiting() as u64;
        self.stats.journal_degraded = u64::from(self.journal.trouble().is_some());
        self.stats.journal_written_bytes = self.journal.written_bytes();
        self.stats.journal_disk_bytes = self.journal.disk_bytes();
        self.stats.journal_live_bytes = self.journal.live_bytes();
        self.stats.journal_pending_bytes = self.journal.pending_bytes() as u64;
        &self.stats
    }

    fn stored<'a>(&'a self, id: &'a DataInfoId) -> impl Iterator<Item = PublisherRow> + 'a {
        let publishers = self
            .datums
            .get(id)
            .into_iter()
            .flat_map(|datum| datum.publishers().iter());
        publishers.map(move |publisher| PublisherRow::of(id, publisher))
    }
}
