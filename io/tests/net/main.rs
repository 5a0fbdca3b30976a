//! The network table over real sockets: each test runs over both transports.

mod ends;
mod flow;
mod limits;
mod server;
mod standstill;

/// Makes two tests of each function: over the ring and over plain sockets.
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
pub(crate) use over_both_transports;
