//! What the clients of this node publish, kept at the home core of each service: the node's word towards the owner shards.
//!
//! A registration is known here before its owner has it, is sent again until the owner says so, and leaves when its client
//! takes it back or its connection ends. A close removes only what that very connection still holds: a reconnect usually
//! arrives before the close of the connection it replaces.

mod ledger;
mod service;
mod unconfirmed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clients::Clients;
use crate::exchange::{Removal, ToData, Token};
use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{ConnectId, DataInfoId, RegisterId};
use crate::publisher::{Holder, Order, Publisher};
use crate::stats::Stats;
use crate::tables::Seed;

pub(super) use self::ledger::LOOKED_AT;
use self::ledger::{Ledger, Withdrawn};
use self::service::Service;
use self::unconfirmed::{Change, Changes};
use super::lane::{Asked, Denied, Tally};
use super::refusal::Refusal;
use super::{EndedBy, Rules};

/// A client that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asked: Asked,
    pub(super) register_id: RegisterId,
    pub(super) version: i64,
    pub(super) tally: Tally,
}

impl Waiting {
    fn taken(self) -> Need {
        let outcome = Ok(self.tally);
        Need::Answer {
            waiting: self,
            outcome,
        }
    }

    fn refused(self, data_info_id: DataInfoId, refusal: Refusal) -> Need {
        let denied = Denied {
            data_info_id,
            refusal,
        };
        Need::Answer {
            waiting: self,
            outcome: Err(Box::new(denied)),
        }
    }
}

/// What the table of contents has to do for the registrations.
#[derive(Debug)]
pub(super) enum Need {
    Answer {
        waiting: Waiting,
        outcome: Result<Tally, Box<Denied>>,
    },
    Tell(ToData),
}

/// The registrations of the services whose home is this core.
#[derive(Debug)]
pub(super) struct Registrations {
    ledger: Ledger,
    changes: Changes,
    /// Connections that we ended, and until when their publishers await their client.
    graces: VecDeque<(Instant, ConnectId)>,
    /// The node is stopping: its clients are on their way to others, nothing of theirs is removed.
    draining: bool,
    /// How long the publishers of a connection that we ended await their client.
    grace: Duration,
}

