//! The network table over real sockets: each test runs over both transports.

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;

use rollcall_io::net::{Settings, TransportKind};

use self::server::{Reply, Server, frame};

/// Makes two tests of one function: over the ring and over plain sockets.
macro_rules! over_both_transports {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::$name(rollcall_io::net::TransportKind::Ring); })*
        }
        mod plain {
            $(#[test] fn $name() { super::$name(rollcall_io::net::TransportKind::Plain); })*
        }
    };
}

over_both_transports!(frames_split_at_every_byte_come_back_whole);

fn receive(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("an answer in time");
    bytes
}

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
