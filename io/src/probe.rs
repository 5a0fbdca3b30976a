//! What the host must offer, checked before anything starts: a refusal here is one line that says what to do.

use std::fmt;
use std::fs;
use std::io;

use io_uring::IoUring;

use crate::net::TransportKind;
use crate::net::ring::build_ring;
use crate::sys::{self, LOCKED_MEMORY, OPEN_FILES, ResourceLimit};

/// glommio refuses to start an executor below this.
const LOCKED_MEMORY_BYTES_MIN: u64 = 512 << 10;
/// Descriptors a core uses for itself, with room to spare.
const DESCRIPTORS_PER_CORE: u64 = 32;
/// Descriptors of the process beside connections and cores: logs, files, HTTP.
const DESCRIPTORS_OF_PROCESS: u64 = 128;

/// What the host offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The transport to use.
    pub transport: TransportKind,
    /// Why it is not the ring, if it is not.
    pub ring_refused: Option<String>,
    /// The limit of open files, raised as far as the host lets us.
    pub open_files: u64,
}

/// What keeps this host from running the product.
#[derive(Debug)]
pub enum HostError {
    /// The kernel knows no io_uring.
    NoIoUring,
    /// io_uring is switched off or forbidden.
    IoUringForbidden {
        /// Value of the sysctl `kernel.io_uring_disabled`, if there is one.
        disabled: Option<u32>,
    },
    /// io_uring fails in another way.
    IoUringFails(io::Error),
    /// Too few descriptors for the connections that were configured.
    OpenFiles {
        /// The hard limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// Too little memory may be locked.
    LockedMemory {
        /// The hard limit in bytes.
        limit: u64,
    },
    /// A limit cannot be read or set.
    Limit(io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIoUring => write!(
                f,
                "this kernel has no io_uring: Linux 5.8 is needed, 6.1 recommended"
            ),
            Self::IoUringForbidden {
                disabled: Some(value @ 1..),
            } => {
                write!(
                    f,
                    "io_uring is switched off: kernel.io_uring_disabled is {value}, set it to 0 (sysctl)"
                )
            }
            Self::IoUringForbidden { .. } => write!(
                f,
                "io_uring is forbidden, most likely by the container's seccomp profile: allow io_uring_setup, io_uring_enter and \
                 io_uring_register (docker: --security-opt seccomp=<profile>)"
            ),
            Self::IoUringFails(error) => write!(f, "io_uring cannot be used: {error}"),
            Self::OpenFiles { limit, needed } => write!(
                f,
                "{limit} open files are allowed, {needed} are needed: raise the hard limit (LimitNOFILE=, ulimit -Hn) or configure fewer \
                 connections"
            ),
            Self::LockedMemory { limit } => write!(
                f,
                "{limit} bytes of memory may be locked, {LOCKED_MEMORY_BYTES_MIN} are needed: raise the limit (LimitMEMLOCK=, ulimit -Hl)"
            ),
            Self::Limit(error) => write!(f, "a resource limit cannot be read or raised: {error}"),
        }
    }
}

impl std::error::Error for HostError {}

/// Checks the host for so many data cores and connections, raises soft limits, and picks the transport.
///
/// Say `Host::ring_refused` in the log if it is set. Must run before the executors start.
pub fn probe(cores: usize, connections: usize) -> Result<Host, HostError> {
    try_io_uring()?;
    let needed = connections as u64 + cores as u64 * DESCRIPTORS_PER_CORE + DESCRIPTORS_OF_PROCESS;
    let open_files = raise(OPEN_FILES, |limit| {
        if limit.hard < needed {
            return Err(HostError::OpenFiles {
                limit: limit.hard,
                needed,
            });
        }
        Ok(())
    })?;
    raise(LOCKED_MEMORY, |limit| {
        if limit.hard < LOCKED_MEMORY_BYTES_MIN {
            return Err(HostError::LockedMemory { limit: limit.hard });
        }
        Ok(())
    })?;
    let ring_refused = build_ring(8, 32)
        .err()
        .map(|error| format!("the ring transport needs Linux 6.1: {error}"));
    let transport = if ring_refused.is_some() {
        TransportKind::Plain
    } else {
        TransportKind::Ring
    };
    Ok(Host {
        transport,
        ring_refused,
        open_files,
    })
}

fn try_io_uring() -> Result<(), HostError> {
    match IoUring::new(8) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(error, io_uring_disabled())),
    }
}

fn explain(error: io::Error, disabled: Option<u32>) -> HostError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => HostError::NoIoUring,
        Some(libc::EPERM | libc::EACCES) => HostError::IoUringForbidden { disabled },
        _ => HostError::IoUringFails(error),
    }
}

fn io_uring_disabled() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Raises the soft limit to the hard one, if `check` is content with it. Answers with what holds then.
fn raise(
    which: libc::__rlimit_resource_t,
    check: impl FnOnce(ResourceLimit) -> Result<(), HostError>,
) -> Result<u64, HostError> {
    let limit = sys::resource_limit(which).map_err(HostError::Limit)?;
    check(limit)?;
    if limit.soft < limit.hard {
        sys::set_resource_limit(
            which,
            ResourceLimit {
                soft: limit.hard,
                ..limit
            },
        )
        .map_err(HostError::Limit)?;
    }
    Ok(limit.hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_descriptors_are_refused_with_both_numbers() {
        let error = probe(2, usize::MAX >> 8).expect_err("nobody has so many");

        assert!(matches!(error, HostError::OpenFiles { .. }), "{error}");
        assert!(error.to_string().contains("LimitNOFILE"), "{error}");
    }

    #[test]
    fn a_host_that_runs_the_tests_runs_the_product() {
        let host = probe(1, 100).expect("a usable host");

        assert_eq!(
            host.transport == TransportKind::Ring,
            host.ring_refused.is_none()
        );
        assert!(host.open_files > 100);
    }

    #[test]
    fn what_forbids_io_uring_is_told_apart() {
        let forbidden = || io::Error::from_raw_os_error(libc::EPERM);

        let switched_off = explain(forbidden(), Some(2)).to_string();
        let filtered = explain(forbidden(), Some(0)).to_string();
        let unknown = explain(io::Error::from_raw_os_error(libc::ENOSYS), None).to_string();

        assert!(
            switched_off.contains("io_uring_disabled is 2"),
            "{switched_off}"
        );
        assert!(filtered.contains("seccomp"), "{filtered}");
        assert!(unknown.contains("no io_uring"), "{unknown}");
    }
}
