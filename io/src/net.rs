//! The connections of one core: bytes in, frames out to their owner, answers and pushes back, with a bound on everything.
//!
//! A turn of a core calls [`Net::poll`], appends what it has to say with [`Net::out`], and ends with [`Net::flush`]: each connection
//! that got something sends once per turn, however much was appended.

mod accepting;
mod admission;
mod closing;
mod connection;
mod outgoing;
mod plain;
mod pool;
mod receiving;
mod ring;
mod sending;
mod service;
mod settings;
mod slots;
mod standstill;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rollcall_core::machine::{Instant, Now};
use rollcall_core::names::{ConnectId, CoreId};

pub use self::admission::{Admission, Refusal};
pub use self::outgoing::Outgoing;
pub(crate) use self::ring::build_ring;
pub use self::service::{EndedBy, Flow, FrameLen, Framing, Reason, Service};
pub use self::settings::Settings;
pub use self::transport::Trouble;

use self::accepting::Accepting;
use self::connection::{Connection, Phase};
use self::plain::PlainSockets;
use self::pool::Pool;
use self::ring::NetRing;
use self::slots::{Deadline, Slots};
use self::standstill::UntakenEnds;
use self::transport::{Event, Key, Transport};
use crate::executor::Ringer;

/// Which way bytes take to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// A private io_uring; needs Linux 6.1.
    Ring,
    /// Non-blocking sockets.
    Plain,
}

/// The connections of one core. Made and used on that core's thread only.
pub struct Net<F: Framing> {
    core: CoreId,
    settings: Settings,
    transport: Box<dyn Transport>,
    slots: Slots,
    pool: Pool,
    accepting: Accepting,
    now: Instant,
    turn: u64,
    /// Connections with something to send.
    dirty: Vec<Key>,
    /// Connections whose frames were not all taken and may be offered again.
    resumed: Vec<Key>,
    /// Connections that had their share of the last turn.
    over_budget: Vec<Key>,
    /// Connections whose owner waits for room that is there now.
    writable: Vec<Key>,
    /// Ends the owner was not told yet: one per connection at most, of which there are [`rollcall_core::limits::CONNECTIONS_PER_CORE_MAX`].
    ended: VecDeque<(Key, EndedBy)>,
    untaken: UntakenEnds,
    partial_bytes: usize,
    traffic: Traffic,
    framing: PhantomData<F>,
}

/// What went through a core's connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were accepted.
    pub opened: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Connections that were refused because of a limit on all of them, or for want of memory.
    pub refused: u64,
    /// Connections that were refused because of the limit on those of one address.
    pub refused_of_address: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes the kernel took.
    pub bytes_out: u64,
    /// Frames given to the owner and taken.
    pub frames_in: u64,
    /// Sends that ended, also partial ones.
    pub sends: u64,
}

/// What is known of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The other end.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub opened_at: Instant,
    /// When the last byte came.
    pub received_at: Instant,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes the kernel took.
    pub bytes_out: u64,
    /// Bytes queued behind the send in flight.
    pub owed_bytes: usize,
}

impl<F: Framing> Net<F> {
    /// A table for `core` that accepts from `listeners` from the first poll on and wakes its core through `ringer`.
    pub fn new(
        core: CoreId,
        kind: TransportKind,
        listeners: Vec<TcpListener>,
        ringer: &Ringer,
        admission: Arc<Admission>,
        settings: Settings,
    ) -> io::Result<Self> {
        let mut transport: Box<dyn Transport> = match kind {
            TransportKind::Ring => {
                Box::new(NetRing::new(listeners, ringer.descriptor(), &settings)?)
            }
            TransportKind::Plain => Box::new(PlainSockets::new(
                listeners,
                ringer.descriptor(),
                &settings,
            )?),
        };
        transport.accept(true);
        Ok(Self::over(transport, core, admission, settings))
    }

    fn over(
        transport: Box<dyn Transport>,
        core: CoreId,
        admission: Arc<Admission>,
        settings: Settings,
    ) -> Self {
        Self {
            core,
            slots: Slots::new(settings.connections_max),
            settings,
            transport,
            pool: Pool::default(),
            accepting: Accepting::new(admission),
            now: Instant::default(),
            turn: 0,
            dirty: Vec::new(),
            resumed: Vec::new(),
            over_budget: Vec::new(),
            writable: Vec::new(),
            ended: VecDeque::new(),
            untaken: UntakenEnds::default(),
            partial_bytes: 0,
            traffic: Traffic::default(),
            framing: PhantomData,
        }
    }

    /// Takes up everything that happened, and tells it to `service`. False if nothing had.
    pub fn poll<S: Service<F>>(&mut self, now: Now, service: &mut S) -> bool {
        self.now = now.monotonic;
        self.turn += 1;
        self.transport.poll();
        let mut worked = self.take_ends();
        worked |= self.take_up_waiting(service);
        while let Some(event) = self.transport.next_event() {
            worked = true;
            self.on_event(event, service);
        }
        worked |= self.meet_deadlines();
        worked | self.tell_ends(service)
    }

    fn on_event<S: Service<F>>(&mut self, event: Event, service: &mut S) {
        match event {
            Event::Accepted(socket) => {
                // It may take the slot of a connection whose end was not told yet.
                self.tell_ends(service);
                self.on_accepted(socket, service);
            }
            Event::AcceptStopped(error) => self.on_accept_stopped(&error),
            Event::Received(key, chunk) => self.on_received(key, chunk, service),
            Event::ReceiveEnded(key, error) => self.on_receive_ended(key, error),
            Event::Sent(key, flight, result) => self.on_sent(key, flight, result, service),
            Event::Released(key) => self.on_released(key),
            Event::Lost => self.on_lost(),
        }
    }

