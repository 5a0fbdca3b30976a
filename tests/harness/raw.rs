//! A client made of a socket: says what a test wants said, and hears everything.
//!
//! It decides how pushes are acknowledged, when it reads and from which port it comes, which no published client leaves to a test.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::PATIENCE;
use crate::frame::{Frame, HEARTBEAT, Kind};
use crate::hessian::Value;
use crate::messages::{self, Config, List, Registered, Registration};
use crate::text::Text;

/// What a raw client answers to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// That it took it.
    Success,
    /// That handling it failed.
    Failure,
    /// A Bolt error.
    Error,
    /// Nothing.
    Never,
}

/// What is read at once.
const CHUNK_BYTES: u32 = 64 << 10;

/// A connection to a session.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// How many of `bytes` were taken.
    taken: usize,
    heard: VecDeque<Frame>,
    next_id: u32,
    ended: bool,
    /// How long it rests after each 64 KiB it has read.
    rest: Duration,
    /// How pushes are acknowledged.
    pub acknowledge: Acknowledge,
}

impl RawClient {
    /// Connects, from whatever port the system gives.
    pub fn connect(session: SocketAddr) -> Self {
        Self::try_connect(session).expect("the session takes connections")
    }

    /// Connects as soon as the session is back.
    pub fn reconnect(session: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::try_connect(session) {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "{session}: {error}"),
            }
            // The pace of a client that looks for its server.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Connects, unless it is refused: a session that is full may have ended the connection before this side has looked at it.
    pub fn try_connect(session: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&session, PATIENCE)?)
    }

    /// Connects as one that reads slowly, so many bytes a second, and whose kernel takes little ahead of it.
    pub fn connect_slowly(session: SocketAddr, bytes_per_second: u32) -> Self {
        let socket = Socket::new(Domain::for_address(session), Type::STREAM, None);
        let socket = socket.expect("a descriptor is left");
        socket
            .set_recv_buffer_size(64 << 10)
            .expect("a socket of ours");
        socket
            .connect(&session.into())
            .expect("the session takes connections");
        let client = Self::over(socket.into()).expect("a socket of ours");
        let rest = Duration::from_secs(1) * CHUNK_BYTES / bytes_per_second;
        Self { rest, ..client }
    }

    fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: Vec::new(),
            taken: 0,
            heard: VecDeque::new(),
            next_id: 0,
            ended: false,
            rest: Duration::ZERO,
            acknowledge: Acknowledge::Success,
        })
    }

    /// The address that the session sees.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket")
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the session reads");
    }

    /// Sends bytes as they are, to a session that may have closed already.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and tells its id.
    pub fn send(&mut self, message: &Value) -> u32 {
        let frame = self.request(message);
        self.send_bytes(&frame.encode());
        frame.id
    }

    /// The frame of a request, with the next id.
    pub fn request(&mut self, message: &Value) -> Frame {
        let Value::Object(class, _) = message else {
            panic!("{message:?} is no message")
        };
        self.next_id += 1;
        Frame::request(self.next_id, class, message.encode())
    }

    /// Sends a registration and waits until it is answered.
    pub fn register(&mut self, message: &Value) -> Registered {
        let id = self.send(message);
        self.registered(id)
    }

    /// Sends a registration and expects success.
    pub fn register_well(&mut self, message: &Value) {
        let answer = self.register(message);
        assert!(answer.success && !answer.refused, "refused: {answer:?}");
    }

    /// Publishes one string to each service, under a key made of `name` and the service.
    pub fn publish_all(&mut self, services: &[String], name: &str, version: i64, value: &str) {
        for service in services {
            let registration = Registration::new(service, &format!("{name} of {service}"));
            let registration = registration.version(version);
            self.register_well(&registration.publish(Some(&[value.into()])));
        }
    }

    /// Subscribes to each service, in the scope that shows all zones.
    pub fn subscribe_all(&mut self, services: &[String]) {
        for service in services {
            let registration = Registration::new(service, &format!("subscriber of {service}"));
            self.register_well(&registration.subscribe("global"));
        }
    }

    /// Reads lists until each service has one with exactly these strings; gives all in the order they came.
    pub fn lists_until(&mut self, services: &[String], strings: &[&str]) -> Vec<List> {
        let mut wanted: Vec<_> = strings.iter().map(|text| Text::from(*text)).collect();
        wanted.sort();
        let mut lists = Vec::new();
        let mut missing: BTreeSet<_> = services.iter().map(|it| Text::from(it.as_str())).collect();
        while !missing.is_empty() {
            let list = self.list();
            if list.strings() == wanted {
                missing.remove(&list.data_id);
            }
            lists.push(list);
        }
        lists
    }

    /// The answer to a registration.
    pub fn registered(&mut self, id: u32) -> Registered {
        let answer = self.answer(id);
        assert_eq!(
            answer.kind,
            Kind::Response(0),
            "{}",
            String::from_utf8_lossy(&answer.content)
        );
        Registered::of(&Value::decode(&answer.content))
    }

    /// The answer to a request.
    pub fn answer(&mut self, id: u32) -> Frame {
        self.hear(PATIENCE, &format!("the answer to request {id}"), |frame| {
            matches!(frame.kind, Kind::Response(_)) && frame.id == id
        })
    }

    /// The next list pushed.
    pub fn list(&mut self) -> List {
        List::of(&Value::decode(&self.push("ReceivedData").content))
    }

    /// The next list pushed, or nothing when the session closed.
    pub fn list_or_close(&mut self) -> Option<List> {
        loop {
            let frame = self.next_frame()?;
            if is_push(&frame, "ReceivedData") {
                return Some(List::of(&Value::decode(&frame.content)));
            }
        }
    }

    /// Reads lists until one has exactly these strings.
    pub fn list_of(&mut self, strings: &[&str]) -> List {
        let mut wanted: Vec<_> = strings.iter().map(|text| Text::from(*text)).collect();
        wanted.sort();
        self.list_until(|list| list.strings() == wanted)
    }

    /// Reads lists until one fits.
    pub fn list_until(&mut self, fits: impl Fn(&List) -> bool) -> List {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.list();
            if fits(&list) {
                return list;
            }
            assert!(Instant::now() < deadline, "the last list is {list:?}");
        }
    }

    /// The lists that came so far and were not asked for.
    pub fn lists_heard(&mut self) -> Vec<List> {
        let (lists, others) = self
            .heard
            .drain(..)
            .partition(|frame| is_push(frame, "ReceivedData"));
        self.heard = others;
        lists
            .iter()
            .map(|frame: &Frame| List::of(&Value::decode(&frame.content)))
            .collect()
    }

    /// The next setting pushed.
    pub fn config(&mut self) -> Config {
        Config::of(&Value::decode(&self.push("ReceivedConfigData").content))
    }

    /// The next push of a class, acknowledged as told.
    pub fn push(&mut self, class: &str) -> Frame {
        self.hear(PATIENCE, class, |frame| is_push(frame, class))
    }

    /// Sends a heartbeat and waits for its answer, by which time everything the session sent before has been heard.
    pub fn heartbeat(&mut self) -> Frame {
        self.next_id += 1;
        let id = self.next_id;
        self.send_bytes(&Frame::heartbeat(id).encode());
        self.hear(PATIENCE, "a heartbeat's answer", |frame| {
            frame.command == HEARTBEAT && frame.id == id
        })
    }

    /// The next frame of any kind, or nothing when the session closed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if let Some(frame) = self.heard.pop_front() {
            return Some(frame);
        }
        self.read(Instant::now() + PATIENCE, "anything")
    }

    /// Reads until the session closes, within a time; gives what came before.
    pub fn until_closed(&mut self, within: Duration) -> Vec<Frame> {
        let deadline = Instant::now() + within;
        while let Some(frame) = self.read(deadline, "the close") {
            self.heard.push_back(frame);
        }
        self.heard.drain(..).collect()
    }

    /// Ends this direction as a client that exits in order.
    pub fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A second handle to the socket, for a thread that writes while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is left")
    }

    fn hear(&mut self, within: Duration, wanted: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(place) = self.heard.iter().position(&fits) {
            return self.heard.remove(place).expect("it was just found");
        }
        let deadline = Instant::now() + within;
        loop {
            let frame = self
                .read(deadline, wanted)
                .unwrap_or_else(|| panic!("the session closed before {wanted}"));
            if fits(&frame) {
                return frame;
            }
            self.heard.push_back(frame);
        }
    }

    /// The next frame from the socket, acknowledged if it is a push; nothing when the session closed.
    fn read(&mut self, deadline: Instant, wanted: &str) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::decode(&self.bytes[self.taken..]) {
                self.taken += length;
                self.respond(&frame);
                return Some(frame);
            }
            self.bytes.drain(..std::mem::take(&mut self.taken));
            if self.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{wanted} did not come in time; heard: {:?}",
                self.heard
            );
            self.stream
                .set_read_timeout(Some(left))
                .expect("a socket of ours");
            let mut chunk = [0; CHUNK_BYTES as usize];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    self.bytes.extend(&chunk[..length]);
                    let share = u32::try_from(length).expect("a chunk is short");
                    std::thread::park_timeout(self.rest * share / CHUNK_BYTES);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) =>
                {
                    self.ended = true
                }
                Err(error) => panic!("reading from the session: {error}"),
            }
        }
    }

    fn respond(&mut self, frame: &Frame) {
        if frame.kind != Kind::Request {
            return;
        }
        let answer = match self.acknowledge {
            _ if frame.command == HEARTBEAT => frame.answer(0, "", Vec::new()),
            Acknowledge::Success => acknowledgement(frame, true),
            Acknowledge::Failure => acknowledgement(frame, false),
            Acknowledge::Error => frame.answer(2, "", Vec::new()),
            Acknowledge::Never => return,
        };
        // The session may be closing; then the next read says so.
        let _ = self.stream.write_all(&answer.encode());
    }
}

fn acknowledgement(push: &Frame, success: bool) -> Frame {
    push.answer(
        0,
        &messages::class("Result"),
        messages::result(success).encode(),
    )
}

fn is_push(frame: &Frame, class: &str) -> bool {
    frame.kind == Kind::Request && frame.class == messages::class(class)
}
