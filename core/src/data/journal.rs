//! What a shard writes down so that a restart shows nobody a shorter list: each change of its datums, and the versions it may give.
//!
//! ```text
//! change ──► record in `pending`        one write a turn, while none is under way: what arrives meanwhile goes with the next
//!            write done ──► pushes      a push shows nothing that a crash could lose; an answer never waits
//!            sync, every interval       what a power cut could lose; and ceilings, below which versions are given
//! log > 2 x live ──► snapshot           new segment for changes, all datums in slices, manifest, old segments gone
//! a disk that fails ──► pushes go on    nothing that is written counts until a fresh snapshot, tried again and again, is complete
//! ```
//!
//! It decides and encodes; the disk is whoever performs its operations.

mod accounts;
mod disk;
mod life;
mod live;
pub mod manifest;
pub mod record;
pub mod replay;
mod seal;
pub mod segment;
mod snapshot;
mod trouble;

use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::DataInfoId;
use crate::publisher::Publisher;
use crate::version::{DatumVersion, Reservation, VersionClock};

use super::datums::DatumStore;
use super::{Effect, Report};
use accounts::Accounts;
pub use disk::{Failure, File, Lane, Operation};
pub use life::{Durability, Former, Life};
use live::Live;
use manifest::Manifest;
use record::Entry;
use seal::Seal;
use segment::Header;
use snapshot::Snapshot;
use trouble::{Condition, Mark};

/// The start of the machine in which a journal was complete that has a gap.
const IN_NO_START: [u8; 16] = [0; 16];

/// The write that pushes wait for.
#[derive(Debug)]
struct Turn {
    began: Instant,
    segment: u64,
    /// The segment's length with it.
    end: u64,
    /// The newest version in it.
    through: DatumVersion,
    /// Its sync is under way too, where pushes wait for that.
    syncs: bool,
}

/// The operation under way in the background lane.
#[derive(Debug)]
enum Step {
    Sync {
        segment: u64,
        end: u64,
    },
    /// The next step of a snapshot, or of the first segment of a life.
    Snapshot,
    /// A segment of a former life.
    SyncFormer,
    /// Files that nobody names.
    Remove,
    /// The mark of a gap comes, or goes.
    Mark {
        comes: bool,
    },
}

/// The journal of one shard.
#[derive(Debug)]
pub struct Journal {
    life: Life,
    condition: Condition,
    mark: Mark,
    key: u64,
    /// The last start of the machine in which nothing was missing.
    complete_in: [u8; 16],
    /// A snapshot is due whatever the log has come to.
    wants_snapshot: bool,
    /// Segments that the manifest may name, and their bytes, oldest first; the live one is the last.
    named: Vec<(u64, u64)>,
    /// What a killed life wrote last may be in the kernel only.
    unsynced: Vec<u64>,
    /// Files that no manifest names.
    strays: Vec<u64>,
    next_segment: u64,
    live: Option<Live>,
    turn: Option<Turn>,
    /// When what is pending is written at the latest.
    write_by: Option<Instant>,
    step: Option<Step>,
    snapshot: Option<Snapshot>,
    /// The newest version of which pushes may tell.
    written: DatumVersion,
    /// The versions that may be given: their ceiling is on the medium.
    reserved: Reservation,
    /// Further ones whose ceiling is not yet, and the length of the live segment with it.
    reserving: Option<(Reservation, u64)>,
    synced_at: Instant,
    accounts: Accounts,
    /// How many records the log has.
    records: u64,
    seal: Seal,
    reports: Vec<Report>,
    /// Bytes written so far.
    written_bytes: u64,
}

impl Journal {
    /// A journal that writes nothing.
    pub fn off() -> Self {
        let life = Life {
            durability: Durability::Off,
            cluster: 0,
            shard: 0,
            shards: 1,
            boot_id: [0; 16],
        };
        Self::new(life, Former::default(), DatumVersion::NOTHING_KNOWN)
    }

    /// A journal that goes on behind what former lives left; `floor` is above all versions they gave.
    pub fn new(life: Life, former: Former, floor: DatumVersion) -> Self {
        let is_off = life.durability == Durability::Off;
        let condition = match is_off {
            true => Condition::Off,
            false => Condition::Healthy,
        };
        let mut journal = Self {
            condition,
            mark: match former.has_gap {
                true => Mark::Set,
                false => Mark::None,
            },
            key: former.key,
            complete_in: match former.has_gap {
                true => IN_NO_START,
                false => former.boot_id.unwrap_or(life.boot_id),
            },
            wants_snapshot: false,
            life,
            unsynced: former
                .segments
                .iter()
                .map(|&(segment, _)| segment)
                .collect(),
            named: former.segments,
            strays: Vec::new(),
            next_segment: former.next_segment,
            live: None,
            turn: None,
            write_by: None,
            step: None,
            snapshot: None,
            written: floor,
            reserved: Reservation {
                ceiling: floor,
                renew_at: floor,
            },
            reserving: None,
            synced_at: Instant::default(),
            accounts: Accounts::default(),
            records: former.records,
            seal: Seal::Open,
            reports: Vec::new(),
            written_bytes: 0,
        };
        if !is_off {
            journal.snapshot = Some(Snapshot::of_first_segment(former.needs_snapshot));
        }
        journal
    }

