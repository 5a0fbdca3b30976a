//! What the kernel says about a process: the CPU time it used and the memory it holds.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process so far, also of those that ended, in user and kernel mode, to the nanosecond; zero when it is gone.
#[expect(
    unsafe_code,
    reason = "no safe wrapper reads the CPU clock of another process, and all else counts in ticks or forgets threads that ended"
)]
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let pid = libc::pid_t::try_from(pid).expect("the kernel numbers processes far below");
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both write to the values behind the references and keep nothing.
    let is_read = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    if is_read {
        Duration::new(seconds, nanos)
    } else {
        Duration::ZERO
    }
}

/// What the threads of a process used so far.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// CPU time of all of them.
    pub(crate) cpu: Duration,
    /// CPU time of each, and the time it stood in line for a CPU.
    wanted: BTreeMap<u32, Duration>,
}

impl Threads {
    /// Those of this process; none when it is gone.
    pub(crate) fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        let wanted = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let mut nanos = line.split(' ').map_while(|nanos| nanos.parse().ok());
            let (ran, waited): (u64, u64) = (nanos.next()?, nanos.next()?);
            let id = task.file_name().to_str()?.parse().ok()?;
            Some((id, Duration::from_nanos(ran + waited)))
        });
        Self {
            wanted: wanted.collect(),
            cpu: cpu_time(pid),
        }
    }

    /// How long the busiest of them ran or stood in line since then.
    pub(crate) fn most_wanted_since(&self, before: &Self) -> Duration {
        let since = self.wanted.iter().map(|(id, wanted)| {
            let before = before.wanted.get(id).copied().unwrap_or_default();
            wanted.saturating_sub(before)
        });
        since.max().unwrap_or_default()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_that_ended_still_counts() {
        let me = std::process::id();
        let start = cpu_time(me);

        let busy = std::thread::spawn(move || {
            let from = cpu_time(me);
            while cpu_time(me) - from < Duration::from_millis(20) {}
        });
        busy.join().expect("it only counts");

        assert!(cpu_time(me) - start >= Duration::from_millis(20));
    }

    /// More processes Linux never numbers.
    const LARGEST_PID: u32 = 1 << 22;

    #[test]
    fn a_process_that_is_gone_used_nothing() {
        assert_eq!(cpu_time(LARGEST_PID + 1), Duration::ZERO);
    }
}
