//! A day in the life, shortened: many clients that mostly idle, a deployment that rolls through them, a few that never read, and heartbeats.
//!
//! Servers have their days one after another, not in turns: thousands of clients that say nothing while another server's come, which takes
//! SOFARegistry a minute, are ended for it, and keeping them alive would be load on the server's CPU.
//!
//! Three latencies are watched meanwhile: of a registration, of a heartbeat, and of a change that a few probes subscribe to.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::{Boxes, ReceivedData, received_data};
use serde_json::json;

use crate::args::{Common, Mixed};
use crate::clients::{Clients, Hears};
use crate::crowd::{Crowd, is_taken};
use crate::host::Seats;
use crate::meter::{self, Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, quantile_ms, rounded};
use crate::resends::Resends;
use crate::target::{Kind, Target};
use crate::timeline::{Timeline, nanos, times};
use crate::wire::{self, Registration};

/// How long the last answers may take until they count as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that sent nothing for so long has sent all: SOFARegistry gathers changes for about a second.
const QUIET: Duration = Duration::from_secs(1);
/// Clients that share a service.
const CLIENTS_PER_SERVICE: usize = 50;
/// Subscribers of the service whose changes are watched.
const PROBES: usize = 20;
const PROBE_DATA_ID: &str = "com.example.Probe:1.0@DEFAULT";
/// How often each kind of event happens, apart from the deployment, whose rate is an option.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const HEARTBEAT_EVERY: Duration = Duration::from_millis(5);

const TITLE: &str = "mixed: a deployment rolls through many clients";

/// Lets the day pass.
pub(crate) fn run(
    common: &Common,
    options: &Mixed,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    for target in Target::all(common, seats)? {
        let progress = Progress::new(format!("mixed, {}", target.name), 2);
        progress.begin(format_args!("{} clients come", options.clients));
        let mut day = Day::begin(target, options)?;
        progress.step();
        progress.begin("the day");
        let window = day.pass(options)?;
        drop(progress);
        tell(&day, options, &window, report);
        draw(&day, report);
    }
    Ok(())
}

/// One server with its clients.
struct Day {
    target: Target,
    clients: Clients,
    people: People,
    /// The connection of each client; a redeployed one has another.
    connections: Vec<usize>,
    probe_publisher: usize,
}

impl Day {
    fn begin(target: Target, options: &Mixed) -> io::Result<Self> {
        let mut clients = Clients::new()?;
        let mut crowd = Crowd::default();
        let connections = clients.connect(target.address, options.clients)?;
        crowd.register(&mut clients, connections.clone(), 1, |client, out| {
            write(client, 1, out);
            2
        })?;
        // Those who never read have got what they asked for; from here on they hear nothing.
        for client in (0..options.clients).filter(|client| is_deaf(*client, options)) {
            clients.read(client, false)?;
        }
        let probes = clients.connect(target.address, PROBES)?;
        crowd.register(&mut clients, probes.clone(), 1, |probe, out| {
            registration(PROBE_DATA_ID.to_owned(), 3, probe, 1).subscribe(1, out);
            1
        })?;
        let probe_publisher = clients.connect(target.address, 1)?.start;
        // What grew while the others came is no part of the day.
        clients.settle(QUIET, PATIENCE, &mut crowd)?;
        let mut people = People::new(probes.start, target.kind, options);
        people.refused += crowd.refused;
        people.closed += crowd.closed;
        Ok(Self {
            target,
            clients,
            people,
            connections: connections.collect(),
            probe_publisher,
        })
    }

    fn pass(&mut self, options: &Mixed) -> io::Result<Window> {
        let meter = Meter::start(&self.target);
        let end = Instant::now() + Duration::from_secs(options.seconds);
        for latency in self.people.latencies() {
            latency.timeline.begin();
        }
        let deploy_every =
            Duration::from_secs(1) / u32::try_from(options.deploys.max(1)).unwrap_or(u32::MAX);
        let mut due = [Instant::now(); 3];
        let mut counts = [0_usize; 3];
        while Instant::now() < end {
            let periods = [deploy_every, HEARTBEAT_EVERY, PROBE_EVERY];
            for event in 0..due.len() {
                if Instant::now() >= due[event] {
                    due[event] += periods[event];
                    counts[event] += 1;
                    self.happen(event, counts[event], options)?;
                }
            }
            let next = due.iter().min().copied().unwrap_or(end);
            self.clients.poll(
                next.saturating_duration_since(Instant::now()),
                &mut self.people,
            )?;
        }
        let done = |people: &People| people.under_way() == 0;
        self.clients.poll_until(PATIENCE, &mut self.people, done)?;
        self.people.lost = self.people.under_way();
        Ok(meter.stop(&self.target))
    }

    fn happen(&mut self, event: usize, count: usize, options: &Mixed) -> io::Result<()> {
        match event {
            0 => self.redeploy(count, options),
            1 => self.beat(count, options),
            _ => self.probe(count),
        }
    }

