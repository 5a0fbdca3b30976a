//! One change until all N subscribers have it, and what a delivery costs the server.
//!
//! Each subscriber has a connection of its own, as in a deployment. All servers stand ready at once and take turns; an idle one costs
//! nothing. Between two changes a ping makes sure that the server is done with the acknowledgements of the last. Clients of every server run
//! in the same loop; what they say differs, and stands in [`crate::peers`].

mod failures;
mod findings;
mod turns;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::args::{Common, Fanout};
use crate::clients::{Clients, Receives};
use crate::host::{self, Seats};
use crate::meter::{Meter, Window};
use crate::peers::{self, Dialect, Heard, PUBLISHER};
use crate::report::{Report, bytes, median, ms, shown};
use crate::target::{Kind, Target};
use crate::timeline::{nanos, times};
use crate::wire;

use failures::Failures;
use turns::Others;
pub(crate) use turns::{alternate, turns};

/// How long the answer to a ping may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a change; while a server takes it, nobody pings the others.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// Deliveries of a round where the number of changes is not given.
const DELIVERIES_PER_ROUND: usize = 20_000;
/// How long all subscribers together may take until they have subscribed: 9,000 take the slowest server we know some seconds.
const SET_UP_MAX: Duration = Duration::from_secs(60);
/// Subscribers that register at once while a stage is set up.
const SET_UP_BATCH: usize = 500;
/// Descriptors for everything that is no client.
const SPARE_DESCRIPTORS: usize = 100;
/// How often idle clients ping, where the server insists: before the 10 s after which a kernel asks silent clients whether they live. It asks all
/// of a fan-out's in a few moments, which on loopback takes the time of the server whose turn it is.
const PING_EVERY: Duration = Duration::from_secs(8);
/// How long a server whose turn it is not is waited for when it is pinged.
const PING_MAX: Duration = Duration::from_secs(1);
/// No further change is begun in a round after this time where their number is not given: a server that takes half a second for each would make
/// a run of many rounds take an hour.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// A server of others whose turns with one load took longer together has no further one: [`CHANGES_MIN`] alone would let one that is about to
/// fail take minutes.
const TURNS_MAX: Duration = Duration::from_secs(60);
/// Changes that make a round at least.
const CHANGES_MIN: usize = 3;

/// The table of this scenario.
pub(crate) const TITLE: &str = "fanout: one change until all have it";

/// Measures every number of subscribers with every payload, the smallest first: a server that fails is not put to more.
pub(crate) fn run(
    common: &Common,
    options: &Fanout,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let mut failures = Failures::default();
    for subscribers in smallest_first(&options.subscribers) {
        let length = Length::of(options, subscribers);
        let load = |payload| Load {
            subscribers,
            payload,
            length,
        };
        let payloads = smallest_first(&options.payload);
        let loads: Vec<_> = payloads.into_iter().map(load).collect();
        for common in groups(common, subscribers) {
            side_by_side(&common, &loads, seats, &mut failures, report)?;
        }
    }
    Ok(())
}

fn smallest_first(sizes: &[usize]) -> Vec<usize> {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Measures servers in turns with loads of one number of subscribers, which come once and stay.
fn side_by_side(
    common: &Common,
    loads: &[Load],
    seats: Seats,
    failures: &mut Failures,
    report: &mut Report,
) -> io::Result<()> {
    let Some(&first) = loads.first() else {
        return Ok(());
    };
    let able = failures.able(common, first);
    let targets = turns::targets(&able, seats, &mut failures.at(first))?;
    let mut stages = turns::set_up(targets, first, &mut failures.at(first))?;
    for &load in loads {
        stages.retain(|stage| failures.of(stage.target.kind, load).is_none());
        turns::take(&mut stages, load, common.rounds, &mut failures.at(load))?;
        findings::tell(&stages, load, report);
        findings::draw(&stages, load, report);
        failures.tell(common, load, report);
        stages.iter_mut().for_each(Stage::begin_again);
    }
    Ok(())
}

/// What every server is put to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Subscribers, each with a connection of its own.
    pub(crate) subscribers: usize,
    /// Published bytes.
    pub(crate) payload: usize,
    /// How long a round is.
    pub(crate) length: Length,
}

impl Load {
    /// Whether it asks no more than another.
    fn is_within(self, other: Self) -> bool {
        self.subscribers <= other.subscribers && self.payload <= other.payload
    }
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.subscribers == 1 { "" } else { "s" };
        let subscribers = shown(self.subscribers as f64);
        write!(
            out,
            "{subscribers} subscriber{plural}, {}",
            bytes(self.payload)
        )
    }
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    changes: usize,
    /// The time after which it ends early, with fewer changes.
    at_most: Duration,
}

