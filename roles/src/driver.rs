//! The one loop of a data core: bytes in, machines, effects out, and sleep when there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::data::journal::{Durability, Failure, Journal, Lane, Life, Operation};
use rollcall_core::data::{self, Data, Report};
use rollcall_core::limits;
use rollcall_core::machine::{Instant, Machine, Now};
use rollcall_core::meta::MetaState;
use rollcall_core::names::{ConnectId, CoreId, Interner, Member, Name};
use rollcall_core::query::{Answer, Order, Query};
use rollcall_core::session::questions::Traffic;
use rollcall_core::session::{self, Place as SessionPlace, Session};
use rollcall_core::stats::Stats;
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;
use rollcall_io::clock::{Clock, CoreClock, Tick};
use rollcall_io::executor::Bell;
use rollcall_io::file::{Directory, Trouble};
use rollcall_io::mesh::{Mesh, Place};
use rollcall_io::net::{EndedBy, Net, Reason};

use crate::cancelling::MayCancel;
use crate::complaints::Complaints;
use crate::connections::{ConnectionListener, MakeListeners};
use crate::framing::Bolt;
use crate::lanes::{Message, Ticket, ToControl, ToCore};
use crate::questions::Questions;
use crate::recovery::{CLUSTER, Journals, RecoveryError};

/// How often Session and Data may pass messages to and fro in one turn before the sockets have theirs.
const ROUNDS_PER_TURN: usize = 3;
/// So many events are heard before Session handles them: it looks at what all of them need first, so that memory is waited for once.
const HEARD_AT: usize = 16;
/// What Session wants is carried to Data from so many effects on, while all of it is still in the nearest cache.
const SETTLED_AT: usize = 64;
/// How long the orderly end of the journal may take.
const SEAL_PATIENCE: Duration = Duration::from_secs(2);

/// One data core at work.
pub(crate) struct Driver {
    core: CoreId,
    clock: CoreClock,
    net: Net<Bolt>,
    mesh: Mesh<Message>,
    /// Of the journal, if there is one.
    files: Option<Directory>,
    roles: Roles,
    questions: Questions,
    handover: Option<Handover>,
    congested: Vec<bool>,
    /// What is to be sent waits for the next turn.
    is_holding: bool,
    /// The end of the node was ordered, and must come until then.
    ends_at: Option<Instant>,
}

/// The machines of a core, and what they want done.
pub(crate) struct Roles {
    me: Member,
    pub(crate) now: Now,
    pub(crate) session: Session,
    data: Data,
    pub(crate) names: Interner,
    pub(crate) stats: Stats,
    pub(crate) listeners: Vec<Box<dyn ConnectionListener>>,
    pub(crate) complaints: Complaints,
    /// Of registrations that name none.
    pub(crate) zone: Name,
    pub(crate) may_cancel: MayCancel,
    /// What Session has to handle, in order.
    pub(crate) heard: Vec<session::Event>,
    wanted: Vec<session::Effect>,
    /// A request went to another core in this turn.
    pub(crate) has_asked_others: bool,
    /// What `settle` has looked at and left for the sockets and lanes.
    pub(crate) outward: Vec<session::Effect>,
    said: Vec<data::Effect>,
    /// What the journal wants of the disk.
    disk: Vec<(Lane, Operation)>,
    reports: Vec<Report>,
    looked_at: Vec<session::Effect>,
}

/// What the cores of a node are set up with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) rules: session::Rules,
    /// What former lives have left.
    pub(crate) journals: Journals,
    /// How long publishers known from before a restart await their client.
    pub(crate) return_grace: Duration,
    /// How long publishers are held where a list would lose most of its own.
    pub(crate) protect: Duration,
    /// What operators set in its former lives.
    pub(crate) operators: Arc<MetaState>,
    /// Nothing of that is left.
    pub(crate) operators_lost: bool,
    /// The node's zone.
    pub(crate) zone: Name,
    /// Who may take clients off.
    pub(crate) may_cancel: MayCancel,
    /// Who is told of connections.
    pub(crate) listeners: MakeListeners,
}

/// The clients of a stopping node, on their way to others, spread over time.
struct Handover {
    started: Instant,
    over: Duration,
    clients: Vec<ConnectId>,
    total: usize,
    told: bool,
}

