//! A server with many publishers is killed and started again on its journal, again and again.
//!
//! The files are in the page cache, as after any crash of a process; nobody comes back, so every start finds the same.

use std::io;
use std::time::Duration;

use rollcall_core::message::Boxes;
use serde_json::json;

use crate::args::{Common, Journal};
use crate::clients::Clients;
use crate::crowd::Crowd;
use crate::goals::{at_least, at_most};
use crate::host::Seats;
use crate::progress::Progress;
use crate::report::{Report, median, ms, rounded, shown};
use crate::target::{Start, Target};
use crate::wire::{self, Registration};

/// Publishers of a connection.
const PUBLISHERS_PER_CONNECTION: usize = 1_000;
/// Services of all of them.
const SERVICES: usize = 1_000;
/// Published bytes of each.
const TEXT_LEN: usize = 200;

const TITLE: &str = "journal: ready again after a kill";

pub(super) fn run(
    common: &Common,
    options: &Journal,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let progress = Progress::new("journal, a kill", common.rounds + 1);
    progress.begin(format_args!("{} publishers come", options.publishers));
    let mut target = Target::start(common.spawn, seats, common.cores)?;
    let mut clients = Clients::new()?;
    publish(&target, &mut clients, options.publishers)?;
    super::wait_for_writes(&target)?;
    progress.step();
    for round in 0..common.rounds {
        progress.begin(format_args!("kill {}", round + 1));
        let start = target.crash(seats, common.cores)?;
        tell(&target, &start, options, round, report)?;
        progress.step();
    }
    drop(progress);
    let ready = ready_ms(report).unwrap_or_default();
    report.headline(
        format!("{} ms", shown(ready)),
        format!(
            "from exec until ready, with {} publishers of a server that was killed",
            shown(options.publishers as f64)
        ),
        String::new(),
    );
    Ok(())
}

pub(super) fn judge(report: &mut Report) {
    let replayed = report.figures(TITLE, &[], "replayed_per_second");
    let replayed = (!replayed.is_empty()).then(|| median(replayed) / 1e3);
    let measure = "replay, publishers per second and core, 200 B each";
    at_least(report, measure, " k", replayed, 500.0, 1_000.0);
    let ready = ready_ms(report);
    let measure = "ready after kill -9 with 100,000 publishers";
    at_most(report, measure, " ms", ready, 500.0, 250.0);
}

fn ready_ms(report: &Report) -> Option<f64> {
    let ready = report.figures(TITLE, &[], "ready_ms");
    (!ready.is_empty()).then(|| median(ready))
}

fn publish(target: &Target, clients: &mut Clients, publishers: usize) -> io::Result<()> {
    let mut crowd = Crowd::default();
    let count = publishers.div_ceil(PUBLISHERS_PER_CONNECTION);
    let connections = clients.connect(target.address, count)?;
    crowd.register(clients, connections, 0, |connection, out| {
        let from = connection * PUBLISHERS_PER_CONNECTION;
        let to = publishers.min(from + PUBLISHERS_PER_CONNECTION);
        for number in from..to {
            let registration = Registration {
                data_id: format!("com.example.Returning{}:1.0@DEFAULT", number % SERVICES),
                register_id: wire::register_id(1, number),
                version: 1,
            };
            let text = wire::text(number as u64, TEXT_LEN);
            let boxes: Boxes = [text.as_str()].into_iter().collect();
            let request_id = u32::try_from(number).expect("fewer than request ids");
            registration.publish(request_id, &boxes, out);
        }
        to - from
    })?;
    crowd
        .problem()
        .map_or(Ok(()), |problem| Err(io::Error::other(problem)))
}

fn tell(
    target: &Target,
    start: &Start,
    options: &Journal,
    round: usize,
    report: &mut Report,
) -> io::Result<()> {
    let replayed: u64 = start.replayed.iter().map(|core| core.publishers).sum();
    let each_core: Duration = start.replayed.iter().map(|core| core.took).sum();
    let awaited = target.metric("rollcall_publishers_awaiting")?;
    let listed = target.metric("rollcall_stored_publishers")?;
    let longest = start.replayed.iter().map(|core| core.took).max();
    report.row(
        TITLE,
        json!({
            "publishers": options.publishers,
            "round": round + 1,
            "server": target.name,
            "listed": listed,
            "awaited": awaited,
            "ready_ms": ms(start.took),
            "replay_ms": longest.map(ms),
            // The log counts whole milliseconds.
            "replayed_per_second": (!each_core.is_zero())
                .then(|| rounded(replayed as f64 / each_core.as_secs_f64())),
            "journal_mib": rounded(target.metric("rollcall_journal_bytes{of=\"disk\"}")? as f64 / f64::from(1 << 20)),
        }),
    );
    let all = options.publishers as u64;
    if replayed != all || listed != all || awaited != all {
        report.problem(format!(
            "{}: of {all} publishers {replayed} were replayed, {listed} are listed and {awaited} awaited after kill {}",
            target.name,
            round + 1
        ));
    }
    Ok(())
}
