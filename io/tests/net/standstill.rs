//! A core that stood still: what queued up is heard before anybody's end is taken, and nobody was silent meanwhile.

use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use rollcall_io::clock::Clock;
use rollcall_io::net::{EndedBy, Settings, TransportKind};

use crate::over_both_transports;
use crate::server::{PATIENCE, Reply, Seen, Server, frame, receive};

over_both_transports!(
    who_came_back_is_heard_before_the_end_of_the_former_connection,
    a_broken_connection_is_no_end_by_the_peer,
    ends_are_taken_at_once_where_their_places_are_needed,
    silence_counts_anew,
);

/// Keeps a core from its turns until the value is dropped; then it learns that it stood still.
struct Standstill(Option<Sender<()>>);

impl Standstill {
    fn of(server: &Server) -> Self {
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        server.tell(0, move |net, _| {
            begin.send(()).expect("a test that waits");
            // The other end goes, or a test that failed never lets it go.
            let _ = ended.recv_timeout(PATIENCE);
            net.stood_still(Clock::now());
        });
        begun.recv_timeout(PATIENCE).expect("a core at work");
        Self(Some(end))
    }

    fn end(mut self) {
        self.0 = None;
    }
}

fn who_came_back_is_heard_before_the_end_of_the_former_connection(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let former = server.connect();
    let former_id = server.opened();

    let standstill = Standstill::of(&server);
    drop(former);
    let mut back = server.connect();
    back.write_all(&frame(b"back")).expect("room");
    standstill.end();

    let mut heard = Vec::new();
    let ended_by = server.wait_for(|seen| match seen {
        Seen::Closed(id, ended_by) if *id == former_id => Some(*ended_by),
        Seen::Frame(_, len) => {
            heard.push(*len);
            None
        }
        _ => None,
    });
    assert_eq!((heard, ended_by), (vec![8], EndedBy::PeerUnheard));
    receive(&mut back, 8);
    drop(back);
    assert_eq!(server.closed().1, EndedBy::Peer, "that is over");
}

fn a_broken_connection_is_no_end_by_the_peer(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let client = server.connect();
    server.opened();

    let standstill = Standstill::of(&server);
    let socket = socket2::SockRef::from(&client);
    socket
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket");
    drop(client);
    standstill.end();

    assert_eq!(server.closed().1, EndedBy::PeerUnheard);
}

fn ends_are_taken_at_once_where_their_places_are_needed(kind: TransportKind) {
    let settings = Settings {
        connections_max: 2,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let former = server.connect();
    server.opened();

    let standstill = Standstill::of(&server);
    drop(former);
    let mut second = server.connect();
    standstill.end();

    second.write_all(&frame(b"here")).expect("room");
    receive(&mut second, 8);
    let mut third = server.connect();
    third.write_all(&frame(b"here")).expect("room");
    receive(&mut third, 8);
}

fn silence_counts_anew(kind: TransportKind) {
    let settings = Settings {
        idle_close: Duration::from_millis(600),
        frame_deadline: Duration::from_millis(600),
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut client = server.connect();
    server.opened();
    let begun = frame(b"begun before");
    client.write_all(&begun[..5]).expect("room");
    server.wait_until(0, |net| net.partial_bytes() > 0);

    let standstill = Standstill::of(&server);
    std::thread::park_timeout(Duration::from_millis(700));
    standstill.end();
    server.wait_until(0, |_| true);

    client.write_all(&begun[5..]).expect("room");
    assert_eq!(receive(&mut client, begun.len()), begun);
    assert_eq!(server.closed().1, EndedBy::Silent, "and then it is silent");
}
