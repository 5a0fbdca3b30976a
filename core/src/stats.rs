//! The counters of one core: plain numbers, one struct per core, added up when somebody asks.
//!
//! Name, help and label of a metric are declared once, beside the field that counts it; `/metrics` is written from the same
//! table. A gauge is set by whoever answers the question, a counter only grows.

use serde::{Deserialize, Serialize};

/// What the exposition needs to know about one metric.
#[derive(Debug)]
pub struct Family<R: 'static> {
    /// The name without the product's prefix, with its unit; a counter's ends in `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The name of the label that tells its samples apart, if it has several.
    pub label: Option<&'static str>,
    /// Its samples.
    pub samples: &'static [Sample<R>],
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of times.
    Histogram,
}

/// One number of a metric.
#[derive(Debug)]
pub struct Sample<R: 'static> {
    /// The value of the family's label; empty in a family without one.
    pub value: &'static str,
    /// Reads it.
    pub read: fn(&Stats) -> &R,
}

/// Declares `Stats` and the tables of its families from one list.
macro_rules! stats {
    (
        numbers { $(
            #[doc = $help:literal]
            $kind:ident $name:literal $(by $label:literal)? { $( $field:ident $(= $value:literal)? ),* $(,)? }
        )* }
        times { $(
            #[doc = $time_help:literal]
            $time_name:literal by $time_label:literal { $( $time_field:ident = $time_value:literal ),* $(,)? }
        )* }
    ) => {
        /// The counters of one core. The names and meanings of the fields are those of their metrics.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Stats {
            $( $(
                #[doc = concat!("`", $name, "`" $(, ", ", $value)?, ":", $help)]
                pub $field: u64,
            )* )*
            $( $(
                #[doc = concat!("`", $time_name, "`, ", $time_value, ":", $time_help)]
                pub $time_field: Histogram,
            )* )*
        }

        impl Stats {
            /// All metrics that are one number.
            pub const NUMBERS: &'static [Family<u64>] = &[ $( Family {
                name: $name,
                help: $help,
                kind: Kind::$kind,
                label: stats!(@label $($label)?),
                samples: &[ $( Sample { value: stats!(@value $($value)?), read: |stats| &stats.$field } ),* ],
            } ),* ];

            /// All metrics that are a distribution of times.
            pub const TIMES: &'static [Family<Histogram>] = &[ $( Family {
                name: $time_name,
                help: $time_help,
                kind: Kind::Histogram,
                label: Some($time_label),
                samples: &[ $( Sample { value: $time_value, read: |stats| &stats.$time_field } ),* ],
            } ),* ];

            /// Adds what another core counted.
            pub fn add(&mut self, other: &Self) {
                $( $( self.$field += other.$field; )* )*
                $( $( self.$time_field.add(&other.$time_field); )* )*
            }
        }
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
    (@value) => { "" };
    (@value $value:literal) => { $value };
}

