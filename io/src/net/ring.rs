//! The transport of choice: one private io_uring per core for accept, receive and send.
//!
//! Multishot accept and receive with one ring of provided buffers, one send per dirty connection and turn. All completions are
//! run by this core when it asks for them, and ring the core's bell only while it sleeps.

mod buffers;
mod operation;
mod queues;
mod sending;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use rollcall_core::limits;
use rollcall_core::machine::Instant;
use socket2::SockRef;

use self::buffers::SharedBuffers;
use self::operation::{Completion, Operation, key_of, user_data};
use self::queues::Queues;
pub(crate) use self::queues::build_ring;
use self::sending::Sending;
use super::outgoing::Flight;
use super::settings::Settings;
use super::transport::{Chunk, Event, Key, Transport, Trouble, lacks_resource};

/// A core's ring. Lives and dies on the core's thread.
pub(crate) struct NetRing {
    queues: Queues,
    buffers: SharedBuffers,
    listeners: Vec<Listening>,
    accepts: bool,
    sockets: Vec<Socket>,
    /// Receives to be started with the next submit, when buffers were returned.
    to_arm: Vec<Key>,
    released: VecDeque<Key>,
    #[expect(
        clippy::vec_box,
        reason = "the kernel knows the address of a sending, so it must not move"
    )]
    idle_sendings: Vec<Box<Sending>>,
    timer: Timer,
}

struct Listening {
    socket: Option<TcpListener>,
    is_armed: bool,
    /// How often the accept under way may have been lost.
    times_lost: u32,
}

#[derive(Default)]
struct Socket {
    generation: u32,
    fd: Option<OwnedFd>,
    wants_bytes: bool,
    receive: Receive,
    is_to_arm: bool,
    sending: Option<Box<Sending>>,
    is_releasing: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Receive {
    #[default]
    Idle,
    Armed,
    Cancelled,
}

struct Timer {
    /// Read by the kernel when the operation is submitted, so it has a fixed address.
    duration: Box<types::Timespec>,
    fires_at: Option<Instant>,
}

impl NetRing {
    /// A ring that rings `bell` (an eventfd) and accepts from `listeners`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        bell: BorrowedFd<'_>,
        settings: &Settings,
    ) -> io::Result<Self> {
        let queues = Queues::new(bell)?;
        let (count, bytes) = (settings.receive_buffers, settings.receive_buffer_bytes);
        let buffers = SharedBuffers::register(&queues.submitter(), count, bytes)?;
        for listener in &listeners {
            listener.set_nonblocking(false)?;
        }
        let listening = |socket| Listening {
            socket: Some(socket),
            is_armed: false,
            times_lost: 0,
        };
        Ok(Self {
            queues,
            buffers,
            listeners: listeners.into_iter().map(listening).collect(),
            accepts: false,
            sockets: Vec::new(),
            to_arm: Vec::new(),
            released: VecDeque::new(),
            idle_sendings: Vec::new(),
            timer: Timer {
                duration: Box::default(),
                fires_at: None,
            },
        })
    }

