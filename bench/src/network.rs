//! The network of another process, for as long as sockets are made there.
//!
//! A server that must not use loopback runs in a network namespace of its own, which ends with it. A socket stays in the namespace in which it
//! was made, so that only making it needs a visit.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// This thread is in the network of another process until this value is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    home: File,
}

impl Visit {
    /// Enters the network of a process.
    pub(crate) fn to(process: u32) -> io::Result<Self> {
        let home = File::open("/proc/thread-self/ns/net")?;
        let there = File::open(format!("/proc/{process}/ns/net"))?;
        enter(there.as_fd())?;
        Ok(Self { home })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        enter(self.home.as_fd()).expect("the thread came from there");
    }
}

/// Whether a process has not left our network yet.
pub(crate) fn is_ours(process: u32) -> bool {
    let inode = |path: &str| fs::metadata(path).map(|network| network.ino()).ok();
    inode(&format!("/proc/{process}/ns/net")) == inode("/proc/thread-self/ns/net")
}

fn enter(network: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        network,
        Some(LinkNameSpaceType::Network),
    )?)
}
