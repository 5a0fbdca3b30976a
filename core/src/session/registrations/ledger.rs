//! What this node's connections declare under each registration id, and what all of it weighs.
//!
//! One declaration of an id stands: of one connection its later word, among several connections the highest (version, stamp). The others are
//! remembered, and the highest of them stands when the connection of the first ends: a reconnect may have been accepted before what it replaces.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, btree_set};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::exchange::Token;
use crate::limits;
use crate::names::{ConnectId, DataInfoId, RegisterId};
use crate::publisher::{Holder, Order, Publisher};
use crate::session::lane::Tally;
use crate::session::refusal::Refusal;
use crate::session::roster::Roster;
use crate::tables::{Seed, Table};

use super::service::{Registration, Service};

/// So many registrations are looked at together.
pub(in crate::session) const LOOKED_AT: usize = 16;

/// What one connection declared here.
type Declared = BTreeSet<(DataInfoId, RegisterId)>;

/// What stood and does not any more.
#[derive(Debug)]
pub(super) struct Withdrawn {
    pub(super) holder: Holder,
    pub(super) order: Order,
    /// What stands instead.
    pub(super) successor: Option<Arc<Publisher>>,
}

/// The registrations of the services whose home is this core.
#[derive(Debug)]
pub(super) struct Ledger {
    services: Table<DataInfoId, Service>,
    /// The same services in order.
    roster: Roster,
    /// What each connection declared here.
    declared: Table<ConnectId, Declared>,
    bytes: usize,
    bytes_max: usize,
    count: usize,
    seed: Seed,
    /// Most bytes that the list of one service may come to.
    list_bytes_max: usize,
}

