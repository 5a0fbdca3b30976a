//! How a log is replaced by what is left of it: a new segment takes the changes, all datums are written in slices, and only when both
//! are on the medium does a new manifest name them and nothing else.
//!
//! A datum may change while it is written: its records in the new live segment carry higher versions, and win.

use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{Name, RegisterId};
use crate::version::VersionClock;

use super::live::Live;
use super::manifest::Manifest;
use super::record::Entry;
use super::segment::SegmentWriter;
use super::{Condition, DatumStore, File, Journal, Operation, Report, Seal};

/// A snapshot on its way, or only the first segment of a life.
#[derive(Debug)]
pub(super) struct Snapshot {
    stage: Stage,
    /// Only the live segment is new; what there was stays.
    is_first_segment_only: bool,
    /// Changes were shown that are in no log: what follows them counts only together with the snapshot.
    follows_gap: bool,
    /// It is on the medium sooner than the log before it would be, of which nothing more is synced.
    replaces_sync: bool,
    /// The new live segment.
    live: Option<u64>,
    writer: Option<(u64, SegmentWriter)>,
    written: u64,
    cursor: Cursor,
    is_complete: bool,
}

/// What is done next, or is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The manifest names a new live segment, or only knows that its number is taken.
    Announce,
    /// Changes go there as soon as none is left for the old one.
    Rotate,
    /// What the old one got last is on the medium.
    SyncOld(u64),
    /// All datums, slice by slice.
    Write,
    /// All of them are on the medium.
    SyncSnapshot,
    /// The live segment holds the ceiling, on the medium: the usual sync does it.
    AwaitCeiling,
    /// The manifest names the snapshot and the live segment.
    Replace,
    /// The manifest knows that the first segment of this life is begun.
    Confirm,
}

/// How far the walk is.
#[derive(Clone, Debug, Default)]
struct Cursor {
    place: usize,
    /// The publisher of the datum at this place that was written last.
    after: Option<(Name, RegisterId)>,
}

impl Snapshot {
    /// What the journal of a new life begins with.
    pub(super) fn of_first_segment(with_snapshot: bool) -> Self {
        Self {
            is_first_segment_only: !with_snapshot,
            ..Self::new()
        }
    }

    fn new() -> Self {
        Self {
            stage: Stage::Announce,
            is_first_segment_only: false,
            follows_gap: false,
            replaces_sync: false,
            live: None,
            writer: None,
            written: 0,
            cursor: Cursor::default(),
            is_complete: false,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.written
    }

    /// Whether it will replace the live segment.
    pub(super) fn is_before_rotation(&self) -> bool {
        matches!(self.stage, Stage::Announce | Stage::Rotate)
    }

    /// Whether something of the log before the live segment may be in the kernel only.
    pub(super) fn awaits_medium(&self) -> bool {
        self.replaces_sync || self.follows_gap || matches!(self.stage, Stage::SyncOld(_))
    }

    /// Whether no manifest names it or its live segment yet, as changes before them are in no log: with what follows such a gap alone, a
    /// restart would show under one version something else than was shown.
    pub(super) fn closes_gap(&self) -> bool {
        self.follows_gap && self.stage != Stage::Replace
    }

    /// Whether all is on the medium that a start needs.
    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Confirm
    }

    /// Whether it is what a failed disk was tried again with.
    pub(super) fn makes_up(&self) -> bool {
        self.follows_gap
    }

    fn segment(&self) -> Option<u64> {
        self.writer.as_ref().map(|&(segment, _)| segment)
    }
}

impl Journal {
    /// Whether the snapshot has something to do that waits for nothing else.
    pub(super) fn may_go_on(&self, snapshot: &Snapshot) -> bool {
        match snapshot.stage {
            Stage::Rotate => !self.live.as_ref().is_some_and(Live::has_pending),
            Stage::SyncOld(old) => self.turn.as_ref().is_none_or(|turn| turn.segment != old),
            Stage::AwaitCeiling => self.reserving.is_none(),
            Stage::Announce
            | Stage::Write
            | Stage::SyncSnapshot
            | Stage::Replace
            | Stage::Confirm => true,
        }
    }