impl Registrations {
    pub(super) fn new(seed: Seed, rules: &Rules) -> Self {
        Self {
            ledger: Ledger::new(seed, rules.published_bytes_max, rules.list_bytes_max),
            changes: Changes::default(),
            graces: VecDeque::new(),
            draining: false,
            grace: rules.grace,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ledger.count()
    }

    /// Bytes of published strings.
    pub(super) fn bytes(&self) -> usize {
        self.ledger.bytes()
    }

    /// The places for publishers of this service from this one on, each with who is there.
    pub(super) fn of_service_from(
        &self,
        data_info_id: &DataInfoId,
        place: u64,
    ) -> impl Iterator<Item = (u64, Option<&Arc<Publisher>>)> {
        let service = self.ledger.service(data_info_id).into_iter();
        service.flat_map(move |service| service.places_from(place))
    }

    /// How many publishers this service has here.
    pub(super) fn count_of(&self, data_info_id: &DataInfoId) -> usize {
        self.ledger.service(data_info_id).map_or(0, Service::len)
    }

    /// The services that have registrations here in the order of the ring, from this one on.
    pub(super) fn services_from(
        &self,
        first: Option<&DataInfoId>,
    ) -> impl Iterator<Item = &DataInfoId> {
        self.ledger.services_from(first)
    }

    /// Publishers whose connections we ended, and which await their clients.
    pub(super) fn in_grace(&self) -> usize {
        let ended = self.graces.iter();
        ended
            .map(|&(_, connect_id)| self.ledger.count_declared(connect_id))
            .sum()
    }

    /// Has the memory fetch what [`Self::register`] will need.
    pub(super) fn look_at(&self, publishes: [Option<(&DataInfoId, &RegisterId)>; LOOKED_AT]) {
        self.ledger.look_at(publishes);
    }

    /// A client publishes.
    pub(super) fn register(
        &mut self,
        mut waiting: Waiting,
        mut data_info_id: DataInfoId,
        publisher: Arc<Publisher>,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        let token = self.changes.next_token();
        let (stands, tally) = match self.ledger.declare(&mut data_info_id, &publisher, token) {
            Ok(declared) => declared,
            Err(refusal) => return needs.push(waiting.refused(data_info_id, refusal)),
        };
        waiting.tally = tally;
        if !stands {
            stats.registrations_stale += 1;
            needs.push(waiting.taken());
            return;
        }
        let register_id = publisher.register_id.clone();
        self.changes.await_done(
            token,
            &data_info_id,
            register_id,
            Change::Put,
            Some(waiting),
        );
        needs.push(Need::Tell(ToData::Put {
            data_info_id,
            publisher,
            token,
        }));
    }

    /// A client takes a publisher back, whoever holds it, if its word is the newest.
    pub(super) fn unregister(
        &mut self,
        mut waiting: Waiting,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        holder: Holder,
        order: Order,
        needs: &mut Vec<Need>,
    ) {
        let connect_id = holder.connect_id;
        let declared = self.ledger.count_declared(connect_id);
        let standing = self.ledger.find(&data_info_id, &register_id);
        let is_newest = standing.is_none_or(|standing| {
            let publisher = &standing.publisher;
            publisher.holder == holder || publisher.order.on_session() <= order.on_session()
        });
        match is_newest {
            true => self.ledger.strike_out(&data_info_id, &register_id),
            // A newer connection's stands; that of this one goes.
            false => {
                self.ledger
                    .withdraw(connect_id, &data_info_id, &register_id);
                self.ledger
                    .forget_declared(connect_id, &data_info_id, &register_id);
            }
        }
        if self.ledger.count_declared(connect_id) < declared {
            waiting.tally = Tally::Removed;
        }
        if !is_newest {
            needs.push(waiting.taken());
            return;
        }
        let removal = Removal {
            holder,
            order,
            may_return: false,
            successor: None,
        };
        self.tell_removed(data_info_id, register_id, removal, Some(waiting), needs);
    }

    /// The owner has it; if it says so, something that was removed forbids to show it.
    pub(super) fn on_done(&mut self, token: Token, refused: Option<Order>, needs: &mut Vec<Need>) {
        let Some(change) = self.changes.take(token) else {
            return;
        };
        let Some(removed) = refused else {
            needs.extend(change.waiting.map(Waiting::taken));
            return;
        };
        let (data_info_id, register_id) = (change.data_info_id, change.register_id);
        let stands = self.ledger.note_refused(&data_info_id, &register_id, token);
        match change.waiting {
            Some(waiting) => {
                let refusal = Refusal::Superseded { by: removed };
                needs.push(waiting.refused(data_info_id, refusal));
            }
            None if stands => self.tell_again(data_info_id, register_id, removed, needs),
            None => {}
        }
    }

    /// Nobody waits for the answer, so nobody will ask again: what stands is told as declared after the removal that forbids it.
    fn tell_again(
        &mut self,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        removed: Order,
        needs: &mut Vec<Need>,
    ) {
        let token = self.changes.next_token();
        let raised = self
            .ledger
            .raise_above(&data_info_id, &register_id, removed, token);
        if let Some(publisher) = raised {
            self.changes
                .await_done(token, &data_info_id, register_id, Change::Put, None);
            needs.push(Need::Tell(ToData::Put {
                data_info_id,
                publisher,
                token,
            }));
        }
    }

    /// A connection ended. What it still holds goes now, or after a grace if the end was our doing.
    pub(super) fn on_closed(
        &mut self,
        now: Instant,
        connect_id: ConnectId,
        ended_by: EndedBy,
        needs: &mut Vec<Need>,
    ) {
        match ended_by {
            EndedBy::Operator => self.remove_all_of(connect_id, false, needs),
            _ if self.draining => {}
            EndedBy::Peer | EndedBy::Silence => self.remove_all_of(connect_id, true, needs),
            EndedBy::Us if self.ledger.count_declared(connect_id) == 0 => {}
            // All it declared stays: which of a client's connections is the later cannot be told for certain.
            // Bounded by the publishers that are kept: only who has some is awaited.
            EndedBy::Us => self.graces.push_back((now + self.grace, connect_id)),
        }
    }

    /// What these clients published on connections that we ended goes: they are not awaited any more.
    pub(super) fn expel(&mut self, clients: &Clients, needs: &mut Vec<Need>) {
        let ended = self.graces.iter().map(|&(_, connect_id)| connect_id);
        let is_meant = |&connect_id: &ConnectId| {
            let address = self.ledger.address(connect_id);
            address.is_some_and(|address| clients.have(address))
        };
        for connect_id in ended.filter(is_meant).collect::<Vec<_>>() {
            self.remove_all_of(connect_id, false, needs);
        }
    }

    /// The node stops.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.graces.clear();
    }

