//! What is measured: a server process of our own making, or one that runs already.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::args::Common;
use crate::clients::Address;
use crate::host::Seats;
use crate::peers::server;
use crate::process;

/// How long a server may take to say that it listens.
const START_MAX: Duration = Duration::from_secs(30);

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The product.
    Rollcall,
    /// Another build of the product, `ROLLCALL_OTHER`: what a change of it did.
    Other,
    /// Only what the kernel must do for a fan-out: batched sends of a ready frame.
    Floor,
    /// The same, and reading the acknowledgements that this protocol's clients send.
    #[value(name = "floor+acks")]
    FloorAcks,
    /// Decodes the frame of a registration and answers it, nothing else.
    Toy,
    /// Redis, publish and subscribe.
    Redis,
    /// NATS.
    Nats,
    /// etcd, one member, through its JSON gateway.
    Etcd,
    /// ZooKeeper, one server.
    Zookeeper,
    /// r-nacos, one node, by the gRPC protocol of Nacos.
    Rnacos,
    /// SOFARegistry, whose protocol is ours.
    Sofaregistry,
}

impl Kind {
    /// Its name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rollcall => "rollcall",
            Self::Other => "other",
            Self::Floor => "floor",
            Self::FloorAcks => "floor+acks",
            Self::Toy => "toy",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Etcd => "etcd",
            Self::Zookeeper => "zookeeper",
            Self::Rnacos => "rnacos",
            Self::Sofaregistry => "sofaregistry",
        }
    }

    /// Whether others made it: `bench/peers` installs and starts it.
    pub(crate) fn is_peer(self) -> bool {
        matches!(
            self,
            Self::Redis
                | Self::Nats
                | Self::Etcd
                | Self::Zookeeper
                | Self::Rnacos
                | Self::Sofaregistry
        )
    }

    /// Whether its clients speak the protocol of Rollcall, so that every scenario can measure it.
    pub(crate) fn speaks_bolt(self) -> bool {
        !self.is_peer() || self == Self::Sofaregistry
    }

    /// Whether its clients acknowledge pushes.
    pub(crate) fn is_acknowledged(self) -> bool {
        self != Self::Floor
    }

    /// Whether its pushes name the subscriber they are for; a yardstick sends one frame to all.
    pub(crate) fn names_subscribers(self) -> bool {
        matches!(self, Self::Rollcall | Self::Other | Self::Sofaregistry)
    }

    /// Whether it refuses loopback and so runs in a network of its own.
    pub(crate) fn has_own_network(self) -> bool {
        self == Self::Sofaregistry
    }

    /// What a change brings its subscribers.
    pub(crate) fn delivers(self) -> &'static str {
        match self {
            Self::Zookeeper => "notice, then a read",
            _ => "value",
        }
    }

    /// What becomes of a value that was published.
    pub(crate) fn keeps(self) -> &'static str {
        match self {
            Self::Rollcall | Self::Other | Self::Rnacos | Self::Sofaregistry => "in memory",
            Self::Etcd | Self::Zookeeper => "durable",
            _ => "not kept",
        }
    }
}

/// A server to measure; ends with this value if it was started here.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its name in tables.
    pub(crate) name: String,
    /// Where its clients connect.
    pub(crate) address: Address,
    /// Where it tells its metrics, if it does.
    http: Option<SocketAddr>,
    process: Option<Server>,
    _data: Option<TempDir>,
}

impl Target {
    /// The server to measure, then those it is measured against.
    pub(crate) fn all(common: &Common, seats: Seats) -> io::Result<Vec<Self>> {
        let first = Self::first(common, seats)?;
        let others = common
            .vs
            .iter()
            .map(|&kind| Self::start(kind, seats, common.cores));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// The server to measure.
    pub(crate) fn first(common: &Common, seats: Seats) -> io::Result<Self> {
        match common.target {
            Some(address) => Ok(Self::running(address)),
            None => Self::start(common.spawn, seats, common.cores),
        }
    }

    /// A server that runs already, on whatever CPU it likes.
    fn running(address: SocketAddr) -> Self {
        Self {
            kind: Kind::Rollcall,
            name: Kind::Rollcall.name().to_owned(),
            address: address.into(),
            http: None,
            process: None,
            _data: None,
        }
    }

    /// Starts a server on its CPU and waits until it serves.
    pub(crate) fn start(kind: Kind, seats: Seats, cores: usize) -> io::Result<Self> {
        let data = tempfile::tempdir()?;
        let started = if kind.is_peer() {
            start_peer(kind, seats, &data)
        } else {
            start_ours(kind, seats, cores, &data)
        };
        let (process, address, http) = started.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{} did not start: {error}", kind.name()),
            )
        })?;
        Ok(Self {
            kind,
            name: kind.name().to_owned(),
            address,
            http,
            process: Some(process),
            _data: Some(data),
        })
    }

    /// Its process, if it was started here.
    pub(crate) fn id(&self) -> Option<u32> {
        Some(self.process.as_ref()?.0.id())
    }

    /// CPU time it used so far; nothing is known of a server that was not started here.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        Some(process::cpu_time(self.id()?))
    }

    /// A number that it counts.
    pub(crate) fn metric(&self, name: &str) -> io::Result<u64> {
        let nowhere = || io::Error::other(format!("{} tells no metrics", self.name));
        let mut stream = TcpStream::connect(self.http.ok_or_else(nowhere)?)?;
        stream.set_read_timeout(Some(START_MAX))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let sample = text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.parse().ok()
        });
        sample.ok_or_else(|| io::Error::other(format!("{} does not count {name}", self.name)))
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        Some(process::resident_kib(self.id()?))
    }
}

