//! The machine under the measurement: which CPU serves which side, how we rank among other programs, and what a reader must know to
//! judge a result.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::fs::statfs;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value as Json, json};

use crate::report::Report;

/// How strongly a run asks to be preferred over other programs; everything between it and -20 stays for the kernel's own.
const NICE: i32 = -10;
/// Enough for several servers with 10,000 clients each; more than a user may usually have, so only root gets them.
const DESCRIPTORS: u64 = 100_000;

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// The server's CPU.
    pub(crate) server: usize,
    /// A second one of the server, where two cores are measured on a CPU each.
    second: Option<usize>,
    /// The load generator's.
    pub(crate) client: usize,
    /// Two for each side, where there are as many.
    pub(crate) apart: Option<Apart>,
    /// All that this process may use.
    pub(crate) cpus: usize,
}

/// Two CPUs for each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    servers: [usize; 2],
    /// One for each thread of the load generator.
    pub(crate) clients: [usize; 2],
}

impl Seats {
    /// The first two CPUs this process may use; one for both sides where there is only one.
    pub(crate) fn of_this_host() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let cpus: Vec<_> = cpus.collect();
        let server = *cpus.first().expect("this thread runs somewhere");
        let apart = cpus
            .first_chunk()
            .map(|&[first, second, third, fourth]| Apart {
                servers: [first, second],
                clients: [third, fourth],
            });
        Ok(Self {
            server,
            second: None,
            client: cpus.get(1).copied().unwrap_or(server),
            apart,
            cpus: cpus.len(),
        })
    }

    /// The same with the server on two CPUs and this thread on none of them.
    pub(crate) fn with(self, apart: Apart) -> Self {
        Self {
            server: apart.servers[0],
            second: Some(apart.servers[1]),
            client: apart.clients[0],
            ..self
        }
    }

    /// Runs `work` on the server's CPU, so that processes it starts stay there, and comes back to the client's.
    pub(crate) fn on_server<R>(self, work: impl FnOnce() -> R) -> io::Result<R> {
        pin_to(std::iter::once(self.server).chain(self.second))?;
        let done = work();
        pin(self.client)?;
        Ok(done)
    }
}

/// Keeps this thread, and what it starts from here on, on one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    pin_to(std::iter::once(cpu))
}

fn pin_to(cpus: impl Iterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.for_each(|cpu| set.set(cpu));
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets both sides open as many descriptors as the largest scenario needs, or as the host allows; answers with that number.
pub(crate) fn raise_descriptors() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let wanted = [
        Some(DESCRIPTORS.max(limits.maximum.unwrap_or(0))),
        limits.maximum,
    ];
    for limit in wanted {
        let raised = Rlimit {
            current: limit,
            maximum: limit,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return limit.unwrap_or(u64::MAX);
        }
    }
    limits.current.unwrap_or(u64::MAX)
}

/// Asks the scheduler to prefer this run; says in words what was granted. Where sessions are grouped, `nice` alone protects nothing.
pub(crate) fn raise_priority() -> String {
    let nice = setpriority_process(None, NICE).is_ok();
    let grouped = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled")
        .is_ok_and(|enabled| enabled.trim() == "1");
    let group = grouped && fs::write("/proc/self/autogroup", NICE.to_string()).is_ok();
    let word = |granted| if granted { "raised" } else { "not raised" };
    let group = if grouped { word(group) } else { "off" };
    format!("nice {}, autogroup {group}", word(nice))
}

/// Says what makes figures of this host or this build less than they seem.
pub(crate) fn warn(seats: Seats, report: &mut Report) {
    if cfg!(debug_assertions) {
        report.note("debug build: it shows that things work, not how fast".to_owned());
    }
    if seats.server == seats.client {
        report
            .doubt("one CPU for both sides: the load generator takes the server's time".to_owned());
    }
}

/// Whether files in this folder are in memory.
pub(crate) fn is_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|system| system.f_type == libc::TMPFS_MAGIC)
}

/// How busy the host is, over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> Json {
    let line = first_line("/proc/loadavg");
    json!(line.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Lets this thread run as soon as it can, before all others on its CPU that are not real-time themselves; whether that was granted.
#[expect(unsafe_code, reason = "no safe wrapper asks for real-time scheduling")]
pub(crate) fn run_first() -> bool {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: it reads the parameter, which outlives the call, and changes nothing but this thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) == 0 }
}

/// What a reader must know about the host.
pub(crate) fn environment(seats: Seats, priority: &str, descriptors: u64) -> Json {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    json!({
        "command": command_line(),
        "date": said_by("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]),
        "cpu": cpu,
        "cpus": seats.cpus,
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "pinning": format!("server on CPU {}, load generator on CPU {}", seats.server, seats.client),
        "priority": priority,
        "load_average_before": load_average(),
        "descriptors": descriptors,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": said_by("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        "build": build,
        "compiler": said_by("rustc", &["--version"]),
    })
}

/// The command without the folder of the program, which tells a reader nothing.
fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    std::iter::once("rollcall-bench".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.lines().next().unwrap_or_default().to_owned())
        .unwrap_or_else(|error| error.to_string())
}

/// The line that a program prints in the folder of the sources; nothing where it cannot.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| line.trim().to_owned())
}
