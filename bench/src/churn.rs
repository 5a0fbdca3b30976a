//! A service whose publishers keep changing at a fixed rate, and how long its subscribers take to see each change.
//!
//! Changes are due at fixed times whether or not the server keeps up, and their latency counts from when they were due: a server that
//! stalls cannot hide the changes it made wait. A push that merges changes delivers all of them.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::{Boxes, ReceivedData, received_data};
use serde_json::json;

use crate::args::{Churn, Common};
use crate::clients::{Clients, Hears};
use crate::crowd::is_taken;
use crate::host::Seats;
use crate::meter::{self, Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, median, quantile_ms, rounded, shown};
use crate::resends::Resends;
use crate::target::{Kind, Target};
use crate::timeline::{Timeline, nanos, times};
use crate::wire::{self, Registration};

/// How long the last changes may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
const DATA_ID: &str = "com.example.Churn:1.0@DEFAULT";

const TITLE: &str = "churn: changes at a fixed rate, each counted from when it was due";

/// Measures every rate.
pub(crate) fn run(
    common: &Common,
    options: &Churn,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &rate in &options.rate {
        let targets = Target::all(common, seats)?;
        let progress = Progress::new(format!("churn at {rate}/s"), targets.len() * common.rounds);
        let mut stages = Vec::new();
        for target in targets {
            stages.push(Stage::set_up(target, options)?);
        }
        let length = Duration::from_secs(options.seconds)
            / u32::try_from(common.rounds.max(1)).unwrap_or(u32::MAX);
        for round in 0..common.rounds {
            for stage in &mut stages {
                progress.begin(format_args!("round {}, {}", round + 1, stage.target.name));
                stage.round(rate, length)?;
                progress.step();
            }
        }
        drop(progress);
        tell(&stages, options, rate, report);
        draw(&stages, rate, report);
    }
    Ok(())
}

/// One server with its publishers and subscribers.
struct Stage {
    target: Target,
    clients: Clients,
    service: Service,
    rounds: Vec<Round>,
}

/// One turn of a server.
struct Round {
    changes: usize,
    pushes: usize,
    latency: Histogram<u64>,
    window: Window,
}

impl Round {
    fn p99_ms(&self) -> f64 {
        self.latency.value_at_quantile(0.99) as f64 / 1e6
    }

    fn server_us(&self) -> Option<f64> {
        self.window.server_us_each(self.changes.max(1))
    }
}

impl Stage {
    fn set_up(target: Target, options: &Churn) -> io::Result<Self> {
        let mut clients = Clients::new()?;
        let mut service = Service::new(options, target.kind);
        clients.connect(target.address, options.publishers + options.subscribers)?;
        for publisher in 0..options.publishers {
            let frame = service.publication(publisher);
            clients.send(publisher, &frame)?;
        }
        let answered = clients.poll_until(PATIENCE, &mut service, |service| {
            service.answers == options.publishers
        })?;
        for subscriber in 0..options.subscribers {
            let registration = Registration {
                data_id: DATA_ID.to_owned(),
                register_id: wire::register_id(2, subscriber),
                version: 1,
            };
            let mut frame = Vec::new();
            registration.subscribe(1, &mut frame);
            let connection = options.publishers + subscriber;
            service.resends.sent(connection, &frame);
            clients.send(connection, &frame)?;
        }
        let shown = clients.poll_until(PATIENCE, &mut service, |service| {
            let mut subscribers = service.subscribers.iter();
            subscribers.all(|subscriber| subscriber.has_all)
        })?;
        if answered && shown {
            Ok(Self {
                target,
                clients,
                service,
                rounds: Vec::new(),
            })
        } else {
            let what = if answered {
                "subscribers never got a complete list"
            } else {
                "publishers were not answered"
            };
            Err(io::Error::other(format!("{}: {what}", target.name)))
        }
    }

    fn round(&mut self, rate: u64, length: Duration) -> io::Result<()> {
        let meter = Meter::start(&self.target);
        let changes = self.change(rate, length)?;
        let service = &mut self.service;
        self.rounds.push(Round {
            changes,
            pushes: service.pushes,
            latency: std::mem::replace(&mut service.latency, times()),
            window: meter.stop(&self.target),
        });
        Ok(())
    }

