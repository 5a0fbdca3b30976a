//! What the journal costs, and what a crash is like with it: the product beside itself without a journal, in turns, then killed with publishers.
//!
//! The data directory lies beside the programs, on their file system. Every registration says something new, so each is written down. What a
//! registration needs anyhow is its own data: data id, group, zone, application, the registration's id as 16 bytes, the client's address as 6,
//! and its text; everything else that is written counts as beyond, snapshots included.

mod crash;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::args::{Common, Journal, Publish};
use crate::fanout::{self, Length, Load, Round as Changes, Stage as Fanout};
use crate::goals::{at_least, at_most};
use crate::host::{self, Seats};
use crate::interrupt;
use crate::meter;
use crate::publish::{self, Round as Registrations, Stage as Registering};
use crate::report::{Moments, Plot, Report, median, rounded};
use crate::target::{Kind, Target};

/// Registrations that each connection leaves unanswered.
const OUTSTANDING: [usize; 2] = [1, 32];
/// Rounds of registrations in place of one: the ratio of one varies by 3 %, and a few would not tell 0.93 from 0.91.
const ROUNDS: usize = 5;
/// Changes of a round to many subscribers, and to one.
const CHANGES: [usize; 2] = [50, 500];
/// How long the journal may take to write what was answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is left alone between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Subscribers of a change: those asked for, and one alone.
const TO_MANY: &str = "many";
const TO_ONE: &str = "one";

const REGISTRATIONS: &str = "journal: registrations per second with it and without";
const DELIVERIES: &str = "journal: one change until all have it, with it and without";

/// Measures, then judges.
pub(crate) fn run(
    common: &Common,
    options: &Journal,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let measured = measure(common, options, seats, report);
    judge(report);
    measured
}

/// Measures registrations, changes and crashes.
pub(crate) fn measure(
    common: &Common,
    options: &Journal,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for outstanding in OUTSTANDING {
        registrations(common, options, outstanding, seats, report)?;
    }
    let [to_many, to_one] = CHANGES;
    for (subscribers, changes) in [(options.subscribers, to_many), (1, to_one)] {
        let load = Load {
            subscribers,
            payload: options.payload,
            length: Length::exactly(changes),
        };
        deliveries(common, load, seats, report)?;
    }
    crash::run(common, options, seats, report)
}

/// Holds what was measured against the numbers to reach.
pub(crate) fn judge(report: &mut Report) {
    let unjournaled = ("server", json!(Kind::Unjournaled.name()));
    let goals = [
        (
            "registrations/s, one at a time, with the journal against without",
            OUTSTANDING[0],
        ),
        (
            "registrations/s, 32 outstanding, with the journal against without",
            OUTSTANDING[1],
        ),
    ];
    for (measure, outstanding) in goals {
        let row = [("outstanding", json!(outstanding)), unjournaled.clone()];
        let ratio = report.figure(REGISTRATIONS, &row, "rate_ratio");
        at_least(report, measure, "x", ratio, 0.93, 0.98);
    }
    let of = |report: &Report, to: &str, name: &str| {
        let row = [("to", json!(to)), unjournaled.clone()];
        report.figure(DELIVERIES, &row, name)
    };
    let ratio = of(report, TO_MANY, "time_ratio");
    let measure = "change until 1,000 have it, p50, with the journal against without";
    at_most(report, measure, "x", ratio, 1.05, 1.02);
    let more = of(report, TO_ONE, "more_us");
    let measure = "change until 1 has it, p50, with the journal less without";
    at_most(report, measure, " us", more, 150.0, 60.0);
    // The dearer of the two depths.
    let beyond = report.figures(REGISTRATIONS, &[], "beyond_own_bytes");
    let beyond = beyond.into_iter().max_by(f64::total_cmp);
    let measure = "bytes written per registration beyond its own data";
    at_most(report, measure, " B", beyond, 96.0, 64.0);
    crash::judge(report);
}

/// The product with its journal, then without.
fn targets(common: &Common, seats: Seats, report: &mut Report) -> io::Result<Vec<Target>> {
    let start = |kind| Target::start(kind, seats, common.cores);
    let targets = vec![start(common.spawn)?, start(Kind::Unjournaled)?];
    if targets[0].data().is_some_and(host::is_memory) {
        report.doubt("the data directory is in memory: the journal has no disk".to_owned());
    }
    Ok(targets)
}

fn registrations(
    common: &Common,
    options: &Journal,
    outstanding: usize,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let publish = Publish {
        connections: options.connections,
        outstanding: vec![outstanding],
        round_ms: options.round_ms,
        subscriber: false,
        spread: false,
    };
    let targets = targets(common, seats, report)?;
    let stages = publish::turns(targets, &publish, outstanding, ROUNDS * common.rounds)?;
    tell_registrations(&stages, options.connections, outstanding, report)?;
    let pairs = stages[0].rounds.iter().zip(&stages[1].rounds);
    let ratio = median(pairs.map(|(with, without)| with.per_second() / without.per_second()));
    report.headline(
        format!("{ratio:.2}x"),
        format!("registrations per second with the journal, {outstanding} outstanding"),
        "without it".to_owned(),
    );
    Ok(())
}

