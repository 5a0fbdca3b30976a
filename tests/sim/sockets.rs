//! Sockets from both ends: requests and acknowledgements on their way in, answers and pushes on their way out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rollcall_core::bolt::{self, Decoded, Protocol};
use rollcall_core::machine::Instant;
use rollcall_core::message::ReceivedData;
use rollcall_core::session::answer::{Answer, ReplyTo};
use rollcall_core::session::request::Request;
use rollcall_core::session::{self, EndedBy, Refusal};

use crate::client::Zones;
use crate::invariants;
use crate::world::{ConnectionKey, World};

/// A socket, from both ends.
pub(crate) struct Connection {
    pub(crate) client: usize,
    /// How many connections were made before it, and itself.
    pub(crate) number: u64,
    /// The client still reads and writes here.
    pub(crate) is_used: bool,
    /// By whose doing the server's end is over, and since when.
    pub(crate) ended: Option<(EndedBy, Instant)>,
    pub(crate) closes_at: Option<(Instant, EndedBy)>,
    to_server: VecDeque<(Instant, session::Event)>,
    to_client: VecDeque<(Instant, ToClient)>,
    pub(crate) is_parked: bool,
    full_until: Option<Instant>,
    /// What was pushed last to each subscriber.
    pub(crate) pushed: BTreeMap<String, i64>,
    /// The registration ids that the server was told here.
    pub(crate) asked: Vec<String>,
    /// The pushes that were sent here, in their order.
    pub(crate) sent: Vec<u32>,
}

enum ToClient {
    Answer(String, i64),
    Push(Push),
}

/// A push as its client reads it.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) request_id: u32,
    pub(crate) version: i64,
    pub(crate) service: usize,
    pub(crate) scope: String,
    pub(crate) zone: String,
    pub(crate) register_ids: Vec<String>,
    pub(crate) zones: Zones,
}