stats! {
    numbers {
        /// Client connections that are open.
        Gauge "connections" { connections }
        /// Client connections accepted.
        Counter "connections_opened_total" { connections_opened }
        /// Client connections closed, by reason.
        Counter "connections_closed_total" by "reason" {
            closed_by_peer = "peer",
            closed_by_error = "error",
            closed_idle = "idle",
            closed_keepalive = "keepalive",
            closed_bad_frame = "bad_frame",
            closed_slow_frame = "slow_frame",
            closed_partial_memory = "partial_memory",
            closed_slow_reader = "slow_reader",
            closed_drain = "drain",
            closed_operator = "operator",
            closed_stop = "stop",
        }
        /// Client connections refused before the first byte, by reason.
        Counter "connections_refused_total" by "reason" {
            refused_total_limit = "total_limit",
            refused_per_ip_limit = "per_ip_limit",
            refused_draining = "draining",
        }

        /// Publishers that clients of this node registered.
        Gauge "publishers" { publishers }
        /// Subscribers that clients of this node registered.
        Gauge "subscribers" { subscribers }
        /// Configurators that clients of this node registered.
        Gauge "configurators" { configurators }
        /// Datums owned, empty ones too.
        Gauge "datums" { datums }
        /// Publishers in the datums owned.
        Gauge "stored_publishers" { stored_publishers }
        /// Bytes of published strings: what is held, and what may be.
        Gauge "published_bytes" by "of" {
            published_bytes = "held",
            published_bytes_max = "limit",
        }
        /// Publishers of connections that we ended, kept for a grace.
        Gauge "publishers_in_grace" { publishers_in_grace }
        /// Publishers known from before a restart whose clients have not come back.
        Gauge "publishers_awaiting" { publishers_awaiting }

        /// Cores whose pushes do not wait for the journal because the disk is slow or fails.
        Gauge "journal_degraded" { journal_degraded }
        /// Bytes that the journal has written.
        Counter "journal_written_bytes_total" { journal_written_bytes }
        /// Stretches of the journal that the start could not read.
        Counter "journal_damages_total" { journal_damages }
        /// Cores whose start may have lacked something that was shown, and was as careful as after a loss of power.
        Gauge "journal_gaps" { journal_gaps }
        /// The start did not find what operators had set in earlier lives.
        Gauge "operators_lost" { operators_lost }
        /// Bytes of the journal, by what they are: all files, what live publishers need, each by itself, and what waits for the disk.
        Gauge "journal_bytes" by "of" {
            journal_disk_bytes = "disk",
            journal_live_bytes = "live",
            journal_pending_bytes = "pending",
        }

        /// Requests handled, by kind.
        Counter "requests_total" by "kind" {
            requests_publish = "publish",
            requests_unpublish = "unpublish",
            requests_subscribe = "subscribe",
            requests_unsubscribe = "unsubscribe",
            requests_configure = "configure",
            requests_unconfigure = "unconfigure",
            requests_sync_config = "sync_config",
            requests_cancel_address = "cancel_address",
            requests_heartbeat = "heartbeat",
            requests_other = "other",
        }
        /// Answers given to requests, by outcome.
        Counter "responses_total" by "outcome" {
            responses_success = "success",
            responses_refused = "refused",
            responses_error = "error",
        }
        /// Registrations refused because a bound was reached, by bound.
        Counter "registrations_refused_total" by "bound" {
            refused_connection_registrations = "registrations_per_connection",
            refused_data_info_ids = "data_info_ids",
            refused_bytes = "bytes",
            refused_name_length = "name_length",
            refused_boxes = "boxes",
            refused_zones = "zones",
            refused_claims = "claims",
            refused_list_bytes = "list_bytes",
        }
        /// Registrations refused because what was removed is newer.
        Counter "registrations_superseded_total" { refused_superseded }
        /// Registrations without effect because a newer one was held.
        Counter "registrations_stale_total" { registrations_stale }

        /// Lists that would have lost most of what they showed to ends of connections, and were held.
        Counter "lists_protected_total" { lists_protected }
        /// Versions given to datums.
        Counter "datum_versions_total" { datum_versions }
        /// Push bodies encoded. Each is shared by all subscribers of its scope and zone.
        Counter "push_bodies_encoded_total" { bodies_encoded }
        /// Bytes of push bodies that are held for late subscribers.
        Gauge "push_bodies_held_bytes" { bodies_bytes }
        /// Pushes handed to the kernel, retries included.
        Counter "pushes_sent_total" { pushes_sent }
        /// Pushes that ended, by outcome.
        Counter "pushes_ended_total" by "outcome" {
            pushes_acknowledged = "acknowledged",
            pushes_refused = "refused",
            pushes_timed_out = "timed_out",
            pushes_lost = "connection_closed",
            pushes_too_long = "too_long",
        }
        /// Pushes sent again.
        Counter "pushes_retried_total" { pushes_retried }
        /// Versions that a subscriber never needed, because a newer one replaced them before they were sent.
        Counter "pushes_replaced_total" { pushes_replaced }
        /// Pushes withheld because an operator has stopped pushing.
        Counter "pushes_withheld_total" { pushes_withheld }
        /// Pushes sent and not acknowledged.
        Gauge "pushes_in_flight" { pushes_in_flight }

        /// Bytes received from clients.
        Counter "received_bytes_total" { received_bytes }
        /// Bytes sent to clients.
        Counter "sent_bytes_total" { sent_bytes }
        /// Frames received.
        Counter "frames_received_total" { frames_received }
        /// Frames that could not be taken, by reason.
        Counter "frames_bad_total" by "reason" {
            frames_bad_protocol = "protocol",
            frames_bad_type = "type",
            frames_bad_command = "command",
            frames_bad_codec = "codec",
            frames_bad_crc = "crc",
            frames_bad_length = "length",
            frames_bad_class = "class",
            frames_bad_body = "body",
        }
        /// Work dropped, by reason.
        Counter "dropped_total" by "reason" {
            dropped_stale_completion = "stale_completion",
            dropped_stale_message = "stale_message",
            dropped_stale_response = "stale_response",
            dropped_unknown_response = "unknown_response",
        }
        /// Times that the completion queue of the network ring overflowed.
        Counter "ring_overflows_total" { ring_overflows }
        /// Completions that the kernel has dropped for want of memory; all connections of the core are closed then.
        Counter "ring_lost_completions_total" { ring_lost_completions }
        /// Connections freed although the kernel never ended what was under way.
        Counter "connections_abandoned_total" { connections_abandoned }
        /// Times that the ring's buffers were used up.
        Counter "ring_buffers_exhausted_total" { ring_buffers_exhausted }

        /// Messages sent to other cores.
        Counter "mesh_messages_total" { mesh_messages }
        /// Batches sent to other cores.
        Counter "mesh_batches_total" { mesh_batches }
        /// Times that a request waited for credit of another core.
        Counter "mesh_waits_total" { mesh_waits }
        /// What waits in queues, by queue.
        Gauge "queue_depth" by "queue" {
            queue_outbox = "outbox",
            queue_parked_requests = "parked_requests",
            queue_changes = "changes",
            queue_behind = "subscribers_behind",
            queue_write_bytes = "write_bytes",
            queue_partial_bytes = "partial_frame_bytes",
        }
        /// Times that the core took no turn for seconds: the process was stopped, the machine paused, or the CPU taken.
        Counter "standstills_total" { standstills }
        /// Milliseconds that the core stood still.
        Counter "standstill_milliseconds_total" { standstill_ms }
        /// Turns of the core's loop.
        Counter "turns_total" { turns }
        /// Turns that began later than due by more than a tick.
        Counter "turns_late_total" { turns_late }
    }
    times {
        /// How long a change takes to be known by its subscribers, by stage.
        "push_latency_seconds" by "stage" {
            push_change_to_notice = "change_to_notice",
            push_notice_to_body = "notice_to_body",
            push_body_to_socket = "body_to_socket",
            push_socket_to_ack = "socket_to_ack",
            push_total = "total",
        }
    }
}

