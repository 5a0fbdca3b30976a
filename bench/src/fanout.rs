//! One change until all N subscribers have it, and what a delivery costs the server.
//!
//! Each subscriber has a connection of its own, as in a deployment. All servers stand ready at once and take turns; an idle one costs
//! nothing. Between two changes a ping makes sure that the server is done with the acknowledgements of the last. Clients of every server run
//! in the same loop; what they say differs, and stands in [`crate::peers`].

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::args::{Common, Fanout};
use crate::clients::{Clients, Receives};
use crate::host::{self, Seats};
use crate::interrupt;
use crate::peers::{self, Dialect, Heard, PUBLISHER};
use crate::process;
use crate::report::{Report, median, ms, rounded, us};
use crate::target::{Kind, Target};
use crate::wire;

/// How long the start of a batch of subscribers, or the answer to a ping, may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a change; while a server takes it, nobody pings the others.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// Deliveries of a round where the number of changes is not given.
const DELIVERIES_PER_ROUND: usize = 20_000;
/// Subscribers that register at once while a stage is set up.
const SET_UP_BATCH: usize = 500;
/// Descriptors for everything that is no client.
const SPARE_DESCRIPTORS: usize = 100;
/// How often idle clients ping, where the server insists. Rollcall's kernel asks clients that were silent for 10 s whether they are alive, on
/// loopback all of a fan-out's clients in one moment, which is more than its queue holds: unanswered three times, they are cut off.
const PING_EVERY: Duration = Duration::from_secs(8);
/// No further change is begun in a round after this time where their number is not given: a server that takes half a second for each would make
/// a run of many rounds take an hour.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// Changes that make a round at least.
const CHANGES_MIN: usize = 3;