impl Connection {
    pub(crate) fn of(client: usize, number: u64) -> Self {
        Self {
            client,
            number,
            is_used: true,
            ended: None,
            closes_at: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            is_parked: false,
            full_until: None,
            pushed: BTreeMap::new(),
            asked: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// The server is gone, and all that was on its way with it.
    pub(crate) fn on_crash(&mut self, now: Instant, ended_by: EndedBy) {
        self.is_used = false;
        self.to_server.clear();
        self.to_client.clear();
        self.is_parked = false;
        self.full_until = None;
        self.ended = Some((ended_by, now));
    }

    fn say(&mut self, at: Instant, event: session::Event) {
        let at = self.to_server.back().map_or(at, |&(last, _)| last.max(at));
        self.to_server.push_back((at, event));
    }

    fn tell(&mut self, at: Instant, message: ToClient) {
        let at = self.to_client.back().map_or(at, |&(last, _)| last.max(at));
        self.to_client.push_back((at, message));
    }
}

impl World {
    pub(crate) fn send_requests(&mut self) {
        for client in 0..self.clients.len() {
            let Some(key) = self.clients[client].connection else {
                continue;
            };
            let requests = self.clients[client].requests(self.now.monotonic, &self.services);
            for request in requests {
                let at = self.delay(250);
                let Some(connection) = self.connections.get_mut(&key) else {
                    continue;
                };
                connection.asked.push(register_id(&request));
                let reply_to = ReplyTo {
                    protocol: Protocol::V1,
                    codec: 1,
                    request_id: 1,
                    one_way: false,
                };
                let asked = session::Event::Asked {
                    connect_id: key.connect_id,
                    reply_to,
                    request,
                };
                connection.say(at, asked);
            }
        }
    }

    /// What arrived at a core's sockets; a request that finds no credit waits, and everything behind it.
    pub(crate) fn receive_sockets(&mut self, core: usize) {
        let (node, core_id) = (self.node_of(core), self.cores[core].member.core);
        let keys: Vec<ConnectionKey> = self
            .connections
            .iter()
            .filter(|(key, connection)| {
                let is_here = key.node == node && key.connect_id.core == core_id;
                is_here && (connection.ended.is_none() || !connection.to_server.is_empty())
            })
            .map(|(&key, _)| key)
            .collect();
        for key in keys {
            self.receive_socket(core, key);
        }
    }

    /// Completions that come after the end: the machine must tell them from those of the next connection in the slot.
    pub(crate) fn repeat_close(&mut self, key: ConnectionKey, ended_by: EndedBy) {
        let at = self.delay(600);
        let connect_id = key.connect_id;
        let closed = session::Event::Closed {
            connect_id,
            ended_by,
        };
        if let Some(connection) = self.connections.get_mut(&key) {
            connection
                .to_server
                .retain(|(_, event)| !matches!(event, session::Event::Asked { .. }));
            connection.is_parked = false;
            connection.full_until = None;
            connection.say(at, closed);
        }
    }

    fn receive_socket(&mut self, core: usize, key: ConnectionKey) {
        let now = self.now.monotonic;
        loop {
            let Some(connection) = self.connections.get_mut(&key) else {
                return;
            };
            if connection.full_until.is_some_and(|until| until <= now) {
                connection.full_until = None;
                self.tell_session(core, session::Event::Writable(key.connect_id));
                continue;
            }
            let is_there = connection
                .to_server
                .front()
                .is_some_and(|(at, _)| *at <= now);
            if !is_there || connection.is_parked {
                break;
            }
            if let Some((_, session::Event::Asked { request, .. })) = connection.to_server.front()
                && let Some(id) = request.data_info_id()
                && !self.cores[core].session.admit(key.connect_id, id)
            {
                connection.is_parked = true;
                break;
            }
            let Some((_, event)) = connection.to_server.pop_front() else {
                return;
            };
            self.tell_session(core, event);
        }
        let connection = self.connections.get(&key);
        let open = connection.filter(|connection| connection.ended.is_none());
        let closes_at = open.and_then(|connection| connection.closes_at);
        if let Some((_, ended_by)) = closes_at.filter(|&(at, _)| at <= now) {
            self.end(key, ended_by);
        }
    }

    pub(crate) fn answer(&mut self, key: ConnectionKey, answer: Answer) {
        if let Answer::Refused(refused) = &answer
            && matches!(refused.refusal, Refusal::Superseded { .. })
        {
            // Its client asks again.
            return;
        }
        let Answer::Registered {
            register_id,
            version,
            ..
        } = answer
        else {
            self.break_rule(format!("{answer:?} is no answer to what is asked here"));
            return;
        };
        let at = self.delay(80);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let register_id = register_id.to_string();
        if connection.ended.is_some() {
            return;
        }
        if !connection.asked.contains(&register_id) {
            self.break_rule(format!("{key:?} is answered what it never asked"));
            return;
        }
        let client = connection.client;
        let what = format!("c{client} answered {register_id} version {version}");
        connection.tell(at, ToClient::Answer(register_id, version));
        self.narrate(&what);
    }

    pub(crate) fn push(&mut self, core: usize, key: ConnectionKey, request_id: u32) {
        let is_full = !self.calm && self.random.chance(80);
        let until = self.delay(800);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.ended.is_some() {
            return;
        }
        if connection.full_until.is_some() || is_full {
            connection.full_until.get_or_insert(until);
            self.cores[core].session.no_room(key.connect_id, request_id);
            return;
        }
        let mut bytes = Vec::new();
        let session = &mut self.cores[core].session;
        let Some(written) = session.write_push(key.connect_id, request_id, &mut bytes) else {
            return;
        };
        bytes.extend_from_slice(&written.body);
        bytes.extend(written.tail.into_iter().flatten());
        let push = self.read(&bytes);
        self.note(format_args!("{key:?} {push:?}"));
        let key = self.tamper_with_target(key);
        if let Err(what) = invariants::check_push(self, key, &push) {
            self.break_rule(what);
        }
        self.narrate_push(key, &push);
        let (sent_at, arrives_at) = (self.delay(40), self.delay(100));
        let connection = self.connections.get_mut(&key).expect("it was there");
        connection.sent.push(request_id);
        let connect_id = key.connect_id;
        connection.say(
            sent_at,
            session::Event::Sent {
                connect_id,
                request_id,
            },
        );
        connection.tell(arrives_at, ToClient::Push(push));
    }

    fn narrate_push(&mut self, key: ConnectionKey, push: &Push) {
        let Some(connection) = self.connections.get(&key).filter(|_| self.story.is_some()) else {
            return;
        };
        let client = connection.client;
        let version = self.truth.ordinal(push.service, push.version);
        let (to, scope, zones) = (push.register_ids.join(" "), &push.scope, &push.zones);
        self.narrate(&format!(
            "c{client} pushed to {to}, {scope}, version #{version}: {zones:?}"
        ));
    }

    fn read(&self, bytes: &[u8]) -> Push {
        let Ok(Decoded::Frame { frame, .. }) = bolt::decode(bytes) else {
            panic!("seed={}: a push is not a frame", self.seed);
        };
        let push = ReceivedData::decode(frame.content).expect("a push");
        let service = self
            .services
            .iter()
            .position(|id| id.data_id() == push.data_id);
        let zones = push.data.iter().map(|(zone, boxes)| {
            let texts = boxes.texts().flatten();
            let texts = texts.map(|text| text.to_str().expect("plain").into_owned());
            (zone.clone(), texts.collect())
        });
        Push {
            request_id: frame.request_id,
            version: push.version.expect("never null"),
            service: service.expect("a known service"),
            zones: zones.collect(),
            scope: push.scope,
            zone: push.local_zone,
            register_ids: push.subscriber_regist_ids,
        }
    }

    /// Whatever is on its way to clients arrives.
    pub(crate) fn deliver_all(&mut self) {
        let now = self.now.monotonic;
        let connections = self.connections.values_mut();
        for (at, _) in connections.flat_map(|connection| &mut connection.to_client) {
            *at = now;
        }
        self.receive_at_clients();
    }

    pub(crate) fn receive_at_clients(&mut self) {
        let now = self.now.monotonic;
        let keys: Vec<ConnectionKey> = self.connections.keys().copied().collect();
        for key in keys {
            while let Some(connection) = self.connections.get_mut(&key)
                && connection.is_used
                && connection
                    .to_client
                    .front()
                    .is_some_and(|(at, _)| *at <= now)
                && let Some((_, message)) = connection.to_client.pop_front()
            {
                let client = connection.client;
                match message {
                    ToClient::Answer(register_id, version) => {
                        self.truth
                            .answered(&self.clients[client], &register_id, version);
                        self.clients[client].on_answer(key, &register_id, version);
                    }
                    ToClient::Push(push) => self.take_push(key, client, push),
                }
            }
        }
        self.connections.retain(|_, connection| {
            connection.is_used
                || connection
                    .ended
                    .is_none_or(|(_, at)| now.since(at) < Duration::from_secs(20))
        });
    }

    /// A client handles a push, or fails and says so, or fails and says nothing.
    fn take_push(&mut self, key: ConnectionKey, client: usize, push: Push) {
        let fate = if self.calm {
            999
        } else {
            self.random.below(1000)
        };
        if fate < 80 {
            return;
        }
        let delivered = fate >= 160;
        if delivered {
            self.clients[client].on_push(&push.register_ids, push.version, &push.zones);
        }
        let at = self.delay(300);
        let request_id = self.tamper_with_acknowledgement(key, push.request_id);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.say(
            at,
            session::Event::Acknowledged {
                connect_id: key.connect_id,
                request_id,
                delivered,
            },
        );
    }
}

fn register_id(request: &Request) -> String {
    match request {
        Request::Publisher { declared, .. }
        | Request::Subscriber { declared, .. }
        | Request::Configurator { declared, .. } => declared.register_id.to_string(),
        _ => String::new(),
    }
}