    /// What earlier turns and calls between turns left to do.
    fn take_up_waiting<S: Service<F>>(&mut self, service: &mut S) -> bool {
        let waited =
            !self.over_budget.is_empty() || !self.resumed.is_empty() || !self.writable.is_empty();
        for key in std::mem::take(&mut self.over_budget) {
            if let Some(connection) = self.slots.find(key) {
                connection.stops.over_budget = false;
                self.update_reading(key);
            }
        }
        for key in std::mem::take(&mut self.resumed) {
            self.offer_again(key, service);
        }
        for key in std::mem::take(&mut self.writable) {
            if self
                .slots
                .find(key)
                .is_some_and(|connection| connection.phase == Phase::Open)
            {
                service.writable(self.id(key));
            }
        }
        waited | self.tell_ends(service)
    }

    /// Sends what was appended and starts everything else that was asked for.
    pub fn flush(&mut self) {
        self.start_sends();
        self.transport.submit();
    }

    /// Where to append what goes to this connection; nothing if it ended.
    pub fn out(&mut self, id: ConnectId) -> Option<&mut Outgoing> {
        let key = self.key(id)?;
        let connection = self
            .slots
            .find(key)
            .filter(|connection| connection.phase == Phase::Open)?;
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(key);
        }
        let owed_bytes_max = self.settings.owed_bytes_max;
        let pool = &mut self.pool;
        Some(
            connection
                .out
                .get_or_insert_with(|| pool.outgoing(owed_bytes_max)),
        )
    }

    /// Offers the frame that was not taken again, with the next poll, and reads on.
    pub fn resume(&mut self, id: ConnectId) {
        let Some(key) = self.key(id) else { return };
        let now = self.now;
        if let Some(connection) = self.slots.find(key)
            && std::mem::replace(&mut connection.stops.paused, false)
        {
            // Its own silence starts here: what we did not read does not count against it.
            connection.received_at = now;
            self.resumed.push(key);
        }
    }

    /// Ends a connection. What is queued is still written where `ended_by` allows it; `closed` follows.
    pub fn close(&mut self, id: ConnectId, ended_by: EndedBy) {
        if let Some(key) = self.key(id) {
            self.end(key, ended_by);
        }
    }

    /// Closes the listeners; connections stay.
    pub fn stop_accepting(&mut self) {
        self.accepting.stop();
        self.transport.close_listeners();
    }

    /// How many connections there are, closing ones included.
    pub fn connections(&self) -> usize {
        self.slots.len()
    }

    /// The connections whose end is not decided.
    pub fn open_connections(&self) -> impl Iterator<Item = ConnectId> {
        let open = self
            .slots
            .iter()
            .filter(|(_, connection)| connection.phase == Phase::Open);
        open.map(|(key, _)| self.id(key))
    }

    /// What is known of a connection that still exists.
    pub fn facts(&mut self, id: ConnectId) -> Option<Facts> {
        let key = self.key(id)?;
        self.slots.find(key).map(|connection| Facts {
            peer: connection.peer,
            opened_at: connection.opened_at,
            received_at: connection.received_at,
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            owed_bytes: connection.out.as_ref().map_or(0, |out| out.owed()),
        })
    }

    /// What went through so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What went wrong so far.
    pub fn trouble(&self) -> Trouble {
        self.transport.trouble()
    }

    /// Bytes that all connections owe together; a list that many of them owe counts once.
    pub fn owed_bytes(&self) -> usize {
        self.pool.owed()
    }

    /// Bytes of begun frames held right now.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// When to poll if nothing else happens first.
    pub fn next_timeout(&self) -> Option<Instant> {
        let others = [self.accepting.retry_at(), self.untaken.caught_up_at()];
        let own = self.slots.next_timeout();
        others.into_iter().chain([own]).flatten().min()
    }

    /// Makes whatever happens from here on ring the core's bell, at `deadline` or the next time-out at the latest.
    ///
    /// False if something happened already: do not sleep, poll. Ask while the bell is marked sleeping.
    pub fn prepare_sleep(&mut self, now: Now, deadline: Option<Instant>) -> bool {
        let waits =
            !self.resumed.is_empty() || !self.over_budget.is_empty() || !self.dirty.is_empty();
        let ends = self.untaken.is_due() || !self.ended.is_empty();
        if waits || ends || !self.writable.is_empty() {
            return false;
        }
        let deadline = [deadline, self.next_timeout()].into_iter().flatten().min();
        if deadline.is_some_and(|deadline| deadline <= now.monotonic) {
            return false;
        }
        self.transport.prepare_sleep(now.monotonic, deadline)
    }

    fn id(&self, key: Key) -> ConnectId {
        ConnectId {
            core: self.core,
            slot: key.slot,
            generation: key.generation,
        }
    }

    fn key(&self, id: ConnectId) -> Option<Key> {
        (id.core == self.core).then_some(Key {
            slot: id.slot,
            generation: id.generation,
        })
    }

    /// Lets the transport receive exactly when the connection wants bytes.
    fn update_reading(&mut self, key: Key) {
        if let Some(connection) = self.slots.find(key) {
            let wants_bytes = connection.wants_bytes();
            self.transport.receive(key, wants_bytes);
        }
    }

    /// Makes sure that this deadline of a connection is looked at when it passes.
    fn schedule(&mut self, key: Key, deadline: Deadline) {
        let timeout = self.timeout(deadline);
        let Some(connection) = self.slots.find(key) else {
            return;
        };
        if let Some(due) = connection.due(deadline, &self.settings) {
            // Looked at once per time-out at least, so that a later user of the slot finds no entry later than its own.
            let at = due.min(self.now + timeout);
            self.slots.schedule(key.slot, deadline, at, timeout);
        }
    }
}
