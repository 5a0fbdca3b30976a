//! How it moves: the only crate that knows glommio and io_uring.

pub mod http;
