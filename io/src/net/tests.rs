//! The table of connections over a kernel that says what a test wants: what real sockets do seldom or never.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::limits;
use rollcall_core::machine::{Instant, Now};
use rollcall_core::names::{ConnectId, CoreId};

use super::outgoing::Flight;
use super::transport::{Chunk, Event, Key, Transport, Trouble};
use super::{
    Admission, EndedBy, Flow, FrameLen, Framing, Net, Outgoing, Reason, Refusal, Service, Settings,
};

/// What the kernel was asked for and has to say.
#[derive(Default)]
struct Kernel {
    events: VecDeque<Event>,
    /// Connections that it refuses to watch.
    unwatched: usize,
    /// Whether it ends what is under way.
    releases: bool,
}

struct Scripted(Rc<RefCell<Kernel>>);

impl Transport for Scripted {
    fn poll(&mut self) {}
    fn next_event(&mut self) -> Option<Event> {
        self.0.borrow_mut().events.pop_front()
    }
    fn bytes(&self, _: &Chunk) -> &[u8] {
        &[0]
    }
    fn give_back(&mut self, _: Chunk) {}
    fn accept(&mut self, _: bool) {}
    fn close_listeners(&mut self) {}
    fn adopt(&mut self, _: Key, _: OwnedFd) -> io::Result<()> {
        let mut kernel = self.0.borrow_mut();
        if kernel.unwatched > 0 {
            kernel.unwatched -= 1;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }
    fn receive(&mut self, _: Key, _: bool) {}
    fn send(&mut self, _: Key, _: Box<Flight>) {}
    fn shutdown(&mut self, _: Key, _: Shutdown) {}
    fn reset_on_close(&mut self, _: Key) {}
    fn release(&mut self, key: Key) {
        let mut kernel = self.0.borrow_mut();
        if kernel.releases {
            kernel.events.push_back(Event::Released(key));
        }
    }
    fn abandon(&mut self, key: Key) {
        self.0.borrow_mut().events.push_back(Event::Released(key));
    }
    fn submit(&mut self) {}
    fn prepare_sleep(&mut self, _: Instant, _: Option<Instant>) -> bool {
        true
    }
    fn trouble(&self) -> Trouble {
        Trouble::default()
    }
}

struct Bytewise;

impl Framing for Bytewise {
    type Error = ();

