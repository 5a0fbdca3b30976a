//! A disk that is slow or fails: pushes go on without it, and what follows counts once a snapshot is complete.

use std::time::Duration;

use crate::limits;
use crate::machine::Instant;

use super::seal::Seal;
use super::snapshot::Snapshot;
use super::{Failure, File, Journal, Operation, Report, Turn};

/// How the journal does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Off,
    /// Pushes wait for writes.
    Healthy,
    /// Writes take too long: pushes do not wait for them.
    Behind {
        since: Instant,
    },
    /// Nothing that is written counts until a snapshot is complete.
    Failed {
        retry_at: Instant,
        pause: Duration,
        error: String,
    },
}

/// What on the disk tells the next start that something was shown which is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    /// It is to be set.
    Due {
        at: Instant,
        by: By,
    },
    /// It is there, or may be.
    Set,
    /// It may go.
    Outdated {
        at: Instant,
    },
}

/// How a mark is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// An empty file, for which mostly there is room even if for nothing else.
    Note,
    /// Without its manifest no journal is taken for whole, and removing needs no room.
    Loss,
}

impl Journal {
    /// What is wrong with it, for whoever asks after its health.
    pub fn trouble(&self) -> Option<String> {
        match &self.condition {
            Condition::Off | Condition::Healthy => None,
            Condition::Behind { .. } => Some(behind()),
            Condition::Failed { error, .. } => Some(error.clone()),
        }
    }

    /// Why nothing of it counts, if the disk fails; of a disk that is only slow all does.
    pub fn failure(&self) -> Option<&str> {
        match &self.condition {
            Condition::Failed { error, .. } => Some(error),
            Condition::Off | Condition::Healthy | Condition::Behind { .. } => None,
        }
    }

    /// A write that takes too long is not waited for any more.
    pub(super) fn notice_delay(&mut self, now: Instant) {
        let is_late = |turn: &Turn| now.since(turn.began) >= limits::JOURNAL_WRITE_MAX;
        if self.gates() && self.turn.as_ref().is_some_and(is_late) {
            self.condition = Condition::Behind { since: now };
            self.reports.push(Report::JournalDegraded(behind()));
        }
        if let Condition::Behind { since } = self.condition
            && self.turn.is_none()
            && now.since(since) >= limits::JOURNAL_CALM
        {
            self.condition = Condition::Healthy;
            self.reports.push(Report::JournalRecovered);
        }
        self.notice_stall(now);
    }

    /// What is pending is the disk's fault only if a write keeps it waiting: a turn may bring more than that by itself.
    fn notice_stall(&mut self, now: Instant) {
        let waited = match &self.turn {
            Some(turn) => now.since(turn.began),
            None => return,
        };
        let limit = match waited {
            _ if waited >= limits::JOURNAL_STALL_MAX => limits::JOURNAL_PENDING_BYTES_MAX,
            _ if waited >= limits::JOURNAL_WRITE_MAX => limits::JOURNAL_STALLED_BYTES_MAX,
            _ => return,
        };
        let pending = self.pending_bytes();
        if pending > limit {
            let is_full = false;
            let said =
                format!("{pending} bytes of the journal wait for the disk, the limit is {limit}");
            self.fail(now, Failure { is_full, said });
        }
    }

