//! Every bound of the product with its reason. Relations between them are checked when this compiles.

use std::time::Duration;

/// Longest Bolt frame taken from a peer, all parts together. The Java client sends values of 1 MiB and more.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// Longest class name in a Bolt frame.
pub const CLASS_NAME_BYTES_MAX: usize = 1 << 10;
/// Deepest nesting of Hessian values; a registration needs four.
pub const HESSIAN_DEPTH_MAX: usize = 64;
/// Most values (of all kinds) in one Hessian body: bounds the work of a body that repeats tiny values.
pub const HESSIAN_VALUES_MAX: usize = 1 << 20;
/// Most class definitions in one Hessian body.
pub const HESSIAN_CLASSES_MAX: usize = 256;
/// Most fields of one Hessian class definition.
pub const HESSIAN_FIELDS_MAX: usize = 256;
/// Longest name: data id, group, instance id, zone, application, registration id; in bytes.
pub const NAME_BYTES_MAX: usize = 1 << 10;
/// Most strings of one publisher.
pub const BOXES_PER_PUBLISHER_MAX: usize = 10_000;

/// How long a connection may stay without a received byte.
pub const IDLE_CLOSE: Duration = Duration::from_secs(90);
/// How long a begun frame may take, before its size is counted.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// Slowest acceptable sender of a large frame: adds a second to the deadline for so many bytes.
pub const FRAME_BYTES_PER_SECOND_MIN: usize = 64 << 10;
/// How long a connection that owes us room in its window may make no progress.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes handled per connection and turn before others have their turn.
pub const RECEIVE_BYTES_PER_TURN_MAX: usize = 64 << 10;
/// All partial frames of one core together; above it the largest and oldest connection is cut.
pub const PARTIAL_BYTES_PER_CORE_MAX: usize = 64 << 20;
/// What a slow reader may owe beyond the frame in flight.
pub const OWED_BYTES_MAX: usize = 256 << 10;
/// From here a connection is cut: the soft bound, and one largest frame that was appended when there was still room.
pub const OWED_BYTES_CUT: usize = OWED_BYTES_MAX + 2 * FRAME_BYTES_MAX;
/// How long a closing connection may take to get rid of what was queued for it.
pub const CLOSE_FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long a connection that we shut waits for the peer's end, so that a reset does not destroy the last answer.
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// How long not to accept after the process ran out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Connections of one core; a completion carries the slot in 24 bits.
pub const CONNECTIONS_PER_CORE_MAX: usize = 1 << 20;
/// Receive buffers shared by all connections of a core; a power of two.
pub const RECEIVE_BUFFERS: u16 = 4096;
/// Bytes of one receive buffer: most frames fit, and all of them together are 8 MiB.
pub const RECEIVE_BUFFER_BYTES: u32 = 2048;
/// Submission slots of a core's ring; what does not fit goes in a further call.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Completion slots of a core's ring.
pub const RING_COMPLETIONS: u32 = 16 * 1024;
/// Completions taken up in one turn.
pub const COMPLETIONS_PER_TURN_MAX: usize = 4096;
/// Parts of one vectored send; the rest goes with the next.
pub const SEND_PARTS_MAX: usize = 32;
/// A shared body below this size is copied behind its prefix. Measured on loopback: up to 4 KiB both cost the same, at 8 KiB a part of its
/// own saves 8 % of a send, at 64 KiB 40 %; and a copy needs no place among the parts.
pub const SHARED_COPY_BELOW: usize = 4 << 10;
/// Buffers of one kind that a core keeps for reuse.
pub const POOLED_BUFFERS_MAX: usize = 16 << 10;
/// Bytes of one kind of buffer that a core keeps for reuse.
pub const POOLED_BYTES_MAX: usize = 16 << 20;
/// Parts or marks of one batch for which it keeps room.
pub const POOLED_PARTS_MAX: usize = 1024;
/// A buffer that grew beyond this is given back to the allocator.
pub const POOLED_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Connections the kernel holds for one listener until we accept them.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Slots of a lane between two cores; each carries a batch.
pub const LANE_SLOTS: usize = 4;
/// A batch that grew beyond this many messages is not used again.
pub const LANE_BATCH_KEPT_MAX: usize = 4096;
/// Messages that may wait for one lane before `try_send` refuses; answers and ends of connections always find room.
pub const OUTBOX_MESSAGES_MAX: usize = 64 << 10;

const _: () = {
    assert!(RECEIVE_BYTES_PER_TURN_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < PARTIAL_BYTES_PER_CORE_MAX);
    assert!(NAME_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(OWED_BYTES_MAX + FRAME_BYTES_MAX <= OWED_BYTES_CUT);
    assert!(CONNECTIONS_PER_CORE_MAX < 1 << 24);
    assert!(RECEIVE_BUFFERS.is_power_of_two());
    assert!(RING_COMPLETIONS >= 4 * RING_SUBMISSIONS);
    assert!(SEND_PARTS_MAX >= 2);
};