/// A distribution of times in fixed buckets: recording allocates nothing and costs a few comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// One count per bound and one for what is above all.
    counts: [u64; BOUNDS + 1],
    sum_nanos: u64,
}

impl Histogram {
    /// The upper ends of the buckets in nanoseconds, inclusive: 1, 2, 5 of every power of ten from 1 µs to 50 s.
    pub const BOUNDS: [u64; BOUNDS] = bounds();

    /// Counts one time.
    pub fn record(&mut self, nanos: u64) {
        let bucket = Self::BOUNDS.partition_point(|&bound| bound < nanos);
        self.counts[bucket] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }

    /// How many times were at most the bound, for each of `BOUNDS` and then for all.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        })
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All times together, in nanoseconds.
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }
}

/// How many buckets have an upper end.
const BOUNDS: usize = 24;

const fn bounds() -> [u64; BOUNDS] {
    let mut bounds = [0; BOUNDS];
    let mut power = 1_000;
    let mut place = 0;
    while place < BOUNDS {
        bounds[place] = power;
        bounds[place + 1] = 2 * power;
        bounds[place + 2] = 5 * power;
        power *= 10;
        place += 3;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();

        for nanos in [0, 1_000, 1_001, 50_000_000_000, 50_000_000_001] {
            histogram.record(nanos);
        }

        let counts: Vec<u64> = histogram.cumulative().collect();
        assert_eq!((counts[0], counts[1], counts[23], counts[24]), (2, 3, 4, 5));
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum_nanos(), 100_000_002_002);
    }

    #[test]
    fn bounds_grow_from_a_microsecond_to_50_seconds() {
        assert!(Histogram::BOUNDS.is_sorted_by(|a, b| a < b));
        assert_eq!(
            (Histogram::BOUNDS[0], Histogram::BOUNDS[23]),
            (1_000, 50_000_000_000)
        );
    }

    #[test]
    fn stats_of_two_cores_add_up() {
        let mut one = Stats {
            publishers: 3,
            ..Stats::default()
        };
        one.push_total.record(10);
        let mut other = Stats {
            publishers: 4,
            pushes_sent: 1,
            ..Stats::default()
        };
        other.push_total.record(20);

        one.add(&other);

        assert_eq!((one.publishers, one.pushes_sent), (7, 1));
        assert_eq!(
            (one.push_total.count(), one.push_total.sum_nanos()),
            (2, 30)
        );
    }

    #[test]
    fn every_family_has_one_name_and_a_counter_says_so_in_it() {
        let mut names: Vec<&str> = Stats::NUMBERS.iter().map(|family| family.name).collect();
        names.extend(Stats::TIMES.iter().map(|family| family.name));
        let families = names.len();

        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), families);
        for family in Stats::NUMBERS {
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert_eq!(
                family.label.is_some(),
                family.samples.len() > 1,
                "{}",
                family.name
            );
        }
    }
}
