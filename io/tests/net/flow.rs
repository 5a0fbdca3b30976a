//! Bytes and frames on their way: whole, in order, to the right connection, however they are cut.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rollcall_io::net::{EndedBy, Settings, TransportKind};

use crate::over_both_transports;
use crate::server::{Reply, Seen, Server, frame, receive};

over_both_transports!(
    frames_split_at_every_byte_come_back_whole,
    a_large_frame_passes_small_buffers_while_others_are_served,
    more_senders_than_buffers_are_all_served,
    what_was_not_taken_is_offered_again_in_order,
    a_send_that_stops_midway_goes_on_through_shared_parts,
    the_kernel_spreads_connections_over_the_cores,
    frames_before_the_end_of_the_peer_are_delivered,
    an_idle_connection_holds_no_partial_bytes,
);

fn frames_split_at_every_byte_come_back_whole(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut client = server.connect();
    let frames = [frame(b"first"), frame(b""), frame(&[b'x'; 300])].concat();

    for cut in 0..=frames.len() {
        client.write_all(&frames[..cut]).expect("room");
        server.ask(0, |net, _| net.connections());
        client.write_all(&frames[cut..]).expect("room");

        assert_eq!(receive(&mut client, frames.len()), frames, "cut={cut}");
    }
}

fn a_large_frame_passes_small_buffers_while_others_are_served(kind: TransportKind) {
    let settings = Settings {
        receive_buffer_bytes: 2048,
        receive_buffers: 64,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let payload: Vec<u8> = (0..4_u32 << 20)
        .map(|index| ((index * 31) >> 3) as u8)
        .collect();
    let large = frame(&payload);
    let small = frame(b"small");
    let mut others = [server.connect(), server.connect()];
    let mut client = server.connect();

    let mut writer = client.try_clone().expect("a second handle");
    let to_send = large.clone();
    let sending = std::thread::spawn(move || writer.write_all(&to_send));
    let mut answered = Vec::with_capacity(large.len());
    for piece in large.chunks(256 << 10) {
        for other in &mut others {
            other.write_all(&small).expect("room");
            assert_eq!(receive(other, small.len()), small);
        }
        if !answered.is_empty() || sending.is_finished() {
            answered.extend(receive(&mut client, piece.len()));
        }
    }
    answered.extend(receive(&mut client, large.len() - answered.len()));

    assert!(sending.join().expect("no panic").is_ok());
    assert!(answered == large);
}

fn more_senders_than_buffers_are_all_served(kind: TransportKind) {
    let settings = Settings {
        receive_buffers: 2,
        receive_buffer_bytes: 512,
        ..Settings::default()
    };
    let server = Server::start(kind, 1, &Reply::Echo, &settings);
    let payload = frame(&[b'p'; 5_000]);
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();

    for client in &mut clients {
        client.write_all(&payload).expect("room");
    }

    for client in &mut clients {
        assert_eq!(receive(client, payload.len()), payload);
    }
}

fn what_was_not_taken_is_offered_again_in_order(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Pause, &Settings::default());
    let mut client = server.connect();
    let id = server.opened();
    let frames: Vec<_> = (0..200)
        .map(|number: u32| frame(&number.to_be_bytes()))
        .collect();
    let (early, late) = frames.split_at(150);
    client.write_all(&early.concat()).expect("room");
    server.wait_until(0, |net| net.partial_bytes() > 0);
    client.write_all(&late.concat()).expect("room");

    let silent = client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .map(|()| client.read(&mut [0; 8]));
    assert!(
        matches!(silent, Ok(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    );
    client
        .set_read_timeout(Some(crate::server::PATIENCE))
        .expect("a valid time-out");
    server.ask(0, move |net, script| {
        script.reply = Reply::Echo;
        net.resume(id);
    });

    assert_eq!(receive(&mut client, frames.concat().len()), frames.concat());
}

fn a_send_that_stops_midway_goes_on_through_shared_parts(kind: TransportKind) {
    let body: Vec<u8> = (0..300_000_u32)
        .map(|index| (index ^ index >> 7) as u8)
        .collect();
    let server = Server::start(
        kind,
        1,
        &Reply::WithBody(body.clone()),
        &Settings::default(),
    );
    let mut client = server.connect_with_small_window();
    let requests: Vec<_> = (0..40_u8).map(|number| frame(&[number; 10])).collect();
    let expected: Vec<u8> = requests
        .iter()
        .flat_map(|request| [request.as_slice(), &body].concat())
        .collect();

    client.write_all(&requests.concat()).expect("room");
    let answers = receive(&mut client, expected.len());

    assert!(answers == expected);
    let mut sent = 0;
    while sent < requests.len() {
        sent += server.wait_for(|seen| matches!(seen, Seen::Sent(7)).then_some(1));
    }
    let sends = server.ask(0, |net, _| net.traffic().sends);
    assert!(
        sends > 10,
        "{sends} sends cannot have carried {} bytes",
        expected.len()
    );
}

fn the_kernel_spreads_connections_over_the_cores(kind: TransportKind) {
    let server = Server::start(kind, 2, &Reply::Echo, &Settings::default());
    let hello = frame(b"hello");

    let mut clients: Vec<_> = (0..1_000).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(&hello).expect("room");
    }
    for client in &mut clients {
        assert_eq!(receive(client, hello.len()), hello);
    }

    let per_core = [0, 1].map(|core| server.ask(core, |net, _| net.connections()));
    assert_eq!(per_core[0] + per_core[1], 1_000);
    assert!((350..=650).contains(&per_core[0]), "{per_core:?}");
}

fn frames_before_the_end_of_the_peer_are_delivered(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut client = server.connect();
    let frames = frame(b"last words").repeat(1_000);

    client.write_all(&frames).expect("room");
    client.shutdown(Shutdown::Write).expect("an open socket");

    assert_eq!(receive(&mut client, frames.len()), frames);
    assert_eq!(client.read(&mut [0; 8]).expect("an orderly end"), 0);
    assert_eq!(server.closed().1, EndedBy::Peer);
}

fn an_idle_connection_holds_no_partial_bytes(kind: TransportKind) {
    let server = Server::start(kind, 1, &Reply::Echo, &Settings::default());
    let mut client = server.connect();
    let message = frame(&[1; 5_000]);

    client.write_all(&message[..3_000]).expect("room");
    server.wait_until(0, |net| net.partial_bytes() >= 3_000);
    client.write_all(&message[3_000..]).expect("room");
    receive(&mut client, message.len());

    assert_eq!(server.ask(0, |net, _| net.partial_bytes()), 0);
}
