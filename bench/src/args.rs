//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

use crate::target::Kind;

/// Loads a registry and reports what it takes.
#[derive(Debug, Parser)]
#[command(name = "rollcall-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every scenario takes.
#[derive(Clone, Debug, Group)]
pub(crate) struct Common {
    /// A server that runs already, instead of starting one.
    #[arg(long, global = true, value_name = "ADDRESS", conflicts_with = "spawn")]
    pub(crate) target: Option<SocketAddr>,
    /// The server to start.
    #[arg(long, global = true, default_value = "rollcall")]
    pub(crate) spawn: Kind,
    /// Servers to measure in turns with the first one.
    #[arg(long, global = true, value_delimiter = ',')]
    pub(crate) vs: Vec<Kind>,
    /// Data-plane cores of the server, all on its one CPU.
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) cores: usize,
    /// How often the servers take turns.
    #[arg(long, global = true, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Where to write the result as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to write the result as a page with plots.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Judge only whether the server did right, not whether the figures can be trusted: for short runs on busy machines.
    #[arg(long, global = true)]
    pub(crate) check: bool,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// One change until all N subscribers have it.
    Fanout(Fanout),
    /// Registrations per second, one at a time and pipelined.
    Publish(Publish),
    /// Many registrations from many connections at once.
    Burst(Burst),
    /// All clients of a deployment come at once.
    Storm(Storm),
    /// A service whose publishers change at a fixed rate.
    Churn(Churn),
    /// Many clients, a rolling deployment, a few that never read.
    Mixed(Mixed),
    /// Registrations and heartbeats of others while one core pushes to many, back to back.
    Neighbours(Neighbours),
    /// Pushes while others list everything over HTTP, in a loop.
    Curious(Curious),
    /// Subscribers beside some that never read.
    Deaf(Deaf),
    /// Two data cores beside one, both on the server's one CPU.
    Cores(Cores),
    /// Two data cores beside one, each on a CPU of its own, where there are four.
    Apart(Apart),
    /// What the journal costs, and how soon a killed server is ready again.
    Journal(Journal),
    /// Every number to reach, in one run.
    Goals(Goals),
    /// Memory of clients that do nothing, and what is left when they are gone.
    Idle(Idle),
    /// A server to measure against; started by the scenarios.
    #[command(hide = true)]
    Yardstick {
        /// Which one.
        kind: Kind,
    },
}

/// One change for many.
#[derive(Debug, Group)]
pub(crate) struct Fanout {
    /// Numbers of subscribers, each with a connection of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 9_000])]
    pub(crate) subscribers: Vec<usize>,
    /// Published bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1 << 10, 64 << 10])]
    pub(crate) payload: Vec<usize>,
    /// Changes per round; by default as many as make some 20,000 deliveries.
    #[arg(long)]
    pub(crate) changes: Option<usize>,
}

/// Registrations per second.
#[derive(Debug, Group)]
pub(crate) struct Publish {
    /// Connections, each with publishers of its own.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Registrations that each connection leaves unanswered.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    pub(crate) outstanding: Vec<usize>,
    /// Length of a round.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) round_ms: u64,
    /// Lets one further connection subscribe to everything.
    #[arg(long)]
    pub(crate) subscriber: bool,
    /// Lets each connection publish to every service instead of to one of its own.
    #[arg(long)]
    pub(crate) spread: bool,
}

/// Registrations at once.
#[derive(Debug, Group)]
pub(crate) struct Burst {
    /// Connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Registrations of each.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) registrations: usize,
}

/// Clients that do nothing.
#[derive(Debug, Group)]
pub(crate) struct Idle {
    /// Numbers of connections with one subscription each, growing.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pub(crate) connections: Vec<usize>,
    /// Publishers, a thousand per connection.
    #[arg(long, default_value_t = 0)]
    pub(crate) publishers: usize,
    /// How long after the clients left the memory is read again.
    #[arg(long, default_value_t = 60)]
    pub(crate) after_s: u64,
    /// How long the server is left alone before its memory or its CPU time is read.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rest_ms: u64,
}

/// Everyone comes at once.
#[derive(Debug, Group)]
pub(crate) struct Storm {
    /// Clients: each connects, publishes once and subscribes twice.
    #[arg(long, default_value_t = 8_000)]
    pub(crate) clients: usize,
    /// Publishers of each service.
    #[arg(long, default_value_t = 20)]
    pub(crate) publishers: usize,
}

