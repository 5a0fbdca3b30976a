//! What a push takes while others ask over HTTP for everything there is, again and again: reads are open to anybody.
//!
//! Changes are published at fixed times by a thread that runs before those who ask, because all of them share the clients' CPU. A push counts
//! from when its change was due.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rollcall_core::bolt::{Frame, Kind};
use rollcall_core::message::{Boxes, ReceivedData};
use serde_json::{Value as Json, json};

use crate::args::{Common, Curious};
use crate::clients::{Clients, Hears};
use crate::crowd::{Crowd, is_taken};
use crate::host::{self, Seats};
use crate::meter::{Meter, Window};
use crate::progress::Progress;
use crate::report::{Plot, Report, quantile_ms, rounded, shown};
use crate::target::Target;
use crate::timeline::{Timeline, nanos, times};
use crate::wire::{self, Registration};

/// Services that change in turn, each with its publisher and its subscriber on one connection: so many that a change is pushed before the next.
const CHANGING: usize = 100;
/// Publishers of one connection of those that are asked for.
const PUBLISHERS_EACH: usize = 1_000;
/// As many addresses as one question may name.
const ADDRESSES_MAX: usize = 1_000;
/// How long the last pushes may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the node is asked for its metrics, which go the way of the watchdog's question.
const SCRAPE_EVERY: Duration = Duration::from_millis(200);
/// The quiet time is this part of the loaded one.
const QUIET_PART: u32 = 4;
/// The table of this scenario.
pub(crate) const TITLE: &str = "curious: pushes, while others list everything";

/// Watches the pushes without questions, then with them.
pub(crate) fn run(
    common: &Common,
    options: &Curious,
    seats: Seats,
    report: &mut Report,
) -> io::Result<()> {
    let loaded = Duration::from_millis(options.load_ms);
    for target in Target::all(common, seats)? {
        let progress = Progress::new(format!("curious, {}", target.name), 3);
        progress.begin(format_args!("{} publishers come", options.publishers));
        let registered = Registered::come(&target, options)?;
        progress.step();
        progress.begin("nobody asks");
        let quiet = watch(&target, &registered, options, loaded / QUIET_PART, 0)?;
        progress.step();
        progress.begin(format_args!("{} list everything", options.askers));
        let busy = watch(&target, &registered, options, loaded, options.askers)?;
        drop(progress);
        tell(&target, options, &quiet, report);
        tell(&target, options, &busy, report);
        draw(&target, options, &quiet.pushes, &busy.pushes, report);
        registered
            .crowd
            .problem()
            .into_iter()
            .for_each(|problem| report.problem(problem));
    }
    Ok(())
}

/// What is asked for.
struct Registered {
    began: Instant,
    crowd: Crowd,
    /// Holds the connections.
    _clients: Clients,
    /// The questions of those who want everything, one after another.
    questions: Vec<Vec<u8>>,
}

impl Registered {
    fn come(target: &Target, options: &Curious) -> io::Result<Self> {
        let (mut clients, mut crowd) = (Clients::new()?, Crowd::default());
        let connections = options.publishers.div_ceil(PUBLISHERS_EACH);
        let connections = clients.connect(target.address, connections)?;
        let boxes: Boxes = [wire::text(0, 64).as_str()].into_iter().collect();
        crowd.register(&mut clients, connections, 0, |connection, frames| {
            let first = connection * PUBLISHERS_EACH;
            let last = options.publishers.min(first + PUBLISHERS_EACH);
            for number in first..last {
                let registration = Registration {
                    data_id: format!(
                        "com.example.Curious{}:1.0@DEFAULT",
                        number % options.services
                    ),
                    register_id: wire::register_id(1, number),
                    version: 1,
                };
                registration.publish(number as u32, &boxes, frames);
            }
            last - first
        })?;
        let addresses = clients.addresses().take(ADDRESSES_MAX);
        let pairs = addresses.map(|address| (address.to_string(), json!("127.0.0.1:9600")));
        let addresses = Json::Object(pairs.collect()).to_string();
        let post = format!(
            "POST /digest/connect/query HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{addresses}",
            addresses.len()
        );
        let get = "GET /digest/datum/getDataInfoIdList HTTP/1.0\r\n\r\n".to_owned();
        Ok(Self {
            began: Instant::now(),
            crowd,
            _clients: clients,
            questions: [post, get].map(String::into_bytes).into(),
        })
    }
}

/// What was seen in one stretch of time.
struct Watched {
    askers: usize,
    pushes: Pushes,
    asked: Asked,
    scrapes: Histogram<u64>,
    resident_kib: u64,
    window: Window,
}

