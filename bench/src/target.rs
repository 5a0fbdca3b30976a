//! What is measured: a server process of our own making, or one that runs already.

mod start;

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::args::Common;
use crate::clients::Address;
use crate::host::Seats;
use crate::peers::server;
use crate::process;

pub(crate) use start::Start;

/// How long a server may take to say that it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read at a time.
const ANSWER_PIECE: usize = 64 << 10;

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The product.
    Rollcall,
    /// The product without its journal: what the journal costs.
    #[value(name = "rollcall-unjournaled")]
    Unjournaled,
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
            Self::Unjournaled => "rollcall-unjournaled",
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
        matches!(
            self,
            Self::Rollcall | Self::Unjournaled | Self::Other | Self::Sofaregistry
        )
    }

    /// Whether the protocol, as it serves it, leaves open what Rollcall promises: that no registration is refused, that every later list has
    /// one that was answered, and that no push repeats what the last one showed.
    pub(crate) fn promises_less(self) -> bool {
        self == Self::Sofaregistry
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
            Self::Rollcall | Self::Other => "journaled",
            Self::Unjournaled | Self::Rnacos | Self::Sofaregistry => "in memory",
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
    data: Option<TempDir>,
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
            data: None,
        }
    }

    /// Starts a server on its CPU and waits until it serves.
    pub(crate) fn start(kind: Kind, seats: Seats, cores: usize) -> io::Result<Self> {
        let data = data_directory()?;
        let not_started = |error| not_started(kind, &error);
        let (process, address, http) = if kind.is_peer() {
            let (process, address) = start_peer(kind, seats, &data).map_err(not_started)?;
            (process, address, None)
        } else {
            let (process, start) = start_ours(kind, seats, cores, &data).map_err(not_started)?;
            (process, start.address()?, start.http)
        };
        Ok(Self {
            kind,
            name: kind.name().to_owned(),
            address,
            http,
            process: Some(process),
            data: Some(data),
        })
    }

    /// Kills it without a word and starts it again on what it left behind.
    pub(crate) fn crash(&mut self, seats: Seats, cores: usize) -> io::Result<Start> {
        self.process = None;
        let data = self.data.as_ref().expect("it was started here");
        let (process, start) = start_ours(self.kind, seats, cores, data)
            .map_err(|error| not_started(self.kind, &error))?;
        self.process = Some(process);
        self.address = start.address()?;
        self.http = start.http;
        Ok(start)
    }

    /// Where it keeps what outlives it.
    pub(crate) fn data(&self) -> Option<&Path> {
        Some(self.data.as_ref()?.path())
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

    /// Asks its data port something and reads the answer to its end; says how long that was. Leaves, with an error of its own kind, as
    /// soon as it `is_over`.
    pub(crate) fn ask(&self, question: &[u8], is_over: &AtomicBool) -> io::Result<usize> {
        let nowhere = || io::Error::other(format!("{} answers no questions", self.name));
        let mut stream = TcpStream::connect(self.http.ok_or_else(nowhere)?)?;
        stream.set_read_timeout(Some(START_MAX))?;
        stream.write_all(question)?;
        let (mut buffer, mut len) = (vec![0; ANSWER_PIECE], 0);
        loop {
            let read = stream.read(&mut buffer)?;
            if len == 0 && buffer[..read].get(8..12) != Some(b" 200") {
                let line = String::from_utf8_lossy(&buffer[..read.min(200)]).into_owned();
                return Err(io::Error::other(line));
            }
            if read == 0 {
                return Ok(len);
            }
            if is_over.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            len += read;
        }
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        Some(process::resident_kib(self.id()?))
    }
}

/// Beside the programs: the directory for temporary files may be memory, where a journal costs nothing.
fn data_directory() -> io::Result<TempDir> {
    let this = std::env::current_exe()?;
    let here = this.parent().unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix("bench-data-")
        .tempdir_in(here)
}

fn not_started(kind: Kind, error: &io::Error) -> io::Error {
    let name = kind.name();
    io::Error::new(error.kind(), format!("{name} did not start: {error}"))
}

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

fn start_ours(
    kind: Kind,
    seats: Seats,
    cores: usize,
    data: &TempDir,
) -> io::Result<(Server, Start)> {
    let mut command = match kind {
        Kind::Rollcall => rollcall(&binary()?, cores, data),
        Kind::Unjournaled => {
            let mut command = rollcall(&binary()?, cores, data);
            command.env("ROLLCALL__DATA__JOURNAL", "off");
            command
        }
        Kind::Other => rollcall(&other()?, cores, data),
        _ => yardstick(kind)?,
    };
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let executed = Instant::now();
    let mut process = Server::spawn(command, seats)?;
    let lines = process.0.stderr.take().map(BufReader::new);
    let start = start::hear(lines.expect("it was piped"), executed)?;
    Ok((process, start))
}

fn start_peer(kind: Kind, seats: Seats, data: &TempDir) -> io::Result<(Server, Address)> {
    if let Err(missing) = server::installed(kind)? {
        return Err(io::Error::other(missing));
    }
    let (command, socket) = server::command(kind, data.path())?;
    let mut process = Server::spawn(command, seats)?;
    let address = server::serving(kind, &mut process.0, socket, data.path())?;
    Ok((process, address))
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
