//! What others wait while one core pushes to many, back to back: registrations and heartbeats on connections of their own.
//!
//! They are sent at fixed times by a thread that runs before the one that receives the pushes, because both share the client's CPU: what is
//! measured is how long the server takes, not how long the load generator is busy. Latencies count from when each was due.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind};
use rollcall_core::message::Boxes;
use serde_json::json;

use crate::args::{Common, Neighbours};
use crate::clients::{Address, Clients, Hears};
use crate::crowd::is_taken;
use crate::fanout::Stage;
use crate::host::{self, Seats};
use crate::meter::{Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, bytes, quantile_ms, rounded, shown};
use crate::target::Target;
use crate::timeline::{Timeline, nanos, times};
use crate::wire::{self, Registration};

/// Connections that register and beat in turn; many, so that none has two questions open while the server is slow.
const CONNECTIONS: usize = 100;
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The quiet time is this part of the loaded one.
const QUIET_PART: u32 = 4;
/// The table of this scenario.
pub(crate) const TITLE: &str = "neighbours: others, while one core pushes to many back to back";
/// What others are called in the table when the server pushes.
pub(crate) const LOADED: &str = "back to back";

/// Watches the others without load, then with it.
pub(crate) fn run(
    common: &Common,
    options: &Neighbours,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let loaded = Duration::from_millis(options.load_ms);
    for target in Target::all(common, seats)? {
        let progress = Progress::new(format!("neighbours, {}", target.name), 3);
        progress.begin(format_args!("{} subscribers come", options.subscribers));
        let mut stage = Stage::set_up(target, options.subscribers)?;
        progress.step();
        progress.begin("others alone");
        let quiet = watch(&mut stage, options, loaded / QUIET_PART, None)?;
        progress.step();
        progress.begin("others while it pushes");
        let busy = watch(&mut stage, options, loaded, Some(options.payload))?;
        drop(progress);
        tell(&stage, options, "none", &quiet, report);
        tell(&stage, options, LOADED, &busy, report);
        draw(&stage, options, &quiet.waits, &busy.waits, report);
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
    }
    Ok(())
}

/// What was seen in one stretch of time.
struct Watched {
    waits: Waits,
    pushes: usize,
    window: Window,
}

/// Watches the others for so long, while changes of this size follow each other if there are any.
fn watch(
    stage: &mut Stage,
    options: &Neighbours,
    long: Duration,
    payload: Option<usize>,
) -> io::Result<Watched> {
    let (address, rate) = (stage.target.address, options.rate);
    let meter = Meter::start(&stage.target);
    let mut changes = 0;
    let waits = thread::scope(|scope| {
        let others = scope.spawn(move || Waits::of(address, rate, long));
        while let Some(payload) = payload.filter(|_| !others.is_finished()) {
            stage.deliver(payload)?;
            changes += 1;
        }
        others
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread of the others panicked")))
    })?;
    Ok(Watched {
        waits,
        pushes: changes * options.subscribers,
        window: meter.stop(&stage.target),
    })
}

/// What the others sent, and how long they waited.
struct Waits {
    due: Vec<Instant>,
    registration: Histogram<u64>,
    heartbeat: Histogram<u64>,
    timeline: Timeline,
    unanswered: usize,
    wrong: usize,
    runs_first: bool,
}

impl Waits {
    /// Registers and beats by turns, each so often per second.
    fn of(address: Address, rate: u32, long: Duration) -> io::Result<Self> {
        let mut waits = Self {
            due: Vec::new(),
            registration: times(),
            heartbeat: times(),
            timeline: Timeline::default(),
            unanswered: 0,
            wrong: 0,
            runs_first: host::run_first(),
        };
        let mut clients = Clients::new()?;
        clients.connect(address, CONNECTIONS)?;
        let period = Duration::from_secs(1) / (2 * rate.max(1));
        let start = Instant::now();
        waits.timeline.begin();
        for number in 0.. {
            let due = start + period * number;
            if due > start + long {
                break;
            }
            while Instant::now() < due {
                clients.poll(due.saturating_duration_since(Instant::now()), &mut waits)?;
            }
            waits.due.push(due);
            waits.unanswered += 1;
            clients.send(number as usize % CONNECTIONS, &question(number))?;
        }
        clients.poll_until(PATIENCE, &mut waits, |waits| waits.unanswered == 0)?;
        Ok(waits)
    }
}

