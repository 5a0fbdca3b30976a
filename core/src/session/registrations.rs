//! What the clients of this node publish, kept at the home core of each service: the node's word towards the owner shards.
//!
//! A registration is known here before its owner has it, is sent again until the owner says so, and leaves when its client
//! takes it back or its connection ends. A close removes only what that very connection still holds: a reconnect usually
//! arrives before the close of the connection it replaces.

mod service;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::exchange::{Removal, ToData, Token};
use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{ConnectId, DataInfoId, RegisterId};
use crate::publisher::{Order, Publisher};
use crate::stats::Stats;
use crate::tables::{Seed, Table};

use self::service::{Registration, Service};
use super::EndedBy;
use super::answer::Refusal;
use super::lane::{Asked, Tally};

/// So many registrations are looked at together.
pub(super) const LOOKED_AT: usize = 16;

/// What one connection declared here.
#[derive(Debug, Default)]
struct Declared {
    registrations: BTreeSet<(DataInfoId, RegisterId)>,
    /// We ended the connection: what it holds awaits its client, but takes nothing back from those who came after it.
    ended: bool,
}

/// A change the owner has not confirmed.
#[derive(Debug)]
struct Pending {
    generation: u32,
    data_info_id: DataInfoId,
    change: PendingChange,
    /// Who waits for the answer; nobody after `ANSWER_WITHIN`, for the session itself vouches for the registration.
    waiting: Option<Waiting>,
    removal_of: RegisterId,
}

#[derive(Debug)]
enum PendingChange {
    /// What stands when it is sent again is sent.
    Put,
    Remove(Box<Removal>),
}

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
}

/// What the table of contents has to do for the registrations.
#[derive(Debug)]
pub(super) enum Need {
    Answer {
        waiting: Waiting,
        outcome: Result<Tally, Refusal>,
    },
    Tell(ToData),
}

/// The registrations of the services whose home is this core.
#[derive(Debug)]
pub(super) struct Registrations {
    services: Table<DataInfoId, Service>,
    /// What each connection declared here.
    declared: Table<ConnectId, Declared>,
    pending: Slab<Pending>,
    generation: u32,
    /// Sent in this turn; what is not confirmed at its end gets a deadline.
    sent: Vec<Token>,
    deadlines: VecDeque<(Instant, Token)>,
    /// Connections that we ended, and until when their publishers await their client.
    graces: VecDeque<(Instant, ConnectId)>,
    bytes: usize,
    bytes_max: usize,
    count: usize,
    seed: Seed,
    /// The node is stopping: its clients are on their way to others, nothing of theirs is removed.
    draining: bool,
    /// How long the publishers of a connection that we ended await their client.
    grace: Duration,
}