impl Roles {
    /// The machines of one core, with what its journal knows. Blocks while that is read.
    pub(crate) fn recover(
        place: SessionPlace,
        seed: Seed,
        setup: &Setup,
    ) -> Result<Self, RecoveryError> {
        let me = place.me;
        let mut names = Interner::new(seed);
        let mut stats = Stats::default();
        let data = recover_data(&place, seed, setup, &mut names, &mut stats)?;
        stats.operators_lost = u64::from(setup.operators_lost && me.core == CoreId(0));
        let session = Session::with_rules(place, seed, setup.rules.clone());
        Ok(Self {
            me,
            now: Clock::now(),
            session: session.with_operators(MetaState::clone(&setup.operators)),
            data,
            names,
            stats,
            listeners: (setup.listeners)(me.core),
            complaints: Complaints::default(),
            zone: Name::clone(&setup.zone),
            may_cancel: setup.may_cancel.clone(),
            heard: Vec::with_capacity(HEARD_AT),
            wanted: Vec::new(),
            has_asked_others: false,
            outward: Vec::new(),
            said: Vec::new(),
            disk: Vec::new(),
            reports: Vec::new(),
            looked_at: Vec::new(),
        })
    }

    fn data_event(&mut self, event: data::Event) {
        self.data.handle(self.now, event, &mut self.said);
    }

    /// Session will handle it, with what it heard before, in [`Self::attend`] at the latest.
    pub(crate) fn session_event(&mut self, event: session::Event) {
        self.heard.push(event);
        if self.heard.len() >= HEARD_AT {
            self.attend();
        }
        if self.wanted.len() >= SETTLED_AT {
            self.settle();
        }
    }

    /// Has Session handle what it heard.
    pub(crate) fn attend(&mut self) {
        self.session.look_ahead(&self.heard);
        for event in self.heard.drain(..) {
            self.session.handle(self.now, event, &mut self.wanted);
        }
    }

    /// Lets Session and Data of this core talk until they have nothing more to say to each other.
    pub(crate) fn settle(&mut self) {
        self.attend();
        while !self.wanted.is_empty() {
            std::mem::swap(&mut self.wanted, &mut self.looked_at);
            for effect in self.looked_at.drain(..) {
                match effect {
                    session::Effect::ToData { owner, message } if owner == self.me => {
                        let session = self.me;
                        let event = data::Event::FromSession { session, message };
                        self.data.handle(self.now, event, &mut self.said);
                    }
                    session::Effect::Expel(clients) => {
                        let event = data::Event::Expel(clients);
                        self.data.handle(self.now, event, &mut self.said);
                    }
                    other => self.outward.push(other),
                }
            }
            self.hear_data();
        }
    }

    fn hear_data(&mut self) {
        for effect in self.said.drain(..) {
            match effect {
                data::Effect::ToSession { message, .. } => {
                    let event = session::Event::FromData(message);
                    self.session.handle(self.now, event, &mut self.wanted);
                }
                data::Effect::Disk { lane, operation } => self.disk.push((lane, operation)),
                data::Effect::Report(report) => self.reports.push(report),
            }
        }
    }

    /// Handles what is due, until nothing is, or as much as a turn may: what was merged, pushes, the journal. False if nothing was.
    pub(crate) fn handle_due(&mut self) -> bool {
        let mut worked = false;
        let answers = self.outward.len();
        for _ in 0..ROUNDS_PER_TURN {
            // More than one slice of pushes would keep requests waiting.
            if !self.is_due() || self.outward.len() >= answers + limits::FANOUT_SLICE {
                break;
            }
            worked = true;
            self.handle_timeouts();
        }
        worked
    }

