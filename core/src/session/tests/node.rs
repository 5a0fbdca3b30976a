//! A whole node without its sockets: the session and data machines of every core, and lanes that deliver at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::bolt::{self, Decoded, Protocol};
use crate::data::journal::Journal;
use crate::data::{self, Data};
use crate::machine::{Instant, Machine, Now};
use crate::message::{Boxes, ReceivedConfigData, ReceivedData, received_config_data};
use crate::names::{ConnectId, CoreId, DataInfoId, Member, NodeId, RegisterId, Scope};
use crate::ring::HashRing;
use crate::session::answer::{Answer, Kind, ReplyTo};
use crate::session::lane::{Lane, ToSocket};
use crate::session::request::{Declared, Request};
use crate::session::{Effect, EndedBy, Event, Place, Rules, Session};
use crate::stats::Stats;
use crate::tables::Seed;
use crate::version::DatumVersion;

/// The zone of everybody who names no other.
pub(super) const ZONE: &str = "zone-a";

pub(super) struct Node {
    pub(super) now: Now,
    pub(super) sessions: Vec<Session>,
    pub(super) datas: Vec<Data>,
    /// Messages to owners are lost.
    pub(super) owner_is_silent: bool,
    /// What owners would say is lost.
    pub(super) owner_is_mute: bool,
    /// Connections whose window is full.
    pub(super) full: BTreeSet<ConnectId>,
    /// Pushes stay in the node's own queue: nobody says that they are sent.
    pub(super) kernel_is_stuck: bool,
    pub(super) answers: Vec<(ConnectId, Answer)>,
    pub(super) pushes: Vec<Push>,
    pub(super) closed: Vec<ConnectId>,
    pub(super) resumed: Vec<ConnectId>,
    pub(super) to_owners: Vec<crate::exchange::ToData>,
    /// How many bodies went from core to core.
    pub(super) bodies_sent: usize,
    pub(super) lanes: VecDeque<(CoreId, CoreId, Lane)>,
    /// Lanes that deliver nothing for now.
    pub(super) lanes_are_held: bool,
    /// A core that takes nothing from its lanes for now.
    pub(super) silent: Option<CoreId>,
    /// What clients were told.
    pub(super) history: Vec<Push>,
    slots: u32,
}

/// A push as its client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) connect_id: ConnectId,
    pub(super) request_id: u32,
    pub(super) version: i64,
    pub(super) scope: String,
    pub(super) register_ids: Vec<String>,
    /// The texts by zone.
    pub(super) zones: BTreeMap<String, Vec<String>>,
    /// An operator's value.
    pub(super) value: Option<String>,
}

impl Push {
    /// The texts of the usual zone.
    pub(super) fn texts(&self) -> Vec<&str> {
        let texts = self.zones.get(ZONE).into_iter().flatten();
        texts.map(String::as_str).collect()
    }
}

impl Node {
    pub(super) fn new(cores: u16) -> Self {
        Self::with_rules(cores, &Rules::default())
    }

    pub(super) fn with_rules(cores: u16, rules: &Rules) -> Self {
        let node = NodeId(1);
        let member = |core| Member {
            node,
            core: CoreId(core),
        };
        let place = |core| Place {
            me: member(core),
            incarnation: 77,
            cores,
            ring: HashRing::of_node(node, cores),
        };
        Self {
            now: Now {
                monotonic: Instant(1_000_000_000),
                wall_ms: 1_800_000_000_000,
            },
            sessions: (0..cores)
                .map(|core| Session::with_rules(place(core), Seed(1), rules.clone()))
                .collect(),
            datas: (0..cores)
                .map(|_| Data::new(Seed(2), DatumVersion::NOTHING_KNOWN, Journal::off()))
                .collect(),
            owner_is_silent: false,
            owner_is_mute: false,
            full: BTreeSet::new(),
            kernel_is_stuck: false,
            answers: Vec::new(),
            pushes: Vec::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            to_owners: Vec::new(),
            bodies_sent: 0,
            lanes: VecDeque::new(),
            lanes_are_held: false,
            silent: None,
            history: Vec::new(),
            slots: 0,
        }
    }

    pub(super) fn open(&mut self, core: u16) -> ConnectId {
        let slot = self.slots + 1;
        self.open_from(core, &format!("10.0.{}.{}:4000", slot / 250, slot % 250))
    }

    pub(super) fn open_from(&mut self, core: u16, peer: &str) -> ConnectId {
        self.slots += 1;
        let connect_id = ConnectId {
            core: CoreId(core),
            slot: self.slots,
            generation: 0,
        };
        let opened = Event::Opened {
            connect_id,
            stamp: u64::from(self.slots),
            peer: peer.parse().expect("an address"),
            local: SocketAddr::from(([10, 0, 0, 100], 9600)),
        };
        self.tell(core, opened);
        connect_id
    }

