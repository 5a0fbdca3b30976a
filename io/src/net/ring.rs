//! The transport of choice: one private io_uring per core for accept, receive and send.
//!
//! Multishot accept and receive with one ring of provided buffers, one send per dirty connection and turn. All completions are
//! run by this core when it asks for them, and ring the core's bell only while it sleeps.

mod buffers;
mod sending;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rollcall_core::limits;
use rollcall_core::machine::Instant;
use socket2::SockRef;

use self::buffers::SharedBuffers;
use self::sending::Sending;
use super::outgoing::Flight;
use super::settings::Settings;
use super::transport::{Chunk, Event, Key, Transport, Trouble};

/// A core's ring. Lives and dies on the core's thread.
pub(crate) struct NetRing {
    ring: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<SharedBuffers>,
    listeners: Vec<Listening>,
    accepts: bool,
    sockets: Vec<Socket>,
    /// Receives to be started with the next submit, when buffers were returned.
    to_arm: Vec<Key>,
    /// Entries that found the submission queue full; at most a few per connection.
    backlog: VecDeque<squeue::Entry>,
    completions: VecDeque<Completion>,
    released: VecDeque<Key>,
    #[expect(
        clippy::vec_box,
        reason = "the kernel knows the address of a sending, so it must not move"
    )]
    idle_sendings: Vec<Box<Sending>>,
    /// Operations the kernel has not finished.
    under_way: usize,
    timer: Timer,
    trouble: Trouble,
}

struct Listening {
    socket: Option<TcpListener>,
    is_armed: bool,
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

struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// What an operation is, in the top byte of its user data; slot and generation follow.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Operation {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Cancel = 4,
    Timer = 5,
}

impl Operation {
    fn of(user_data: u64) -> Option<Self> {
        [
            Self::Accept,
            Self::Receive,
            Self::Send,
            Self::Cancel,
            Self::Timer,
        ]
        .into_iter()
        .find(|operation| *operation as u64 == user_data >> 56)
    }
}

fn user_data(operation: Operation, key: Key) -> u64 {
    (operation as u64) << 56 | u64::from(key.slot) << 32 | u64::from(key.generation)
}

fn key_of(user_data: u64) -> Key {
    Key {
        slot: (user_data >> 32) as u32 & 0x00ff_ffff,
        generation: user_data as u32,
    }
}

/// A ring with the flags the transport needs; fails on kernels that lack them (before 6.1).
pub(crate) fn build_ring(submissions: u32, completions: u32) -> io::Result<IoUring> {
    // COOP_TASKRUN is left out on purpose: its task work shares a list with glommio's rings.
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}

