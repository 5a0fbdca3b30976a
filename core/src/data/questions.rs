//! What an owner shard tells about itself, in slices.

use std::sync::Arc;

use crate::names::{DataInfoId, Name, RegisterId};
use crate::publisher::Publisher;
use crate::query::{
    Answer, Counts, Cursor, DatumRow, Gathered, HeldPublisher, Query, Selection, Slice,
};
use crate::stats::Stats;

use super::{Data, Datum};

impl Data {
    /// The answer to a question about datums; `None` if it is one for the session role.
    pub fn answer(&self, query: &Query) -> Option<Answer> {
        Some(match query {
            Query::Datum { data_info_id } => {
                let datum = self.datums.get(data_info_id);
                Answer::Datum(datum.map(|datum| datum_row(data_info_id, datum)))
            }
            Query::Datums { after } => Answer::Datums(self.datum_rows(after)),
            Query::StoredPublishers { of, after } => Answer::Publishers(match of {
                Selection::DataInfoId(wanted) => self.publishers_of(wanted, after),
                Selection::All | Selection::Connections(_) => self.stored_publishers(of, after),
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

    fn datum_rows(&self, after: &Cursor) -> Slice<DatumRow> {
        let (start, _) = after.place();
        let mut gathered = Gathered::default();
        for (place, held) in self.datums.places_from(start) {
            if gathered.is_full() {
                return gathered.until(Some(Cursor::at(place)));
            }
            gathered.look();
            if let Some((id, datum)) = held {
                gathered.add(datum_row(id, datum));
            }
        }
        gathered.until(None)
    }

    fn publishers_of(&self, id: &DataInfoId, after: &Cursor) -> Slice<HeldPublisher> {
        let mut gathered = Gathered::default();
        let datum = self.datums.get(id);
        let stopped = datum.map(|datum| {
            let all = |_: &Publisher| true;
            gather(id, datum, told_of(after), all, &mut gathered)
        });
        match stopped {
            None | Some(Ok(())) => gathered.until(None),
            Some(Err(behind)) => gathered.until(Some(Cursor::Datum { place: 0, behind })),
        }
    }

    fn stored_publishers(&self, of: &Selection, after: &Cursor) -> Slice<HeldPublisher> {
        let (start, _) = after.place();
        // Only of the datum at which the last slice ended some are told.
        let mut told = told_of(after);
        let mut gathered = Gathered::default();
        for (place, held) in self.datums.places_from(start) {
            let told = told.take();
            if gathered.is_full() {
                return gathered.until(Some(Cursor::at(place)));
            }
            gathered.look();
            let Some((id, datum)) = held else {
                continue;
            };
            let is_meant = |publisher: &Publisher| of.means_peer(&publisher.address);
            if let Err(behind) = gather(id, datum, told, is_meant, &mut gathered) {
                return gathered.until(Some(Cursor::Datum { place, behind }));
            }
        }
        gathered.until(None)
    }
}

fn datum_row(data_info_id: &DataInfoId, datum: &Datum) -> DatumRow {
    DatumRow {
        data_info_id: data_info_id.clone(),
        version: datum.version().wire(),
        publishers: datum.publishers().len() as u64,
    }
}

/// The last publisher that was told of the datum at which the slice before ended.
fn told_of(after: &Cursor) -> Option<&(Name, RegisterId)> {
    match after {
        Cursor::Datum { behind, .. } => behind.as_ref(),
        _ => None,
    }
}

/// Gathers of one datum what is meant and behind `told`. The error says behind which publisher the next slice goes on.
fn gather(
    id: &DataInfoId,
    datum: &Datum,
    told: Option<&(Name, RegisterId)>,
    is_meant: impl Fn(&Publisher) -> bool,
    gathered: &mut Gathered<HeldPublisher>,
) -> Result<(), Option<(Name, RegisterId)>> {
    let mut last: Option<&Publisher> = None;
    for publisher in datum.publishers().behind(told) {
        if gathered.is_full() {
            let behind = last.map(|last| (Name::clone(&last.zone), last.register_id.clone()));
            return Err(behind.or_else(|| told.cloned()));
        }
        gathered.look();
        if is_meant(publisher) {
            gathered.add(HeldPublisher {
                data_info_id: id.clone(),
                publisher: Arc::clone(publisher),
            });
        }
        last = Some(publisher);
    }
    Ok(())
}
