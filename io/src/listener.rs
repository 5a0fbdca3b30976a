//! Listening sockets: one per core and port, all bound before the first accepts, and none on a port that another process serves.
//!
//! SO_REUSEPORT, which spreads connections over the cores, would also let a second process share the port without a word. So a probe
//! without it comes first, and while a port is probed and bound a lock keeps out a process that starts at the same moment.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix;
use std::thread;
use std::time::{Duration, Instant};

use rollcall_core::limits;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How long a start waits for another process that is binding the same port.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits for a port to come free: the kernel closes the sockets of a killed process's rings a little after its end.
const RELEASE_PATIENCE: Duration = Duration::from_millis(1_500);
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A silent peer is probed after so long ...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// Some connections are asked so much later than others.
const KEEPALIVE_SPREAD: Duration = Duration::from_secs(8);
/// ... so often ...
const KEEPALIVE_PROBES: u32 = 3;
/// ... with this distance, and is gone then.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A peer that acknowledges nothing for so long is gone. The kernel also ends a peer that lives and takes nothing; our own
/// patience with that one ([`limits::WRITE_STALL_MAX`]) must be over first, for its publishers have a grace.
const USER_TIMEOUT: Duration = Duration::from_secs(35);
const _: () = assert!(USER_TIMEOUT.as_secs() > limits::WRITE_STALL_MAX.as_secs());
/// Unsent bytes the kernel takes of a connection; more wait with us, where newer versions replace them.
const NOT_SENT_LOW_WATER_BYTES: u32 = 128 << 10;

/// The sockets of one port.
#[derive(Debug)]
pub struct Listening {
    /// The address, with the port that was picked if 0 was asked for.
    pub address: SocketAddr,
    /// One listener per core.
    pub listeners: Vec<TcpListener>,
}

/// Why a port cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// Another socket listens there.
    InUse {
        /// Where.
        address: SocketAddr,
    },
    /// The address is not one of this host's.
    NotOurs {
        /// Which one.
        address: SocketAddr,
    },
    /// Ports this low need a privilege.
    NotAllowed {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else the kernel says.
    Kernel {
        /// Where.
        address: SocketAddr,
        /// What it says.
        error: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { address } => {
                write!(
                    f,
                    "{address} is in use: stop the process that listens there (ss -ltnp), or configure another port"
                )
            }
            Self::NotOurs { address } => {
                write!(
                    f,
                    "{address} is not an address of this host: configure one that is, or 0.0.0.0 or [::] for all"
                )
            }
            Self::NotAllowed { address } => {
                write!(
                    f,
                    "{address} needs a privilege: configure a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
                )
            }
            Self::Kernel { address, error } => {
                write!(f, "{address} cannot be listened on: {error}")
            }
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse { address },
            ErrorKind::AddrNotAvailable => Self::NotOurs { address },
            ErrorKind::PermissionDenied => Self::NotAllowed { address },
            _ => Self::Kernel { address, error },
        }
    }
}

/// Listens on `address` with one socket for each of `cores`. With port 0 the first picks, the others share it.
pub fn bind_all(address: SocketAddr, cores: usize) -> Result<Listening, ListenError> {
    let refused = |error| ListenError::new(address, error);
    let _lock = (address.port() != 0)
        .then(|| PortLock::take(address.port()))
        .transpose()
        .map_err(refused)?;
    if address.port() != 0 {
        patiently(RELEASE_PATIENCE, || probe(address)).map_err(refused)?;
    }
    let mut bound = address;
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores.max(1) {
        let socket = bind(bound).map_err(refused)?;
        bound = local_address(&socket).map_err(refused)?;
        sockets.push(socket);
    }
    for socket in &sockets {
        socket.listen(limits::LISTEN_BACKLOG).map_err(refused)?;
    }
    Ok(Listening {
        address: bound,
        listeners: sockets.into_iter().map(TcpListener::from).collect(),
    })
}

/// Finds a socket that listens there already, whoever it belongs to.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // [::] serves IPv4 clients too.
        socket.set_only_v6(false)?;
    }
    tune(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepted sockets inherit all of this.
fn tune(socket: &Socket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER_BYTES)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Spreads the probes of connections that fell silent together: the kernel's queue for received packets holds a thousand by
/// default, and a probe that is dropped there counts against its peer. `number` is any that differs from connection to connection.
pub(crate) fn spread_keepalive(socket: &impl AsFd, number: usize) -> io::Result<()> {
    let spread = KEEPALIVE_SPREAD.as_secs();
    let later = Duration::from_secs(number as u64 % spread);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE + later);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address
        .as_socket()
        .ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

/// Held while a port is probed and bound; the name is free again when it is dropped, or its process ends.
struct PortLock {
    _socket: unix::UnixDatagram,
}

impl PortLock {
    fn take(port: u16) -> io::Result<Self> {
        let name = unix::SocketAddr::from_abstract_name(format!("rollcall/port/{port}"))?;
        let socket = patiently(LOCK_PATIENCE, || unix::UnixDatagram::bind_addr(&name))?;
        Ok(Self { _socket: socket })
    }
}

/// Tries again while the address is in use, so long.
fn patiently<T>(patience: Duration, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && started.elapsed() < patience => {
                thread::sleep(LOOK_INTERVAL);
            }
            ended => return ended,
        }
    }
}