    pub(super) fn close(&mut self, connect_id: ConnectId, ended_by: EndedBy) {
        let closed = Event::Closed {
            connect_id,
            ended_by,
        };
        self.tell(connect_id.core.0, closed);
        self.run();
    }

    pub(super) fn publish(&mut self, on: ConnectId, id: &str, version: i64, text: &str) {
        self.publish_in(ZONE, on, id, version, text);
    }

    /// Under the registration id `pub`.
    pub(super) fn publish_in(
        &mut self,
        zone: &str,
        on: ConnectId,
        id: &str,
        version: i64,
        text: &str,
    ) {
        self.publish_as("pub", zone, on, id, version, text);
    }

    pub(super) fn publish_as(
        &mut self,
        register_id: &str,
        zone: &str,
        on: ConnectId,
        id: &str,
        version: i64,
        text: &str,
    ) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let request = Request::Publisher {
            declared: declared(id, register_id, version, zone),
            boxes: Some(Boxes::from_utf16([units.as_slice()])),
        };
        self.ask(on, request);
        self.run();
    }

    pub(super) fn unpublish(&mut self, on: ConnectId, id: &str, version: i64) {
        let request = Request::Publisher {
            declared: declared(id, "pub", version, ZONE),
            boxes: None,
        };
        self.ask(on, request);
        self.run();
    }

    pub(super) fn subscribe(&mut self, on: ConnectId, id: &str, register_id: &str) {
        self.subscribe_in(Scope::DataCenter, ZONE, on, id, register_id);
    }

    pub(super) fn subscribe_in(
        &mut self,
        scope: Scope,
        zone: &str,
        on: ConnectId,
        id: &str,
        register_id: &str,
    ) {
        let request = Request::Subscriber {
            declared: declared(id, register_id, 1, zone),
            scope,
            registers: true,
        };
        self.ask(on, request);
        self.run();
    }

    pub(super) fn unsubscribe(&mut self, on: ConnectId, id: &str, register_id: &str) {
        let request = Request::Subscriber {
            declared: declared(id, register_id, 2, ZONE),
            scope: Scope::DataCenter,
            registers: false,
        };
        self.ask(on, request);
        self.run();
    }

    pub(super) fn configure(&mut self, on: ConnectId, id: &str, register_id: &str) {
        let request = Request::Configurator {
            declared: declared(id, register_id, 0, ZONE),
            registers: true,
        };
        self.ask(on, request);
        self.run();
    }

    pub(super) fn ask(&mut self, on: ConnectId, request: Request) {
        let asked = Event::Asked {
            connect_id: on,
            reply_to: ReplyTo {
                protocol: Protocol::V1,
                codec: 1,
                request_id: 9,
                one_way: false,
            },
            request,
        };
        self.tell(on.core.0, asked);
    }

    pub(super) fn acknowledge(&mut self, push: &Push) {
        self.answer_push(push, true);
    }

    pub(super) fn refuse(&mut self, push: &Push) {
        self.answer_push(push, false);
    }

    fn answer_push(&mut self, push: &Push, delivered: bool) {
        self.answer_without_turns(push, delivered);
        self.run();
    }

    /// The pushes so far, acknowledged; what follows from that is not among them.
    pub(super) fn delivered(&mut self) -> Vec<Push> {
        let pushes = std::mem::take(&mut self.pushes);
        for push in &pushes {
            self.acknowledge(push);
        }
        pushes
    }

    /// Everybody gets what is newest.
    pub(super) fn settle(&mut self) {
        while !self.delivered().is_empty() {}
    }

    /// The pushes so far, not acknowledged.
    pub(super) fn sent(&mut self) -> Vec<Push> {
        std::mem::take(&mut self.pushes)
    }

    pub(super) fn last_answer(&self) -> &Answer {
        let (_, answer) = self.answers.last().expect("an answer");
        answer
    }

    pub(super) fn tell_all(&mut self, event: impl Fn() -> Event) {
        for core in 0..self.core_count() {
            self.tell(core, event());
        }
        self.run();
    }

    pub(super) fn tell(&mut self, core: u16, event: Event) {
        let mut out = Vec::new();
        self.sessions[usize::from(core)].handle(self.now, event, &mut out);
        self.perform(core, out);
    }

    /// Turns until nothing is due.
    pub(super) fn run(&mut self) {
        loop {
            let mut is_quiet = true;
            while !self.lanes_are_held
                && let Some(next) =
                    (self.lanes.iter()).position(|(_, to, _)| Some(*to) != self.silent)
                && let Some((from, to, message)) = self.lanes.remove(next)
            {
                is_quiet = false;
                let message = Event::FromCore {
                    core: from,
                    message,
                };
                self.tell(to.0, message);
            }
            for core in 0..self.core_count() {
                is_quiet &= !self.turn(core);
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Time passes, and whatever is due happens when it is.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(next) = self.next_timeout().filter(|&next| next <= end) {
            self.set_time(next.max(self.now.monotonic));
            self.run();
        }
        self.set_time(end);
        self.run();
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter_map(Session::next_timeout);
        sessions
            .chain(self.datas.iter().filter_map(Data::next_timeout))
            .min()
    }

    pub(super) fn stats(&mut self) -> Stats {
        let mut sum = Stats::default();
        for session in &mut self.sessions {
            sum.add(session.gauge());
        }
        for data in &mut self.datas {
            sum.add(data.gauge());
        }
        sum
    }

    /// The texts that the owner holds.
    pub(super) fn stored(&self, id: &str) -> Vec<String> {
        let id = service(id);
        let owner = self.sessions[0].home(&id);
        let Some(datum) = self.datas[owner.index()].datum(&id) else {
            return Vec::new();
        };
        let publishers = datum.publishers().iter();
        publishers
            .flat_map(|publisher| texts(&publisher.boxes))
            .collect()
    }

    pub(super) fn version(&self, id: &str) -> i64 {
        let id = service(id);
        let owner = self.sessions[0].home(&id);
        let datum = self.datas[owner.index()].datum(&id).expect("a datum");
        datum.version().wire()
    }

    /// A service whose home is this core.
    pub(super) fn service_at(&self, core: u16) -> String {
        let mut names = (0..).map(|number| format!("service-{number}"));
        names
            .find(|name| self.sessions[0].home(&service(name)) == CoreId(core))
            .expect("every core is the home of some")
    }

    fn core_count(&self) -> u16 {
        u16::try_from(self.sessions.len()).expect("few cores")
    }

    fn set_time(&mut self, to: Instant) {
        let passed = to.since(self.now.monotonic);
        self.now.monotonic = to;
        self.now.wall_ms += u64::try_from(passed.as_millis()).expect("a short test");
    }

    fn turn(&mut self, core: u16) -> bool {
        let index = usize::from(core);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now.monotonic);
        let (data_due, session_due) = (
            is_due(self.datas[index].next_timeout()),
            is_due(self.sessions[index].next_timeout()),
        );
        let mut out = Vec::new();
        self.datas[index].handle_timeout(self.now, &mut out);
        self.perform_data(core, out);
        let mut out = Vec::new();
        self.sessions[index].handle_timeout(self.now, &mut out);
        let busy = data_due || session_due || !out.is_empty();
        self.perform(core, out);
        busy
    }

    fn perform(&mut self, core: u16, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer {
                    connect_id, answer, ..
                } => self.answers.push((connect_id, answer)),
                Effect::Push {
                    connect_id,
                    request_id,
                } => self.push(core, connect_id, request_id),
                Effect::Resume(connect_id) => self.resumed.push(connect_id),
                Effect::Close(connect_id) => self.closed.push(connect_id),
                Effect::ToCore { core: to, message } => {
                    if matches!(message, Lane::ToSocket(ToSocket::Body { .. })) {
                        self.bodies_sent += 1;
                    }
                    self.lanes.push_back((CoreId(core), to, message));
                }
                Effect::Expel(clients) => {
                    let mut out = Vec::new();
                    let event = data::Event::Expel(clients);
                    self.datas[usize::from(core)].handle(self.now, event, &mut out);
                    self.perform_data(core, out);
                }
                Effect::ToData { owner, message } => {
                    self.to_owners.push(message.clone());
                    if !self.owner_is_silent {
                        self.tell_data(core, owner, message);
                    }
                }
            }
        }
    }

    pub(super) fn tell_data(&mut self, core: u16, owner: Member, message: crate::exchange::ToData) {
        let session = Member {
            node: owner.node,
            core: CoreId(core),
        };
        let mut out = Vec::new();
        let event = data::Event::FromSession { session, message };
        self.datas[owner.core.index()].handle(self.now, event, &mut out);
        self.perform_data(owner.core.0, out);
    }

    fn perform_data(&mut self, _core: u16, effects: Vec<data::Effect>) {
        for effect in effects {
            let data::Effect::ToSession { session, message } = effect else {
                panic!("without a journal there is nothing else to do: {effect:?}");
            };
            if !self.owner_is_mute {
                self.tell(session.core.0, Event::FromData(message));
            }
        }
    }

    fn push(&mut self, core: u16, connect_id: ConnectId, request_id: u32) {
        let session = &mut self.sessions[usize::from(core)];
        if self.full.contains(&connect_id) {
            session.no_room(connect_id, request_id);
            return;
        }
        let mut bytes = Vec::new();
        let Some(written) = session.write_push(connect_id, request_id, &mut bytes) else {
            return;
        };
        bytes.extend_from_slice(&written.body);
        bytes.extend(written.tail.into_iter().flatten());
        self.pushes.push(read(connect_id, &bytes));
        if !self.kernel_is_stuck {
            let sent = Event::Sent {
                connect_id,
                request_id,
            };
            self.tell(core, sent);
        }
    }
}

