//! A server of the tests: cores that run the product's loop around a service that does what a test says.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rollcall_core::names::ConnectId;
use rollcall_core::session::pushes::Body;
use rollcall_io::clock::Clock;
use rollcall_io::executor::{Bell, RunningCore, Seat, available_cpus, plan_cores, start_core};
use rollcall_io::listener::bind_all;
use rollcall_io::net::{
    Admission, EndedBy, Flow, FrameLen, Framing, Net, Outgoing, Service, Settings, TransportKind,
};
use socket2::{Domain, Socket, Type};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Longest payload of the tests' frames.
const PAYLOAD_MAX: usize = 16 << 20;

/// Frames of the tests: a length of four bytes, then the payload.
pub(crate) struct Lengths;

impl Framing for Lengths {
    type Error = usize;

    fn frame_len(bytes: &[u8]) -> Result<FrameLen, usize> {
        let Some(head) = bytes.first_chunk() else {
            return Ok(FrameLen::Incomplete { needed: 4 });
        };
        let payload = u32::from_be_bytes(*head) as usize;
        if payload > PAYLOAD_MAX {
            return Err(payload);
        }
        let len = 4 + payload;
        Ok(if bytes.len() < len {
            FrameLen::Incomplete { needed: len }
        } else {
            FrameLen::Complete(len)
        })
    }
}

/// A frame with this payload.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short payload");
    [&len.to_be_bytes(), payload].concat()
}

/// Reads exactly so many bytes.
pub(crate) fn receive(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("an answer in time");
    bytes
}

/// What the service of a core was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Opened(ConnectId),
    Frame(ConnectId, usize),
    Sent(u32),
    Writable(ConnectId),
    Closed(ConnectId, EndedBy),
}

/// What the service does with a frame.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends it back.
    Echo,
    /// Sends it back with a shared body behind it.
    WithBody(Vec<u8>),
    /// Takes it in silence.
    Nothing,
    /// Does not take it.
    Pause,
    /// Sends it back and ends.
    EchoAndClose(EndedBy),
}

/// The service of one core.
pub(crate) struct Script {
    pub(crate) reply: Reply,
    seen: mpsc::Sender<Seen>,
    body: Option<Rc<Body>>,
}

impl Script {
    fn see(&self, seen: Seen) {
        // A test that has ended does not look any more.
        let _ = self.seen.send(seen);
    }
}

impl Service<Lengths> for Script {
    fn opened(&mut self, id: ConnectId, _: SocketAddr, _: SocketAddr) {
        self.see(Seen::Opened(id));
    }

    fn frame(&mut self, id: ConnectId, bytes: &[u8], out: &mut Outgoing) -> Flow {
        match &self.reply {
            Reply::Pause => return Flow::Pause,
            Reply::Nothing => {}
            Reply::WithBody(body) => {
                let shared = self
                    .body
                    .get_or_insert_with(|| Rc::new(Body::new(Bytes::from(body.clone()))));
                out.bytes().extend_from_slice(bytes);
                out.shared(shared);
                out.mark(7);
            }
            Reply::Echo | Reply::EchoAndClose(_) => out.bytes().extend_from_slice(bytes),
        }
        self.see(Seen::Frame(id, bytes.len()));
        match self.reply {
            Reply::EchoAndClose(ended_by) => Flow::Close(ended_by),
            _ => Flow::Continue,
        }
    }

    fn bad_frame(&mut self, _: ConnectId, error: &usize, out: &mut Outgoing) {
        out.bytes()
            .extend_from_slice(format!("bad frame of {error} bytes").as_bytes());
    }

    fn sent(&mut self, _: ConnectId, tag: u32) {
        self.see(Seen::Sent(tag));
    }

    fn writable(&mut self, id: ConnectId) {
        self.see(Seen::Writable(id));
    }

    fn closed(&mut self, id: ConnectId, ended_by: EndedBy) {
        self.see(Seen::Closed(id, ended_by));
    }
}

type Command = Box<dyn FnOnce(&mut Net<Lengths>, &mut Script) + Send>;

/// A running server; ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: mpsc::Receiver<Seen>,
    cores: Vec<Core>,
    stop: Arc<AtomicBool>,
    /// Turns that all cores took.
    turns: Arc<AtomicU64>,
}

struct Core {
    seat: Seat,
    commands: mpsc::Sender<Command>,
    running: Option<RunningCore>,
}

impl Server {
    pub(crate) fn start(
        kind: TransportKind,
        cores: usize,
        reply: &Reply,
        settings: &Settings,
    ) -> Self {
        Self::start_with(kind, cores, reply, settings, Admission::new(0, 0))
    }

