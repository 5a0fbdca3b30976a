//! What a connection still has to send: own bytes and shared bodies in one order, appended here and written by the transport.

use std::rc::Rc;

use rollcall_core::limits;
use rollcall_core::session::pushes::Body;

/// The bytes queued for one connection behind the send in flight. Empty ones go back to the core's pool.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub(crate) waiting: Batch,
    pub(crate) wants_room: bool,
    pub(crate) owed_bytes_max: usize,
}

impl Outgoing {
    /// Where to append bytes of one's own. Append only: what is there is queued.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.waiting.own
    }

    /// Appends a body that many connections send. A large one is written from where it is, without a copy.
    pub fn shared(&mut self, body: &Rc<Body>) {
        if body.len() < limits::SHARED_COPY_BELOW {
            self.waiting.own.extend_from_slice(body);
        } else {
            self.waiting.share(Rc::clone(body));
        }
    }

    /// Reports `sent(tag)` when everything appended so far went to the kernel.
    pub fn mark(&mut self, tag: u32) {
        let end = self.waiting.len();
        self.waiting.marks.push((end, tag));
    }

    /// Whether more may be queued. After a no, `writable` tells when to ask again.
    pub fn has_room(&mut self) -> bool {
        let room = self.owed() < self.owed_bytes_max;
        self.wants_room |= !room;
        room
    }

    /// Bytes queued behind the send in flight.
    pub fn owed(&self) -> usize {
        self.waiting.len()
    }

    /// The same without the longest shared body: one list is never a debt, whatever its length.
    pub(crate) fn debt(&self) -> usize {
        self.waiting.len() - self.waiting.longest_body
    }
}

/// Own bytes with shared bodies between them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    own: Vec<u8>,
    /// Bodies and the length of `own` before each.
    shared: Vec<(usize, Rc<Body>)>,
    shared_bytes: usize,
    longest_body: usize,
    /// How much of it is counted among what the core's connections owe.
    charged: Charged,
    /// Ends of tagged parts, in bytes from the start.
    marks: Vec<(usize, u32)>,
}

/// Bytes and bodies of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Charged {
    own: usize,
    bodies: usize,
}

impl Batch {
    /// Counts what was queued since the last call among what is owed. A body that others owe too is there already.
    pub(crate) fn charge(&mut self, owed: &mut usize) {
        *owed += self.own.len() - self.charged.own;
        for (_, body) in &self.shared[self.charged.bodies..] {
            *owed += if body.owe() { body.len() } else { 0 };
        }
        self.charged = Charged {
            own: self.own.len(),
            bodies: self.shared.len(),
        };
    }

    /// Nothing of it is owed any more.
    pub(crate) fn discharge(&mut self, owed: &mut usize) {
        let Charged { own, bodies } = std::mem::take(&mut self.charged);
        *owed -= own;
        for (_, body) in &self.shared[..bodies] {
            *owed -= if body.settle() { body.len() } else { 0 };
        }
    }

    /// All its bytes.
    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.shared_bytes
    }

    fn share(&mut self, body: Rc<Body>) {
        self.shared_bytes += body.len();
        self.longest_body = self.longest_body.max(body.len());
        self.shared.push((self.own.len(), body));
    }

    /// Memory it holds, whether used or not.
    pub(crate) fn held_bytes(&self) -> usize {
        let parts = self.shared.capacity() * size_of::<(usize, Rc<Body>)>();
        self.own.capacity() + parts + self.marks.capacity() * size_of::<(usize, u32)>()
    }

    /// Forgets everything and keeps memory only as far as the pool wants it.
    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.shared.clear();
        self.shared_bytes = 0;
        self.longest_body = 0;
        self.marks.clear();
        if self.own.capacity() > limits::POOLED_BUFFER_BYTES_MAX {
            self.own = Vec::new();
        }
        if self.shared.capacity() > limits::POOLED_PARTS_MAX {
            self.shared = Vec::new();
        }
        if self.marks.capacity() > limits::POOLED_PARTS_MAX {
            self.marks = Vec::new();
        }
    }
}