    /// What was merged while events were handled, then timers.
    fn handle_timeouts(&mut self) {
        self.data.handle_timeout(self.now, &mut self.said);
        self.hear_data();
        self.settle();
        self.session.handle_timeout(self.now, &mut self.wanted);
        self.settle();
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.session.next_timeout(), self.data.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_due(&self) -> bool {
        self.next_timeout()
            .is_some_and(|at| at <= self.now.monotonic)
    }
}

fn recover_data(
    place: &SessionPlace,
    seed: Seed,
    setup: &Setup,
    names: &mut Interner,
    stats: &mut Stats,
) -> Result<Data, RecoveryError> {
    let Setup {
        journals,
        return_grace,
        protect,
        ..
    } = setup;
    let durability = journals.durability();
    if durability == Durability::Off {
        let data = Data::new(seed, DatumVersion::NOTHING_KNOWN, Journal::off());
        return Ok(data.protecting(*protect));
    }
    let is_mine = |hash| place.ring.owner_at(hash) == place.me;
    let recovered = journals.recover(place.me.core, seed, names, &is_mine)?;
    stats.journal_damages = recovered.damages;
    stats.journal_gaps = u64::from(recovered.former.has_gap);
    let life = Life {
        durability,
        cluster: CLUSTER,
        shard: place.me.core.0,
        shards: place.cores,
        boot_id: journals.boot_id(),
    };
    let floor = recovered.replayed.highest;
    let journal = Journal::new(life, recovered.former, floor);
    let mut data = Data::new(seed, floor, journal).protecting(*protect);
    let services = recovered.replayed.services;
    let now = Clock::monotonic();
    data.recover(now, *return_grace, services);
    Ok(data)
}

impl Driver {
    /// A core that serves the connections of `net` and talks with the others through `mesh`.
    pub(crate) fn new(
        core: CoreId,
        net: Net<Bolt>,
        mesh: Mesh<Message>,
        files: Option<Directory>,
        roles: Roles,
    ) -> Self {
        Self {
            core,
            clock: CoreClock::default(),
            net,
            congested: vec![false; mesh.cores()],
            is_holding: false,
            mesh,
            files,
            roles,
            questions: Questions::default(),
            handover: None,
            ends_at: None,
        }
    }

    /// Brings the journal so far that versions may be given; says why not if the disk fails.
    pub(crate) async fn prepare(&mut self, bell: &mut Bell) -> Option<String> {
        while !self.roles.data.journal().is_ready() {
            self.roles.now = Clock::now();
            self.hear_disk();
            self.roles.handle_timeouts();
            self.ask_disk();
            let files = &mut self.files;
            bell.wait(|| files.as_mut().is_none_or(Directory::prepare_sleep))
                .await;
        }
        self.roles.data.journal().failure().map(str::to_owned)
    }

    /// Works until the control executor says stop.
    pub(crate) async fn run(mut self, mut bell: Bell) {
        while !self.is_over() {
            let worked = self.turn(bell.shares_cpu());
            if worked {
                bell.pass(self.roles.now.monotonic).await;
            } else {
                let deadline = self.next_timeout();
                let hears_clients = self.mesh.has_room();
                let Self {
                    net,
                    mesh,
                    files,
                    roles,
                    ..
                } = &mut self;
                bell.wait(|| {
                    mesh.is_quiet()
                        && files.as_mut().is_none_or(Directory::prepare_sleep)
                        && (!hears_clients || net.prepare_sleep(roles.now, deadline))
                })
                .await;
            }
        }
    }

    /// Takes up what happened, has it handled, and sends what came of it. False if nothing was to do.
    ///
    /// Where cores share a CPU, one that has asked another lets it have its turn and sends in its own next: what both say to a client
    /// goes out at once.
    fn turn(&mut self, shares_cpu: bool) -> bool {
        self.tick();
        // First: the write of the turn before has ended, and its memory, still near, takes the records of this one.
        let mut worked = self.hear_disk();
        // The ends of clients, and some of what they say, make messages that no credit bounds and that must arrive.
        if self.mesh.has_room() {
            worked |= self.net.poll(self.roles.now, &mut self.roles);
        }
        self.roles.attend();
        worked |= self.receive();
        worked |= self.hand_over();
        self.roles.settle();
        worked |= self.roles.handle_due();
        self.ask_disk();
        self.perform();
        self.report();
        let has_asked = std::mem::take(&mut self.roles.has_asked_others);
        let is_ending = self.ends_at.is_some();
        self.is_holding = shares_cpu && has_asked && !self.is_holding && !is_ending;
        if self.is_holding {
            worked = true;
        } else {
            self.net.flush();
        }
        worked |= self.mesh.flush();
        worked |= self.answer_one();
        // What is still owed now has found no slot.
        self.tell_congestion();
        worked
    }

    /// Begins a turn. What this core awaits is not late by the time in which it stood still.
    fn tick(&mut self) {
        let Tick { now, stood_still } = self.clock.tick();
        self.roles.now = now;
        self.roles.stats.turns += 1;
        if let Some(pause) = stood_still {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                core = self.core.0,
                pause_ms,
                "this core stood still: what queued up is heard before anybody's end is taken, silence counts anew"
            );
            self.roles.stats.standstills += 1;
            self.roles.stats.standstill_ms += pause_ms;
            self.net.stood_still(now);
        }
    }

