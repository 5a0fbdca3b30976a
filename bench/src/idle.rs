//! What clients cost that do nothing: memory of the server and of the kernel per connection, subscription and publisher, and what is left
//! when they are gone.

use std::io;
use std::time::{Duration, Instant};

use rollcall_core::message::Boxes;
use serde_json::json;

use crate::args::{Common, Idle};
use crate::clients::Clients;
use crate::crowd::Crowd;
use crate::host::Seats;
use crate::process;
use crate::report::{Report, rounded};
use crate::target::Target;
use crate::wire::{self, Registration};

/// Services that the subscriptions are spread over.
const SERVICES: usize = 100;
/// Publishers of one connection.
const PUBLISHERS_PER_CONNECTION: usize = 1_000;
const TITLE: &str = "idle: what clients cost that do nothing";

/// Adds clients step by step, reads the server's memory at each, and again after all left.
pub(crate) fn run(
    common: &Common,
    options: &Idle,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let target = Target::start(common.spawn, seats, common.cores)?;
    let mut stage = Stage {
        clients: Clients::new()?,
        crowd: Crowd::default(),
        start_kib: 0,
        start_slab_kib: 0,
        rest: Duration::from_millis(options.rest_ms),
        target,
    };
    stage.rest()?;
    (stage.start_kib, stage.start_slab_kib) = stage.memory();
    stage.tell("start", 0, report)?;
    let mut connections = 0;
    for &count in &options.connections {
        let added = stage
            .clients
            .connect(stage.target.address, count.saturating_sub(connections))?;
        connections += added.len();
        stage
            .crowd
            .register(&mut stage.clients, added, 1, |connection, out| {
                subscription(connection).subscribe(1, out);
                1
            })?;
        stage.tell("connection + subscription", connections, report)?;
    }
    if options.publishers > 0 {
        (stage.start_kib, stage.start_slab_kib) = stage.memory();
        stage.publish(options.publishers)?;
        stage.tell("publisher", options.publishers, report)?;
    }
    stage.clients = Clients::new()?;
    stage.pause(Duration::from_secs(options.after_s))?;
    let (kib, _) = stage.memory();
    report.row(TITLE, json!({"what": format!("{} s after all left", options.after_s), "count": 0, "rss_mib": mib(kib)}));
    stage
        .crowd
        .problem()
        .into_iter()
        .for_each(|problem| report.problem(problem));
    Ok(())
}

struct Stage {
    target: Target,
    clients: Clients,
    crowd: Crowd,
    start_kib: u64,
    start_slab_kib: u64,
    /// How long the server is left alone before its memory or its CPU time is read.
    rest: Duration,
}

impl Stage {
    fn publish(&mut self, publishers: usize) -> io::Result<()> {
        let boxes: Boxes = ["10.0.0.1:12200"].into_iter().collect();
        let count = publishers.div_ceil(PUBLISHERS_PER_CONNECTION);
        let connections = self.clients.connect(self.target.address, count)?;
        let first = connections.start;
        for connection in connections {
            // One connection at a time: what is asked is what the records take, not what a burst takes.
            self.crowd.register(
                &mut self.clients,
                connection..connection + 1,
                0,
                |connection, out| {
                    let from = (connection - first) * PUBLISHERS_PER_CONNECTION;
                    let to = publishers.min(from + PUBLISHERS_PER_CONNECTION);
                    for number in from..to {
                        let request_id = u32::try_from(number).expect("fewer than request ids");
                        publication(number).publish(request_id, &boxes, out);
                    }
                    to - from
                },
            )?;
        }
        Ok(())
    }

    fn memory(&self) -> (u64, u64) {
        (
            self.target.resident_kib().unwrap_or(0),
            process::kernel_slab_kib(),
        )
    }

    fn tell(&mut self, what: &str, count: usize, report: &mut Report) -> io::Result<()> {
        self.rest()?;
        let before = self.target.cpu_time();
        self.rest()?;
        let cpu = self
            .target
            .cpu_time()
            .zip(before)
            .map(|(after, before)| after - before);
        let (kib, slab_kib) = self.memory();
        let each = |kib: u64, start: u64| {
            (count > 0).then(|| (kib.saturating_sub(start) * 1024) / count as u64)
        };
        report.row(
            TITLE,
            json!({
                "what": what,
                "count": count,
                "rss_mib": mib(kib),
                "bytes_each": each(kib, self.start_kib),
                "kernel_slab_bytes_each": each(slab_kib, self.start_slab_kib),
                "cpu_percent": cpu.map(|cpu| rounded(cpu.as_secs_f64() / self.rest.as_secs_f64() * 100.0)),
            }),
        );
        Ok(())
    }

    fn rest(&mut self) -> io::Result<()> {
        self.pause(self.rest)
    }

    /// Lets time pass without leaving pushes unanswered.
    fn pause(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        self.clients
            .poll_until(time, &mut self.crowd, |_| Instant::now() >= until)?;
        Ok(())
    }
}

fn subscription(connection: usize) -> Registration {
    Registration {
        data_id: format!("com.example.Idle{}:1.0@DEFAULT", connection % SERVICES),
        register_id: wire::register_id(2, connection),
        version: 1,
    }
}

fn publication(number: usize) -> Registration {
    Registration {
        data_id: format!("com.example.Published{}:1.0@DEFAULT", number % SERVICES),
        register_id: wire::register_id(1, number),
        version: 1,
    }
}

fn mib(kib: u64) -> f64 {
    rounded(kib as f64 / 1024.0)
}