impl Length {
    /// As asked for, or what suits this many subscribers.
    fn of(options: &Fanout, subscribers: usize) -> Self {
        let given = options.changes.map(Self::exactly);
        given.unwrap_or_else(|| Self::usual(subscribers))
    }

    /// So many changes, however long they take.
    pub(crate) fn exactly(changes: usize) -> Self {
        Self {
            changes,
            at_most: Duration::MAX,
        }
    }

    /// What suits this many subscribers.
    pub(crate) fn usual(subscribers: usize) -> Self {
        Self {
            changes: (DELIVERIES_PER_ROUND / subscribers.max(1)).clamp(CHANGES_MIN, 100),
            at_most: ROUND_MAX,
        }
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

/// One server with its clients.
pub(crate) struct Stage {
    pub(crate) target: Target,
    clients: Clients,
    audience: Audience,
    changes: u64,
    pinged: Instant,
    /// What its turns with this load took.
    spent: Duration,
    pub(crate) rounds: Vec<Round>,
}

/// One turn of a server.
pub(crate) struct Round {
    /// When each change was published, and how long until everyone had it.
    changes: Vec<(Instant, Duration)>,
    /// How long each delivery took.
    deliveries: Histogram<u64>,
    pub(crate) window: Window,
}

impl Round {
    /// How long half of the changes took.
    pub(crate) fn p50_ms(&self) -> f64 {
        median(self.changes.iter().map(|(_, whole)| ms(*whole)))
    }

    /// The same if the server had never waited for its clients: it cannot have been faster than its own CPU time.
    fn least_ms(&self) -> f64 {
        self.p50_ms() * self.window.server_busy().map_or(1.0, |busy| busy.min(1.0))
    }

    /// Within which time nearly all deliveries came.
    pub(crate) fn p99_ms(&self) -> f64 {
        self.deliveries.value_at_quantile(0.99) as f64 / 1e6
    }

    /// How many deliveries there were.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.deliveries.len()).expect("a run ends")
    }

    /// CPU time of the server per delivery.
    pub(crate) fn server_us(&self) -> Option<f64> {
        self.window.server_us_each(self.count())
    }
}

impl Stage {
    /// Lets the subscribers come.
    pub(crate) fn set_up(target: Target, subscribers: usize) -> io::Result<Self> {
        let mut stage = Self {
            clients: Clients::new()?,
            audience: Audience::new(target.kind, subscribers),
            target,
            changes: 0,
            pinged: Instant::now(),
            spent: Duration::ZERO,
            rounds: Vec::new(),
        };
        stage.clients.connect(stage.target.address, 1)?;
        let mut greeting = Vec::new();
        stage.audience.dialect.greet(&mut greeting);
        stage.clients.send(PUBLISHER, &greeting)?;
        stage.settle()?;
        let deadline = Instant::now() + SET_UP_MAX;
        for first in (0..subscribers).step_by(SET_UP_BATCH) {
            let batch = SET_UP_BATCH.min(subscribers - first);
            stage.audience.missing = batch;
            for connection in stage.clients.connect(stage.target.address, batch)? {
                let mut words = Vec::new();
                stage.audience.dialect.subscribe(connection, &mut words);
                stage.clients.send(connection, &words)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !stage.poll_until(left, |audience| audience.missing == 0)? {
                let missing = stage.audience.missing;
                return Err(stage.fault(&format!(
                    "{missing} of {batch} subscriptions behind {first} others were not answered within {SET_UP_MAX:?} of the first"
                )));
            }
        }
        stage.settle()?;
        Ok(stage)
    }

    /// Forgets what was measured, to be put to another load.
    fn begin_again(&mut self) {
        self.spent = Duration::ZERO;
        self.rounds.clear();
        self.audience.forgive();
    }

    /// Measures some changes. What the others need meanwhile is done between them and does not count.
    fn round(&mut self, load: Load, others: &mut Others<'_>) -> io::Result<()> {
        let Load {
            length, payload, ..
        } = load;
        // Warm caches and an awake CPU, as after the first of many changes.
        self.change(payload)?;
        self.audience.deliveries = times();
        let mut pieces = Vec::new();
        let mut meter = Meter::start(&self.target);
        let start = Instant::now();
        let mut changes = Vec::with_capacity(length.changes);
        while changes.len() < length.changes
            && (changes.len() < CHANGES_MIN || start.elapsed() < length.at_most)
        {
            changes.push(self.change(payload)?);
            if others.are_silent() {
                pieces.push(meter.stop(&self.target));
                others.ping();
                meter = Meter::start(&self.target);
            }
        }
        pieces.push(meter.stop(&self.target));
        self.rounds.push(Round {
            window: Window::whole(&pieces),
            changes,
            deliveries: std::mem::replace(&mut self.audience.deliveries, times()),
        });
        Ok(())
    }

    /// Publishes, and waits until everyone has it and the server is done with it.
    fn change(&mut self, payload: usize) -> io::Result<(Instant, Duration)> {
        let whole = self.deliver(payload)?;
        self.settle()?;
        Ok((self.audience.published_at, whole))
    }

    /// Publishes, and waits until everyone has it.
    pub(crate) fn deliver(&mut self, payload: usize) -> io::Result<Duration> {
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
        Ok(self.audience.published_at.elapsed())
    }

    /// Lets so many subscribers never read again; the others are watched.
    pub(crate) fn deafen(&mut self, count: usize) -> io::Result<()> {
        let subscribers = self.audience.versions.len();
        for number in 0..count.min(subscribers) {
            // Spread over all, as they are over a server's lists.
            let subscriber = number * subscribers / count;
            self.audience.is_deaf[subscriber] = true;
            self.clients.read(subscriber + 1, false)?;
        }
        Ok(())
    }

    /// Deliveries from the start of the server, those of the warm-up included.
    pub(crate) fn all_deliveries(&self) -> usize {
        usize::try_from(self.changes).expect("a run ends") * self.audience.versions.len()
    }

    /// What the server did wrong, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let Audience {
            wrong,
            stale,
            closed,
            ..
        } = self.audience;
        (wrong + stale + closed > 0).then(|| {
            format!(
                "{}: {wrong} pushes of another list than the complete one, {stale} whose version had not grown, {closed} connections ended",
                self.target.name
            )
        })
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

