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
/// A core that took no turn for so long stood still: asleep, it takes one a second. It judges nobody by that time.
pub const STOOD_STILL_MIN: Duration = Duration::from_secs(2);
/// After a standstill ends of connections wait until nobody has connected for so long ...
pub const CATCH_UP_QUIET: Duration = Duration::from_millis(500);
/// ... and for no longer than this.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// How long a begun frame may take, before its size is counted; and how long it may get no byte, whatever its size.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// Slowest acceptable sender of a large frame: adds a second to the deadline for so many bytes.
pub const FRAME_BYTES_PER_SECOND_MIN: usize = 64 << 10;
/// How long a connection that owes us room in its window may make no progress.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes handled per connection and turn before others have their turn.
pub const RECEIVE_BYTES_PER_TURN_MAX: usize = 64 << 10;
/// All partial frames of one core together; above it those nearest to their deadline are cut, of a few such the largest.
pub const PARTIAL_BYTES_PER_CORE_MAX: usize = 64 << 20;
/// What a slow reader may owe beyond the frame in flight.
pub const OWED_BYTES_MAX: usize = 256 << 10;
/// From here a connection is cut. The longest list queued for it does not count: it was appended when there was still room, and a list of any
/// allowed size reaches whoever keeps reading.
pub const OWED_BYTES_CUT: usize = OWED_BYTES_MAX + 2 * FRAME_BYTES_MAX;
/// What all connections of a core may owe together, a list that many of them owe counted once: above it those that took nothing for longest are
/// cut, of a few such the one that owes most.
pub const OWED_BYTES_PER_CORE_MAX: usize = 512 << 20;
/// So many of those that get on least are compared when memory is short; the largest goes.
pub const LEAST_COMPARED: usize = 16;
/// How long a closing connection may take to get rid of what was queued for it.
pub const CLOSE_FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long a connection that we shut waits for the peer's end, so that a reset does not destroy the last answer.
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// Bytes of a connection that we shut which are read to be thrown away; one that sends more is reset.
pub const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long a socket that is being closed may wait for the kernel to end what is under way; then its slot is freed all the same.
pub const RELEASE_MAX: Duration = Duration::from_secs(5);
/// How long not to accept after the process ran out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// Connections of one core; a completion carries the slot in 24 bits.
pub const CONNECTIONS_PER_CORE_MAX: usize = 1 << 20;
/// Receive buffers shared by all connections of a core; a power of two. Each short message of a turn takes one: with 256, a turn of a fan-out's
/// acknowledgements ran out of them, and requests waited three times as long.
pub const RECEIVE_BUFFERS: u16 = 512;
/// Bytes of one receive buffer: a dozen requests fit, and all of them together are 4 MiB.
pub const RECEIVE_BUFFER_BYTES: u32 = 8192;
/// Submission slots of a core's ring; what does not fit goes in a further call.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Completion slots of a core's ring.
pub const RING_COMPLETIONS: u32 = 16 * 1024;
/// Completions taken up in one turn.
pub const COMPLETIONS_PER_TURN_MAX: usize = 1024;
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
/// Bad frames of one address are told of this far apart, with how many there were.
pub const COMPLAINTS_TOLD_APART: Duration = Duration::from_secs(600);
/// Addresses and reasons of which a core remembers that it told of them.
pub const COMPLAINTS_MAX: usize = 1024;
/// Log lines that wait for a slow reader of standard error; further ones are dropped and counted.
pub const LOG_LINES_WAITING_MAX: usize = 8_192;

