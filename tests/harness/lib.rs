//! What tests share: the real binary as a process, the published clients as processes, raw clients, and a network that can be cut.
//!
//! The codecs here are written a second time on purpose: a test that used the server's own would agree with its mistakes.
#![forbid(unsafe_code)]

pub mod client;
pub mod drivers;
pub mod frame;
pub mod hessian;
pub mod http;
pub mod ledger;
pub mod messages;
pub mod program;
pub mod raw;
pub mod relay;
pub mod text;

use std::time::{Duration, Instant};

pub use client::{Client, Seen};
pub use drivers::{EVERY_CLIENT, ONE_OF_EACH, Published};
pub use ledger::{Ledger, Random, Witness};
pub use messages::{List, Registration, Zones};
pub use program::{Options, Rollcall};
pub use raw::{Acknowledge, RawClient};
pub use relay::Relay;
pub use text::Text;

/// How long a test waits for what must come. A published client may take 10 s to come back after a restart, and tests share few cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is yes. For what nobody announces, such as a page that shows a count; everything else is waited for.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never so: {what}");
        // A pace, so that the question does not take the cores from whoever should make it true.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
