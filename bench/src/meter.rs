//! What both sides used of the time that was measured, and whether it was the load generator that set the pace.
//!
//! The rule: a result is not the server's when the client had no time left while the server had. A side has none left when it ran, or stood in
//! line for its CPU, for nearly all of the measured time. Standing in line counts because a client that other programs hold up is a slow client.
//! Over loopback the kernel does the receiving of each side on the CPU of the other, so on a fan-out both are busy by turns and neither the
//! client's figure nor the server's alone says who waits for whom; hence both are asked. The floors are received by the same loop and judged by
//! the same rule: a yardstick that the client held back would flatter the server.
//!
//! In a fan-out to thousands the client spends 95 % of its time in the kernel, so that it can become little cheaper, and the yardsticks leave it
//! behind. There a fan-out counts such a yardstick as if it had never waited: its time is taken as its CPU time, the least it could have been.
//! The ratio is then too high rather than too low, and says so in a note instead of a doubt.

use std::time::{Duration, Instant};

use crate::process::Threads;
use crate::report::{Report, median};
use crate::target::Target;

/// A client that wanted this share of the time had none left.
const CLIENT_IS_FULL: f64 = 0.95;
/// A server that wanted less than this share had some left.
const SERVER_HAS_ROOM: f64 = 0.9;

/// What both sides had used when something began.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    server: Option<Threads>,
    client: Threads,
}

/// What both sides used from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// How long it was.
    pub(crate) wall: Duration,
    /// Nothing is known of a server that was not started here.
    pub(crate) server: Option<Used>,
    /// The load generator.
    pub(crate) client: Used,
}

/// What one side used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// CPU time of all its threads.
    pub(crate) cpu: Duration,
    /// CPU time of its busiest thread, and how long that stood in line.
    busiest: Duration,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(target: &Target) -> Self {
        Self {
            server: target.id().map(Threads::of),
            client: Threads::of(std::process::id()),
            start: Instant::now(),
        }
    }

    /// Ends.
    pub(crate) fn stop(self, target: &Target) -> Window {
        let wall = self.start.elapsed();
        let client = used(&self.client, &Threads::of(std::process::id()));
        let server = self
            .server
            .zip(target.id())
            .map(|(before, id)| used(&before, &Threads::of(id)));
        Window {
            wall,
            server,
            client,
        }
    }
}

fn used(before: &Threads, after: &Threads) -> Used {
    Used {
        cpu: after.cpu.saturating_sub(before.cpu),
        busiest: after.most_wanted_since(before),
    }
}

impl Used {
    fn whole(pieces: impl Iterator<Item = Self> + Clone) -> Self {
        Self {
            cpu: pieces.clone().map(|piece| piece.cpu).sum(),
            busiest: pieces.map(|piece| piece.busiest).sum(),
        }
    }
}

impl Window {
    /// The pieces of one turn; what lay between them does not count.
    pub(crate) fn whole(pieces: &[Self]) -> Self {
        let servers: Option<Vec<_>> = pieces.iter().map(|piece| piece.server).collect();
        Self {
            wall: pieces.iter().map(|piece| piece.wall).sum(),
            server: servers.map(|pieces| Used::whole(pieces.into_iter())),
            client: Used::whole(pieces.iter().map(|piece| piece.client)),
        }
    }

    /// Share of the time in which the server ran.
    pub(crate) fn server_busy(&self) -> Option<f64> {
        Some(self.share(self.server?.cpu))
    }

    /// Share of the time in which the load generator ran.
    pub(crate) fn client_busy(&self) -> f64 {
        self.share(self.client.cpu)
    }

    /// CPU time of the server in microseconds by so many.
    pub(crate) fn server_us_each(&self, count: usize) -> Option<f64> {
        Some(self.server?.cpu.as_secs_f64() * 1e6 / count as f64)
    }

    /// CPU time of the load generator in microseconds by so many.
    pub(crate) fn client_us_each(&self, count: usize) -> f64 {
        self.client.cpu.as_secs_f64() * 1e6 / count as f64
    }

