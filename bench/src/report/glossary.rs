//! What the columns of the tables mean.

/// A column's name and one sentence about it; columns whose name says it all are not here.
pub(super) const GLOSSARY: &[(&str, &str)] = &[
    (
        "semantics",
        "What a subscriber gets and what is kept: the value, a notice after which it reads, in memory, journaled (a crash loses nothing, a loss of power what the last second brought) or durable.",
    ),
    (
        "p50_ms",
        "Half of the times are below; of fan-outs from the publish to the last subscriber, median of the rounds' medians.",
    ),
    (
        "best_ms",
        "The shortest of all: what a quiet machine would show.",
    ),
    (
        "delivery_p99_ms",
        "99 % of single deliveries came within this time of the publish.",
    ),
    (
        "server_us",
        "CPU time of the whole server process per delivery or registration, in microseconds, median of the rounds.",
    ),
    ("server_us_best", "The same in the best round."),
    (
        "client_us",
        "CPU time of the load generator per delivery, in microseconds.",
    ),
    (
        "server_busy",
        "Share of the measured time in which the server ran or stood in line for its CPU.",
    ),
    ("client_busy", "The same of the load generator."),
    (
        "time_ratio",
        "Time of the first server by the time of this one, median of the rounds' ratios: below 1 the first is faster. Where a note says that the load generator held this one back, by its CPU time instead: the most that the ratio can be.",
    ),
    ("time_ratio_rounds", "The ratio of each round."),
    (
        "cpu_ratio",
        "The same of the CPU time per delivery or registration: below 1 the first uses less.",
    ),
    ("cpu_ratio_rounds", "The ratio of each round."),
    (
        "rate_ratio",
        "Rate of the first server by the rate of this one, median of the rounds' ratios: above 1 the first is faster.",
    ),
    ("rate_ratio_rounds", "The ratio of each round."),
    (
        "p99_ratio",
        "The 99th percentile of the first by that of this one, median of the rounds' ratios.",
    ),
    (
        "early_lists",
        "Lists that lacked publishers which had been answered before, shown before the first complete one; SOFARegistry's protocol allows it, of the others it makes the result invalid.",
    ),
    (
        "sent_again",
        "Registrations that SOFARegistry refused because it had not noted their connection yet, sent again as its clients do; any other refusal makes the result invalid.",
    ),
    (
        "repeats",
        "Pushes of a higher version that showed what the last one had; of Rollcall they make the result invalid.",
    ),
    (
        "more_us",
        "p50 of the first server less that of this one, in microseconds, median of the rounds.",
    ),
    ("more_us_rounds", "The difference in each round."),
    (
        "written_bytes_each",
        "Bytes that the journal wrote by the registrations that were answered, snapshots included.",
    ),
    (
        "beyond_own_bytes",
        "The same less what a registration says: data id, group, zone, application, text, 16 bytes of its id, 6 of the client's address. Below \
         zero where records leave out what the one before them told.",
    ),
    (
        "ready_ms",
        "From the exec of a server that was killed until it said that it is ready.",
    ),
    (
        "replay_ms",
        "Of that, the time in which the slowest core read its journal.",
    ),
    (
        "replayed_per_second",
        "Publishers that one core replays in a second, reading included.",
    ),
    (
        "listed",
        "Publishers in the lists after the start; nobody has come back yet.",
    ),
    ("awaited", "Publishers whose client has not come back."),
    (
        "outstanding",
        "Registrations that each connection leaves unanswered.",
    ),
    (
        "max_over_median",
        "Fairness: the slowest client by the median one.",
    ),
    ("rss_mib", "Resident memory of the server."),
    (
        "bytes_each",
        "Growth of the server's resident memory by the count: everything included.",
    ),
    (
        "overhead_bytes_each",
        "The same without the published text.",
    ),
    (
        "kernel_slab_bytes_each",
        "Growth of the kernel's slab memory by the count, both ends of the connection included.",
    ),
    (
        "crossings_each",
        "Messages between the server's cores per registration or delivery, from its own counter.",
    ),
    (
        "crossing_connections",
        "Share of the connections whose messages the counter shows to cross cores.",
    ),
];

/// What a column means.
pub(super) fn meaning(column: &str) -> Option<&'static str> {
    let entry = GLOSSARY.iter().find(|(name, _)| *name == column);
    entry.map(|(_, meaning)| *meaning)
}