/// A server, where its clients connect, and where it tells its metrics.
type Started = (Server, Address, Option<SocketAddr>);

/// A process of ours; ends with this value, and with this program however that ends.
#[derive(Debug)]
struct Server(Child);

impl Server {
    fn spawn(mut command: Command, seats: Seats) -> io::Result<Self> {
        command.stdin(Stdio::null());
        end_with_this_program(&mut command);
        Ok(Self(seats.on_server(|| command.spawn())??))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that anyone needs after the measurement.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(
    unsafe_code,
    reason = "what a process does between fork and exec is only safe if it allocates nothing and takes no lock"
)]
fn end_with_this_program(command: &mut Command) {
    // SAFETY: one system call and nothing else.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

fn start_ours(kind: Kind, seats: Seats, cores: usize, data: &TempDir) -> io::Result<Started> {
    let mut command = match kind {
        Kind::Rollcall => rollcall(&binary()?, cores, data),
        Kind::Other => rollcall(&other()?, cores, data),
        _ => yardstick(kind)?,
    };
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = Server::spawn(command, seats)?;
    let lines = process.0.stderr.take().map(BufReader::new);
    let ports = listening(lines.expect("it was piped"))?;
    let bolt = ports
        .bolt
        .ok_or_else(|| io::Error::other("no Bolt address in its log"))?;
    Ok((process, bolt.into(), ports.http))
}

fn start_peer(kind: Kind, seats: Seats, data: &TempDir) -> io::Result<Started> {
    if let Err(missing) = server::installed(kind)? {
        return Err(io::Error::other(missing));
    }
    let (command, socket) = server::command(kind, data.path())?;
    let mut process = Server::spawn(command, seats)?;
    let address = server::serving(kind, &mut process.0, socket, data.path())?;
    Ok((process, address, None))
}

fn rollcall(binary: &Path, cores: usize, data: &TempDir) -> Command {
    let mut command = Command::new(binary);
    command.args(["--cores", &cores.to_string()]);
    for port in ["--listen", "--session-http", "--meta-http", "--data-http"] {
        command.args([port, "127.0.0.1:0"]);
    }
    command
        .arg("--data-dir")
        .arg(data.path())
        .args(["--log-format", "json"]);
    command
}

fn other() -> io::Result<PathBuf> {
    let binary = std::env::var_os("ROLLCALL_OTHER").map(PathBuf::from);
    binary.ok_or_else(|| io::Error::other("ROLLCALL_OTHER does not name another build"))
}

fn yardstick(kind: Kind) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["yardstick", kind.name()]);
    Ok(command)
}

/// `ROLLCALL_BINARY`, or what cargo builds with the profile of this program.
fn binary() -> io::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("ROLLCALL_BINARY") {
        return Ok(binary.into());
    }
    let this = std::env::current_exe()?;
    let here = this.parent().map(PathBuf::from).unwrap_or_default();
    let profile = if here.ends_with("debug") {
        "dev"
    } else {
        "release"
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "rollcall",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(here.parent().unwrap_or(&here))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err(io::Error::other(format!(
            "the server does not build: {built}"
        )));
    }
    Ok(here.join("rollcall"))
}

/// Reads the log until the server is ready, and goes on reading so that it never blocks on a full pipe.
fn listening(lines: impl BufRead + Send + 'static) -> io::Result<Ports> {
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut ports = Ports::default();
        let mut last = String::new();
        for line in lines.lines().map_while(Result::ok) {
            ports.hear(&line);
            if line.contains("\"ready\"") {
                let _ = tell.send(Ok(ports));
            }
            if line.contains("\"ERROR\"") {
                eprintln!("server: {line}");
            }
            last = line;
        }
        // Nobody listens any more when it was ready before.
        let _ = tell.send(Err(io::Error::other(last)));
    });
    heard
        .recv_timeout(START_MAX)
        .map_err(|_| io::Error::other(format!("not ready within {START_MAX:?}")))?
}

/// Where a server of ours says that it listens.
#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    bolt: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

impl Ports {
    fn hear(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Json>(line) else {
            return;
        };
        let fields = line.get("fields").unwrap_or(&line);
        let address = || fields.get("address")?.as_str()?.parse().ok();
        match fields.get("protocol").and_then(Json::as_str) {
            Some("bolt") => self.bolt = address().or(self.bolt),
            Some("http") => self.http = address().or(self.http),
            _ => {}
        }
    }
}