    fn socket(&mut self, key: Key) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(key.slot as usize)?;
        (socket.generation == key.generation && socket.fd.is_some()).then_some(socket)
    }

    fn want_armed(&mut self, key: Key) {
        if let Some(socket) = self.socket(key)
            && !socket.is_to_arm
        {
            socket.is_to_arm = true;
            self.to_arm.push(key);
        }
    }

    fn arm_receives(&mut self) {
        for key in std::mem::take(&mut self.to_arm) {
            let Some(socket) = self.socket(key) else {
                continue;
            };
            socket.is_to_arm = false;
            if socket.receive != Receive::Idle || !socket.wants_bytes || socket.is_releasing {
                continue;
            }
            socket.receive = Receive::Armed;
            let fd = fd_of(socket);
            let entry = opcode::RecvMulti::new(types::Fd(fd), buffers::GROUP).build();
            self.queues
                .push(entry.user_data(user_data(Operation::Receive, key)));
        }
    }

    fn listener_key(&self, index: usize) -> Key {
        Key {
            slot: u32::try_from(index).expect("a handful of listeners"),
            generation: self.listeners[index].times_lost,
        }
    }

    fn arm_accepts(&mut self) {
        for index in 0..self.listeners.len() {
            let key = self.listener_key(index);
            let listening = &mut self.listeners[index];
            let Some(socket) = &listening.socket else {
                continue;
            };
            if listening.is_armed || !self.accepts {
                continue;
            }
            listening.is_armed = true;
            let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
                .flags(libc::SOCK_CLOEXEC)
                .build();
            self.queues
                .push(entry.user_data(user_data(Operation::Accept, key)));
        }
    }

    /// Any accept, and the timer, may be among what was lost: they are asked for again.
    fn begin_anew(&mut self) {
        for index in 0..self.listeners.len() {
            let key = self.listener_key(index);
            self.queues.cancel(Operation::Accept, key);
            let listening = &mut self.listeners[index];
            listening.times_lost += 1;
            listening.is_armed = false;
        }
        self.timer.fires_at = None;
    }

    fn on_accept(&mut self, key: Key, completion: &Completion) -> Option<Event> {
        let index = key.slot as usize;
        if !cqueue::more(completion.flags) && key == self.listener_key(index) {
            self.listeners[index].is_armed = false;
        }
        if completion.result >= 0 {
            return Some(Event::Accepted(crate::sys::own_completed(
                completion.result,
            )));
        }
        let error = io::Error::from_raw_os_error(-completion.result);
        let is_ours = lacks_resource(&error);
        self.accepts &= !is_ours;
        is_ours.then_some(Event::AcceptStopped(error))
    }

    fn on_receive(&mut self, key: Key, completion: &Completion) -> Option<Event> {
        let buffer = cqueue::buffer_select(completion.flags);
        let ended = !cqueue::more(completion.flags);
        let Some(socket) = self.socket(key) else {
            self.queues.trouble.stale_completions += 1;
            buffer
                .into_iter()
                .for_each(|buffer| self.buffers.provide(buffer));
            return None;
        };
        if ended {
            socket.receive = Receive::Idle;
        }
        let wants_bytes = socket.wants_bytes && !socket.is_releasing;
        let event = match (completion.result, buffer) {
            (1.., Some(buffer)) => {
                let len = usize::try_from(completion.result).expect("matched as positive");
                Some(Event::Received(key, Chunk { buffer, len }))
            }
            (result, buffer) => {
                buffer
                    .into_iter()
                    .for_each(|buffer| self.buffers.provide(buffer));
                self.receive_end(key, -result)
            }
        };
        let is_over = matches!(event, Some(Event::ReceiveEnded(..)));
        if ended && wants_bytes && !is_over {
            self.want_armed(key);
        }
        self.settle(key);
        event
    }

    fn receive_end(&mut self, key: Key, error: i32) -> Option<Event> {
        match error {
            0 => Some(Event::ReceiveEnded(key, None)),
            libc::ENOBUFS => {
                self.queues.trouble.no_buffers += 1;
                None
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => None,
            error => Some(Event::ReceiveEnded(
                key,
                Some(io::Error::from_raw_os_error(error)),
            )),
        }
    }

    fn on_send(&mut self, key: Key, completion: &Completion) -> Option<Event> {
        let Some(mut sending) = self.socket(key).and_then(|socket| socket.sending.take()) else {
            self.queues.trouble.stale_completions += 1;
            return None;
        };
        let flight = sending.unload();
        if self.idle_sendings.len() < limits::POOLED_BUFFERS_MAX {
            self.idle_sendings.push(sending);
        }
        self.settle(key);
        let result = usize::try_from(completion.result)
            .map_err(|_| io::Error::from_raw_os_error(-completion.result));
        Some(Event::Sent(key, flight, result))
    }

    /// Closes a socket that is being released and has nothing under way.
    fn settle(&mut self, key: Key) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if socket.is_releasing && socket.receive == Receive::Idle && socket.sending.is_none() {
            *socket = Socket {
                generation: key.generation,
                ..Socket::default()
            };
            // Bounded by the sockets: each is released once.
            self.released.push_back(key);
        }
    }

    fn arm_timer(&mut self, now: Instant, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self
            .timer
            .fires_at
            .is_some_and(|fires_at| fires_at <= deadline)
        {
            return;
        }
        let was_armed = self.timer.fires_at.replace(deadline).is_some();
        let left = deadline.since(now).max(Duration::from_nanos(1));
        *self.timer.duration = types::Timespec::from(left);
        let timespec: *const types::Timespec = &raw const *self.timer.duration;
        let timer = user_data(
            Operation::Timer,
            Key {
                slot: 0,
                generation: 0,
            },
        );
        if was_armed {
            let entry = opcode::TimeoutUpdate::new(timer, timespec).build();
            self.queues.push(entry.user_data(user_data(
                Operation::Cancel,
                Key {
                    slot: 0,
                    generation: 0,
                },
            )));
        } else {
            self.queues
                .push(opcode::Timeout::new(timespec).build().user_data(timer));
        }
    }
}

fn fd_of(socket: &Socket) -> RawFd {
    socket
        .fd
        .as_ref()
        .expect("a found socket is open")
        .as_raw_fd()
}

