//! What is told of the servers that took turns.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::json;

use super::{Load, Round, Stage, TITLE};
use crate::meter;
use crate::report::{Moments, Plot, Report, median, ms, rounded, shown};
use crate::timeline::times;

/// The table.
pub(super) fn tell(stages: &[Stage], load: Load, report: &mut Report) {
    let first = &stages[0];
    for stage in stages {
        let rounds = &stage.rounds;
        let is_first = std::ptr::eq(stage, first);
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        let held_back = meter::held_back(&windows).filter(|_| !is_first);
        let ratios = |of: fn(&Round) -> f64, theirs: fn(&Round) -> f64| -> Option<Vec<f64>> {
            let pairs = first.rounds.iter().zip(rounds);
            let ratios = pairs.map(|(our, their)| rounded(of(our) / theirs(their)));
            (!is_first).then(|| ratios.collect())
        };
        let least: fn(&Round) -> f64 = match held_back {
            Some(_) => Round::least_ms,
            None => Round::p50_ms,
        };
        let time = ratios(Round::p50_ms, least);
        let us = |round: &Round| round.server_us().unwrap_or(f64::NAN);
        let cpu = ratios(us, us);
        let middle = |values: Vec<f64>| rounded(median(values));
        let each: Option<Vec<_>> = rounds.iter().map(Round::server_us).collect();
        let client_us = rounds
            .iter()
            .map(|round| round.window.client_us_each(round.count()));
        let kind = stage.target.kind;
        report.row(
            TITLE,
            json!({
                "subscribers": load.subscribers,
                "bytes": load.payload,
                "server": stage.target.name,
                "semantics": format!("{}, {}", kind.delivers(), kind.keeps()),
                "p50_ms": middle(rounds.iter().map(Round::p50_ms).collect()),
                "best_ms": stage.best_ms(),
                "delivery_p99_ms": middle(rounds.iter().map(Round::p99_ms).collect()),
                "server_us": each.clone().map(middle),
                "server_us_best": each.and_then(|each| each.into_iter().min_by(f64::total_cmp)).map(rounded),
                "client_us": middle(client_us.collect()),
                "server_busy": stage.server_busy().map(rounded),
                "client_busy": middle(rounds.iter().map(|round| round.window.client_busy()).collect()),
                "time_ratio": time.clone().map(middle),
                "cpu_ratio": cpu.clone().map(middle),
                "time_ratio_rounds": time,
                "cpu_ratio_rounds": cpu,
            }),
        );
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
        let name = &stage.target.name;
        match held_back {
            Some(limit) => report.note(format!(
                "{load}, {name}: {limit}; its time_ratio counts it as fast as if nobody had ever kept it waiting"
            )),
            None => meter::judge(&load.to_string(), name, &windows, report),
        }
    }
}

/// The figure to see first, and the plots.
pub(super) fn draw(stages: &[Stage], load: Load, report: &mut Report) {
    let figure = |stage: &Stage| format!("{} ms", shown(stage.p50_ms()));
    let others = stages.iter().skip(1);
    let beside = others.map(|stage| format!("{} {}", stage.target.name, figure(stage)));
    report.headline(
        figure(&stages[0]),
        format!("one change until all have it: {load}"),
        beside.collect::<Vec<_>>().join(", "),
    );
    let deliveries: Vec<_> = stages.iter().map(Stage::deliveries).collect();
    let names = stages.iter().map(|stage| stage.target.name.as_str());
    report.plot(
        TITLE,
        Plot::distribution(
            format!("From a change to each delivery: {load}"),
            "ms",
            names.zip(&deliveries),
        ),
    );
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Each change, servers in turns: {load}"),
            "ms",
            stages.iter().map(Stage::moments).collect(),
        ),
    );
}

impl Stage {
    fn p50_ms(&self) -> f64 {
        median(self.rounds.iter().map(Round::p50_ms))
    }

    fn best_ms(&self) -> Option<f64> {
        let all = self.rounds.iter().flat_map(|round| &round.changes);
        all.map(|(_, whole)| ms(*whole)).min_by(f64::total_cmp)
    }

    /// CPU time of the server per delivery.
    pub(crate) fn server_us(&self) -> Option<f64> {
        let each: Option<Vec<_>> = self.rounds.iter().map(Round::server_us).collect();
        each.map(median)
    }

    /// Share of the time in which the server ran.
    pub(crate) fn server_busy(&self) -> Option<f64> {
        let rounds = self.rounds.iter();
        let each: Option<Vec<_>> = rounds.map(|round| round.window.server_busy()).collect();
        each.map(median)
    }

    /// How long every delivery took.
    pub(crate) fn deliveries(&self) -> Histogram<u64> {
        let mut all = times();
        for round in &self.rounds {
            all.add(&round.deliveries).expect("of the same range");
        }
        all
    }

    /// How long each change took, and when it was.
    pub(crate) fn moments(&self) -> Moments {
        let line = |round: &Round| -> Vec<(Instant, f64)> {
            let changes = round.changes.iter();
            changes.map(|(at, whole)| (*at, ms(*whole))).collect()
        };
        Moments {
            name: self.target.name.clone(),
            lines: self.rounds.iter().map(line).collect(),
        }
    }
}