    /// Seen as if the server's time were that of each of so many CPUs.
    pub(crate) fn per_cpu(self, cpus: u32) -> Self {
        let each = |used: Used| Used {
            cpu: used.cpu / cpus,
            busiest: used.busiest / cpus,
        };
        Self {
            server: self.server.map(each),
            ..self
        }
    }

    /// Share of the time that the load generator's busiest thread wanted: each has one CPU at most.
    fn client_wanted(&self) -> f64 {
        self.share(self.client.busiest)
    }

    /// Share of the time that the server wanted, at least.
    fn server_wanted(&self) -> Option<f64> {
        let server = self.server?;
        Some(self.share(server.cpu.max(server.busiest)))
    }

    fn share(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

/// Doubts the figures of a server under this load where the load generator set the pace.
pub(crate) fn judge(load: &str, server: &str, windows: &[Window], report: &mut Report) {
    if let Some(limit) = client_was_the_limit(windows) {
        report.doubt(format!("{load}, {server}: {limit}"));
    }
}

/// Why these windows tell of the load generator rather than of a server whose CPU time is known, if they do.
pub(crate) fn held_back(windows: &[Window]) -> Option<String> {
    let is_known = windows.iter().all(|window| window.server.is_some());
    client_was_the_limit(windows).filter(|_| is_known)
}

/// Why these windows tell of the load generator rather than of the server, if they do.
fn client_was_the_limit(windows: &[Window]) -> Option<String> {
    let client = median(windows.iter().map(Window::client_wanted));
    if client < CLIENT_IS_FULL {
        return None;
    }
    let server = windows.iter().map(Window::server_wanted);
    let server = server.collect::<Option<Vec<_>>>().map(median);
    let percent = |share: f64| share.min(1.0) * 100.0;
    let ran = percent(median(windows.iter().map(Window::client_busy)));
    match server {
        Some(server) if server >= SERVER_HAS_ROOM => None,
        Some(server) => Some(format!(
            "the load generator was the limit: it wanted its CPU {:.0} % of the time and had it {ran:.0} %, the server wanted only {:.0} %",
            percent(client),
            percent(server)
        )),
        None => Some(format!(
            "the load generator may have been the limit: it wanted its CPU {:.0} % of the time and had it {ran:.0} %, and nothing is known of the server's",
            percent(client)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(client: u64, server: Option<u64>) -> Window {
        let used = |percent| Used {
            cpu: Duration::from_millis(percent),
            busiest: Duration::from_millis(percent),
        };
        Window {
            wall: Duration::from_millis(100),
            server: server.map(used),
            client: used(client),
        }
    }

    #[test]
    fn a_full_client_beside_a_server_with_room_is_the_limit() {
        assert!(client_was_the_limit(&[window(99, Some(60))]).is_some());
        assert!(client_was_the_limit(&[window(99, None)]).is_some());
        assert!(held_back(&[window(99, Some(60))]).is_some());
        assert!(held_back(&[window(99, None)]).is_none());
    }

    #[test]
    fn a_client_with_room_or_a_full_server_is_no_reason_to_doubt() {
        assert_eq!(client_was_the_limit(&[window(90, Some(60))]), None);
        assert_eq!(client_was_the_limit(&[window(99, Some(97))]), None);
        assert_eq!(client_was_the_limit(&[]), None);
    }

    #[test]
    fn pieces_of_a_turn_count_together_and_what_lies_between_does_not() {
        let whole = Window::whole(&[window(40, Some(10)), window(60, Some(90))]);

        assert_eq!(whole.wall, Duration::from_millis(200));
        assert_eq!(whole.client_busy(), 0.5);
        assert_eq!(whole.server_busy(), Some(0.5));
        assert_eq!(Window::whole(&[window(1, None)]).server_busy(), None);
    }

    #[test]
    fn one_disturbed_round_of_three_is_not_the_rule() {
        let rounds = [
            window(99, Some(20)),
            window(80, Some(99)),
            window(80, Some(99)),
        ];

        assert_eq!(client_was_the_limit(&rounds), None);
    }
}
