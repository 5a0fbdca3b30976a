//! A small HTTP/1.1 server: hyper on glommio's streams, for health, discovery, admin and metrics.
//!
//! It runs on the control executor, away from the data path. A port has a bound on its connections, a request a bound on its
//! size and time, so that nobody can hold the port by being slow: a newcomer takes the place of whoever waits longest. Answers
//! over many items are produced while they are sent.

mod body;
mod connection;
mod places;
mod wire;

use std::cell::Cell;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use glommio::timer::sleep;
use rollcall_core::limits;
use socket2::SockRef;

use crate::listener::bind_alone;
use crate::seldom::Seldom;

use places::{Places, Stop};
use wire::Progress;

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

/// What answers the requests of a port.
pub trait Service: 'static {
    /// What the head of a request told.
    type Known;

    /// Looks at a request before its body is read: lets it pass, or gives the answer that refuses it.
    fn admit(
        &self,
        head: &RequestHead,
        peer: SocketAddr,
    ) -> Result<Admitted<Self::Known>, Box<Response>>;

    /// The answer to a request that was let pass.
    fn answer(&self, known: Self::Known, request: Request) -> impl Future<Output = Response>;
}

/// A request that was let pass on its head alone.
#[derive(Debug)]
pub struct Admitted<K> {
    /// What is known of it.
    pub known: K,
    /// Which places its answer may use.
    pub urgency: Urgency,
}

/// Which places of a port an answer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It has to be given however many others are asked for.
    Vital,
    /// It can be asked for again later.
    Ordinary,
}

/// The bounds of one HTTP port.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at a time. For one more the longest waiting is closed; if all are at work it is answered 503.
    pub connections: usize,
    /// Connections of one address; for one more the longest waiting of them is closed.
    pub connections_per_address: usize,
    /// Ordinary requests that are answered at a time; one more is answered 503.
    pub ordinary: usize,
    /// The same of one address.
    pub ordinary_per_address: usize,
    /// Longest body; a longer one is answered 413.
    pub body_bytes: usize,
    /// Longest head; a longer one is answered 431.
    pub head_bytes: usize,
    /// How long a head may take, and a body again.
    pub receive: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
    /// How long a peer may make us wait until it has taken [`limits::HTTP_PROGRESS_BYTES_MIN`] of an answer.
    pub write_stall: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: limits::HTTP_CONNECTIONS_MAX,
            connections_per_address: limits::HTTP_CONNECTIONS_PER_ADDRESS_MAX,
            ordinary: limits::HTTP_ORDINARY_MAX,
            ordinary_per_address: limits::HTTP_ORDINARY_PER_ADDRESS_MAX,
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
        // A bound that accepted sockets inherit: what the kernel takes for a peer that reads nothing is no progress.
        SockRef::from(&socket).set_send_buffer_size(limits::HTTP_SEND_BUFFER_BYTES)?;
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
    /// A second handle of each listening socket: shutting it down ends the pending accept, which must never be dropped.
    listeners: Vec<HttpListener>,
    shared: Rc<Shared>,
}

/// What the accept tasks and the owner of a server have in common.
struct Shared {
    places: Rc<Places>,
    /// How many tasks accept.
    accepting: Cell<usize>,
}

impl HttpServer {
    /// Begins to answer on this executor: every request goes through `service`. The listeners are addresses of one port and share
    /// its places.
    pub fn start(
        listeners: Vec<HttpListener>,
        limits: HttpLimits,
        service: impl Service,
    ) -> io::Result<Self> {
        let sockets = listeners.iter().map(|listener| listener.socket.try_clone());
        let sockets: Vec<TcpListener> = sockets.collect::<io::Result<_>>()?;
        let shared = Rc::new(Shared {
            places: Places::new(limits),
            accepting: Cell::new(sockets.len()),
        });
        let service = Rc::new(service);
        for socket in sockets {
            let accepting = accepting_socket(socket);
            spawn(accept_all(
                accepting,
                Rc::clone(&shared),
                Rc::clone(&service),
            ));
        }
        Ok(Self { listeners, shared })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(HttpListener::local_addr)
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.places.len()
    }

    /// Ends in order: no new connection, requests that were begun are answered within `patience`, idle connections are closed.
    /// Says how many connections were still open when the patience ended; those are cut.
    pub async fn stop(self, patience: Duration) -> usize {
        self.shared.places.stop(Stop::Orderly);
        // The kernel wakes a pending accept with an error; dropping it would lose a connection and its descriptor.
        for HttpListener { socket, address } in &self.listeners {
            if let Err(error) = SockRef::from(socket).shutdown(std::net::Shutdown::Both) {
                tracing::warn!(%error, %address, "cannot shut the HTTP listener down");
            }
        }
        let deadline = Instant::now() + patience;
        while self.is_busy() && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        let cut = self.connections();
        self.shared.places.stop(Stop::AtOnce);
        while self.connections() > 0 {
            glommio::executor().yield_task_queue_now().await;
        }
        cut
    }

    fn is_busy(&self) -> bool {
        self.connections() > 0 || self.shared.accepting.get() > 0
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
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

/// Accepts until the server stops. There is one such task per listener and its pending accept is never dropped.
async fn accept_all<S: Service>(
    listener: glommio::net::TcpListener,
    shared: Rc<Shared>,
    service: Rc<S>,
) {
    let places = &shared.places;
    let refusals = Seldom::new(1, REFUSALS_TOLD_EVERY);
    let mut has_failed = false;
    while !places.is_stopping() {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(_) if places.is_stopping() => break,
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
        // Both fail only for a peer that has gone again.
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
            continue;
        };
        let ends = (canonical(peer), canonical(local));
        let progress = Rc::new(Progress::new());
        let Some(place) = places.take(ends.0.ip(), &progress) else {
            if let Some(unsaid) = refusals.pass() {
                tracing::warn!(%peer, %local, unsaid, "HTTP connection refused, all places are at work");
            }
            refuse(stream);
            continue;
        };
        spawn(connection::serve(
            stream,
            (place, progress),
            ends,
            Rc::clone(&service),
        ));
        // Whoever made room gives its place and descriptor back before the next is accepted.
        glommio::executor().yield_task_queue_now().await;
    }
    shared.accepting.set(shared.accepting.get() - 1);
}

/// An IPv4 address of an IPv6 socket as the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(60);

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\
x-content-type-options: nosniff\r\nconnection: close\r\n\r\n\
{\"success\":false,\"message\":\"too many HTTP connections, retry\"}";

/// Says that the port is full, as far as the socket takes it at once, and closes.
fn refuse(stream: glommio::net::TcpStream) {
    let handle = wire::handle_of(&stream);
    // A fresh socket has room for this; if not, the close alone has to say it.
    let _ = handle.and_then(|mut handle| handle.write_all(REFUSAL));
    wire::shut_down(&stream, std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests;