/// Every other one is a registration; the number is its request id.
fn question(number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    if number % 2 == 1 {
        wire::heartbeat(number, &mut frame);
        return frame;
    }
    let boxes: Boxes = [wire::text(u64::from(number), 64).as_str()]
        .into_iter()
        .collect();
    let who = number as usize % CONNECTIONS;
    let registration = Registration {
        data_id: format!("com.example.Neighbour{who}:1.0@DEFAULT"),
        register_id: wire::register_id(4, who),
        version: i64::from(number) + 1,
    };
    registration.publish(number, &boxes, &mut frame);
    frame
}

impl Hears for Waits {
    fn frame(&mut self, _: usize, frame: &Frame<'_>, _: &mut Vec<u8>) {
        let times = match frame.kind {
            Kind::Response { .. } if is_taken(frame) => &mut self.registration,
            Kind::HeartbeatAck { .. } => &mut self.heartbeat,
            _ => {
                self.wrong += 1;
                return;
            }
        };
        let Some(due) = self.due.get(frame.request_id as usize) else {
            self.wrong += 1;
            return;
        };
        let now = Instant::now();
        let nanos = nanos(now - *due);
        times.saturating_record(nanos);
        self.timeline.record(now, nanos);
        self.unanswered -= 1;
    }

    fn closed(&mut self, _: usize) {
        self.wrong += 1;
    }
}

fn tell(stage: &Stage, options: &Neighbours, load: &str, seen: &Watched, report: &mut Report) {
    let name = stage.target.name.as_str();
    let Watched {
        waits,
        pushes,
        window,
    } = seen;
    report.row(
        TITLE,
        json!({
            "subscribers": options.subscribers,
            "bytes": options.payload,
            "server": name,
            "pushes_to_many": load,
            "pushes": pushes,
            "registration_p50_ms": quantile_ms(&waits.registration, 0.5),
            "registration_p99_ms": quantile_ms(&waits.registration, 0.99),
            "heartbeat_p50_ms": quantile_ms(&waits.heartbeat, 0.5),
            "heartbeat_p99_ms": quantile_ms(&waits.heartbeat, 0.99),
            "max_ms": rounded(waits.registration.max().max(waits.heartbeat.max()) as f64 / 1e6),
            "server_busy": window.server_busy().map(rounded),
            "client_busy": rounded(window.client_busy()),
        }),
    );
    if waits.wrong + waits.unanswered > 0 {
        report.problem(format!(
            "{name}: {} of the others were refused or cut, {} never answered",
            waits.wrong, waits.unanswered
        ));
    }
    if !waits.runs_first {
        report.doubt(format!(
            "{name}: no real-time priority for the others' thread: its latencies include the time in which the client receives pushes"
        ));
    }
}

fn draw(stage: &Stage, options: &Neighbours, quiet: &Waits, busy: &Waits, report: &mut Report) {
    let many = format!(
        "while {} x {} go out back to back",
        shown(options.subscribers as f64),
        bytes(options.payload)
    );
    for (what, times, alone) in [
        ("registration", &busy.registration, &quiet.registration),
        ("heartbeat", &busy.heartbeat, &quiet.heartbeat),
    ] {
        report.headline(
            format!("{} ms", shown(quantile_ms(times, 0.99))),
            format!("p99 of a {what} {many}"),
            format!("alone {} ms", shown(quantile_ms(alone, 0.99))),
        );
    }
    report.plot(
        TITLE,
        Plot::distribution(
            format!("Time to the answer, {}", stage.target.name),
            "ms",
            [
                ("registration", &busy.registration),
                ("heartbeat", &busy.heartbeat),
                ("registration, no pushes", &quiet.registration),
                ("heartbeat, no pushes", &quiet.heartbeat),
            ],
        ),
    );
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Slowest of every 50 ms, {}", stage.target.name),
            "ms",
            vec![
                quiet.timeline.slowest_ms("no pushes"),
                busy.timeline.slowest_ms(LOADED),
            ],
        ),
    );
}
