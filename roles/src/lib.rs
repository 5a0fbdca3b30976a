//! What to run where.

pub mod admin;
pub mod metrics;
