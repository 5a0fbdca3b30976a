//! Every number to reach, measured in one run.
//!
//! Each step runs a scenario as anyone would and adds its tables and plots; the numbers are then read from those tables, so that what is judged
//! is what is shown.

use std::io;

use serde_json::{Value as Json, json};

use crate::args::{
    Apart, Common, Cores, Deaf, Fanout, Goals, Idle, Journal, Neighbours, Publish, Storm,
};
use crate::host::Seats;
use crate::report::{Bound, Goal, Measured, Report, median};
use crate::target::Kind;
use crate::{apart, cores, deaf, fanout, idle, interrupt, journal, neighbours, publish, storm};

/// The servers of others that numbers are held against.
pub(crate) const PEERS: [Kind; 2] = [Kind::Redis, Kind::Sofaregistry];
/// Published bytes of a fan-out.
const PAYLOAD: usize = 1 << 10;
const OUTSTANDING: [usize; 2] = [1, 32];
/// A storm starts a fresh server each time.
const STORMS: usize = 3;
const NOT_MEASURED: &str = "not measured: see the problems";

/// How large everything is.
#[derive(Debug)]
struct Sizes {
    many: usize,
    most: usize,
    storm_clients: usize,
    connections: usize,
    idle: [usize; 2],
    records: usize,
    /// How long the server rests before its memory is read.
    rest_ms: u64,
    round_ms: u64,
    load_ms: u64,
    after_s: u64,
}

/// As the numbers name it.
const FULL: Sizes = Sizes {
    many: 1_000,
    most: 9_000,
    storm_clients: 8_000,
    connections: 64,
    idle: [1_000, 10_000],
    records: 100_000,
    rest_ms: 2_000,
    round_ms: 1_000,
    load_ms: 8_000,
    after_s: 5,
};

/// Enough to see that every number can be measured.
const SHORT: Sizes = Sizes {
    many: 50,
    most: 100,
    storm_clients: 100,
    connections: 4,
    idle: [20, 50],
    records: 500,
    rest_ms: 50,
    round_ms: 100,
    load_ms: 400,
    after_s: 0,
};

/// A scenario with its options.
type Step = fn(&Common, &Sizes, Seats, &mut Report) -> io::Result<()>;

/// What is measured, in this sequence.
const STEPS: [(&str, Step); 11] = [
    ("fan-out to many", fan_out_to_many),
    ("fan-out to most", fan_out_to_most),
    ("fan-out beside SOFARegistry", fan_out_beside_sofaregistry),
    ("registrations", registrations),
    ("storm", clients_at_once),
    ("memory", memory),
    ("two cores beside one", two_cores),
    ("two cores on two CPUs", cores_apart),
    ("neighbours of a fan-out", beside_a_fan_out),
    ("subscribers that never read", beside_the_deaf),
    ("the journal", with_journal),
];

/// Takes every step, then judges. A step that fails spoils its numbers and the result, not the other steps.
pub(crate) fn run(
    common: &Common,
    options: &Goals,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let sizes = if options.short { &SHORT } else { &FULL };
    if options.short {
        report.doubt(
            "a short run: everything is far smaller than the numbers to reach say".to_owned(),
        );
    }
    for (place, (what, step)) in STEPS.iter().enumerate() {
        interrupt::check()?;
        eprintln!("== {what} ({} of {})", place + 1, STEPS.len());
        if let Err(error) = step(common, sizes, seats, report) {
            report.problem(format!("{what}: {error}"));
        }
    }
    judge_fan_outs(common, sizes, report);
    judge_against_sofaregistry(common, sizes, report);
    judge_registrations(report);
    judge_memory(sizes, report);
    judge_cores(seats, report);
    judge_others(report);
    journal::judge(report);
    Ok(())
}

/// The first server beside these, those that are not there left out.
fn beside(common: &Common, others: &[Kind]) -> Common {
    let is_there = |kind: &&Kind| !kind.is_peer() || common.vs.contains(kind);
    Common {
        vs: others.iter().filter(is_there).copied().collect(),
        ..common.clone()
    }
}

