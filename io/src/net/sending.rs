//! From queued bytes to the kernel: one send per dirty connection and turn, at most one in flight.

use std::io;

use super::outgoing::Flight;
use super::{Connection, Deadline, EndedBy, Framing, Key, Net, Phase, Reason, Service};

impl<F: Framing> Net<F> {
    pub(super) fn start_sends(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.start_send(key);
        }
        // Nothing was marked meanwhile except by cuts, which have nothing to send.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        self.bound_owed();
    }

    /// Cuts those that get on least until all that is owed fits.
    fn bound_owed(&mut self) {
        let mut freed = 0;
        while self.pool.owed() > self.settings.owed_bytes_per_core_max + freed {
            let Some((key, connection)) = self.worst(Deadline::Write, Connection::owed) else {
                return;
            };
            let (peer, bytes) = (connection.peer, connection.flight_bytes);
            tracing::warn!(%peer, bytes, "slow reader cut: all readers of this core owe too much");
            // Its flight comes back in a later turn.
            freed += bytes;
            self.cut(key, EndedBy::Us(Reason::SlowReader));
        }
    }

    fn start_send(&mut self, key: Key) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        connection.is_dirty = false;
        let Some(mut out) = connection.out.take() else {
            return;
        };
        if out.debt() > self.settings.owed_bytes_cut {
            connection.out = Some(out);
            return self.cut(key, EndedBy::Us(Reason::SlowReader));
        }
        if out.owed() == 0 && !out.wants_room {
            return self.pool.keep_outgoing(out);
        }
        self.pool.charge(&mut out);
        if connection.flying || connection.phase == Phase::Releasing {
            connection.out = Some(out);
            return;
        }
        if out.owed() > 0 {
            let mut flight = self.pool.flight();
            flight.load(&mut out.waiting);
            connection.flying = true;
            connection.flight_bytes = flight.len();
            connection.progressed_at = self.now;
            self.transport.send(key, flight);
        }
        if out.wants_room {
            self.writable.push(key);
        }
        if std::mem::replace(&mut connection.stops.no_room, false) {
            connection.received_at = self.now;
            self.resumed.push(key);
        }
        self.pool.keep_outgoing(out);
        self.schedule(key, Deadline::Write);
    }

    pub(super) fn on_sent<S: Service<F>>(
        &mut self,
        key: Key,
        mut flight: Box<Flight>,
        result: io::Result<usize>,
        service: &mut S,
    ) {
        let id = self.id(key);
        let Some(connection) = self.slots.find(key) else {
            return self.pool.keep_flight(flight);
        };
        connection.flying = false;
        let sent = match result {
            Ok(sent) => sent,
            Err(error) => {
                self.pool.keep_flight(flight);
                return self.on_broken(key, &error);
            }
        };
        connection.bytes_out += sent as u64;
        connection.progressed_at = self.now;
        self.traffic.bytes_out += sent as u64;
        self.traffic.sends += 1;
        flight.advance(sent);
        while let Some(tag) = flight.next_sent() {
            if connection.phase == Phase::Open {
                service.sent(id, tag);
            }
        }
        if connection.phase == Phase::Releasing {
            return self.pool.keep_flight(flight);
        }
        if !flight.is_done() {
            connection.flying = true;
            return self.transport.send(key, flight);
        }
        self.pool.keep_flight(flight);
        self.after_flight(key);
    }

    fn after_flight(&mut self, key: Key) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        if connection.owes() {
            if !std::mem::replace(&mut connection.is_dirty, true) {
                self.dirty.push(key);
            }
        } else if let Phase::Flushing(untold) = connection.phase {
            self.shut(key, untold);
        }
    }
}
