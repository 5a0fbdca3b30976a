//! Buffers of a core that wait for their next use, so that a busy core allocates nothing and an idle connection holds nothing.

use rollcall_core::limits;

use super::outgoing::{Flight, Outgoing};

/// Empty buffers by kind, a bounded number of each.
#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "the boxes themselves are what is used again"
)]
pub(crate) struct Pool {
    outgoing: Vec<Box<Outgoing>>,
    flights: Vec<Box<Flight>>,
    partials: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty queue.
    pub(crate) fn outgoing(&mut self, owed_bytes_max: usize) -> Box<Outgoing> {
        let mut out = self.outgoing.pop().unwrap_or_default();
        out.owed_bytes_max = owed_bytes_max;
        out
    }

    /// Takes a queue back.
    pub(crate) fn keep_outgoing(&mut self, mut out: Box<Outgoing>) {
        out.waiting.clear();
        out.wants_room = false;
        keep(&mut self.outgoing, out);
    }

    /// An empty flight.
    pub(crate) fn flight(&mut self) -> Box<Flight> {
        self.flights.pop().unwrap_or_default()
    }

    /// Takes a flight back.
    pub(crate) fn keep_flight(&mut self, mut flight: Box<Flight>) {
        flight.clear();
        keep(&mut self.flights, flight);
    }

    /// An empty buffer for a begun frame.
    pub(crate) fn partial(&mut self) -> Vec<u8> {
        self.partials.pop().unwrap_or_default()
    }

    /// Takes a frame's buffer back.
    pub(crate) fn keep_partial(&mut self, mut partial: Vec<u8>) {
        partial.clear();
        if partial.capacity() > 0 && partial.capacity() <= limits::POOLED_BUFFER_BYTES_MAX {
            keep(&mut self.partials, partial);
        }
    }
}

fn keep<T>(kept: &mut Vec<T>, buffer: T) {
    if kept.len() < limits::POOLED_BUFFERS_MAX {
        kept.push(buffer);
    }
}
