//! The server over real sockets: a glommio executor serves, the test speaks bytes from its own thread.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::JoinHandle;

use glommio::LocalExecutorBuilder;
use socket2::{Domain, Socket, Type};

use super::*;

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    /// Dropped to stop it.
    running: mpsc::Sender<()>,
    thread: JoinHandle<usize>,
}

impl Server {
    fn start(limits: HttpLimits) -> Self {
        let listener =
            HttpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = listener.local_addr();
        let (running, stop) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let executor = LocalExecutorBuilder::default()
                .io_memory(64 << 10)
                .make()
                .expect("an executor");
            executor.run(async move {
                let server = HttpServer::start(vec![listener], limits, Echo).expect("a server");
                while stop.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    sleep(Duration::from_millis(2)).await;
                }
                server.stop(Duration::from_millis(500)).await
            })
        });
        Self {
            address,
            running,
            thread,
        }
    }

    fn connect(&self) -> TcpStream {
        self.connect_from([127, 0, 0, 1])
    }

    /// A connection from one of the addresses that this host has plenty of.
    fn connect_from(&self, ip: [u8; 4]) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((ip, 0));
        socket.bind(&from.into()).expect("a loopback address");
        // So little that a peer that reads nothing is soon one that takes nothing.
        socket
            .set_recv_buffer_size(4 << 10)
            .expect("a small buffer");
        socket.connect(&self.address.into()).expect("a connection");
        let stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a time-out");
        stream
    }

    /// Sends `bytes` and reads until the server closes.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("room in the socket");
        read_all(&mut stream)
    }

    /// How many connections were cut.
    fn stop(self) -> usize {
        drop(self.running);
        self.thread.join().expect("no panic")
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("an orderly end");
    String::from_utf8(text).expect("text")
}

struct Echo;

impl Service for Echo {
    type Known = ();

    fn admit(&self, head: &RequestHead, _: SocketAddr) -> Result<Admitted<()>, Box<Response>> {
        let urgency = match head.uri.path() {
            "/denied" => return Err(Box::new(Response::new(Body::whole("not you")))),
            "/vital" => Urgency::Vital,
            _ => Urgency::Ordinary,
        };
        Ok(Admitted { known: (), urgency })
    }

    async fn answer(&self, (): (), request: Request) -> Response {
        echo(request).await
    }
}

/// Says what came; `/many` streams, `/broken` breaks off, `/refused` fails before its first piece.
async fn echo(request: Request) -> Response {
    let body = match request.head.uri.path() {
        "/many" => Body::produced(async |mut sink: Sink| {
            for number in 0..1000 {
                sink.send(Bytes::from(format!("line {number}\n"))).await;
            }
            Ok(())
        })
        .await
        .expect("no failure"),
        "/huge" => Body::whole(vec![b'x'; 64 << 20]),
        "/broken" => Body::produced(async |mut sink: Sink| {
            sink.send(Bytes::from_static(b"begun")).await;
            sink.send(Bytes::from_static(b"more")).await;
            Err(Interrupted("a core went away".into()))
        })
        .await
        .expect("the first piece"),
        "/never" => std::future::pending().await,
        "/refused" => match Body::produced(async |_| Err(Interrupted("nobody there".into()))).await
        {
            Ok(_) => Body::whole("unexpected"),
            Err(Interrupted(why)) => Body::whole(why),
        },
        path => {
            let local = request.peer.ip().is_loopback() && request.local.ip().is_loopback();
            Body::whole(format!(
                "{} {path} {} {local}",
                request.head.method,
                request.body.len()
            ))
        }
    };
    Response::new(body)
}

