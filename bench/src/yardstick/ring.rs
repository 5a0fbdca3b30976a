//! The least that an io_uring server can be: multishot accept and receive, provided buffers, one send per connection and turn.
#![expect(
    unsafe_code,
    reason = "operations and buffers shared with the kernel; everything they point to lives as long as the process"
)]

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rollcall_core::bolt::{Decoded, Frame, decode};
use rollcall_core::limits;

const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const BROADCAST: u64 = 4 << 32;
const SUBMISSIONS: u32 = 4096;
const GROUP: u16 = 0;
const PAGE: usize = 4096;

/// What a yardstick does with what it reads.
pub(super) trait Answers {
    /// A frame came. What is appended to `out` is sent on the same connection.
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>);

    /// Whether the bytes of a connection are dropped unread.
    fn ignores(&self, connection: usize) -> bool;

    /// What is to be sent to many, taken once.
    fn broadcast(&mut self) -> Option<Broadcast>;
}

/// One frame for many connections.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) frame: Rc<[u8]>,
    pub(super) to: Vec<usize>,
}

#[derive(Default)]
struct Connection {
    partial: Vec<u8>,
    out: Vec<u8>,
    /// What the kernel is sending; it does not move until that is done.
    flight: Vec<u8>,
    is_dirty: bool,
}

struct Server<A> {
    ring: IoUring,
    backlog: VecDeque<squeue::Entry>,
    buffers: Buffers,
    connections: Vec<Connection>,
    dirty: Vec<usize>,
    /// Frames under way to many, with how many sends of them are not done.
    broadcasts: VecDeque<(Rc<[u8]>, usize)>,
    answers: A,
}

/// Serves until the process is ended.
pub(super) fn serve(listener: &TcpListener, answers: impl Answers) -> io::Result<()> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(16 * SUBMISSIONS)
        .build(SUBMISSIONS)?;
    let buffers = Buffers::register(&ring)?;
    let mut server = Server {
        ring,
        backlog: VecDeque::new(),
        buffers,
        connections: Vec::new(),
        dirty: Vec::new(),
        broadcasts: VecDeque::new(),
        answers,
    };
    server.push(
        opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .build()
            .user_data(ACCEPT),
    );
    loop {
        server.turn()?;
    }
}

impl<A: Answers> Server<A> {
    fn turn(&mut self) -> io::Result<()> {
        self.submit(1)?;
        while let Some(entry) = { self.ring.completion().next() } {
            self.on_completion(&entry)?;
        }
        while let Some(broadcast) = self.answers.broadcast() {
            self.send_to_many(broadcast);
        }
        for connection in std::mem::take(&mut self.dirty) {
            self.connections[connection].is_dirty = false;
            self.send(connection);
        }
        Ok(())
    }

    fn on_completion(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        let connection = usize::try_from(entry.user_data() & u64::from(u32::MAX)).expect("32 bits");
        match entry.user_data() & !u64::from(u32::MAX) {
            ACCEPT => self.on_accept(entry.result()),
            RECEIVE => self.on_receive(connection, entry),
            SEND => {
                self.connections[connection].flight.clear();
                self.send(connection);
                Ok(())
            }
            _ => {
                self.on_broadcast_sent();
                Ok(())
            }
        }
    }

    fn on_accept(&mut self, result: i32) -> io::Result<()> {
        let fd = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
        set_nodelay(result);
        if self.connections.len() <= fd {
            self.connections.resize_with(fd + 1, Connection::default);
        }
        self.connections[fd] = Connection::default();
        self.receive(fd);
        Ok(())
    }

    fn receive(&mut self, connection: usize) {
        let entry = opcode::RecvMulti::new(fd(connection), GROUP).build();
        self.push(entry.user_data(RECEIVE | connection as u64));
    }

