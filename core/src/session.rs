//! The session role: what clients asked of this core, and what this core has to tell them.
//!
//! One machine plays two parts. For the connections whose sockets this core has, it keeps subscribers and pushes
//! ([`connections`], [`pushes`]); for the services whose home is this core, it keeps registrations, interests and views
//! (`registrations`, `interests`). The two talk in [`lane`] messages, which cross cores at most once each way and are
//! plain calls when socket and home are on one core.

pub mod answer;
mod chain;
pub mod connections;
mod in_flight;
mod index;
mod interests;
pub mod lane;
pub mod pushes;
pub mod refusal;
mod registrations;
pub mod request;
mod roster;

// The machine's two parts.
mod home;
mod operator;
pub mod questions;
mod socket;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::clients::Clients;
use crate::exchange::{ToData, ToSession};
use crate::limits;
use crate::machine::{Instant, Machine, Now};
use crate::meta::{MetaCommand, MetaState};
use crate::names::{
    ConnectId, CoreId, DEFAULT_DATA_CENTER, DataInfoId, Member, Name, RegisterId, Scope,
};
use crate::query::Order;
use crate::ring::HashRing;
use crate::stats::Stats;
use crate::tables::Seed;
use crate::version::DatumVersion;

use answer::{Answer, Kind, ReplyTo};
use connections::Connections;
use interests::Interests;
use lane::{Asked, Lane, Slice, ToHome};
use pushes::{Pushes, Seat, Written};
use registrations::{LOOKED_AT, Registrations};
use request::Request;

pub use refusal::{Refusal, Refused};

/// Whose doing the end of a connection is: decides what becomes of its publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client closed it: they go now.
    Peer,
    /// The client was silent too long: they go now.
    Silence,
    /// An operator took the client off: they go now.
    Operator,
    /// We did (drain, limit, slow reader, bad input): they await their client for a grace.
    Us,
}

/// What can happen to a session core.
#[derive(Debug)]
pub enum Event {
    /// A connection was accepted.
    Opened {
        /// Its identity.
        connect_id: ConnectId,
        /// When, on the clock that orders registrations.
        stamp: u64,
        /// The client's end.
        peer: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// A client asks something.
    Asked {
        /// Which client.
        connect_id: ConnectId,
        /// How to answer.
        reply_to: ReplyTo,
        /// What it asks.
        request: Request,
    },
    /// A client answered a push.
    Acknowledged {
        /// Which client.
        connect_id: ConnectId,
        /// Which push.
        request_id: u32,
        /// False if the client could not handle it.
        delivered: bool,
    },
    /// The last byte of a push went to the kernel.
    Sent {
        /// To which client.
        connect_id: ConnectId,
        /// Which push.
        request_id: u32,
    },
    /// A connection that had no room for a push has room again.
    Writable(ConnectId),
    /// A connection ended.
    Closed {
        /// Which.
        connect_id: ConnectId,
        /// Whose doing.
        ended_by: EndedBy,
    },
    /// Another core of this node says something.
    FromCore {
        /// Which.
        core: CoreId,
        /// What.
        message: Lane,
    },
    /// An owner shard says something.
    FromData(ToSession),
    /// The lane to this core is full, or has room again.
    Congested {
        /// Which.
        core: CoreId,
        /// Whether it is full.
        full: bool,
    },
    /// The operators' data changes.
    Meta(MetaCommand),
    /// An operator wants something done once.
    Order(Order),
    /// The node is stopping: what clients lose from here on is not removed.
    Draining,
}

/// What a session core may do.
#[derive(Debug)]
pub enum Effect {
    /// Answer a request.
    Answer {
        /// Of which connection.
        connect_id: ConnectId,
        /// How.
        reply_to: ReplyTo,
        /// What.
        answer: Answer,
    },
    /// Write a push: `Session::write_push` appends its bytes.
    Push {
        /// To which connection.
        connect_id: ConnectId,
        /// Which.
        request_id: u32,
    },
    /// Offer this connection's waiting request again: there is credit now.
    Resume(ConnectId),
    /// Close this connection, on an operator's word.
    Close(ConnectId),
    /// Say something to another core of this node.
    ToCore {
        /// To which.
        core: CoreId,
        /// What.
        message: Lane,
    },
    /// What these clients published before a restart is not to be awaited by this core's shard.
    Expel(Clients),
    /// Say something to an owner shard.
    ToData {
        /// To which.
        owner: Member,
        /// What.
        message: ToData,
    },
}

/// Who a session core is and who else there is.
#[derive(Clone, Debug)]
pub struct Place {
    /// This core.
    pub me: Member,
    /// The random number that this process drew at its start.
    pub incarnation: u64,
    /// Data cores of this node.
    pub cores: u16,
    /// Who owns what.
    pub ring: HashRing,
}

/// What an operator may set about sessions.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long the publishers of a connection that we ended await their client.
    pub grace: Duration,
    /// Shortest time between two change pushes of one service.
    pub push_floor: Duration,
    /// Bytes of published strings that one core keeps.
    pub published_bytes_max: usize,
    /// The data center that pushes name.
    pub data_center: Name,
    /// Most bytes that the list of one service may come to in a push.
    pub list_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            grace: limits::GRACE,
            push_floor: Duration::ZERO,
            published_bytes_max: limits::PUBLISHED_BYTES_PER_CORE_MAX,
            data_center: Name::from(DEFAULT_DATA_CENTER),
            list_bytes_max: limits::LIST_BYTES,
        }
    }
}