/// What those who ask got.
#[derive(Default)]
struct Asked {
    answers: usize,
    bytes: usize,
    failed: usize,
    /// What the first of those who were not answered got instead.
    refusal: Option<String>,
}

fn watch(
    target: &Target,
    registered: &Registered,
    options: &Curious,
    long: Duration,
    askers: usize,
) -> io::Result<Watched> {
    let meter = Meter::start(target);
    let is_over = AtomicBool::new(false);
    let (pushes, asked, (scrapes, resident_kib)) = thread::scope(|scope| {
        let is_over = &is_over;
        let pushes = scope.spawn(move || {
            let pushes = Pushes::of(target, options.rate, registered.began, long);
            is_over.store(true, Ordering::Relaxed);
            pushes
        });
        let askers: Vec<_> = (0..askers)
            .map(|_| scope.spawn(|| ask(target, &registered.questions, is_over)))
            .collect();
        let scrapes = scope.spawn(|| scrape(target, is_over));
        let panicked = || io::Error::other("a thread of the load generator panicked");
        let mut asked = Asked::default();
        for asker in askers {
            let one = asker.join().map_err(|_| panicked())?;
            asked.answers += one.answers;
            asked.bytes += one.bytes;
            asked.failed += one.failed;
            asked.refusal = asked.refusal.or(one.refusal);
        }
        let pushes = pushes.join().map_err(|_| panicked())??;
        let scrapes = scrapes.join().map_err(|_| panicked())??;
        Ok::<_, io::Error>((pushes, asked, scrapes))
    })?;
    Ok(Watched {
        askers,
        pushes,
        asked,
        scrapes,
        resident_kib,
        window: meter.stop(target),
    })
}

/// Asks for everything, again and again.
fn ask(target: &Target, questions: &[Vec<u8>], is_over: &AtomicBool) -> Asked {
    let mut asked = Asked::default();
    for question in questions.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        match target.ask(question, is_over) {
            Ok(bytes) => {
                asked.answers += 1;
                asked.bytes += bytes;
            }
            // Left when the time was over.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                asked.failed += 1;
                asked.refusal.get_or_insert(error.to_string());
            }
        }
    }
    asked
}