fn fan_out(subscribers: usize) -> Fanout {
    Fanout {
        subscribers: vec![subscribers],
        payload: vec![PAYLOAD],
        changes: None,
    }
}

fn fan_out_to_many(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let others = [Kind::Floor, Kind::FloorAcks, Kind::Redis];
    fanout::run(
        &beside(common, &others),
        &fan_out(sizes.many),
        seats,
        report,
    )
}

fn fan_out_to_most(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let common = beside(common, &[Kind::FloorAcks]);
    fanout::run(&common, &fan_out(sizes.most), seats, report)
}

fn fan_out_beside_sofaregistry(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let common = beside(common, &[Kind::Sofaregistry]);
    fanout::run(&common, &fan_out(1), seats, report)?;
    if common.vs.is_empty() {
        return Ok(());
    }
    fanout::run(&common, &fan_out(sizes.many), seats, report)
}

fn registrations(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let options = Publish {
        connections: sizes.connections,
        outstanding: OUTSTANDING.to_vec(),
        round_ms: sizes.round_ms,
        subscriber: false,
        spread: false,
    };
    publish::run(&beside(common, &[Kind::Toy]), &options, seats, report)
}

fn clients_at_once(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let common = Common {
        rounds: STORMS.min(common.rounds),
        ..beside(common, &[])
    };
    let options = Storm {
        clients: sizes.storm_clients,
        publishers: 20,
    };
    storm::run(&common, &options, seats, report)
}

/// Connections and records on a fresh server each: what one leaves behind must not hold the other.
fn memory(common: &Common, sizes: &Sizes, seats: Seats, report: &mut Report) -> io::Result<()> {
    let mut options = Idle {
        connections: sizes.idle.to_vec(),
        publishers: 0,
        after_s: sizes.after_s,
        rest_ms: sizes.rest_ms,
    };
    idle::run(common, &options, seats, report)?;
    options.connections.truncate(1);
    options.publishers = sizes.records;
    idle::run(common, &options, seats, report)
}

fn two_cores(common: &Common, sizes: &Sizes, seats: Seats, report: &mut Report) -> io::Result<()> {
    let options = Cores {
        connections: sizes.connections,
        outstanding: OUTSTANDING.to_vec(),
        subscribers: sizes.many,
        payload: PAYLOAD,
        round_ms: sizes.round_ms,
    };
    cores::run(common, &options, seats, report)
}

fn cores_apart(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    if seats.apart.is_none() {
        return Ok(());
    }
    let options = Apart {
        connections: sizes.connections,
        outstanding: OUTSTANDING[1],
        round_ms: sizes.round_ms,
    };
    apart::run(common, &options, seats, report)
}

fn beside_a_fan_out(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let options = Neighbours {
        subscribers: sizes.most,
        payload: PAYLOAD,
        rate: 250,
        load_ms: sizes.load_ms,
    };
    neighbours::run(&beside(common, &[]), &options, seats, report)
}

fn beside_the_deaf(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let options = Deaf {
        subscribers: sizes.many,
        deaf_percent: 1,
        payload: PAYLOAD,
        changes: 160,
    };
    deaf::run(common, &options, seats, report)
}

fn with_journal(
    common: &Common,
    sizes: &Sizes,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let options = Journal {
        connections: sizes.connections,
        round_ms: sizes.round_ms,
        subscribers: sizes.many,
        payload: PAYLOAD,
        publishers: sizes.records,
    };
    journal::measure(common, &options, seats, report)
}

