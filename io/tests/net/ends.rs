//! How connections end: who ended them is told, what was queued is written, and nothing reaches whoever comes next.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rollcall_io::net::{EndedBy, Reason, Settings, TransportKind};

use crate::over_both_transports;
use crate::server::{PATIENCE, Reply, Seen, Server, frame, receive};

over_both_transports!(
    a_silent_connection_is_closed_and_a_talking_one_is_not,
    a_begun_frame_that_does_not_end_is_cut,
    a_paused_connection_is_not_late_with_its_frame,
    a_bad_frame_is_answered_before_the_end,
    the_last_answer_is_written_before_the_end,
    a_reset_of_the_peer_is_told_as_its_end,
    the_next_user_of_a_slot_gets_nothing_of_the_one_before,
    the_end_of_one_user_of_a_slot_is_told_before_the_next,
    an_operator_ends_one_connection_and_no_other,
    no_descriptor_is_left_behind,
    a_stopped_listener_refuses_and_keeps_its_connections,
    who_goes_on_sending_after_the_end_is_reset,
    many_bytes_and_the_end_behind_them_cost_no_turns_when_they_are_read,
);

fn a_silent_connection_is_closed_and_a_talking_one_is_not(kind: TransportKind) {
    let settings = Settings {
        idle_close: Duration::from_millis(600),
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut talking = server.connect();
    let talking_id = server.opened();
    let started = Instant::now();
    let mut silent = server.connect();
    let silent_id = server.opened();

    let mut closed = None;
    while closed.is_none() {
        talking.write_all(&frame(b"still here")).expect("room");
        receive(&mut talking, 14);
        closed = server.seen.try_iter().find_map(|seen| match seen {
            Seen::Closed(id, ended_by) => Some((id, ended_by)),
            _ => None,
        });
    }

    assert_eq!(closed, Some((silent_id, EndedBy::Silent)));
    assert!(
        started.elapsed() >= Duration::from_millis(590),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(silent.read(&mut [0; 8]).expect("an orderly end"), 0);
    assert!(server.ask(0, move |net, _| net.facts(talking_id)).is_some());
}

fn a_begun_frame_that_does_not_end_is_cut(kind: TransportKind) {
    let settings = Settings {
        frame_deadline: Duration::from_millis(200),
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut client = server.connect();
    let started = Instant::now();

    client.write_all(&frame(&[0; 1_000])[..500]).expect("room");

    assert_eq!(server.closed().1, EndedBy::Us(Reason::FrameDeadline));
    assert!(started.elapsed() >= Duration::from_millis(190));
}

fn a_paused_connection_is_not_late_with_its_frame(kind: TransportKind) {
    let short = Duration::from_millis(600);
    let settings = Settings {
        frame_deadline: short,
        idle_close: short,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Pause, &settings);
    let mut paused = server.connect();
    let paused_id = server.opened();
    paused.write_all(&frame(b"wait")).expect("room");
    server.wait_until(0, |net| net.partial_bytes() > 0);
    let _silent = server.connect();

    let (closed, ended_by) = server.closed();

    assert_eq!(ended_by, EndedBy::Silent);
    assert_ne!(closed, paused_id);
    server.ask(0, move |net, script| {
        script.reply = Reply::Echo;
        net.resume(paused_id);
    });
    assert_eq!(receive(&mut paused, 8), frame(b"wait"));
}

fn a_bad_frame_is_answered_before_the_end(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut client = server.connect();
    // Bytes that follow must not turn the end into a reset that destroys the answer.
    let garbage = [&frame(b"good")[..], &[0xff; 100_000]].concat();

    client.write_all(&garbage).expect("room");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an orderly end");

    assert_eq!(&answer[..8], frame(b"good"));
    assert_eq!(
        String::from_utf8_lossy(&answer[8..]),
        "bad frame of 4294967295 bytes"
    );
    assert_eq!(server.closed().1, EndedBy::Us(Reason::BadFrame));
}

fn the_last_answer_is_written_before_the_end(kind: TransportKind) {
    let reason = EndedBy::Us(Reason::Limit);
    let server = Server::start(kind, 1, &Reply::EchoAndClose(reason), &Settings::default());
    let mut client = server.connect_with_small_window();
    let request = frame(&vec![3; 1 << 20]);

    client.write_all(&request).expect("room");
    client.write_all(&frame(b"too late")).expect("room");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an orderly end");

    assert!(answer == request);
    assert_eq!(server.closed().1, reason);
}

fn a_reset_of_the_peer_is_told_as_its_end(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let client = server.connect();
    let id = server.opened();

    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("an open socket");
    drop(client);

    assert_eq!(server.closed(), (id, EndedBy::Peer));
}

fn the_next_user_of_a_slot_gets_nothing_of_the_one_before(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Nothing, &Settings::default());
    let first_client = server.connect_with_small_window();
    let first = server.opened();
    server.ask(0, move |net, _| {
        let out = net.out(first).expect("an open connection");
        out.bytes().extend_from_slice(&[b'1'; 4 << 20]);
    });
    server.wait_until(0, |net| net.traffic().bytes_out > 0);

    drop(first_client);
    server.closed();
    server.wait_until(0, |net| net.connections() == 0);
    let mut second_client = server.connect();
    let second = server.opened();
    let found = server.ask(0, move |net, _| {
        net.out(second)
            .expect("an open connection")
            .bytes()
            .extend_from_slice(b"22");
        net.out(first).is_some()
    });

    assert_eq!((first.slot, first.core), (second.slot, second.core));
    assert!(!found, "an ended connection takes nothing");
    assert_eq!(receive(&mut second_client, 2), b"22");
    server.ask(0, move |net, _| net.close(second, EndedBy::Operator));
    assert_eq!(second_client.read(&mut [0; 8]).expect("an orderly end"), 0);
}

fn the_end_of_one_user_of_a_slot_is_told_before_the_next(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Nothing, &Settings::default());
    let address = server.address;
    let mut client = server.connect();

    for _ in 0..200 {
        // Both happen while the core is busy here, so it finds them together.
        client = server.ask(0, move |_, _| {
            drop(client);
            TcpStream::connect(address).expect("a listening port")
        });
    }
    server.wait_until(0, |net| {
        net.traffic().opened == 201 && net.connections() == 1
    });

    let mut users = HashMap::new();
    for seen in server.seen.try_iter() {
        match seen {
            Seen::Opened(id) => {
                let former = users.insert(id.slot, id);
                assert_eq!(former, None, "{id:?} came before the end of {former:?}");
            }
            Seen::Closed(id, _) => assert_eq!(users.remove(&id.slot), Some(id)),
            _ => {}
        }
    }
}

fn an_operator_ends_one_connection_and_no_other(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut kept = server.connect();
    server.opened();
    let mut ended = server.connect();
    let id = server.opened();

    server.ask(0, move |net, _| net.close(id, EndedBy::Operator));

    assert_eq!(server.closed(), (id, EndedBy::Operator));
    assert_eq!(ended.read(&mut [0; 8]).expect("an orderly end"), 0);
    kept.write_all(&frame(b"me")).expect("room");
    assert_eq!(receive(&mut kept, 6), frame(b"me"));
    assert_eq!(server.ask(0, |net, _| net.open_connections().count()), 1);
}

fn no_descriptor_is_left_behind(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let before = open_sockets(server.address.port());

    for round in 0..500 {
        let mut client = server.connect();
        match round % 3 {
            0 => client.shutdown(Shutdown::Both).expect("an open socket"),
            1 => client.write_all(&frame(b"hello")).expect("room"),
            _ => client.write_all(&frame(b"hello")[..6]).expect("room"),
        }
    }

    for _ in 0..500 {
        server.closed();
    }
    server.wait_until(0, |net| net.connections() == 0);
    assert_eq!(open_sockets(server.address.port()), before);
}

/// Sockets with this local port that some process holds open.
fn open_sockets(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a Linux host");
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&format!(":{port:04X}")) && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_open).count()
}