    /// A client ends and comes back as a new process: another connection, the same registrations one version up.
    fn redeploy(&mut self, count: usize, options: &Mixed) -> io::Result<()> {
        let client = count % options.clients;
        if is_deaf(client, options) {
            return Ok(());
        }
        let former = std::mem::replace(&mut self.connections[client], 0);
        self.clients.close(former);
        let connection = self.clients.connect(self.target.address, 1)?.start;
        self.connections[client] = connection;
        let mut frames = Vec::new();
        write(
            client,
            2 + i64::try_from(count / options.clients).expect("a run ends"),
            &mut frames,
        );
        self.people.registered.push((connection, Instant::now(), 2));
        self.people.resends.sent(connection, &frames);
        self.clients.send(connection, &frames)
    }

    fn beat(&mut self, count: usize, options: &Mixed) -> io::Result<()> {
        // Another step than that of the deployment, so that the two meet different clients.
        let client = count * 7 % options.clients;
        if is_deaf(client, options) {
            return Ok(());
        }
        let connection = self.connections[client];
        let mut frame = Vec::new();
        wire::heartbeat(1, &mut frame);
        self.people.beats.push((connection, Instant::now(), 1));
        self.clients.send(connection, &frame)
    }

    fn probe(&mut self, count: usize) -> io::Result<()> {
        let boxes: Boxes = [wire::text(count as u64, 64).as_str()]
            .into_iter()
            .collect();
        let version = i64::try_from(count).expect("a run ends");
        let mut frame = Vec::new();
        registration(PROBE_DATA_ID.to_owned(), 1, usize::MAX >> 24, version)
            .publish(1, &boxes, &mut frame);
        self.people.changes.push(Instant::now());
        self.clients.send(self.probe_publisher, &frame)
    }
}

/// A few clients stop reading for ever.
fn is_deaf(client: usize, options: &Mixed) -> bool {
    options.deaf_percent > 0 && client % 100 < options.deaf_percent
}

fn registration(data_id: String, kind: u16, number: usize, version: i64) -> Registration {
    Registration {
        data_id,
        register_id: wire::register_id(kind, number),
        version,
    }
}

fn write(client: usize, version: i64, out: &mut Vec<u8>) {
    let service = || {
        format!(
            "com.example.Mixed{}:1.0@DEFAULT",
            client / CLIENTS_PER_SERVICE
        )
    };
    let boxes: Boxes = [format!("10.0.0.1:12200?client={client}&version={version}").as_str()]
        .into_iter()
        .collect();
    registration(service(), 1, client, version).publish(1, &boxes, out);
    registration(service(), 2, client, version).subscribe(2, out);
}

/// Everyone, and what they wait for.
struct People {
    acknowledgement: Vec<u8>,
    /// Which of the first connections never read.
    deaf: Vec<bool>,
    first_probe: usize,
    /// The newest change each probe saw, and under which version.
    seen: Vec<(usize, i64)>,
    changes: Vec<Instant>,
    registered: Vec<(usize, Instant, usize)>,
    beats: Vec<(usize, Instant, usize)>,
    pushes: usize,
    /// Pushes that showed nothing new.
    repeats: usize,
    refused: usize,
    wrong: usize,
    /// Answers and changes that never came.
    lost: usize,
    closed: usize,
    resends: Resends,
    registration: Latency,
    heartbeat: Latency,
    push: Latency,
}

/// How long one kind of event took.
struct Latency {
    times: Histogram<u64>,
    timeline: Timeline,
}

impl Latency {
    fn new() -> Self {
        Self {
            times: times(),
            timeline: Timeline::default(),
        }
    }

    fn record(&mut self, since: Instant) {
        let now = Instant::now();
        let nanos = nanos(now - since);
        self.times.saturating_record(nanos);
        self.timeline.record(now, nanos);
    }
}

impl People {
    fn new(first_probe: usize, kind: Kind, options: &Mixed) -> Self {
        Self {
            acknowledgement: wire::acknowledgement(),
            deaf: (0..options.clients)
                .map(|client| is_deaf(client, options))
                .collect(),
            first_probe,
            seen: vec![(0, 0); PROBES],
            changes: Vec::new(),
            registered: Vec::new(),
            beats: Vec::new(),
            pushes: 0,
            repeats: 0,
            refused: 0,
            wrong: 0,
            lost: 0,
            closed: 0,
            resends: Resends::new(kind),
            registration: Latency::new(),
            heartbeat: Latency::new(),
            push: Latency::new(),
        }
    }

    fn latencies(&mut self) -> [&mut Latency; 3] {
        [&mut self.registration, &mut self.heartbeat, &mut self.push]
    }