    /// Everything that this connection declared goes: all it holds, and its claims on what others hold.
    fn remove_all_of(&mut self, connect_id: ConnectId, may_return: bool, needs: &mut Vec<Need>) {
        for (data_info_id, register_id) in self.ledger.take_declared(connect_id) {
            let withdrawn = self
                .ledger
                .withdraw(connect_id, &data_info_id, &register_id);
            let Some(Withdrawn {
                holder,
                order,
                successor,
            }) = withdrawn
            else {
                continue;
            };
            let removal = Removal {
                holder,
                order,
                may_return,
                successor,
            };
            self.tell_removed(data_info_id, register_id, removal, None, needs);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let grace = self.graces.front().map(|&(at, _)| at);
        [self.changes.next_timeout(), grace]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, needs: &mut Vec<Need>) {
        let now = now.monotonic;
        self.changes.end_turn(now);
        while let Some(token) = self.changes.pop_overdue(now) {
            self.resend(now, token, needs);
        }
        while let Some(&(at, connect_id)) = self.graces.front()
            && at <= now
        {
            self.graces.pop_front();
            self.remove_all_of(connect_id, false, needs);
        }
    }

    fn tell_removed(
        &mut self,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        removal: Removal,
        waiting: Option<Waiting>,
        needs: &mut Vec<Need>,
    ) {
        let removal = Box::new(removal);
        let change = Change::Remove(removal.clone());
        let token = self.changes.next_token();
        if removal.successor.is_some() {
            self.ledger.note_told(&data_info_id, &register_id, token);
        }
        self.changes
            .await_done(token, &data_info_id, register_id.clone(), change, waiting);
        needs.push(Need::Tell(ToData::Remove {
            data_info_id,
            register_id,
            removal,
            token,
        }));
    }

    /// The owner is silent: the client is answered, for this session keeps the registration, and the owner is told again.
    fn resend(&mut self, now: Instant, token: Token, needs: &mut Vec<Need>) {
        let Some(unconfirmed) = self.changes.find(token) else {
            return;
        };
        if let Some(waiting) = unconfirmed.waiting.take() {
            needs.push(waiting.taken());
        }
        let data_info_id = unconfirmed.data_info_id.clone();
        let register_id = unconfirmed.register_id.clone();
        let standing = self.ledger.find(&data_info_id, &register_id);
        let message = match &unconfirmed.change {
            Change::Put => {
                let Some(standing) = standing.filter(|standing| standing.told == token) else {
                    // Taken back, or told again, meanwhile: that is pending on its own.
                    self.changes.take(token);
                    return;
                };
                ToData::Put {
                    publisher: Arc::clone(&standing.publisher),
                    data_info_id,
                    token,
                }
            }
            Change::Remove(removal) => {
                let mut removal = removal.clone();
                // The successor of its first telling may have gone meanwhile, and what was told later must not be taken out.
                removal.successor = standing.map(|standing| Arc::clone(&standing.publisher));
                ToData::Remove {
                    data_info_id,
                    register_id,
                    removal,
                    token,
                }
            }
        };
        self.changes.retry_at(now + limits::RESEND_AFTER, token);
        needs.push(Need::Tell(message));
    }
}
