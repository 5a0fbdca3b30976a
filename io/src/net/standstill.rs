//! A core that stood still judges nobody by that time: it accepts and hears everything that queued up, and takes ends of connections after
//! that; silence counts anew.
//!
//! A client that gave up waiting has closed one connection and opened another. Taken in the order in which the kernel tells them, its
//! publishers would leave and come back. As a core may stand still at any instruction, each end is taken in the turn after the one that
//! heard of it, when the clock has told whether it did.

use rollcall_core::limits;
use rollcall_core::machine::{Instant, Now};

use super::{EndedBy, Framing, Key, Net, Phase};

/// Ends of open connections, by their peers or the kernel, that were heard of and not taken.
#[derive(Debug, Default)]
pub(super) struct UntakenEnds {
    /// One entry per connection, and whether it is broken.
    ends: Vec<(Key, bool)>,
    catching_up: Option<CatchingUp>,
}

/// Since the core stood still, until it has heard what queued up meanwhile.
#[derive(Debug)]
struct CatchingUp {
    began: Instant,
    /// When the last connection was accepted.
    accepted_at: Instant,
}

impl CatchingUp {
    fn over_at(&self) -> Instant {
        let quiet = self.accepted_at + limits::CATCH_UP_QUIET;
        quiet.min(self.began + limits::CATCH_UP_MAX)
    }
}

impl UntakenEnds {
    /// Somebody was accepted: others may wait behind.
    pub(super) fn note_accepted(&mut self, now: Instant) {
        if let Some(catching_up) = &mut self.catching_up {
            catching_up.accepted_at = now;
        }
    }

    /// When what waits for everything else to be heard is taken.
    pub(super) fn caught_up_at(&self) -> Option<Instant> {
        self.catching_up.as_ref().map(CatchingUp::over_at)
    }

    /// Whether the next turn takes some.
    pub(super) fn is_due(&self) -> bool {
        self.catching_up.is_none() && !self.ends.is_empty()
    }
}

impl<F: Framing> Net<F> {
    /// This core stood still until `now`.
    pub fn stood_still(&mut self, now: Now) {
        self.now = now.monotonic;
        self.slots.hear_anew(self.now);
        self.untaken.catching_up = Some(CatchingUp {
            began: self.now,
            accepted_at: self.now,
        });
    }

    /// Notes the end of an open connection for the next turn, or until this core has caught up. False if its end is decided.
    pub(super) fn put_off_end(&mut self, key: Key, is_broken: bool) -> bool {
        let open = self.slots.find(key);
        let Some(connection) = open.filter(|connection| connection.phase == Phase::Open) else {
            return false;
        };
        if !std::mem::replace(&mut connection.peer_ended, true) {
            self.untaken.ends.push((key, is_broken));
        }
        true
    }

    /// Takes the ends that an earlier turn heard of, or all since a standstill. False if none was.
    pub(super) fn take_ends(&mut self) -> bool {
        match self.untaken.caught_up_at() {
            Some(at) if at > self.now => false,
            Some(_) => self.take_unheard_ends(),
            None => self.take_all_ends(EndedBy::Peer),
        }
    }

    /// Ends catching up. What was held by those who left meanwhile keeps the grace of connections that we ended.
    pub(super) fn take_unheard_ends(&mut self) -> bool {
        self.untaken.catching_up.take().is_some() && self.take_all_ends(EndedBy::PeerUnheard)
    }

    fn take_all_ends(&mut self, ended_by: EndedBy) -> bool {
        let ends = std::mem::take(&mut self.untaken.ends);
        let took = !ends.is_empty();
        for (key, is_broken) in ends {
            if is_broken {
                self.cut(key, ended_by);
            } else {
                self.end(key, ended_by);
            }
        }
        took
    }
}