/// Longest body of an HTTP request: an operator's value or a list of addresses.
pub const HTTP_BODY_BYTES_MAX: usize = 1 << 20;
/// Longest head of an HTTP request; the same is hyper's read buffer. Java clients send all they know in the query.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Most header lines of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Most HTTP connections of one port; for a further one the longest waiting is closed.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// Most HTTP connections that one address has of a port; for a further one its own longest waiting is closed.
pub const HTTP_CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// Most ordinary requests that one HTTP port answers at a time. The other places are for health, metrics and discovery.
pub const HTTP_ORDINARY_MAX: usize = 192;
/// Most of them that one address has answered at a time.
pub const HTTP_ORDINARY_PER_ADDRESS_MAX: usize = 96;
/// How long the head, and again the body, of an HTTP request may take from its first byte.
pub const HTTP_RECEIVE_MAX: Duration = Duration::from_secs(10);
/// How long an HTTP connection is kept open without a request.
pub const HTTP_IDLE_CLOSE: Duration = Duration::from_secs(60);
/// How long a peer may make an HTTP answer wait until it has taken [`HTTP_PROGRESS_BYTES_MIN`] of it.
pub const HTTP_WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Fewer bytes of an HTTP answer are no progress: a byte now and then keeps no place.
pub const HTTP_PROGRESS_BYTES_MIN: usize = 64 << 10;
/// What the kernel holds of an HTTP answer for a peer that does not read.
pub const HTTP_SEND_BUFFER_BYTES: usize = 128 << 10;
/// An HTTP answer over many items goes out in pieces of about this size, so that it is never in memory as a whole.
pub const HTTP_CHUNK_BYTES: usize = 32 << 10;

/// How long an answer over many items may take, with the time its reader takes for it: a million publishers are 700 MB of JSON.
pub const HTTP_ANSWER_MAX: Duration = Duration::from_secs(300);
/// Bytes of publishers held to put them in the order in which connections were asked for; what is beyond takes another walk.
pub const HTTP_GROUPED_BYTES_MAX: usize = 8 << 20;
/// Most ids that are sorted for one answer, of which a node makes one at a time.
pub const HTTP_SORTED_IDS_MAX: usize = 1 << 20;

/// Most addresses that one HTTP request may name.
pub const HTTP_ADDRESSES_MAX: usize = 1_000;

/// Most rows a core gathers for one question before others have their turn.
pub const QUERY_ROWS_MAX: usize = 256;
/// A core ends a slice of rows early, after at least one, when their text reaches this size: so much may who asks hold of what is gone.
pub const QUERY_SLICE_BYTES_MAX: usize = 256 << 10;
/// Most entries of its tables that a core looks at for one slice, whether or not they are asked for.
pub const QUERY_LOOKS_MAX: usize = 2_048;
/// Questions that HTTP may have under way at the cores; one more is answered 503.
pub const QUESTIONS_UNDER_WAY_MAX: usize = 1_024;
/// Questions that wait at one core, which answers one in a turn. Beyond it the oldest go: whoever asked has given up on them.
pub const QUESTIONS_WAITING_MAX: usize = 2 * QUESTIONS_UNDER_WAY_MAX;

/// Most values that operators may store for configurators.
pub const PROVIDED_VALUES_MAX: usize = 10_000;
/// All stored values together.
pub const PROVIDED_BYTES_MAX: usize = 64 << 20;
/// Most addresses in one list of the blacklist.
pub const BLACKLIST_ADDRESSES_MAX: usize = 10_000;
/// Most client addresses that are off at a time.
pub const CLIENTS_OFF_MAX: usize = 100_000;

/// How long the version of a datum without publishers is remembered.
pub const EMPTY_DATUM_KEPT: Duration = Duration::from_secs(24 * 3600);
/// What those of one core may take together; the oldest goes first.
pub const EMPTY_DATUMS_BYTES_MAX: usize = 64 << 20;
/// How long a removal is remembered: longer than the longest half-open connection and the grace.
pub const TOMBSTONE_KEPT: Duration = Duration::from_secs(300);
/// How many removals at most; the oldest goes first.
pub const TOMBSTONES_MAX: usize = 100_000;
/// How long the publishers of a connection that we ended await their client.
pub const GRACE: Duration = Duration::from_secs(15);
/// Longest record of a journal. A frame, its text repeated through references, and a head for each string are less than three frames.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Versions of so much time are reserved ahead, so that a change never waits for the medium to know of it.
pub const VERSIONS_RESERVED: Duration = Duration::from_secs(60);
/// How long publishers known from before a restart await their client: clients need up to 10 s to come back.
pub const RETURN_GRACE: Duration = Duration::from_secs(30);
/// How long the grace may become if most of the publishers stay away.
pub const RETURN_GRACE_MAX: Duration = Duration::from_secs(600);
/// From so many awaited publishers on it is looked at how many of them are back.
pub const RETURNING_FEW: usize = 20;
/// How long after a loss of power a list may be held because what was changed last may be lost.
pub const HELD_AFTER_POWER_LOSS: Duration = Duration::from_secs(10);
/// Services whose awaited publishers are removed, or whose lists are released, in one turn.
pub const SERVICES_SETTLED_PER_TURN: usize = 256;