/// How long the node takes to tell its metrics, and the most memory it had.
fn scrape(target: &Target, is_over: &AtomicBool) -> io::Result<(Histogram<u64>, u64)> {
    let (mut times, mut resident_kib) = (times(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        target.metric("rollcall_publishers")?;
        times.saturating_record(nanos(start.elapsed()));
        resident_kib = resident_kib.max(target.resident_kib().unwrap_or(0));
        thread::sleep(SCRAPE_EVERY);
    }
    Ok((times, resident_kib))
}

/// What changes at fixed times, and when its subscribers had it.
struct Pushes {
    /// When each change was due.
    due: Vec<Instant>,
    /// Of each service, which changes its subscriber has not seen.
    unseen: Vec<Vec<usize>>,
    acknowledgement: Vec<u8>,
    times: Histogram<u64>,
    timeline: Timeline,
    wrong: usize,
    runs_first: bool,
}

impl Pushes {
    fn of(target: &Target, rate: u32, began: Instant, long: Duration) -> io::Result<Self> {
        let mut pushes = Self {
            due: Vec::new(),
            unseen: vec![Vec::new(); CHANGING],
            acknowledgement: wire::acknowledgement(),
            times: times(),
            timeline: Timeline::default(),
            wrong: 0,
            runs_first: host::run_first(),
        };
        let mut clients = Clients::new()?;
        for connection in clients.connect(target.address, CHANGING)? {
            let mut frame = Vec::new();
            changing(2, connection, 1).subscribe(u32::MAX, &mut frame);
            clients.send(connection, &frame)?;
        }
        let period = Duration::from_secs(1) / rate.max(1);
        let start = Instant::now();
        pushes.timeline.begin();
        for number in 0.. {
            let due = start + period * number;
            if due > start + long {
                break;
            }
            while Instant::now() < due {
                clients.poll(due.saturating_duration_since(Instant::now()), &mut pushes)?;
            }
            let number = number as usize;
            let connection = number % CHANGING;
            pushes.due.push(due);
            pushes.unseen[connection].push(number);
            let text = wire::text(number as u64, 64);
            let mut frame = Vec::new();
            // One clock for all stretches: what a later one says is newer.
            let version = due.duration_since(began).as_micros() as i64 + 1;
            let change = changing(3, connection, version);
            change.publish(0, &[text.as_str()].into_iter().collect(), &mut frame);
            clients.send(connection, &frame)?;
        }
        clients.poll_until(PATIENCE, &mut pushes, |pushes| pushes.missing() == 0)?;
        Ok(pushes)
    }

    fn missing(&self) -> usize {
        self.unseen.iter().map(Vec::len).sum()
    }

    /// A list that shows this change shows all before it.
    fn seen(&mut self, connection: usize, change: usize) {
        let now = Instant::now();
        let unseen = std::mem::take(&mut self.unseen[connection]);
        let (seen, unseen) = unseen.into_iter().partition(|&number| number <= change);
        self.unseen[connection] = unseen;
        let seen: Vec<usize> = seen;
        for number in seen {
            let nanos = nanos(now - self.due[number]);
            self.times.saturating_record(nanos);
            self.timeline.record(now, nanos);
        }
    }
}

/// The registration of a service that changes.
fn changing(kind: u16, number: usize, version: i64) -> Registration {
    Registration {
        data_id: format!("com.example.Changing{number}:1.0@DEFAULT"),
        register_id: wire::register_id(kind, number),
        version,
    }
}

/// The change that a list shows; an empty one shows none.
fn shown_change(content: &[u8]) -> Option<Option<usize>> {
    let push = ReceivedData::decode(content).ok()?;
    let Some((_, boxes)) = push.data.first() else {
        return Some(None);
    };
    let text = boxes.texts().flatten().next()?;
    let text = text.to_string_lossy();
    usize::from_str_radix(text.get(..16)?, 16).ok().map(Some)
}

impl Hears for Pushes {
    fn frame(&mut self, connection: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            Kind::Request { .. } => {
                wire::append_as(out, &self.acknowledgement, frame.request_id);
                match shown_change(frame.content) {
                    Some(Some(change)) => self.seen(connection, change),
                    Some(None) => {}
                    None => self.wrong += 1,
                }
            }
            Kind::Response { .. } if is_taken(frame) => {}
            _ => self.wrong += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.wrong += 1;
    }
}

fn tell(target: &Target, options: &Curious, seen: &Watched, report: &mut Report) {
    let Watched {
        askers,
        pushes,
        asked,
        scrapes,
        resident_kib,
        window,
    } = seen;
    report.row(
        TITLE,
        json!({
            "publishers": options.publishers,
            "services": options.services,
            "server": target.name,
            "askers": askers,
            "answers": asked.answers,
            "answered_mib": asked.bytes >> 20,
            "pushes": pushes.times.len(),
            "push_p50_ms": quantile_ms(&pushes.times, 0.5),
            "push_p99_ms": quantile_ms(&pushes.times, 0.99),
            "push_max_ms": rounded(pushes.times.max() as f64 / 1e6),
            "scrape_max_ms": rounded(scrapes.max() as f64 / 1e6),
            "resident_mib": resident_kib >> 10,
            "server_busy": window.server_busy().map(rounded),
            "client_busy": rounded(window.client_busy()),
        }),
    );
    let (missing, wrong, failed) = (pushes.missing(), pushes.wrong, asked.failed);
    if missing + wrong + failed > 0 {
        report.problem(format!(
            "{}: {missing} changes were never seen, {wrong} answers or pushes were wrong, {failed} questions were not answered{}",
            target.name,
            asked.refusal.as_ref().map_or(String::new(), |refusal| format!(": {refusal}")),
        ));
    }
    if !pushes.runs_first {
        report.doubt(format!(
            "{}: no real-time priority for the thread that publishes: its latencies include the time in which others read answers",
            target.name
        ));
    }
}

fn draw(target: &Target, options: &Curious, quiet: &Pushes, busy: &Pushes, report: &mut Report) {
    report.headline(
        format!("{} ms", shown(quantile_ms(&busy.times, 0.99))),
        format!(
            "p99 of a push while {} list {} publishers",
            options.askers,
            shown(options.publishers as f64)
        ),
        format!("alone {} ms", shown(quantile_ms(&quiet.times, 0.99))),
    );
    report.plot(
        TITLE,
        Plot::distribution(
            format!("Time to the push, {}", target.name),
            "ms",
            [("asked", &busy.times), ("nobody asks", &quiet.times)],
        ),
    );
    report.plot(
        TITLE,
        Plot::over_time(
            format!("Slowest of every 50 ms, {}", target.name),
            "ms",
            vec![
                quiet.timeline.slowest_ms("nobody asks"),
                busy.timeline.slowest_ms("asked"),
            ],
        ),
    );
}
