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
use crate::progress::Progress;
use crate::report::{Moments, Plot, Report, Series, rounded, shown};
use crate::target::Target;
use crate::wire::{self, Registration};

/// What is counted, as the table calls it.
pub(crate) const CONNECTION: &str = "connection + subscription";
pub(crate) const PUBLISHER: &str = "publisher";
/// Services that the subscriptions are spread over.
const SERVICES: usize = 100;
/// Publishers of one connection.
const PUBLISHERS_PER_CONNECTION: usize = 1_000;
/// What a publisher publishes.
const TEXT: &str = "10.0.0.1:12200";
/// Connections that come between two looks at the memory.
const LOOK_EVERY: usize = 500;
/// Time between two looks when they are gone.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Steps besides those of the connections: the start, the publishers, the end.
const OTHER_STEPS: usize = 3;
/// The table of this scenario.
pub(crate) const TITLE: &str = "idle: what clients cost that do nothing";

/// Adds clients step by step, reads the server's memory at each, and again after all left.
pub(crate) fn run(
    common: &Common,
    options: &Idle,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let progress = Progress::new("idle", options.connections.len() + OTHER_STEPS);
    let mut stage = Stage {
        target: Target::start(common.spawn, seats, common.cores)?,
        clients: Clients::new()?,
        crowd: Crowd::default(),
        start: Memory::default(),
        rest: Duration::from_millis(options.rest_ms),
        grown: Vec::new(),
    };
    progress.begin("nobody is there");
    stage.rest()?;
    stage.start = stage.memory();
    stage.tell("start", 0, 0, report)?;
    progress.step();
    for &count in &options.connections {
        progress.begin(format_args!("{count} connections"));
        stage.subscribe(count)?;
        let each = stage.tell(CONNECTION, count, 0, report)?;
        let is_last = Some(&count) == options.connections.last();
        if is_last && options.publishers == 0 {
            let what = "of the server per idle connection with a subscription";
            headline(each, what, count, report);
        }
        progress.step();
    }
    if options.publishers > 0 {
        progress.begin(format_args!("{} publishers", options.publishers));
        stage.start = stage.memory();
        stage.publish(options.publishers)?;
        let each = stage.tell(PUBLISHER, options.publishers, TEXT.len(), report)?;
        let what = "of the server per publisher record, its text included";
        headline(each, what, options.publishers, report);
    }
    progress.step();
    progress.begin("all leave");
    stage.clients = Clients::new()?;
    let left = stage.leave(Duration::from_secs(options.after_s), report)?;
    drop(progress);
    draw(&stage, left, report);
    stage
        .crowd
        .problem()
        .into_iter()
        .for_each(|problem| report.problem(problem));
    Ok(())
}

fn headline(each: Option<u64>, what: &str, count: usize, report: &mut Report) {
    let figure = each.map_or_else(
        || "–".to_owned(),
        |each| format!("{} B", shown(each as f64)),
    );
    let what = format!("{what}, of {}", shown(count as f64));
    report.headline(figure, what, String::new());
}

struct Stage {
    target: Target,
    clients: Clients,
    crowd: Crowd,
    /// Before what is counted came.
    start: Memory,
    /// How long the server is left alone before its memory or its CPU time is read.
    rest: Duration,
    /// The memory at so many connections.
    grown: Vec<(usize, Memory)>,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// Resident, of the server.
    server: u64,
    /// Slab objects, of the whole kernel.
    slab: u64,
}

impl Stage {
    /// Lets connections come until there are so many.
    fn subscribe(&mut self, count: usize) -> io::Result<()> {
        let first = self.grown.last().map_or(0, |(connections, _)| *connections);
        if first == 0 {
            self.grown.push((0, self.memory()));
        }
        for from in (first..count).step_by(LOOK_EVERY) {
            let added = self
                .clients
                .connect(self.target.address, LOOK_EVERY.min(count - from))?;
            let connections = added.end;
            self.crowd
                .register(&mut self.clients, added, 1, |connection, out| {
                    subscription(connection).subscribe(1, out);
                    1
                })?;
            self.grown.push((connections, self.memory()));
        }
        Ok(())
    }

    fn publish(&mut self, publishers: usize) -> io::Result<()> {
        let boxes: Boxes = [TEXT].into_iter().collect();
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

    fn memory(&self) -> Memory {
        Memory {
            server: self.target.resident_kib().unwrap_or(0),
            slab: process::kernel_slab_kib(),
        }
    }

    /// Reports what so many take; answers with the server's bytes of each.
    fn tell(
        &mut self,
        what: &str,
        count: usize,
        text_bytes: usize,
        report: &mut Report,
    ) -> io::Result<Option<u64>> {
        self.rest()?;
        let before = self.target.cpu_time();
        self.rest()?;
        let cpu = self
            .target
            .cpu_time()
            .zip(before)
            .map(|(after, before)| after - before);
        let memory = self.memory();
        let each = |kib: u64, start: u64| {
            (count > 0).then(|| (kib.saturating_sub(start) * 1024) / count as u64)
        };
        let server = each(memory.server, self.start.server);
        report.row(
            TITLE,
            json!({
                "what": what,
                "count": count,
                "rss_mib": mib(memory.server),
                "bytes_each": server,
                "overhead_bytes_each": server.map(|bytes| bytes.saturating_sub(text_bytes as u64)),
                "kernel_slab_bytes_each": each(memory.slab, self.start.slab),
                "cpu_percent": cpu.map(|cpu| rounded(cpu.as_secs_f64() / self.rest.as_secs_f64() * 100.0)),
            }),
        );
        Ok(server)
    }

    /// Watches the memory for so long after all left.
    fn leave(&mut self, long: Duration, report: &mut Report) -> io::Result<Moments> {
        let end = Instant::now() + long;
        let mut line = vec![(Instant::now(), mib(self.memory().server))];
        while Instant::now() < end {
            self.pause(LOOK_AFTER.min(end - Instant::now()))?;
            line.push((Instant::now(), mib(self.memory().server)));
        }
        let what = format!("{} s after all left", long.as_secs());
        let left = mib(self.memory().server);
        report.row(TITLE, json!({"what": what, "count": 0, "rss_mib": left}));
        Ok(Moments {
            name: self.target.name.clone(),
            lines: vec![line],
        })
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

fn draw(stage: &Stage, left: Moments, report: &mut Report) {
    let curve = |of: fn(&Memory) -> u64| {
        let start = stage.grown.first().map_or(0, |(_, memory)| of(memory));
        let points = stage.grown.iter().map(|(connections, memory)| {
            (*connections as f64, mib(of(memory).saturating_sub(start)))
        });
        vec![points.collect()]
    };
    let series = vec![
        Series {
            name: stage.target.name.clone(),
            lines: curve(|memory| memory.server),
        },
        Series {
            name: "kernel, both ends".to_owned(),
            lines: curve(|memory| memory.slab),
        },
    ];
    report.plot(
        TITLE,
        Plot::over(
            "connections with a subscription",
            "Memory above that of the start".to_owned(),
            "MiB",
            series,
        ),
    );
    report.plot(
        TITLE,
        Plot::over_time(
            "Resident memory after all left".to_owned(),
            "MiB",
            vec![left],
        ),
    );
}

fn mib(kib: u64) -> f64 {
    rounded(kib as f64 / 1024.0)
}
