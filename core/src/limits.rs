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
/// Longest field name in a Hessian class definition, in UTF-16 units.
pub const HESSIAN_FIELD_NAME_MAX: usize = 256;
/// Most bytes of one Hessian body that are read again through references: a text of 8 MiB listed by 10,000 references is refused.
pub const HESSIAN_REPEATED_BYTES_MAX: usize = FRAME_BYTES_MAX;
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
/// Slots of a lane between two cores; each carries a batch.
pub const LANE_SLOTS: usize = 4;

const _: () = {
    assert!(RECEIVE_BYTES_PER_TURN_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < PARTIAL_BYTES_PER_CORE_MAX);
    assert!(NAME_BYTES_MAX < FRAME_BYTES_MAX);
};