    /// Nothing that was written counts any more, until a snapshot is complete.
    pub(super) fn fail(&mut self, now: Instant, failure: Failure) {
        let pause = match self.condition {
            // What was under way when it failed ends so, too.
            Condition::Failed { retry_at, .. } if now < retry_at => return,
            Condition::Failed { pause, .. } => (pause * 2).min(limits::JOURNAL_RETRY_MAX),
            _ => limits::JOURNAL_RETRY_MIN,
        };
        if !matches!(self.condition, Condition::Failed { .. }) {
            self.reports
                .push(Report::JournalDegraded(failure.said.clone()));
        }
        self.condition = Condition::Failed {
            retry_at: now + pause,
            pause,
            error: failure.said,
        };
        let snapshot = self.snapshot.take();
        if let Some(live) = self.live.take() {
            match snapshot.as_ref().is_some_and(Snapshot::closes_gap) {
                true => self.strays.push(live.segment()),
                // It stays until a snapshot is complete: up to its damage it is sound.
                false => self.name(live.segment(), live.written()),
            }
        }
        self.reserving = None;
        let made_up = snapshot.as_ref().is_some_and(Snapshot::makes_up);
        if let Some(snapshot) = snapshot {
            self.give_up(snapshot);
        }
        if failure.is_full && made_up {
            self.make_room(now);
        }
        self.mark.want(now);
        if self.seal != Seal::Open {
            self.seal = Seal::Done;
        }
    }

    /// A disk that the log itself has filled has no room for what is left of it unless the log goes first: most of it is outdated, and
    /// what it knows does not count without caution any more.
    fn make_room(&mut self, now: Instant) {
        let log: u64 = self.named.iter().map(|(_, bytes)| bytes).sum();
        let is_mostly_dead = log > self.accounts.bytes() * 5 / 4;
        if self.mark != Mark::Set || !is_mostly_dead {
            return;
        }
        self.unsynced.clear();
        let named = self.named.drain(..);
        self.strays.extend(named.map(|(segment, _)| segment));
        if let Condition::Failed { retry_at, .. } = &mut self.condition {
            *retry_at = now;
        }
    }
}

impl Mark {
    /// When something is to be done about it.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match *self {
            Self::Due { at, .. } | Self::Outdated { at } => Some(at),
            Self::None | Self::Set => None,
        }
    }

    /// What is to be done about it now, and whether the mark comes by it.
    pub(super) fn next(&self, now: Instant) -> Option<(bool, Operation)> {
        if self.due_at()? > now {
            return None;
        }
        let remove = |file| Operation::Remove { files: vec![file] };
        match self {
            Self::Due { by: By::Note, .. } => {
                let (file, bytes) = (File::Gap, Vec::new());
                Some((true, Operation::Replace { file, bytes }))
            }
            Self::Due { by: By::Loss, .. } => Some((true, remove(File::Manifest))),
            Self::Outdated { .. } => Some((false, remove(File::Gap))),
            Self::None | Self::Set => None,
        }
    }

    /// What was to be done about it is done. Something else may be due by now.
    pub(super) fn on_done(&mut self, comes: bool) {
        match self {
            Self::Due { .. } if comes => *self = Self::Set,
            Self::Outdated { .. } if !comes => *self = Self::None,
            _ => {}
        }
    }

    pub(super) fn on_failed(&mut self, now: Instant) {
        match self {
            Self::Due { by: By::Note, .. } => {
                let (at, by) = (now, By::Loss);
                *self = Self::Due { at, by };
            }
            Self::Due { .. } => {
                let (at, by) = (now + limits::JOURNAL_RETRY_MIN, By::Note);
                *self = Self::Due { at, by };
            }
            Self::Outdated { at } => *at = now + limits::JOURNAL_RETRY_MAX,
            Self::None | Self::Set => {}
        }
    }

    /// It must be there.
    fn want(&mut self, now: Instant) {
        if matches!(self, Self::None | Self::Outdated { .. }) {
            let (at, by) = (now, By::Note);
            *self = Self::Due { at, by };
        }
    }

    /// This is the last chance.
    pub(super) fn hasten(&mut self) {
        if let Self::Due { at, .. } = self {
            *at = Instant::default();
        }
    }

    /// There is no gap any more.
    pub(super) fn fade(&mut self) {
        if *self != Self::None {
            let at = Instant::default();
            *self = Self::Outdated { at };
        }
    }
}

fn behind() -> String {
    let bound = limits::JOURNAL_WRITE_MAX.as_millis();
    format!("the disk takes more than {bound} ms for a write of the journal")
}
