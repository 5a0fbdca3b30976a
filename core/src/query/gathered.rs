//! A slice while it is gathered: what may stand in it, and what looking for its rows may cost the core.

use super::{
    ConfiguratorRow, ConnectionRow, Cursor, DataInfoIdRow, DatumRow, HeldPublisher,
    RegistrationRow, Slice, SubscriberRow,
};
use crate::limits;

/// The rows so far. Whoever gathers asks before each entry whether the slice is full, and if it is, names that entry as the
/// place where the next begins: so each slice gets further by one entry at least, however large that is.
#[derive(Debug)]
pub(crate) struct Gathered<T> {
    rows: Vec<T>,
    bytes: usize,
    looked_at: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
            looked_at: 0,
        }
    }
}

impl<T: Weigh> Gathered<T> {
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= limits::QUERY_ROWS_MAX
            || self.bytes >= limits::QUERY_SLICE_BYTES_MAX
            || self.looked_at >= limits::QUERY_LOOKS_MAX
    }

    /// One more entry, or the empty place of one, was looked at.
    pub(crate) fn look(&mut self) {
        self.looked_at += 1;
    }

    pub(crate) fn add(&mut self, row: T) {
        self.bytes += row.bytes();
        self.rows.push(row);
    }

    /// The slice; the next begins there.
    pub(crate) fn until(self, next: Option<Cursor>) -> Slice<T> {
        let Self { rows, .. } = self;
        Slice { rows, next }
    }
}

/// What a row says, in bytes.
pub(crate) trait Weigh {
    /// About so many bytes of text.
    fn bytes(&self) -> usize;
}

impl Weigh for HeldPublisher {
    fn bytes(&self) -> usize {
        let texts = self.publisher.boxes.bytes().len();
        self.data_info_id.len() + texts + self.publisher.zone.len() + self.publisher.app.len()
    }
}

impl Weigh for RegistrationRow {
    fn bytes(&self) -> usize {
        let names = [&self.zone, &self.app, &self.process_id];
        let names = names.into_iter().flatten().map(|name| name.len());
        self.data_info_id.len() + names.sum::<usize>()
    }
}

impl Weigh for SubscriberRow {
    fn bytes(&self) -> usize {
        self.registration.bytes()
    }
}

impl Weigh for ConfiguratorRow {
    fn bytes(&self) -> usize {
        self.registration.bytes()
    }
}

impl Weigh for DataInfoIdRow {
    fn bytes(&self) -> usize {
        self.data_info_id.len()
    }
}

impl Weigh for DatumRow {
    fn bytes(&self) -> usize {
        self.data_info_id.len()
    }
}

impl Weigh for ConnectionRow {
    fn bytes(&self) -> usize {
        self.app.as_ref().map_or(0, |app| app.len())
    }
}
