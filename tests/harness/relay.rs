//! A way to the session that a test can cut: what a network does to a published client.
//!
//! It answers the client's question for servers with itself and passes bytes on. Towards the session it comes from a port that lands on the
//! core the test names, and it can drop the client while the session still believes in the old connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::program::Addresses;

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    /// Where a client asks for servers.
    pub endpoint: SocketAddr,
    ways: Arc<Ways>,
}

#[derive(Debug)]
struct Ways {
    node: Addresses,
    core: Mutex<Option<usize>>,
    hold: AtomicBool,
    open: Mutex<Vec<Way>>,
    held: Mutex<Vec<TcpStream>>,
}

#[derive(Debug)]
struct Way {
    client: TcpStream,
    server: TcpStream,
}

impl Relay {
    /// Starts a relay to a node.
    pub fn to(node: Addresses) -> Self {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let (bolt, discovery) = (listen(), listen());
        let ways = Arc::new(Ways {
            node,
            core: Mutex::default(),
            hold: AtomicBool::default(),
            open: Mutex::default(),
            held: Mutex::default(),
        });
        let endpoint = discovery.local_addr().expect("a bound socket");
        let servers = bolt.local_addr().expect("a bound socket").to_string();
        std::thread::spawn(move || answer_discovery(&discovery, &servers));
        let accepting = Arc::clone(&ways);
        std::thread::spawn(move || accepting.accept(&bolt));
        Self { endpoint, ways }
    }

    /// Connections from now on land on this core of the node.
    pub fn land_on(&self, core: usize) {
        *self.ways.core.lock().expect("no holder panics") = Some(core);
    }

    /// Drops every client; the session keeps its side open until [`Self::release`].
    pub fn cut_clients(&self) {
        self.ways.hold.store(true, Ordering::SeqCst);
        for way in self.ways.open.lock().expect("no holder panics").drain(..) {
            self.ways
                .held
                .lock()
                .expect("no holder panics")
                .push(way.server);
            let _ = way.client.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connections that the session still believes in.
    pub fn release(&self) {
        for server in self.ways.held.lock().expect("no holder panics").drain(..) {
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// How many connections pass through now.
    pub fn ways(&self) -> usize {
        self.ways.open.lock().expect("no holder panics").len()
    }
}

impl Ways {
    fn accept(self: &Arc<Self>, bolt: &TcpListener) {
        for client in bolt.incoming().map_while(Result::ok) {
            let Some(server) = self.connect() else {
                continue;
            };
            let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor is left");
            let way = Way {
                client: twin(&client),
                server: twin(&server),
            };
            self.open.lock().expect("no holder panics").push(way);
            let (there, back) = (Arc::clone(self), Arc::clone(self));
            let (from_client, to_server) = (twin(&client), twin(&server));
            std::thread::spawn(move || there.pump(from_client, to_server, true));
            std::thread::spawn(move || back.pump(server, client, false));
        }
    }

    fn connect(&self) -> Option<TcpStream> {
        let wanted = *self.core.lock().expect("no holder panics");
        let mut others = Vec::new();
        while others.len() < 200 {
            let stream = TcpStream::connect(self.node.bolt).ok()?;
            let _ = stream.set_nodelay(true);
            let Some(wanted) = wanted else {
                return Some(stream);
            };
            let address = stream.local_addr().ok()?;
            if core_soon(&self.node, address) == Some(wanted) {
                return Some(stream);
            }
            others.push(stream);
        }
        None
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, from_client: bool) {
        let mut chunk = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        if !(from_client && self.hold.load(Ordering::SeqCst) && self.is_held(&to)) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    fn is_held(&self, server: &TcpStream) -> bool {
        let address = |stream: &TcpStream| stream.local_addr().ok();
        self.held
            .lock()
            .expect("no holder panics")
            .iter()
            .any(|held| address(held) == address(server))
    }
}

/// The core of a connection that may not have been accepted yet.
fn core_soon(node: &Addresses, address: SocketAddr) -> Option<usize> {
    (0..50).find_map(|_| node.core_of(address))
}

fn answer_discovery(discovery: &TcpListener, servers: &str) {
    for mut stream in discovery.incoming().map_while(Result::ok) {
        let mut request = [0; 4096];
        let Ok(length) = stream.read(&mut request) else {
            continue;
        };
        let asked = String::from_utf8_lossy(&request[..length]);
        let (status, body) = if asked.starts_with("GET /api/servers/query?") {
            ("200 OK", servers)
        } else {
            ("404 Not Found", "")
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }
}
