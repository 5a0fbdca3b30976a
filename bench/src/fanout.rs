//! One change until all N subscribers have it, and what a delivery costs the server.
//!
//! Each subscriber has a connection of its own, as in a deployment. All servers stand ready at once and take turns; an idle one costs
//! nothing. Between two changes a heartbeat makes sure that the server is done with the acknowledgements of the last.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::{Boxes, ReceivedData, received_data};
use serde_json::json;

use crate::args::{Common, Fanout};
use crate::clients::{Clients, Hears};
use crate::host::{self, Seats};
use crate::process;
use crate::report::{Report, median, ms, rounded, us};
use crate::target::{Kind, Target};
use crate::wire::{self, Expected, Registration};

/// How long a change, or the start of a batch of subscribers, may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Deliveries of a round where the number of changes is not given.
const DELIVERIES_PER_ROUND: usize = 20_000;
/// Subscribers that register at once while a stage is set up.
const SET_UP_BATCH: usize = 500;
/// Descriptors for everything that is no client.
const SPARE_DESCRIPTORS: usize = 100;
const DATA_ID: &str = "com.example.Fanout:1.0@DEFAULT";

/// Measures every number of subscribers with every payload.
pub(crate) fn run(
    common: &Common,
    options: &Fanout,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &subscribers in &options.subscribers {
        for &payload in &options.payload {
            let changes = options
                .changes
                .unwrap_or((DELIVERIES_PER_ROUND / subscribers.max(1)).clamp(3, 100));
            eprintln!(
                "fanout: {subscribers} subscribers, {payload} B, {changes} changes in each of {} rounds",
                common.rounds
            );
            for common in groups(common, subscribers) {
                let mut stages = stages(&common, seats, subscribers)?;
                for _ in 0..common.rounds {
                    for stage in &mut stages {
                        stage.round(changes, payload)?;
                    }
                }
                tell(&stages, subscribers, payload, report);
            }
        }
    }
    Ok(())
}

/// The servers that take turns. Where this process may not open as many descriptors as all of them need at once, the first takes turns with
/// some of the others, then with the rest.
fn groups(common: &Common, subscribers: usize) -> Vec<Common> {
    let descriptors = usize::try_from(host::raise_descriptors()).unwrap_or(usize::MAX);
    let at_once = descriptors.saturating_sub(SPARE_DESCRIPTORS) / (subscribers + 1);
    if at_once > common.vs.len() {
        return vec![common.clone()];
    }
    let others = common.vs.chunks(at_once.saturating_sub(1).max(1));
    let group = |vs: &[Kind]| Common {
        vs: vs.to_vec(),
        ..common.clone()
    };
    others.map(group).collect()
}

fn stages(common: &Common, seats: Seats, subscribers: usize) -> io::Result<Vec<Stage>> {
    let targets = Target::all(common, seats)?;
    targets
        .into_iter()
        .map(|target| Stage::set_up(target, subscribers))
        .collect()
}

/// One server with its clients.
struct Stage {
    target: Target,
    clients: Clients,
    publisher: usize,
    audience: Audience,
    changes: u64,
    rounds: Vec<Round>,
}

struct Round {
    /// From the publish to the last delivery, per change.
    whole: Vec<Duration>,
    server_cpu: Option<Duration>,
    client_cpu: Duration,
    wall: Duration,
    deliveries: usize,
}

