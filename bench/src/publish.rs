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
use crate::meter::{self, Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, median, rounded};
use crate::target::Target;
use crate::timeline::{Timeline, nanos, times};
use crate::wire::{self, Registration};

/// How long the answers of a round may take to come in at its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Publishers of a connection, which it renews in turn.
const PUBLISHERS: usize = 64;

/// The table of this scenario.
pub(crate) const TITLE: &str = "publish: registrations per second";

/// Measures every depth of outstanding registrations.
pub(crate) fn run(
    common: &Common,
    options: &Publish,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &outstanding in &options.outstanding {
        let targets = Target::all(common, seats)?;
        let stages = turns(targets, options, outstanding, common.rounds)?;
        tell(&stages, options, outstanding, report);
        draw(&stages, outstanding, report);
    }
    Ok(())
}

/// Lets servers take turns at one depth.
pub(crate) fn turns(
    targets: Vec<Target>,
    options: &Publish,
    outstanding: usize,
    rounds: usize,
) -> io::Result<Vec<Stage>> {
    let progress = Progress::new(
        format!("publish, {outstanding} outstanding"),
        rounds * targets.len(),
    );
    let mut stages = Vec::new();
    for target in targets {
        stages.push(Stage::set_up(target, options, outstanding)?);
    }
    let length = Duration::from_millis(options.round_ms);
    for round in 0..rounds {
        for stage in &mut stages {
            progress.begin(format_args!("round {}, {}", round + 1, stage.target.name));
            stage.round(length)?;
            progress.step();
        }
    }
    Ok(stages)
}

/// One server with its clients.
pub(crate) struct Stage {
    pub(crate) target: Target,
    generator: Generator,
    pub(crate) rounds: Vec<Round>,
}

/// Connections that register, all on one thread.
pub(crate) struct Generator {
    clients: Clients,
    load: Load,
}

/// One turn of a server.
pub(crate) struct Round {
    pub(crate) answered: usize,
    pub(crate) window: Window,
}

impl Round {
    /// Registrations per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.window.wall.as_secs_f64()
    }

    /// CPU time of the server per registration.
    pub(crate) fn server_us(&self) -> Option<f64> {
        self.window.server_us_each(self.answered)
    }
}

impl Stage {
    fn set_up(target: Target, options: &Publish, outstanding: usize) -> io::Result<Self> {
        let mut generator = Generator::connect(&target, options, outstanding, 0)?;
        if options.subscriber {
            generator.listen(&target)?;
        }
        Ok(Self {
            target,
            generator,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, length: Duration) -> io::Result<()> {
        self.rounds
            .push(self.generator.round(&self.target, length)?);
        Ok(())
    }

    /// Registrations answered from the start of the server.
    pub(crate) fn answered(&self) -> usize {
        self.generator.load.answered
    }

    /// Bytes of a registration that nobody could leave out, on average.
    pub(crate) fn own_bytes_each(&self) -> f64 {
        let senders = &self.generator.load.senders;
        let frames = || senders.iter().flat_map(|sender| &sender.frames);
        let all: usize = frames().map(|frame| frame.own_len).sum();
        all as f64 / frames().count() as f64
    }

    /// What the server did wrong, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        self.generator.problem(&self.target)
    }
}

impl Generator {
    /// Opens the connections; their publishers are numbered from those of connection `first`.
    pub(crate) fn connect(
        target: &Target,
        options: &Publish,
        outstanding: usize,
        first: usize,
    ) -> io::Result<Self> {
        let mut clients = Clients::new()?;
        clients.connect(target.address, options.connections)?;
        Ok(Self {
            clients,
            load: Load::new(options, outstanding, first),
        })
    }

    /// Lets one more connection subscribe to everything.
    fn listen(&mut self, target: &Target) -> io::Result<()> {
        let listener = self.clients.connect(target.address, 1)?.start;
        let mut frame = Vec::new();
        for number in 0..self.load.senders.len() {
            let registration = Registration {
                data_id: service(number),
                register_id: wire::register_id(2, number),
                version: 1,
            };
            registration.subscribe(1, &mut frame);
        }
        self.clients.send(listener, &frame)?;
        self.load.listener = Some(listener);
        Ok(())
    }

    /// Registers for so long, then waits for what is not answered.
    pub(crate) fn round(&mut self, target: &Target, length: Duration) -> io::Result<Round> {
        let meter = Meter::start(target);
        let answered = self.load.answered;
        let start = Instant::now();
        self.load.timeline.begin();
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
        let round = Round {
            window: meter.stop(target),
            answered: self.load.answered - answered,
        };
        self.load.stops = true;
        let done = self
            .clients
            .poll_until(PATIENCE, &mut self.load, |load| load.under_way == 0)?;
        if done {
            Ok(round)
        } else {
            Err(io::Error::other(format!(
                "{}: {} registrations were never answered",
                target.name, self.load.under_way
            )))
        }
    }