impl Transport for NetRing {
    fn poll(&mut self) {
        self.queues.poll();
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(key) = self.released.pop_front() {
                return Some(Event::Released(key));
            }
            if self.queues.has_lost() {
                self.begin_anew();
                return Some(Event::Lost);
            }
            let completion = self.queues.next()?;
            let key = key_of(completion.user_data);
            let event = match Operation::of(completion.user_data) {
                Some(Operation::Accept) => self.on_accept(key, &completion),
                Some(Operation::Receive) => self.on_receive(key, &completion),
                Some(Operation::Send) => self.on_send(key, &completion),
                Some(Operation::Timer) => {
                    self.timer.fires_at = None;
                    None
                }
                // Whether a cancel found its target shows in the target's own completion.
                Some(Operation::Cancel) | None => None,
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.bytes(chunk)
    }

    fn give_back(&mut self, chunk: Chunk) {
        self.buffers.provide(chunk.buffer);
    }

    fn accept(&mut self, on: bool) {
        self.accepts = on;
        if on {
            return;
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].is_armed {
                let key = self.listener_key(index);
                self.queues.cancel(Operation::Accept, key);
            }
        }
    }

    fn close_listeners(&mut self) {
        self.accept(false);
        // The accept under way holds the socket until its cancel is submitted.
        self.queues.enter();
        for listening in &mut self.listeners {
            listening.socket = None;
        }
    }

    fn adopt(&mut self, key: Key, fd: OwnedFd) -> io::Result<()> {
        let slot = key.slot as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize_with(slot + 1, Socket::default);
        }
        assert!(
            self.sockets[slot].fd.is_none(),
            "slot {slot} still has a socket"
        );
        self.sockets[slot] = Socket {
            generation: key.generation,
            fd: Some(fd),
            ..Socket::default()
        };
        Ok(())
    }

    fn receive(&mut self, key: Key, on: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if socket.is_releasing {
            return;
        }
        socket.wants_bytes = on;
        match (on, socket.receive) {
            (true, Receive::Idle) => self.want_armed(key),
            (false, Receive::Armed) => {
                socket.receive = Receive::Cancelled;
                self.queues.cancel(Operation::Receive, key);
            }
            // Armed is what is wanted, or the end of a cancelled receive will look again.
            _ => {}
        }
    }

    fn send(&mut self, key: Key, flight: Box<Flight>) {
        let mut sending = self.idle_sendings.pop().unwrap_or_else(Sending::empty);
        let socket = self.socket(key).expect("only open connections send");
        assert!(
            socket.sending.is_none(),
            "one send per connection at a time"
        );
        let entry = sending.load(flight, types::Fd(fd_of(socket)));
        socket.sending = Some(sending);
        self.queues
            .push(entry.user_data(user_data(Operation::Send, key)));
    }

    fn shutdown(&mut self, key: Key, how: Shutdown) {
        if let Some(fd) = self.socket(key).and_then(|socket| socket.fd.as_ref()) {
            // It fails only when the peer has reset the connection, which its receive tells.
            let _ = SockRef::from(fd).shutdown(how);
        }
    }

    fn reset_on_close(&mut self, key: Key) {
        if let Some(fd) = self.socket(key).and_then(|socket| socket.fd.as_ref()) {
            // Without it the peer sees an orderly end after what the kernel still holds; nothing is lost by that.
            let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
        }
    }

    fn release(&mut self, key: Key) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if std::mem::replace(&mut socket.is_releasing, true) {
            return;
        }
        let receives = socket.receive == Receive::Armed;
        let sends = socket.sending.is_some();
        if receives {
            socket.receive = Receive::Cancelled;
            self.queues.cancel(Operation::Receive, key);
        }
        if sends {
            self.queues.cancel(Operation::Send, key);
        }
        self.settle(key);
    }

    fn abandon(&mut self, key: Key) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let receives = socket.receive != Receive::Idle;
        let sending = socket.sending.take();
        *socket = Socket {
            generation: key.generation,
            ..Socket::default()
        };
        self.queues
            .lose(usize::from(receives) + usize::from(sending.is_some()));
        // The kernel may still read it.
        std::mem::forget(sending);
        self.queues.trouble.abandoned += 1;
        // Bounded by the sockets: each is in it once.
        self.released.push_back(key);
    }

    fn submit(&mut self) {
        self.arm_receives();
        self.arm_accepts();
        self.queues.enter();
    }

    fn prepare_sleep(&mut self, now: Instant, deadline: Option<Instant>) -> bool {
        self.arm_timer(now, deadline);
        self.submit();
        self.released.is_empty() && self.queues.prepare_sleep()
    }

    fn trouble(&self) -> Trouble {
        self.queues.trouble
    }
}

impl Drop for NetRing {
    fn drop(&mut self) {
        if !self.queues.finish() {
            // The kernel may still read sends and write to buffers: leaking them is the safe end.
            self.buffers.leak();
            std::mem::forget(std::mem::take(&mut self.sockets));
        }
    }
}
