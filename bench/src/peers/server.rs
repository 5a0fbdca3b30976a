//! Servers of others: started by the scripts of `bench/peers`, in the foreground, so that what is measured and ended is the server itself.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::clients::Address;
use crate::interrupt;
use crate::network::{self, Visit};
use crate::target::Kind;

/// How long a server may take until it serves: a Java virtual machine on a busy CPU takes most of it.
const START_MAX: Duration = Duration::from_secs(120);
/// Time between two looks whether a server serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a server may take to answer a look.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// SOFARegistry refuses loopback: this is its address in a network of its own.
const OWN_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// A question to a port, and a text that is in the answer when the server serves.
type Look = (u16, &'static str, &'static str);

/// The version that is installed; why there is none otherwise.
pub(crate) fn installed(kind: Kind) -> io::Result<Result<String, String>> {
    let output = Command::new(script(kind)).arg("check").output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

/// The command that starts a server, and where it will listen.
pub(crate) fn command(kind: Kind, folder: &Path) -> io::Result<(Command, SocketAddr)> {
    let address = if kind.has_own_network() {
        SocketAddr::from((OWN_NETWORK, 9600))
    } else {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?
    };
    let mut command = Command::new(script(kind));
    command.args(["start", &address.port().to_string()]);
    command.arg(folder);
    let log = File::create(log(folder))?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok((command, address))
}

/// Waits until the server serves.
pub(crate) fn serving(
    kind: Kind,
    process: &mut Child,
    socket: SocketAddr,
    folder: &Path,
) -> io::Result<Address> {
    let address = Address {
        socket,
        network_of: kind.has_own_network().then(|| process.id()),
    };
    let deadline = Instant::now() + START_MAX;
    let looks = looks(kind, socket.port());
    while !looks.iter().all(|look| answers(address, *look)) {
        interrupt::check()?;
        if let Some(status) = process.try_wait()? {
            return Err(io::Error::other(format!(
                "it ended with {status}: {}",
                last_line(folder)
            )));
        }
        if Instant::now() > deadline {
            let last = last_line(folder);
            return Err(io::Error::other(format!(
                "not ready within {START_MAX:?}: {last}"
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(address)
}

fn script(kind: Kind) -> PathBuf {
    let name = format!("{}.sh", kind.name());
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn last_line(folder: &Path) -> String {
    let log = fs::read_to_string(log(folder)).unwrap_or_default();
    let last = log.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").to_owned()
}

fn looks(kind: Kind, port: u16) -> Vec<Look> {
    const HEALTH: &str = "GET /health/check HTTP/1.0\r\n\r\n";
    match kind {
        Kind::Redis => vec![(port, "PING\r\n", "+PONG")],
        Kind::Nats => vec![(port, "", "INFO ")],
        // The server's first words in HTTP/2 are its settings; they need no question, but the client's own.
        Kind::Rnacos => vec![(
            port,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            "\x04",
        )],
        Kind::Zookeeper => vec![(port, "srvr", "Mode: standalone")],
        Kind::Etcd => vec![(port, "GET /health HTTP/1.0\r\n\r\n", r#""health":"true""#)],
        Kind::Sofaregistry => vec![
            (9615, HEALTH, " 200 "),
            (9622, HEALTH, " 200 "),
            (9603, HEALTH, " 200 "),
            // Its list of servers fills about a second later.
            (
                9603,
                "GET /api/servers/query HTTP/1.0\r\n\r\n",
                "10.99.0.1:9600",
            ),
        ],
        _ => Vec::new(),
    }
}

fn answers(address: Address, (port, question, wanted): Look) -> bool {
    let ask = || -> io::Result<bool> {
        if address.network_of.is_some_and(network::is_ours) {
            return Ok(false);
        }
        let _there = address.network_of.map(Visit::to).transpose()?;
        let socket = SocketAddr::new(address.socket.ip(), port);
        let mut stream = TcpStream::connect_timeout(&socket, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            let len = stream.read(&mut part)?;
            answer.extend_from_slice(&part[..len]);
            if String::from_utf8_lossy(&answer).contains(wanted) {
                return Ok(true);
            }
            if len == 0 {
                return Ok(false);
            }
        }
    };
    // Whatever goes wrong, it does not serve yet.
    ask().unwrap_or(false)
}
