//! Bounds: each is met by a test that goes beyond it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rollcall_io::net::{Admission, EndedBy, Reason, Settings, TransportKind};

use crate::over_both_transports;
use crate::server::{Reply, Seen, Server, frame, receive};

over_both_transports!(
    an_ipv4_client_of_a_listener_for_both_has_an_ipv4_address,
    a_reader_that_takes_nothing_is_bounded_and_cut,
    a_reader_that_owes_too_much_is_cut,
    room_is_told_to_whoever_asked_for_it,
    begun_frames_share_one_budget_and_the_largest_is_cut,
    many_small_frames_that_do_not_end_cost_no_large_one_that_does,
    readers_that_owe_too_much_together_are_cut_and_no_other,
    a_list_that_many_readers_owe_counts_once,
    a_connection_beyond_the_limit_is_refused_and_counted,
    a_full_core_accepts_again_when_a_connection_ends,
);

fn a_reader_that_takes_nothing_is_bounded_and_cut(kind: TransportKind) {
    let settings = Settings {
        write_stall_max: Duration::from_millis(500),
        owed_bytes_max: 64 << 10,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut client = server.connect_with_small_window();
    let id = server.opened();
    let request = frame(&[b'r'; 10_000]);

    client.set_nonblocking(true).expect("an open socket");
    let mut owed_most = 0;
    let ended_by = loop {
        // The server stops reading when its answers find no room, so that our own writes come to a halt.
        while client.write(&request).is_ok() {}
        let facts = server.ask(0, move |net, _| net.facts(id));
        owed_most = owed_most.max(facts.map_or(0, |facts| facts.owed_bytes));
        let ended = server.seen.try_iter().find_map(|seen| match seen {
            Seen::Closed(_, ended_by) => Some(ended_by),
            _ => None,
        });
        if let Some(ended_by) = ended {
            break ended_by;
        }
    };

    assert_eq!(ended_by, EndedBy::Us(Reason::Stalled));
    assert!(
        owed_most <= (64 << 10) + request.len(),
        "owed {owed_most} bytes"
    );
    assert!(owed_most > 0);
}

fn a_reader_that_owes_too_much_is_cut(kind: TransportKind) {
    let settings = Settings {
        owed_bytes_cut: 1 << 20,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Nothing, &settings);
    let _client = server.connect_with_small_window();
    let id = server.opened();

    while server.ask(0, move |net, _| {
        let out = net.out(id);
        let is_open = out.is_some();
        out.into_iter()
            .for_each(|out| out.bytes().extend_from_slice(&[0; 100_000]));
        is_open
    }) {}

    assert_eq!(server.closed(), (id, EndedBy::Us(Reason::SlowReader)));
}

fn room_is_told_to_whoever_asked_for_it(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Nothing, &Settings::default());
    let mut client = server.connect_with_small_window();
    let id = server.opened();

    let mut appended = 0;
    while server.ask(0, move |net, _| {
        let out = net.out(id).expect("an open connection");
        out.bytes().extend_from_slice(&[5; 100_000]);
        out.has_room()
    }) {
        appended += 100_000;
    }
    receive(&mut client, appended + 100_000);

    server.wait_for(|seen| (*seen == Seen::Writable(id)).then_some(()));
    assert!(server.ask(0, move |net, _| {
        net.out(id).expect("an open connection").has_room()
    }));
}

