//! How it moves: the only crate that knows glommio and io_uring.

pub mod clock;
pub mod executor;
pub mod http;
pub mod listener;
pub mod mesh;
pub mod net;
pub mod probe;
pub mod signal;
mod sys;
