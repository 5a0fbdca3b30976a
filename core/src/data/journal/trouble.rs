//! A disk that is slow or fails: pushes go on without it, and what follows counts once a snapshot is complete.

use std::time::Duration;

use crate::limits;
use crate::machine::Instant;

use super::seal::Seal;
use super::snapshot::Snapshot;
use super::{Journal, Report, Turn};

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
            self.fail(
                now,
                format!("{pending} bytes of the journal wait for the disk, the limit is {limit}"),
            );
        }
    }

    /// Nothing that was written counts any more, until a snapshot is complete.
    pub(super) fn fail(&mut self, now: Instant, error: String) {
        let pause = match self.condition {
            // What was under way when it failed ends so, too.
            Condition::Failed { retry_at, .. } if now < retry_at => return,
            Condition::Failed { pause, .. } => (pause * 2).min(limits::JOURNAL_RETRY_MAX),
            _ => limits::JOURNAL_RETRY_MIN,
        };
        if !matches!(self.condition, Condition::Failed { .. }) {
            self.reports.push(Report::JournalDegraded(error.clone()));
        }
        self.condition = Condition::Failed {
            retry_at: now + pause,
            pause,
            error,
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
        if let Some(snapshot) = snapshot {
            self.give_up(snapshot);
        }
        if self.seal != Seal::Open {
            self.seal = Seal::Done;
        }
    }
}

fn behind() -> String {
    let bound = limits::JOURNAL_WRITE_MAX.as_millis();
    format!("the disk takes more than {bound} ms for a write of the journal")
}