    pub(crate) fn start_with(
        kind: TransportKind,
        cores: usize,
        reply: &Reply,
        settings: &Settings,
        admission: Admission,
    ) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(loopback, (kind, cores), reply, settings, admission)
    }

    pub(crate) fn start_at(
        address: SocketAddr,
        (kind, cores): (TransportKind, usize),
        reply: &Reply,
        settings: &Settings,
        admission: Admission,
    ) -> Self {
        let listening = bind_all(address, cores).expect("a free port");
        let address = listening.address;
        let (seen_sender, seen) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicU64::new(0));
        let admission = Arc::new(admission);
        let seats = plan_cores(Some(cores), &available_cpus()).expect("some cores");
        let start_one = |(seat, listener): (Seat, TcpListener)| {
            let (commands, to_do) = mpsc::channel();
            let (reply, seen) = (reply.clone(), seen_sender.clone());
            let (seat_inside, settings) = (seat.clone(), settings.clone());
            let (stop, admission) = (Arc::clone(&stop), Arc::clone(&admission));
            let turns = Arc::clone(&turns);
            let running = start_core(&seat, move |bell| async move {
                let Seat { core, ringer, .. } = seat_inside;
                let net = Net::new(core, kind, vec![listener], &ringer, admission, settings)
                    .expect("a transport");
                drive(
                    bell,
                    net,
                    Script {
                        reply,
                        seen,
                        body: None,
                    },
                    to_do,
                    (stop, turns),
                )
                .await;
            });
            Core {
                seat,
                commands,
                running: Some(running.expect("an executor")),
            }
        };
        let cores = seats
            .into_iter()
            .zip(listening.listeners)
            .map(start_one)
            .collect();
        Self {
            address,
            seen,
            cores,
            stop,
            turns,
        }
    }

    /// Turns that its cores have taken.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a listener");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time-out");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a valid time-out");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }

    /// A client whose kernel takes little before it is read.
    pub(crate) fn connect_with_small_window(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a valid size");
        socket.connect(&self.address.into()).expect("a listener");
        let stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a valid time-out");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a valid time-out");
        stream
    }

    /// Waits until something is true on a core.
    pub(crate) fn wait_until(
        &self,
        core: usize,
        is_true: impl Fn(&mut Net<Lengths>) -> bool + Send + Clone + 'static,
    ) {
        let started = Instant::now();
        loop {
            let is_true = is_true.clone();
            if self.ask(core, move |net, _| is_true(net)) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "not true in time");
        }
    }

    /// Runs something on a core and waits for its answer.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        core: usize,
        question: impl FnOnce(&mut Net<Lengths>, &mut Script) -> R + Send + 'static,
    ) -> R {
        let (answer, answered) = mpsc::channel();
        self.tell(core, move |net, script| {
            answer.send(question(net, script)).expect("an asker");
        });
        answered.recv_timeout(PATIENCE).expect("an answer in time")
    }

    /// Has something run on a core.
    pub(crate) fn tell(
        &self,
        core: usize,
        command: impl FnOnce(&mut Net<Lengths>, &mut Script) + Send + 'static,
    ) {
        let command: Command = Box::new(command);
        self.cores[core]
            .commands
            .send(command)
            .expect("a running core");
        self.cores[core].seat.ringer.ring();
    }

    /// Waits until something was seen for which `pick` has an answer.
    pub(crate) fn wait_for<R>(&self, mut pick: impl FnMut(&Seen) -> Option<R>) -> R {
        loop {
            let seen = self
                .seen
                .recv_timeout(PATIENCE)
                .expect("what is waited for, in time");
            if let Some(answer) = pick(&seen) {
                return answer;
            }
        }
    }

    pub(crate) fn opened(&self) -> ConnectId {
        self.wait_for(|seen| match seen {
            Seen::Opened(id) => Some(*id),
            _ => None,
        })
    }

    pub(crate) fn closed(&self) -> (ConnectId, EndedBy) {
        self.wait_for(|seen| match seen {
            Seen::Closed(id, ended_by) => Some((*id, *ended_by)),
            _ => None,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for core in &mut self.cores {
            core.seat.ringer.ring();
            if let Some(running) = core.running.take() {
                let ended = running.join();
                assert!(
                    std::thread::panicking() || ended.is_ok(),
                    "a core has panicked: {ended:?}"
                );
            }
        }
    }
}

async fn drive(
    mut bell: Bell,
    mut net: Net<Lengths>,
    mut script: Script,
    to_do: mpsc::Receiver<Command>,
    (stop, turns): (Arc<AtomicBool>, Arc<AtomicU64>),
) {
    while !stop.load(Ordering::SeqCst) {
        turns.fetch_add(1, Ordering::SeqCst);
        let now = Clock::now();
        let mut worked = net.poll(now, &mut script);
        while let Ok(command) = to_do.try_recv() {
            worked = true;
            command(&mut net, &mut script);
        }
        net.flush();
        if worked {
            bell.pass(now.monotonic).await;
        } else {
            bell.wait(|| net.prepare_sleep(Clock::now(), None)).await;
        }
    }
}
