//! The end of a connection: who decided it, what is still written, and when its slot is free.
//!
//! ```text
//! Open ─ end ─► Flushing ─► Lingering ─► Releasing ─► slot free
//!   └─── cut ──────────────────────────────┘
//! ```
//! Its owner is told once, when nothing more is written; a peer's end is told at once.

use std::net::Shutdown;
use std::time::Duration;

use rollcall_core::limits;

use super::{Connection, Deadline, EndedBy, Framing, Key, Net, Phase, Reason, Service};

impl<F: Framing> Net<F> {
    /// Decides the end of an open connection; what is queued is written first if `ended_by` allows it.
    pub(super) fn end(&mut self, key: Key, ended_by: EndedBy) {
        if !ended_by.flushes() {
            return self.cut(key, ended_by);
        }
        let Some(connection) = self
            .slots
            .find(key)
            .filter(|connection| connection.phase == Phase::Open)
        else {
            return;
        };
        let untold = if ended_by == EndedBy::Peer {
            // Bounded by the connections: each ends once.
            self.ended.push_back((key, ended_by));
            None
        } else {
            Some(ended_by)
        };
        connection.stops.paused = false;
        connection.stops.no_room = false;
        connection.phase = Phase::Flushing(untold);
        if !connection.owes() {
            return self.shut(key, untold);
        }
        connection.close_by = self.now + self.settings.close_flush_max;
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
        self.schedule(key, Deadline::Close);
        self.update_reading(key);
    }

    /// Everything is written: tells the peer so, and waits for its end, as closing with unread bytes would reset what we wrote.
    pub(super) fn shut(&mut self, key: Key, untold: Option<EndedBy>) {
        self.ended.extend(untold.map(|ended_by| (key, ended_by)));
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        if connection.peer_ended {
            return self.release(key);
        }
        connection.phase = Phase::Lingering;
        connection.close_by = self.now + self.settings.linger_max;
        self.transport.shutdown(key, Shutdown::Write);
        self.schedule(key, Deadline::Close);
        self.update_reading(key);
    }

    /// Ends a connection in any state, without writing what is queued.
    pub(super) fn cut(&mut self, key: Key, ended_by: EndedBy) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        match connection.phase {
            // Bounded by the connections: each ends once.
            Phase::Open => self.ended.push_back((key, ended_by)),
            Phase::Flushing(Some(untold)) => self.ended.push_back((key, untold)),
            Phase::Flushing(None) | Phase::Lingering => {}
            Phase::Releasing => return,
        }
        if matches!(ended_by, EndedBy::Us(_)) {
            self.transport.reset_on_close(key);
        }
        self.release(key);
    }

    pub(super) fn release(&mut self, key: Key) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        connection.phase = Phase::Releasing;
        connection.close_by = self.now + self.settings.release_max;
        self.partial_bytes -= connection.partial.capacity();
        self.pool
            .keep_partial(std::mem::take(&mut connection.partial));
        if let Some(out) = connection.out.take() {
            self.pool.keep_outgoing(out);
        }
        self.transport.release(key);
        self.schedule(key, Deadline::Close);
    }

    /// What the kernel has dropped may be bytes or the end of any connection: all of them are begun anew.
    pub(super) fn on_lost(&mut self) {
        tracing::error!(
            connections = self.slots.len(),
            "the kernel has dropped completions for want of memory, connections of this core are closed"
        );
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.cut(key, EndedBy::Us(Reason::LocalError));
        }
    }

    pub(super) fn tell_ends<S: Service<F>>(&mut self, service: &mut S) -> bool {
        let told = !self.ended.is_empty();
        while let Some((key, ended_by)) = self.ended.pop_front() {
            service.closed(self.id(key), ended_by);
        }
        told
    }

    /// Looks at everything whose time has come.
    pub(super) fn meet_deadlines(&mut self) -> bool {
        let mut acted = self.retry_accepting(false);
        while let Some((key, deadline)) = self.slots.next_due(self.now) {
            let Some(key) = key else { continue };
            let due = self
                .slots
                .find(key)
                .and_then(|connection| connection.due(deadline, &self.settings));
            match due {
                Some(due) if due <= self.now => {
                    acted = true;
                    self.miss(key, deadline);
                }
                Some(_) => self.schedule(key, deadline),
                None => {}
            }
        }
        acted
    }

    /// Whom to cut when memory is short: of the few connections that are nearest to missing this deadline, because they get on least, the one
    /// with the largest size. Looks at no others, however many there are.
    pub(super) fn worst(
        &mut self,
        deadline: Deadline,
        size: impl Fn(&Connection) -> usize,
    ) -> Option<(Key, &Connection)> {
        let nearest: Vec<_> = std::iter::from_fn(|| self.take_nearest(deadline))
            .take(limits::LEAST_COMPARED)
            .collect();
        for &key in &nearest {
            self.schedule(key, deadline);
        }
        let slots = &mut self.slots;
        let size_of = |key: &Key| slots.find(*key).map_or(0, |connection| size(connection));
        let key = nearest.into_iter().max_by_key(size_of)?;
        self.slots.find(key).map(|connection| (key, &*connection))
    }

    /// Takes out the entry of the connection that is nearest to missing this deadline.
    fn take_nearest(&mut self, deadline: Deadline) -> Option<Key> {
        let latest = self.now + self.timeout(deadline);
        loop {
            let (at, key) = self.slots.take_first(deadline)?;
            let Some(key) = key else { continue };
            let due = self
                .slots
                .find(key)
                .and_then(|connection| connection.due(deadline, &self.settings));
            match due {
                // It got on since the entry was made, and has another place.
                Some(due) if due.min(latest) > at => self.schedule(key, deadline),
                Some(_) => return Some(key),
                None => {}
            }
        }
    }

    fn miss(&mut self, key: Key, deadline: Deadline) {
        let phase = self.slots.find(key).map(|connection| connection.phase);
        if phase == Some(Phase::Releasing) {
            return self.transport.abandon(key);
        }
        let ended_by = match deadline {
            Deadline::Idle => EndedBy::Silent,
            Deadline::Frame => EndedBy::Us(Reason::FrameDeadline),
            Deadline::Write | Deadline::Close => EndedBy::Us(Reason::Stalled),
        };
        self.cut(key, ended_by);
    }

    pub(super) fn timeout(&self, deadline: Deadline) -> Duration {
        match deadline {
            Deadline::Idle => self.settings.idle_close,
            Deadline::Frame => self.settings.frame_deadline,
            Deadline::Write => self.settings.write_stall_max,
            // The shortest of all: a slot's entry must not be later than a later user needs.
            Deadline::Close => {
                let settings = &self.settings;
                let shorter = settings.close_flush_max.min(settings.linger_max);
                shorter.min(settings.release_max)
            }
        }
    }
}
