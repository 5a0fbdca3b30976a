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
/// Slots of a lane between two cores; each carries a batch.
pub const LANE_SLOTS: usize = 4;

/// Longest body of an HTTP request: an operator's value or a list of addresses.
pub const HTTP_BODY_BYTES_MAX: usize = 1 << 20;
/// Longest head of an HTTP request; the same is hyper's read buffer. Java clients send all they know in the query.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Most header lines of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Most HTTP connections of one port; further ones are told so and closed.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// How long the head, and again the body, of an HTTP request may take from its first byte.
pub const HTTP_RECEIVE_MAX: Duration = Duration::from_secs(10);
/// How long an HTTP connection is kept open without a request.
pub const HTTP_IDLE_CLOSE: Duration = Duration::from_secs(60);
/// How long a peer may take no byte of an HTTP answer.
pub const HTTP_WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// An HTTP answer over many items goes out in pieces of about this size, so that it is never in memory as a whole.
pub const HTTP_CHUNK_BYTES: usize = 32 << 10;

/// Most addresses that one HTTP request may name.
pub const HTTP_ADDRESSES_MAX: usize = 1_000;

/// Most rows a core gathers for one question before others have their turn.
pub const QUERY_ROWS_MAX: usize = 256;
/// A core ends a slice of rows early, after at least one, when their text reaches this size.
pub const QUERY_SLICE_BYTES_MAX: usize = 1 << 20;

/// Most values that operators may store for configurators.
pub const PROVIDED_VALUES_MAX: usize = 10_000;
/// All stored values together.
pub const PROVIDED_BYTES_MAX: usize = 64 << 20;
/// Most addresses in one list of the blacklist.
pub const BLACKLIST_ADDRESSES_MAX: usize = 10_000;
/// Most client addresses that are off at a time.
pub const CLIENTS_OFF_MAX: usize = 100_000;

const _: () = {
    assert!(HTTP_HEAD_BYTES_MAX >= 8 << 10, "hyper's least buffer");
    assert!(HTTP_BODY_BYTES_MAX < PROVIDED_BYTES_MAX);
    assert!(RECEIVE_BYTES_PER_TURN_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < PARTIAL_BYTES_PER_CORE_MAX);
    assert!(NAME_BYTES_MAX < FRAME_BYTES_MAX);
};
