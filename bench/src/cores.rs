//! What crossing between cores costs: the same server with two data cores and with one, all of them on the server's one CPU, in turns.
//!
//! Connections are spread over the cores by the kernel and services by the ring, and every connection publishes to every service, so that half
//! of what is said with two cores concerns another core than the one it came to. The server's own counters tell how the connections lie and how
//! many messages crossed: two for a registration that crosses, one for a change with subscribers on the other core.

use std::io;

use serde_json::json;

use crate::args::{Common, Cores, Publish};
use crate::fanout::{self, Length, Load, Stage as Fanout};
use crate::host::Seats;
use crate::meter::{self, Window};
use crate::publish::{self, Stage as Registering};
use crate::report::{Moments, Plot, Report, median, rounded};
use crate::target::Target;

/// The table of this scenario.
pub(crate) const TITLE: &str = "cores: two data cores beside one, all on one CPU";
/// The load of which the table tells a delivery.
pub(crate) const DELIVERIES: &str = "deliveries";
/// The server that the other is held against.
pub(crate) const ONE: &str = "1 core";
/// The server's counter of messages between cores.
const CROSSINGS: &str = "rollcall_mesh_messages_total";

/// Measures registrations, then deliveries.
pub(crate) fn run(
    common: &Common,
    options: &Cores,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &outstanding in &options.outstanding {
        let publish = Publish {
            connections: options.connections,
            outstanding: vec![outstanding],
            round_ms: options.round_ms,
            subscriber: false,
            spread: true,
        };
        let stages = publish::turns(
            targets(common, seats)?,
            &publish,
            outstanding,
            common.rounds,
        )?;
        let counted = stages
            .iter()
            .map(Counted::registrations)
            .collect::<io::Result<Vec<_>>>()?;
        tell(&registrations(outstanding), &counted, report);
    }
    let load = Load {
        subscribers: options.subscribers,
        payload: options.payload,
        length: Length::usual(options.subscribers),
    };
    let stages = fanout::turns(targets(common, seats)?, load, common.rounds)?;
    let counted = stages
        .iter()
        .map(Counted::deliveries)
        .collect::<io::Result<Vec<_>>>()?;
    tell(DELIVERIES, &counted, report);
    draw(&stages, report);
    Ok(())
}

/// The load of which the table tells a registration.
pub(crate) fn registrations(outstanding: usize) -> String {
    format!("registrations, {outstanding} outstanding")
}

fn targets(common: &Common, seats: Seats) -> io::Result<Vec<Target>> {
    let start = |(cores, name): (usize, &str)| {
        let mut target = Target::start(common.spawn, seats, cores)?;
        name.clone_into(&mut target.name);
        Ok(target)
    };
    [(2, "2 cores"), (1, ONE)].into_iter().map(start).collect()
}

/// What one server did in its turns.
struct Counted {
    name: String,
    /// How many of what is counted, and what was used for them, per round.
    rounds: Vec<(usize, Window)>,
    /// Messages between cores, from the start of the server.
    crossings: u64,
    /// Connections of each core.
    connections: String,
    /// What was counted from its start, the warm-up included.
    all: usize,
    problem: Option<String>,
}

impl Counted {
    fn registrations(stage: &Registering) -> io::Result<Self> {
        let rounds = stage.rounds.iter();
        Ok(Self {
            name: stage.target.name.clone(),
            rounds: rounds.map(|round| (round.answered, round.window)).collect(),
            crossings: stage.target.metric(CROSSINGS)?,
            connections: connections(&stage.target)?,
            all: stage.answered(),
            problem: stage.problem(),
        })
    }

    fn deliveries(stage: &Fanout) -> io::Result<Self> {
        let rounds = stage.rounds.iter();
        Ok(Self {
            name: stage.target.name.clone(),
            rounds: rounds.map(|round| (round.count(), round.window)).collect(),
            crossings: stage.target.metric(CROSSINGS)?,
            connections: connections(&stage.target)?,
            all: stage.all_deliveries(),
            problem: stage.problem(),
        })
    }

    /// CPU time of the server for each, per round.
    fn each(&self) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter();
        rounds.map(|(count, window)| window.server_us_each(*count).unwrap_or(f64::NAN))
    }
}

fn connections(target: &Target) -> io::Result<String> {
    let of = |core| target.metric(&format!("rollcall_core_connections{{core=\"{core}\"}}"));
    let cores = 0..target.metric("rollcall_cores")?;
    let each = cores.map(of).collect::<io::Result<Vec<_>>>()?;
    let each: Vec<_> = each.iter().map(u64::to_string).collect();
    Ok(each.join(" + "))
}

fn tell(load: &str, counted: &[Counted], report: &mut Report) {
    for (place, server) in counted.iter().enumerate() {
        let ratios = counted[0].each().zip(server.each());
        let ratios = ratios.map(|(two, one)| rounded(two / one));
        let ratios: Option<Vec<_>> = (place > 0).then(|| ratios.collect());
        let windows: Vec<_> = server.rounds.iter().map(|(_, window)| *window).collect();
        report.row(
            TITLE,
            json!({
                "load": load,
                "server": server.name,
                "server_us": rounded(median(server.each())),
                "server_us_best": server.each().min_by(f64::total_cmp).map(rounded),
                "connections_by_core": server.connections,
                "crossings": server.crossings,
                "crossings_each": rounded(server.crossings as f64 / server.all.max(1) as f64),
                "client_busy": rounded(median(windows.iter().map(Window::client_busy))),
                "cpu_ratio": ratios.clone().map(|all| rounded(median(all))),
                "cpu_ratio_rounds": ratios,
            }),
        );
        server
            .problem
            .iter()
            .for_each(|problem| report.problem(problem.clone()));
        meter::judge(load, &server.name, &windows, report);
    }
    let ratios = counted[0].each().zip(counted[1].each());
    report.headline(
        format!("{:.2}x", median(ratios.map(|(two, one)| two / one))),
        format!("server CPU with two cores on one CPU: {load}"),
        "one core".to_owned(),
    );
}

fn draw(stages: &[Fanout], report: &mut Report) {
    let moments: Vec<Moments> = stages.iter().map(Fanout::moments).collect();
    report.plot(
        TITLE,
        Plot::over_time("Each change until all have it".to_owned(), "ms", moments),
    );
    let deliveries: Vec<_> = stages.iter().map(Fanout::deliveries).collect();
    let names = stages.iter().map(|stage| stage.target.name.as_str());
    report.plot(
        TITLE,
        Plot::distribution(
            "From a change to each delivery".to_owned(),
            "ms",
            names.zip(&deliveries),
        ),
    );
}