impl Stage {
    fn set_up(target: Target, subscribers: usize) -> io::Result<Self> {
        let mut clients = Clients::new()?;
        let mut audience = Audience::new(target.kind, subscribers);
        let publisher = clients.connect(target.address, 1)?.start;
        for first in (0..subscribers).step_by(SET_UP_BATCH) {
            let batch = SET_UP_BATCH.min(subscribers - first);
            audience.missing = batch;
            audience.unanswered = batch;
            for connection in clients.connect(target.address, batch)? {
                let mut frame = Vec::new();
                audience.registration(connection).subscribe(1, &mut frame);
                clients.send(connection, &frame)?;
            }
            let done = clients.poll_until(PATIENCE, &mut audience, |audience| {
                audience.missing == 0 && audience.unanswered == 0
            })?;
            if !done {
                return Err(io::Error::other(format!(
                    "{} subscribers got no first push",
                    audience.missing
                )));
            }
        }
        Ok(Self {
            target,
            clients,
            publisher,
            audience,
            changes: 0,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, changes: usize, payload: usize) -> io::Result<()> {
        // Warm caches and an awake CPU, as after the first of many changes.
        self.audience.records = false;
        self.change(payload)?;
        self.audience.records = true;
        let (server, client) = (
            self.target.cpu_time(),
            process::cpu_time(std::process::id()),
        );
        let start = Instant::now();
        let whole = (0..changes)
            .map(|_| self.change(payload))
            .collect::<io::Result<Vec<_>>>()?;
        let used = |before| Some(self.target.cpu_time()?.saturating_sub(before));
        self.rounds.push(Round {
            whole,
            server_cpu: server.and_then(used),
            client_cpu: process::cpu_time(std::process::id()).saturating_sub(client),
            wall: start.elapsed(),
            deliveries: changes * self.audience.versions.len(),
        });
        Ok(())
    }

    /// Publishes, and waits until everyone has it and the server is done with it.
    fn change(&mut self, payload: usize) -> io::Result<Duration> {
        self.changes += 1;
        let text = wire::text(self.changes, payload);
        let boxes: Boxes = [text.as_str()].into_iter().collect();
        let registration = Registration {
            data_id: DATA_ID.to_owned(),
            register_id: wire::register_id(1, 0),
            version: i64::try_from(self.changes).expect("a run ends"),
        };
        let mut frame = Vec::new();
        registration.publish(
            u32::try_from(self.changes).expect("a run ends"),
            &boxes,
            &mut frame,
        );
        self.audience.expect(boxes);
        self.clients.send(self.publisher, &frame)?;
        let done = self
            .clients
            .poll_until(PATIENCE, &mut self.audience, |audience| {
                audience.missing == 0
            })?;
        if !done {
            return Err(io::Error::other(format!(
                "{} subscribers never got change {}",
                self.audience.missing, self.changes
            )));
        }
        let whole = self.audience.published_at.elapsed();
        self.settle()?;
        Ok(whole)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.audience.heartbeat_answered = false;
        let mut heartbeat = Vec::new();
        wire::heartbeat(0, &mut heartbeat);
        self.clients.send(self.publisher, &heartbeat)?;
        let answered = self
            .clients
            .poll_until(PATIENCE, &mut self.audience, |audience| {
                audience.heartbeat_answered
            })?;
        if answered {
            Ok(())
        } else {
            Err(io::Error::other("a heartbeat was not answered"))
        }
    }

    fn p50_ms(&self, round: usize) -> f64 {
        median(self.rounds[round].whole.iter().map(|whole| ms(*whole)))
    }

    fn cpu_us(&self, round: usize) -> Option<f64> {
        let round = &self.rounds[round];
        Some(us(round.server_cpu?) / round.deliveries as f64)
    }
}

/// All subscribers, and what they must be shown.
struct Audience {
    kind: Kind,
    acknowledgement: Vec<u8>,
    expected: Expected,
    published_at: Instant,
    /// The last version each was shown; their connections are numbered from 1.
    versions: Vec<i64>,
    register_ids: Vec<String>,
    missing: usize,
    unanswered: usize,
    heartbeat_answered: bool,
    is_set_up: bool,
    /// Whether deliveries count for the latencies reported.
    records: bool,
    wrong: u64,
    closed: u64,
    deliveries: Histogram<u64>,
}

impl Audience {
    fn new(kind: Kind, subscribers: usize) -> Self {
        Self {
            kind,
            acknowledgement: wire::acknowledgement(),
            expected: Expected::new(DATA_ID, Boxes::default()),
            published_at: Instant::now(),
            versions: vec![0; subscribers],
            register_ids: (1..=subscribers)
                .map(|number| wire::register_id(2, number))
                .collect(),
            missing: 0,
            unanswered: 0,
            heartbeat_answered: false,
            is_set_up: true,
            records: false,
            wrong: 0,
            closed: 0,
            deliveries: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
                .expect("a valid range"),
        }
    }

    fn registration(&self, connection: usize) -> Registration {
        Registration {
            data_id: DATA_ID.to_owned(),
            register_id: self.register_ids[connection - 1].clone(),
            version: 1,
        }
    }

    fn expect(&mut self, boxes: Boxes) {
        self.is_set_up = false;
        self.expected = Expected::new(DATA_ID, boxes);
        self.missing = self.versions.len();
        self.published_at = Instant::now();
    }

    fn on_push(&mut self, connection: usize, frame: &Frame<'_>) {
        let subscriber = connection - 1;
        let version = if self.is_set_up {
            ReceivedData::decode(frame.content)
                .ok()
                .and_then(|push| push.version)
        } else {
            let named = self
                .kind
                .names_subscribers()
                .then(|| self.register_ids[subscriber].as_str());
            self.expected.version_of(frame.content, named)
        };
        match version {
            Some(version) if version > self.versions[subscriber] => {
                self.versions[subscriber] = version;
                self.missing = self.missing.saturating_sub(1);
                if self.records {
                    let nanos = self.published_at.elapsed().as_nanos();
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    self.deliveries.saturating_record(nanos);
                }
            }
            _ => self.wrong += 1,
        }
    }
}

impl Hears for Audience {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            FrameKind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                self.on_push(connection, frame);
                if self.kind.is_acknowledged() {
                    wire::append_as(out, &self.acknowledgement, frame.request_id);
                }
            }
            FrameKind::HeartbeatAck { .. } => self.heartbeat_answered = true,
            FrameKind::Response { .. } => self.unanswered = self.unanswered.saturating_sub(1),
            _ => self.wrong += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

fn tell(stages: &[Stage], subscribers: usize, payload: usize, report: &mut Report) {
    for stage in stages {
        let name = stage.target.kind.name();
        let rounds = 0..stage.rounds.len();
        let all = stage.rounds.iter().flat_map(|round| &round.whole);
        let cpu: Vec<_> = rounds
            .clone()
            .filter_map(|round| stage.cpu_us(round))
            .collect();
        let against = &stages[0];
        let ratio = |of: &dyn Fn(&Stage, usize) -> f64| {
            let ratios = rounds
                .clone()
                .map(|round| of(against, round) / of(stage, round));
            rounded(median(ratios))
        };
        let is_first = std::ptr::eq(stage, against);
        let client_cpu: Duration = stage.rounds.iter().map(|round| round.client_cpu).sum();
        let wall: Duration = stage.rounds.iter().map(|round| round.wall).sum();
        let deliveries: usize = stage.rounds.iter().map(|round| round.deliveries).sum();
        report.row(
            "fanout: one change until all have it",
            json!({
                "subscribers": subscribers,
                "bytes": payload,
                "server": name,
                "p50_ms": rounded(median(rounds.clone().map(|round| stage.p50_ms(round)))),
                "best_ms": all.min().map(|best| ms(*best)),
                "delivery_p99_ms": rounded(stage.audience.deliveries.value_at_quantile(0.99) as f64 / 1e6),
                "server_us": (!cpu.is_empty()).then(|| rounded(median(cpu.clone()))),
                "server_us_best": cpu.into_iter().min_by(f64::total_cmp).map(rounded),
                "client_us": rounded(us(client_cpu) / deliveries as f64),
                "client_busy": rounded(client_cpu.as_secs_f64() / wall.as_secs_f64()),
                "time_ratio": (!is_first).then(|| ratio(&|stage, round| stage.p50_ms(round))),
                "cpu_ratio": (!is_first).then(|| ratio(&|stage, round| stage.cpu_us(round).unwrap_or(f64::NAN))),
            }),
        );
        let Audience { wrong, closed, .. } = stage.audience;
        if wrong + closed > 0 {
            report.problem(format!(
                "{name}: {wrong} wrong pushes, {closed} connections ended"
            ));
        }
    }
}
