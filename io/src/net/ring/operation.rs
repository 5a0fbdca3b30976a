//! What the ring was asked for, packed into the 64 bits that come back with the completion.

use crate::net::transport::Key;

/// The end of an operation, or one more result of one that goes on.
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// What an operation is, in the top byte of its user data; slot and generation follow.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Cancel = 4,
    Timer = 5,
}

impl Operation {
    /// What the user data was made for.
    pub(super) fn of(user_data: u64) -> Option<Self> {
        [
            Self::Accept,
            Self::Receive,
            Self::Send,
            Self::Cancel,
            Self::Timer,
        ]
        .into_iter()
        .find(|operation| *operation as u64 == user_data >> 56)
    }
}

/// What a completion will carry back.
pub(super) fn user_data(operation: Operation, key: Key) -> u64 {
    (operation as u64) << 56 | u64::from(key.slot) << 32 | u64::from(key.generation)
}

/// Whose completion it is.
pub(super) fn key_of(user_data: u64) -> Key {
    Key {
        slot: (user_data >> 32) as u32 & 0x00ff_ffff,
        generation: user_data as u32,
    }
}