    fn frame_len(_: &[u8]) -> Result<FrameLen, ()> {
        Ok(FrameLen::Complete(1))
    }
}

/// Remembers who came and went.
#[derive(Default)]
struct Heard {
    opened: Vec<ConnectId>,
    closed: Vec<(ConnectId, EndedBy)>,
}

impl Service<Bytewise> for Heard {
    fn opened(&mut self, id: ConnectId, _: SocketAddr, _: SocketAddr) {
        self.opened.push(id);
    }
    fn frame(&mut self, _: ConnectId, _: &[u8], _: &mut Outgoing) -> Flow {
        Flow::Continue
    }
    fn bad_frame(&mut self, _: ConnectId, (): &(), _: &mut Outgoing) {}
    fn sent(&mut self, _: ConnectId, _: u32) {}
    fn writable(&mut self, _: ConnectId) {}
    fn closed(&mut self, id: ConnectId, ended_by: EndedBy) {
        self.closed.push((id, ended_by));
    }
}

/// A table, its kernel and its owner.
struct Table {
    net: Net<Bytewise>,
    kernel: Rc<RefCell<Kernel>>,
    admission: Arc<Admission>,
    heard: Heard,
    now: Now,
    listener: TcpListener,
    clients: Vec<TcpStream>,
}

impl Table {
    fn new() -> Self {
        let kernel = Rc::new(RefCell::new(Kernel {
            releases: true,
            ..Kernel::default()
        }));
        let admission = Arc::new(Admission::new(0, 0));
        let transport = Box::new(Scripted(Rc::clone(&kernel)));
        Self {
            net: Net::over(
                transport,
                CoreId(0),
                Arc::clone(&admission),
                Settings::default(),
            ),
            kernel,
            admission,
            heard: Heard::default(),
            now: Now {
                monotonic: Instant(1_000_000_000),
                wall_ms: 0,
            },
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"),
            clients: Vec::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        self.kernel.borrow_mut().events.push_back(event);
        self.turn(Duration::ZERO);
    }

    fn connects(&mut self) {
        let address = self.listener.local_addr().expect("a bound socket");
        let client = TcpStream::connect(address).expect("a listener");
        let (accepted, _) = self.listener.accept().expect("a client");
        self.clients.push(client);
        self.happens(Event::Accepted(accepted.into()));
    }

    /// Takes a turn so much later, and one more for what that one has put off.
    fn turn(&mut self, later: Duration) {
        self.now.monotonic = self.now.monotonic + later;
        for _ in 0..2 {
            self.net.poll(self.now, &mut self.heard);
            self.net.flush();
        }
    }

    fn ends(&mut self, error: i32) -> EndedBy {
        self.connects();
        let id = *self.heard.opened.last().expect("a connection");
        let key = self.net.key(id).expect("one of this core");
        let error = io::Error::from_raw_os_error(error);
        self.happens(Event::ReceiveEnded(key, Some(error)));
        let (closed, ended_by) = *self.heard.closed.last().expect("an end");
        assert_eq!(closed, id);
        ended_by
    }
}

#[test]
fn what_this_host_lacks_is_no_end_by_the_peer() {
    let mut table = Table::new();

    assert_eq!(table.ends(libc::ENOMEM), EndedBy::Us(Reason::LocalError));
    assert_eq!(table.ends(libc::ENOBUFS), EndedBy::Us(Reason::LocalError));
    assert_eq!(table.ends(libc::ECONNRESET), EndedBy::Peer);
    assert_eq!(table.net.connections(), 0);
}

#[test]
fn a_socket_that_cannot_be_watched_is_one_refused_connection() {
    let mut table = Table::new();
    table.connects();
    table.kernel.borrow_mut().unwatched = 1;

    table.connects();
    table.connects();

    assert_eq!(table.heard.opened.len(), 2);
    assert_eq!(table.net.connections(), 2);
    assert_eq!(table.net.traffic().refused, 1);
    assert_eq!(table.admission.connections(), 2);
}

#[test]
fn a_refusal_is_counted_by_the_limit_that_it_names() {
    let mut table = Table::new();
    table.connects();
    let socket = OwnedFd::from(table.clients.pop().expect("it has connected"));
    let peer = SocketAddr::from(([10, 0, 0, 1], 5000));
    let address = peer.ip();

    table
        .net
        .refuse(&socket, peer, Refusal::Address { address, limit: 1 });
    table
        .net
        .refuse(&socket, peer, Refusal::Address { address, limit: 1 });
    table
        .net
        .refuse(&socket, peer, Refusal::Connections { limit: 1 });

    let traffic = table.net.traffic();
    assert_eq!((traffic.refused_of_address, traffic.refused), (2, 1));
}

#[test]
fn a_release_that_the_kernel_never_ends_frees_its_slot() {
    let mut table = Table::new();
    table.kernel.borrow_mut().releases = false;
    table.ends(libc::ECONNRESET);
    assert_eq!(table.net.connections(), 1);

    let waited = table.net.next_timeout().expect("a deadline");
    table.turn(waited.since(table.now.monotonic));
    assert_eq!(table.net.connections(), 1, "that is too early");
    table.turn(limits::RELEASE_MAX);
    table.turn(Duration::ZERO);

    assert_eq!(table.net.connections(), 0);
}

#[test]
fn connections_begin_anew_where_nobody_knows_what_was_lost() {
    let mut table = Table::new();
    table.connects();
    table.connects();

    table.happens(Event::Lost);

    let by: Vec<_> = table.heard.closed.iter().map(|(_, by)| *by).collect();
    assert_eq!(by, [EndedBy::Us(Reason::LocalError); 2]);
    assert_eq!(table.net.connections(), 0);
}

#[test]
fn an_end_heard_in_the_turn_that_stood_still_waits_too() {
    let mut table = Table::new();
    table.connects();
    let key = table
        .net
        .key(table.heard.opened[0])
        .expect("one of this core");
    let end = Event::ReceiveEnded(key, None);
    table.kernel.borrow_mut().events.push_back(end);
    table.net.poll(table.now, &mut table.heard);

    table.net.stood_still(table.now);
    table.turn(limits::CATCH_UP_QUIET / 2);
    table.connects();
    assert_eq!(table.heard.closed, [], "it is heard, and others are");
    table.turn(limits::CATCH_UP_QUIET);

    assert_eq!(table.heard.closed.len(), 1);
    assert_eq!(table.heard.closed[0].1, EndedBy::PeerUnheard);
}