    pub(super) fn begin_snapshot_if_due(&mut self, now: Instant, datums: &DatumStore) {
        if self.snapshot.is_some() {
            return;
        }
        let is_due = match self.condition {
            Condition::Failed { retry_at, .. } => retry_at <= now,
            Condition::Healthy => {
                self.wants_snapshot
                    || self.is_log_long()
                    || self.named.len() > limits::JOURNAL_SEGMENTS_MAX
                    || self.is_sync_due(now) && self.is_snapshot_cheaper()
            }
            Condition::Off | Condition::Behind { .. } => false,
        };
        let makes_up = matches!(self.condition, Condition::Failed { .. });
        if is_due && (self.seal == Seal::Open || makes_up && self.seal == Seal::Wanted) {
            self.accounts.check(datums);
            self.wants_snapshot = false;
            self.snapshot = Some(Snapshot {
                follows_gap: makes_up,
                ..Snapshot::new()
            });
        }
    }

    /// Whether it takes more of the disk, or of the next start's time, than it may.
    fn is_log_long(&self) -> bool {
        let share = |slack: u64| slack / u64::from(self.life.shards);
        self.disk_bytes() > 2 * self.accounts.bytes() + share(limits::JOURNAL_SLACK_BYTES)
            || self.records > 2 * self.accounts.publishers() + share(limits::JOURNAL_SLACK_RECORDS)
    }

    /// Whether all publishers are far less to bring to the medium than what the log got since it was synced: where publishers change
    /// again and again, only the last of each has to get there.
    pub(super) fn is_snapshot_cheaper(&self) -> bool {
        let unsynced = self.live.as_ref().map_or(0, Live::unsynced_bytes);
        unsynced
            > limits::JOURNAL_REWRITE_RATIO * self.accounts.bytes() + limits::JOURNAL_REWRITE_BYTES
    }

    /// The operation of the present stage, if it waits for nothing.
    pub(super) fn next_of_snapshot(&mut self, datums: &DatumStore) -> Option<Operation> {
        let mut snapshot = self.snapshot.take()?;
        if !self.may_go_on(&snapshot) {
            self.snapshot = Some(snapshot);
            return None;
        }
        if snapshot.stage == Stage::AwaitCeiling {
            snapshot.stage = match snapshot.is_first_segment_only {
                true => Stage::Confirm,
                false => Stage::Replace,
            };
        }
        let operation = match snapshot.stage {
            Stage::Announce => {
                let live = self.take_number();
                snapshot.live = Some(live);
                if !snapshot.follows_gap {
                    self.name(live, 0);
                }
                Some(replace(&Manifest {
                    is_last_to_begin: !snapshot.follows_gap,
                    ..self.manifest_of_named()
                }))
            }
            Stage::Confirm => Some(replace(&self.manifest_of_named())),
            Stage::Rotate | Stage::AwaitCeiling => None,
            Stage::SyncOld(segment) => Some(sync(segment)),
            Stage::Write => Some(self.write_slice(&mut snapshot, datums)),
            Stage::SyncSnapshot => snapshot.segment().map(sync),
            Stage::Replace => {
                let left = snapshot.segment().into_iter().chain(snapshot.live);
                Some(replace(&self.manifest(left)))
            }
        };
        self.snapshot = Some(snapshot);
        operation
    }

    /// The operation of the present stage is done: which is next.
    pub(super) fn on_snapshot_step(&mut self) {
        let Some(mut snapshot) = self.snapshot.take() else {
            // It was given up meanwhile.
            return;
        };
        snapshot.stage = match snapshot.stage {
            Stage::Announce | Stage::Rotate => Stage::Rotate,
            Stage::SyncOld(_) => Stage::Write,
            Stage::Write if !snapshot.is_complete => Stage::Write,
            Stage::Write => Stage::SyncSnapshot,
            Stage::SyncSnapshot | Stage::AwaitCeiling => Stage::AwaitCeiling,
            Stage::Replace => return self.finish_snapshot(snapshot),
            Stage::Confirm => return,
        };
        self.snapshot = Some(snapshot);
    }

