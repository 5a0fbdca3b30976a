//! The promises of a node, kept by the real binary to real clients: one file per subject.
//!
//! Each scenario runs on a node of one core and on a node of two, because the way of a message differs between them. Nothing sleeps: a test
//! waits for what must come, and proves an absence by something that must come later.
#![forbid(unsafe_code)]

/// Makes two tests of each scenario.
macro_rules! on_one_and_two_cores {
    ($($(#[$doc:meta])* fn $name:ident($cores:ident: usize) $body:block)+) => {$(
        mod $name {
            use super::*;

            $(#[$doc])*
            fn scenario($cores: usize) $body

            #[test]
            fn on_one_core() {
                scenario(1);
            }

            #[test]
            fn on_two_cores() {
                scenario(2);
            }
        }
    )+};
}

/// The value of an option, or the end of a test whose toolchain is absent.
macro_rules! or_skip {
    ($option:expr) => {
        match $option {
            Some(value) => value,
            None => return,
        }
    };
}

mod bad_input;
mod big_lists;
mod claims;
mod clients;
mod closes;
mod crashes;
mod disk;
mod door;
mod drain;
mod http;
mod idle;
mod journal;
mod latency;
mod limits;
mod pushes;
mod recorded;
mod refusals;
mod restart;
mod standstill;
mod start;
mod strings;
