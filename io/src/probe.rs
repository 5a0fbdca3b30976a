//! Whether this host lets io_uring be used, found out by using it: a refusal is one line that says what to do.

use std::fmt;
use std::fs;
use std::io;

use io_uring::IoUring;

use crate::net::TransportKind;
use crate::net::build_ring;

/// What the host offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The transport to use.
    pub transport: TransportKind,
    /// Why it is not the ring, if it is not.
    pub ring_refused: Option<String>,
}

/// What keeps this host from running the product.
#[derive(Debug)]
pub enum HostError {
    /// The call is not there: the kernel was built without it, is older than it, or a sandbox answers in its place.
    NoIoUring,
    /// io_uring is switched off or forbidden.
    IoUringForbidden {
        /// Value of the sysctl `kernel.io_uring_disabled`, if there is one.
        disabled: Option<u32>,
    },
    /// io_uring fails in another way.
    IoUringFails(io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIoUring => write!(
                f,
                "there is no io_uring here: the kernel was built without it (CONFIG_IO_URING), or a sandbox such as gVisor or a seccomp \
                 profile stands in its place; 5.8 has all that is needed, 6.1 is recommended"
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
        }
    }
}

impl std::error::Error for HostError {}

/// Tries io_uring and picks the transport. Say `Host::ring_refused` in the log if it is set.
pub fn probe() -> Result<Host, HostError> {
    try_io_uring()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_runs_the_tests_runs_the_product() {
        let host = probe().expect("a usable host");

        assert_eq!(
            host.transport == TransportKind::Ring,
            host.ring_refused.is_none()
        );
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
        assert!(
            unknown.contains("no io_uring") && unknown.contains("seccomp"),
            "{unknown}"
        );
        assert!(!unknown.contains("too old"), "{unknown}");
    }
}
