//! All clients of a deployment come at once: each connects, publishes and subscribes twice. How long until everyone has every list.
//!
//! A list counts when it is complete; those pushed while it grows are acknowledged and forgotten. What clients say is written before they come,
//! and what they hear is compared rather than decoded wherever that tells as much: one thread plays all of them.

mod list;

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind as FrameKind};
use rollcall_core::message::{Boxes, received_data};
use serde_json::json;

use crate::args::{Common, Storm};
use crate::clients::{Clients, Hears};
use crate::crowd::is_taken;
use crate::host::Seats;
use crate::meter::{self, Meter, Window};
use crate::progress::Progress;
use crate::report::{Moments, Plot, Report, median, ms, rounded, shown};
use crate::resends::Resends;
use crate::target::{Kind, Target};
use crate::timeline::{nanos, times};
use crate::wire::{self, Registration};
use list::List;

/// How long the storm may take until it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients that come between two looks at what the server said.
const BATCH: usize = 50;
/// Registrations of a client.
const REGISTRATIONS: usize = 3;
/// Of them, the one that publishes.
const PUBLISHER: u16 = 1;
/// Its subscriptions: to its own service and to the next.
const SUBSCRIPTIONS: usize = 2;

/// The table of this scenario.
pub(crate) const TITLE: &str = "storm: everyone comes at once";

/// Lets the clients come, once per round, each time to a fresh server.
pub(crate) fn run(
    common: &Common,
    options: &Storm,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let progress = Progress::new("storm", common.rounds);
    let services = services(options);
    let words: Vec<_> = (0..options.clients)
        .map(|client| words(client, services))
        .collect();
    let mut servers: Vec<Server> = Vec::new();
    for round in 0..common.rounds {
        progress.begin(format_args!("round {}", round + 1));
        for (place, target) in Target::all(common, seats)?.into_iter().enumerate() {
            let deployment = Deployment::new(target.kind, options.clients, services);
            let meter = Meter::start(&target);
            let storm = storm(&target, deployment, &words)?;
            let window = meter.stop(&target);
            if round == 0 {
                servers.push(Server::new(&target.name));
            }
            servers[place].storms.push((storm, window));
            tell(&servers[0], &servers[place], options, report);
        }
        progress.step();
    }
    drop(progress);
    for server in &servers {
        let windows: Vec<_> = server.storms.iter().map(|(_, window)| *window).collect();
        meter::judge("storm", &server.name, &windows, report);
    }
    draw(options, &servers, report);
    Ok(())
}

/// What one server went through.
struct Server {
    name: String,
    storms: Vec<(Deployment, Window)>,
}

impl Server {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            storms: Vec::new(),
        }
    }

    /// Until all were served.
    fn whole(&self) -> f64 {
        median(self.storms.iter().map(|(storm, _)| ms(storm.whole)))
    }

    fn waits(&self) -> Histogram<u64> {
        let mut waits = times();
        for served in self.storms.iter().flat_map(|(storm, _)| storm.served()) {
            waits.saturating_record(nanos(served));
        }
        waits
    }

    fn arrivals(&self) -> Moments {
        let lines = self.storms.iter().map(|(storm, _)| storm.arrivals());
        Moments {
            name: self.name.clone(),
            lines: lines.collect(),
        }
    }
}

fn services(options: &Storm) -> usize {
    (options.clients / options.publishers).max(1)
}

fn storm(target: &Target, mut deployment: Deployment, words: &[Vec<u8>]) -> io::Result<Deployment> {
    let mut clients = Clients::new()?;
    deployment.start = Instant::now();
    for batch in words.chunks(BATCH) {
        let connections = clients.connect(target.address, batch.len())?;
        for (connection, words) in connections.zip(batch) {
            deployment.clients[connection].came = Some(Instant::now());
            deployment.resends.sent(connection, words);
            clients.send(connection, words)?;
        }
        clients.poll(Duration::ZERO, &mut deployment)?;
    }
    clients.poll_until(PATIENCE, &mut deployment, |deployment| {
        deployment.served == words.len()
    })?;
    deployment.whole = deployment.start.elapsed();
    Ok(deployment)
}

