//! From an accepted socket to a connection: limits, refusals, and stopping while there is no room.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::machine::Instant;
use socket2::SockRef;

use crate::listener;

use super::{Admission, Connection, Deadline, Framing, Key, Net, Refusal, Service};

/// One line about refusals per this time.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Whether this core accepts, and who is let in.
pub(super) struct Accepting {
    admission: Arc<Admission>,
    state: State,
    unlogged_refusals: u64,
    logged_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Accepts,
    /// The process lacks something; asked again then, or when a connection of this core ends.
    Lacking {
        retry_at: Instant,
    },
    /// The table is full; asked again when a connection ends.
    Full,
    Stopped,
}

impl Accepting {
    pub(super) fn new(admission: Arc<Admission>) -> Self {
        Self {
            admission,
            state: State::Accepts,
            unlogged_refusals: 0,
            logged_at: None,
        }
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Stopped;
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Lacking { retry_at } => Some(retry_at),
            _ => None,
        }
    }

    fn log_refusal(&mut self, now: Instant, peer: SocketAddr, refusal: Refusal) {
        self.unlogged_refusals += 1;
        if self
            .logged_at
            .is_some_and(|at| now < at + REFUSAL_LOG_INTERVAL)
        {
            return;
        }
        self.logged_at = Some(now);
        let refused = std::mem::take(&mut self.unlogged_refusals);
        tracing::warn!(%peer, refused, reason = %refusal, "connections refused");
    }
}

impl<F: Framing> Net<F> {
    pub(super) fn on_accepted<S: Service<F>>(&mut self, socket: OwnedFd, service: &mut S) {
        let Some((peer, local)) = addresses(&socket) else {
            // It was reset before we came to it.
            return;
        };
        self.untaken.note_accepted(self.now);
        if self.slots.is_full() || self.accepting.state == State::Stopped {
            return self.refuse(
                &socket,
                peer,
                Refusal::Connections {
                    limit: self.settings.connections_max,
                },
            );
        }
        if let Err(refusal) = self.accepting.admission.enter(peer.ip()) {
            return self.refuse(&socket, peer, refusal);
        }
        let key = self.slots.insert(Connection::new(peer, self.now));
        // It fails only for a socket that is over, and its end is heard of soon.
        let _ = listener::spread_keepalive(&socket, key.slot as usize);
        if let Err(error) = self.transport.adopt(key, socket) {
            self.slots.remove(key);
            self.accepting.admission.leave(peer.ip());
            tracing::warn!(%peer, %error, "connection refused: it cannot be watched");
            self.traffic.refused += 1;
            return;
        }
        self.traffic.opened += 1;
        service.opened(self.id(key), peer, local);
        self.schedule(key, Deadline::Idle);
        self.update_reading(key);
        if self.slots.is_full() {
            self.accepting.state = State::Full;
            self.transport.accept(false);
            self.take_unheard_ends();
        }
    }

    /// A reset tells the client at once, so that it tries another node.
    pub(super) fn refuse(&mut self, socket: &OwnedFd, peer: SocketAddr, refusal: Refusal) {
        match refusal {
            Refusal::Connections { .. } => self.traffic.refused += 1,
            Refusal::Address { .. } => self.traffic.refused_of_address += 1,
        }
        self.take_unheard_ends();
        // Without it the client sees an orderly end, which it takes for the same.
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        self.accepting.log_refusal(self.now, peer, refusal);
    }

    pub(super) fn on_accept_stopped(&mut self, error: &io::Error) {
        if self.accepting.state == State::Stopped {
            return;
        }
        tracing::warn!(%error, connections = self.slots.len(), "accepting stopped: raise the limit of open files");
        self.accepting.state = State::Lacking {
            retry_at: self.now + self.settings.accept_retry,
        };
        self.take_unheard_ends();
    }

    /// Accepts again if there is hope.
    pub(super) fn retry_accepting(&mut self, connection_ended: bool) -> bool {
        let again = match self.accepting.state {
            State::Accepts | State::Stopped => false,
            State::Full => connection_ended && !self.slots.is_full(),
            State::Lacking { retry_at } => connection_ended || retry_at <= self.now,
        };
        if again {
            self.accepting.state = State::Accepts;
            self.transport.accept(true);
        }
        again
    }

    pub(super) fn on_released(&mut self, key: Key) {
        let Some(connection) = self.slots.remove(key) else {
            return;
        };
        self.traffic.closed += 1;
        self.accepting.admission.leave(connection.peer.ip());
        let Connection { out, partial, .. } = *connection;
        self.partial_bytes -= partial.capacity();
        self.pool.keep_partial(partial);
        if let Some(out) = out {
            self.pool.keep_outgoing(out);
        }
        self.retry_accepting(true);
    }
}

/// Both ends. A listener for IPv6 and IPv4 tells the latter as `::ffff:a.b.c.d`; to everybody else they are `a.b.c.d`.
fn addresses(socket: &OwnedFd) -> Option<(SocketAddr, SocketAddr)> {
    let socket = SockRef::from(socket);
    let peer = socket.peer_addr().ok()?.as_socket()?;
    let local = socket.local_addr().ok()?.as_socket()?;
    Some((canonical(peer), canonical(local)))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        // Its scope belongs to it.
        IpAddr::V6(_) => address,
    }
}