fn read(connect_id: ConnectId, bytes: &[u8]) -> Push {
    let Ok(Decoded::Frame { frame, len }) = bolt::decode(bytes) else {
        panic!("a push is not a frame");
    };
    assert_eq!(len, bytes.len());
    let request_id = frame.request_id;
    if frame.class == received_config_data::CLASS.as_bytes() {
        let push = ReceivedConfigData::decode(frame.content).expect("a value");
        return Push {
            connect_id,
            request_id,
            version: push.version.expect("never null"),
            scope: String::new(),
            register_ids: push.configurator_regist_ids,
            zones: BTreeMap::new(),
            value: push.value,
        };
    }
    let push = ReceivedData::decode(frame.content).expect("a push");
    let zones = push.data.iter();
    Push {
        connect_id,
        request_id,
        version: push.version.expect("never null"),
        scope: push.scope.clone(),
        register_ids: push.subscriber_regist_ids.clone(),
        zones: zones
            .map(|(zone, boxes)| (zone.clone(), texts(boxes)))
            .collect(),
        value: None,
    }
}

fn texts(boxes: &Boxes) -> Vec<String> {
    let texts = boxes.texts().flatten();
    texts
        .map(|text| text.to_str().expect("plain text").into_owned())
        .collect()
}

pub(super) fn service(name: &str) -> DataInfoId {
    DataInfoId::new(name, "", "")
}

