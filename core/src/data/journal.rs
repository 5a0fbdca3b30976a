//! The journal of a shard: what it holds survives the process.

pub mod manifest;
pub mod record;
pub mod replay;
pub mod segment;
