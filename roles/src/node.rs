//! A node: all its ports are bound, then its cores start, then it answers; a signal ends it in order.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rollcall_core::data::Summary;
use rollcall_core::limits;
use rollcall_core::meta::MetaState;
use rollcall_core::names::{Member, Name, NodeId};
use rollcall_core::ring::HashRing;
use rollcall_core::session::{Place, Rules};
use rollcall_core::tables::Seed;
use rollcall_core::version::VersionClock;
use rollcall_io::clock::Clock;
use rollcall_io::executor::{self, Bell, Ringer, RunningCore, Seat};
use rollcall_io::file::DataDirectory;
use rollcall_io::host::random;
use rollcall_io::http::HttpListener;
use rollcall_io::listener::{self, Listening};
use rollcall_io::mesh::{self, Mesh};
use rollcall_io::net::{Admission, Net, Settings, TransportKind};
use rollcall_io::{probe, signal};

use crate::admin::{Access, Admin, Role};
use crate::config::{Config, Cores, Transport};
use crate::connections::ConnectionLog;
use crate::control::{self, Control};
use crate::driver::{Driver, Roles, Setup};
use crate::error::Exit;
use crate::lanes::Message;
use crate::operators::Operators;
use crate::remembered::Remembered;
use crate::systemd;

/// How long open HTTP requests may take once the node has ended.
const HTTP_PATIENCE: Duration = Duration::from_millis(500);

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
    let seats = seats(&config)?;
    let transport = transport(config.node.transport)?;
    // Held until the process ends.
    let directory = DataDirectory::lock(&config.node.data_dir).map_err(StartError::unavailable)?;
    let (operators, set) = Operators::open(directory.path()).map_err(StartError::unavailable)?;
    let ports = Ports::bind(&config, seats.len())?;
    let control = Ringer::new().map_err(StartError::unavailable)?;
    let signals = signal::Signals::catch(&control).map_err(StartError::unavailable)?;

    let ringers: Vec<_> = seats.iter().map(|seat| seat.ringer.clone()).collect();
    let mut meshes = mesh::connect(&ringers, &control);
    let control_mesh = meshes
        .pop()
        .expect("the last mesh is that of the control executor");
    let (memory, before) = recall(&config);
    let former = FormerLife {
        before: Arc::new(before),
        operators: Arc::new(set),
    };
    let plan = CorePlan::new(&config, transport, seats.len(), &former);
    let cores = start_cores(&plan, seats, ports.clients, meshes)?;

    let facts = control::facts(&config, plan.cores, ports.bolt);
    let served = Served {
        facts,
        config,
        http: ports.http,
        mesh: control_mesh,
        signals,
        memory,
        operators,
        set: former.operators,
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
        Cores::All => cpus.len().min(limits::CORES_MAX),
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

/// What the node remembers of its former life. Without a directory that it may write, it starts as if there was none.
///
/// The versions of this life are reserved before the first is given: a node that is killed at once, again and again, gives
/// none twice.
fn recall(config: &Config) -> (Option<Remembered>, Summary) {
    let opened = Remembered::in_directory(&config.node.data_dir);
    let memory = match opened {
        Ok(memory) => memory,
        Err(error) => {
            tracing::warn!(%error, "a restart will not be remembered");
            return (None, Summary::default());
        }
    };
    let before = memory.load().unwrap_or_else(|error| {
        tracing::warn!(%error, "the former life of this node is not known");
        Summary::default()
    });
    let reserved = Summary {
        highest: VersionClock::new(before.highest, 0).ceiling(Clock::now()),
        services: before.services.clone(),
    };
    if let Err(error) = memory.save(&reserved) {
        tracing::warn!(%error, "a restart will not be remembered");
    }
    (Some(memory), before)
}

/// What this node starts with.
struct FormerLife {
    before: Arc<Summary>,
    operators: Arc<MetaState>,
}

/// Everything that is listened on, bound before anything starts.
struct Ports {
    bolt: SocketAddr,
    clients: Vec<TcpListener>,
    http: Vec<(Role, HttpListener)>,
}

impl Ports {
    fn bind(config: &Config, cores: usize) -> Result<Self, StartError> {
        let Listening { address, listeners } =
            listener::bind_all(config.session.listen, cores).map_err(StartError::unavailable)?;
        let roles = [
            (Role::Session, config.session.http),
            (Role::Meta, config.meta.http),
            (Role::Data, config.data.http),
        ];
        let bind = |(role, address)| match HttpListener::bind(address) {
            Ok(listener) => Ok((role, listener)),
            Err(error) => Err(StartError::Unavailable(format!(
                "{address} cannot be listened on: {error}; stop what listens there or configure another port"
            ))),
        };
        Ok(Self {
            bolt: address,
            clients: listeners,
            http: roles.into_iter().map(bind).collect::<Result<_, _>>()?,
        })
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
    fn new(config: &Config, transport: TransportKind, cores: usize, former: &FormerLife) -> Self {
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
                    data_center: Name::from(config.node.data_center.as_str()),
                },
                before: Arc::clone(&former.before),
                operators: Arc::clone(&former.operators),
                zone: Name::from(config.node.zone.as_str()),
                cancel_from: config.admin.cancel_address_from.clone().into(),
                listeners: Arc::new(|_| vec![Box::new(ConnectionLog)]),
            },
        }
    }

    fn roles(&self, seat: &Seat) -> Roles {
        let place = Place {
            me: Member {
                node: self.node,
                core: seat.core,
            },
            incarnation: self.incarnation,
            cores: self.cores,
            ring: self.ring.clone(),
        };
        Roles::new(place, self.seed, &self.setup)
    }
}

