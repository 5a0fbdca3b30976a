//! The transport for kernels that lack what the ring needs: non-blocking sockets and a readiness queue.
//!
//! Simple rather than fast. A tiny ring of its own does one thing: it rings the core's bell when a socket is ready.

mod alarm;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rollcall_core::limits;
use rollcall_core::machine::Instant;
use socket2::Socket as RawSocket;

use self::alarm::Alarm;
use super::outgoing::Flight;
use super::settings::Settings;
use super::transport::{Chunk, Event, Key, Transport, Trouble, lacks_resource};
use crate::sys::{Epoll, TimerFd};

/// Marks the timer among the ready; no slot is so large.
const TIMER: u64 = u64::MAX;
/// Marks listeners among the ready; their index follows.
const LISTENER: u64 = 1 << 62;
/// Connections taken per listener and turn.
const ACCEPTS_PER_TURN_MAX: usize = 256;
/// Sockets looked at in one turn.
const READY_PER_TURN_MAX: usize = 1024;

const READABLE: u32 = libc::EPOLLIN as u32;
const WRITABLE: u32 = libc::EPOLLOUT as u32;
const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// Sockets of a core, by slot.
pub(crate) struct PlainSockets {
    epoll: Epoll,
    alarm: Alarm,
    timer: TimerFd,
    fires_at: Option<Instant>,
    listeners: Vec<TcpListener>,
    accepts: bool,
    sockets: Vec<Option<Socket>>,
    ready: Vec<libc::epoll_event>,
    ready_count: usize,
    ready_next: usize,
    /// The ready socket that is being read until it has no more or had its share.
    reading: Option<Key>,
    to_send: Vec<Key>,
    events: VecDeque<Event>,
    scratch: Vec<u8>,
    trouble: Trouble,
}

struct Socket {
    generation: u32,
    socket: RawSocket,
    wants_bytes: bool,
    flight: Option<Box<Flight>>,
    /// What the readiness queue watches for.
    watched: u32,
    waits_for_room: bool,
    is_over: bool,
}