fn quick() -> HttpLimits {
    HttpLimits {
        receive: Duration::from_millis(150),
        idle: Duration::from_millis(300),
        ..HttpLimits::default()
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(
        b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nPOST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc\
          GET /c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );

    let places =
        ["GET /a 0 true", "POST /b 3 true", "GET /c 0 true"].map(|answer| text.find(answer));
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{text}"
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_head_answer_has_the_length_and_no_body() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(b"HEAD /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    assert!(text.contains("content-length: 14\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn a_produced_body_arrives_whole() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(b"GET /many HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    assert!(text.contains("transfer-encoding: chunked"), "{text}");
    assert!(text.contains("line 0\n") && text.contains("line 999\n"));
    assert!(text.ends_with("0\r\n\r\n"));
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_whole() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(b"GET /broken HTTP/1.1\r\nhost: x\r\n\r\n");

    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}

#[test]
fn a_producer_that_fails_at_once_still_gets_an_answer_of_its_own() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(b"GET /refused HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    assert!(text.ends_with("nobody there"), "{text}");
}

#[test]
fn an_oversize_head_is_answered_431() {
    let server = Server::start(HttpLimits::default());
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
        "a".repeat(20_000)
    );

    let text = server.exchange(head.as_bytes());

    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
}

#[test]
fn an_oversize_body_is_answered_413_and_the_answer_arrives() {
    let server = Server::start(HttpLimits {
        body_bytes: 1000,
        ..HttpLimits::default()
    });
    let body = "a".repeat(100_000);
    let declared = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    );

    let answers = [
        server.exchange(declared.as_bytes()),
        server.exchange(chunked.as_bytes()),
    ];

    for text in answers {
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        assert!(
            text.ends_with(
                "{\"success\":false,\"message\":\"the body is longer than 1000 bytes\"}"
            ),
            "{text}"
        );
    }
}

#[test]
fn what_is_not_http_is_answered_400() {
    let server = Server::start(HttpLimits::default());

    let text = server.exchange(b"\x01\x01\x00\x01rubbish\r\n\r\n");

    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[test]
fn a_slow_client_is_cut_in_every_phase() {
    let server = Server::start(quick());
    let phases: [&[u8]; 4] = [
        b"",
        b"GET /a HT",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
        b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n",
    ];

    let answers = phases.map(|begun| server.exchange(begun));

    assert!(answers[..3].iter().all(String::is_empty), "{answers:?}");
    assert!(answers[3].ends_with("GET /a 0 true"), "{answers:?}");
}

/// A connection that was answered and is kept open.
fn idle_from(server: &Server, ip: [u8; 4]) -> TcpStream {
    let mut stream = server.connect_from(ip);
    ask(&mut stream, "/a");
    let mut answer = Vec::new();
    while !answer.ends_with(b"GET /a 0 true") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.extend(byte);
    }
    stream
}

fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("room in the socket");
}

fn is_answered(server: &Server, ip: [u8; 4], path: &str) -> String {
    let mut stream = server.connect_from(ip);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("room");
    read_all(&mut stream)
}

