//! What is true: the protocol and the decisions of a service registry, as pure functions of (state, now, event).
//!
//! No socket, no clock, no randomness and no `async` in here. The modules stand in reading order: the shape of a machine and
//! the words it uses, the wire, what is stored and said about it, and the machines themselves.
#![forbid(unsafe_code)]

pub mod limits;
pub mod machine;
pub mod names;
pub mod ring;
pub mod tables;
pub mod version;

pub mod bolt;
pub mod hessian;
pub mod message;

pub mod clients;
pub mod exchange;
pub mod publisher;

pub mod data;
pub mod meta;
pub mod session;

pub mod query;
pub mod stats;