/// The session role of one core.
#[derive(Debug)]
pub struct Session {
    place: Place,
    rules: Rules,
    homes: HashRing,
    connections: Connections,
    pushes: Pushes,
    registrations: Registrations,
    interests: Interests,
    meta: MetaState,
    /// Requests that may still be sent to each home core before it must answer some.
    credits: Vec<u32>,
    /// Connections whose next request waits for credit, by home core.
    parked: Vec<VecDeque<ConnectId>>,
    /// Credit of watches handled in this turn, by socket core.
    credit_owed: Vec<u32>,
    compare_at: Option<Instant>,
    /// The highest version of an empty list that was shown to a client which may not subscribe.
    emptied: DatumVersion,
    /// Addresses that may subscribe again: their clients may hold such a list.
    let_back: BTreeSet<IpAddr>,
    draining: bool,
    stats: Stats,
    /// Reused by every event: what its parts ask of the table of contents.
    push_needs: Vec<pushes::Need>,
    registration_needs: Vec<registrations::Need>,
    interest_needs: Vec<interests::Need>,
}

impl Session {
    /// An empty core with the default rules.
    pub fn new(place: Place, seed: Seed) -> Self {
        Self::with_rules(place, seed, Rules::default())
    }

    /// An empty core.
    pub fn with_rules(place: Place, seed: Seed, rules: Rules) -> Self {
        let cores = usize::from(place.cores);
        Self {
            homes: HashRing::of_node(place.me.node, place.cores),
            connections: Connections::default(),
            pushes: Pushes::new(seed, Name::clone(&rules.data_center)),
            registrations: Registrations::new(seed, &rules),
            interests: Interests::new(seed, rules.push_floor),
            meta: MetaState::default(),
            credits: vec![limits::CREDITS_PER_CORE; cores],
            parked: vec![VecDeque::new(); cores],
            credit_owed: vec![0; cores],
            compare_at: None,
            emptied: DatumVersion::NOTHING_KNOWN,
            let_back: BTreeSet::new(),
            draining: false,
            stats: Stats::default(),
            push_needs: Vec::new(),
            registration_needs: Vec::new(),
            interest_needs: Vec::new(),
            place,
            rules,
        }
    }

    /// The core of this node that keeps everything about a service.
    pub fn home(&self, data_info_id: &DataInfoId) -> CoreId {
        self.homes.owner(data_info_id).core
    }

