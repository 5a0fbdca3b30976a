//! Whether this machine can run a node: kernel, descriptors, locked memory.
//!
//! Found out before anything starts, so that an operator reads one line that says what to do. What only an attempt can
//! tell, io_uring that is switched off or forbidden, or a port that is taken, the start itself reports.

use std::fmt;

use rollcall_core::limits;
use rollcall_io::executor::available_cpus;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Cores};

/// Oldest kernel whose io_uring the executors can use.
const KERNEL_MIN: Kernel = Kernel { major: 5, minor: 8 };
/// Oldest kernel with all that the network ring needs.
const KERNEL_FOR_RING: Kernel = Kernel { major: 6, minor: 1 };
/// Memory that one executor must be able to lock; the runtime refuses to start below it.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// Descriptors of a node beside its cores: the control executor, HTTP listeners, operators' data, the log.
const DESCRIPTORS_OF_NODE: u64 = 64;
/// Descriptors of a core: 13 for its rings, listener and bell, and what its journal opens while a snapshot replaces its log.
const DESCRIPTORS_PER_CORE: u64 = 24;
/// Connections that a core accepts before it looks whether they are too many; each is closed as soon as it did.
const ACCEPTED_AT_ONCE: u64 = 128;
/// Descriptors of all HTTP connections.
const DESCRIPTORS_OF_HTTP: u64 = 3 * limits::HTTP_CONNECTIONS_MAX as u64;
/// Descriptors below which a node would serve too few clients to be of use.
const DESCRIPTORS_MIN: u64 = 1024;

/// What this machine lacks, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub enum HostError {
    /// The kernel has no usable io_uring.
    KernelTooOld {
        /// What runs here.
        release: String,
    },
    /// The limit of open files is too low.
    TooFewDescriptors {
        /// The hard limit.
        have: u64,
        /// What these cores need at least.
        needed: u64,
    },
    /// The limit of locked memory is too low.
    TooLittleLockedMemory {
        /// The hard limit in bytes.
        have: u64,
    },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelTooOld { release } => {
                write!(
                    f,
                    "Linux {release} is too old: {KERNEL_MIN} or later is needed, {KERNEL_FOR_RING} for full speed"
                )
            }
            Self::TooFewDescriptors { have, needed } => write!(
                f,
                "limit of {have} open files is too low: {needed} or more are needed (ulimit -Hn, LimitNOFILE= of the unit)"
            ),
            Self::TooLittleLockedMemory { have } => write!(
                f,
                "limit of {have} bytes of locked memory is too low: {LOCKED_BYTES_MIN} or more are needed (ulimit -Hl, LimitMEMLOCK= of the unit)"
            ),
        }
    }
}

impl std::error::Error for HostError {}

/// What was found out about this machine; limits are the hard ones.
#[derive(Clone, Debug)]
struct Host {
    release: String,
    descriptors: u64,
    locked_bytes: u64,
    /// Data cores that will run on it.
    cores: u64,
}

/// Checks this machine, raises its soft limits to the hard ones, and lowers `connections_max` to what the descriptors allow.
pub fn prepare(config: &mut Config) -> Result<(), HostError> {
    let host = Host {
        release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        descriptors: raise(Resource::Nofile),
        locked_bytes: raise(Resource::Memlock),
        cores: match config.node.cores {
            Cores::All => available_cpus().count() as u64,
            Cores::Count(count) => count.get().into(),
        },
    };
    host.check()?;
    let room = host.connections();
    if room < config.session.connections_max {
        let asked = config.session.connections_max;
        tracing::warn!(
            connections_max = room,
            asked,
            open_files = host.descriptors,
            "connections limited by open files"
        );
        config.session.connections_max = room;
    }
    Ok(())
}

impl Host {
    fn check(&self) -> Result<(), HostError> {
        if Kernel::parse(&self.release) < KERNEL_MIN {
            return Err(HostError::KernelTooOld {
                release: self.release.clone(),
            });
        }
        let needed = DESCRIPTORS_MIN.max(2 * self.own_descriptors());
        if self.descriptors < needed {
            return Err(HostError::TooFewDescriptors {
                have: self.descriptors,
                needed,
            });
        }
        if self.locked_bytes < LOCKED_BYTES_MIN {
            return Err(HostError::TooLittleLockedMemory {
                have: self.locked_bytes,
            });
        }
        Ok(())
    }

    /// What works without any client or question.
    fn own_descriptors(&self) -> u64 {
        DESCRIPTORS_OF_NODE + DESCRIPTORS_PER_CORE * self.cores
    }

    /// What is left to clients, so that they are refused before the journal or an operator finds none.
    fn connections(&self) -> u32 {
        let http = DESCRIPTORS_OF_HTTP.min(self.descriptors / 4);
        let accepted = (ACCEPTED_AT_ONCE * self.cores).min(self.descriptors / 8);
        let left = self.descriptors - self.own_descriptors() - http - accepted;
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

/// Raises the soft limit as far as an ordinary process may, and tells what it is then.
fn raise(resource: Resource) -> u64 {
    let limit = getrlimit(resource);
    let raised = setrlimit(
        resource,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let effective = if raised.is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    effective.unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kernel {
    major: u32,
    minor: u32,
}

impl Kernel {
    /// Of a release such as `6.1.0-18-amd64`; a part that is no number counts as 0.
    fn parse(release: &str) -> Self {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse().unwrap_or(0));
        Self {
            major: numbers.next().unwrap_or(0),
            minor: numbers.next().unwrap_or(0),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able() -> Host {
        Host {
            release: "6.1.0-18-amd64".to_owned(),
            descriptors: 1024,
            locked_bytes: 512 << 10,
            cores: 2,
        }
    }

    #[test]
    fn a_host_with_just_enough_is_taken() {
        let host = able();

        assert_eq!(host.check(), Ok(()));
        assert_eq!(host.connections(), 1024 - 112 - 256 - 128);
    }

    #[test]
    fn each_lack_is_told_with_what_to_do() {
        let lacks = [
            (
                Host {
                    release: "5.4.0".to_owned(),
                    ..able()
                },
                "5.8",
            ),
            (
                Host {
                    descriptors: 1023,
                    ..able()
                },
                "LimitNOFILE",
            ),
            (
                Host {
                    locked_bytes: 64 << 10,
                    ..able()
                },
                "LimitMEMLOCK",
            ),
        ];

        for (host, advice) in lacks {
            let error = host.check().expect_err("a lacking host");
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn clients_get_what_cores_and_http_leave() {
        let host = Host {
            descriptors: 20_000,
            ..able()
        };
        let many_cores = Host {
            cores: 64,
            ..able()
        };

        assert_eq!(host.connections(), 20_000 - 112 - 768 - 256);
        let needed = 2 * (64 + 64 * 24);
        assert_eq!(
            many_cores.check(),
            Err(HostError::TooFewDescriptors { have: 1024, needed })
        );
    }

    #[test]
    fn an_older_kernel_runs_the_plain_transport() {
        let host = Host {
            release: "5.15.0".to_owned(),
            ..able()
        };

        assert_eq!(host.check(), Ok(()));
    }
}