fn begun_frames_share_one_budget_and_the_largest_is_cut(kind: TransportKind) {
    let settings = Settings {
        partial_bytes_max: 100_000,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut small = server.connect();
    let small_id = server.opened();
    let mut large = server.connect();
    let large_id = server.opened();
    let message = frame(&[1; 10_000]);
    small.write_all(&message[..5_000]).expect("room");
    server.wait_until(0, move |net| {
        net.facts(small_id)
            .is_some_and(|facts| facts.bytes_in == 5_000)
    });

    // It may be cut while it still writes.
    let _ = large.write_all(&frame(&[2; 1_000_000])[..500_000]);

    assert_eq!(
        server.closed(),
        (large_id, EndedBy::Us(Reason::PartialLimit))
    );
    small.write_all(&message[5_000..]).expect("room");
    assert_eq!(receive(&mut small, message.len()), message);
}

fn many_small_frames_that_do_not_end_cost_no_large_one_that_does(kind: TransportKind) {
    const SMALL: usize = 4_000;
    let settings = Settings {
        partial_bytes_max: 101 * SMALL,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let mut begun: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut begun {
        let unfinished = &frame(&[1; 10_000])[..SMALL];
        client.write_all(unfinished).expect("room");
    }
    server.wait_until(0, |net| net.partial_bytes() == 100 * SMALL);
    let mut large = server.connect();
    let message = frame(&[2; 120_000]);

    for piece in message.chunks(10_000) {
        large.write_all(piece).expect("it is not cut");
        server.ask(0, |net, _| net.connections());
    }

    assert_eq!(receive(&mut large, message.len()), message);
    assert_eq!(server.closed().1, EndedBy::Us(Reason::PartialLimit));
}

fn readers_that_owe_too_much_together_are_cut_and_no_other(kind: TransportKind) {
    let settings = Settings {
        owed_bytes_per_core_max: 10_000_000,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Nothing, &settings);
    let mut modest = server.connect_with_small_window();
    let modest_id = server.opened();
    let queue = |id, bytes: usize| {
        server.ask(0, move |net, _| {
            let out = net.out(id).expect("an open connection");
            out.bytes().resize(bytes, 7);
        });
    };
    let greedy: Vec<_> = (0..4)
        .map(|_| (server.connect_with_small_window(), server.opened()))
        .collect();
    queue(modest_id, 1_000_000);

    for (_, id) in &greedy {
        queue(*id, 4_000_000);
    }

    for _ in 0..2 {
        let (id, ended_by) = server.closed();
        assert_ne!(id, modest_id);
        assert_eq!(ended_by, EndedBy::Us(Reason::SlowReader));
    }
    server.wait_until(0, |net| net.owed_bytes() == 9_000_000);
    receive(&mut modest, 1_000_000);
    server.wait_until(0, |net| net.owed_bytes() == 8_000_000);
    drop(greedy);
    server.wait_until(0, |net| net.owed_bytes() == 0);
}

fn a_list_that_many_readers_owe_counts_once(kind: TransportKind) {
    let list = vec![3; 4 << 20];
    let settings = Settings {
        owed_bytes_per_core_max: 2 * list.len(),
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::WithBody(list.clone()), &settings);
    let request = frame(b"list");
    let mut readers: Vec<_> = (0..10)
        .map(|_| server.connect_with_small_window())
        .collect();

    for reader in &mut readers {
        reader.write_all(&request).expect("room");
    }

    let all = list.len() + 10 * request.len();
    server.wait_until(0, move |net| net.owed_bytes() == all);
    for reader in &mut readers {
        receive(reader, request.len() + list.len());
    }
    server.wait_until(0, |net| net.owed_bytes() == 0);
}

fn a_connection_beyond_the_limit_is_refused_and_counted(kind: TransportKind) {
    let server = Server::start_with(
        kind,
        1,
        &Reply::Echo,
        &Settings::default(),
        Admission::new(2, 0),
    );
    let clients = [server.connect(), server.connect()];
    server.opened();
    server.opened();

    let mut refused = server.connect();

    let error = refused.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        server.ask(0, |net, _| (net.connections(), net.traffic().refused)),
        (2, 1)
    );
    drop(clients);
    server.wait_until(0, |net| net.connections() == 0);
    let mut welcome = server.connect();
    welcome.write_all(&frame(b"in")).expect("room");
    assert_eq!(receive(&mut welcome, 6), frame(b"in"));
}

fn a_full_core_accepts_again_when_a_connection_ends(kind: TransportKind) {
    let settings = Settings {
        connections_max: 2,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let first = server.connect();
    let _second = server.connect();
    server.opened();
    server.opened();
    // Two turns, so that the cancelled accept has ended.
    server.ask(0, |net, _| net.connections());
    server.ask(0, |net, _| net.connections());

    let mut waiting = server.connect();
    waiting
        .write_all(&frame(b"patient"))
        .expect("room in the kernel");
    assert_eq!(server.ask(0, |net, _| net.connections()), 2);
    drop(first);

    assert_eq!(receive(&mut waiting, 11), frame(b"patient"));
}

fn an_ipv4_client_of_a_listener_for_both_has_an_ipv4_address(kind: TransportKind) {
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let settings = Settings::default();
    let server = Server::start_at(
        all,
        (kind, 1),
        &Reply::Echo,
        &settings,
        Admission::new(0, 0),
    );
    let port = server.address.port();

    for ours in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ] {
        let client = TcpStream::connect(ours).expect("a listener");
        let id = server.opened();

        let facts = server
            .ask(0, move |net, _| net.facts(id))
            .expect("it is open");

        assert_eq!(facts.peer, client.local_addr().expect("a connected socket"));
    }
}