/// Measures every number of subscribers with every payload.
pub(crate) fn run(
    common: &Common,
    options: &Fanout,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for &subscribers in &options.subscribers {
        for &payload in &options.payload {
            let length = Length::of(options, subscribers);
            eprintln!(
                "fanout: {subscribers} subscribers, {payload} B, up to {} changes in each of {} rounds",
                length.changes, common.rounds
            );
            for common in groups(common, subscribers) {
                let mut turns = Turns::set_up(&common, seats, subscribers)?;
                for _ in 0..common.rounds {
                    turns.round(length, payload)?;
                }
                tell(&turns.stages, subscribers, payload, report);
                turns.tell_absent(subscribers, payload, report);
            }
        }
    }
    Ok(())
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
struct Length {
    changes: usize,
    /// The time after which it ends early, with fewer changes.
    at_most: Duration,
}

impl Length {
    fn of(options: &Fanout, subscribers: usize) -> Self {
        let given = options.changes.map(|changes| Self {
            changes,
            at_most: Duration::MAX,
        });
        given.unwrap_or(Self {
            changes: (DELIVERIES_PER_ROUND / subscribers.max(1)).clamp(CHANGES_MIN, 100),
            at_most: ROUND_MAX,
        })
    }
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

/// The servers that take turns.
struct Turns {
    stages: Vec<Stage>,
    /// Servers of others that failed, and how; the others go on without them. If the first fails there is nothing to compare.
    absent: Vec<(Kind, io::Error)>,
}

impl Turns {
    fn set_up(common: &Common, seats: Seats, subscribers: usize) -> io::Result<Self> {
        let first = Target::first(common, seats)?;
        let mut turns = Self {
            stages: Vec::new(),
            absent: Vec::new(),
        };
        // Some take long to start; nobody is kept waiting then.
        let mut targets = Vec::new();
        for &kind in &common.vs {
            match Target::start(kind, seats, common.cores) {
                Ok(target) => targets.push(target),
                Err(error) => turns.give_up(kind, error)?,
            }
        }
        turns.stages.push(Stage::set_up(first, subscribers)?);
        for target in targets {
            let kind = target.kind;
            match Stage::set_up(target, subscribers) {
                Ok(stage) => turns.stages.push(stage),
                Err(error) => turns.give_up(kind, error)?,
            }
            turns
                .stages
                .iter_mut()
                .for_each(|stage| drop(stage.ping_all()));
        }
        Ok(turns)
    }

    fn round(&mut self, length: Length, payload: usize) -> io::Result<()> {
        let mut turn = 0;
        while turn < self.stages.len() {
            match self.turn(turn, length, payload) {
                Ok(()) => turn += 1,
                Err(error) if turn == 0 => return Err(error),
                Err(error) => {
                    let stage = self.stages.remove(turn);
                    self.give_up(stage.target.kind, error)?;
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, turn: usize, length: Length, payload: usize) -> io::Result<()> {
        let (before, rest) = self.stages.split_at_mut(turn);
        let (stage, behind) = rest.split_first_mut().expect("it has a turn");
        let mut others = before.iter_mut().chain(behind).collect::<Vec<_>>();
        stage.begin_round(payload)?;
        while !stage.is_over(length) {
            stage.measured_change(payload)?;
            // What is wrong with them shows in their own turns.
            others.iter_mut().for_each(|other| drop(other.ping_all()));
        }
        Ok(())
    }

    fn give_up(&mut self, kind: Kind, error: io::Error) -> io::Result<()> {
        interrupt::check()?;
        if !kind.is_peer() {
            return Err(error);
        }
        eprintln!("goes on without {}: {error}", kind.name());
        self.absent.push((kind, error));
        Ok(())
    }

    fn tell_absent(&self, subscribers: usize, payload: usize, report: &mut Report) {
        for (kind, error) in &self.absent {
            report.row(
                "fanout: servers of others that failed",
                json!({
                    "subscribers": subscribers,
                    "bytes": payload,
                    "server": kind.name(),
                    "why": error.to_string(),
                }),
            );
        }
    }
}

/// One server with its clients.
struct Stage {
    target: Target,
    clients: Clients,
    audience: Audience,
    changes: u64,
    pinged: Instant,
    rounds: Vec<Round>,
}

#[derive(Default)]
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
        let mut stage = Self {
            clients: Clients::new()?,
            audience: Audience::new(target.kind, subscribers),
            target,
            changes: 0,
            pinged: Instant::now(),
            rounds: Vec::new(),
        };
        stage.clients.connect(stage.target.address, 1)?;
        let mut greeting = Vec::new();
        stage.audience.dialect.greet(&mut greeting);
        stage.clients.send(PUBLISHER, &greeting)?;
        stage.settle()?;
        for first in (0..subscribers).step_by(SET_UP_BATCH) {
            let batch = SET_UP_BATCH.min(subscribers - first);
            stage.audience.missing = batch;
            for connection in stage.clients.connect(stage.target.address, batch)? {
                let mut words = Vec::new();
                stage.audience.dialect.subscribe(connection, &mut words);
                stage.clients.send(connection, &words)?;
            }
            if !stage.poll_until(PATIENCE, |audience| audience.missing == 0)? {
                let missing = stage.audience.missing;
                return Err(stage.fault(&format!(
                    "{missing} of {batch} subscriptions behind {first} others were not answered"
                )));
            }
        }
        stage.settle()?;
        Ok(stage)
    }

    fn begin_round(&mut self, payload: usize) -> io::Result<()> {
        // Warm caches and an awake CPU, as after the first of many changes.
        self.audience.records = false;
        self.change(payload)?;
        self.audience.records = true;
        self.rounds.push(Round::default());
        Ok(())
    }

    fn is_over(&self, length: Length) -> bool {
        let round = self.rounds.last().expect("it began");
        let changes = round.whole.len();
        changes >= length.changes || changes >= CHANGES_MIN && round.wall >= length.at_most
    }

    fn measured_change(&mut self, payload: usize) -> io::Result<()> {
        let start = Instant::now();
        let (server, client) = (
            self.target.cpu_time(),
            process::cpu_time(std::process::id()),
        );
        let whole = self.change(payload)?;
        let used = |before| Some(self.target.cpu_time()?.saturating_sub(before));
        let server = server.and_then(used);
        let round = self.rounds.last_mut().expect("it began");
        round.whole.push(whole);
        round.server_cpu = server.map(|used| round.server_cpu.unwrap_or_default() + used);
        round.client_cpu += process::cpu_time(std::process::id()).saturating_sub(client);
        round.wall += start.elapsed();
        round.deliveries += self.audience.versions.len();
        Ok(())
    }

    /// Publishes, and waits until everyone has it and the server is done with it.
    fn change(&mut self, payload: usize) -> io::Result<Duration> {
        self.changes += 1;
        let text = wire::text(self.changes, payload);
        let mut words = Vec::new();
        self.audience
            .dialect
            .publish(self.changes, &text, &mut words);
        self.audience.expect();
        self.clients.send(PUBLISHER, &words)?;
        if !self.poll_until(DELIVERY_MAX, |audience| audience.missing == 0)? {
            let missing = self.audience.missing;
            return Err(self.fault(&format!(
                "{missing} subscribers never got change {}",
                self.changes
            )));
        }
        let whole = self.audience.published_at.elapsed();
        self.settle()?;
        Ok(whole)
    }

    /// Waits until the server has done what was asked of it.
    fn settle(&mut self) -> io::Result<()> {
        self.ping()?;
        if self.poll_until(PATIENCE, |audience| audience.pings == 0)? {
            Ok(())
        } else {
            Err(self.fault("a ping was not answered"))
        }
    }

    fn ping(&mut self) -> io::Result<()> {
        let mut ping = Vec::new();
        self.audience.dialect.ping(&mut ping);
        self.audience.pings += 1;
        self.clients.send(PUBLISHER, &ping)
    }

    /// Keeps every connection alive while the other servers have their turns, and hears what the server asks meanwhile.
    fn ping_all(&mut self) -> io::Result<()> {
        if self.pinged.elapsed() < PING_EVERY {
            return Ok(());
        }
        self.pinged = Instant::now();
        self.ping()?;
        if self.audience.dialect.must_ping() {
            let mut ping = Vec::new();
            self.audience.dialect.ping(&mut ping);
            for subscriber in 1..=self.audience.versions.len() {
                self.clients.send(subscriber, &ping)?;
            }
        }
        self.clients.poll(Duration::ZERO, &mut self.audience)
    }

    /// What went wrong, with what else was seen of it.
    fn fault(&self, what: &str) -> io::Error {
        let Audience { wrong, closed, .. } = self.audience;
        io::Error::other(format!(
            "{}: {what}; {wrong} wrong answers, {closed} connections ended",
            self.target.kind.name()
        ))
    }

    fn poll_until(
        &mut self,
        within: Duration,
        done: impl Fn(&Audience) -> bool,
    ) -> io::Result<bool> {
        let name = self.target.kind.name();
        self.clients
            .poll_until(within, &mut self.audience, done)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }

    fn p50_ms(&self, round: usize) -> f64 {
        median(self.rounds[round].whole.iter().map(|whole| ms(*whole)))
    }

    fn cpu_us(&self, round: usize) -> Option<f64> {
        let round = &self.rounds[round];
        Some(us(round.server_cpu?) / round.deliveries as f64)
    }
}

/// All subscribers, and what each was shown.
struct Audience {
    dialect: Box<dyn Dialect>,
    published_at: Instant,
    /// The last version each was shown; their connections are numbered from 1.
    versions: Vec<i64>,
    missing: usize,
    /// Pings of the publisher that are not answered.
    pings: usize,
    /// Whether deliveries count for the latencies reported.
    records: bool,
    wrong: u64,
    closed: u64,
    deliveries: Histogram<u64>,
}

impl Audience {
    fn new(kind: Kind, subscribers: usize) -> Self {
        Self {
            dialect: peers::dialect(kind, subscribers),
            published_at: Instant::now(),
            versions: vec![0; subscribers],
            missing: 0,
            pings: 0,
            records: false,
            wrong: 0,
            closed: 0,
            deliveries: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)
                .expect("a valid range"),
        }
    }

    fn expect(&mut self) {
        self.missing = self.versions.len();
        self.published_at = Instant::now();
    }

    fn on_heard(&mut self, connection: usize, heard: Heard) {
        match heard {
            Heard::Pong if connection == PUBLISHER => self.pings = self.pings.saturating_sub(1),
            Heard::Nothing | Heard::Pong => {}
            Heard::Ready(version) => {
                self.versions[connection - 1] = version;
                self.missing = self.missing.saturating_sub(1);
            }
            Heard::Value(version) if version > self.versions[connection - 1] => {
                self.versions[connection - 1] = version;
                self.missing = self.missing.saturating_sub(1);
                if self.records {
                    let nanos = self.published_at.elapsed().as_nanos();
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    self.deliveries.saturating_record(nanos);
                }
            }
            Heard::Value(_) | Heard::Wrong => self.wrong += 1,
        }
    }
}

impl Receives for Audience {
    fn receive(&mut self, connection: usize, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((heard, len)) = self.dialect.next(connection, &bytes[taken..], out)? {
            self.on_heard(connection, heard);
            taken += len;
        }
        Ok(taken)
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