    /// Looks at what it takes to handle these events, and changes nothing. A registration replaces one that nobody has looked at for long:
    /// looked at one after another, the memory would be waited for each time; looked at together, it fetches them all at once.
    pub fn look_ahead(&self, events: &[Event]) {
        for events in events.chunks(LOOKED_AT) {
            let mut publishes = [None; LOOKED_AT];
            for (publish, event) in publishes.iter_mut().zip(events) {
                *publish = published(event);
            }
            self.registrations.look_at(publishes);
        }
    }

    /// The client's end of a connection.
    pub fn peer(&self, connect_id: ConnectId) -> Option<SocketAddr> {
        let place = self.connections.place(connect_id)?;
        Some(self.connections.peek(place).peer)
    }

    /// Whether a request of this connection for this home core may be handled. If not, the connection is parked: its
    /// request must stay where it is until `Effect::Resume`.
    pub fn admit(&mut self, connect_id: ConnectId, data_info_id: &DataInfoId) -> bool {
        if self.has_credit(data_info_id, 0) {
            return true;
        }
        let home = self.home(data_info_id);
        let (parked, connections) = (&mut self.parked[home.index()], &self.connections);
        if parked.len() > limits::PARKED_GONE_MAX + connections.len() {
            // Each connection waits once; the others have ended.
            parked.retain(|&parked| connections.place(parked).is_some());
        }
        parked.push_back(connect_id);
        self.stats.mesh_waits += 1;
        false
    }

    /// Whether the home core of this service takes a request behind so many others.
    pub fn has_credit(&self, data_info_id: &DataInfoId, ahead: usize) -> bool {
        // Nearly always all cores take so many, whichever is the home.
        if self.credits.iter().all(|&credits| credits as usize > ahead) {
            return true;
        }
        let home = self.home(data_info_id);
        home == self.place.me.core || self.credits[home.index()] as usize > ahead
    }

    /// Appends the own bytes of a push and says what has to be sent after them. Nothing if it went meanwhile, or if its list is longer than a
    /// frame can be: its subscribers then wait for the next version.
    pub fn write_push(
        &mut self,
        connect_id: ConnectId,
        request_id: u32,
        out: &mut Vec<u8>,
    ) -> Option<Written> {
        let connection = self.connections.place(connect_id)?;
        let protocol = self.connections.at(connection).speaks?.protocol;
        match self.pushes.write(connection, protocol, request_id, out) {
            Ok(written) => written,
            Err(_) => {
                self.stats.pushes_too_long += 1;
                self.pushes
                    .take_back(&mut self.connections, connection, request_id);
                None
            }
        }
    }

    /// The connection has no room for this push: it stays due until `Event::Writable`.
    pub fn no_room(&mut self, connect_id: ConnectId, request_id: u32) {
        if let Some(connection) = self.connections.place(connect_id) {
            self.pushes
                .on_no_room(&mut self.connections, connection, request_id);
        }
    }

    fn on_asked(&mut self, now: Now, asked: Asked, request: Request, out: &mut Vec<Effect>) {
        let Some(connection) = self.connections.place(asked.connect_id) else {
            return;
        };
        self.connections.at(connection).speaks = Some(asked.reply_to);
        match request {
            Request::Publisher {
                declared,
                boxes: Some(boxes),
            } => self.on_publish(now, connection, asked, declared, boxes, out),
            Request::Publisher {
                declared,
                boxes: None,
            } => self.on_unpublish(now, connection, asked, declared, out),
            Request::Subscriber {
                declared,
                scope,
                registers,
            } => {
                let slice = match scope {
                    Scope::Zone => Slice::Zone(Name::clone(&declared.zone)),
                    Scope::DataCenter | Scope::Global => Slice::All,
                };
                let seat = Seat::new(connection, &declared, slice, scope);
                self.on_subscription(now, asked, Kind::Subscriber, seat, declared, registers, out);
            }
            Request::Configurator {
                declared,
                registers,
            } => {
                let seat = Seat::new(connection, &declared, Slice::Config, Scope::DataCenter);
                self.on_subscription(
                    now,
                    asked,
                    Kind::Configurator,
                    seat,
                    declared,
                    registers,
                    out,
                );
            }
            Request::SyncConfig => {
                let segment = Name::clone(&self.rules.data_center);
                answer(asked, Answer::SyncConfig { segment }, out);
            }
            Request::CancelAddresses(addresses) => self.on_cancel(now, asked, &addresses, out),
            Request::Refused(refused) => self.refuse(asked, refused, out),
        }
    }

