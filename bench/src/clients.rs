//! Many clients on one thread: sockets, an epoll, and nothing that costs more than the kernel does.
//!
//! Every server is measured through this loop, so that what the load generator costs is the same for all of them.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rollcall_core::bolt::{Decoded, Frame, decode};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use crate::interrupt;
use crate::network::Visit;

/// Bytes taken from a socket at a time.
const READ_BYTES: usize = 256 << 10;
/// Sockets looked at between two calls to the kernel.
const EVENTS: usize = 512;
/// What is said of a socket: once for all that came, since saying it again until it is read costs a look at each socket more.
const READS: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);
/// Connections from one source address: well below the number of its ports.
const CONNECTIONS_PER_SOURCE: usize = 10_000;

/// What is done with the bytes that come, whatever protocol they are of.
pub(crate) trait Receives {
    /// Bytes came, behind those that were left over last time; answers how many it took. What is appended to `out` is sent on the same
    /// connection.
    fn receive(&mut self, connection: usize, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize>;

    /// The server ended a connection.
    fn closed(&mut self, connection: usize);
}

/// What is done with what clients of our own protocol hear.
pub(crate) trait Hears {
    /// A frame came. What is appended to `out` is sent on the same connection.
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>);

    /// The server ended a connection.
    fn closed(&mut self, connection: usize);
}

impl<H: Hears> Receives for H {
    fn receive(&mut self, connection: usize, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((frame, len)) = first_frame(&bytes[taken..])? {
            self.frame(connection, &frame, out);
            taken += len;
        }
        Ok(taken)
    }

    fn closed(&mut self, connection: usize) {
        Hears::closed(self, connection);
    }
}

/// The frame that bytes begin with, if it is complete, and its length.
pub(crate) fn first_frame(bytes: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match decode(bytes) {
        Ok(Decoded::Frame { frame, len }) => Ok(Some((frame, len))),
        Ok(Decoded::Incomplete { .. }) => Ok(None),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error.to_string())),
    }
}

/// Where clients connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The server's.
    pub(crate) socket: SocketAddr,
    /// The server's process, where it has a network of its own.
    pub(crate) network_of: Option<u32>,
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self {
            socket,
            network_of: None,
        }
    }
}

/// Connections to one server.
pub(crate) struct Clients {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    source: Ipv4Addr,
}

struct Connection {
    stream: Option<TcpStream>,
    /// The begin of a frame whose end has not come.
    partial: Vec<u8>,
    /// What the kernel had no room for.
    unsent: Vec<u8>,
}