impl Ledger {
    pub(super) fn new(seed: Seed, bytes_max: usize, list_bytes_max: usize) -> Self {
        Self {
            services: seed.table(),
            roster: Roster::default(),
            declared: seed.table(),
            bytes: 0,
            bytes_max,
            count: 0,
            seed,
            list_bytes_max,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of published strings.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn service(&self, data_info_id: &DataInfoId) -> Option<&Service> {
        self.services.get(data_info_id)
    }

    /// The services that have registrations here in the order of the ring, from this one on.
    pub(super) fn services_from(
        &self,
        first: Option<&DataInfoId>,
    ) -> impl Iterator<Item = &DataInfoId> {
        self.roster.from(first)
    }

    pub(super) fn find(
        &self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Option<&Registration> {
        self.services.get(data_info_id)?.get(register_id)
    }

    /// How many registrations this connection declared.
    pub(super) fn count_declared(&self, connect_id: ConnectId) -> usize {
        let declared = self.declared.get(&connect_id);
        declared.map_or(0, BTreeSet::len)
    }

    /// The client's end of a connection that declared something.
    pub(super) fn address(&self, connect_id: ConnectId) -> Option<SocketAddr> {
        let (data_info_id, register_id) = self.declared.get(&connect_id)?.first()?;
        let registration = self.find(data_info_id, register_id)?;
        let mut declarations = registration.declarations();
        let own = declarations.find(|publisher| publisher.holder.connect_id == connect_id);
        own.map(|publisher| publisher.address)
    }

    /// Has the memory fetch what [`Self::declare`] will need: first the ids that come from other cores, then the places of all, then what
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

    /// Notes what a connection declared: whether it stands, so that the owner must be told, under this token, and whether it is one more of that
    /// connection's. Of what is beyond a limit nothing is noted. From here on the id is this core's own copy, the same at one glance.
    pub(super) fn declare(
        &mut self,
        data_info_id: &mut DataInfoId,
        publisher: &Arc<Publisher>,
        token: Token,
    ) -> Result<(bool, Tally), Refusal> {
        let connect_id = publisher.holder.connect_id;
        let list_bytes_max = self.list_bytes_max;
        let service = self.services.get_mut(data_info_id);
        if let Some(service) = &service {
            check_zones(service, publisher)?;
            if !service.data_info_id().is_same_copy(data_info_id) {
                *data_info_id = service.data_info_id().clone();
            }
        }
        let weight = publisher.pushed_bytes();
        let Some((service, registration)) =
            service.and_then(|service| service.find_mut(&publisher.register_id))
        else {
            let listed = self.service(data_info_id).map_or(0, Service::pushed_bytes);
            check_list(list_bytes_max, listed, weight, 0)?;
            check_count(&self.declared, connect_id)?;
            check_bytes(self.bytes, weight, 0, self.bytes_max)?;
            self.add(data_info_id, publisher, token)?;
            let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
            return Ok((true, tally));
        };
        let same_holder = registration.publisher.holder == publisher.holder;
        if !same_holder && !registration.is_declared_by(connect_id) {
            check_count(&self.declared, connect_id)?;
            registration.check_claims()?;
        }
        let former = registration.pushed_bytes_of(connect_id);
        check_bytes(self.bytes, weight, former, self.bytes_max)?;
        let standing = registration.publisher.pushed_bytes();
        let stands = same_holder
            || registration.is_refused()
            || registration.publisher.order.on_session() <= publisher.order.on_session();
        if stands {
            check_list(list_bytes_max, *service, weight, standing)?;
        }
        let before = registration.pushed_bytes();
        if !stands {
            registration.displace(Arc::clone(publisher));
            self.bytes = self.bytes + registration.pushed_bytes() - before;
            let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
            return Ok((false, tally));
        }
        *service = *service + weight - standing;
        registration.told = token;
        let former = std::mem::replace(&mut registration.publisher, Arc::clone(publisher));
        if same_holder {
            self.bytes = self.bytes + weight - standing;
            return Ok((true, Tally::Same));
        }
        registration.forget_displaced(connect_id);
        registration.displace(former);
        self.bytes = self.bytes + registration.pushed_bytes() - before;
        let tally = self.note_declared(connect_id, data_info_id, &publisher.register_id);
        Ok((true, tally))
    }

    /// A connection takes back what it declared under an id. Gives what that means for what stands; nothing if something else stood.
    pub(super) fn withdraw(
        &mut self,
        connect_id: ConnectId,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Option<Withdrawn> {
        let service = self.services.get_mut(data_info_id)?;
        let (list, registration) = service.find_mut(register_id)?;
        let before = registration.pushed_bytes();
        registration.forget_displaced(connect_id);
        if registration.publisher.holder.connect_id != connect_id {
            self.bytes = self.bytes + registration.pushed_bytes() - before;
            return None;
        }
        let Publisher { holder, order, .. } = *registration.publisher;
        let successor = registration.take_newest_displaced();
        if let Some(successor) = &successor {
            let standing = registration.publisher.pushed_bytes();
            *list = *list + successor.pushed_bytes() - standing;
            registration.publisher = Arc::clone(successor);
            self.bytes = self.bytes + registration.pushed_bytes() - before;
        } else {
            self.bytes = self.bytes + registration.pushed_bytes() - before;
            self.drop_registration(data_info_id, register_id);
        }
        Some(Withdrawn {
            holder,
            order,
            successor,
        })
    }

    /// The owner was told of what stands, under this token.
    pub(super) fn note_told(
        &mut self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
        token: Token,
    ) {
        if let Some(registration) = self.find_mut(data_info_id, register_id) {
            registration.told = token;
        }
    }

    /// The owner does not show what it was told under this token, since this was removed. False if something else stands.
    pub(super) fn note_refused(
        &mut self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
        token: Token,
    ) -> bool {
        let registration = self.find_mut(data_info_id, register_id);
        let Some(registration) = registration.filter(|it| it.told == token) else {
            return false;
        };
        registration.refuse();
        true
    }

    /// What stands counts as declared after this removal, if it is not outdated: gives it, to be told under this token.
    pub(super) fn raise_above(
        &mut self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
        removed: Order,
        token: Token,
    ) -> Option<Arc<Publisher>> {
        let registration = self.find_mut(data_info_id, register_id)?;
        if registration.publisher.order.version < removed.version {
            return None;
        }
        let stamp = registration.publisher.order.stamp.max(removed.stamp + 1);
        registration.publisher = Arc::new(registration.publisher.restamped(stamp));
        registration.told = token;
        Some(Arc::clone(&registration.publisher))
    }

    fn find_mut(
        &mut self,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) -> Option<&mut Registration> {
        let (_, registration) = self.services.get_mut(data_info_id)?.find_mut(register_id)?;
        Some(registration)
    }

    /// Takes a registration out with every declaration of it.
    pub(super) fn strike_out(&mut self, data_info_id: &DataInfoId, register_id: &RegisterId) {
        let service = self.services.get(data_info_id);
        let Some(registration) = service.and_then(|service| service.get(register_id)) else {
            return;
        };
        let declaration = (data_info_id.clone(), register_id.clone());
        for publisher in registration.declarations() {
            let connect_id = publisher.holder.connect_id;
            if let Some(declared) = self.declared.get_mut(&connect_id) {
                declared.remove(&declaration);
                if declared.is_empty() {
                    self.declared.remove(&connect_id);
                }
            }
        }
        self.drop_registration(data_info_id, register_id);
    }

    /// This connection declared it no longer.
    pub(super) fn forget_declared(
        &mut self,
        connect_id: ConnectId,
        data_info_id: &DataInfoId,
        register_id: &RegisterId,
    ) {
        if let Some(declared) = self.declared.get_mut(&connect_id) {
            let declaration = (data_info_id.clone(), register_id.clone());
            declared.remove(&declaration);
        }
    }

    /// Everything that a connection declared, which is forgotten of it.
    pub(super) fn take_declared(
        &mut self,
        connect_id: ConnectId,
    ) -> btree_set::IntoIter<(DataInfoId, RegisterId)> {
        let declared = self.declared.remove(&connect_id);
        declared.unwrap_or_default().into_iter()
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
                self.roster.add(&data_info_id);
                place.insert(Service::new(data_info_id, self.seed))
            }
        };
        service.insert(Registration::new(Arc::clone(publisher), token));
        self.count += 1;
        self.bytes += publisher.pushed_bytes();
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
        match declared.insert(declaration) {
            true => Tally::Added,
            false => Tally::Same,
        }
    }

    fn drop_registration(&mut self, data_info_id: &DataInfoId, register_id: &RegisterId) {
        let Some(service) = self.services.get_mut(data_info_id) else {
            return;
        };
        if let Some(registration) = service.remove(register_id) {
            self.count -= 1;
            self.bytes -= registration.pushed_bytes();
        }
        if service.is_empty() {
            self.services.remove(data_info_id);
            self.roster.remove(data_info_id);
        }
    }
}

/// Whether this connection may have one more.
fn check_count(
    declared: &Table<ConnectId, Declared>,
    connect_id: ConnectId,
) -> Result<(), Refusal> {
    let declared = declared.get(&connect_id);
    let count = declared.map_or(0, BTreeSet::len);
    match count < limits::REGISTRATIONS_PER_CONNECTION_MAX {
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

/// Whether so many bytes may take the place of others in the list of their service. What is there is never too much.
fn check_list(max: usize, listed: usize, added: usize, replaced: usize) -> Result<(), Refusal> {
    match added <= replaced || listed + added - replaced <= max {
        true => Ok(()),
        false => Err(Refusal::ListTooLong { bytes_max: max }),
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