impl Registrations {
    pub(super) fn new(seed: Seed, grace: Duration, bytes_max: usize) -> Self {
        Self {
            services: seed.table(),
            declared: seed.table(),
            pending: Slab::new(),
            generation: 0,
            sent: Vec::new(),
            deadlines: VecDeque::new(),
            graces: VecDeque::new(),
            bytes: 0,
            bytes_max,
            count: 0,
            seed,
            draining: false,
            grace,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of published strings.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All publishers registered through this node under this service.
    pub(super) fn of_service(
        &self,
        data_info_id: &DataInfoId,
    ) -> impl Iterator<Item = &Arc<Publisher>> {
        let service = self.services.get(data_info_id);
        service.into_iter().flat_map(Service::publishers)
    }

    /// The services that have registrations here, in no order.
    pub(super) fn services(&self) -> impl Iterator<Item = &DataInfoId> {
        self.services.keys()
    }

    /// Publishers whose connections we ended, and which await their clients.
    pub(super) fn in_grace(&self) -> usize {
        let ended = self
            .graces
            .iter()
            .filter_map(|(_, connect_id)| self.declared.get(connect_id));
        ended.map(|declared| declared.registrations.len()).sum()
    }

    /// Has the memory fetch what [`Self::register`] will need: first the ids that come from other cores, then the places of all, then what
    /// stands there.
    pub(super) fn look_at(&self, publishes: [Option<(&DataInfoId, &RegisterId)>; LOOKED_AT]) {
        for (_, register_id) in publishes.iter().flatten() {
            black_box(register_id.is_uuid());
        }
        let held = publishes.map(|publish| {
            let (data_info_id, register_id) = publish?;
            self.services.get(data_info_id)?.glance(register_id)
        });
        for publisher in held.iter().flatten() {
            // Of each part, wherever the compiler has put it.
            let Publisher {
                holder,
                order,
                boxes,
                ..
            } = &***publisher;
            black_box((holder.connect_id.slot, order.version, boxes.count()));
        }
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
        let token = self.next_token();
        let (is_newest, tally) = match self.declare(&mut data_info_id, &publisher, token) {
            Ok(declared) => declared,
            Err(refusal) => {
                let outcome = Err(refusal);
                return needs.push(Need::Answer { waiting, outcome });
            }
        };
        waiting.tally = tally;
        if !is_newest {
            stats.registrations_stale += 1;
            needs.push(waiting.taken());
            return;
        }
        let register_id = publisher.register_id.clone();
        let change = PendingChange::Put;
        self.await_done(token, &data_info_id, register_id, change, Some(waiting));
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
        order: Order,
        needs: &mut Vec<Need>,
    ) {
        let service = self.services.get_mut(&data_info_id);
        let held = service.and_then(|service| service.get(&register_id));
        if held.is_some_and(|held| held.publisher.order > order) {
            needs.push(waiting.taken());
            return;
        }
        let declared = self.count_declared(waiting.asked.connect_id);
        self.strike_out(&data_info_id, &register_id);
        if self.count_declared(waiting.asked.connect_id) < declared {
            waiting.tally = Tally::Removed;
        }
        let cause = Removal::Unregistered(order);
        self.tell_removed(data_info_id, register_id, cause, Some(waiting), needs);
    }

    /// The owner has it.
    pub(super) fn on_done(&mut self, token: Token, needs: &mut Vec<Need>) {
        let Some(pending) = self.take_pending(token) else {
            return;
        };
        if let Some(waiting) = pending.waiting {
            needs.push(waiting.taken());
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
            EndedBy::Operator => self.remove_all_of(connect_id, needs),
            _ if self.draining => {}
            EndedBy::Peer | EndedBy::Silence => self.remove_all_of(connect_id, needs),
            EndedBy::Us => self.await_client(now, connect_id),
        }
    }

    /// The node stops.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.graces.clear();
    }

    /// What the connection holds stays for a grace; what others took over from it stands not again.
    fn await_client(&mut self, now: Instant, connect_id: ConnectId) {
        let Some(declared) = self.declared.get_mut(&connect_id) else {
            return;
        };
        declared.ended = true;
        self.graces.push_back((now + self.grace, connect_id));
        for (data_info_id, register_id) in &declared.registrations {
            let service = self.services.get_mut(data_info_id);
            if let Some(registration) = service.and_then(|service| service.get_mut(register_id)) {
                registration.forget_displaced(connect_id);
            }
        }
    }

    /// Everything that this connection declared goes: all it holds, and its claims on what others hold.
    pub(super) fn remove_all_of(&mut self, connect_id: ConnectId, needs: &mut Vec<Need>) {
        let Some(declared) = self.declared.remove(&connect_id) else {
            return;
        };
        for (data_info_id, register_id) in declared.registrations {
            self.remove_declared(connect_id, data_info_id, register_id, needs);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if !self.sent.is_empty() {
            return Some(Instant::default());
        }
        let deadline = self.deadlines.front().map(|&(at, _)| at);
        let grace = self.graces.front().map(|&(at, _)| at);
        [deadline, grace].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, needs: &mut Vec<Need>) {
        let now = now.monotonic;
        for token in std::mem::take(&mut self.sent) {
            if self.find_pending(token).is_some() {
                self.deadlines
                    .push_back((now + limits::ANSWER_WITHIN, token));
            }
        }
        while let Some(&(at, token)) = self.deadlines.front()
            && at <= now
        {
            self.deadlines.pop_front();
            self.resend(now, token, needs);
        }
        while let Some(&(at, connect_id)) = self.graces.front()
            && at <= now
        {
            self.graces.pop_front();
            self.remove_all_of(connect_id, needs);
        }
    }

    fn count_declared(&self, connect_id: ConnectId) -> usize {
        count_declared(&self.declared, connect_id)
    }

    /// Notes what a connection declared: whether it is what the owner must be told, under this token, and whether it is one more of that
    /// connection's. Of what is beyond a limit nothing is noted. From here on the id is this core's own copy, the same at one glance.
    fn declare(
        &mut self,
        data_info_id: &mut DataInfoId,
        publisher: &Arc<Publisher>,
        token: Token,
    ) -> Result<(bool, Tally), Refusal> {
        let connect_id = publisher.holder.connect_id;
        let bytes = publisher.boxes.bytes().len();
        let service = self.services.get_mut(data_info_id);
        if let Some(service) = &service {
            check_zones(service, publisher)?;
            if !service.data_info_id().is_same_copy(data_info_id) {
                *data_info_id = service.data_info_id().clone();
            }
        }
        let held = service.and_then(|service| service.get_mut(&publisher.register_id));
        let Some(registration) = held else {
            check_count(&self.declared, connect_id)?;
            check_bytes(self.bytes, bytes, 0, self.bytes_max)?;
            self.add(data_info_id, publisher, token)?;
            let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
            return Ok((true, tally));
        };
        let same_holder = registration.publisher.holder == publisher.holder;
        if !same_holder && !registration.is_declared_by(connect_id) {
            check_count(&self.declared, connect_id)?;
        }
        let replaced = registration.publisher.boxes.bytes().len();
        check_bytes(self.bytes, bytes, replaced, self.bytes_max)?;
        if registration.publisher.order > publisher.order {
            if same_holder {
                return Ok((false, Tally::Same));
            }
            registration.displace(Arc::clone(publisher));
            let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
            return Ok((false, tally));
        }
        registration.told = token;
        self.bytes = self.bytes + bytes - replaced;
        let former = std::mem::replace(&mut registration.publisher, Arc::clone(publisher));
        registration.forget_displaced(connect_id);
        if same_holder {
            return Ok((true, Tally::Same));
        }
        let former_id = former.holder.connect_id;
        if self
            .declared
            .get(&former_id)
            .is_some_and(|declared| !declared.ended)
        {
            registration.displace(former);
        }
        let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
        Ok((true, tally))
    }

    /// Takes one up that was not there.
    fn add(
        &mut self,
        data_info_id: &DataInfoId,
        publisher: &Arc<Publisher>,
        token: Token,
    ) -> Result<(), Refusal> {
        let services = self.services.len();
        let service = match self.services.entry(data_info_id.clone()) {
            Entry::Occupied(service) => service.into_mut(),
            Entry::Vacant(_) if services >= limits::SERVICES_PER_CORE_MAX => {
                return Err(Refusal::TooManyServices);
            }
            Entry::Vacant(place) => {
                let data_info_id = place.key().clone();
                place.insert(Service::new(data_info_id, self.seed))
            }
        };
        service.insert(Registration::new(Arc::clone(publisher), token));
        self.count += 1;
        self.bytes += publisher.boxes.bytes().len();
        Ok(())
    }

    fn note_declared(
        &mut self,
        connect_id: ConnectId,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Tally {
        let declared = self.declared.entry(connect_id).or_default();
        let declaration = (data_info_id.clone(), register_id.clone());
        match declared.registrations.insert(declaration) {
            true => Tally::Added,
            false => Tally::Same,
        }
    }

    fn remove_declared(
        &mut self,
        connect_id: ConnectId,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        needs: &mut Vec<Need>,
    ) {
        let service = self.services.get_mut(&data_info_id);
        let Some(registration) = service.and_then(|service| service.get_mut(&register_id)) else {
            return;
        };
        registration.forget_displaced(connect_id);
        if registration.publisher.holder.connect_id != connect_id {
            return;
        }
        let Publisher { holder, order, .. } = *registration.publisher;
        let successor = registration.take_newest_displaced();
        match &successor {
            Some(successor) => {
                self.bytes += successor.boxes.bytes().len();
                let former = std::mem::replace(&mut registration.publisher, Arc::clone(successor));
                self.bytes -= former.boxes.bytes().len();
            }
            None => self.drop_registration(&data_info_id, &register_id),
        }
        let cause = Removal::Closed {
            holder,
            order,
            successor,
        };
        self.tell_removed(data_info_id, register_id, cause, None, needs);
    }

    /// Takes a registration out with every claim on it.
    fn strike_out(&mut self, data_info_id: &DataInfoId, register_id: &RegisterId) {
        let service = self.services.get(data_info_id);
        let Some(registration) = service.and_then(|service| service.get(register_id)) else {
            return;
        };
        let declaration = (data_info_id.clone(), register_id.clone());
        for publisher in registration.declarations() {
            let connect_id = publisher.holder.connect_id;
            if let Some(declared) = self.declared.get_mut(&connect_id) {
                declared.registrations.remove(&declaration);
                if declared.registrations.is_empty() {
                    self.declared.remove(&connect_id);
                }
            }
        }
        self.drop_registration(data_info_id, register_id);
    }

    fn drop_registration(&mut self, data_info_id: &DataInfoId, register_id: &RegisterId) {
        let Some(service) = self.services.get_mut(data_info_id) else {
            return;
        };
        if let Some(registration) = service.remove(register_id) {
            self.count -= 1;
            self.bytes -= registration.publisher.boxes.bytes().len();
        }
        if service.is_empty() {
            self.services.remove(data_info_id);
        }
    }

    fn tell_removed(
        &mut self,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        cause: Removal,
        waiting: Option<Waiting>,
        needs: &mut Vec<Need>,
    ) {
        let cause = Box::new(cause);
        let change = PendingChange::Remove(cause.clone());
        let token = self.next_token();
        self.await_done(token, &data_info_id, register_id.clone(), change, waiting);
        let remove = ToData::Remove {
            data_info_id,
            register_id,
            cause,
            token,
        };
        needs.push(Need::Tell(remove));
    }

    /// The token of the next change, unless none follows.
    fn next_token(&self) -> Token {
        let generation = self.generation.wrapping_add(1);
        Token(u64::from(generation) << 32 | self.pending.vacant_key() as u64)
    }

    /// Waits until the owner has confirmed the change with the next token.
    fn await_done(
        &mut self,
        token: Token,
        data_info_id: &DataInfoId,
        register_id: RegisterId,
        change: PendingChange,
        waiting: Option<Waiting>,
    ) {
        debug_assert_eq!(token, self.next_token(), "one change per token");
        self.generation = self.generation.wrapping_add(1);
        self.pending.insert(Pending {
            generation: self.generation,
            data_info_id: data_info_id.clone(),
            change,
            waiting,
            removal_of: register_id,
        });
        self.sent.push(token);
    }

    fn find_pending(&mut self, Token(token): Token) -> Option<&mut Pending> {
        let place = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        let pending = self.pending.get_mut(place)?;
        (u64::from(pending.generation) == token >> 32).then_some(pending)
    }

    fn take_pending(&mut self, token: Token) -> Option<Pending> {
        self.find_pending(token)?;
        let Token(place) = token;
        Some(
            self.pending
                .remove(usize::try_from(place & u64::from(u32::MAX)).ok()?),
        )
    }

    fn find(
        &mut self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Option<&mut Registration> {
        self.services.get_mut(data_info_id)?.get_mut(register_id)
    }

    /// A removal that is told again names who stands then: the successor of its first telling may have gone meanwhile.
    fn as_it_stands(
        &mut self,
        cause: Removal,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Removal {
        let Removal::Closed { holder, order, .. } = cause else {
            return cause;
        };
        let standing = self.find(data_info_id, register_id);
        let successor = standing
            .map(|registration| Arc::clone(&registration.publisher))
            .filter(|publisher| publisher.holder != holder);
        Removal::Closed {
            holder,
            order,
            successor,
        }
    }

    /// The owner is silent: the client is answered, for this session keeps the registration, and the owner is told again.
    fn resend(&mut self, now: Instant, token: Token, needs: &mut Vec<Need>) {
        let Some(pending) = self.find_pending(token) else {
            return;
        };
        if let Some(waiting) = pending.waiting.take() {
            needs.push(waiting.taken());
        }
        let data_info_id = pending.data_info_id.clone();
        let register_id = pending.removal_of.clone();
        let removal = match &pending.change {
            PendingChange::Put => None,
            PendingChange::Remove(cause) => Some(cause.clone()),
        };
        let message = match removal {
            Some(cause) => ToData::Remove {
                cause: Box::new(self.as_it_stands(*cause, &data_info_id, &register_id)),
                data_info_id,
                register_id,
                token,
            },
            None => {
                let registration = self.find(&data_info_id, &register_id);
                let Some(registration) =
                    registration.filter(|registration| registration.told == token)
                else {
                    // Taken back, or told again, meanwhile: that is pending on its own.
                    self.take_pending(token);
                    return;
                };
                ToData::Put {
                    publisher: Arc::clone(&registration.publisher),
                    data_info_id,
                    token,
                }
            }
        };
        self.deadlines
            .push_back((now + limits::RESEND_AFTER, token));
        needs.push(Need::Tell(message));
    }
}

fn count_declared(declared: &Table<ConnectId, Declared>, connect_id: ConnectId) -> usize {
    let declared = declared.get(&connect_id);
    declared.map_or(0, |declared| declared.registrations.len())
}

/// Whether this connection may have one more.
fn check_count(
    declared: &Table<ConnectId, Declared>,
    connect_id: ConnectId,
) -> Result<(), Refusal> {
    match count_declared(declared, connect_id) < limits::REGISTRATIONS_PER_CONNECTION_MAX {
        true => Ok(()),
        false => Err(Refusal::TooManyRegistrations),
    }
}

/// Whether so many bytes may take the place of others.
fn check_bytes(held: usize, added: usize, replaced: usize, limit: usize) -> Result<(), Refusal> {
    match added <= replaced || held + added - replaced <= limit {
        true => Ok(()),
        false => Err(Refusal::TooManyBytes { limit }),
    }
}

/// Whether the service may have this publisher's zone.
fn check_zones(service: &Service, publisher: &Publisher) -> Result<(), Refusal> {
    // Nearly always the first one has the zone: that a service has many publishers costs nothing here.
    if service.len() < limits::ZONES_PER_DATUM_MAX
        || service
            .publishers()
            .any(|other| other.zone == publisher.zone)
    {
        return Ok(());
    }
    let zones: BTreeSet<_> = service.publishers().map(|other| &other.zone).collect();
    match zones.len() < limits::ZONES_PER_DATUM_MAX {
        true => Ok(()),
        false => Err(Refusal::TooManyZones),
    }
}