    /// What the server did wrong, if anything.
    pub(crate) fn problem(&self, target: &Target) -> Option<String> {
        let Load {
            refused, closed, ..
        } = self.load;
        (refused + closed > 0).then(|| {
            format!(
                "{}: {refused} registrations refused, {closed} connections ended",
                target.name
            )
        })
    }
}

/// All connections and what they wait for.
struct Load {
    outstanding: usize,
    senders: Vec<Sender>,
    listener: Option<usize>,
    acknowledgement: Vec<u8>,
    answered: usize,
    under_way: usize,
    refused: u64,
    closed: u64,
    pushes: u64,
    stops: bool,
    latency: Histogram<u64>,
    timeline: Timeline,
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
    own_len: usize,
}

impl Load {
    fn new(options: &Publish, outstanding: usize, first: usize) -> Self {
        let connections = options.connections;
        let service = |connection, number| {
            let shift = if options.spread { number } else { 0 };
            service((connection + shift) % connections)
        };
        let ready = |connection, number| {
            let register_id = wire::register_id(1, (first + connection) * PUBLISHERS + number);
            Ready::new(service(connection, number), register_id)
        };
        let sender = |connection| Sender {
            frames: (0..PUBLISHERS)
                .map(|number| ready(connection, number))
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
            latency: times(),
            timeline: Timeline::default(),
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
        let now = Instant::now();
        let nanos = nanos(now - sent_at);
        self.latency.saturating_record(nanos);
        self.timeline.record(now, nanos);
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
    fn new(data_id: String, register_id: String) -> Self {
        let registration = Registration {
            data_id,
            register_id,
            // Far enough from small numbers that every version has the same length on the wire.
            version: 1 << 40,
        };
        let text = wire::text(0, 64);
        let boxes: Boxes = [text.as_str()].into_iter().collect();
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
            own_len: registration.own_len(&text),
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
        let rounds = &stage.rounds;
        let ratios = |of: fn(&Round) -> f64| -> Option<Vec<f64>> {
            let pairs = first.rounds.iter().zip(rounds);
            let ratios = pairs.map(|(ours, theirs)| rounded(of(ours) / of(theirs)));
            (!std::ptr::eq(stage, first)).then(|| ratios.collect())
        };
        let rates = ratios(Round::per_second);
        let cpu = ratios(|round| round.server_us().unwrap_or(f64::NAN));
        let latency = |quantile| {
            rounded(stage.generator.load.latency.value_at_quantile(quantile) as f64 / 1e3)
        };
        let server_us: Option<Vec<_>> = rounds.iter().map(Round::server_us).collect();
        let server_busy: Option<Vec<_>> = rounds
            .iter()
            .map(|round| round.window.server_busy())
            .collect();
        report.row(
            TITLE,
            json!({
                "connections": options.connections,
                "outstanding": outstanding,
                "server": stage.target.name,
                "per_second": median(rounds.iter().map(Round::per_second)).round(),
                "best": rounds.iter().map(|round| round.per_second().round()).max_by(f64::total_cmp),
                "p50_us": latency(0.5),
                "p99_us": latency(0.99),
                "pushes": stage.generator.load.pushes,
                "server_us": server_us.map(|all| rounded(median(all))),
                "server_busy": server_busy.map(|all| rounded(median(all))),
                "client_busy": rounded(median(rounds.iter().map(|round| round.window.client_busy()))),
                "rate_ratio": rates.clone().map(|all| rounded(median(all))),
                "cpu_ratio": cpu.map(|all| rounded(median(all))),
                "rate_ratio_rounds": rates,
            }),
        );
        stage
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        let load = format!("publish, {outstanding} outstanding");
        meter::judge(&load, &stage.target.name, &windows, report);
    }
}

fn draw(stages: &[Stage], outstanding: usize, report: &mut Report) {
    let per_second = median(stages[0].rounds.iter().map(Round::per_second));
    let beside = stages.get(1).map_or_else(String::new, |other| {
        let theirs = median(other.rounds.iter().map(Round::per_second));
        format!("{} {:.0} k", other.target.name, theirs / 1e3)
    });
    report.headline(
        format!("{:.0} k/s", per_second / 1e3),
        format!("registrations, {outstanding} outstanding per connection"),
        beside,
    );
    let latencies = stages
        .iter()
        .map(|stage| (stage.target.name.as_str(), &stage.generator.load.latency));
    report.plot(
        TITLE,
        Plot::distribution(
            format!("Time to the answer, {outstanding} outstanding"),
            "ms",
            latencies,
        ),
    );
    let rates = stages
        .iter()
        .map(|stage| stage.generator.load.timeline.rates(&stage.target.name));
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Registrations per second, {outstanding} outstanding, servers in turns"),
            "per second",
            rates.collect(),
        ),
    );
}