/// A batch on its way into the kernel, with how far it came.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    batch: Batch,
    /// Bytes of `batch.own` that are in the kernel.
    own_done: usize,
    /// Shared bodies that are in the kernel.
    shared_done: usize,
    /// Bytes of the next shared body that are in the kernel.
    body_done: usize,
    done: usize,
    marks_done: usize,
}

impl Flight {
    /// Takes everything out of `waiting`, which gets this flight's empty batch.
    pub(crate) fn load(&mut self, waiting: &mut Batch) {
        std::mem::swap(&mut self.batch, waiting);
    }

    /// Memory it holds, whether used or not.
    pub(crate) fn held_bytes(&self) -> usize {
        self.batch.held_bytes()
    }

    /// All its bytes.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// Nothing of it is owed any more.
    pub(crate) fn discharge(&mut self, owed: &mut usize) {
        self.batch.discharge(owed);
    }

    /// Makes it ready for the next batch.
    pub(crate) fn clear(&mut self) {
        self.batch.clear();
        let batch = std::mem::take(&mut self.batch);
        *self = Self {
            batch,
            ..Self::default()
        };
    }

    /// Whether every byte is in the kernel.
    pub(crate) fn is_done(&self) -> bool {
        self.done == self.batch.len()
    }

    /// Notes that the kernel took `bytes` more.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        let mut left = bytes;
        while left > 0 {
            let own = left.min(self.own_end() - self.own_done);
            self.own_done += own;
            left -= own;
            if self.own_done == self.own_end() && self.shared_done < self.batch.shared.len() {
                left -= self.advance_body(left);
            }
        }
    }

    fn advance_body(&mut self, bytes: usize) -> usize {
        let body = self.batch.shared[self.shared_done].1.len();
        let taken = bytes.min(body - self.body_done);
        self.body_done += taken;
        if self.body_done == body {
            self.shared_done += 1;
            self.body_done = 0;
        }
        taken
    }

    /// Where the run of own bytes ends that is sent next.
    fn own_end(&self) -> usize {
        let next_body = self.batch.shared.get(self.shared_done);
        next_body.map_or(self.batch.own.len(), |(at, _)| *at)
    }

    /// Calls `part` with the next unsent parts, in order, at most as many as one send takes.
    pub(crate) fn for_each_part<'a>(&'a self, mut part: impl FnMut(&'a [u8])) {
        let mut left = limits::SEND_PARTS_MAX;
        let mut own = self.own_done;
        let mut body_done = self.body_done;
        for (at, body) in &self.batch.shared[self.shared_done..] {
            if left < 2 {
                return;
            }
            if own < *at {
                part(&self.batch.own[own..*at]);
                left -= 1;
            }
            part(&body[body_done..]);
            left -= 1;
            own = *at;
            body_done = 0;
        }
        if own < self.batch.own.len() && left > 0 {
            part(&self.batch.own[own..]);
        }
    }

    /// The tag of the next mark whose bytes are all in the kernel.
    pub(crate) fn next_sent(&mut self) -> Option<u32> {
        let &(end, tag) = self.batch.marks.get(self.marks_done)?;
        if end > self.done {
            return None;
        }
        self.marks_done += 1;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn rest(flight: &Flight) -> Vec<u8> {
        let mut bytes = Vec::new();
        flight.for_each_part(|part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn a_send_cut_at_any_byte_goes_on_with_the_next() {
        let body = Rc::new(Body::new(Bytes::from(vec![
            b'b';
            limits::SHARED_COPY_BELOW
        ])));
        let mut out = Outgoing::default();
        let mut expected = Vec::new();
        for prefix in ["one", "", "three"] {
            out.bytes().extend_from_slice(prefix.as_bytes());
            out.shared(&body);
            expected.extend_from_slice(prefix.as_bytes());
            expected.extend_from_slice(&body);
        }
        out.bytes().extend_from_slice(b"end");
        expected.extend_from_slice(b"end");

        for cut in 1..expected.len() {
            let mut flight = Flight {
                batch: copy_of(&out.waiting),
                ..Flight::default()
            };
            flight.advance(cut);

            assert_eq!(rest(&flight), &expected[cut..], "cut={cut}");
            flight.advance(expected.len() - cut);
            assert!(flight.is_done());
        }
    }

    fn copy_of(batch: &Batch) -> Batch {
        Batch {
            own: batch.own.clone(),
            shared: batch.shared.clone(),
            shared_bytes: batch.shared_bytes,
            longest_body: batch.longest_body,
            charged: batch.charged,
            marks: batch.marks.clone(),
        }
    }

    #[test]
    fn a_tag_is_told_when_its_last_byte_is_gone() {
        let mut out = Outgoing::default();
        out.bytes().extend_from_slice(b"abc");
        out.mark(1);
        out.bytes().extend_from_slice(b"def");
        out.mark(2);
        let mut flight = Flight::default();
        flight.load(&mut out.waiting);

        flight.advance(2);
        assert_eq!(flight.next_sent(), None);

        flight.advance(1);
        assert_eq!((flight.next_sent(), flight.next_sent()), (Some(1), None));

        flight.advance(3);
        assert_eq!((flight.next_sent(), flight.next_sent()), (Some(2), None));
    }

    #[test]
    fn one_send_takes_a_bounded_number_of_parts_and_the_next_takes_the_rest() {
        let body = Rc::new(Body::new(Bytes::from(vec![
            b'b';
            limits::SHARED_COPY_BELOW
        ])));
        let mut out = Outgoing::default();
        for _ in 0..limits::SEND_PARTS_MAX {
            out.bytes().push(b'p');
            out.shared(&body);
        }
        let mut flight = Flight::default();
        let all = out.owed();
        flight.load(&mut out.waiting);

        let mut sent = 0;
        while !flight.is_done() {
            let mut parts = 0;
            let mut bytes = 0;
            flight.for_each_part(|part| {
                parts += 1;
                bytes += part.len();
            });
            assert!(parts <= limits::SEND_PARTS_MAX && bytes > 0);
            flight.advance(bytes);
            sent += bytes;
        }

        assert_eq!(sent, all);
    }

    #[test]
    fn one_list_of_any_length_is_no_debt_and_a_second_one_is() {
        let list = Rc::new(Body::new(Bytes::from(vec![
            b'l';
            3 * limits::SHARED_COPY_BELOW
        ])));
        let short = Rc::new(Body::new(Bytes::from(vec![
            b's';
            limits::SHARED_COPY_BELOW
        ])));
        let mut out = Outgoing::default();
        out.bytes().extend_from_slice(b"own");
        out.shared(&list);
        assert_eq!(out.debt(), 3);

        out.shared(&short);
        assert_eq!(out.debt(), 3 + short.len());

        Flight::default().load(&mut out.waiting);
        assert_eq!((out.owed(), out.debt()), (0, 0));
    }

    #[test]
    fn a_list_that_many_owe_is_owed_once_until_the_last_has_it() {
        let list = Rc::new(Body::new(Bytes::from(vec![
            b'l';
            limits::SHARED_COPY_BELOW
        ])));
        let (mut first, mut second) = (Outgoing::default(), Outgoing::default());
        let mut owed = 0;
        for out in [&mut first, &mut second] {
            out.bytes().extend_from_slice(b"own");
            out.waiting.charge(&mut owed);
            out.shared(&list);
            out.waiting.charge(&mut owed);
        }
        assert_eq!(owed, 2 * 3 + list.len());

        let mut flight = Flight::default();
        flight.load(&mut first.waiting);
        flight.discharge(&mut owed);
        assert_eq!(owed, 3 + list.len());

        second.waiting.discharge(&mut owed);
        assert_eq!(owed, 0);
    }

    #[test]
    fn a_full_queue_says_so_and_remembers_who_asked() {
        let mut out = Outgoing {
            owed_bytes_max: 4,
            ..Outgoing::default()
        };
        assert!(out.has_room());

        out.bytes().extend_from_slice(b"1234");

        assert!(!out.has_room());
        assert!(out.wants_room);
    }
}
