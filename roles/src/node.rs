//! A node: all its ports are bound, then its cores start, then it answers; a signal ends it in order.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rollcall_core::data::journal::Durability;
use rollcall_core::limits;
use rollcall_core::meta::MetaState;
use rollcall_core::names::{Member, Name, NodeId};
use rollcall_core::ring::HashRing;
use rollcall_core::session::{Place, Rules};
use rollcall_core::tables::Seed;
use rollcall_io::executor::{self, Bell, Ringer, RunningCore, Seat};
use rollcall_io::file::{DataDirectory, Directory};
use rollcall_io::host::{memory_bytes, random};
use rollcall_io::http::HttpListener;
use rollcall_io::mesh::{self, Mesh};
use rollcall_io::net::{Admission, Net, Settings, TransportKind};
use rollcall_io::{probe, signal};

use crate::admin::{Access, Admin, Role};
use crate::cancelling::MayCancel;
use crate::clock;
use crate::config::{Config, Cores, Journal, Transport};
use crate::connections::ConnectionLog;
use crate::control::{self, Control};
use crate::driver::{Driver, Roles, Setup};
use crate::error::Exit;
use crate::lanes::Message;
use crate::operators::Operators;
use crate::ports::Ports;
use crate::recovery::{Journals, RecoveryError};
use crate::systemd;

/// How long open HTTP requests may take once the node has ended.
const HTTP_PATIENCE: Duration = Duration::from_millis(500);

/// How often a start looks for signals while its cores read their journals.
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(100);
/// For so long from each word on the service manager waits for a start that goes on.
const EXTENDED_BY: Duration = Duration::from_secs(60);

/// Why a node did not start, or did not end in order.
#[derive(Debug)]
pub enum StartError {
    /// The host does not let it run; says what is wrong and what to do.
    Unavailable(String),
    /// A fault of the program.
    Internal(String),
}