fn judge_fan_outs(common: &Common, sizes: &Sizes, report: &mut Report) {
    let of = |report: &Report, subscribers: usize, server: &str, name: &str| {
        let row = [
            ("subscribers", json!(subscribers)),
            ("bytes", json!(PAYLOAD)),
            ("server", json!(server)),
        ];
        report.figure(fanout::TITLE, &row, name)
    };
    let time = |report: &Report, subscribers| of(report, subscribers, "floor+acks", "time_ratio");
    let many = time(report, sizes.many);
    let most = time(report, sizes.most);
    let cpu = of(report, sizes.many, "floor+acks", "cpu_ratio");
    at_most(
        report,
        "fan-out, 1,000 x 1 KiB, p50 against floor+acks",
        "x",
        many,
        1.5,
        1.25,
    );
    at_most(
        report,
        "server CPU per delivery against floor+acks",
        "x",
        cpu,
        1.5,
        1.25,
    );
    // Ours by theirs and ours by their floor give theirs by their floor.
    let redis = of(report, sizes.many, "redis", "cpu_ratio")
        .zip(of(report, sizes.many, "floor", "cpu_ratio"))
        .map(|(by_redis, by_floor)| by_floor / by_redis);
    let against_redis = cpu.zip(redis).map(|(ours, theirs)| ours / theirs);
    report.goal(Goal {
        measure: "the same, against that of Redis against a send-only floor",
        measured: of_peer(common, Kind::Redis, against_redis),
        unit: "x",
        must: None,
        stretch: Some(Bound::AtMost(1.0)),
    });
    at_most(
        report,
        "fan-out, 9,000 x 1 KiB, p50 against floor+acks",
        "x",
        most,
        1.5,
        1.3,
    );
}

fn judge_against_sofaregistry(common: &Common, sizes: &Sizes, report: &mut Report) {
    let goals = [
        (
            "change until 1 subscriber has it, times faster than SOFARegistry",
            1,
            100.0,
            500.0,
        ),
        (
            "change until 1,000 have it, times faster than SOFARegistry",
            sizes.many,
            40.0,
            80.0,
        ),
    ];
    for (measure, subscribers, must, stretch) in goals {
        // The ratio in the table is too small for its digits.
        let p50_ms = |kind: Kind| {
            let row = [
                ("subscribers", json!(subscribers)),
                ("server", json!(kind.name())),
            ];
            report.figure(fanout::TITLE, &row, "p50_ms")
        };
        let ours = p50_ms(Kind::Rollcall);
        let faster = p50_ms(Kind::Sofaregistry).zip(ours);
        let faster = faster.map(|(theirs, ours)| theirs / ours);
        report.goal(Goal {
            measure,
            measured: of_peer(common, Kind::Sofaregistry, faster),
            unit: "x",
            must: Some(Bound::AtLeast(must)),
            stretch: Some(Bound::AtLeast(stretch)),
        });
    }
}

fn judge_registrations(report: &mut Report) {
    let goals = [
        (
            "registrations/s, 64 connections, one at a time, against a toy server",
            1,
            0.6,
            0.85,
        ),
        (
            "registrations/s, 64 connections, 32 outstanding, against a toy server",
            32,
            0.5,
            0.75,
        ),
    ];
    for (measure, outstanding, must, stretch) in goals {
        let row = [
            ("outstanding", json!(outstanding)),
            ("server", json!(Kind::Toy.name())),
        ];
        let ratio = report.figure(publish::TITLE, &row, "rate_ratio");
        at_least(report, measure, "x", ratio, must, stretch);
    }
    let storms = report.figures(storm::TITLE, &[], "all_served_ms");
    let storm = (!storms.is_empty()).then(|| median(storms) / 1e3);
    let measure = "storm of 8,000 clients until every list is complete";
    at_most(report, measure, " s", storm, 4.0, 2.0);
}

fn judge_memory(sizes: &Sizes, report: &mut Report) {
    let of = |report: &Report, what: &str, count: usize, name: &str| {
        let row: [(&str, Json); 2] = [("what", json!(what)), ("count", json!(count))];
        report.figure(idle::TITLE, &row, name)
    };
    let connection = of(report, idle::CONNECTION, sizes.idle[1], "bytes_each");
    let record = of(
        report,
        idle::PUBLISHER,
        sizes.records,
        "overhead_bytes_each",
    );
    let measure = "user memory per idle connection with a subscription";
    at_most(report, measure, " B", connection, 2_048.0, 1_024.0);
    let measure = "overhead per publisher record, all but its own text";
    at_most(report, measure, " B", record, 500.0, 300.0);
}

