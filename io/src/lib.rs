//! How it moves: the only crate that knows glommio and io_uring.
//!
//! A process starts with [`probe`] and [`executor`]: one pinned executor per core and one control executor. Each core runs one loop
//! (`examples/echo.rs` shows it whole): [`net`] gives it the frames of its connections, [`mesh`] the messages of other cores, and when
//! neither has anything it sleeps on its [`executor::Bell`]. [`mod@file`] writes what a restart needs. [`listener`],
//! [`signal`], [`clock`], [`interfaces`] and [`host`] are what else a process needs from its host.
//!
//! What holds here:
//! 1. A connection stays on the core that accepted it, and its id never comes back.
//! 2. Nothing blocks a core, and every buffer has its bound in `rollcall_core::limits`.
//! 3. Memory that the kernel may touch is owned by the transport until the kernel said that it is done.
//! 4. Only [`clock`] reads a clock.

mod cgroup;
pub mod clock;
pub mod executor;
pub mod file;
pub mod host;
pub mod http;
pub mod interfaces;
pub mod listener;
pub mod mesh;
pub mod net;
pub mod probe;
pub mod seldom;
pub mod signal;
mod sys;