impl StartError {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Internal(_) => Exit::Internal,
        }
    }

    fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable(reason.to_string())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) | Self::Internal(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs a node until it is told to stop.
pub fn run(config: Config) -> Result<(), StartError> {
    executor::prepare_process();
    let control = Ringer::new().map_err(StartError::unavailable)?;
    let mut signals = signal::Signals::catch(&control).map_err(StartError::unavailable)?;
    let seats = seats(&config)?;
    let transport = transport(config.node.transport)?;
    // Held until the process ends.
    let directory = DataDirectory::lock(&config.node.data_dir).map_err(StartError::unavailable)?;
    let (operators, set) = Operators::open(directory.path()).map_err(StartError::unavailable)?;
    let operators_lost = operators.is_new() && directory.was_used();
    tell_of(&directory, operators_lost);
    let set = Arc::new(set);
    let ports = Ports::bind(&config, seats.len()).map_err(StartError::unavailable)?;

    let ringers: Vec<_> = seats.iter().map(|seat| seat.ringer.clone()).collect();
    let mut meshes = mesh::connect(&ringers, &control);
    let control_mesh = meshes
        .pop()
        .expect("the last mesh is that of the control executor");
    let former = FormerLife {
        journals: journals(&config, &directory, seats.len())?,
        operators: Arc::clone(&set),
        operators_lost,
    };
    if !former.journals.has_former() {
        clock::warn_of_doubts();
    }
    let plan = CorePlan::new(&config, transport, seats.len(), former);
    let Some(cores) = start_cores(&plan, seats, ports.clients, meshes, &mut signals)? else {
        tracing::info!("stopped while starting");
        return Ok(());
    };

    let facts = control::facts(&config, plan.cores, ports.bolt[0]);
    let served = Served {
        facts,
        config,
        bolt: ports.bolt,
        http: ports.http,
        mesh: control_mesh,
        signals,
        operators,
        set,
    };
    let served = executor::run_control(&control, |bell| serve(served, bell))
        .map_err(StartError::unavailable)?;
    // Whoever could not serve has told no core to stop: they end with the process.
    served?;
    for core in cores {
        let ended = core.join();
        ended.map_err(|_| StartError::Internal("a core has ended with a panic".to_owned()))?;
    }
    tracing::info!("stopped");
    Ok(())
}

fn seats(config: &Config) -> Result<Vec<Seat>, StartError> {
    let cpus = executor::available_cpus();
    let cores = match config.node.cores {
        Cores::All => cpus.count().min(limits::CORES_MAX),
        Cores::Count(count) => usize::from(count.get()),
    };
    executor::plan_cores(Some(cores), &cpus).map_err(StartError::unavailable)
}

fn transport(wanted: Transport) -> Result<TransportKind, StartError> {
    let host = probe::probe().map_err(StartError::unavailable)?;
    match (wanted, host.ring_refused) {
        (Transport::Plain, _) => Ok(TransportKind::Plain),
        (Transport::Ring, Some(refused)) => {
            let advice = "use transport = \"auto\" to do without it";
            Err(StartError::Unavailable(format!("{refused}; {advice}")))
        }
        (Transport::Auto, Some(refused)) => {
            tracing::warn!(reason = refused, "using the plain transport");
            Ok(TransportKind::Plain)
        }
        (Transport::Auto | Transport::Ring, None) => Ok(TransportKind::Ring),
    }
}

fn journals(
    config: &Config,
    directory: &DataDirectory,
    cores: usize,
) -> Result<Journals, StartError> {
    let durability = match config.data.journal {
        Journal::Interval => Durability::Interval(config.data.journal_sync),
        Journal::Always => Durability::Always,
        Journal::Off => Durability::Off,
    };
    let cores = u16::try_from(cores).expect("seats are numbered in 16 bits");
    let journals = Journals::find(directory.path(), cores, durability);
    let journals = journals.map_err(StartError::unavailable)?;
    journals.make_room().map_err(StartError::unavailable)?;
    Ok(journals)
}

/// What this node starts with.
struct FormerLife {
    journals: Journals,
    operators: Arc<MetaState>,
    /// The file of it is gone.
    operators_lost: bool,
}

/// Says what is not as it should be in a data directory.
fn tell_of(directory: &DataDirectory, operators_lost: bool) {
    let path = directory.path().display();
    if let Some(mode) = directory.is_open_to_others() {
        let mode = format!("{mode:o}");
        tracing::warn!(directory = %path, mode, "others can read what clients publish here: chmod 700");
    }
    if operators_lost {
        tracing::error!(directory = %path, "operators.redb is gone: nothing counts of what operators had set (switches, blacklist, persistent data, clients off)");
    }
}

/// What all data cores of a node have in common.
#[derive(Clone)]
struct CorePlan {
    cores: u16,
    node: NodeId,
    incarnation: u64,
    ring: HashRing,
    seed: Seed,
    transport: TransportKind,
    settings: Settings,
    admission: Arc<Admission>,
    setup: Setup,
}

impl CorePlan {
    fn new(config: &Config, transport: TransportKind, cores: usize, former: FormerLife) -> Self {
        let cores = u16::try_from(cores).expect("seats are numbered in 16 bits");
        let node = NodeId(1);
        let per_ip = config.session.connections_per_ip_max as usize;
        Self {
            cores,
            node,
            incarnation: random(),
            ring: HashRing::of_node(node, cores),
            seed: Seed(random()),
            transport,
            settings: Settings {
                idle_close: config.session.idle_close,
                ..Settings::default()
            },
            admission: Arc::new(Admission::new(
                config.session.connections_max as usize,
                per_ip,
            )),
            setup: Setup {
                rules: Rules {
                    grace: config.session.grace,
                    push_floor: config.session.push_floor,
                    published_bytes_max: published_bytes_max(config, usize::from(cores)),
                    data_center: Name::from(config.node.data_center.as_str()),
                    list_bytes_max: config.session.list_bytes_max as usize,
                },
                journals: former.journals,
                return_grace: config.data.return_grace,
                protect: config.data.protect,
                operators: former.operators,
                operators_lost: former.operators_lost,
                zone: Name::from(config.node.zone.as_str()),
                may_cancel: MayCancel {
                    loopback: config.admin.trust_loopback,
                    others: config.admin.cancel_address_from.clone().into(),
                },
                listeners: Arc::new(|_| vec![Box::new(ConnectionLog)]),
            },
        }
    }

    fn roles(&self, seat: &Seat) -> Result<Roles, RecoveryError> {
        let place = Place {
            me: Member {
                node: self.node,
                core: seat.core,
            },
            incarnation: self.incarnation,
            cores: self.cores,
            ring: self.ring.clone(),
        };
        Roles::recover(place, self.seed, &self.setup)
    }
}

/// What each core may keep of published strings: its part of what was configured for the node, or else of a quarter of the memory. What is
/// pushed of it, and what clients are about to replace, takes as much again.
fn published_bytes_max(config: &Config, cores: usize) -> usize {
    let share = || memory_bytes().map_or(u64::MAX, |bytes| bytes / 4);
    let of_node = match config.session.published_bytes_max {
        0 => share(),
        bytes => bytes,
    };
    let of_node = usize::try_from(of_node).unwrap_or(usize::MAX);
    (of_node / cores).min(limits::PUBLISHED_BYTES_PER_CORE_MAX)
}

/// A core's way to the start: what it says when it could serve, and what it waits for then.
struct Starting {
    ready: mpsc::SyncSender<Result<(), StartError>>,
    go: mpsc::Receiver<()>,
}

/// Starts every core, waits until each has its journal and its sockets, and lets all of them serve. Nothing if a signal ends the start:
/// what the cores read so far ends with the process, and the next start reads it again.
fn start_cores(
    plan: &CorePlan,
    seats: Vec<Seat>,
    listeners: Vec<Vec<TcpListener>>,
    meshes: Vec<Mesh<Message>>,
    signals: &mut signal::Signals,
) -> Result<Option<Vec<RunningCore>>, StartError> {
    let (ready, readiness) = mpsc::sync_channel(seats.len());
    let mut cores = Vec::with_capacity(seats.len());
    let mut gates = Vec::with_capacity(seats.len());
    for ((seat, listeners), mesh) in seats.into_iter().zip(listeners).zip(meshes) {
        let (gate, go) = mpsc::sync_channel(1);
        gates.push(gate);
        let (plan, on) = (plan.clone(), seat.clone());
        let starting = Starting {
            ready: ready.clone(),
            go,
        };
        let main = move |bell| run_core(plan, on, listeners, mesh, starting, bell);
        cores.push(executor::start_core(&seat, main).map_err(StartError::unavailable)?);
    }
    drop(ready);
    systemd::still_starting("replaying the journal", EXTENDED_BY);
    for _ in &cores {
        if !is_ready(&readiness, signals)? {
            return Ok(None);
        }
    }
    let journals = &plan.setup.journals;
    journals.begin_era().map_err(StartError::unavailable)?;
    for gate in gates {
        // A core that has ended meanwhile has ended the process.
        let _ = gate.send(());
    }
    Ok(Some(cores))
}

/// Waits for the word of one more core, and has the service manager wait as long. False if a signal ends the start.
fn is_ready(
    readiness: &mpsc::Receiver<Result<(), StartError>>,
    signals: &mut signal::Signals,
) -> Result<bool, StartError> {
    let mut waited = Duration::ZERO;
    loop {
        match readiness.recv_timeout(LOOK_FOR_SIGNALS) {
            Ok(said) => return said.map(|()| true),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let ended = "a core ended while starting".to_owned();
                return Err(StartError::Internal(ended));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if signals.take().is_some() {
            return Ok(false);
        }
        waited += LOOK_FOR_SIGNALS;
        if waited >= EXTENDED_BY / 3 {
            waited = Duration::ZERO;
            systemd::still_starting("replaying the journal", EXTENDED_BY);
        }
    }
}

async fn run_core(
    plan: CorePlan,
    seat: Seat,
    listeners: Vec<TcpListener>,
    mesh: Mesh<Message>,
    starting: Starting,
    mut bell: Bell,
) {
    let Starting { ready, go } = starting;
    // Nobody waits for the word any more only if another core has failed.
    match prepare_core(&plan, &seat, listeners, mesh, &mut bell).await {
        Ok(driver) => {
            let _ = ready.send(Ok(()));
            if go.recv().is_ok() {
                driver.run(bell).await;
            }
        }
        Err(error) => drop(ready.send(Err(error))),
    }
}

async fn prepare_core(
    plan: &CorePlan,
    seat: &Seat,
    listeners: Vec<TcpListener>,
    mesh: Mesh<Message>,
    bell: &mut Bell,
) -> Result<Driver, StartError> {
    let journals = &plan.setup.journals;
    let roles = plan.roles(seat).map_err(StartError::unavailable)?;
    let path = journals.path_of(seat.core);
    let files = match journals.durability() {
        Durability::Off => None,
        _ => {
            let ahead = limits::JOURNAL_AHEAD_BYTES / u64::from(journals.cores());
            let files = Directory::open(&path, &seat.ringer, ahead);
            Some(files.map_err(StartError::unavailable)?)
        }
    };
    let admission = Arc::clone(&plan.admission);
    let net = Net::new(
        seat.core,
        plan.transport,
        listeners,
        &seat.ringer,
        admission,
        plan.settings.clone(),
    );
    let net = net.map_err(|error| {
        StartError::Unavailable(format!(
            "no network ring: {error}; raise the limits of open files and locked memory"
        ))
    })?;
    let mut driver = Driver::new(seat.core, net, mesh, files, roles);
    match driver.prepare(bell).await {
        Some(failure) if journals.must_move() => Err(StartError::Unavailable(format!(
            "the journal cannot be rewritten for another number of cores: {failure}; make room, or start with as many cores as before"
        ))),
        Some(failure) => {
            tracing::error!(
                core = seat.core.0,
                reason = failure,
                "journal degraded, serving without it"
            );
            Ok(driver)
        }
        None => Ok(driver),
    }
}

/// What the control executor serves with.
struct Served {
    facts: crate::admin::Facts,
    config: Config,
    bolt: Vec<SocketAddr>,
    http: Vec<(Role, Vec<HttpListener>)>,
    mesh: Mesh<Message>,
    signals: signal::Signals,
    operators: Operators,
    /// What they hold.
    set: Arc<MetaState>,
}

async fn serve(served: Served, mut bell: Bell) -> Result<(), StartError> {
    let Served {
        facts,
        config,
        bolt,
        http,
        mesh,
        mut signals,
        operators,
        set,
    } = served;
    for address in bolt {
        tracing::info!(role = "session", protocol = "bolt", %address, cores = facts.cores, "listening");
    }
    let set = MetaState::clone(&set);
    let control = Control::new(mesh, facts, config.session.drain, (operators, set));
    let access = Access::of(&config);
    let node: Rc<dyn crate::admin::Node> = Rc::clone(&control) as _;
    let admin = Admin::new(node, access);
    let mut servers = Vec::with_capacity(http.len());
    for (role, listeners) in http {
        let server = admin
            .serve(role, listeners)
            .map_err(StartError::unavailable)?;
        for address in server.addresses() {
            tracing::info!(role = role.as_str(), protocol = "http", %address, "listening");
        }
        servers.push(server);
    }
    tracing::info!("ready");
    systemd::ready("serving");
    control.run(&mut bell, &mut signals).await;
    for server in servers {
        server.stop(HTTP_PATIENCE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_ends_a_start_whose_cores_still_read_their_journals() {
        let control = Ringer::new().expect("a descriptor");
        let mut signals = signal::Signals::catch(&control).expect("handlers");
        let (said, readiness) = mpsc::sync_channel(2);
        said.send(Ok(())).expect("room");
        assert!(is_ready(&readiness, &mut signals).expect("a core that is ready"));

        kill_process(getpid(), Signal::TERM).expect("a signal to ourselves");

        assert!(!is_ready(&readiness, &mut signals).expect("no fault"));
        drop(said);
        assert!(is_ready(&readiness, &mut signals).is_err());
    }
}