/// All that a client says on its own account.
fn words(client: usize, services: usize) -> Vec<u8> {
    let registration = |service: usize, kind| Registration {
        data_id: list::data_id(service % services),
        register_id: wire::register_id(kind, client),
        version: 1,
    };
    let mut frames = Vec::new();
    registration(client, PUBLISHER).publish(1, &boxes(client), &mut frames);
    for subscription in 0..SUBSCRIPTIONS {
        let kind = subscriber(subscription);
        registration(client + subscription, kind).subscribe(1 + u32::from(kind), &mut frames);
    }
    frames
}

/// Tells a client's subscriptions apart.
fn subscriber(subscription: usize) -> u16 {
    PUBLISHER + 1 + u16::try_from(subscription).expect("two subscriptions")
}

/// What a client publishes; as long as what any other does.
fn boxes(client: usize) -> Boxes {
    let text = format!("10.0.0.1:12200?client={client:08}");
    [text.as_str()].into_iter().collect()
}

/// Everyone who comes.
struct Deployment {
    start: Instant,
    whole: Duration,
    /// One per service.
    lists: Vec<List>,
    acknowledgement: Vec<u8>,
    clients: Vec<Client>,
    served: usize,
    pushes: usize,
    refused: usize,
    wrong: usize,
    /// Pushes of no higher version than what was shown.
    stale: usize,
    closed: usize,
    resends: Resends,
}

#[derive(Debug)]
struct Client {
    /// Of its subscriptions.
    register_ids: [String; SUBSCRIPTIONS],
    came: Option<Instant>,
    answered: usize,
    /// Whether the list of each subscription is complete.
    complete: [bool; SUBSCRIPTIONS],
    versions: [i64; SUBSCRIPTIONS],
    served: Option<Duration>,
}

impl Deployment {
    fn new(kind: Kind, clients: usize, services: usize) -> Self {
        let client = |number| Client {
            register_ids: std::array::from_fn(|subscription| {
                wire::register_id(subscriber(subscription), number)
            }),
            came: None,
            answered: 0,
            complete: [false; SUBSCRIPTIONS],
            versions: [0; SUBSCRIPTIONS],
            served: None,
        };
        // The publishers of a service are every so many-th client.
        let publishers = |service: usize| (clients - service).div_ceil(services);
        let list = |service| List::new(service, publishers(service), &boxes(0));
        Self {
            start: Instant::now(),
            whole: Duration::ZERO,
            lists: (0..services).map(list).collect(),
            acknowledgement: wire::acknowledgement(),
            clients: (0..clients).map(client).collect(),
            served: 0,
            pushes: 0,
            refused: 0,
            wrong: 0,
            stale: 0,
            closed: 0,
            resends: Resends::new(kind),
        }
    }

    fn on_push(&mut self, connection: usize, content: &[u8]) {
        self.pushes += 1;
        let services = self.lists.len();
        let client = &mut self.clients[connection];
        let mut subscriptions = client.register_ids.iter().enumerate();
        let shown = subscriptions.find_map(|(subscription, register_id)| {
            let list = &mut self.lists[(connection + subscription) % services];
            Some((subscription, list.shown(content, register_id)?))
        });
        match shown {
            Some((subscription, shown)) if shown.version > client.versions[subscription] => {
                client.versions[subscription] = shown.version;
                client.complete[subscription] = shown.is_complete;
            }
            Some(_) => self.stale += 1,
            None => self.wrong += 1,
        }
        self.look_at(connection);
    }

    /// How long each client waited, the luckiest first.
    fn served(&self) -> Vec<Duration> {
        let waits = self.clients.iter().filter_map(|client| client.served);
        let mut waits: Vec<_> = waits.collect();
        waits.sort_unstable();
        waits
    }