pub(super) fn declared(id: &str, register_id: &str, version: i64, zone: &str) -> Declared {
    Declared {
        data_info_id: service(id),
        register_id: RegisterId::new(register_id),
        version,
        timestamp: 5,
        zone: zone.into(),
        app: "app".into(),
    }
}

/// The answer to a publisher that was taken.
pub(super) fn taken(register_id: &str, version: i64) -> Answer {
    Answer::registered(Kind::Publisher, RegisterId::new(register_id), version)
}

impl Node {
    /// A publish whose consequences wait for the next turn.
    pub(super) fn publish_without_turns(
        &mut self,
        on: ConnectId,
        id: &str,
        version: i64,
        text: &str,
    ) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let request = Request::Publisher {
            declared: declared(id, "pub", version, ZONE),
            boxes: Some(Boxes::from_utf16([units.as_slice()])),
        };
        self.ask(on, request);
    }

    /// An acknowledgement whose consequences wait for the next turn.
    pub(super) fn answer_without_turns(&mut self, push: &Push, delivered: bool) {
        let acknowledged = Event::Acknowledged {
            connect_id: push.connect_id,
            request_id: push.request_id,
            delivered,
        };
        self.tell(push.connect_id.core.0, acknowledged);
    }

    pub(super) fn one_turn(&mut self, core: u16) {
        self.turn(core);
    }

    /// As `settle`, remembering what every client was told.
    pub(super) fn settle_recording(&mut self) {
        loop {
            let pushes = self.delivered();
            if pushes.is_empty() {
                return;
            }
            self.history.extend(pushes);
        }
    }

    /// The text that this client was told last.
    pub(super) fn held_by(&self, client: ConnectId) -> Option<&str> {
        let mut pushes = self.history.iter().rev();
        let last = pushes.find(|push| push.connect_id == client)?;
        last.texts().first().copied()
    }
}

impl Node {
    /// Another connection in the slot of one that ended.
    pub(super) fn reopen(&mut self, ended: ConnectId) -> ConnectId {
        let connect_id = ConnectId {
            generation: ended.generation + 1,
            ..ended
        };
        let opened = Event::Opened {
            connect_id,
            stamp: 1_000_000,
            peer: SocketAddr::from(([10, 0, 0, 99], 4000)),
            local: SocketAddr::from(([10, 0, 0, 100], 9600)),
        };
        self.tell(ended.core.0, opened);
        connect_id
    }
}
