//! Servers that do only what must be done, to measure the real one against: raw io_uring, one thread, no registry.

mod floor;
mod ring;
mod toy;

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::target::Kind;

/// Runs a yardstick until it is ended. Speaks of its port as the product does.
pub(crate) fn run(kind: Kind) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    eprintln!(r#"{{"protocol":"bolt","address":"{address}"}}"#);
    eprintln!(r#"{{"message":"ready"}}"#);
    match kind {
        Kind::Floor | Kind::FloorAcks => ring::serve(&listener, floor::Floor::default()),
        Kind::Toy => ring::serve(&listener, toy::Toy),
        _ => Err(io::Error::other(format!("{} is no yardstick", kind.name()))),
    }
}
