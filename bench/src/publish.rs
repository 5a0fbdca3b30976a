//! Registrations per second: each connection keeps so many unanswered, and every answer lets it send the next.
//!
//! Each connection renews publishers of its own, each time with another text, so that every registration changes something.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::Boxes;
use serde_json::json;

use crate::args::{Common, Publish};
use crate::clients::{Clients, Hears};
use crate::crowd::is_taken;
use crate::host::Seats;
use crate::process;
use crate::report::{Report, median, rounded, us};
use crate::target::Target;
use crate::wire::{self, Registration};

/// How long the answers of a round may take to come in at its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Publishers of a connection, which it renews in turn.
const PUBLISHERS: usize = 64;

/// Measures every depth of outstanding registrations.
pub(crate) fn run(
    common: &Common,
    options: &Publish,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &outstanding in &options.outstanding {
        let mut stages = Vec::new();
        for target in Target::all(common, seats)? {
            stages.push(Stage::set_up(target, options, outstanding)?);
        }
        let length = Duration::from_millis(options.round_ms);
        for _ in 0..common.rounds {
            for stage in &mut stages {
                stage.round(length)?;
            }
        }
        tell(&stages, options, outstanding, report);
    }
    Ok(())
}

struct Stage {
    target: Target,
    clients: Clients,
    load: Load,
    rounds: Vec<Round>,
}

struct Round {
    per_second: f64,
    server_us: Option<f64>,
    client_busy: f64,
}

impl Stage {
    fn set_up(target: Target, options: &Publish, outstanding: usize) -> io::Result<Self> {
        let mut clients = Clients::new()?;
        clients.connect(target.address, options.connections)?;
        let mut load = Load::new(options.connections, outstanding);
        if options.subscriber {
            let listener = clients.connect(target.address, 1)?.start;
            let mut frame = Vec::new();
            for number in 0..options.connections {
                let registration = Registration {
                    data_id: service(number),
                    register_id: wire::register_id(2, number),
                    version: 1,
                };
                registration.subscribe(1, &mut frame);
            }
            clients.send(listener, &frame)?;
            load.listener = Some(listener);
        }
        Ok(Self {
            target,
            clients,
            load,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, length: Duration) -> io::Result<()> {
        let (server, client) = (
            self.target.cpu_time(),
            process::cpu_time(std::process::id()),
        );
        let answered = self.load.answered;
        let start = Instant::now();
        self.load.stops = false;
        for connection in 0..self.load.senders.len() {
            let mut out = Vec::new();
            for _ in 0..self.load.outstanding {
                self.load.append_next(connection, &mut out);
            }
            self.clients.send(connection, &out)?;
        }
        self.clients
            .poll_until(length, &mut self.load, |_| start.elapsed() >= length)?;
        let wall = start.elapsed();
        let count = self.load.answered - answered;
        let used = |before| Some(self.target.cpu_time()?.saturating_sub(before));
        let server = server.and_then(used);
        let client = process::cpu_time(std::process::id()).saturating_sub(client);
        self.rounds.push(Round {
            per_second: count as f64 / wall.as_secs_f64(),
            server_us: server.map(|server| us(server) / count as f64),
            client_busy: client.as_secs_f64() / wall.as_secs_f64(),
        });
        self.load.stops = true;
        let done = self
            .clients
            .poll_until(PATIENCE, &mut self.load, |load| load.under_way == 0)?;
        if done {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{} registrations were never answered",
                self.load.under_way
            )))
        }
    }
}

/// All connections and what they wait for.
struct Load {
    outstanding: usize,
    senders: Vec<Sender>,
    listener: Option<usize>,
    acknowledgement: Vec<u8>,
    answered: u64,
    under_way: usize,
    refused: u64,
    closed: u64,
    pushes: u64,
    stops: bool,
    latency: Histogram<u64>,
}

/// A connection that publishes.
struct Sender {
    /// One ready frame per publisher; only its numbers change.
    frames: Vec<Ready>,
    sent: u32,
    /// When each unanswered registration was sent, by request id modulo the depth.
    sent_at: Vec<Instant>,
}

struct Ready {
    bytes: Vec<u8>,
    version_at: usize,
    text_at: usize,
}

impl Load {
    fn new(connections: usize, outstanding: usize) -> Self {
        let sender = |connection| Sender {
            frames: (0..PUBLISHERS)
                .map(|number| Ready::new(connection, number))
                .collect(),
            sent: 0,
            sent_at: vec![Instant::now(); outstanding],
        };
        Self {
            outstanding,
            senders: (0..connections).map(sender).collect(),
            listener: None,
            acknowledgement: wire::acknowledgement(),
            answered: 0,
            under_way: 0,
            refused: 0,
            closed: 0,
            pushes: 0,
            stops: false,
            latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("a valid range"),
        }
    }

