//! All clients of a deployment come at once: each connects, publishes and subscribes twice. How long until everyone has every list.
//!
//! A list counts when it is complete; those pushed while it grows are acknowledged and forgotten.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind};
use rollcall_core::message::{Boxes, ReceivedData, received_data};
use serde_json::json;

use crate::args::{Common, Storm};
use crate::clients::{Clients, Hears};
use crate::crowd::is_taken;
use crate::host::Seats;
use crate::meter::{self, Meter, Window};
use crate::progress::Progress;
use crate::report::{Moments, Plot, Report, median, ms, rounded, shown};
use crate::target::Target;
use crate::timeline::{nanos, times};
use crate::wire::{self, Registration};

/// How long the storm may take until it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients that come between two looks at what the server said.
const BATCH: usize = 50;
/// Registrations of a client.
const REGISTRATIONS: usize = 3;
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
    let mut servers: Vec<Server> = Vec::new();
    for round in 0..common.rounds {
        progress.begin(format_args!("round {}", round + 1));
        for (place, target) in Target::all(common, seats)?.into_iter().enumerate() {
            let meter = Meter::start(&target);
            let storm = storm(&target, options)?;
            let window = meter.stop(&target);
            tell(&target.name, options, round, &storm, &window, report);
            if round == 0 {
                servers.push(Server::new(&target.name));
            }
            servers[place].storms.push((storm, window));
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

fn storm(target: &Target, options: &Storm) -> io::Result<Deployment> {
    let services = (options.clients / options.publishers).max(1);
    let mut deployment = Deployment::new(options.clients, services);
    let mut clients = Clients::new()?;
    let mut frames = Vec::new();
    while deployment.clients.len() < options.clients {
        let count = BATCH.min(options.clients - deployment.clients.len());
        deployment
            .clients
            .extend(std::iter::repeat_with(Client::default).take(count));
        for connection in clients.connect(target.address, count)? {
            deployment.clients[connection].came = Some(Instant::now());
            frames.clear();
            write(connection, services, &mut frames);
            clients.send(connection, &frames)?;
        }
        clients.poll(Duration::ZERO, &mut deployment)?;
    }
    clients.poll_until(PATIENCE, &mut deployment, |deployment| {
        deployment.served == options.clients
    })?;
    deployment.whole = deployment.start.elapsed();
    Ok(deployment)
}

fn write(client: usize, services: usize, frames: &mut Vec<u8>) {
    let registration = |service: usize, kind| Registration {
        data_id: format!("com.example.Storm{}:1.0@DEFAULT", service % services),
        register_id: wire::register_id(kind, client),
        version: 1,
    };
    let boxes: Boxes = [text(client).as_str()].into_iter().collect();
    registration(client, 1).publish(1, &boxes, frames);
    for subscription in 0..SUBSCRIPTIONS {
        let kind = u16::try_from(2 + subscription).expect("two subscriptions");
        registration(client + subscription, kind).subscribe(1 + u32::from(kind), frames);
    }
}

fn text(client: usize) -> String {
    format!("10.0.0.1:12200?client={client:08}")
}

/// Everyone who comes.
struct Deployment {
    start: Instant,
    whole: Duration,
    expected: usize,
    services: usize,
    acknowledgement: Vec<u8>,
    clients: Vec<Client>,
    served: usize,
    pushes: usize,
    refused: usize,
    wrong: usize,
    closed: usize,
}

#[derive(Clone, Debug, Default)]
struct Client {
    came: Option<Instant>,
    answered: usize,
    /// Whether the list of each subscription is complete.
    complete: [bool; SUBSCRIPTIONS],
    versions: [i64; SUBSCRIPTIONS],
    served: Option<Duration>,
}

impl Deployment {
    fn new(clients: usize, services: usize) -> Self {
        Self {
            start: Instant::now(),
            whole: Duration::ZERO,
            expected: clients,
            services,
            acknowledgement: wire::acknowledgement(),
            clients: Vec::with_capacity(clients),
            served: 0,
            pushes: 0,
            refused: 0,
            wrong: 0,
            closed: 0,
        }
    }

    fn on_push(&mut self, connection: usize, frame: &Frame<'_>) {
        self.pushes += 1;
        let Ok(push) = ReceivedData::decode(frame.content) else {
            self.wrong += 1;
            return;
        };
        let client = &mut self.clients[connection];
        let wanted = |subscription: usize| (connection + subscription) % self.services;
        let is_of =
            |service: usize| push.data_id == format!("com.example.Storm{service}:1.0@DEFAULT");
        let named = push.subscriber_regist_ids.first();
        let subscription = (0..SUBSCRIPTIONS).find(|&subscription| {
            let kind = u16::try_from(2 + subscription).expect("two subscriptions");
            named.is_some_and(|named| *named == wire::register_id(kind, connection))
                && is_of(wanted(subscription))
        });
        let version = push.version.unwrap_or(0);
        match subscription {
            Some(subscription) if version > client.versions[subscription] => {
                client.versions[subscription] = version;
                let service = wanted(subscription);
                // The publishers of a service are every so many-th client.
                let publishers = (self.expected - service).div_ceil(self.services);
                client.complete[subscription] = has_all(&push, publishers);
            }
            _ => self.wrong += 1,
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

fn has_all(push: &ReceivedData, publishers: usize) -> bool {
    let boxes = push.data.iter().flat_map(|(_, boxes)| boxes.texts());
    let mut texts: Vec<_> = boxes.flatten().map(|text| text.to_string_lossy()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.len() == publishers
}

impl Hears for Deployment {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            Kind::Request { .. } if frame.class == received_data::CLASS.as_bytes() => {
                self.on_push(connection, frame);
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            Kind::Response { .. } if is_taken(frame) => {
                self.clients[connection].answered += 1;
                self.look_at(connection);
            }
            _ => self.refused += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

fn tell(
    name: &str,
    options: &Storm,
    round: usize,
    storm: &Deployment,
    window: &Window,
    report: &mut Report,
) {
    let served = storm.served();
    let median = served.get(served.len() / 2).copied().unwrap_or_default();
    let last = served.last().copied().unwrap_or_default();
    report.row(
        TITLE,
        json!({
            "clients": options.clients,
            "services": storm.services,
            "round": round + 1,
            "server": name,
            "all_served_ms": ms(storm.whole),
            "served_median_ms": ms(median),
            "served_max_ms": ms(last),
            "max_over_median": rounded(last.as_secs_f64() / median.as_secs_f64().max(1e-9)),
            "pushes": storm.pushes,
            "server_us_per_client": window.server_us_each(options.clients).map(rounded),
            "server_busy": window.server_busy().map(rounded),
            "client_busy": rounded(window.client_busy()),
        }),
    );
    let unserved = options.clients - storm.served;
    if unserved + storm.refused + storm.wrong + storm.closed > 0 {
        report.problem(format!(
            "{name}: {unserved} clients without complete lists, {} registrations refused, {} wrong pushes, {} connections ended",
            storm.refused, storm.wrong, storm.closed
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
