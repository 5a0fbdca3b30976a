//! What the kernel says about a process: the CPU time it used and the memory it holds.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process so far, in user and kernel mode, to the nanosecond; zero when it is gone.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let nanos = tasks.flatten().map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = line.split(' ').next();
        first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// Resident memory in KiB; zero when the process is gone.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Kernel memory of the whole host, in KiB: slab objects, which sockets are made of.
pub(crate) fn kernel_slab_kib() -> u64 {
    field("/proc/meminfo", "Slab:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