    fn on_receive(&mut self, connection: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let len = entry.result();
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            let len = usize::try_from(len).unwrap_or(0);
            if !self.answers.ignores(connection) {
                self.hear(connection, buffer, len)?;
            }
            self.buffers.provide(buffer);
        }
        if !cqueue::more(entry.flags()) && (len > 0 || len == -libc::ENOBUFS) {
            self.receive(connection);
        }
        Ok(())
    }

    fn hear(&mut self, connection: usize, buffer: u16, len: usize) -> io::Result<()> {
        let bytes = self.buffers.bytes(buffer, len);
        let at = &mut self.connections[connection];
        let taken = if at.partial.is_empty() {
            let taken = hear_frames(&mut self.answers, connection, bytes, &mut at.out)?;
            at.partial.extend_from_slice(&bytes[taken..]);
            0
        } else {
            at.partial.extend_from_slice(bytes);
            hear_frames(&mut self.answers, connection, &at.partial, &mut at.out)?
        };
        at.partial.drain(..taken);
        if !at.out.is_empty() && !std::mem::replace(&mut at.is_dirty, true) {
            self.dirty.push(connection);
        }
        Ok(())
    }

    fn send(&mut self, connection: usize) {
        let at = &mut self.connections[connection];
        if at.out.is_empty() || !at.flight.is_empty() {
            return;
        }
        std::mem::swap(&mut at.out, &mut at.flight);
        let entry = whole_send(connection, &at.flight);
        self.push(entry.user_data(SEND | connection as u64));
    }

    fn send_to_many(&mut self, broadcast: Broadcast) {
        for &connection in &broadcast.to {
            let entry = whole_send(connection, &broadcast.frame);
            self.push(entry.user_data(BROADCAST));
        }
        self.broadcasts
            .push_back((broadcast.frame, broadcast.to.len()));
    }

    /// A frame is kept until as many sends are done as there were of it and of those before it.
    fn on_broadcast_sent(&mut self) {
        if let Some((_, left)) = self.broadcasts.front_mut() {
            *left -= 1;
            if *left == 0 {
                self.broadcasts.pop_front();
            }
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: sends point to a connection's flight or to a kept broadcast, which stay in place until the completion.
        let pushed =
            self.backlog.is_empty() && unsafe { self.ring.submission().push(&entry).is_ok() };
        if !pushed {
            self.backlog.push_back(entry);
        }
    }

    fn submit(&mut self, want: usize) -> io::Result<()> {
        while !self.backlog.is_empty() {
            let mut submission = self.ring.submission();
            while let Some(entry) = self.backlog.front() {
                // SAFETY: as in `push`.
                if unsafe { submission.push(entry).is_err() } {
                    break;
                }
                self.backlog.pop_front();
            }
            drop(submission);
            if !self.backlog.is_empty() {
                self.ring.submit()?;
            }
        }
        match self.ring.submit_and_wait(want) {
            Err(error)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::EINTR | libc::EAGAIN)
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

fn hear_frames(
    answers: &mut impl Answers,
    connection: usize,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match decode(&bytes[taken..]) {
            Ok(Decoded::Frame { frame, len }) => {
                answers.frame(connection, &frame, out);
                taken += len;
            }
            Ok(Decoded::Incomplete { .. }) => break,
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
    }
    Ok(taken)
}

fn fd(connection: usize) -> Fd {
    Fd(i32::try_from(connection).expect("it was a descriptor"))
}

fn whole_send(connection: usize, bytes: &[u8]) -> squeue::Entry {
    let len = u32::try_from(bytes.len()).expect("frames are bounded");
    // The kernel goes on by itself where a socket takes only a part.
    opcode::Send::new(fd(connection), bytes.as_ptr(), len)
        .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
        .build()
}

fn set_nodelay(fd: i32) {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).expect("four bytes");
    // SAFETY: the descriptor was just accepted and the value outlives the call. Without the option the yardstick is only slower.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size,
        )
    };
}

/// Receive buffers, all of them the kernel's except between a completion and [`Buffers::provide`].
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

impl Buffers {
    fn register(ring: &IoUring) -> io::Result<Self> {
        let count = usize::from(limits::RECEIVE_BUFFERS);
        // They live as long as the process, like the ring.
        let pages = vec![Page([0; PAGE]); (count * size_of::<BufRingEntry>()).div_ceil(PAGE)];
        let entries = Vec::leak(pages).as_mut_ptr().cast::<BufRingEntry>();
        let memory =
            Vec::leak(vec![0_u8; count * limits::RECEIVE_BUFFER_BYTES as usize]).as_mut_ptr();
        // SAFETY: page-aligned, zeroed, of that length, and never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries as u64,
                limits::RECEIVE_BUFFERS,
                GROUP,
                0,
            )?;
        }
        let mut buffers = Self {
            entries,
            memory,
            tail: 0,
        };
        for buffer in 0..limits::RECEIVE_BUFFERS {
            buffers.provide(buffer);
        }
        Ok(buffers)
    }

    fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < limits::RECEIVE_BUFFERS && len <= limits::RECEIVE_BUFFER_BYTES as usize);
        // SAFETY: inside the leaked memory, and the kernel does not write to a buffer between its completion and `provide`.
        unsafe { std::slice::from_raw_parts(self.start(buffer), len) }
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        // SAFETY: callers name one of the buffers, all of which lie in the leaked memory.
        unsafe {
            self.memory
                .add(usize::from(buffer) * limits::RECEIVE_BUFFER_BYTES as usize)
        }
    }

    fn provide(&mut self, buffer: u16) {
        let place = usize::from(self.tail & (limits::RECEIVE_BUFFERS - 1));
        let start = self.start(buffer);
        // SAFETY: inside the leaked pages; the kernel reads an entry only after the tail below has passed it.
        let entry = unsafe { &mut *self.entries.add(place) };
        entry.set_addr(start as u64);
        entry.set_len(limits::RECEIVE_BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned for 16 bits and only read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
