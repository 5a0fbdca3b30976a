//! A small HTTP/1.1 server: hyper on glommio's streams, for health, discovery, admin and metrics.
//!
//! It runs on the control executor, away from the data path. A port has a bound on its connections, a request a bound on its
//! size and time, so that nobody can hold the port by being slow. Answers over many items are produced while they are sent.

mod body;
mod connection;
mod wire;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use glommio::timer::sleep;
use rollcall_core::limits;
use slab::Slab;
use socket2::SockRef;

use crate::listener::bind_alone;

pub use body::{Body, Interrupted, Sink};
pub use hyper::http::request::Parts as RequestHead;

/// An answer.
pub type Response = hyper::Response<Body>;

/// A whole request, with the two ends of the connection that it came on.
#[derive(Debug)]
pub struct Request {
    /// Method, address and headers.
    pub head: RequestHead,
    /// The body, at most `HttpLimits::body_bytes`.
    pub body: Bytes,
    /// Who asks. An IPv4 peer of an IPv6 socket appears as IPv4.
    pub peer: SocketAddr,
    /// The address of ours that was asked. IPv4 as for `peer`.
    pub local: SocketAddr,
}

/// The bounds of one HTTP port.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at a time; one more is answered 503 and closed.
    pub connections: usize,
    /// Longest body; a longer one is answered 413.
    pub body_bytes: usize,
    /// Longest head; a longer one is answered 431.
    pub head_bytes: usize,
    /// How long a head may take, and a body again.
    pub receive: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How long a peer may take nothing of an answer.
    pub write_stall: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: limits::HTTP_CONNECTIONS_MAX,
            body_bytes: limits::HTTP_BODY_BYTES_MAX,
            head_bytes: limits::HTTP_HEAD_BYTES_MAX,
            receive: limits::HTTP_RECEIVE_MAX,
            idle: limits::HTTP_IDLE_CLOSE,
            write_stall: limits::HTTP_WRITE_STALL_MAX,
        }
    }
}

/// A bound port that does not answer yet; bind all ports before the first is served.
#[derive(Debug)]
pub struct HttpListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl HttpListener {
    /// Takes the port. Unlike the Bolt ports it is not shared, so a port in use is an error here.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let backlog = i32::try_from(limits::HTTP_CONNECTIONS_MAX).unwrap_or(i32::MAX);
        let socket = bind_alone(address, backlog)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens: the real port also when the system chose it.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// One HTTP port at work on the executor that started it. It works until it is stopped; a drop alone does not end it.
pub struct HttpServer {
    address: SocketAddr,
    /// A second handle of the listening socket: shutting it down ends the pending accept, which must never be dropped.
    socket: TcpListener,
    shared: Rc<Shared>,
}

/// How a server is being stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Not at all.
    No,
    /// Requests that were begun are answered.
    Orderly,
    /// The patience for that has ended.
    AtOnce,
}

/// What the accept task, the connections and the owner of a server have in common.
struct Shared {
    limits: HttpLimits,
    stop: Cell<Stop>,
    accepting: Cell<bool>,
    /// One entry per open connection: how to wake it when the server stops.
    open: RefCell<Slab<Option<Waker>>>,
}

impl HttpServer {
    /// Begins to answer on this executor: every request goes through `answer`.
    pub fn start<A>(listener: HttpListener, limits: HttpLimits, answer: A) -> io::Result<Self>
    where
        A: AsyncFn(Request) -> Response + 'static,
    {
        let HttpListener { socket, address } = listener;
        let accepting = accepting_socket(socket.try_clone()?);
        let shared = Rc::new(Shared {
            limits,
            stop: Cell::new(Stop::No),
            accepting: Cell::new(true),
            open: RefCell::new(Slab::new()),
        });
        let task = accept_all(accepting, Rc::clone(&shared), Rc::new(answer));
        spawn(task);
        Ok(Self {
            address,
            socket,
            shared,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.open.borrow().len()
    }

    /// Ends in order: no new connection, requests that were begun are answered within `patience`, idle connections are closed.
    /// Says how many connections were still open when the patience ended; those are cut.
    pub async fn stop(self, patience: Duration) -> usize {
        self.shared.stop.set(Stop::Orderly);
        // The kernel wakes a pending accept with an error; dropping it would lose a connection and its descriptor.
        if let Err(error) = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both) {
            tracing::warn!(%error, address = %self.address, "cannot shut the HTTP listener down");
        }
        self.shared.wake_all();
        let deadline = Instant::now() + patience;
        while self.is_busy() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        let cut = self.connections();
        self.shared.stop.set(Stop::AtOnce);
        self.shared.wake_all();
        while self.connections() > 0 {
            glommio::executor().yield_task_queue_now().await;
        }
        cut
    }

    fn is_busy(&self) -> bool {
        self.connections() > 0 || self.shared.accepting.get()
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stop.get() != Stop::No
    }

    fn wake_all(&self) {
        for (_, waker) in &mut *self.open.borrow_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

/// One of the connections that may be open; given back on drop.
struct Place {
    shared: Rc<Shared>,
    key: usize,
}

impl Place {
    fn take(shared: &Rc<Shared>) -> Option<Self> {
        let mut open = shared.open.borrow_mut();
        let has_room = open.len() < shared.limits.connections;
        let shared = Rc::clone(shared);
        has_room.then(|| Self {
            shared,
            key: open.insert(None),
        })
    }

    /// Whom to wake when the server stops.
    fn remember(&self, waker: &Waker) {
        let place = &mut self.shared.open.borrow_mut()[self.key];
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open.borrow_mut().remove(self.key);
    }
}

/// Runs `task` on this executor, scheduled like any other.
///
/// Not `spawn_local`, which runs the task at once inside the caller's poll.
fn spawn(task: impl Future<Output = ()> + 'static) {
    let queue = glommio::executor().current_task_queue();
    glommio::spawn_local_into(task, queue)
        .expect("the current task queue exists while a task of it runs")
        .detach();
}

/// The listening socket as glommio's. Its own `bind` panics where an error is due, so the socket is bound before.
#[expect(
    unsafe_code,
    reason = "glommio takes a bound listener only as a raw descriptor"
)]
fn accepting_socket(socket: TcpListener) -> glommio::net::TcpListener {
    // SAFETY: the descriptor is a listening TCP socket, and `into_raw_fd` gives up our ownership of it.
    unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// Accepts until the server stops. There is one such task per port and its pending accept is never dropped.
async fn accept_all<A>(listener: glommio::net::TcpListener, shared: Rc<Shared>, answer: Rc<A>)
where
    A: AsyncFn(Request) -> Response + 'static,
{
    let mut has_failed = false;
    while !shared.is_stopping() {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(_) if shared.is_stopping() => break,
            Err(error) => {
                // Out of descriptors, as a rule: waiting a little beats spinning, and others may close meanwhile.
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        has_failed = false;
        match Place::take(&shared) {
            Some(place) => spawn(connection::serve(stream, place, Rc::clone(&answer))),
            None => refuse(stream),
        }
    }
    shared.accepting.set(false);
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\
connection: close\r\n\r\n{\"success\":false,\"message\":\"too many HTTP connections, retry\"}";

/// Says that the port is full, as far as the socket takes it at once, and closes.
fn refuse(stream: glommio::net::TcpStream) {
    let handle = wire::handle_of(&stream);
    // A fresh socket has room for this; if not, the close alone has to say it.
    let _ = handle.and_then(|mut handle| handle.write_all(REFUSAL));
    wire::shut_down(&stream, std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests;