impl PlainSockets {
    /// Sockets that ring `bell` (an eventfd) and accept from `listeners`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        bell: BorrowedFd<'_>,
        settings: &Settings,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let timer = TimerFd::new()?;
        epoll.add(timer.file().as_fd(), READABLE, TIMER)?;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let alarm = Alarm::new(epoll.as_raw_fd(), bell)?;
        let no_event = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            epoll,
            alarm,
            timer,
            fires_at: None,
            listeners,
            accepts: false,
            sockets: Vec::new(),
            ready: vec![no_event; READY_PER_TURN_MAX],
            ready_count: 0,
            ready_next: 0,
            reading: None,
            to_send: Vec::new(),
            events: VecDeque::new(),
            scratch: vec![0; settings.receive_buffer_bytes as usize],
            trouble: Trouble::default(),
        })
    }

    fn socket(&mut self, key: Key) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(key.slot as usize)?.as_mut()?;
        (socket.generation == key.generation).then_some(socket)
    }

    /// Tells the readiness queue what this socket waits for.
    fn watch(&mut self, key: Key) {
        let Self { epoll, sockets, .. } = self;
        let Some(socket) = sockets.get_mut(key.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let reads = socket.wants_bytes && !socket.is_over;
        let wanted =
            if reads { READABLE } else { 0 } | if socket.waits_for_room { WRITABLE } else { 0 };
        if wanted == socket.watched {
            return;
        }
        socket.watched = wanted;
        epoll
            .modify(socket.socket.as_fd(), wanted, mark(key))
            .expect("an open socket of this queue can be modified");
    }

    fn take_ready(&mut self) -> Option<Event> {
        while self.ready_next < self.ready_count {
            let ready = self.ready[self.ready_next];
            self.ready_next += 1;
            let (events, data) = (ready.events, ready.u64);
            if data == TIMER {
                self.on_timer();
            } else if data & LISTENER != 0 {
                self.accept_some(usize::try_from(data & !LISTENER).expect("an index of ours"));
            } else if let Some(event) = self.on_ready(key_of(data), events) {
                return Some(event);
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
        }
        None
    }

    fn on_timer(&mut self) {
        self.fires_at = None;
        let mut count = [0; 8];
        // Readable means that this read does not wait.
        let _ = self.timer.file().read(&mut count);
    }

    fn accept_some(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(listener) = self.listeners.get(index).filter(|_| self.accepts) else {
                return;
            };
            match listener.accept() {
                // Bounded by `ACCEPTS_PER_TURN_MAX`: all are taken up before the next are accepted.
                Ok((stream, _)) => self
                    .events
                    .push_back(Event::Accepted(OwnedFd::from(stream))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if lacks_resource(&error) => {
                    self.accept(false);
                    return self.events.push_back(Event::AcceptStopped(error));
                }
                // That one connection was gone before we came to it.
                Err(_) => {}
            }
        }
    }

    fn on_ready(&mut self, key: Key, events: u32) -> Option<Event> {
        let socket = self.socket(key)?;
        if socket.waits_for_room && events & (WRITABLE | BROKEN) != 0 {
            socket.waits_for_room = false;
            self.send_some(key);
            self.watch(key);
        }
        let socket = self.socket(key)?;
        if events & (READABLE | BROKEN) != 0 && !socket.is_over && socket.wants_bytes {
            self.reading = Some(key);
            return self.read_some();
        }
        if events & BROKEN != 0 && !socket.is_over {
            socket.is_over = true;
            let error = socket.socket.take_error().ok().flatten();
            self.stop_watching(key);
            return Some(Event::ReceiveEnded(
                key,
                Some(error.unwrap_or(ErrorKind::ConnectionReset.into())),
            ));
        }
        None
    }

    /// A broken socket that nobody reads would be reported for ever.
    fn stop_watching(&mut self, key: Key) {
        let Self { epoll, sockets, .. } = self;
        if let Some(socket) = sockets.get_mut(key.slot as usize).and_then(Option::as_mut) {
            // It fails only if it is not watched any more.
            let _ = epoll.remove(socket.socket.as_fd());
        }
    }

    /// The next piece of the socket that is being read.
    fn read_some(&mut self) -> Option<Event> {
        let key = self.reading?;
        let Self {
            sockets, scratch, ..
        } = self;
        let socket = sockets.get_mut(key.slot as usize).and_then(Option::as_mut);
        let Some(socket) =
            socket.filter(|s| s.generation == key.generation && s.wants_bytes && !s.is_over)
        else {
            self.reading = None;
            return None;
        };
        let end = match (&socket.socket).read(scratch) {
            Ok(0) => None,
            Ok(len) => {
                if len < scratch.len() {
                    self.reading = None;
                }
                return Some(Event::Received(key, Chunk { buffer: 0, len }));
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                self.reading = None;
                return None;
            }
            Err(error) => Some(error),
        };
        socket.is_over = true;
        self.reading = None;
        self.watch(key);
        Some(Event::ReceiveEnded(key, end))
    }

    fn send_some(&mut self, key: Key) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let Some(flight) = socket.flight.as_deref() else {
            return;
        };
        let result = write_parts(&socket.socket, flight);
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        {
            socket.waits_for_room = true;
            return self.watch(key);
        }
        let flight = socket.flight.take().expect("just borrowed");
        // Bounded by the sockets: each has one flight.
        self.events.push_back(Event::Sent(key, flight, result));
    }

    fn set_timer(&mut self, now: Instant, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.fires_at.is_some_and(|fires_at| fires_at <= deadline) {
            return;
        }
        self.fires_at = Some(deadline);
        self.timer
            .set(deadline.since(now), Duration::ZERO)
            .expect("a valid time for our own timer");
    }
}

fn mark(key: Key) -> u64 {
    u64::from(key.slot) << 32 | u64::from(key.generation)
}

fn key_of(mark: u64) -> Key {
    Key {
        slot: (mark >> 32) as u32,
        generation: mark as u32,
    }
}