    fn append_next(&mut self, connection: usize, out: &mut Vec<u8>) {
        let sender = &mut self.senders[connection];
        let number = sender.sent as usize;
        sender.frames[number % PUBLISHERS].append(sender.sent, out);
        sender.sent_at[number % self.outstanding] = Instant::now();
        sender.sent += 1;
        self.under_way += 1;
    }

    fn on_answer(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        self.answered += 1;
        self.under_way -= 1;
        // Looking into one answer of a hundred keeps the load generator faster than the server.
        if self.answered.is_multiple_of(100) && !is_taken(frame) {
            self.refused += 1;
        }
        let sent_at =
            self.senders[connection].sent_at[frame.request_id as usize % self.outstanding];
        let nanos = u64::try_from(sent_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        if !self.stops {
            self.append_next(connection, out);
        }
    }
}

impl Hears for Load {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            FrameKind::Response { .. } if Some(connection) != self.listener => {
                self.on_answer(connection, frame, out)
            }
            FrameKind::Request { .. } => {
                self.pushes += 1;
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            _ => {}
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

impl Ready {
    fn new(connection: usize, number: usize) -> Self {
        let registration = Registration {
            data_id: service(connection),
            register_id: wire::register_id(1, connection * PUBLISHERS + number),
            // Far enough from small numbers that every version has the same length on the wire.
            version: 1 << 40,
        };
        let boxes: Boxes = [wire::text(0, 64).as_str()].into_iter().collect();
        let mut bytes = Vec::new();
        registration.publish(0, &boxes, &mut bytes);
        let place = |wanted: &[u8]| {
            let found = bytes
                .windows(wanted.len())
                .position(|window| window == wanted);
            found.expect("it was just written")
        };
        Self {
            version_at: place(&(1_i64 << 40).to_be_bytes()),
            text_at: place(b"0000000000000000x"),
            bytes,
        }
    }

    fn append(&mut self, request_id: u32, out: &mut Vec<u8>) {
        let version = (1_i64 << 40) + i64::from(request_id);
        self.bytes[self.version_at..][..8].copy_from_slice(&version.to_be_bytes());
        // Letters, so that the text keeps its length in every encoding.
        for (digit, byte) in self.bytes[self.text_at..][..8].iter_mut().enumerate() {
            *byte = b'a' + (request_id >> (4 * digit) & 15) as u8;
        }
        wire::append_as(out, &self.bytes, request_id);
    }
}

fn service(connection: usize) -> String {
    format!("com.example.Publish{connection}:1.0@DEFAULT")
}

fn tell(stages: &[Stage], options: &Publish, outstanding: usize, report: &mut Report) {
    let first = &stages[0];
    for stage in stages {
        let name = stage.target.kind.name();
        let rounds = &stage.rounds;
        let ratio = |of: fn(&Round) -> f64| {
            rounded(median(
                first
                    .rounds
                    .iter()
                    .zip(rounds)
                    .map(|(ours, theirs)| of(ours) / of(theirs)),
            ))
        };
        let is_first = std::ptr::eq(stage, first);
        let latency =
            |quantile| rounded(stage.load.latency.value_at_quantile(quantile) as f64 / 1e3);
        report.row(
            "publish: registrations per second",
            json!({
                "connections": options.connections,
                "outstanding": outstanding,
                "server": name,
                "per_second": median(rounds.iter().map(|round| round.per_second)).round(),
                "best": rounds.iter().map(|round| round.per_second.round()).max_by(f64::total_cmp),
                "server_us": rounds[0].server_us.map(|_| rounded(median(rounds.iter().filter_map(|round| round.server_us)))),
                "p50_us": latency(0.5),
                "p99_us": latency(0.99),
                "pushes": stage.load.pushes,
                "client_busy": rounded(median(rounds.iter().map(|round| round.client_busy))),
                "rate_ratio": (!is_first).then(|| ratio(|round| round.per_second)),
                "cpu_ratio": (!is_first).then(|| ratio(|round| round.server_us.unwrap_or(f64::NAN))),
            }),
        );
        if stage.load.refused + stage.load.closed > 0 {
            report.problem(format!(
                "{name}: registrations refused, {} connections ended",
                stage.load.closed
            ));
        }
    }
}
