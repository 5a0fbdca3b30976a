//! The machine under the measurement: which CPU serves which side, how we rank among other programs, and what a reader must know to
//! judge a result.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value as Json, json};

/// How strongly a run asks to be preferred over other programs; everything between it and -20 stays for the kernel's own.
const NICE: i32 = -10;
/// Enough for several servers with 10,000 clients each; more than a user may usually have, so only root gets them.
const DESCRIPTORS: u64 = 100_000;

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// The server's CPU.
    pub(crate) server: usize,
    /// The load generator's.
    pub(crate) client: usize,
}

impl Seats {
    /// The first two CPUs this process may use; one for both sides where there is only one.
    pub(crate) fn of_this_host() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let server = cpus.next().expect("this thread runs somewhere");
        let client = cpus.next().unwrap_or(server);
        Ok(Self { server, client })
    }

    /// Runs `work` on the server's CPU, so that processes it starts stay there, and comes back to the client's.
    pub(crate) fn on_server<R>(self, work: impl FnOnce() -> R) -> io::Result<R> {
        pin(self.server)?;
        let done = work();
        pin(self.client)?;
        Ok(done)
    }
}

/// Keeps this thread, and what it starts from here on, on one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
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

/// What a reader must know about the host.
pub(crate) fn environment(seats: Seats, priority: &str, descriptors: u64) -> Json {
    let first_line = |path: &str| {
        fs::read_to_string(path)
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .unwrap_or_else(|error| error.to_string())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cpus = sched_getaffinity(None).map_or(0, |_| {
        std::thread::available_parallelism().map_or(0, usize::from)
    });
    json!({
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "cpu": cpu,
        "cpus_left_to_the_client": cpus,
        "load_average": first_line("/proc/loadavg"),
        "server_cpu": seats.server,
        "client_cpu": seats.client,
        "priority": priority,
        "descriptors": descriptors,
        "version": env!("CARGO_PKG_VERSION"),
        "command": std::env::args().collect::<Vec<_>>().join(" "),
    })
}