fn write_parts(socket: &RawSocket, flight: &Flight) -> io::Result<usize> {
    let mut parts = [IoSlice::new(&[]); limits::SEND_PARTS_MAX];
    let mut count = 0;
    flight.for_each_part(|part| {
        parts[count] = IoSlice::new(part);
        count += 1;
    });
    socket.send_vectored_with_flags(&parts[..count], libc::MSG_NOSIGNAL)
}

impl Transport for PlainSockets {
    fn poll(&mut self) {
        self.alarm.acknowledge();
        self.ready_next = 0;
        // Interrupted counts as nothing ready: the queue is asked again next turn.
        self.ready_count = self.epoll.take_ready(&mut self.ready).unwrap_or(0);
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        loop {
            if self.reading.is_some() {
                if let Some(event) = self.read_some() {
                    return Some(event);
                }
                continue;
            }
            return self.take_ready();
        }
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        &self.scratch[..chunk.len]
    }

    fn give_back(&mut self, _: Chunk) {}

    fn accept(&mut self, on: bool) {
        if std::mem::replace(&mut self.accepts, on) == on {
            return;
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let changed = if on {
                self.epoll
                    .add(listener.as_fd(), READABLE, LISTENER | index as u64)
            } else {
                self.epoll.remove(listener.as_fd())
            };
            changed.expect("an open listener can be watched");
        }
    }

    fn close_listeners(&mut self) {
        self.accept(false);
        self.listeners.clear();
    }

    fn adopt(&mut self, key: Key, fd: OwnedFd) -> io::Result<()> {
        let slot = key.slot as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize_with(slot + 1, || None);
        }
        assert!(
            self.sockets[slot].is_none(),
            "slot {slot} still has a socket"
        );
        let socket = RawSocket::from(fd);
        socket.set_nonblocking(true)?;
        self.epoll.add(socket.as_fd(), 0, mark(key))?;
        self.sockets[slot] = Some(Socket {
            generation: key.generation,
            socket,
            wants_bytes: false,
            flight: None,
            watched: 0,
            waits_for_room: false,
            is_over: false,
        });
        Ok(())
    }

    fn receive(&mut self, key: Key, on: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if !socket.is_over && socket.wants_bytes != on {
            socket.wants_bytes = on;
            self.watch(key);
        }
    }

    fn send(&mut self, key: Key, flight: Box<Flight>) {
        let socket = self.socket(key).expect("only open connections send");
        assert!(socket.flight.is_none(), "one send per connection at a time");
        socket.flight = Some(flight);
        self.to_send.push(key);
    }

    fn shutdown(&mut self, key: Key, how: Shutdown) {
        if let Some(socket) = self.socket(key) {
            // It fails only when the peer has reset the connection, which reading tells.
            let _ = socket.socket.shutdown(how);
        }
    }

    fn reset_on_close(&mut self, key: Key) {
        if let Some(socket) = self.socket(key) {
            // Without it the peer sees an orderly end after what the kernel still holds; nothing is lost by that.
            let _ = socket.socket.set_linger(Some(Duration::ZERO));
        }
    }

    fn release(&mut self, key: Key) {
        if self.socket(key).is_none() {
            return;
        }
        self.stop_watching(key);
        let socket = self.sockets[key.slot as usize].take();
        // Bounded by the sockets: each has one flight and is released once.
        if let Some(flight) = socket.and_then(|socket| socket.flight) {
            let ended = io::Error::from(ErrorKind::ConnectionAborted);
            self.events.push_back(Event::Sent(key, flight, Err(ended)));
        }
        self.events.push_back(Event::Released(key));
    }

    fn abandon(&mut self, key: Key) {
        // Nothing of these sockets is ever under way.
        self.release(key);
    }

    fn submit(&mut self) {
        for key in std::mem::take(&mut self.to_send) {
            self.send_some(key);
        }
    }

    fn prepare_sleep(&mut self, now: Instant, deadline: Option<Instant>) -> bool {
        self.set_timer(now, deadline);
        self.submit();
        self.events.is_empty() && self.reading.is_none() && self.alarm.arm()
    }

    fn trouble(&self) -> Trouble {
        self.trouble
    }
}