fn judge_cores(seats: Seats, report: &mut Report) {
    let of = |report: &Report, load: &str| {
        let row = [("load", json!(load)), ("server", json!(cores::ONE))];
        report.figure(cores::TITLE, &row, "cpu_ratio")
    };
    let registrations =
        OUTSTANDING.map(|outstanding| of(report, &cores::registrations(outstanding)));
    let [one, many] = registrations;
    // The dearer of the two: no load may be chosen to please.
    let registration = one.zip(many).map(|(one, many)| one.max(many));
    let delivery = of(report, cores::DELIVERIES);
    let measure = "2 cores against 1 on one CPU, half crossing: server CPU per registration";
    at_most(report, measure, "x", registration, 1.2, 1.08);
    let measure = "the same: server CPU per delivery";
    at_most(report, measure, "x", delivery, 1.2, 1.08);
    let row = [("server", json!(apart::ONE))];
    let faster = report.figure(apart::TITLE, &row, "rate_ratio");
    let measured = if seats.apart.is_some() {
        figure(faster)
    } else {
        Measured::NotHere(format!("needs 4 CPUs, here are {}", seats.cpus))
    };
    report.goal(Goal {
        measure: "2 cores against 1, each on a CPU of its own: times faster",
        measured,
        unit: "x",
        must: Some(Bound::AtLeast(1.6)),
        stretch: Some(Bound::AtLeast(1.8)),
    });
}

fn judge_others(report: &mut Report) {
    let of = |report: &Report, name: &str| {
        let row = [("pushes_to_many", json!(neighbours::LOADED))];
        report.figure(neighbours::TITLE, &row, name)
    };
    let registration = of(report, "registration_p99_ms");
    let heartbeat = of(report, "heartbeat_p99_ms");
    let measure = "p99 of a registration while 1 KiB goes to 9,000 others back to back";
    at_most(report, measure, " ms", registration, 10.0, 3.0);
    let measure = "p99 of a heartbeat, the same";
    at_most(report, measure, " ms", heartbeat, 20.0, 3.0);
    let row = [("server", json!(deaf::ALL_READ))];
    let others = report.figure(deaf::TITLE, &row, "p99_ratio");
    let measure = "p99 of the others while 1 % of 1,000 never read, against all reading";
    at_most(report, measure, "x", others, 1.2, 1.1);
}

/// Adds a number that must not be higher.
pub(crate) fn at_most(
    report: &mut Report,
    measure: &'static str,
    unit: &'static str,
    measured: Option<f64>,
    must: f64,
    stretch: f64,
) {
    report.goal(Goal {
        measure,
        measured: figure(measured),
        unit,
        must: Some(Bound::AtMost(must)),
        stretch: Some(Bound::AtMost(stretch)),
    });
}

/// Adds a number that must not be lower.
pub(crate) fn at_least(
    report: &mut Report,
    measure: &'static str,
    unit: &'static str,
    measured: Option<f64>,
    must: f64,
    stretch: f64,
) {
    report.goal(Goal {
        measure,
        measured: figure(measured),
        unit,
        must: Some(Bound::AtLeast(must)),
        stretch: Some(Bound::AtLeast(stretch)),
    });
}

fn figure(figure: Option<f64>) -> Measured {
    figure.map_or_else(
        || Measured::Missing(NOT_MEASURED.to_owned()),
        Measured::Figure,
    )
}

fn of_peer(common: &Common, peer: Kind, measured: Option<f64>) -> Measured {
    if common.vs.contains(&peer) {
        figure(measured)
    } else {
        Measured::Missing(format!(
            "{} is not installed: bench/peers/setup",
            peer.name()
        ))
    }
}