impl NetRing {
    /// A ring that rings `bell` (an eventfd) and accepts from `listeners`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        bell: BorrowedFd<'_>,
        settings: &Settings,
    ) -> io::Result<Self> {
        let mut ring = build_ring(limits::RING_SUBMISSIONS, limits::RING_COMPLETIONS)?;
        let submitter = ring.submitter();
        submitter.register_eventfd(bell.as_raw_fd())?;
        let buffers = SharedBuffers::register(
            &submitter,
            settings.receive_buffers,
            settings.receive_buffer_bytes,
        )?;
        ring.completion().disable_eventfd();
        for listener in &listeners {
            listener.set_nonblocking(false)?;
        }
        let listening = |socket| Listening {
            socket: Some(socket),
            is_armed: false,
        };
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            buffers: ManuallyDrop::new(buffers),
            listeners: listeners.into_iter().map(listening).collect(),
            accepts: false,
            sockets: Vec::new(),
            to_arm: Vec::new(),
            backlog: VecDeque::new(),
            completions: VecDeque::new(),
            released: VecDeque::new(),
            idle_sendings: Vec::new(),
            under_way: 0,
            timer: Timer {
                duration: Box::default(),
                fires_at: None,
            },
            trouble: Trouble::default(),
        })
    }

    fn socket(&mut self, key: Key) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(key.slot as usize)?;
        (socket.generation == key.generation && socket.fd.is_some()).then_some(socket)
    }

    /// Queues an operation. Whatever it points to must stay in place until its completion.
    fn queue(&mut self, entry: squeue::Entry) {
        self.under_way += 1;
        if !self.backlog.is_empty() || !self.push(&entry) {
            self.backlog.push_back(entry);
        }
    }

    #[expect(unsafe_code, reason = "the kernel follows the entry's pointers")]
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the pointers of our entries go to boxed sendings and the boxed timer, which live until the completion, and
        // descriptors are closed only after it.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    fn cancel(&mut self, operation: Operation, key: Key) {
        let target = user_data(operation, key);
        let entry = opcode::AsyncCancel::new(target).build();
        self.queue(entry.user_data(user_data(Operation::Cancel, key)));
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
            self.queue(entry.user_data(user_data(Operation::Receive, key)));
        }
    }

    fn arm_accepts(&mut self) {
        for index in 0..self.listeners.len() {
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
            self.queue(entry.user_data(user_data(Operation::Accept, listener_key(index))));
        }
    }

    fn enter(&mut self) {
        while let Some(entry) = self.backlog.front().cloned() {
            if self.push(&entry) {
                self.backlog.pop_front();
            } else if !self.call() {
                return;
            }
        }
        let submissions = self.ring.submission();
        let has_work =
            !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow();
        drop(submissions);
        if has_work {
            self.call();
        }
    }

    fn call(&mut self) -> bool {
        if self.ring.submission().cq_overflow() {
            self.trouble.completion_overflows += 1;
        }
        // Busy, interrupted or out of memory: the entries stay queued and go with the next call.
        let called = self.ring.submit().is_ok();
        self.trouble.failed_submits += u64::from(!called);
        called
    }

    fn on_accept(&mut self, index: usize, completion: &Completion) -> Option<Event> {
        if !cqueue::more(completion.flags) {
            self.listeners[index].is_armed = false;
        }
        if completion.result >= 0 {
            return Some(Event::Accepted(crate::sys::own_accepted(completion.result)));
        }
        let error = io::Error::from_raw_os_error(-completion.result);
        let lacks_resource = matches!(
            -completion.result,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM
        );
        self.accepts &= !lacks_resource;
        lacks_resource.then_some(Event::AcceptStopped(error))
    }

    fn on_receive(&mut self, key: Key, completion: &Completion) -> Option<Event> {
        let buffer = cqueue::buffer_select(completion.flags);
        let ended = !cqueue::more(completion.flags);
        let Some(socket) = self.socket(key) else {
            self.trouble.stale_completions += 1;
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
                self.trouble.no_buffers += 1;
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
            self.trouble.stale_completions += 1;
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
            self.queue(entry.user_data(user_data(
                Operation::Cancel,
                Key {
                    slot: 0,
                    generation: 0,
                },
            )));
        } else {
            self.queue(opcode::Timeout::new(timespec).build().user_data(timer));
        }
    }

    fn drain_completions(&mut self) {
        let room = limits::COMPLETIONS_PER_TURN_MAX.saturating_sub(self.completions.len());
        let completions = &mut self.completions;
        let mut finished = 0;
        for entry in self.ring.completion().take(room) {
            finished += usize::from(!cqueue::more(entry.flags()));
            completions.push_back(Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
        self.under_way -= finished;
    }

    /// Closes connections that nobody will hear of.
    fn discard_completions(&mut self) {
        for completion in self.completions.drain(..) {
            if Operation::of(completion.user_data) == Some(Operation::Accept)
                && completion.result >= 0
            {
                drop(crate::sys::own_accepted(completion.result));
            }
        }
    }
}

fn listener_key(index: usize) -> Key {
    Key {
        slot: u32::try_from(index).expect("a handful of listeners"),
        generation: 0,
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
        self.ring.completion().disable_eventfd();
        if self.ring.completion().is_empty() {
            self.enter();
        }
        self.drain_completions();
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(key) = self.released.pop_front() {
                return Some(Event::Released(key));
            }
            let completion = self.completions.pop_front()?;
            let key = key_of(completion.user_data);
            let event = match Operation::of(completion.user_data) {
                Some(Operation::Accept) => self.on_accept(key.slot as usize, &completion),
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
                self.cancel(Operation::Accept, listener_key(index));
            }
        }
    }

    fn close_listeners(&mut self) {
        self.accept(false);
        // The accept under way holds the socket until its cancel is submitted.
        self.enter();
        for listening in &mut self.listeners {
            listening.socket = None;
        }
    }

    fn adopt(&mut self, key: Key, fd: OwnedFd) {
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
                self.cancel(Operation::Receive, key);
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
        let header = sending.load(flight);
        let fd = fd_of(socket);
        socket.sending = Some(sending);
        let entry = opcode::SendMsg::new(types::Fd(fd), header)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build();
        self.queue(entry.user_data(user_data(Operation::Send, key)));
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
            self.cancel(Operation::Receive, key);
        }
        if sends {
            self.cancel(Operation::Send, key);
        }
        self.settle(key);
    }

    fn submit(&mut self) {
        self.arm_receives();
        self.arm_accepts();
        self.enter();
    }

    fn prepare_sleep(&mut self, now: Instant, deadline: Option<Instant>) -> bool {
        self.arm_timer(now, deadline);
        self.submit();
        if !self.completions.is_empty() || !self.released.is_empty() || !self.backlog.is_empty() {
            return false;
        }
        self.ring.completion().enable_eventfd();
        // The kernel looks at that flag after it has posted; we look for what is posted after we set it.
        fence(Ordering::SeqCst);
        let submissions = self.ring.submission();
        let is_quiet = !submissions.taskrun() && !submissions.cq_overflow();
        drop(submissions);
        let is_quiet = is_quiet && self.ring.completion().is_empty();
        if !is_quiet {
            self.ring.completion().disable_eventfd();
        }
        is_quiet
    }

    fn trouble(&self) -> Trouble {
        self.trouble
    }
}

impl Drop for NetRing {
    #[expect(
        unsafe_code,
        reason = "the ring goes before the memory the kernel writes to, or neither goes"
    )]
    fn drop(&mut self) {
        self.under_way -= self.backlog.len();
        self.backlog.clear();
        let all = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        let cancelled = self.push(&all.user_data(user_data(
            Operation::Cancel,
            Key {
                slot: 0,
                generation: 0,
            },
        )));
        // A cancelled operation ends at once; the rounds only bound what cannot happen.
        self.under_way += usize::from(cancelled);
        for _ in 0..1_000 {
            self.discard_completions();
            if self.under_way == 0 || self.ring.submit_and_wait(1).is_err() {
                break;
            }
            self.drain_completions();
        }
        if self.under_way > 0 {
            // The kernel may still read sends and write to buffers: leaking them is the safe end.
            std::mem::forget(std::mem::take(&mut self.sockets));
            return;
        }
        // SAFETY: dropped once, here, and not used afterwards; nothing is under way.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}