    /// Has the new live segment take the changes, once none waits for the old one.
    pub(super) fn rotate_if_due(&mut self, now: Now, versions: &VersionClock) {
        let replaces_sync = self.is_snapshot_cheaper();
        let Some(snapshot) = &mut self.snapshot else {
            return;
        };
        let has_pending = self.live.as_ref().is_some_and(Live::has_pending);
        let (Stage::Rotate, false, Some(segment)) = (snapshot.stage, has_pending, snapshot.live)
        else {
            return;
        };
        let old = self.live.as_ref().map(|live| (live.segment(), live.len()));
        snapshot.stage = match old {
            Some((old, _)) if !replaces_sync => Stage::SyncOld(old),
            None if snapshot.is_first_segment_only => Stage::AwaitCeiling,
            _ => Stage::Write,
        };
        snapshot.replaces_sync = replaces_sync;
        if let Some((old, bytes)) = old {
            self.name(old, bytes);
        }
        // What is not in the log by now is in the snapshot.
        self.records = self.accounts.publishers();
        let mut live = Live::new(&self.header(segment), versions.highest());
        // The ceilings of the older segments go with them.
        let reservation = versions.reserve(now);
        let version = reservation.ceiling;
        live.append(&Entry::Ceiling { version }, versions.highest());
        self.reserving = Some((reservation, live.len()));
        self.live = Some(live);
    }

    /// It has failed; its file goes, unless a manifest may name it.
    pub(super) fn give_up(&mut self, snapshot: Snapshot) {
        match snapshot.segment() {
            Some(segment) if snapshot.stage == Stage::Replace => {
                self.name(segment, snapshot.written)
            }
            Some(segment) => self.strays.push(segment),
            None => {}
        }
    }

    fn write_slice(&mut self, snapshot: &mut Snapshot, datums: &DatumStore) -> Operation {
        let mut bytes = Vec::with_capacity(2 * limits::JOURNAL_SLICE_BYTES);
        let (segment, mut writer) = match snapshot.writer.take() {
            Some(writer) => writer,
            None => {
                let segment = self.take_number();
                (
                    segment,
                    SegmentWriter::new(&self.header(segment), &mut bytes),
                )
            }
        };
        snapshot.is_complete = append_slice(&mut snapshot.cursor, datums, &mut writer, &mut bytes);
        writer.close(&mut bytes);
        snapshot.writer = Some((segment, writer));
        let at = snapshot.written;
        snapshot.written += bytes.len() as u64;
        self.written_bytes += bytes.len() as u64;
        Operation::Write {
            file: File::Segment(segment),
            at,
            bytes,
        }
    }

    fn finish_snapshot(&mut self, snapshot: Snapshot) {
        let named = std::mem::take(&mut self.named).into_iter();
        let gone = named.map(|(segment, _)| segment);
        self.strays
            .extend(gone.filter(|&segment| Some(segment) != snapshot.live));
        let written = snapshot.written;
        self.named
            .extend(snapshot.segment().map(|segment| (segment, written)));
        self.named.extend(snapshot.live.map(|segment| (segment, 0)));
        if matches!(self.condition, Condition::Failed { .. }) {
            self.condition = Condition::Healthy;
            self.reports.push(Report::JournalRecovered);
        }
        if self.is_complete() {
            self.mark.fade();
        }
    }

    fn manifest_of_named(&self) -> Manifest {
        self.manifest(self.named.iter().map(|&(segment, _)| segment))
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_segment;
        self.next_segment += 1;
        number
    }
}

fn replace(manifest: &Manifest) -> Operation {
    Operation::Replace {
        file: File::Manifest,
        bytes: manifest.encode(),
    }
}

fn sync(segment: u64) -> Operation {
    Operation::Sync {
        file: File::Segment(segment),
    }
}

/// Appends datums until the slice is full; true if none is left.
fn append_slice(
    cursor: &mut Cursor,
    datums: &DatumStore,
    writer: &mut SegmentWriter,
    out: &mut Vec<u8>,
) -> bool {
    while let Some((place, data_info_id, datum)) = datums.next_from(cursor.place) {
        let after = cursor.after.take().filter(|_| place == cursor.place);
        cursor.place = place;
        let version = datum.version();
        if datum.publishers().is_empty() && !datum.was_never_published() {
            writer.append(&Entry::empty(data_info_id, version), out);
        }
        for publisher in datum.publishers().behind(after.as_ref()) {
            writer.append(&Entry::put(data_info_id, publisher, version), out);
            if out.len() >= limits::JOURNAL_SLICE_BYTES {
                cursor.after = Some((Name::clone(&publisher.zone), publisher.register_id.clone()));
                return false;
            }
        }
        cursor.place = place + 1;
        if out.len() >= limits::JOURNAL_SLICE_BYTES {
            return false;
        }
    }
    true
}