    /// How many clients were served by when.
    fn arrivals(&self) -> Vec<(Instant, f64)> {
        let times = self
            .clients
            .iter()
            .filter_map(|client| Some(client.came? + client.served?));
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        std::iter::once((self.start, 0.0))
            .chain(times.into_iter().zip((1..).map(f64::from)))
            .collect()
    }

    fn look_at(&mut self, connection: usize) {
        let client = &mut self.clients[connection];
        let is_served =
            client.answered == REGISTRATIONS && client.complete.iter().all(|complete| *complete);
        if is_served && client.served.is_none() {
            client.served = client.came.map(|came| came.elapsed());
            self.served += 1;
        }
    }
}

impl Hears for Deployment {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            FrameKind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                self.on_push(connection, frame.content);
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            FrameKind::Response { .. } if is_taken(frame) => {
                self.resends.taken(connection, frame.request_id);
                self.clients[connection].answered += 1;
                self.look_at(connection);
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

/// The last storm of a server, beside that of the first.
fn tell(first: &Server, server: &Server, options: &Storm, report: &mut Report) {
    let name = &server.name;
    let (storm, window) = server.storms.last().expect("it just was");
    let (first_storm, first_window) = first.storms.last().expect("it went before");
    let served = storm.served();
    let median = served.get(served.len() / 2).copied().unwrap_or_default();
    let last = served.last().copied().unwrap_or_default();
    let each = |window: &Window| window.server_us_each(options.clients);
    let is_other = !std::ptr::eq(first, server);
    let time_ratio = ms(first_storm.whole) / ms(storm.whole);
    let cpu_ratio = each(first_window)
        .zip(each(window))
        .map(|(ours, theirs)| ours / theirs);
    report.row(
        TITLE,
        json!({
            "clients": options.clients,
            "services": storm.lists.len(),
            "round": server.storms.len(),
            "server": name,
            "all_served_ms": ms(storm.whole),
            "served_median_ms": ms(median),
            "served_max_ms": ms(last),
            "max_over_median": rounded(last.as_secs_f64() / median.as_secs_f64().max(1e-9)),
            "pushes": storm.pushes,
            "sent_again": storm.resends.count,
            "server_us_per_client": each(window).map(rounded),
            "server_busy": window.server_busy().map(rounded),
            "client_busy": rounded(window.client_busy()),
            "time_ratio": is_other.then(|| rounded(time_ratio)),
            "cpu_ratio": cpu_ratio.filter(|_| is_other).map(rounded),
        }),
    );
    let unserved = options.clients - storm.served;
    if unserved + storm.refused + storm.wrong + storm.stale + storm.closed > 0 {
        report.problem(format!(
            "{name}: {unserved} clients without complete lists, {} registrations refused, {} wrong pushes, {} whose version had not grown, {} connections ended",
            storm.refused, storm.wrong, storm.stale, storm.closed
        ));
    }
}

fn draw(options: &Storm, servers: &[Server], report: &mut Report) {
    let seconds = |server: &Server| format!("{:.2} s", server.whole() / 1e3);
    let beside = servers.get(1);
    report.headline(
        servers.first().map(seconds).unwrap_or_default(),
        format!(
            "until {} clients that come at once have every list",
            shown(options.clients as f64)
        ),
        beside.map_or_else(String::new, |server| {
            format!("{} {}", server.name, seconds(server))
        }),
    );
    let waits: Vec<_> = servers.iter().map(Server::waits).collect();
    let names = servers.iter().map(|server| server.name.as_str());
    report.plot(
        TITLE,
        Plot::distribution(
            "From its connect until a client has its lists".to_owned(),
            "ms",
            names.zip(&waits),
        ),
    );
    let arrivals = servers.iter().map(Server::arrivals).collect();
    report.plot(
        TITLE,
        Plot::over_time("Clients served".to_owned(), "clients", arrivals),
    );
}
