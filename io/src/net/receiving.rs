//! From received bytes to frames.
//!
//! A frame that lies whole in a receive buffer is given to its owner from there. Only a begun frame is copied, to a buffer that grows with
//! what was received and never with what was announced.

use std::io;

use rollcall_core::names::ConnectId;

use super::outgoing::Outgoing;
use super::pool::Pool;
use super::transport::{Chunk, lacks_resource};
use super::{
    Connection, Deadline, EndedBy, Flow, FrameLen, Framing, Key, Net, Phase, Reason, Service,
};

/// Why no further frame was taken from some bytes.
enum Rest<E> {
    /// The next frame needs so many bytes.
    Begun { needed: usize },
    /// The owner did not take it.
    Paused,
    /// Its answer would find no room.
    NoRoom,
    /// The owner wants no more.
    Closed(EndedBy),
    /// It is no frame.
    Bad(E),
}

impl<F: Framing> Net<F> {
    pub(super) fn on_received<S: Service<F>>(&mut self, key: Key, chunk: Chunk, service: &mut S) {
        let id = self.id(key);
        self.traffic.bytes_in += chunk.len as u64;
        let Some(connection) = self.slots.find(key) else {
            return self.transport.give_back(chunk);
        };
        connection.count_received(self.now, self.turn, chunk.len);
        if connection.turn_bytes >= self.settings.receive_bytes_per_turn_max
            && !connection.stops.over_budget
        {
            connection.stops.over_budget = true;
            self.over_budget.push(key);
            let wants_bytes = connection.wants_bytes();
            self.transport.receive(key, wants_bytes);
        }
        if connection.phase != Phase::Open {
            connection.thrown_away += chunk.len;
            let lingers_on = connection.phase != Phase::Lingering
                || connection.thrown_away <= self.settings.linger_bytes_max;
            self.transport.give_back(chunk);
            if !lingers_on {
                self.cut(key, EndedBy::Us(Reason::BadFrame));
            }
            return;
        }
        let bytes = self.transport.bytes(&chunk);
        let held = connection.partial.capacity();
        let heard = if connection.takes_frames() {
            let is_new = connection.partial.is_empty();
            let mut out = connection
                .out
                .take()
                .unwrap_or_else(|| self.pool.outgoing(self.settings.owed_bytes_max));
            let (frames, rest) =
                hear::<F, S>(id, connection, bytes, &mut out, &mut self.pool, service);
            self.traffic.frames_in += frames;
            connection.out = Some(out);
            Some((rest, is_new || frames > 0))
        } else {
            keep_rest(connection, bytes, &mut self.pool);
            None
        };
        self.partial_bytes = self.partial_bytes + connection.partial.capacity() - held;
        self.transport.give_back(chunk);
        if let Some((rest, is_new)) = heard {
            self.after_offer(key, rest, is_new, service);
        }
        self.bound_partials();
    }

    /// Offers what a paused connection held back, then reads on.
    pub(super) fn offer_again<S: Service<F>>(&mut self, key: Key, service: &mut S) {
        let now = self.now;
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        connection.needed = 1;
        connection.begun_at = now;
        self.offer_partial(key, service);
        self.update_reading(key);
        self.schedule(key, Deadline::Idle);
        self.schedule(key, Deadline::Frame);
    }

    fn offer_partial<S: Service<F>>(&mut self, key: Key, service: &mut S) {
        let id = self.id(key);
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        if !connection.takes_frames()
            || connection.partial.is_empty()
            || connection.partial.len() < connection.needed
        {
            return;
        }
        let mut out = connection
            .out
            .take()
            .unwrap_or_else(|| self.pool.outgoing(self.settings.owed_bytes_max));
        let (taken, frames, rest) = offer::<F, S>(id, &connection.partial, &mut out, service);
        self.traffic.frames_in += frames;
        connection.out = Some(out);
        let held = connection.partial.capacity();
        drop_taken(connection, taken, &mut self.pool);
        self.partial_bytes = self.partial_bytes + connection.partial.capacity() - held;
        self.after_offer(key, rest, taken > 0, service);
    }

    fn after_offer<S: Service<F>>(
        &mut self,
        key: Key,
        rest: Rest<F::Error>,
        is_new: bool,
        service: &mut S,
    ) {
        let id = self.id(key);
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        let stops = matches!(rest, Rest::Paused | Rest::NoRoom);
        match rest {
            Rest::Begun { needed } => {
                connection.needed = needed;
                if is_new {
                    connection.begun_at = self.now;
                }
                if !connection.partial.is_empty() {
                    self.schedule(key, Deadline::Frame);
                }
            }
            Rest::Paused => connection.stops.paused = true,
            Rest::NoRoom => connection.stops.no_room = true,
            Rest::Closed(ended_by) => return self.end_after_frame(key, ended_by),
            Rest::Bad(error) => {
                if let Some(out) = connection.out.as_deref_mut() {
                    service.bad_frame(id, &error, out);
                }
                return self.end_after_frame(key, EndedBy::Us(Reason::BadFrame));
            }
        }
        self.after_append(key);
        if stops {
            self.schedule(key, Deadline::Frame);
            self.update_reading(key);
        }
    }