    fn on_lane(&mut self, now: Now, core: CoreId, message: Lane, out: &mut Vec<Effect>) {
        match message {
            Lane::ToHome(message) => self.on_home(now, core, message, out),
            Lane::ToSocket(message) => self.on_socket(now, core, message, out),
        }
    }

    fn refuse(&mut self, asked: Asked, refused: Box<Refused>, out: &mut Vec<Effect>) {
        self.stats.responses_refused += 1;
        refused.refusal.count(&mut self.stats);
        answer(asked, Answer::Refused(refused), out);
    }
}

impl Machine for Session {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Opened {
                connect_id,
                stamp,
                peer,
                local,
            } => {
                self.stats.connections_opened += 1;
                self.connections
                    .open(now.wall_ms, connect_id, stamp, peer, local);
            }
            Event::Asked {
                connect_id,
                reply_to,
                request,
            } => self.on_asked(
                now,
                Asked {
                    connect_id,
                    reply_to,
                },
                request,
                out,
            ),
            Event::Acknowledged {
                connect_id,
                request_id,
                delivered,
            } => self.on_acknowledged(now, connect_id, request_id, delivered),
            Event::Sent {
                connect_id,
                request_id,
            } => self.on_sent(now, connect_id, request_id),
            Event::Writable(connect_id) => self.on_writable(connect_id),
            Event::Closed {
                connect_id,
                ended_by,
            } => self.on_closed(now, connect_id, ended_by, out),
            Event::FromCore { core, message } => self.on_lane(now, core, message, out),
            Event::FromData(message) => self.on_data(now, message, out),
            Event::Congested { core, full: true } => self.interests.on_congested(core),
            Event::Congested { core, full: false } => self.interests.on_uncongested(core),
            Event::Meta(command) => self.on_meta(now, command, out),
            Event::Order(order) => self.on_order(now, order, out),
            Event::Draining => {
                self.draining = true;
                self.registrations.drain();
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let parts = [
            self.pushes.next_timeout(),
            self.registrations.next_timeout(),
            self.interests.next_timeout(),
            self.compare_at,
            self.can_resume().then(Instant::default),
            self.owes_credit().then(Instant::default),
        ];
        parts.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.compare_with_remote_owners(now);
        self.registrations
            .handle_timeout(now, &mut self.registration_needs);
        self.perform_registration_needs(now, out);
        self.interests
            .handle_timeout(now, &mut self.stats, &mut self.interest_needs);
        self.perform_interest_needs(now, out);
        self.pushes.handle_timeout(
            now,
            &mut self.connections,
            &mut self.stats,
            &mut self.push_needs,
        );
        self.perform_push_needs(now, out);
        self.return_credit(out);
        self.resume_parked(out);
    }
}

/// What this event registers, if it does.
fn published(event: &Event) -> Option<(&DataInfoId, &RegisterId)> {
    match event {
        Event::Asked {
            request: Request::Publisher { declared, .. },
            ..
        } => Some((&declared.data_info_id, &declared.register_id)),
        Event::FromCore {
            message:
                Lane::ToHome(ToHome::Register {
                    data_info_id,
                    publisher,
                    ..
                }),
            ..
        } => Some((data_info_id, &publisher.register_id)),
        _ => None,
    }
}

fn answer(asked: Asked, answer: Answer, out: &mut Vec<Effect>) {
    out.push(Effect::Answer {
        connect_id: asked.connect_id,
        reply_to: asked.reply_to,
        answer,
    });
}

#[cfg(test)]
mod tests;
