//! Signals as something a task can wait for: the first SIGTERM or SIGINT asks for an ordered stop, the next for an immediate one, SIGHUP
//! for the log's filter to be read again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{register, unregister};

use crate::executor::Ringer;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The first signal: hand over, then end.
    Orderly,
    /// A further one: end at once.
    Immediate,
}

/// Signals since this was made. Usual behaviour comes back when it is dropped.
pub struct Signals {
    received: Arc<AtomicU32>,
    told: u32,
    hung_up: Arc<AtomicU32>,
    reread: u32,
    registered: Vec<SigId>,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP from here on; each rings the executor of `ringer`.
    #[expect(
        unsafe_code,
        reason = "what a signal handler may do is ours to promise"
    )]
    pub fn catch(ringer: &Ringer) -> io::Result<Self> {
        let received = Arc::new(AtomicU32::new(0));
        let hung_up = Arc::new(AtomicU32::new(0));
        let mut registered = Vec::new();
        for (signal, count) in [
            (SIGTERM, &received),
            (SIGINT, &received),
            (SIGHUP, &hung_up),
        ] {
            let (count, ringer) = (Arc::clone(count), ringer.clone());
            let on_signal = move || {
                count.fetch_add(1, Ordering::SeqCst);
                ringer.ring();
            };
            // SAFETY: an atomic addition and a write to a descriptor are all that is done, and both are async-signal-safe.
            registered.push(unsafe { register(signal, on_signal)? });
        }
        Ok(Self {
            received,
            told: 0,
            hung_up,
            reread: 0,
            registered,
        })
    }

    /// What was asked for since the last call. Ask after each wake-up.
    pub fn take(&mut self) -> Option<Stop> {
        let received = self.received.load(Ordering::SeqCst);
        if received == self.told {
            return None;
        }
        let is_first = std::mem::replace(&mut self.told, received) == 0 && received == 1;
        Some(if is_first {
            Stop::Orderly
        } else {
            Stop::Immediate
        })
    }
}

impl Signals {
    /// Whether the log's filter shall be read again, since the last call.
    pub fn take_hangup(&mut self) -> bool {
        let hung_up = self.hung_up.load(Ordering::SeqCst);
        std::mem::replace(&mut self.reread, hung_up) != hung_up
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;
    use crate::executor::run_control;

    #[test]
    fn a_hangup_stops_nothing_and_is_told_once() {
        let ringer = Ringer::new().expect("a descriptor");
        let mut signals = Signals::catch(&ringer).expect("handlers");

        raise(SIGHUP).expect("a signal to ourselves");

        assert!(signals.take_hangup());
        assert!(!signals.take_hangup());
    }

    #[test]
    fn the_second_signal_asks_for_an_immediate_stop() {
        let ringer = Ringer::new().expect("a descriptor");
        let mut signals = Signals::catch(&ringer).expect("handlers");
        assert_eq!(signals.take(), None);

        let stops = run_control(&ringer, |mut bell| async move {
            let mut stops = Vec::new();
            for _ in 0..2 {
                raise(SIGTERM).expect("a signal to ourselves");
                loop {
                    bell.wait(|| true).await;
                    if let Some(stop) = signals.take() {
                        stops.push(stop);
                        break;
                    }
                }
            }
            stops
        });

        assert_eq!(
            stops.expect("an executor"),
            [Stop::Orderly, Stop::Immediate]
        );
    }
}