    fn end_after_frame(&mut self, key: Key, ended_by: EndedBy) {
        self.after_append(key);
        self.end(key, ended_by);
    }

    /// Marks a connection that got answers, and takes an unused queue away from one that did not.
    fn after_append(&mut self, key: Key) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        let Some(out) = connection.out.take() else {
            return;
        };
        if out.owed() == 0 {
            return self.pool.keep_outgoing(out);
        }
        connection.out = Some(out);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
    }

    pub(super) fn on_receive_ended(&mut self, key: Key, error: Option<io::Error>) {
        if let Some(error) = error {
            return self.on_broken(key, &error);
        }
        if self.put_off_end(key, false) {
            return;
        }
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        connection.peer_ended = true;
        if connection.phase == Phase::Lingering {
            self.release(key);
        }
    }

    /// Nothing more comes from or goes to a connection: its peer is gone, or this host lacks what it takes, which is no fault of the peer.
    pub(super) fn on_broken(&mut self, key: Key, error: &io::Error) {
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        if lacks_resource(error) {
            tracing::warn!(peer = %connection.peer, %error, "connection broken on our side");
            self.cut(key, EndedBy::Us(Reason::LocalError));
            return;
        }
        tracing::trace!(peer = %connection.peer, %error, "connection broken");
        if !self.put_off_end(key, true) {
            self.cut(key, EndedBy::Peer);
        }
    }

    /// Cuts begun frames that get on least until all of them together fit: neither many small ones nor a few that were begun large and left
    /// so keep others from ending theirs.
    fn bound_partials(&mut self) {
        while self.partial_bytes > self.settings.partial_bytes_max {
            let size = |connection: &Connection| connection.partial.capacity();
            let Some((key, connection)) = self.worst(Deadline::Frame, size) else {
                return;
            };
            tracing::warn!(peer = %connection.peer, bytes = connection.partial.len(), "begun frame cut: too many on this core");
            self.cut(key, EndedBy::Us(Reason::PartialLimit));
        }
    }
}

/// Gives the begun frame to its owner, then those behind it from where they lie. Answers with the frames taken. Only what the begun one lacks
/// is copied, and what is not taken.
fn hear<F: Framing, S: Service<F>>(
    id: ConnectId,
    connection: &mut Connection,
    bytes: &[u8],
    out: &mut Outgoing,
    pool: &mut Pool,
    service: &mut S,
) -> (u64, Rest<F::Error>) {
    let mut bytes = bytes;
    let mut frames = 0;
    let mut needed = connection.needed;
    while !connection.partial.is_empty() {
        let lacking = needed.saturating_sub(connection.partial.len());
        let (lacked, behind) = bytes.split_at(lacking.min(bytes.len()));
        connection.partial.extend_from_slice(lacked);
        bytes = behind;
        if connection.partial.len() < needed {
            return (frames, Rest::Begun { needed });
        }
        let (taken, offered, rest) = offer::<F, S>(id, &connection.partial, out, service);
        frames += offered;
        drop_taken(connection, taken, pool);
        match rest {
            Rest::Begun { needed: more } => needed = more,
            rest => {
                keep_rest(connection, bytes, pool);
                return (frames, rest);
            }
        }
    }
    let (taken, offered, rest) = offer::<F, S>(id, bytes, out, service);
    keep_rest(connection, &bytes[taken..], pool);
    (frames + offered, rest)
}

/// Gives frames to their owner until one is not whole or not taken. Answers with the bytes and frames taken.
fn offer<F: Framing, S: Service<F>>(
    id: ConnectId,
    bytes: &[u8],
    out: &mut Outgoing,
    service: &mut S,
) -> (usize, u64, Rest<F::Error>) {
    let mut taken = 0;
    let mut frames = 0;
    let rest = loop {
        let left = &bytes[taken..];
        if left.is_empty() {
            break Rest::Begun { needed: 1 };
        }
        let len = match F::frame_len(left) {
            Ok(FrameLen::Complete(len)) => len,
            Ok(FrameLen::Incomplete { needed }) => break Rest::Begun { needed },
            Err(error) => break Rest::Bad(error),
        };
        assert!(
            0 < len && len <= left.len(),
            "a complete frame of {len} bytes in {}",
            left.len()
        );
        if out.debt() >= out.owed_bytes_max {
            break Rest::NoRoom;
        }
        match service.frame(id, &left[..len], out) {
            Flow::Pause => break Rest::Paused,
            flow => {
                taken += len;
                frames += 1;
                if let Flow::Close(ended_by) = flow {
                    break Rest::Closed(ended_by);
                }
            }
        }
    };
    (taken, frames, rest)
}

fn keep_rest(connection: &mut Connection, rest: &[u8], pool: &mut Pool) {
    if rest.is_empty() {
        return;
    }
    if connection.partial.capacity() == 0 {
        connection.partial = pool.partial();
    }
    connection.partial.extend_from_slice(rest);
}

fn drop_taken(connection: &mut Connection, taken: usize, pool: &mut Pool) {
    if taken == connection.partial.len() {
        pool.keep_partial(std::mem::take(&mut connection.partial));
    } else {
        connection.partial.drain(..taken);
    }
}
