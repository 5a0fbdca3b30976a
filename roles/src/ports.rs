//! Everything that a node listens on, bound before anything starts.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use rollcall_io::http::HttpListener;
use rollcall_io::listener::{self, ListenError, Listening};

use crate::admin::Role;
use crate::config::{Config, Listen};

/// How often another port is tried where the system chose one that is taken at the second address.
const CHOICES: usize = 16;

/// The ports of a node.
pub(crate) struct Ports {
    /// Where clients connect; the first is the one that they are told.
    pub(crate) bolt: Vec<SocketAddr>,
    /// The listeners of each core.
    pub(crate) clients: Vec<Vec<TcpListener>>,
    /// What speaks HTTP, for each role.
    pub(crate) http: Vec<(Role, Vec<HttpListener>)>,
}

/// A port that cannot be listened on, and what to do.
#[derive(Debug)]
pub(crate) struct NotBound(String);

impl fmt::Display for NotBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ports {
    /// Takes all ports, or none.
    pub(crate) fn bind(config: &Config, cores: usize) -> Result<Self, NotBound> {
        let bolt = bind_both(
            config.session.listen,
            |address| listener::bind_all(address, cores),
            |bound| bound.address.port(),
        );
        let bolt = bolt.map_err(|error| NotBound(error.to_string()))?;
        let roles = [
            (Role::Session, config.session.http),
            (Role::Meta, config.meta.http),
            (Role::Data, config.data.http),
        ];
        let mut http = Vec::new();
        for (role, listen) in roles {
            let bound = bind_both(listen, bind_http, |bound| bound.local_addr().port())?;
            http.push((role, bound));
        }
        Ok(Self {
            bolt: bolt.iter().map(|bound| bound.address).collect(),
            clients: by_core(bolt, cores),
            http,
        })
    }
}

fn bind_http(address: SocketAddr) -> Result<HttpListener, NotBoundHttp> {
    HttpListener::bind(address).map_err(|error| NotBoundHttp { address, error })
}

#[derive(Debug)]
struct NotBoundHttp {
    address: SocketAddr,
    error: io::Error,
}

impl From<NotBoundHttp> for NotBound {
    fn from(NotBoundHttp { address, error }: NotBoundHttp) -> Self {
        Self(format!(
            "{address} cannot be listened on: {error}; stop what listens there or configure another port"
        ))
    }
}

/// Whether another port might be had.
trait IsInUse {
    fn is_in_use(&self) -> bool;
}

impl IsInUse for NotBoundHttp {
    fn is_in_use(&self) -> bool {
        self.error.kind() == ErrorKind::AddrInUse
    }
}

impl IsInUse for ListenError {
    fn is_in_use(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

/// Binds where `listen` says: one address, or both loopbacks on the same port if this host has both.
fn bind_both<T, E: IsInUse>(
    listen: Listen,
    bind: impl Fn(SocketAddr) -> Result<T, E>,
    port: impl Fn(&T) -> u16,
) -> Result<Vec<T>, E> {
    let mut choices = 0;
    loop {
        choices += 1;
        let first = bind(listen.first())?;
        let second = listen.second(port(&first)).filter(|_| has_ipv6_loopback());
        match second.map(&bind).transpose() {
            Ok(second) => return Ok([first].into_iter().chain(second).collect()),
            Err(error) if error.is_in_use() && listen.port() == 0 && choices < CHOICES => {}
            Err(error) => return Err(error),
        }
    }
}

fn has_ipv6_loopback() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Each core has one listener of every address.
fn by_core(bound: Vec<Listening>, cores: usize) -> Vec<Vec<TcpListener>> {
    let mut by_core: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
    for Listening { listeners, .. } in bound {
        for (core, listener) in by_core.iter_mut().zip(listeners) {
            core.push(listener);
        }
    }
    by_core
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_for_this_host_answers_both_loopbacks_on_one_number() {
        let config = Config::load(
            None,
            [
                (
                    "ROLLCALL__SESSION__LISTEN".to_owned(),
                    "localhost:0".to_owned(),
                ),
                (
                    "ROLLCALL__SESSION__HTTP".to_owned(),
                    "localhost:0".to_owned(),
                ),
                ("ROLLCALL__META__HTTP".to_owned(), "127.0.0.1:0".to_owned()),
                ("ROLLCALL__DATA__HTTP".to_owned(), "127.0.0.1:0".to_owned()),
            ],
            [],
        );

        let ports = Ports::bind(&config.expect("valid"), 2).expect("free ports");

        let addresses = if has_ipv6_loopback() { 2 } else { 1 };
        assert_eq!(ports.bolt.len(), addresses);
        assert!(
            ports
                .bolt
                .iter()
                .all(|bolt| bolt.port() == ports.bolt[0].port())
        );
        assert!(ports.clients.iter().all(|core| core.len() == addresses));
        assert_eq!(ports.http[0].1.len(), addresses);
        for bolt in &ports.bolt {
            std::net::TcpStream::connect(bolt).expect("it listens");
        }
    }
}
