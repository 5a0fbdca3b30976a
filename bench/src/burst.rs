//! Many registrations from each of many connections at once: none may be refused, and each must be answered before clients give up.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind};
use rollcall_core::message::Boxes;
use serde_json::json;

use crate::args::{Burst, Common};
use crate::clients::{Clients, Hears};
use crate::crowd::is_taken;
use crate::host::Seats;
use crate::meter::{Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, ms, quantile_ms, rounded};
use crate::target::Target;
use crate::timeline::{nanos, times};
use crate::wire::{self, Registration};

/// How long the last answer may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this time a client sends its registration again.
const CLIENTS_GIVE_UP: Duration = Duration::from_millis(1_000);

const TITLE: &str = "burst: registrations at once";

/// Sends all bursts at once and waits for the answers.
pub(crate) fn run(
    common: &Common,
    options: &Burst,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let targets = Target::all(common, seats)?;
    let progress = Progress::new("burst", targets.len() * common.rounds);
    let mut after = vec![times(); targets.len()];
    for round in 0..common.rounds {
        for (target, after) in targets.iter().zip(&mut after) {
            progress.begin(format_args!("round {}, {}", round + 1, target.name));
            let meter = Meter::start(target);
            let answers = burst(target, options, round)?;
            let window = meter.stop(target);
            tell(target, options, &answers, &window, report);
            after.add(&answers.after).expect("of the same range");
            progress.step();
        }
    }
    drop(progress);
    let title = "From the burst to the answer".to_owned();
    let names = targets.iter().map(|target| target.name.as_str());
    report.plot(TITLE, Plot::distribution(title, "ms", names.zip(&after)));
    Ok(())
}

fn burst(target: &Target, options: &Burst, round: usize) -> io::Result<Answers> {
    let mut clients = Clients::new()?;
    let connections = clients.connect(target.address, options.connections)?;
    let bursts: Vec<_> = connections
        .map(|connection| frames(options, connection, round))
        .collect();
    let mut answers = Answers::new();
    let expected = options.connections * options.registrations;
    answers.start = Instant::now();
    for (connection, frames) in bursts.iter().enumerate() {
        clients.send(connection, frames)?;
    }
    clients.poll_until(PATIENCE, &mut answers, |answers| {
        answers.taken + answers.refused >= expected
    })?;
    answers.missing = expected.saturating_sub(answers.taken + answers.refused);
    Ok(answers)
}

fn frames(options: &Burst, connection: usize, round: usize) -> Vec<u8> {
    let boxes: Boxes = ["10.0.0.1:12200?zone=a"].into_iter().collect();
    let mut frames = Vec::new();
    for number in 0..options.registrations {
        let registration = Registration {
            data_id: format!("com.example.Burst{}:1.0@DEFAULT", number % 100),
            register_id: wire::register_id(
                1,
                (round * options.connections + connection) * options.registrations + number,
            ),
            version: 1,
        };
        registration.publish(
            u32::try_from(number).expect("a burst is small"),
            &boxes,
            &mut frames,
        );
    }
    frames
}

struct Answers {
    start: Instant,
    taken: usize,
    refused: usize,
    missing: usize,
    closed: usize,
    last: Duration,
    after: Histogram<u64>,
}

impl Answers {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            taken: 0,
            refused: 0,
            missing: 0,
            closed: 0,
            last: Duration::ZERO,
            after: times(),
        }
    }
}

impl Hears for Answers {
    fn frame(&mut self, _: usize, frame: &Frame<'_>, _: &mut Vec<u8>) {
        if !matches!(frame.kind, Kind::Response { .. }) {
            return;
        }
        if is_taken(frame) {
            self.taken += 1;
        } else {
            self.refused += 1;
        }
        self.last = self.start.elapsed();
        self.after.saturating_record(nanos(self.last));
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

fn tell(target: &Target, options: &Burst, answers: &Answers, window: &Window, report: &mut Report) {
    let name = &target.name;
    report.row(
        TITLE,
        json!({
            "connections": options.connections,
            "registrations_each": options.registrations,
            "server": name,
            "p50_ms": quantile_ms(&answers.after, 0.5),
            "last_ms": ms(answers.last),
            "refused": answers.refused,
            "unanswered": answers.missing,
            "within_client_time_out": answers.last <= CLIENTS_GIVE_UP,
            "server_us": window.server_us_each(options.connections * options.registrations).map(rounded),
        }),
    );
    if answers.refused + answers.missing + answers.closed > 0 {
        report.problem(format!(
            "{name}: {} refused, {} unanswered, {} connections ended",
            answers.refused, answers.missing, answers.closed
        ));
    }
}