    /// The orderly end of the journal was waited for, or for long enough.
    fn is_over(&self) -> bool {
        let is_sealed = self.roles.data.journal().is_sealed();
        self.ends_at
            .is_some_and(|at| is_sealed || at <= self.roles.now.monotonic)
    }

    fn ask_disk(&mut self) {
        for (lane, operation) in self.roles.disk.drain(..) {
            let files = self.files.as_mut();
            let files = files.expect("only a journal asks for anything, and it has files");
            files.begin(lane, operation);
        }
    }

    fn hear_disk(&mut self) -> bool {
        let mut worked = false;
        for finished in self.files.iter_mut().flat_map(Directory::finished) {
            worked = true;
            self.roles.data_event(data::Event::Disk {
                lane: finished.lane,
                result: finished.result.map_err(|error| Failure {
                    is_full: error.trouble == Trouble::Full,
                    said: error.to_string(),
                }),
                buffer: finished.buffer,
            });
        }
        self.roles.hear_data();
        worked
    }

    /// Tells operators what the journal and the return of the clients have come to.
    fn report(&mut self) {
        let core = self.core.0;
        if self.roles.reports.is_empty() {
            return;
        }
        for report in self.roles.reports.drain(..) {
            match report {
                Report::JournalDegraded(reason) => {
                    tracing::error!(core, reason, "journal degraded, pushes go on without it")
                }
                Report::JournalRecovered => tracing::info!(core, "journal recovered"),
                Report::ReturnExtended { missing, awaited } => {
                    tracing::warn!(
                        core,
                        missing,
                        awaited,
                        "most publishers from before the restart are missing, they are awaited for longer"
                    )
                }
                Report::ReturnOver { removed, awaited } => {
                    tracing::info!(
                        core,
                        removed,
                        awaited,
                        "publishers from before the restart are no longer awaited"
                    )
                }
            }
        }
        let trouble = self.roles.data.trouble();
        self.tell_control(ToControl::Trouble(self.core, trouble));
    }

    fn perform(&mut self) {
        let mut outward = std::mem::take(&mut self.roles.outward);
        for effect in outward.drain(..) {
            self.roles.perform(effect, &mut self.net, &mut self.mesh);
        }
        self.roles.outward = outward;
    }

    fn receive(&mut self) -> bool {
        let mut orders = Vec::new();
        let roles = &mut self.roles;
        let received = self.mesh.receive(|from, message| match (from, message) {
            (Place::Core(core), Message::Lane(message)) => {
                roles.session_event(session::Event::FromCore { core, message })
            }
            (_, Message::ToCore(order)) => orders.push(order),
            (from, message) => unreachable!("{from:?} never says {message:?} to a data core"),
        });
        self.roles.attend();
        for order in orders {
            self.obey(order);
        }
        received
    }

    fn obey(&mut self, order: ToCore) {
        match order {
            ToCore::Ask(ticket, query) => self.questions.put(ticket, query),
            ToCore::Apply(ticket, command) => {
                let order = command.whom().map(Order::ClientsOff);
                let touched = order.map_or(0, |order| self.roles.session.touches(&order));
                self.roles.session_event(session::Event::Meta(command));
                self.done(ticket, touched);
            }
            ToCore::Order(ticket, order) => {
                let touched = self.roles.session.touches(&order);
                self.roles.session_event(session::Event::Order(order));
                self.done(ticket, touched);
            }
            ToCore::Drain(over) => self.begin_handover(over),
            ToCore::Stop => {
                self.roles.data_event(data::Event::Seal);
                self.ends_at = Some(self.roles.now.monotonic + SEAL_PATIENCE);
            }
        }
    }

    fn done(&mut self, ticket: Ticket, touched: u64) {
        self.tell_control(ToControl::Done(ticket, touched));
    }

    fn tell_control(&mut self, message: ToControl) {
        self.mesh.send(Place::Control, Message::ToControl(message));
    }

    /// Answers one question, after all that clients wait for is on its way: who asks waits for clients, not they for who asks.
    fn answer_one(&mut self) -> bool {
        let Some((ticket, query)) = self.questions.next() else {
            return false;
        };
        let answer = self.answer(&query);
        self.tell_control(ToControl::Answered(ticket, answer));
        self.mesh.flush();
        true
    }

