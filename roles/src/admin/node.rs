//! What HTTP needs of the node that it speaks for: its facts, its cores, its operators' data.

use std::cell::Ref;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;

use rollcall_core::machine::Instant;
use rollcall_core::meta::{Applied, MetaCommand, MetaState, Refusal};
use rollcall_core::names::CoreId;
use rollcall_core::query::{Answer, Order, Query};

/// Something that is there later. It borrows nothing, so that an answer can be produced while it is sent.
pub type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// The node as HTTP sees it. Lives on the control executor.
pub trait Node {
    /// What is so at this moment. Cheap.
    fn facts(&self) -> Facts;

    /// The addresses of this host's interface that has `ip`.
    fn addresses_beside(&self, ip: IpAddr) -> Vec<IpAddr>;

    /// Milliseconds since 1970.
    fn wall_ms(&self) -> u64;

    /// The clock that never goes back.
    fn monotonic(&self) -> Instant;

    /// Lets others have their turn, also those whom the kernel has something to tell. Between two pieces of a long answer: while its
    /// reader takes every piece at once, nothing else would make its producer wait, and the whole of it would be one turn of the executor.
    fn rest(&self) -> Pending<()>;

    /// The right to hold an answer as a whole, because it has to be sorted; none while another has it.
    fn whole_answer(&self) -> Option<WholeAnswer>;

    /// The operators' data as far as this node has applied it. Not held across an await.
    fn meta(&self) -> Ref<'_, MetaState>;

    /// Asks one core, `0..facts().cores`. Fails, rather than wait for ever, when the core does not answer.
    fn ask(&self, core: CoreId, query: Query) -> Pending<Result<Answer, Unanswered>>;

    /// Has all cores of this node do something; says how many connections it touched.
    fn order(&self, order: Order) -> Pending<Result<u64, Unanswered>>;

    /// Has a command put in order, made to last and applied. Afterwards `meta` and every core of this node know it.
    fn propose(&self, command: MetaCommand) -> Pending<Result<Proposed, NotProposed>>;
}

/// A command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// What it did to the operators' data.
    pub applied: Applied,
    /// How many connections of this node it met.
    pub met: u64,
}

/// The one place of a node for an answer that is in memory as a whole: so many askers at a time cost no more than one.
#[derive(Clone, Debug, Default)]
pub struct WholeAnswer(Rc<()>);

impl WholeAnswer {
    /// The place, unless it is taken; it is free again when what is returned is dropped.
    pub fn take(&self) -> Option<Self> {
        (Rc::strong_count(&self.0) == 1).then(|| self.clone())
    }
}

/// What is known of the node without asking a core.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How many data cores there are.
    pub cores: u16,
    /// How far along its life the node is.
    pub phase: Phase,
    /// Which roles it has.
    pub roles: Roles,
    /// Its data center.
    pub data_center: String,
    /// Its zone (region); a client without zone is shown the servers of this one.
    pub zone: String,
    /// Where its Bolt listeners are bound, with the real port.
    pub bolt: SocketAddr,
    /// What an operator wants clients to be told instead.
    pub advertise: Option<Advertise>,
    /// When the process started, in milliseconds since 1970.
    pub started_ms: u64,
    /// What is wrong with it, though it serves.
    pub troubles: Vec<String>,
    /// The other nodes of the cluster.
    pub others: Vec<NodeEntry>,
}

/// An address for clients, chosen by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// A name or an address.
    pub host: String,
    /// `None` for the real Bolt port.
    pub port: Option<u16>,
}

/// How far along its life a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all ports are answered.
    Starting,
    /// At work.
    Serving,
    /// Hands its clients over; takes no new ones.
    Draining,
}

/// Which roles a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Clients connect to it.
    pub session: bool,
    /// It stores datums.
    pub data: bool,
    /// It orders the operators' commands.
    pub meta: bool,
}

impl Roles {
    /// All in one process.
    pub const ALL: Self = Self {
        session: true,
        data: true,
        meta: true,
    };
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Which roles it has.
    pub roles: Roles,
    /// Where clients and nodes reach it.
    pub host: String,
    /// Its port for clients.
    pub bolt_port: u16,
    /// Its zone.
    pub zone: String,
    /// How many client connections it has.
    pub connections: u64,
    /// Whether it hands its clients over.
    pub draining: bool,
}

/// A core that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Which core, if it was one.
    pub core: Option<CoreId>,
    /// Why, as far as it is known.
    pub why: String,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.core {
            Some(core) => write!(f, "core {} did not answer: {}", core.0, self.why),
            None => write!(f, "not all cores answered: {}", self.why),
        }
    }
}

impl std::error::Error for Unanswered {}

/// A command that was not applied, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotProposed {
    /// It was understood and not taken.
    Refused(Refusal),
    /// It cannot be kept over a restart, and so was not taken; says why.
    NotStored(String),
    /// Nobody put it in order in time.
    Unanswered(Unanswered),
}