/// Whether the server has ended it; it has an answer unread at most.
fn is_closed(stream: &mut TcpStream) -> bool {
    let wait = Duration::from_millis(100);
    stream.set_read_timeout(Some(wait)).expect("a time-out");
    let mut unread = [0; 1 << 10];
    loop {
        match stream.read(&mut unread) {
            Ok(0) => return true,
            Ok(_) => (),
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_newcomer_takes_the_place_of_who_waits_longest() {
    let server = Server::start(HttpLimits {
        connections: 3,
        ..HttpLimits::default()
    });
    let mut mute = server.connect_from([127, 0, 1, 1]);
    let mut idle = idle_from(&server, [127, 0, 1, 2]);
    let mut begun = server.connect_from([127, 0, 1, 3]);
    begun.write_all(b"GET /a HT").expect("room");

    let _third = idle_from(&server, [127, 0, 1, 4]);
    assert!(is_closed(&mut mute) && !is_closed(&mut idle));
    let _fourth = idle_from(&server, [127, 0, 1, 5]);
    assert!(is_closed(&mut idle));

    begun
        .write_all(b"TP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("room");
    assert!(read_all(&mut begun).ends_with("GET /a 0 true"));
}

#[test]
fn an_address_with_its_share_makes_room_itself() {
    let server = Server::start(HttpLimits {
        connections_per_address: 2,
        ..HttpLimits::default()
    });
    let mut other = idle_from(&server, [127, 0, 1, 9]);
    let mut first = idle_from(&server, [127, 0, 1, 1]);
    let mut second = idle_from(&server, [127, 0, 1, 1]);

    let mut third = idle_from(&server, [127, 0, 1, 1]);

    assert!(is_closed(&mut first));
    assert!(!is_closed(&mut second) && !is_closed(&mut third) && !is_closed(&mut other));
}

#[test]
fn a_request_too_many_is_told_so_and_a_vital_one_is_answered() {
    let server = Server::start(HttpLimits {
        connections: 4,
        ordinary: 2,
        ..HttpLimits::default()
    });
    let held = [1, 2].map(|number| {
        let mut stream = server.connect_from([127, 0, 1, number]);
        ask(&mut stream, "/never");
        stream
    });

    let refused = is_answered(&server, [127, 0, 1, 3], "/a");
    let vital = is_answered(&server, [127, 0, 1, 3], "/vital");

    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("too many HTTP requests at a time, retry"));
    assert!(vital.ends_with("GET /vital 0 true"), "{vital}");
    drop(held);
}

#[test]
fn an_address_asks_only_so_much_at_a_time() {
    let server = Server::start(HttpLimits {
        ordinary_per_address: 1,
        ..HttpLimits::default()
    });
    let mut held = server.connect_from([127, 0, 1, 1]);
    ask(&mut held, "/never");

    let same = is_answered(&server, [127, 0, 1, 1], "/a");
    let other = is_answered(&server, [127, 0, 1, 2], "/a");

    assert!(same.starts_with("HTTP/1.1 503 "), "{same}");
    assert!(other.ends_with("GET /a 0 true"), "{other}");
}

#[test]
fn a_connection_is_refused_when_all_are_at_work() {
    let server = Server::start(HttpLimits {
        connections: 1,
        ..HttpLimits::default()
    });
    let mut held = server.connect();
    ask(&mut held, "/never");
    // The server begins what it has read before it accepts, so a second connection finds the first at work.
    let refused = loop {
        let answer = is_answered(&server, [127, 0, 1, 2], "/a");
        if !answer.ends_with("GET /a 0 true") {
            break answer;
        }
        held = server.connect();
        ask(&mut held, "/never");
    };

    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("x-content-type-options: nosniff"));
    assert!(
        refused.ends_with("{\"success\":false,\"message\":\"too many HTTP connections, retry\"}")
    );
}

#[test]
fn whoever_is_refused_is_told_before_its_body_is_read() {
    let server = Server::start(HttpLimits::default());

    // No byte of the body is ever sent, nor asked for.
    let text = server.exchange(
        b"POST /denied HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 900000\r\n\r\n",
    );

    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(
        text.contains("connection: close") && text.ends_with("not you"),
        "{text}"
    );
}

#[test]
fn no_answer_is_sniffed_for_its_type() {
    let server = Server::start(HttpLimits::default());

    for path in ["/a", "/denied", "/many"] {
        let text = is_answered(&server, [127, 0, 0, 1], path);
        assert!(text.contains("x-content-type-options: nosniff"), "{text}");
    }
}

#[test]
fn a_reader_of_a_byte_now_and_then_is_cut() {
    let server = Server::start(HttpLimits {
        write_stall: Duration::from_millis(300),
        ..HttpLimits::default()
    });
    let mut slow = server.connect();
    ask(&mut slow, "/huge");

    // Each read is progress of a kind, far below what a place costs.
    let begun = Instant::now();
    let mut read = 0;
    let ended = loop {
        let mut bytes = [0; 2 << 10];
        match slow.read(&mut bytes) {
            Ok(0) | Err(_) => break begun.elapsed(),
            Ok(some) => read += some,
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still served");
        std::thread::sleep(Duration::from_millis(20));
    };

    assert!(read < 16 << 20, "{read} bytes in {ended:?}");
}

#[test]
fn a_stop_closes_idle_and_silent_connections_and_the_port() {
    let server = Server::start(HttpLimits::default());
    let address = server.address;
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("room");
    let mut begun = [0; 8];
    idle.read_exact(&mut begun).expect("an answer");

    let cut = server.stop();

    assert_eq!(cut, 0);
    assert!(read_all(&mut idle).ends_with("GET /a 0 true"));
    assert_eq!(read_all(&mut silent), "");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_in_use_is_an_error() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("its address");

    let refused = HttpListener::bind(address).expect_err("the port is taken");

    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_stop_cuts_what_is_not_answered_in_time() {
    let server = Server::start(HttpLimits::default());
    let mut waiting = server.connect();
    waiting
        .write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("room");
    // The second connection is accepted after the first, so the first is being served.
    server.exchange(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

    let cut = server.stop();

    assert_eq!(cut, 1);
    assert_eq!(read_all(&mut waiting), "");
}