    /// Lets publishers change until all changes of so long are made and seen; answers how many there were.
    fn change(&mut self, rate: u64, length: Duration) -> io::Result<usize> {
        self.service.begin();
        let period = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        let start = self.service.start;
        let changes =
            u32::try_from(length.as_nanos() / period.as_nanos().max(1)).unwrap_or(u32::MAX);
        for change in 0..changes {
            let due = start + period * change;
            while Instant::now() < due {
                self.clients.poll(
                    due.saturating_duration_since(Instant::now()),
                    &mut self.service,
                )?;
            }
            let publisher = self.service.changes % self.service.publishers.len();
            self.service.changes += 1;
            self.service.publishers[publisher].due.push(due);
            let frame = self.service.publication(publisher);
            self.clients.send(publisher, &frame)?;
        }
        self.clients
            .poll_until(PATIENCE, &mut self.service, Service::is_up_to_date)?;
        Ok(changes as usize)
    }
}

/// The publishers, the subscribers, and what these have seen of those.
struct Service {
    start: Instant,
    acknowledgement: Vec<u8>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// Made since the publishers came.
    changes: usize,
    answers: usize,
    pushes: usize,
    refused: usize,
    wrong: usize,
    /// Lists without publishers that were answered before, shown before the first complete one.
    early: usize,
    closed: usize,
    resends: Resends,
    latency: Histogram<u64>,
    timeline: Timeline,
}

/// A publisher, and when each of its changes was due.
#[derive(Clone, Debug, Default)]
struct Publisher {
    published: usize,
    due: Vec<Instant>,
}

#[derive(Clone, Debug)]
struct Subscriber {
    version: i64,
    /// Whether it has been shown a complete list.
    has_all: bool,
    /// The newest change it saw of each publisher.
    seen: Vec<usize>,
}

impl Service {
    fn new(options: &Churn, kind: Kind) -> Self {
        Self {
            start: Instant::now(),
            acknowledgement: wire::acknowledgement(),
            publishers: vec![Publisher::default(); options.publishers],
            subscribers: vec![
                Subscriber {
                    version: 0,
                    has_all: false,
                    seen: vec![0; options.publishers],
                };
                options.subscribers
            ],
            changes: 0,
            answers: 0,
            pushes: 0,
            refused: 0,
            wrong: 0,
            early: 0,
            closed: 0,
            resends: Resends::new(kind),
            latency: times(),
            timeline: Timeline::default(),
        }
    }

    fn begin(&mut self) {
        self.start = Instant::now();
        self.timeline.begin();
        self.pushes = 0;
    }

    /// The next registration of a publisher; its text names publisher and change.
    fn publication(&mut self, publisher: usize) -> Vec<u8> {
        let at = &mut self.publishers[publisher];
        let text = format!(
            "10.0.0.1:12200?publisher={publisher:06}&change={:09}",
            at.published
        );
        at.published += 1;
        let registration = Registration {
            data_id: DATA_ID.to_owned(),
            register_id: wire::register_id(1, publisher),
            version: i64::try_from(at.published).expect("a run ends"),
        };
        let boxes: Boxes = [text.as_str()].into_iter().collect();
        let mut frame = Vec::new();
        registration.publish(
            u32::try_from(at.published).expect("a run ends"),
            &boxes,
            &mut frame,
        );
        self.resends.sent(publisher, &frame);
        frame
    }

    fn on_push(&mut self, subscriber: usize, frame: &Frame<'_>) {
        self.pushes += 1;
        let push = ReceivedData::decode(frame.content).ok();
        let Some(push) =
            push.filter(|push| push.version > Some(self.subscribers[subscriber].version))
        else {
            self.wrong += 1;
            return;
        };
        self.subscribers[subscriber].version = push.version.unwrap_or(0);
        let boxes = push.data.iter().flat_map(|(_, boxes)| boxes.texts());
        let mut listed = 0;
        for text in boxes.flatten() {
            listed += 1;
            match parsed(&text.to_string_lossy()) {
                Some((publisher, change)) if publisher < self.publishers.len() => {
                    self.on_seen(subscriber, publisher, change)
                }
                _ => self.wrong += 1,
            }
        }
        let has_all = &mut self.subscribers[subscriber].has_all;
        if listed == self.publishers.len() {
            *has_all = true;
        } else if *has_all {
            self.wrong += 1;
        } else {
            self.early += 1;
        }
    }

    fn on_seen(&mut self, subscriber: usize, publisher: usize, change: usize) {
        let seen = &mut self.subscribers[subscriber].seen[publisher];
        if change < *seen {
            self.wrong += 1;
            return;
        }
        // Change 0 was published before anything was measured.
        let now = Instant::now();
        for due in &self.publishers[publisher].due[*seen..change] {
            let nanos = nanos(now - *due);
            self.latency.saturating_record(nanos);
            self.timeline.record(now, nanos);
        }
        *seen = change;
    }

    fn is_up_to_date(&self) -> bool {
        let newest = || self.publishers.iter().map(|publisher| publisher.due.len());
        self.subscribers
            .iter()
            .all(|subscriber| subscriber.seen.iter().copied().eq(newest()))
    }
}