    /// Whether versions may be given: the first are reserved, and if it needs a snapshot, that is complete. A disk that fails is not
    /// waited for.
    pub fn is_ready(&self) -> bool {
        let is_done = self.snapshot.as_ref().is_none_or(Snapshot::is_ready);
        is_done || matches!(self.condition, Condition::Failed { .. })
    }

    /// Whether it lacks nothing that was ever shown. After a loss of power it may, and so do later lives until that is made up for.
    pub(super) fn is_complete(&self) -> bool {
        self.complete_in == self.life.boot_id
    }

    /// What may have been missing is made up for: the next start need not know.
    pub(super) fn be_complete(&mut self) {
        self.complete_in = self.life.boot_id;
        self.wants_snapshot = true;
    }

    /// What happened to it since this was asked last.
    pub fn take_reports(&mut self) -> impl Iterator<Item = Report> {
        std::mem::take(&mut self.reports).into_iter()
    }

    /// Bytes written in this life.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes of all its segments.
    pub fn disk_bytes(&self) -> u64 {
        let named: u64 = self.named.iter().map(|(_, bytes)| bytes).sum();
        let snapshot = self.snapshot.as_ref().map_or(0, Snapshot::bytes);
        named + snapshot + self.live.as_ref().map_or(0, Live::len)
    }

    /// What it would take to write down all live publishers.
    pub fn live_bytes(&self) -> u64 {
        self.accounts.bytes()
    }

