//! The numbers a network table works with; the product takes them from the limits, tests make them small.

use std::time::Duration;

use rollcall_core::limits;

/// Bounds and time-outs of one core's connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A connection without a received byte for so long is closed.
    pub idle_close: Duration,
    /// How long a begun frame may take, before its size is counted, and how long it may get no byte.
    pub frame_deadline: Duration,
    /// Adds a second to the frame deadline for so many received bytes.
    pub frame_bytes_per_second_min: usize,
    /// How long a send may make no progress.
    pub write_stall_max: Duration,
    /// How long a closing connection may take to get rid of what was queued.
    pub close_flush_max: Duration,
    /// How long a connection that we shut waits for the peer's end.
    pub linger_max: Duration,
    /// Bytes of such a connection that are read and thrown away.
    pub linger_bytes_max: usize,
    /// How long a socket that is being closed may wait for the kernel.
    pub release_max: Duration,
    /// Owed bytes from which `has_room` says no; without the longest body among them, from which no further frame is offered.
    pub owed_bytes_max: usize,
    /// Owed bytes, without the longest body among them, from which a connection is cut.
    pub owed_bytes_cut: usize,
    /// What all connections of this core may owe together.
    pub owed_bytes_per_core_max: usize,
    /// All partial frames of this core together.
    pub partial_bytes_max: usize,
    /// Bytes received per connection and turn before others have their turn.
    pub receive_bytes_per_turn_max: usize,
    /// Connections of this core; at the limit it stops accepting until one ends.
    pub connections_max: usize,
    /// Buffers shared by all connections of this core; a power of two.
    pub receive_buffers: u16,
    /// Bytes of one such buffer.
    pub receive_buffer_bytes: u32,
    /// How long not to accept after the process ran out of descriptors.
    pub accept_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_close: limits::IDLE_CLOSE,
            frame_deadline: limits::FRAME_DEADLINE,
            frame_bytes_per_second_min: limits::FRAME_BYTES_PER_SECOND_MIN,
            write_stall_max: limits::WRITE_STALL_MAX,
            close_flush_max: limits::CLOSE_FLUSH_MAX,
            linger_max: limits::LINGER_MAX,
            linger_bytes_max: limits::LINGER_BYTES_MAX,
            release_max: limits::RELEASE_MAX,
            owed_bytes_max: limits::OWED_BYTES_MAX,
            owed_bytes_cut: limits::OWED_BYTES_CUT,
            owed_bytes_per_core_max: limits::OWED_BYTES_PER_CORE_MAX,
            partial_bytes_max: limits::PARTIAL_BYTES_PER_CORE_MAX,
            receive_bytes_per_turn_max: limits::RECEIVE_BYTES_PER_TURN_MAX,
            connections_max: limits::CONNECTIONS_PER_CORE_MAX,
            receive_buffers: limits::RECEIVE_BUFFERS,
            receive_buffer_bytes: limits::RECEIVE_BUFFER_BYTES,
            accept_retry: limits::ACCEPT_RETRY,
        }
    }
}
