//! Nodes, lanes, a network, sockets and clients, all of it made up from a seed; only the machines are real.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rollcall_core::data;
use rollcall_core::data::journal::{self, Durability, Operation};
use rollcall_core::exchange::ToData;
use rollcall_core::machine::{Instant, Machine, Now};
use rollcall_core::names::{ConnectId, CoreId, DataInfoId, Member, NodeId};
use rollcall_core::ring::HashRing;
use rollcall_core::session::{self, EndedBy};
use rollcall_core::tables::Seed;

use crate::client::Client;
use crate::cores::Core;
use crate::crashes::INTERVAL;
use crate::disk::{Disk, Done};
use crate::invariants::{self, Truth};
use crate::planted::{Mischief, Planted};
use crate::random::Random;
use crate::sockets::Connection;
use crate::steps::{Moment, Steps};

/// A connection in the whole world: its id is unique on its node only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionKey {
    pub(crate) node: usize,
    pub(crate) connect_id: ConnectId,
}

/// How large the world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) cores: u16,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) size: Size,
    pub(crate) tables: Seed,
    pub(crate) random: Random,
    pub(crate) now: Now,
    /// How often the processes and the machines went down.
    pub(crate) life: u64,
    pub(crate) boot: u64,
    pub(crate) durability: Durability,
    pub(crate) services: Vec<DataInfoId>,
    pub(crate) cores: Vec<Core>,
    pub(crate) clients: Vec<Client>,
    pub(crate) connections: BTreeMap<ConnectionKey, Connection>,
    pub(crate) truth: Truth,
    pub(crate) planted: Option<Planted>,
    /// Nothing is lost, refused or cut any more.
    pub(crate) calm: bool,
    streams: BTreeMap<(Member, Member), VecDeque<(Instant, Message)>>,
    pub(crate) ring: HashRing,
    /// What gives the stamps of each node: never back.
    stamp_clocks: [u64; 3],
    /// Connections that were ever made.
    pub(crate) connected: u64,
    /// Registrations that were ever made: each has an id of its own.
    pub(crate) registered: u64,
    pub(crate) mischief: Mischief,
    pub(crate) steps: Steps,
    /// Registrations that were lost with the power, and may be missing until their client is back.
    pub(crate) lost: BTreeSet<String>,
    /// Since a gap only the clock is above what was shown.
    pub(crate) clock_counts: bool,
    /// What clients are told, in words, if somebody wants to read it.
    pub(crate) story: Option<Vec<String>>,
    /// Nobody asks for the digest.
    pub(crate) is_untraced: bool,
    traced: Option<String>,
    /// A digest of all effects so far.
    pub(crate) trace: u64,
    /// The first rule that was broken.
    pub(crate) broken: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size, planted: Option<Planted>, tables: Seed) -> Self {
        let members: Vec<Member> = (0..size.nodes)
            .flat_map(|node| {
                (0..size.cores).map(move |core| Member {
                    node: NodeId(node as u64 + 1),
                    core: CoreId(core),
                })
            })
            .collect();
        let ring = HashRing::new(members.iter().copied());
        let cores = members
            .iter()
            .map(|&me| Core::new(me, size, &ring, seed, tables));
        Self {
            seed,
            size,
            tables,
            life: 0,
            boot: 0,
            durability: INTERVAL,
            random: Random::new(seed),
            now: Now {
                monotonic: Instant(1_000_000_000),
                wall_ms: 1_800_000_000_000,
            },
            services: (0..5)
                .map(|number| DataInfoId::new(&format!("service-{number}"), "", ""))
                .collect(),
            cores: cores.collect(),
            clients: Vec::new(),
            connections: BTreeMap::new(),
            truth: Truth::new(5),
            planted,
            calm: false,
            streams: BTreeMap::new(),
            ring,
            stamp_clocks: [0; 3],
            connected: 0,
            registered: 0,
            mischief: Mischief::default(),
            steps: Steps::default(),
            lost: BTreeSet::new(),
            clock_counts: false,
            story: None,
            is_untraced: false,
            traced: std::env::var("ROLLCALL_SIM_TRACE").ok(),
            trace: 0,
            broken: None,
        }
    }

    /// A world of nodes that journal what they hold.
    pub(crate) fn with_disks(
        seed: u64,
        size: Size,
        planted: Option<Planted>,
        tables: Seed,
        durability: Durability,
    ) -> Self {
        let mut world = Self::without_start(seed, size, tables);
        world.planted = planted;
        world.durability = durability;
        for core in 0..world.cores.len() {
            world.restart(core);
            world.finish_start(core);
        }
        world
    }

    /// One whose nodes are yet to be started on empty disks.
    pub(crate) fn without_start(seed: u64, size: Size, tables: Seed) -> Self {
        let mut world = Self::new(seed, size, None, tables);
        for core in &mut world.cores {
            core.disk = Some(Disk::new(core.member.core.0 == 0));
        }
        world
    }

    /// Whether owners are never asked across a network, so that nothing can be lost.
    pub(crate) fn is_lossless(&self) -> bool {
        self.size.nodes == 1
    }

    pub(crate) fn break_rule(&mut self, what: String) {
        let seed = self.seed;
        let at = self.now.monotonic.0 / 1_000_000;
        self.broken
            .get_or_insert_with(|| format!("seed={seed} at {at} ms: {what}"));
    }

    /// A little later.
    pub(crate) fn tick(&mut self, step: Duration) {
        self.now.monotonic = self.now.monotonic + step;
        self.now.wall_ms += u64::try_from(step.as_millis()).expect("a short step");
        self.replay();
        self.send_requests();
        for core in 0..self.cores.len() {
            self.receive_streams(core);
            self.receive_lanes(core);
            self.hear_disk(core, self.now.monotonic);
            self.receive_sockets(core);
            self.turn(core);
            self.move_lanes(core);
        }
        self.receive_at_clients();
        invariants::check(self);
    }

    /// A connection of this client to a core.
    pub(crate) fn connect(&mut self, client: usize, node: usize, core: u16) -> ConnectionKey {
        let stamp = self.stamp(node);
        self.connected += 1;
        let index = self.core_index(node, core);
        let (slot, generation) = self.cores[index].take_slot();
        let connect_id = ConnectId {
            core: CoreId(core),
            slot,
            generation,
        };
        let key = ConnectionKey { node, connect_id };
        let opened = session::Event::Opened {
            connect_id,
            stamp,
            peer: self.clients[client].peer,
            local: SocketAddr::from(([127, 0, 0, 1], 9600)),
        };
        self.connections
            .insert(key, Connection::of(client, self.connected));
        self.tell_session(index, opened);
        self.clients[client].on_connected(self.now.wall_ms, key);
        key
    }

    /// When a connection was accepted, by the clock of this node: now and then another connection that came later was accepted before it.
    fn stamp(&mut self, node: usize) -> u64 {
        let skew_ms = [10_000, 15_000, 5_000][node];
        let early_ms = match !self.calm && self.random.chance(200) {
            true => self.random.below(3_000),
            false => 0,
        };
        let clock = &mut self.stamp_clocks[node];
        *clock = (*clock).max(self.now.wall_ms + skew_ms);
        (*clock - early_ms) << 16 | self.connected
    }

    /// The client leaves its connection; the server hears of it later, or finds out by itself.
    pub(crate) fn leave(&mut self, client: usize, after: Duration, ended_by: EndedBy) {
        let Some(key) = self.clients[client].connection.take() else {
            return;
        };
        let at = self.now.monotonic + after;
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.is_used = false;
            connection.closes_at.get_or_insert((at, ended_by));
        }
    }

    /// The server ends a connection.
    pub(crate) fn end(&mut self, key: ConnectionKey, ended_by: EndedBy) {
        let at = self.now.monotonic;
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.ended.is_some() {
            return;
        }
        connection.ended = Some((ended_by, at));
        let client = connection.client;
        if std::mem::take(&mut connection.is_used) && self.clients[client].connection == Some(key) {
            self.clients[client].connection = None;
            let pause = Duration::from_millis(20 + self.random.below(600));
            self.clients[client].reconnects_at = at + pause;
        }
        let index = self.core_index(key.node, key.connect_id.core.0);
        self.cores[index].free.push(key.connect_id.slot);
        self.repeat_close(key, ended_by);
        let closed = session::Event::Closed {
            connect_id: key.connect_id,
            ended_by,
        };
        self.tell_session(index, closed);
    }

    pub(crate) fn tell_session(&mut self, core: usize, event: session::Event) {
        if self.steps.is_down {
            return;
        }
        let Some(event) = self.tamper_with_event(core, event) else {
            return;
        };
        let mut out = Vec::new();
        self.cores[core].session.handle(self.now, event, &mut out);
        self.perform(core, out);
    }

    pub(crate) fn tell_data(&mut self, core: usize, session: Member, message: ToData) {
        if self.steps.is_down {
            return;
        }
        let id = data_info_id(&message).clone();
        if self.ring.owner(&id) != self.cores[core].member {
            self.break_rule(format!("{id:?} was told to a core that does not own it"));
        }
        let mut out = Vec::new();
        let event = data::Event::FromSession { session, message };
        self.cores[core].data.handle(self.now, event, &mut out);
        let service = self.services.iter().position(|known| *known == id);
        let service = service.expect("only known services are spoken of");
        if let Err(what) = self.truth.record(service, self.cores[core].data.datum(&id)) {
            self.break_rule(what);
        }
        self.perform_data(core, out);
    }

    pub(crate) fn core_index(&self, node: usize, core: u16) -> usize {
        node * usize::from(self.size.cores) + usize::from(core)
    }

    pub(crate) fn core_of(&self, member: Member) -> usize {
        let node = usize::try_from(member.node.0 - 1).expect("few nodes");
        self.core_index(node, member.core.0)
    }

    pub(crate) fn delay(&mut self, up_to_ms: u64) -> Instant {
        let up_to = if self.calm { 10 } else { up_to_ms };
        self.now.monotonic + Duration::from_millis(self.random.below(up_to))
    }

    pub(crate) fn turn(&mut self, core: usize) {
        if self.steps.is_down {
            return;
        }
        let mut out = Vec::new();
        self.cores[core].data.handle_timeout(self.now, &mut out);
        self.record_all(core);
        self.perform_data(core, out);
        let mut out = Vec::new();
        self.cores[core].session.handle_timeout(self.now, &mut out);
        self.perform(core, out);
    }

    fn perform(&mut self, core: usize, effects: Vec<session::Effect>) {
        let member = self.cores[core].member;
        let node = self.node_of(core);
        for effect in effects {
            if self.steps.is_down {
                return;
            }
            self.note(format_args!("{member:?} {effect:?}"));
            match effect {
                session::Effect::Answer {
                    connect_id, answer, ..
                } => self.answer(ConnectionKey { node, connect_id }, answer),
                session::Effect::Push {
                    connect_id,
                    request_id,
                } => self.push(core, ConnectionKey { node, connect_id }, request_id),
                session::Effect::Resume(connect_id) => {
                    let key = ConnectionKey { node, connect_id };
                    if let Some(connection) = self.connections.get_mut(&key) {
                        connection.is_parked = false;
                    }
                }
                session::Effect::Close(connect_id) => {
                    self.end(ConnectionKey { node, connect_id }, EndedBy::Us)
                }
                session::Effect::ToCore { core: to, message } => {
                    let message = self.tamper_with_lane(core, message);
                    self.cores[core].lanes[to.index()].outbox.push_back(message);
                }
                session::Effect::Expel(_) => unreachable!("there are no operators"),
                session::Effect::ToData { owner, message } => {
                    self.send_to_data(core, owner, message)
                }
            }
        }
    }

    fn perform_data(&mut self, core: usize, effects: Vec<data::Effect>) {
        let owner = self.cores[core].member;
        for effect in effects {
            if self.steps.is_down {
                return;
            }
            let (session, message) = match effect {
                data::Effect::ToSession { session, message } => (session, message),
                data::Effect::Disk { lane, operation } => {
                    self.ask_disk(core, lane, operation);
                    continue;
                }
                data::Effect::Report(_) => continue,
            };
            self.note(format_args!("{owner:?} to {session:?} {message:?}"));
            let Some(message) = self.tamper_with_answer(session, message) else {
                continue;
            };
            let bytes = bincode::serialize(&message).expect("encodes");
            if session.node == owner.node {
                let message = bincode::deserialize(&bytes).expect("decodes");
                let to = self.core_of(session);
                self.tell_session(to, session::Event::FromData(message));
            } else {
                self.send(owner, session, || Message::ToSession(bytes.clone()));
            }
        }
    }

    fn ask_disk(&mut self, core: usize, lane: journal::Lane, operation: Operation) {
        self.note(format_args!("{core} {lane:?} {operation:?}"));
        let disk = self.cores[core].disk.as_mut().expect("a world with disks");
        let at = self.now.monotonic + disk.delay(&mut self.random);
        let is_early = self.planted == Some(Planted::WriteAnsweredEarly);
        let number = self.steps.next();
        if is_early && lane == journal::Lane::Turn {
            self.answer_early(core, number, operation);
        } else {
            disk.ask(number, at, lane, operation);
        }
        self.steps.pass(number, Moment::HandedOver);
    }

    /// Tells a shard what its disk has done until then.
    pub(crate) fn hear_disk(&mut self, core: usize, until: Instant) {
        let disk = self.cores[core].disk.as_ref();
        for number in disk.map_or_else(Vec::new, |disk| disk.due(until)) {
            if self.steps.pass(number, Moment::Due) {
                return;
            }
            let done = self.cores[core].disk_mut().finish(number);
            self.tell_disk_done(core, done);
            if self.steps.pass(number, Moment::Told) {
                return;
            }
        }
        if let Some(done) = self.cores[core].early.take() {
            self.tell_disk_done(core, done);
        }
        self.notice_trouble(core);
    }

    /// What is shown from here on may not be written.
    pub(crate) fn notice_trouble(&mut self, core: usize) {
        if self.cores[core].data.journal().trouble().is_some() {
            self.cores[core].troubled_at = Some(self.now.monotonic);
        }
    }

    pub(crate) fn tell_disk_done(&mut self, core: usize, done: Done) {
        let mut out = Vec::new();
        let Done {
            lane,
            result,
            buffer,
        } = done;
        let event = data::Event::Disk {
            lane,
            result,
            buffer,
        };
        self.cores[core].data.handle(self.now, event, &mut out);
        self.perform_data(core, out);
    }

    /// What changed without anybody saying so: the end of a grace or of a hold.
    fn record_all(&mut self, core: usize) {
        for service in 0..self.services.len() {
            let id = &self.services[service];
            if self.ring.owner(id) != self.cores[core].member {
                continue;
            }
            let datum = self.cores[core].data.datum(id);
            if let Err(what) = self.truth.record(service, datum) {
                self.break_rule(what);
            }
        }
    }

    fn send_to_data(&mut self, core: usize, owner: Member, message: ToData) {
        let from = self.cores[core].member;
        let Some(message) = self.tamper_with_change(core, owner, message) else {
            return;
        };
        let bytes = bincode::serialize(&message).expect("encodes");
        if owner.node == from.node {
            let message: ToData = bincode::deserialize(&bytes).expect("decodes");
            let to = self.core_of(owner);
            self.tell_data(to, from, message);
        } else {
            self.send(from, owner, || Message::ToData(bytes.clone()));
        }
    }

    /// Puts a message into its stream, which keeps the order of what it does not lose.
    fn send(&mut self, from: Member, to: Member, message: impl Fn() -> Message) {
        if !self.calm && self.random.chance(60) {
            return;
        }
        let copies = if !self.calm && self.random.chance(60) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let at = self.delay(120);
            let stream = self.streams.entry((from, to)).or_default();
            let at = stream.back().map_or(at, |&(last, _)| last.max(at));
            stream.push_back((at, message()));
        }
    }

    fn receive_streams(&mut self, core: usize) {
        let me = self.cores[core].member;
        let senders: Vec<Member> = self.cores.iter().map(|core| core.member).collect();
        for from in senders {
            while let Some(message) = self.take_arrived(from, me) {
                match message {
                    Message::ToData(bytes) => {
                        let message = bincode::deserialize(&bytes).expect("decodes");
                        self.tell_data(core, from, message);
                    }
                    Message::ToSession(bytes) => {
                        let message = bincode::deserialize(&bytes).expect("decodes");
                        self.tell_session(core, session::Event::FromData(message));
                    }
                }
            }
        }
    }

    fn take_arrived(&mut self, from: Member, to: Member) -> Option<Message> {
        let stream = self.streams.get_mut(&(from, to))?;
        let (at, _) = stream.front()?;
        if *at > self.now.monotonic {
            return None;
        }
        stream.pop_front().map(|(_, message)| message)
    }

    fn receive_lanes(&mut self, core: usize) {
        let node = self.node_of(core);
        for from in 0..self.size.cores {
            let sender = self.core_index(node, from);
            let to = self.cores[core].member.core.index();
            let lane = &mut self.cores[sender].lanes[to];
            let Some((_, batch)) = lane.slot.take_if(|(at, _)| *at <= self.now.monotonic) else {
                continue;
            };
            let is_relieved = std::mem::take(&mut lane.is_congested);
            for message in self.tamper_with_batch(batch) {
                let core_id = CoreId(from);
                let event = session::Event::FromCore {
                    core: core_id,
                    message,
                };
                self.tell_session(core, event);
            }
            if is_relieved {
                self.tell_congested(sender, core, false);
            }
        }
    }

    /// Fills free slots; a lane whose slot is taken is congested while something waits for it.
    fn move_lanes(&mut self, core: usize) {
        let node = self.node_of(core);
        for to in 0..self.size.cores {
            let at = self.delay(60);
            let lane = &mut self.cores[core].lanes[usize::from(to)];
            if lane.outbox.is_empty() {
                continue;
            }
            if lane.slot.is_none() {
                let batch = lane.outbox.drain(..).collect();
                lane.slot = Some((at, batch));
            } else if !std::mem::replace(&mut lane.is_congested, true) {
                let receiver = self.core_index(node, to);
                self.tell_congested(core, receiver, true);
            }
        }
    }

    fn tell_congested(&mut self, sender: usize, receiver: usize, full: bool) {
        let core = self.cores[receiver].member.core;
        self.tell_session(sender, session::Event::Congested { core, full });
    }

    pub(crate) fn node_of(&self, core: usize) -> usize {
        core / usize::from(self.size.cores)
    }

    /// Says what happened, for the reader of a story.
    pub(crate) fn narrate(&mut self, what: &str) {
        let at = (self.now.monotonic.0 - 1_000_000_000) / 1_000_000;
        if let Some(story) = &mut self.story {
            story.push(format!("{at:>6} ms  {what}"));
        }
    }

    /// Takes an effect into the digest. `ROLLCALL_SIM_TRACE=<text>` prints those that contain the text.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        if self.is_untraced {
            return;
        }
        let what = what.to_string();
        if self.traced.as_ref().is_some_and(|text| what.contains(text)) {
            println!("{:>6} ms  {what}", self.now.monotonic.0 / 1_000_000);
        }
        for byte in what.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What goes between nodes, encoded.
enum Message {
    ToData(Vec<u8>),
    ToSession(Vec<u8>),
}

/// The service that a message to an owner is about.
pub(crate) fn data_info_id(message: &ToData) -> &DataInfoId {
    match message {
        ToData::Put { data_info_id, .. }
        | ToData::Remove { data_info_id, .. }
        | ToData::Interest { data_info_id, .. }
        | ToData::NoInterest { data_info_id } => data_info_id,
    }
}