    /// Whether its clients said nothing for so long that they should.
    fn is_silent(&self) -> bool {
        self.pinged.elapsed() >= PING_EVERY
    }

    /// Keeps every connection alive while the other servers have their turns, and hears what the server asks meanwhile.
    fn ping_all(&mut self) -> io::Result<()> {
        self.pinged = Instant::now();
        if self.audience.dialect.must_ping() {
            let mut ping = Vec::new();
            self.audience.dialect.ping(&mut ping);
            for subscriber in 1..=self.audience.versions.len() {
                self.clients.send(subscriber, &ping)?;
            }
        }
        self.ping()?;
        // Until it is done with them, or the next server would be measured beside it.
        self.poll_until(PING_MAX, |audience| audience.pings == 0)?;
        Ok(())
    }

    /// What went wrong, with what else was seen of it.
    fn fault(&self, what: &str) -> io::Error {
        let Audience { wrong, closed, .. } = self.audience;
        io::Error::other(format!(
            "{}: {what}; {wrong} wrong answers, {closed} connections ended",
            self.target.name
        ))
    }

    fn poll_until(
        &mut self,
        within: Duration,
        done: impl Fn(&Audience) -> bool,
    ) -> io::Result<bool> {
        let name = &self.target.name;
        self.clients
            .poll_until(within, &mut self.audience, done)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }
}

/// All subscribers, and what each was shown.
struct Audience {
    dialect: Box<dyn Dialect>,
    published_at: Instant,
    /// The last version each was shown; their connections are numbered from 1.
    versions: Vec<i64>,
    /// Who never reads; nothing is expected of them.
    is_deaf: Vec<bool>,
    missing: usize,
    /// Pings of the publisher that are not answered.
    pings: usize,
    wrong: u64,
    stale: u64,
    closed: u64,
    deliveries: Histogram<u64>,
}

impl Audience {
    fn new(kind: Kind, subscribers: usize) -> Self {
        Self {
            dialect: peers::dialect(kind, subscribers),
            published_at: Instant::now(),
            versions: vec![0; subscribers],
            is_deaf: vec![false; subscribers],
            missing: 0,
            pings: 0,
            wrong: 0,
            stale: 0,
            closed: 0,
            deliveries: times(),
        }
    }

    /// Counts from zero what was told.
    fn forgive(&mut self) {
        (self.wrong, self.stale, self.closed) = (0, 0, 0);
    }

    fn is_deaf(&self, connection: usize) -> bool {
        connection != PUBLISHER && self.is_deaf[connection - 1]
    }

    fn expect(&mut self) {
        self.missing = self.is_deaf.iter().filter(|is_deaf| !**is_deaf).count();
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
                self.deliveries
                    .saturating_record(nanos(self.published_at.elapsed()));
            }
            Heard::Value(_) => self.stale += 1,
            Heard::Wrong => self.wrong += 1,
        }
    }
}

impl Receives for Audience {
    fn receive(&mut self, connection: usize, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        if self.is_deaf(connection) {
            return Ok(bytes.len());
        }
        let mut taken = 0;
        while let Some((heard, len)) = self.dialect.next(connection, &bytes[taken..], out)? {
            self.on_heard(connection, heard);
            taken += len;
        }
        Ok(taken)
    }

    fn closed(&mut self, connection: usize) {
        // A server may end a connection on which nobody reads.
        self.closed += u64::from(!self.is_deaf(connection));
    }
}