/// How long pushes wait for a write of the journal.
pub const JOURNAL_WRITE_MAX: Duration = Duration::from_millis(20);
/// Changes that no push tells of wait so long for others to be written with: a write costs 6 us of CPU however small it is.
pub const JOURNAL_GATHER_MAX: Duration = Duration::from_millis(4);
/// Records of so many bytes are a batch: they have one checksum, tell once what they have in common, and are lost together.
pub const JOURNAL_BATCH_BYTES: usize = 4 << 10;
/// So many bytes wait for no others.
pub const JOURNAL_GATHER_BYTES: usize = 256 << 10;
/// Where the log got so many times what is live since it was synced, a snapshot is made in place of the next sync. It costs CPU what the
/// disk saves: at four times, a quarter of what the records of the log had cost.
pub const JOURNAL_REWRITE_RATIO: u64 = 4;
/// Below so many bytes a sync costs less than the manifests of a snapshot.
pub const JOURNAL_REWRITE_BYTES: u64 = 4 << 20;
/// How long a disk must have been fast enough before pushes wait for it again.
pub const JOURNAL_CALM: Duration = Duration::from_secs(1);
/// Records that wait for a write of a second and more; beyond it they are dropped, and a snapshot makes up for them.
pub const JOURNAL_PENDING_BYTES_MAX: usize = 32 << 20;
/// A write that takes so long does not keep up with what is published.
pub const JOURNAL_STALL_MAX: Duration = Duration::from_secs(1);
/// Records that wait for a write which is merely late: a turn may bring several of the longest, and so may the next, while a sound disk
/// writes them.
pub const JOURNAL_STALLED_BYTES_MAX: usize = 8 * JOURNAL_RECORD_BYTES_MAX;
/// A buffer of records that grew beyond this is given back to the allocator. A busy core fills a megabyte and more until the kernel's
/// worker, on the same CPU, has its turn; memory that is new each time costs more than the copy into it.
pub const JOURNAL_BUFFER_KEPT_MAX: usize = 8 << 20;
/// How long after a failure of the disk a snapshot is tried; doubles up to the maximum.
pub const JOURNAL_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause between two tries.
pub const JOURNAL_RETRY_MAX: Duration = Duration::from_secs(30);
/// Bytes of a snapshot that are encoded and written in one turn.
pub const JOURNAL_SLICE_BYTES: usize = 128 << 10;
/// What the logs of all shards of a node may have beyond twice their live size. With the snapshot that replaces one, and what is
/// written meanwhile, the disk holds at most three times the live size and 64 MiB.
pub const JOURNAL_SLACK_BYTES: u64 = 40 << 20;
/// How many records the logs of all shards of a node may have beyond two for each publisher: a start reads more than 1.5
/// million in a second.
pub const JOURNAL_SLACK_RECORDS: u64 = 512 << 10;
/// For what the logs of all shards of a node grow by next, room is set aside; it counts among those 64 MiB.
pub const JOURNAL_AHEAD_BYTES: u64 = 8 << 20;
/// Segments of one shard; each start adds one.
pub const JOURNAL_SEGMENTS_MAX: usize = 64;

