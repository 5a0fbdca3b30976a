//! How many connections a process takes, in all and from one address; shared by its cores.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counts and their limits; a limit of 0 is none.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    connections: AtomicUsize,
    /// Kept only if there is a limit, and never for loopback. At most one entry per connection.
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Which limit refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process has all it may have.
    Connections {
        /// The limit.
        limit: usize,
    },
    /// The address has all it may have.
    Address {
        /// Which one.
        address: IpAddr,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections { limit } => {
                write!(f, "{limit} connections are open, which is the limit")
            }
            Self::Address { address, limit } => write!(
                f,
                "{limit} connections from {address} are open, which is the limit"
            ),
        }
    }
}

impl Admission {
    /// Nothing open yet.
    pub fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self {
            connections_max,
            per_address_max,
            connections: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }
    }

    /// Connections of the process.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, address: IpAddr) -> Result<(), Refusal> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let result = if self.connections_max > 0 && before >= self.connections_max {
            Err(Refusal::Connections {
                limit: self.connections_max,
            })
        } else {
            self.enter_address(address)
        };
        if result.is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    fn enter_address(&self, address: IpAddr) -> Result<(), Refusal> {
        if !self.counts(address) {
            return Ok(());
        }
        let mut per_address = self
            .per_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = per_address.entry(address).or_default();
        if *count >= self.per_address_max {
            return Err(Refusal::Address {
                address,
                limit: self.per_address_max,
            });
        }
        *count += 1;
        Ok(())
    }

    pub(crate) fn leave(&self, address: IpAddr) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if !self.counts(address) {
            return;
        }
        let mut per_address = self
            .per_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = per_address.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn counts(&self, address: IpAddr) -> bool {
        self.per_address_max > 0 && !address.to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_at_its_limit_does_not_hinder_another() {
        let admission = Admission::new(0, 1);
        assert_eq!(admission.enter(address(1)), Ok(()));

        let again = admission.enter(address(1));

        assert_eq!(
            again,
            Err(Refusal::Address {
                address: address(1),
                limit: 1
            })
        );
        assert_eq!(admission.enter(address(2)), Ok(()));
        admission.leave(address(1));
        assert_eq!(admission.enter(address(1)), Ok(()));
        assert_eq!(admission.connections(), 2);
    }

    #[test]
    fn loopback_has_no_limit_per_address() {
        let admission = Admission::new(0, 1);
        let mapped = "::ffff:127.0.0.1".parse().expect("an address");

        for address in [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([127, 0, 0, 1]),
            mapped,
            mapped,
        ] {
            assert_eq!(admission.enter(address), Ok(()));
        }
    }

    #[test]
    fn the_limit_of_all_refuses_and_counts_no_refused_one() {
        let admission = Admission::new(1, 0);
        assert_eq!(admission.enter(address(1)), Ok(()));

        assert_eq!(
            admission.enter(address(2)),
            Err(Refusal::Connections { limit: 1 })
        );
        assert_eq!(admission.connections(), 1);
    }
}