impl Clients {
    /// No connection yet, and a source address of their own.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            out: Vec::new(),
            source: fresh_source(),
        })
    }

    /// Opens further connections; they have these numbers.
    pub(crate) fn connect(&mut self, server: Address, count: usize) -> io::Result<Range<usize>> {
        let _there = server.network_of.map(Visit::to).transpose()?;
        let first = self.connections.len();
        for number in first..first + count {
            if number > 0 && number % CONNECTIONS_PER_SOURCE == 0 {
                self.source = fresh_source();
            }
            let stream = connect(self.source, server.socket)?;
            epoll::add(&self.epoll, &stream, data(number), READS)?;
            self.connections.push(Connection {
                stream: Some(stream),
                partial: Vec::new(),
                unsent: Vec::new(),
            });
        }
        Ok(first..first + count)
    }

    /// The addresses by which the server knows them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let streams = self.connections.iter().filter_map(|at| at.stream.as_ref());
        streams.filter_map(|stream| stream.local_addr().ok())
    }

    /// Sends bytes, or keeps what the kernel has no room for until it has.
    pub(crate) fn send(&mut self, connection: usize, bytes: &[u8]) -> io::Result<()> {
        let at = &mut self.connections[connection];
        let Some(stream) = &mut at.stream else {
            return Ok(());
        };
        if !at.unsent.is_empty() {
            at.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = match stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The next read tells that the connection is over.
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if sent < bytes.len() {
            at.unsent.extend_from_slice(&bytes[sent..]);
            epoll::modify(
                &self.epoll,
                &*stream,
                data(connection),
                READS | EventFlags::OUT,
            )?;
        }
        Ok(())
    }

    /// Ends a connection from this side.
    pub(crate) fn close(&mut self, connection: usize) {
        self.connections[connection].stream = None;
    }

    /// Stops or resumes to read from a connection.
    pub(crate) fn read(&mut self, connection: usize, on: bool) -> io::Result<()> {
        let flags = if on { READS } else { EventFlags::empty() };
        let stream = self.connections[connection].stream.as_ref();
        stream.map_or(Ok(()), |stream| {
            Ok(epoll::modify(&self.epoll, stream, data(connection), flags)?)
        })
    }

    /// Hears what came, and waits for it so long if nothing did; answers on how many connections something happened.
    pub(crate) fn poll(&mut self, wait: Duration, hears: &mut impl Receives) -> io::Result<usize> {
        interrupt::check()?;
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let timeout = wait
            .try_into()
            .map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let events = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for event in &*events {
            let connection = usize::try_from(event.data.u64()).expect("it was a number of ours");
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                self.send_rest(connection)?;
            }
            let is_over = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            if is_over || flags.contains(EventFlags::IN) {
                while self.hear(connection, is_over, hears)? {}
            }
        }
        Ok(events.len())
    }

    /// Polls until `done` says so; false if that took longer than `within`.
    pub(crate) fn poll_until<H: Receives>(
        &mut self,
        within: Duration,
        hears: &mut H,
        done: impl Fn(&H) -> bool,
    ) -> io::Result<bool> {
        let deadline = Instant::now() + within;
        while !done(hears) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.poll(left, hears)?;
        }
        Ok(true)
    }

    /// Hears what is still under way, until nothing came for so long; not longer than `within`.
    pub(crate) fn settle<H: Receives>(
        &mut self,
        quiet: Duration,
        within: Duration,
        hears: &mut H,
    ) -> io::Result<()> {
        let end = Instant::now() + within;
        let mut heard = Instant::now();
        while heard.elapsed() < quiet && Instant::now() < end {
            if self.poll(quiet.saturating_sub(heard.elapsed()), hears)? > 0 {
                heard = Instant::now();
            }
        }
        Ok(())
    }

    fn send_rest(&mut self, connection: usize) -> io::Result<()> {
        let at = &mut self.connections[connection];
        if let Some(stream) = &at.stream {
            epoll::modify(&self.epoll, stream, data(connection), READS)?;
        }
        let rest = std::mem::take(&mut at.unsent);
        self.send(connection, &rest)
    }

    /// Reads once; whether there may be more. All that was there is read when the buffer was not filled, unless the end lies behind it.
    fn hear(
        &mut self,
        connection: usize,
        is_over: bool,
        hears: &mut impl Receives,
    ) -> io::Result<bool> {
        let at = &mut self.connections[connection];
        let Some(stream) = &mut at.stream else {
            return Ok(false);
        };
        let len = match stream.read(&mut self.buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) if is_end(&error) => 0,
            Err(error) => return Err(error),
        };
        if len == 0 {
            at.stream = None;
            hears.closed(connection);
            return Ok(false);
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let bytes = &self.buffer[..len];
        if at.partial.is_empty() {
            let taken = hears.receive(connection, bytes, &mut out)?;
            at.partial.extend_from_slice(&bytes[taken..]);
        } else {
            at.partial.extend_from_slice(bytes);
            let taken = hears.receive(connection, &at.partial, &mut out)?;
            at.partial.drain(..taken);
        }
        let sent = if out.is_empty() {
            Ok(())
        } else {
            self.send(connection, &out)
        };
        self.out = out;
        sent?;
        Ok(is_over || len == READ_BYTES)
    }
}

/// A loopback address that no other set of clients of this process uses, and that other processes hardly use: ports in TIME_WAIT of one
/// run never meet those of the next.
fn fresh_source() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id() % (250 * 250);
    let [.., high, low] = process.to_be_bytes();
    Ipv4Addr::new(
        127,
        high % 250 + 1,
        low % 250 + 1,
        NEXT.fetch_add(1, Ordering::Relaxed).clamp(1, 254),
    )
}

fn connect(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&server.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn data(connection: usize) -> EventData {
    EventData::new_u64(connection as u64)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