fn tell_registrations(
    stages: &[Registering],
    connections: usize,
    outstanding: usize,
    report: &mut Report,
) -> io::Result<()> {
    for stage in stages {
        let is_first = std::ptr::eq(stage, &stages[0]);
        let pairs = || stages[0].rounds.iter().zip(&stage.rounds);
        let rates =
            pairs().map(|(with, without)| rounded(with.per_second() / without.per_second()));
        let rates: Option<Vec<_>> = (!is_first).then(|| rates.collect());
        let each = |round: &Registrations| round.server_us().unwrap_or(f64::NAN);
        let cpu = pairs().map(|(with, without)| each(with) / each(without));
        let rounds = &stage.rounds;
        let written = written(stage, is_first)?;
        let beyond = written.map(|written| written - stage.own_bytes_each());
        if is_first && stage.target.metric("rollcall_journal_degraded")? > 0 {
            report.doubt(format!(
                "{outstanding} outstanding: the disk did not keep up, and the journal went on without some of the changes"
            ));
        }
        report.row(
            REGISTRATIONS,
            json!({
                "connections": connections,
                "outstanding": outstanding,
                "server": stage.target.name,
                "per_second": median(rounds.iter().map(Registrations::per_second)).round(),
                "server_us": rounded(median(rounds.iter().map(each))),
                "client_busy": rounded(median(rounds.iter().map(|round| round.window.client_busy()))),
                "written_bytes_each": written.map(rounded),
                "beyond_own_bytes": beyond.map(rounded),
                "rate_ratio": rates.clone().map(|all| rounded(median(all))),
                "cpu_ratio": (!is_first).then(|| rounded(median(cpu))),
                "rate_ratio_rounds": rates,
            }),
        );
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        let load = format!("journal, {outstanding} outstanding");
        meter::judge(&load, &stage.target.name, &windows, report);
    }
    Ok(())
}

/// Bytes written per registration, once all are.
fn written(stage: &Registering, is_journaled: bool) -> io::Result<Option<f64>> {
    if !is_journaled {
        return Ok(None);
    }
    wait_for_writes(&stage.target)?;
    let bytes = stage
        .target
        .metric("rollcall_journal_written_bytes_total")?;
    Ok(Some(bytes as f64 / stage.answered().max(1) as f64))
}

/// Waits until nothing that was answered is still to be written: answers do not wait for the journal.
fn wait_for_writes(target: &Target) -> io::Result<()> {
    let start = Instant::now();
    while target.metric("rollcall_journal_bytes{of=\"pending\"}")? > 0 {
        interrupt::check()?;
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "{}: the journal was not written within {PATIENCE:?}",
                target.name
            )));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn deliveries(common: &Common, load: Load, seats: Seats, report: &mut Report) -> io::Result<()> {
    let stages = fanout::turns(targets(common, seats, report)?, load, common.rounds)?;
    for stage in &stages {
        let is_first = std::ptr::eq(stage, &stages[0]);
        let pairs = || stages[0].rounds.iter().zip(&stage.rounds);
        let times = pairs().map(|(with, without)| rounded(with.p50_ms() / without.p50_ms()));
        let times: Option<Vec<_>> = (!is_first).then(|| times.collect());
        let more = pairs().map(|(with, without)| rounded((with.p50_ms() - without.p50_ms()) * 1e3));
        let more: Option<Vec<_>> = (!is_first).then(|| more.collect());
        let rounds = &stage.rounds;
        report.row(
            DELIVERIES,
            json!({
                "to": if load.subscribers == 1 { TO_ONE } else { TO_MANY },
                "subscribers": load.subscribers,
                "bytes": load.payload,
                "server": stage.target.name,
                "p50_ms": rounded(median(rounds.iter().map(Changes::p50_ms))),
                "delivery_p99_ms": rounded(median(rounds.iter().map(Changes::p99_ms))),
                "server_us": stage.server_us().map(rounded),
                "server_busy": stage.server_busy().map(rounded),
                "client_busy": rounded(median(rounds.iter().map(|round| round.window.client_busy()))),
                "time_ratio": times.clone().map(|all| rounded(median(all))),
                "more_us": more.clone().map(|all| rounded(median(all))),
                "time_ratio_rounds": times,
                "more_us_rounds": more,
            }),
        );
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        let name = format!("journal, {load}");
        meter::judge(&name, &stage.target.name, &windows, report);
    }
    draw(&stages, load, report);
    Ok(())
}

fn draw(stages: &[Fanout], load: Load, report: &mut Report) {
    let deliveries: Vec<_> = stages.iter().map(Fanout::deliveries).collect();
    let names = stages.iter().map(|stage| stage.target.name.as_str());
    report.plot(
        DELIVERIES,
        Plot::distribution(
            format!("From a change to each delivery: {load}"),
            "ms",
            names.zip(&deliveries),
        ),
    );
    let moments: Vec<Moments> = stages.iter().map(Fanout::moments).collect();
    report.plot(
        DELIVERIES,
        Plot::over_time(
            format!("Each change, servers in turns: {load}"),
            "ms",
            moments,
        ),
    );
}
