//! What a second core brings where it has a CPU of its own: registrations per second with two data cores and with one, in turns.
//!
//! The load comes from two threads on two further CPUs, so that it is not what limits two cores; with fewer CPUs there is nothing to measure.

use std::io;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::args::{Apart, Common, Publish};
use crate::host::{self, Seats};
use crate::meter::{self, Window};
use crate::progress::Progress;
use crate::publish::{Generator, Round};
use crate::report::{Report, median, rounded};
use crate::target::Target;

/// The table of this scenario.
pub(crate) const TITLE: &str = "apart: two data cores beside one, each on a CPU of its own";
/// The server that the other is held against.
pub(crate) const ONE: &str = "1 core";

/// Measures both in turns.
pub(crate) fn run(
    common: &Common,
    options: &Apart,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let apart = seats.apart.ok_or_else(|| {
        io::Error::other(format!(
            "two cores on a CPU each need 4 CPUs, here are {}",
            seats.cpus
        ))
    })?;
    let seats = seats.with(apart);
    let mut sides = Vec::new();
    for (cores, name) in [(2, "2 cores"), (1, ONE)] {
        let mut target = Target::start(common.spawn, seats, cores)?;
        name.clone_into(&mut target.name);
        sides.push(Side::set_up(target, cores, options)?);
    }
    let progress = Progress::new("apart", common.rounds * sides.len());
    let length = Duration::from_millis(options.round_ms);
    for round in 0..common.rounds {
        for side in &mut sides {
            progress.begin(format_args!("round {}, {}", round + 1, side.target.name));
            side.round(apart.clients, length)?;
            progress.step();
        }
    }
    drop(progress);
    tell(&sides, report);
    Ok(())
}

/// One server with the threads that load it.
struct Side {
    target: Target,
    cores: usize,
    generators: Vec<Generator>,
    /// What each thread saw, per round.
    rounds: Vec<Vec<Round>>,
}

impl Side {
    fn set_up(target: Target, cores: usize, options: &Apart) -> io::Result<Self> {
        let connections = (options.connections / 2).max(1);
        let publish = Publish {
            connections,
            outstanding: vec![options.outstanding],
            round_ms: options.round_ms,
            subscriber: false,
            spread: true,
        };
        let connect =
            |first| Generator::connect(&target, &publish, options.outstanding, first * connections);
        Ok(Self {
            generators: (0..2).map(connect).collect::<io::Result<_>>()?,
            target,
            cores,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, cpus: [usize; 2], length: Duration) -> io::Result<()> {
        let target = &self.target;
        let rounds = thread::scope(|scope| {
            let generators = self.generators.iter_mut().zip(cpus);
            let threads = generators.map(|(generator, cpu)| {
                scope.spawn(move || {
                    host::pin(cpu)?;
                    generator.round(target, length)
                })
            });
            // All of them begin before one is waited for.
            let threads: Vec<_> = threads.collect();
            let rounds = threads.into_iter().map(|thread| {
                let panicked = |_| Err(io::Error::other("a thread of the load generator panicked"));
                thread.join().unwrap_or_else(panicked)
            });
            rounds.collect::<io::Result<Vec<_>>>()
        })?;
        self.rounds.push(rounds);
        Ok(())
    }

    /// Registrations per second of all threads, per round.
    fn rates(&self) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter();
        rounds.map(|threads| threads.iter().map(Round::per_second).sum())
    }

    /// What was used, as each thread saw it.
    fn windows(&self) -> Vec<Window> {
        let cores = u32::try_from(self.cores).expect("one or two");
        let rounds = self.rounds.iter().flatten();
        rounds.map(|round| round.window.per_cpu(cores)).collect()
    }
}

fn tell(sides: &[Side], report: &mut Report) {
    for (place, side) in sides.iter().enumerate() {
        let pairs = sides[0].rates().zip(side.rates());
        let ratios: Vec<_> = pairs.map(|(two, one)| rounded(two / one)).collect();
        let ratios = (place > 0).then_some(ratios);
        let windows = side.windows();
        let busy: Option<Vec<_>> = windows.iter().map(Window::server_busy).collect();
        report.row(
            TITLE,
            json!({
                "server": side.target.name,
                "per_second": median(side.rates()).round(),
                "best": side.rates().map(f64::round).max_by(f64::total_cmp),
                "server_busy": busy.map(|busy| rounded(median(busy))),
                "client_busy": rounded(median(windows.iter().map(Window::client_busy))),
                "rate_ratio": ratios.clone().map(|all| rounded(median(all))),
                "rate_ratio_rounds": ratios,
            }),
        );
        let problems = side.generators.iter();
        problems
            .filter_map(|generator| generator.problem(&side.target))
            .for_each(|problem| report.problem(problem));
        meter::judge("apart", &side.target.name, &windows, report);
    }
    let faster = sides[0].rates().zip(sides[1].rates());
    report.headline(
        format!("{:.2}x", median(faster.map(|(two, one)| two / one))),
        "registrations per second with a second core on a CPU of its own".to_owned(),
        ONE.to_owned(),
    );
}