    fn answer(&mut self, query: &Query) -> Answer {
        let Self { net, roles, .. } = self;
        if *query == Query::Stats {
            return Answer::Stats(Box::new(self.stats()));
        }
        if let Some(answer) = roles.data.answer(query) {
            return answer;
        }
        let net = std::cell::RefCell::new(net);
        let traffic = |connect_id| {
            let facts = net.borrow_mut().facts(connect_id);
            facts.map_or_else(Traffic::default, |facts| Traffic {
                received_bytes: facts.bytes_in,
                sent_bytes: facts.bytes_out,
            })
        };
        let answer = roles.session.answer(query, traffic);
        match answer.expect("a question is for the data role or for the session role") {
            Answer::Counts(mut counts) => {
                roles.data.count(&mut counts);
                Answer::Counts(counts)
            }
            answer => answer,
        }
    }

    fn stats(&mut self) -> Stats {
        let mut stats = self.roles.stats.clone();
        stats.add(self.roles.session.gauge());
        stats.add(self.roles.data.gauge());
        let (traffic, trouble) = (self.net.traffic(), self.net.trouble());
        stats.received_bytes = traffic.bytes_in;
        stats.sent_bytes = traffic.bytes_out;
        stats.refused_total_limit = traffic.refused;
        stats.refused_per_ip_limit = traffic.refused_of_address;
        stats.dropped_stale_completion = trouble.stale_completions;
        stats.ring_overflows = trouble.completion_overflows;
        stats.ring_lost_completions = trouble.lost_completions;
        stats.connections_abandoned = trouble.abandoned;
        stats.ring_buffers_exhausted = trouble.no_buffers;
        stats.queue_partial_bytes = self.net.partial_bytes() as u64;
        stats.queue_write_bytes = self.net.owed_bytes() as u64;
        stats.queue_outbox = (0..self.mesh.cores())
            .map(|core| self.mesh.owed(place(core)) as u64)
            .sum();
        stats
    }

    /// Bodies for a core whose lane is full wait, newest replacing older, until it is not.
    fn tell_congestion(&mut self) {
        for index in 0..self.congested.len() {
            let full = self.mesh.owed(place(index)) > 0;
            if full != std::mem::replace(&mut self.congested[index], full) {
                let core = core_at(index);
                self.roles
                    .session_event(session::Event::Congested { core, full });
            }
        }
    }

    fn begin_handover(&mut self, over: Duration) {
        self.net.stop_accepting();
        self.roles.session_event(session::Event::Draining);
        let clients: Vec<_> = self.net.open_connections().collect();
        tracing::debug!(core = self.core.0, clients = clients.len(), "handing over");
        self.handover = Some(Handover {
            started: self.roles.now.monotonic,
            over,
            total: clients.len(),
            clients,
            told: false,
        });
    }

    /// Closes as many clients as are due by now; true if any was.
    fn hand_over(&mut self) -> bool {
        let Some(handover) = &mut self.handover else {
            return false;
        };
        let due = handover.due(self.roles.now.monotonic);
        let worked = !due.is_empty();
        for connect_id in due {
            self.net.close(connect_id, EndedBy::Us(Reason::Drain));
        }
        if self.net.connections() == 0 && !std::mem::replace(&mut handover.told, true) {
            self.tell_control(ToControl::Drained);
            return true;
        }
        worked
    }

    fn next_timeout(&self) -> Option<Instant> {
        let handover = self.handover.as_ref().and_then(Handover::next);
        [self.roles.next_timeout(), handover, self.ends_at]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Handover {
    fn due(&mut self, now: Instant) -> Vec<ConnectId> {
        let elapsed = now.since(self.started);
        let left = match elapsed < self.over {
            true => {
                self.total
                    - (self.total as f64 * elapsed.as_secs_f64() / self.over.as_secs_f64()) as usize
            }
            false => 0,
        };
        self.clients.split_off(left.min(self.clients.len()))
    }

    fn next(&self) -> Option<Instant> {
        let closed = self.total - self.clients.len();
        let share = (closed + 1) as f64 / self.total as f64;
        (!self.clients.is_empty()).then(|| self.started + self.over.mul_f64(share))
    }
}

fn core_at(index: usize) -> CoreId {
    CoreId(u16::try_from(index).expect("cores are numbered in 16 bits"))
}

fn place(index: usize) -> Place {
    Place::Core(core_at(index))
}