/// Takes a port for one socket that shares it with nobody.
pub(crate) fn bind_alone(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let attempt = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(TcpListener::from(socket))
    };
    patiently(RELEASE_PATIENCE, attempt)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::process::Command;

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn a_port_that_is_served_is_refused_though_it_could_be_shared() {
        let first = bind_all(loopback(0), 2).expect("a free port");

        let second = bind_all(first.address, 2);

        assert!(
            matches!(second, Err(ListenError::InUse { address }) if address == first.address),
            "{second:?}"
        );
        drop(first);
    }

    #[test]
    fn a_port_that_another_process_serves_is_refused() {
        const IN_CHILD: &str = "ROLLCALL_TEST_LISTENS";
        if let Ok(port) = env::var(IN_CHILD) {
            let refused = bind_all(loopback(port.parse().expect("a port")), 1);
            assert!(
                matches!(refused, Err(ListenError::InUse { .. })),
                "{refused:?}"
            );
            return;
        }
        let ours = bind_all(loopback(0), 2).expect("a free port");

        let child = Command::new(env::current_exe().expect("this test"))
            .args([
                "--exact",
                "listener::tests::a_port_that_another_process_serves_is_refused",
            ])
            .env(IN_CHILD, ours.address.port().to_string())
            .output()
            .expect("a child process");

        assert!(child.status.success(), "{child:?}");
    }

    #[test]
    fn a_port_served_on_all_addresses_is_refused_for_one() {
        let all = bind_all(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), 1).expect("a free port");

        let one = bind_all(loopback(all.address.port()), 1);

        assert!(matches!(one, Err(ListenError::InUse { .. })), "{one:?}");
        assert!(one.is_err_and(|error| error.to_string().contains("is in use")));
    }

    #[test]
    fn two_starts_at_once_never_share_a_port() {
        let free = bind_all(loopback(0), 1).expect("a free port").address;

        let starts: Vec<_> = (0..4)
            .map(|_| thread::spawn(move || bind_all(free, 2)))
            .collect();
        let results: Vec<_> = starts
            .into_iter()
            .map(|start| start.join().expect("no panic"))
            .collect();

        assert_eq!(
            results.iter().filter(|result| result.is_ok()).count(),
            1,
            "{results:?}"
        );
    }

    #[test]
    fn a_port_is_free_again_when_its_listeners_are_gone() {
        let address = bind_all(loopback(0), 2).expect("a free port").address;

        assert!(bind_all(address, 2).is_ok());
    }

    #[test]
    fn ipv6_is_listened_on_too() {
        let listening =
            bind_all(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), 2).expect("a free port");

        assert_eq!(listening.listeners.len(), 2);
        assert!(listening.address.is_ipv6());
    }

    #[test]
    fn connections_that_fall_silent_together_are_not_asked_together() {
        let listening = bind_all(loopback(0), 1).expect("a free port");
        let times = (0..16).map(|number| {
            let _client = std::net::TcpStream::connect(listening.address).expect("a listener");
            let (accepted, _) = listening.listeners[0].accept().expect("a client");
            spread_keepalive(&accepted, number).expect("an open socket");
            SockRef::from(&accepted)
                .tcp_keepalive_time()
                .expect("an open socket")
        });

        let times: std::collections::BTreeSet<_> = times.collect();

        assert_eq!(times.len(), 8);
        assert!(times.first() == Some(&KEEPALIVE_IDLE));
    }

    #[test]
    fn accepted_sockets_inherit_how_their_peer_is_watched() {
        let listening = bind_all(loopback(0), 1).expect("a free port");
        let _client = std::net::TcpStream::connect(listening.address).expect("a listener");

        let (accepted, _) = listening.listeners[0].accept().expect("a client");

        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().expect("an open socket"));
        assert!(socket.keepalive().expect("an open socket"));
        assert_eq!(
            socket.tcp_keepalive_time().expect("an open socket"),
            KEEPALIVE_IDLE
        );
        assert_eq!(
            socket.tcp_user_timeout().expect("an open socket"),
            Some(USER_TIMEOUT)
        );
        assert_eq!(
            socket.tcp_notsent_lowat().expect("an open socket"),
            NOT_SENT_LOW_WATER_BYTES
        );
    }

    #[test]
    fn a_foreign_address_is_named() {
        let error = bind_all("192.0.2.1:0".parse().expect("an address"), 1).expect_err("not ours");

        assert!(
            error
                .to_string()
                .starts_with("192.0.2.1:0 is not an address of this host"),
            "{error}"
        );
    }
}