/// Starts every core and waits until each has its sockets.
fn start_cores(
    plan: &CorePlan,
    seats: Vec<Seat>,
    listeners: Vec<TcpListener>,
    meshes: Vec<Mesh<Message>>,
) -> Result<Vec<RunningCore>, StartError> {
    let (ready, readiness) = mpsc::sync_channel(seats.len());
    let mut cores = Vec::with_capacity(seats.len());
    for ((seat, listener), mesh) in seats.into_iter().zip(listeners).zip(meshes) {
        let (plan, ready, on) = (plan.clone(), ready.clone(), seat.clone());
        let main = move |bell| async move {
            let admission = Arc::clone(&plan.admission);
            let settings = plan.settings.clone();
            let net = Net::new(
                on.core,
                plan.transport,
                vec![listener],
                &on.ringer,
                admission,
                settings,
            );
            match net {
                Ok(net) => {
                    // Nobody waits for it any more only if another core has failed.
                    let _ = ready.send(Ok(()));
                    Driver::new(on.core, net, mesh, plan.roles(&on))
                        .run(bell)
                        .await;
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        };
        cores.push(executor::start_core(&seat, main).map_err(StartError::unavailable)?);
    }
    drop(ready);
    for _ in &cores {
        match readiness.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let reason = format!(
                    "no network ring: {error}; raise the limits of open files and locked memory"
                );
                return Err(StartError::Unavailable(reason));
            }
            Err(mpsc::RecvError) => {
                return Err(StartError::Internal(
                    "a core ended while starting".to_owned(),
                ));
            }
        }
    }
    Ok(cores)
}

/// What the control executor serves with.
struct Served {
    facts: crate::admin::Facts,
    config: Config,
    http: Vec<(Role, HttpListener)>,
    mesh: Mesh<Message>,
    signals: signal::Signals,
    memory: Option<Remembered>,
    operators: Operators,
    /// What they hold.
    set: Arc<MetaState>,
}

async fn serve(served: Served, mut bell: Bell) -> Result<(), StartError> {
    let Served {
        facts,
        config,
        http,
        mesh,
        mut signals,
        memory,
        operators,
        set,
    } = served;
    tracing::info!(role = "session", protocol = "bolt", address = %facts.bolt, cores = facts.cores, "listening");
    let set = MetaState::clone(&set);
    let control = Control::new(mesh, facts, config.session.drain, memory, (operators, set));
    let access = Access {
        token: config.admin.token,
        allow_unauthenticated: config.admin.allow_unauthenticated_admin,
    };
    let node: Rc<dyn crate::admin::Node> = Rc::clone(&control) as _;
    let admin = Admin::new(node, access);
    let mut servers = Vec::with_capacity(http.len());
    for (role, listener) in http {
        let server = admin
            .serve(role, listener)
            .map_err(StartError::unavailable)?;
        tracing::info!(role = role.as_str(), protocol = "http", address = %server.local_addr(), "listening");
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