fn a_stopped_listener_refuses_and_keeps_its_connections(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut kept = server.connect();
    server.opened();

    server.ask(0, |net, _| net.stop_accepting());
    server.ask(0, |net, _| net.connections());

    let refused =
        std::net::TcpStream::connect(server.address).and_then(|mut late| late.read(&mut [0; 1]));
    assert!(refused.is_err(), "{refused:?}");
    kept.write_all(&frame(b"me")).expect("room");
    assert_eq!(receive(&mut kept, 6), frame(b"me"));
}

/// After such an end a kernel may go on saying that there is work when there is none.
fn many_bytes_and_the_end_behind_them_cost_no_turns_when_they_are_read(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    for begins in [&frame(&[0; 8 << 20])[..], &[0xff; 8 << 20]] {
        let mut client = server.connect();
        let id = server.opened();
        // What is no frame may be reset before all of it is sent.
        let _ = client.write_all(&begins[..7 << 20]);
        let _ = client.shutdown(Shutdown::Write);
        assert_eq!(server.closed().0, id);
        server.wait_until(0, |net| net.connections() == 0);

        let before = server.turns();
        std::thread::park_timeout(Duration::from_millis(500));

        let turns = server.turns() - before;
        assert!(turns < 200, "{turns} turns for nothing");
    }
}

fn who_goes_on_sending_after_the_end_is_reset(kind: TransportKind) {
    let settings = Settings {
        linger_max: PATIENCE,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut client = server.connect();

    let sent = (0..64).try_for_each(|_| client.write_all(&[0xff; 1 << 20]));

    assert!(sent.is_err(), "it was not read to its end");
    let read = server.ask(0, |net, _| net.traffic().bytes_in);
    // The kernel has filled buffers ahead.
    assert!(read < 16 << 20, "{read} bytes");
    server.wait_until(0, |net| net.connections() == 0);
}
