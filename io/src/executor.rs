//! The executors of a process: one pinned data core per CPU it may use, and one control executor beside them.

mod bell;
mod cpus;
pub mod rt;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic;
use std::thread;

use glommio::{
    ExecutorJoinHandle, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement,
};
use rollcall_core::names::CoreId;

pub use self::bell::{Bell, Ringer};
pub use self::cpus::{Cpus, available_cpus};

use crate::sys;

/// Memory that each of an executor's three rings registers for file work.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Entries of an executor's rings.
const RING_DEPTH: usize = 1024;

thread_local! {
    /// Blocking work runs on threads of its own; its panics are results and end nothing.
    static IS_EXECUTOR: Cell<bool> = const { Cell::new(false) };
}

/// A data core that was planned: who it is and where it runs.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its number.
    pub core: CoreId,
    /// The CPU it is pinned to. None where a quota leaves less than all CPUs: pinned to the first ones, the nodes of one host would share
    /// those and leave the others idle.
    pub cpu: Option<usize>,
    /// Whether other cores of this node work on the same.
    pub shares_cpu: bool,
    /// Wakes it.
    pub ringer: Ringer,
}

/// Why an executor did not start.
#[derive(Debug)]
pub enum StartError {
    /// The kernel gave no descriptor.
    Descriptor(io::Error),
    /// No CPU is known to be usable.
    NoCpu,
    /// More cores than can be numbered.
    TooManyCores {
        /// How many were asked for.
        cores: usize,
    },
    /// The runtime refused.
    Runtime {
        /// Name of the executor.
        name: String,
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(error) => write!(
                f,
                "no wake-up descriptor: {error}; raise the limit of open files"
            ),
            Self::NoCpu => write!(f, "no usable CPU: look at the CPU affinity of this process"),
            Self::TooManyCores { cores } => {
                write!(f, "{cores} cores: at most {} are possible", u16::MAX)
            }
            Self::Runtime { name, reason } => write!(f, "executor {name} did not start: {reason}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Seats for `cores` data cores on `cpus`; more cores than CPUs share them in turn. Without a number: as many as the CPUs carry.
pub fn plan_cores(cores: Option<usize>, cpus: &Cpus) -> Result<Vec<Seat>, StartError> {
    if cpus.allowed.is_empty() {
        return Err(StartError::NoCpu);
    }
    let cores = cores.unwrap_or(cpus.count());
    let is_pinned = cpus.quota.is_none();
    let seat = |(index, &cpu): (usize, &usize)| {
        let core = u16::try_from(index).map_err(|_| StartError::TooManyCores { cores })?;
        let ringer = Ringer::new().map_err(StartError::Descriptor)?;
        Ok(Seat {
            core: CoreId(core),
            cpu: is_pinned.then_some(cpu),
            shares_cpu: cores > cpus.count(),
            ringer,
        })
    };
    let seats = cpus.allowed.iter().cycle();
    seats.take(cores).enumerate().map(seat).collect()
}

/// A data core that runs.
pub struct RunningCore(ExecutorJoinHandle<()>);

impl RunningCore {
    /// Waits for the end of its main task.
    pub fn join(self) -> thread::Result<()> {
        match self.0.join() {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new(error.to_string())),
        }
    }
}

/// Starts a data core whose one main task is `main`. Other tasks may run beside it with [`rt::spawn`].
pub fn start_core<M, T>(seat: &Seat, main: M) -> Result<RunningCore, StartError>
where
    M: FnOnce(Bell) -> T + Send + 'static,
    T: Future<Output = ()> + 'static,
{
    let name = format!("core-{}", seat.core.0);
    let Seat {
        ringer, shares_cpu, ..
    } = seat.clone();
    let placement = seat.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let started = builder(&name, placement).spawn(move || async move {
        IS_EXECUTOR.set(true);
        let bell = Bell::new(&ringer).expect("two descriptors for a core that just got its ring");
        main(bell.sharing(shares_cpu)).await;
    });
    started
        .map(RunningCore)
        .map_err(|error| refused(name, &error))
}

/// Runs the control executor on this thread until `main` ends. It is not pinned.
pub fn run_control<M, T, R>(ringer: &Ringer, main: M) -> Result<R, StartError>
where
    M: FnOnce(Bell) -> T,
    T: Future<Output = R> + 'static,
    R: 'static,
{
    let executor: LocalExecutor = builder("control", Placement::Unbound)
        .make()
        .map_err(|error| refused("control".to_owned(), &error))?;
    executor.run(async move {
        IS_EXECUTOR.set(true);
        let bell = Bell::new(ringer).map_err(StartError::Descriptor)?;
        Ok(main(bell).await)
    })
}

fn refused(name: String, error: &GlommioError<()>) -> StartError {
    StartError::Runtime {
        name,
        reason: error.to_string(),
    }
}

fn builder(name: &str, placement: Placement) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        // Blocking work must not share the CPU of a data core.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
}

/// What must happen first in `main`, while the process has one thread: memory barriers are registered, and a panic
/// on any executor ends the process, as its peers would wait for it for ever.
pub fn prepare_process() {
    sys::register_membarrier();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        if IS_EXECUTOR.get() {
            eprintln!("rollcall: a core has panicked, the process ends");
            std::process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::env;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    fn ringer() -> Ringer {
        Ringer::new().expect("a descriptor")
    }

    #[test]
    fn more_cores_than_cpus_share_them_in_turn_and_a_quota_pins_nobody() {
        let cpus = |allowed: &[usize], quota| Cpus {
            allowed: allowed.to_vec(),
            quota,
        };
        let seats = plan_cores(Some(5), &cpus(&[2, 7], None)).expect("two CPUs");

        let placed: Vec<_> = seats.iter().map(|seat| (seat.core.0, seat.cpu)).collect();

        let pinned = [(0, 2), (1, 7), (2, 2), (3, 7), (4, 2)].map(|(core, cpu)| (core, Some(cpu)));
        assert_eq!(placed, pinned);
        assert!(seats.iter().all(|seat| seat.shares_cpu));
        let none = plan_cores(None, &cpus(&[], None));
        assert!(matches!(none, Err(StartError::NoCpu)));
        let of_quota = plan_cores(None, &cpus(&[0, 1, 2, 3], Some(2))).expect("two CPUs");
        assert_eq!(of_quota.len(), 2);
        assert!(
            of_quota
                .iter()
                .all(|seat| seat.cpu.is_none() && !seat.shares_cpu)
        );
    }

    #[test]
    fn a_core_that_always_has_work_lets_other_tasks_run() {
        let ticks = run_control(&ringer(), |mut bell| async move {
            let ticks = Rc::new(Cell::new(0));
            let counted = Rc::clone(&ticks);
            rt::spawn(async move {
                loop {
                    rt::sleep(Duration::from_millis(1)).await;
                    counted.set(counted.get() + 1);
                }
            });
            let started = Clock::monotonic();
            while ticks.get() < 10 && Clock::monotonic().since(started) < Duration::from_secs(10) {
                bell.pass(Clock::monotonic()).await;
            }
            ticks.get()
        });

        assert_eq!(ticks.expect("an executor"), 10);
    }

    #[test]
    fn a_panic_of_blocking_work_is_its_result_and_the_next_work_runs() {
        let results = run_control(&ringer(), |_| async {
            let first = rt::spawn_blocking(|| panic!("planted")).await.map(|()| 0);
            let second = rt::spawn_blocking(|| 7).await;
            (first.is_err(), second.ok())
        });

        assert_eq!(results.expect("an executor"), (true, Some(7)));
    }

    #[test]
    fn a_panic_on_a_core_ends_the_process() {
        const IN_CHILD: &str = "ROLLCALL_TEST_PANICS_ON_A_CORE";
        if env::var_os(IN_CHILD).is_some() {
            prepare_process();
            let seats = plan_cores(Some(1), &available_cpus()).expect("a CPU");
            let core = start_core(&seats[0], |_| async { panic!("planted") }).expect("an executor");
            let _ = core.join();
            return;
        }

        let child = Command::new(env::current_exe().expect("this test"))
            .args([
                "--exact",
                "executor::tests::a_panic_on_a_core_ends_the_process",
            ])
            .env(IN_CHILD, "1")
            .output()
            .expect("a child process");

        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
    }

    #[test]
    fn a_ring_before_the_sleep_ends_it_at_once() {
        let ringer = ringer();
        let rung = ringer.clone();

        let order = run_control(&ringer, |mut bell| async move {
            let order = Rc::new(RefCell::new(Vec::new()));
            let seen = Rc::clone(&order);
            rt::spawn(async move { seen.borrow_mut().push("other task") });
            rung.ring();
            bell.wait(|| true).await;
            order.borrow_mut().push("woken");
            order.take()
        });

        assert_eq!(order.expect("an executor"), ["other task", "woken"]);
    }
}