    fn under_way(&self) -> usize {
        let unseen = self
            .seen
            .iter()
            .filter(|(seen, _)| *seen < self.changes.len())
            .count();
        // A heartbeat may have been sent on a connection that its client closed before the answer came.
        self.registered.len() + unseen
    }

    fn on_push(&mut self, connection: usize, frame: &Frame<'_>) {
        self.pushes += 1;
        let Some((seen, version)) = connection
            .checked_sub(self.first_probe)
            .and_then(|probe| self.seen.get_mut(probe))
        else {
            return;
        };
        let push = ReceivedData::decode(frame.content).unwrap_or_default();
        let text = push
            .data
            .first()
            .and_then(|(_, boxes)| boxes.texts().flatten().next());
        let change =
            text.and_then(|text| usize::from_str_radix(text.to_string_lossy().get(..16)?, 16).ok());
        let shown = change.filter(|change| {
            (*seen..=self.changes.len()).contains(change) && push.version > Some(*version)
        });
        let Some(change) = shown else {
            self.wrong += 1;
            return;
        };
        self.repeats += usize::from(change == *seen);
        for at in &self.changes[*seen..change] {
            self.push.record(*at);
        }
        (*seen, *version) = (change, push.version.unwrap_or_default());
    }
}

/// Counts an answer; records the latency with the last one that was waited for.
fn answered(waiting: &mut Vec<(usize, Instant, usize)>, connection: usize, latency: &mut Latency) {
    let Some(place) = waiting.iter().position(|(other, ..)| *other == connection) else {
        return;
    };
    waiting[place].2 -= 1;
    if waiting[place].2 == 0 {
        let (_, at, _) = waiting.remove(place);
        latency.record(at);
    }
}

impl Hears for People {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            FrameKind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                self.on_push(connection, frame);
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            FrameKind::Response { .. } if is_taken(frame) => {
                self.resends.taken(connection, frame.request_id);
                answered(&mut self.registered, connection, &mut self.registration);
            }
            FrameKind::Response { .. }
                if self.resends.refused(connection, frame.request_id, out) => {}
            FrameKind::HeartbeatAck { .. } => {
                answered(&mut self.beats, connection, &mut self.heartbeat)
            }
            _ => self.refused += 1,
        }
    }

    fn closed(&mut self, connection: usize) {
        // A server may end a connection on which nobody reads. Who comes back has another number.
        let is_deaf = self.deaf.get(connection).copied().unwrap_or(false);
        self.closed += usize::from(!is_deaf);
    }
}

fn tell(day: &Day, options: &Mixed, window: &Window, report: &mut Report) {
    let (name, people) = (day.target.name.as_str(), &day.people);
    report.row(
        TITLE,
        json!({
            "clients": options.clients,
            "deploys_per_second": options.deploys,
            "deaf_percent": options.deaf_percent,
            "server": name,
            "pushes": people.pushes,
            "repeats": people.repeats,
            "sent_again": people.resends.count,
            "push_p50_ms": quantile_ms(&people.push.times, 0.5),
            "push_p99_ms": quantile_ms(&people.push.times, 0.99),
            "registration_p50_ms": quantile_ms(&people.registration.times, 0.5),
            "registration_p99_ms": quantile_ms(&people.registration.times, 0.99),
            "heartbeat_p50_ms": quantile_ms(&people.heartbeat.times, 0.5),
            "heartbeat_p99_ms": quantile_ms(&people.heartbeat.times, 0.99),
            "rss_mib": day.target.resident_kib().map(|kib| rounded(kib as f64 / 1024.0)),
            "server_busy": window.server_busy().map(rounded),
            "client_busy": rounded(window.client_busy()),
        }),
    );
    let repeats = if day.target.kind.promises_less() {
        0
    } else {
        people.repeats
    };
    let wrong = people.wrong + repeats;
    if people.refused + wrong + people.lost + people.closed > 0 {
        report.problem(format!(
            "{name}: {} refused, {wrong} wrong pushes, {} answers never came, {} connections ended",
            people.refused, people.lost, people.closed
        ));
    }
    meter::judge("mixed", name, &[*window], report);
}

fn draw(day: &Day, report: &mut Report) {
    let (name, people) = (&day.target.name, &day.people);
    let latencies = [
        ("push", &people.push),
        ("registration", &people.registration),
        ("heartbeat", &people.heartbeat),
    ];
    for (what, latency) in latencies {
        report.headline(
            format!("{:.1} ms", quantile_ms(&latency.times, 0.99)),
            format!("p99 of a {what} while a deployment rolls through"),
            name.clone(),
        );
    }
    let times = latencies.map(|(what, latency)| (what, &latency.times));
    report.plot(
        TITLE,
        Plot::distribution(format!("Latencies of {name}"), "ms", times),
    );
    let slowest = latencies.map(|(what, latency)| latency.timeline.slowest_ms(what));
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Slowest of every 50 ms, {name}"),
            "ms",
            slowest.into(),
        ),
    );
}