/// Data-plane cores of one node.
pub const CORES_MAX: usize = 256;
/// Registrations of one connection, of all kinds.
pub const REGISTRATIONS_PER_CONNECTION_MAX: usize = 100_000;
/// Connections that declare one registration id at a time. A client that reconnects every second leaves some that are half open.
pub const CLAIMS_PER_REGISTRATION_MAX: usize = 128;
/// What the list of one service may take in a push, unless the configuration says otherwise.
pub const LIST_BYTES: usize = 64 << 20;
/// How long publishers are held whose connections ended, where a list would lose most of its own: clients that were cut are back within it.
pub const PROTECT: Duration = Duration::from_millis(1500);
/// Subscribers that one connection has for one service: one is found among them by looking at each.
pub const SUBSCRIBERS_PER_SERVICE_MAX: usize = 10_000;
/// Services that one core knows: as a home, or because a connection of it subscribes.
pub const SERVICES_PER_CORE_MAX: usize = 4_000_000;
/// Bytes of published strings that one core keeps.
pub const PUBLISHED_BYTES_PER_CORE_MAX: usize = 16 << 30;
/// Zones in which one service has publishers.
pub const ZONES_PER_DATUM_MAX: usize = 256;
/// Groups looked at in one slice of pushes, before requests have their turn again.
pub const FANOUT_SLICE: usize = 256;
/// Groups of one service looked at before the next service has its turn: so many that its list and its numbers stay in the nearest cache.
pub const TOPIC_TURN: usize = 64;
/// Pushes of one core that wait for their acknowledgement: request ids tell so many places apart.
pub const PUSHES_IN_FLIGHT_MAX: usize = (1 << 22) - 1;
/// How long a client may take to acknowledge a push once it is in the kernel; also its time-out field.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(4);
/// Slowest acceptable reader of a long list: adds a second to the time-out for so many bytes, most of which it takes from the kernel only then.
pub const PUSH_BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// Pause before a failed push is sent again; doubles up to the maximum.
pub const PUSH_RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause between two tries.
pub const PUSH_RETRY_MAX: Duration = Duration::from_secs(30);
/// A registration is answered after this time even if its owner is silent: clients give up after 1,000 ms.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Pause before a change that its owner did not confirm, or an interest it did not answer, is sent again.
pub const RESEND_AFTER: Duration = Duration::from_millis(500);
/// How long a service without subscribers is still watched: a reconnect finds it warm.
pub const INTEREST_KEPT: Duration = Duration::from_secs(60);
/// How often a session compares the versions it watches with their remote owners.
pub const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Encoded bodies that one home core keeps for late subscribers; the oldest goes first.
pub const BODY_CACHE_BYTES_MAX: usize = 64 << 20;
/// The same by number.
pub const BODY_CACHE_ENTRIES_MAX: usize = 100_000;
/// Connections that ended while their request waited for a core, before they are looked for among those that still wait.
pub const PARKED_GONE_MAX: usize = 4096;
/// Requests that one core may have unanswered at another.
pub const CREDITS_PER_CORE: u32 = 4096;
/// A batch that grew beyond this many messages is not used again.
pub const LANE_BATCH_KEPT_MAX: usize = 4096;
/// Messages that may wait for one lane. Beyond it a question is not asked, and a core leaves what its clients say, and their ends, in the kernel.
pub const OUTBOX_MESSAGES_MAX: usize = 64 << 10;

const _: () = {
    assert!(HTTP_HEAD_BYTES_MAX >= 8 << 10, "hyper's least buffer");
    assert!(HTTP_BODY_BYTES_MAX < PROVIDED_BYTES_MAX);
    assert!(HTTP_ORDINARY_MAX < HTTP_CONNECTIONS_MAX);
    assert!(HTTP_ORDINARY_PER_ADDRESS_MAX < HTTP_CONNECTIONS_PER_ADDRESS_MAX);
    assert!(ANSWER_WITHIN.as_millis() < 1000);
    assert!(CATCH_UP_QUIET.as_millis() < CATCH_UP_MAX.as_millis());
    assert!(CATCH_UP_MAX.as_secs() < GRACE.as_secs());
    assert!(PUSH_TIMEOUT.as_secs() < WRITE_STALL_MAX.as_secs());
    assert!(TOMBSTONE_KEPT.as_secs() > IDLE_CLOSE.as_secs() + GRACE.as_secs());
    assert!(RECEIVE_BYTES_PER_TURN_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX < PARTIAL_BYTES_PER_CORE_MAX);
    assert!(NAME_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(OWED_BYTES_MAX + FRAME_BYTES_MAX <= OWED_BYTES_CUT);
    assert!(OWED_BYTES_CUT < OWED_BYTES_PER_CORE_MAX);
    assert!(CONNECTIONS_PER_CORE_MAX < 1 << 24);
    assert!(RECEIVE_BUFFERS.is_power_of_two());
    assert!(RING_COMPLETIONS >= 4 * RING_SUBMISSIONS);
    assert!(SEND_PARTS_MAX >= 2);
};