fn parsed(text: &str) -> Option<(usize, usize)> {
    let (publisher, change) = text.split_once("?publisher=")?.1.split_once("&change=")?;
    Some((publisher.parse().ok()?, change.parse().ok()?))
}

impl Hears for Service {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            FrameKind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                self.on_push(connection - self.publishers.len(), frame);
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            FrameKind::Response { .. } if is_taken(frame) => {
                self.resends.taken(connection, frame.request_id);
                self.answers += 1;
            }
            FrameKind::Response { .. }
                if self.resends.refused(connection, frame.request_id, out) => {}
            _ => self.refused += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

fn tell(stages: &[Stage], options: &Churn, rate: u64, report: &mut Report) {
    let first = &stages[0];
    for stage in stages {
        let (name, rounds) = (stage.target.name.as_str(), &stage.rounds);
        let windows: Vec<_> = rounds.iter().map(|round| round.window).collect();
        let ratios = |of: fn(&Round) -> f64| -> Option<Vec<f64>> {
            let pairs = first.rounds.iter().zip(rounds);
            let ratios = pairs.map(|(ours, theirs)| rounded(of(ours) / of(theirs)));
            (!std::ptr::eq(stage, first)).then(|| ratios.collect())
        };
        let p99 = ratios(Round::p99_ms);
        let cpu = ratios(|round| round.server_us().unwrap_or(f64::NAN));
        let middle = |values: Vec<f64>| rounded(median(values));
        let each: Option<Vec<_>> = rounds.iter().map(Round::server_us).collect();
        let busy: Option<Vec<_>> = windows.iter().map(Window::server_busy).collect();
        let latency = stage.latency();
        report.row(
            TITLE,
            json!({
                "publishers": options.publishers,
                "subscribers": options.subscribers,
                "changes_per_second": rate,
                "server": name,
                "changes": stage.service.changes,
                "pushes": rounds.iter().map(|round| round.pushes).sum::<usize>(),
                "early_lists": stage.service.early,
                "sent_again": stage.service.resends.count,
                "p50_ms": quantile_ms(&latency, 0.5),
                "p99_ms": quantile_ms(&latency, 0.99),
                "max_ms": rounded(latency.max() as f64 / 1e6),
                "server_us_per_change": each.map(middle),
                "server_busy": busy.map(middle),
                "client_busy": middle(windows.iter().map(Window::client_busy).collect()),
                "p99_ratio": p99.clone().map(middle),
                "cpu_ratio": cpu.map(middle),
                "p99_ratio_rounds": p99,
            }),
        );
        stage
            .problem(rate)
            .into_iter()
            .for_each(|problem| report.problem(problem));
        meter::judge(&format!("churn at {rate}/s"), name, &windows, report);
    }
}

impl Stage {
    /// From when each change was due until it was there.
    fn latency(&self) -> Histogram<u64> {
        let mut all = times();
        for round in &self.rounds {
            all.add(&round.latency).expect("of the same range");
        }
        all
    }

    /// What the server did wrong, if anything.
    fn problem(&self, rate: u64) -> Option<String> {
        let service = &self.service;
        let early = if self.target.kind.promises_less() {
            0
        } else {
            service.early
        };
        let wrong = service.wrong + early;
        let lost = if service.is_up_to_date() {
            ""
        } else {
            "changes lost, "
        };
        (!lost.is_empty() || service.refused + wrong + service.closed > 0).then(|| {
            format!(
                "{} at {rate}/s: {lost}{} refused, {wrong} wrong pushes, {} connections ended",
                self.target.name, service.refused, service.closed
            )
        })
    }
}

fn draw(stages: &[Stage], rate: u64, report: &mut Report) {
    let latencies: Vec<_> = stages.iter().map(Stage::latency).collect();
    let p99 = |place: usize| {
        let latency = latencies.get(place)?;
        Some(format!("{} ms", shown(quantile_ms(latency, 0.99))))
    };
    let beside = p99(1).map(|p99| format!("{} {p99}", stages[1].target.name));
    report.headline(
        p99(0).unwrap_or_default(),
        format!("p99 from a change to its subscribers, {rate} changes/s"),
        beside.unwrap_or_default(),
    );
    let names = stages.iter().map(|stage| stage.target.name.as_str());
    report.plot(
        TITLE,
        Plot::distribution(
            format!("From when a change was due until it is there, {rate}/s"),
            "ms",
            names.zip(&latencies),
        ),
    );
    let slowest = stages
        .iter()
        .map(|stage| stage.service.timeline.slowest_ms(&stage.target.name));
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Slowest of every 50 ms, {rate}/s, servers in turns"),
            "ms",
            slowest.collect(),
        ),
    );
}
