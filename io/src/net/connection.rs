//! One accepted socket as this core sees it: what came, what is owed, and how far its end is.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_core::machine::Instant;

use super::outgoing::Outgoing;
use super::service::EndedBy;
use super::settings::Settings;
use super::slots::Deadline;

/// What is remembered of a connection between turns. An idle one holds no buffer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) opened_at: Instant,
    pub(crate) received_at: Instant,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The begun frame; or, while paused, everything that was not taken yet.
    pub(crate) partial: Vec<u8>,
    /// Bytes of `partial` from which it is worth looking for a frame again.
    pub(crate) needed: usize,
    pub(crate) begun_at: Instant,
    pub(crate) out: Option<Box<Outgoing>>,
    pub(crate) flying: bool,
    /// Length of the flight.
    pub(crate) flight_bytes: usize,
    pub(crate) progressed_at: Instant,
    pub(crate) phase: Phase,
    pub(crate) close_by: Instant,
    pub(crate) peer_ended: bool,
    /// Bytes that came after its end was decided.
    pub(crate) thrown_away: usize,
    pub(crate) stops: Stops,
    pub(crate) is_dirty: bool,
    /// Turn in which `turn_bytes` were received.
    pub(crate) turn: u64,
    pub(crate) turn_bytes: usize,
}

/// How far the end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Frames come and go.
    Open,
    /// Its end is decided; what was queued is being written. With a cause: its owner is not told yet.
    Flushing(Option<EndedBy>),
    /// We shut it and wait for the peer's end.
    Lingering,
    /// Nothing but the kernel's completions is waited for.
    Releasing,
}

/// Why nothing is read right now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stops {
    /// Its owner did not take a frame.
    pub(crate) paused: bool,
    /// Answers to more frames would find no room.
    pub(crate) no_room: bool,
    /// It had its share of this turn.
    pub(crate) over_budget: bool,
}

impl Connection {
    /// A connection that was accepted at `now`.
    pub(crate) fn new(peer: SocketAddr, now: Instant) -> Self {
        Self {
            peer,
            opened_at: now,
            received_at: now,
            bytes_in: 0,
            bytes_out: 0,
            partial: Vec::new(),
            needed: 1,
            begun_at: now,
            out: None,
            flying: false,
            flight_bytes: 0,
            progressed_at: now,
            phase: Phase::Open,
            close_by: now,
            peer_ended: false,
            thrown_away: 0,
            stops: Stops::default(),
            is_dirty: false,
            turn: 0,
            turn_bytes: 0,
        }
    }

    /// Whether bytes should be received; those of a closing connection only to be dropped.
    pub(crate) fn wants_bytes(&self) -> bool {
        let takes_frames = !self.stops.paused && !self.stops.no_room;
        match self.phase {
            Phase::Open => takes_frames && !self.stops.over_budget && !self.peer_ended,
            Phase::Flushing(_) | Phase::Lingering => !self.stops.over_budget && !self.peer_ended,
            Phase::Releasing => false,
        }
    }

    /// Whether frames are given to its owner.
    pub(crate) fn takes_frames(&self) -> bool {
        self.phase == Phase::Open && !self.stops.paused && !self.stops.no_room
    }

    /// Whether something is queued or in flight.
    pub(crate) fn owes(&self) -> bool {
        self.flying || self.out.as_ref().is_some_and(|out| out.owed() > 0)
    }

    /// Bytes queued and in flight.
    pub(crate) fn owed(&self) -> usize {
        let flight = if self.flying { self.flight_bytes } else { 0 };
        flight + self.out.as_ref().map_or(0, |out| out.owed())
    }

    /// Notes received bytes.
    pub(crate) fn count_received(&mut self, now: Instant, turn: u64, bytes: usize) {
        if self.turn != turn {
            self.turn = turn;
            self.turn_bytes = 0;
        }
        self.turn_bytes += bytes;
        self.bytes_in += bytes as u64;
        self.received_at = now;
    }

    /// Its silence, its begun frame and its unread bytes count from `now` on.
    pub(crate) fn hear_anew(&mut self, now: Instant) {
        self.received_at = now;
        self.begun_at = now;
        self.progressed_at = now;
    }

    /// When `deadline` passes, if it applies in this state.
    pub(crate) fn due(&self, deadline: Deadline, settings: &Settings) -> Option<Instant> {
        let open = self.phase == Phase::Open;
        match deadline {
            Deadline::Idle => {
                (open && self.takes_frames()).then(|| self.received_at + settings.idle_close)
            }
            Deadline::Frame => (open && !self.partial.is_empty()).then(|| {
                if !self.takes_frames() {
                    // What we do not take is never late; it is only the last to go when memory is short.
                    return Instant(u64::MAX);
                }
                let extra = self.partial.len() as u64 * 1000
                    / settings.frame_bytes_per_second_min.max(1) as u64;
                let whole = self.begun_at + settings.frame_deadline + Duration::from_millis(extra);
                whole.min(self.received_at + settings.frame_deadline)
            }),
            Deadline::Write => self
                .flying
                .then(|| self.progressed_at + settings.write_stall_max),
            Deadline::Close => (!open).then_some(self.close_by),
        }
    }
}
