//! Buffers of a core that wait for their next use, so that a busy core allocates nothing and an idle connection holds nothing.

use rollcall_core::limits;

use super::outgoing::{Flight, Outgoing};

/// Empty buffers by kind, bounded in number and in bytes.
#[derive(Default)]
pub(crate) struct Pool {
    outgoing: Shelf<Box<Outgoing>>,
    flights: Shelf<Box<Flight>>,
    partials: Shelf<Vec<u8>>,
    /// Bytes of all queues and flights that are in use.
    owed: usize,
}

impl Pool {
    /// An empty queue.
    pub(crate) fn outgoing(&mut self, owed_bytes_max: usize) -> Box<Outgoing> {
        let mut out = self.outgoing.take();
        out.owed_bytes_max = owed_bytes_max;
        out
    }

    /// Bytes that all connections owe together, as of their last charge.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Counts what was queued.
    pub(crate) fn charge(&mut self, out: &mut Outgoing) {
        out.waiting.charge(&mut self.owed);
    }

    /// Takes a queue back.
    pub(crate) fn keep_outgoing(&mut self, mut out: Box<Outgoing>) {
        out.waiting.discharge(&mut self.owed);
        out.waiting.clear();
        out.wants_room = false;
        self.outgoing.keep(out);
    }

    /// An empty flight.
    pub(crate) fn flight(&mut self) -> Box<Flight> {
        self.flights.take()
    }

    /// Takes a flight back.
    pub(crate) fn keep_flight(&mut self, mut flight: Box<Flight>) {
        flight.discharge(&mut self.owed);
        flight.clear();
        self.flights.keep(flight);
    }

    /// An empty buffer for a begun frame.
    pub(crate) fn partial(&mut self) -> Vec<u8> {
        self.partials.take()
    }

    /// Takes a frame's buffer back.
    pub(crate) fn keep_partial(&mut self, mut partial: Vec<u8>) {
        partial.clear();
        if partial.capacity() > 0 && partial.capacity() <= limits::POOLED_BUFFER_BYTES_MAX {
            self.partials.keep(partial);
        }
    }
}

/// Something that holds memory while it is empty.
trait Reusable: Default {
    fn held_bytes(&self) -> usize;
}

impl Reusable for Box<Outgoing> {
    fn held_bytes(&self) -> usize {
        self.waiting.held_bytes()
    }
}

impl Reusable for Box<Flight> {
    fn held_bytes(&self) -> usize {
        Flight::held_bytes(self)
    }
}

impl Reusable for Vec<u8> {
    fn held_bytes(&self) -> usize {
        self.capacity()
    }
}

/// Buffers of one kind.
#[derive(Default)]
struct Shelf<T> {
    kept: Vec<T>,
    bytes: usize,
}

impl<T: Reusable> Shelf<T> {
    fn take(&mut self) -> T {
        let buffer = self.kept.pop().unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(buffer.held_bytes());
        buffer
    }

    fn keep(&mut self, buffer: T) {
        let bytes = self.bytes + buffer.held_bytes();
        if self.kept.len() < limits::POOLED_BUFFERS_MAX && bytes <= limits::POOLED_BYTES_MAX {
            self.bytes = bytes;
            self.kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_with_its_memory() {
        let mut pool = Pool::default();
        let mut out = pool.outgoing(10);
        out.bytes().extend_from_slice(&[1; 1_000]);
        pool.keep_outgoing(out);

        let mut again = pool.outgoing(20);

        assert_eq!((again.owed(), again.owed_bytes_max), (0, 20));
        assert!(again.bytes().capacity() >= 1_000);
    }

    #[test]
    fn a_storm_leaves_a_bounded_amount_of_memory() {
        let mut pool = Pool::default();
        let large = || Vec::with_capacity(limits::POOLED_BUFFER_BYTES_MAX);

        (0..limits::POOLED_BUFFERS_MAX).for_each(|_| pool.keep_partial(large()));
        pool.keep_partial(Vec::with_capacity(limits::POOLED_BUFFER_BYTES_MAX + 1));

        assert!(pool.partials.bytes <= limits::POOLED_BYTES_MAX);
        let held: usize = pool.partials.kept.iter().map(Vec::capacity).sum();
        assert_eq!(held, pool.partials.bytes);
    }
}
