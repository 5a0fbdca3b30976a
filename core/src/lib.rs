//! What is true: the protocol and the decisions of a service registry, as pure functions of (state, now, event).
//!
//! No socket, no clock, no randomness and no `async` in here. A reader's way through: [`machine`] (the one shape of a role),
//! [`names`], [`limits`], then the wire ([`bolt`], [`hessian`], [`message`]), then the machines.
//! [`meta`] holds what operators told, [`query`] is the door for HTTP, [`stats`] counts.
#![forbid(unsafe_code)]

pub mod bolt;
pub mod hessian;
pub mod limits;
pub mod machine;
pub mod message;
pub mod meta;
pub mod names;
pub mod query;
pub mod stats;
