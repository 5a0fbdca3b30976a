//! What some subscribers that never read cost the others: two servers of one kind take turns, one with such subscribers and one without.

use std::io;

use serde_json::json;

use crate::args::{Common, Deaf};
use crate::fanout::{self, Length, Load, Round, Stage};
use crate::host::Seats;
use crate::meter;
use crate::report::{Plot, Report, median, rounded, shown};
use crate::target::Target;

/// The table of this scenario.
pub(crate) const TITLE: &str = "deaf: subscribers beside some that never read";
/// The server whose subscribers all read.
pub(crate) const ALL_READ: &str = "all read";

/// Measures both in turns.
pub(crate) fn run(
    common: &Common,
    options: &Deaf,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let load = Load {
        subscribers: options.subscribers,
        payload: options.payload,
        length: Length::exactly(options.changes),
    };
    let deaf = (options.subscribers * options.deaf_percent).div_ceil(100);
    let mut stages = Vec::new();
    for (name, deaf) in [
        (format!("{deaf} never read"), deaf),
        (ALL_READ.to_owned(), 0),
    ] {
        let mut target = Target::start(common.spawn, seats, common.cores)?;
        target.name = name;
        let mut stage = Stage::set_up(target, options.subscribers)?;
        stage.deafen(deaf)?;
        stages.push(stage);
    }
    fanout::alternate(&mut stages, load, common.rounds)?;
    tell(&stages, options, report);
    Ok(())
}

fn tell(stages: &[Stage], options: &Deaf, report: &mut Report) {
    let first = &stages[0];
    for stage in stages {
        let rounds = &stage.rounds;
        let pairs = first.rounds.iter().zip(rounds);
        let ratios = pairs.map(|(ours, theirs)| rounded(ours.p99_ms() / theirs.p99_ms()));
        let ratios: Option<Vec<_>> = (!std::ptr::eq(stage, first)).then(|| ratios.collect());
        report.row(
            TITLE,
            json!({
                "subscribers": options.subscribers,
                "bytes": options.payload,
                "server": stage.target.name,
                "p50_ms": rounded(median(rounds.iter().map(Round::p50_ms))),
                "delivery_p99_ms": rounded(median(rounds.iter().map(Round::p99_ms))),
                "server_us": stage.server_us().map(rounded),
                "server_busy": stage.server_busy().map(rounded),
                "client_busy": rounded(median(rounds.iter().map(|round| round.window.client_busy()))),
                "p99_ratio": ratios.clone().map(|all| rounded(median(all))),
                "p99_ratio_rounds": ratios,
            }),
        );
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        meter::judge("deaf", &stage.target.name, &windows, report);
    }
    let p99 = |stage: &Stage| format!("{:.1} ms", median(stage.rounds.iter().map(Round::p99_ms)));
    report.headline(
        p99(first),
        format!(
            "p99 of a delivery to {} subscribers of which {}",
            shown(options.subscribers as f64),
            first.target.name
        ),
        stages
            .get(1)
            .map_or_else(String::new, |all| format!("{ALL_READ}: {}", p99(all))),
    );
    let deliveries: Vec<_> = stages.iter().map(Stage::deliveries).collect();
    let names = stages.iter().map(|stage| stage.target.name.as_str());
    report.plot(
        TITLE,
        Plot::distribution(
            "From a change to each delivery".to_owned(),
            "ms",
            names.zip(&deliveries),
        ),
    );
    report.plot(
        TITLE,
        Plot::over_time(
            "Each change until all that read have it".to_owned(),
            "ms",
            stages.iter().map(Stage::moments).collect(),
        ),
    );
}