/// Changes at a fixed rate.
#[derive(Debug, Group)]
pub(crate) struct Churn {
    /// Publishers of the service.
    #[arg(long, default_value_t = 100)]
    pub(crate) publishers: usize,
    /// Its subscribers.
    #[arg(long, default_value_t = 20)]
    pub(crate) subscribers: usize,
    /// Changes per second.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000])]
    pub(crate) rate: Vec<u64>,
    /// How long each rate is kept up, all rounds together.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

/// A day in the life.
#[derive(Debug, Group)]
pub(crate) struct Mixed {
    /// Clients, each with a publisher and a subscription, fifty to a service.
    #[arg(long, default_value_t = 9_000)]
    pub(crate) clients: usize,
    /// Clients per second that end and come back.
    #[arg(long, default_value_t = 100)]
    pub(crate) deploys: usize,
    /// How many of a hundred clients never read.
    #[arg(long, default_value_t = 1)]
    pub(crate) deaf_percent: usize,
    /// How long the day is.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
}

/// Others while many are pushed to.
#[derive(Debug, Group)]
pub(crate) struct Neighbours {
    /// Subscribers that are pushed to.
    #[arg(long, default_value_t = 9_000)]
    pub(crate) subscribers: usize,
    /// Published bytes.
    #[arg(long, default_value_t = 1 << 10)]
    pub(crate) payload: usize,
    /// Registrations per second of the others, and as many heartbeats.
    #[arg(long, default_value_t = 250)]
    pub(crate) rate: u32,
    /// How long they are watched under load; before, a quarter of that without.
    #[arg(long, default_value_t = 8_000)]
    pub(crate) load_ms: u64,
}

/// Pushes beside those who ask.
#[derive(Debug, Group)]
pub(crate) struct Curious {
    /// Publishers that can be asked for.
    #[arg(long, default_value_t = 300_000)]
    pub(crate) publishers: usize,
    /// Services that they publish.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) services: usize,
    /// Who lists all of them in a loop.
    #[arg(long, default_value_t = 8)]
    pub(crate) askers: usize,
    /// Changes per second, each pushed to one subscriber.
    #[arg(long, default_value_t = 250)]
    pub(crate) rate: u32,
    /// How long they are watched while others ask; before, a quarter of that without.
    #[arg(long, default_value_t = 8_000)]
    pub(crate) load_ms: u64,
}

/// Beside subscribers that never read.
#[derive(Debug, Group)]
pub(crate) struct Deaf {
    /// All subscribers.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) subscribers: usize,
    /// How many of a hundred never read.
    #[arg(long, default_value_t = 1)]
    pub(crate) deaf_percent: usize,
    /// Published bytes.
    #[arg(long, default_value_t = 1 << 10)]
    pub(crate) payload: usize,
    /// Changes per round.
    #[arg(long, default_value_t = 40)]
    pub(crate) changes: usize,
}

/// Two cores beside one.
#[derive(Debug, Group)]
pub(crate) struct Cores {
    /// Connections that register.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Registrations that each leaves unanswered.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    pub(crate) outstanding: Vec<usize>,
    /// Subscribers that are pushed to.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) subscribers: usize,
    /// Published bytes.
    #[arg(long, default_value_t = 1 << 10)]
    pub(crate) payload: usize,
    /// Length of a round of registrations.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) round_ms: u64,
}

/// Two cores on two CPUs.
#[derive(Debug, Group)]
pub(crate) struct Apart {
    /// Connections that register, half of them from each of two threads.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Registrations that each leaves unanswered.
    #[arg(long, default_value_t = 32)]
    pub(crate) outstanding: usize,
    /// Length of a round.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) round_ms: u64,
}

/// The journal.
#[derive(Debug, Group)]
pub(crate) struct Journal {
    /// Connections that register.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Length of a round of registrations.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) round_ms: u64,
    /// Subscribers of a change to many.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) subscribers: usize,
    /// Published bytes of a change.
    #[arg(long, default_value_t = 1 << 10)]
    pub(crate) payload: usize,
    /// Publishers of the server that is killed.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) publishers: usize,
}

/// All numbers.
#[derive(Debug, Group)]
pub(crate) struct Goals {
    /// Everything far smaller: shows that every number can be measured, not what it is.
    #[arg(long)]
    pub(crate) short: bool,
}
