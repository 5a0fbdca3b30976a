//! The wire against recordings of the Java and Node implementations, and against senders who mean harm.
//!
//! The recordings are in `tests/golden`; `ROLLCALL_GOLDEN` names another folder of the same format.
#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing has failed, and says where"
)]

mod allocation;
mod frames;
mod golden;
mod hostile;
mod messages;
mod mutations;
mod values;

#[path = "../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a library of its own for the fuzz targets"
)]
mod entry_points;
