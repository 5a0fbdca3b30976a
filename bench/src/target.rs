//! What is measured: a server process of our own making, or one that runs already.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::args::Common;
use crate::host::Seats;
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
        }
    }

    /// Whether its clients acknowledge pushes.
    pub(crate) fn is_acknowledged(self) -> bool {
        self != Self::Floor
    }

    /// Whether its pushes name the subscriber they are for; a yardstick sends one frame to all.
    pub(crate) fn names_subscribers(self) -> bool {
        matches!(self, Self::Rollcall | Self::Other)
    }
}

/// A server to measure; ends with this value if it was started here.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where its clients connect.
    pub(crate) address: SocketAddr,
    process: Option<Child>,
    _data: Option<TempDir>,
}

impl Target {
    /// The server to measure, then those it is measured against.
    pub(crate) fn all(common: &Common, seats: Seats) -> io::Result<Vec<Self>> {
        let first = match common.target {
            Some(address) => Self::running(address),
            None => Self::start(common.spawn, seats, common.cores)?,
        };
        let others = common
            .vs
            .iter()
            .map(|&kind| Self::start(kind, seats, common.cores));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// A server that runs already, on whatever CPU it likes.
    fn running(address: SocketAddr) -> Self {
        Self {
            kind: Kind::Rollcall,
            address,
            process: None,
            _data: None,
        }
    }

    /// Starts a server on its CPU and waits until it listens.
    pub(crate) fn start(kind: Kind, seats: Seats, cores: usize) -> io::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut command = match kind {
            Kind::Rollcall => rollcall(&binary()?, cores, &data),
            Kind::Other => rollcall(&other()?, cores, &data),
            Kind::Floor | Kind::FloorAcks | Kind::Toy => yardstick(kind)?,
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = seats.on_server(|| command.spawn())??;
        let lines = process.stderr.take().map(BufReader::new);
        let address = listening(lines.expect("it was piped"));
        let address = address.map_err(|error| {
            let _ = process.kill();
            io::Error::other(format!("{} did not start: {error}", kind.name()))
        })?;
        Ok(Self {
            kind,
            address,
            process: Some(process),
            _data: Some(data),
        })
    }

    /// CPU time it used so far; nothing is known of a server that was not started here.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        Some(process::cpu_time(self.process.as_ref()?.id()))
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        Some(process::resident_kib(self.process.as_ref()?.id()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It holds nothing that anyone needs after the measurement.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
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
fn listening(lines: impl BufRead + Send + 'static) -> io::Result<SocketAddr> {
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut address = None;
        let mut last = String::new();
        for line in lines.lines().map_while(Result::ok) {
            if let Some(found) = bolt_address(&line) {
                address = Some(found);
            }
            if line.contains("\"ready\"") {
                let _ = tell
                    .send(address.ok_or_else(|| io::Error::other("no Bolt address in its log")));
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

fn bolt_address(line: &str) -> Option<SocketAddr> {
    let line: Json = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    if fields.get("protocol")? != "bolt" {
        return None;
    }
    fields.get("address")?.as_str()?.parse().ok()
}
