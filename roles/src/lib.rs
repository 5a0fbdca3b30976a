//! What to run where: joins the machines of `rollcall-core` to `rollcall-io`.
//!
//! A reader's way through: [`args`] and [`config`] (what was asked for), [`host`] (whether this machine can do it),
//! [`log`], then [`node`] (the roles on the cores), and around them [`systemd`] and [`error`].
#![forbid(unsafe_code)]

use std::sync::OnceLock;

pub mod admin;
pub mod args;
mod cancelling;
mod clock;
mod complaints;
pub mod config;
pub mod connections;
mod control;
mod driver;
pub mod error;
mod framing;
pub mod host;
pub mod journal;
mod lanes;
pub mod log;
pub mod metrics;
pub mod node;
mod operators;
mod ports;
mod questions;
mod recovery;
mod session;
pub mod systemd;

/// Version, platform and kind of build: `0.1.0 (linux x86_64, release)`.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        use std::env::consts::{ARCH, OS};
        let kind = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        format!("{} ({OS} {ARCH}, {kind})", env!("CARGO_PKG_VERSION"))
    })
}
