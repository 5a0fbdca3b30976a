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
pub use self::cpus::available_cpus;

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
    /// The CPU it is pinned to.
    pub cpu: usize,
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

/// Seats for `cores` data cores on `cpus`; more cores than CPUs share them in turn. Without a number: one per CPU.
pub fn plan_cores(cores: Option<usize>, cpus: &[usize]) -> Result<Vec<Seat>, StartError> {
    if cpus.is_empty() {
        return Err(StartError::NoCpu);
    }
    let cores = cores.unwrap_or(cpus.len());
    let seat = |(index, &cpu): (usize, &usize)| {
        let core = u16::try_from(index).map_err(|_| StartError::TooManyCores { cores })?;
        let ringer = Ringer::new().map_err(StartError::Descriptor)?;
        Ok(Seat {
            core: CoreId(core),
            cpu,
            ringer,
        })
    };
    cpus.iter()
        .cycle()
        .take(cores)
        .enumerate()
        .map(seat)
        .collect()
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
    let ringer = seat.ringer.clone();
    let started = builder(&name, Placement::Fixed(seat.cpu)).spawn(move || async move {
        IS_EXECUTOR.set(true);
        let bell = Bell::new(&ringer).expect("two descriptors for a core that just got its ring");
        main(bell).await;
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