    /// Bytes that no write has taken yet.
    pub fn pending_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, Live::pending_bytes)
    }

    /// From this version on further ones should be reserved. Until then versions may follow the clock; behind it they are counted, as
    /// half of the reserved ones are left.
    pub(super) fn renew_at(&self) -> DatumVersion {
        match self.condition {
            Condition::Off | Condition::Failed { .. } => DatumVersion::MAX,
            Condition::Healthy | Condition::Behind { .. } => self.reserved.renew_at,
        }
    }

    /// Whether pushes may tell of this version.
    pub(super) fn has(&self, version: DatumVersion) -> bool {
        !self.gates() || version <= self.written
    }

    /// Whether a turn's changes may be told: no write is under way that they would have to wait for as well.
    pub(super) fn takes(&self) -> bool {
        !self.gates() || self.turn.is_none()
    }

    fn gates(&self) -> bool {
        self.condition == Condition::Healthy
    }

    /// A publisher was put, in the place of another or of none.
    pub(super) fn put(
        &mut self,
        data_info_id: &DataInfoId,
        publisher: &Publisher,
        replaced: Option<&Publisher>,
        version: DatumVersion,
    ) {
        if self.condition == Condition::Off {
            return;
        }
        self.accounts.put(data_info_id, publisher, replaced);
        self.append(&Entry::put(data_info_id, publisher, version), version);
    }

    /// A publisher is there that nobody needs to be told of: replayed, or one whose holder or application is another. The next snapshot
    /// tells of it.
    pub(super) fn put_unseen(
        &mut self,
        data_info_id: &DataInfoId,
        publisher: &Publisher,
        replaced: Option<&Publisher>,
    ) {
        if self.condition != Condition::Off {
            self.accounts.put(data_info_id, publisher, replaced);
        }
    }

    /// A publisher is gone.
    pub(super) fn removed(
        &mut self,
        data_info_id: &DataInfoId,
        removed: &Publisher,
        version: DatumVersion,
    ) {
        if self.condition == Condition::Off {
            return;
        }
        self.accounts.remove(data_info_id, removed);
        let entry = Entry::removed(data_info_id, &removed.register_id, version);
        self.append(&entry, version);
    }

    /// A datum has a new version and the publishers it had.
    pub(super) fn renewed(&mut self, data_info_id: &DataInfoId, version: DatumVersion) {
        self.append(&Entry::empty(data_info_id, version), version);
    }

    fn append(&mut self, entry: &Entry<'_>, version: DatumVersion) {
        if self.seal != Seal::Open && self.seal != Seal::Wanted {
            return;
        }
        if let Some(live) = &mut self.live {
            live.append(entry, version);
            self.records += 1;
        }
    }

    /// Reserves further versions, unless that is under way.
    pub(super) fn reserve(&mut self, reservation: Reservation) {
        if let (Some(live), None) = (&mut self.live, &self.reserving) {
            let Reservation { ceiling, .. } = reservation;
            let newest = live.newest();
            live.append(&Entry::Ceiling { version: ceiling }, newest);
            self.reserving = Some((reservation, live.len()));
        }
    }

    /// Has the disk do what is to be done: first what pushes wait for. What nobody waits for is written a little later, with more.
    pub(super) fn work(
        &mut self,
        now: Now,
        datums: &DatumStore,
        versions: &VersionClock,
        is_waited_for: bool,
        out: &mut Vec<Effect>,
    ) {
        if self.condition == Condition::Off {
            return;
        }
        self.accounts.check_if_few(datums);
        self.notice_delay(now.monotonic);
        self.write(now.monotonic, is_waited_for, out);
        self.rotate_if_due(now, versions);
        self.write(now.monotonic, is_waited_for, out);
        self.work_in_background(now.monotonic, datums, out);
    }

    /// When to call `work`, if nothing else happens first.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let delayed = self.turn.as_ref().filter(|_| self.gates());
        let delayed = delayed.map(|turn| turn.began + limits::JOURNAL_WRITE_MAX);
        let write = match self.turn {
            Some(_) => None,
            None => self.write_due_at(),
        };
        let calm = match self.condition {
            Condition::Behind { since } if self.turn.is_none() => {
                Some(since + limits::JOURNAL_CALM)
            }
            _ => None,
        };
        [delayed, write, calm, self.next_step_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When what is pending is written though nobody waits for it: soon, or at once if it is much or something else needs it.
    fn write_due_at(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        if self.seal == Seal::Wanted {
            return Some(Instant::default());
        }
        let is_due = live.pending_bytes() >= limits::JOURNAL_GATHER_BYTES
            || self.seal != Seal::Open
            || self.snapshot.is_some()
            || self.reserving.is_some();
        live.has_pending().then(|| match self.write_by {
            Some(at) if !is_due => at,
            _ => Instant::default(),
        })
    }

    fn next_step_at(&self) -> Option<Instant> {
        if self.step.is_some() {
            return None;
        }
        if let Some(at) = self.mark.due_at() {
            return Some(at);
        }
        let may_go_on = |snapshot| self.may_go_on(snapshot);
        let has_chores = self.may_remove() || !self.unsynced.is_empty();
        if has_chores || self.snapshot.as_ref().is_some_and(may_go_on) {
            return Some(Instant::default());
        }
        if self.wants_snapshot && self.snapshot.is_none() && self.gates() {
            return Some(Instant::default());
        }
        if let Condition::Failed { retry_at, .. } = self.condition
            && self.snapshot.is_none()
        {
            return Some(retry_at);
        }
        self.sync_due_at()
    }

    fn write(&mut self, now: Instant, is_waited_for: bool, out: &mut Vec<Effect>) {
        if self.turn.is_some() {
            return;
        }
        self.write_by = self.write_by.or(Some(now + limits::JOURNAL_GATHER_MAX));
        if !is_waited_for && self.write_due_at().is_none_or(|at| at > now) {
            return;
        }
        self.write_by = None;
        self.append_seal();
        let Some(live) = &mut self.live else {
            return;
        };
        if let Some((at, bytes)) = live.take_pending() {
            self.turn = Some(Turn {
                began: now,
                segment: live.segment(),
                end: live.len(),
                through: live.newest(),
                syncs: false,
            });
            let file = File::Segment(live.segment());
            out.push(in_turn(Operation::Write { file, at, bytes }));
        }
    }

    /// The disk has ended an operation; `buffer` had the bytes, and is used again.
    pub(super) fn on_done(
        &mut self,
        now: Now,
        lane: Lane,
        result: Result<(), Failure>,
        buffer: Vec<u8>,
        out: &mut Vec<Effect>,
    ) {
        let now = now.monotonic;
        match lane {
            Lane::Turn => {
                if let Some(live) = &mut self.live {
                    live.recycle(buffer);
                }
                let turn = self.turn.take();
                let turn = turn.expect("the lane of turns ends only what it began");
                match result {
                    Ok(()) => self.on_written(now, turn, out),
                    Err(failure) => self.fail(now, failure),
                }
            }
            Lane::Background => {
                let step = self.step.take();
                let step = step.expect("the background lane ends only what it began");
                match (result, step) {
                    (Ok(()), step) => self.on_step(now, step),
                    (Err(_), Step::Mark { .. }) => self.mark.on_failed(now),
                    (Err(failure), _) => self.fail(now, failure),
                }
            }
        }
    }

    fn on_written(&mut self, now: Instant, turn: Turn, out: &mut Vec<Effect>) {
        if self.life.durability == Durability::Always && !turn.syncs {
            let file = File::Segment(turn.segment);
            out.push(in_turn(Operation::Sync { file }));
            self.turn = Some(Turn {
                syncs: true,
                ..turn
            });
            return;
        }
        let Some(live) = &mut self.live else {
            return;
        };
        if live.segment() == turn.segment {
            self.written_bytes += live.on_written(turn.end);
        } else if let Some((_, bytes)) = self
            .named
            .iter_mut()
            .find(|(named, _)| *named == turn.segment)
        {
            *bytes = turn.end;
        }
        self.written = self.written.max(turn.through);
        if turn.syncs {
            self.on_synced(now, turn.segment, turn.end);
        }
        if let Condition::Behind { since } = &mut self.condition
            && now.since(turn.began) >= limits::JOURNAL_WRITE_MAX
        {
            *since = now;
        }
    }

    fn on_synced(&mut self, now: Instant, segment: u64, end: u64) {
        self.synced_at = now;
        let Some(live) = &mut self.live else {
            return;
        };
        if live.segment() != segment {
            return;
        }
        live.on_synced(end);
        if let Some((reservation, _)) = self.reserving.take_if(|(_, at)| *at <= end) {
            self.reserved = reservation;
        }
        self.finish_seal();
    }

    fn sync_due_at(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let Durability::Interval(interval) = self.life.durability else {
            // Where pushes wait for the sync, it follows the write.
            return None;
        };
        let is_sealing = self.seal != Seal::Open;
        let snapshot = self.snapshot.as_ref();
        let replaces =
            |snapshot: &Snapshot| snapshot.is_before_rotation() && self.is_snapshot_cheaper();
        if !is_sealing && snapshot.is_some_and(replaces) {
            return None;
        }
        let is_urgent = is_sealing || (snapshot.is_some() && self.reserving.is_some());
        live.is_unsynced().then(|| match is_urgent {
            true => Instant::default(),
            false => self.synced_at + interval,
        })
    }

    fn is_sync_due(&self, now: Instant) -> bool {
        self.sync_due_at().is_some_and(|at| at <= now)
    }

    fn work_in_background(&mut self, now: Instant, datums: &DatumStore, out: &mut Vec<Effect>) {
        if self.step.is_some() {
            return;
        }
        self.begin_snapshot_if_due(now, datums);
        let operation = if let Some((comes, operation)) = self.mark.next(now) {
            self.step = Some(Step::Mark { comes });
            operation
        } else if let (true, Some(live)) = (self.is_sync_due(now), &self.live) {
            let segment = live.segment();
            let end = live.written();
            self.step = Some(Step::Sync { segment, end });
            Operation::Sync {
                file: File::Segment(segment),
            }
        } else if let Some(segment) = self.unsynced.pop() {
            self.step = Some(Step::SyncFormer);
            Operation::Sync {
                file: File::Segment(segment),
            }
        } else if self.may_remove() {
            self.step = Some(Step::Remove);
            let strays = std::mem::take(&mut self.strays);
            Operation::Remove {
                files: strays.into_iter().map(File::Segment).collect(),
            }
        } else {
            let Some(operation) = self.next_of_snapshot(datums) else {
                return;
            };
            self.step = Some(Step::Snapshot);
            operation
        };
        let lane = Lane::Background;
        out.push(Effect::Disk { lane, operation });
    }

    /// Whether there are files to remove to which nothing is being written.
    fn may_remove(&self) -> bool {
        let is_stray = |turn: &Turn| self.strays.contains(&turn.segment);
        !self.strays.is_empty() && !self.turn.as_ref().is_some_and(is_stray)
    }

    fn on_step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Sync { segment, end } => self.on_synced(now, segment, end),
            Step::Snapshot => {
                self.on_snapshot_step();
                self.finish_seal();
            }
            Step::Mark { comes } => self.mark.on_done(comes),
            Step::SyncFormer | Step::Remove => {}
        }
    }

    fn name(&mut self, segment: u64, bytes: u64) {
        match self.named.iter_mut().find(|(named, _)| *named == segment) {
            Some((_, known)) => *known = bytes,
            None => self.named.push((segment, bytes)),
        }
    }

    fn header(&self, segment: u64) -> Header {
        Header {
            cluster: self.life.cluster,
            shard: self.life.shard,
            segment,
            salt: self.manifest([]).salt(segment),
            boot_id: self.complete_in,
        }
    }

    fn manifest(&self, segments: impl IntoIterator<Item = u64>) -> Manifest {
        Manifest {
            key: self.key,
            segments: segments.into_iter().collect(),
            is_last_to_begin: false,
            next_segment: self.next_segment,
        }
    }
}

fn in_turn(operation: Operation) -> Effect {
    let lane = Lane::Turn;
    Effect::Disk { lane, operation }
}
