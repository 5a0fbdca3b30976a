//! The home core: registrations of the services that live here, and what their owners say.

use std::sync::Arc;

use crate::exchange::{ToData, ToSession};
use crate::limits;
use crate::machine::Now;
use crate::names::{CoreId, DataInfoId, RegisterId};
use crate::publisher::{Order, Publisher};

use super::lane::{Asked, Lane, Tally, ToHome, ToSocket};
use super::registrations::Waiting;
use super::{Effect, Session, interests, registrations};

impl Session {
    pub(super) fn on_home(
        &mut self,
        now: Now,
        core: CoreId,
        message: ToHome,
        out: &mut Vec<Effect>,
    ) {
        match message {
            ToHome::Register {
                asked,
                data_info_id,
                publisher,
            } => self.on_register(now, asked, data_info_id, publisher, out),
            ToHome::Unregister {
                asked,
                data_info_id,
                register_id,
                order,
            } => self.on_unregister(now, asked, data_info_id, register_id, order, out),
            ToHome::Watch {
                data_info_id,
                slice,
            } => {
                self.credit_owed[core.index()] += 1;
                let needs = &mut self.interest_needs;
                self.interests
                    .watch(now.monotonic, core, data_info_id, slice, needs);
                self.perform_interest_needs(now, out);
            }
            ToHome::Unwatch {
                data_info_id,
                slice,
            } => {
                self.interests
                    .unwatch(now.monotonic, core, data_info_id, slice);
            }
            ToHome::Overtaken {
                data_info_id,
                version,
            } => {
                let have = version;
                self.tell_owner(ToData::Interest { data_info_id, have }, out);
            }
            ToHome::BodyWanted {
                data_info_id,
                slice,
            } => self.interests.body_wanted(core, data_info_id, slice),
            ToHome::Closed {
                connect_id,
                ended_by,
            } => {
                let needs = &mut self.registration_needs;
                self.registrations
                    .on_closed(now.monotonic, connect_id, ended_by, needs);
                self.perform_registration_needs(now, out);
            }
        }
    }

    fn on_register(
        &mut self,
        now: Now,
        asked: Asked,
        data_info_id: DataInfoId,
        publisher: Arc<Publisher>,
        out: &mut Vec<Effect>,
    ) {
        debug_assert_eq!(self.home(&data_info_id), self.place.me.core);
        let waiting = Waiting {
            asked,
            register_id: publisher.register_id.clone(),
            version: publisher.order.version,
            tally: Tally::Same,
        };
        let (stats, needs) = (&mut self.stats, &mut self.registration_needs);
        self.registrations
            .register(waiting, data_info_id, publisher, stats, needs);
        self.perform_registration_needs(now, out);
    }

    fn on_unregister(
        &mut self,
        now: Now,
        asked: Asked,
        data_info_id: DataInfoId,
        register_id: RegisterId,
        order: Order,
        out: &mut Vec<Effect>,
    ) {
        debug_assert_eq!(self.home(&data_info_id), self.place.me.core);
        let waiting = Waiting {
            asked,
            register_id: register_id.clone(),
            version: order.version,
            tally: Tally::Same,
        };
        let holder = self.holder(asked.connect_id);
        let needs = &mut self.registration_needs;
        self.registrations
            .unregister(waiting, data_info_id, register_id, holder, order, needs);
        self.perform_registration_needs(now, out);
    }

    pub(super) fn on_data(&mut self, now: Now, message: ToSession, out: &mut Vec<Effect>) {
        match message {
            ToSession::Done { token, refused } => {
                self.registrations
                    .on_done(token, refused, &mut self.registration_needs);
                self.perform_registration_needs(now, out);
            }
            ToSession::Notice {
                data_info_id,
                from,
                to,
                changes,
            } => {
                let needs = &mut self.interest_needs;
                self.interests
                    .on_notice(now.monotonic, data_info_id, from..to, &changes, needs);
                self.perform_interest_needs(now, out);
            }
            ToSession::Snapshot {
                data_info_id,
                version,
                publishers,
            } => {
                let needs = &mut self.interest_needs;
                self.interests
                    .on_snapshot(data_info_id, version, publishers, needs);
                self.perform_interest_needs(now, out);
            }
            ToSession::Unchanged { data_info_id, .. } => {
                let needs = &mut self.interest_needs;
                self.interests.on_unchanged(data_info_id, needs);
                self.perform_interest_needs(now, out);
            }
        }
    }

    /// Notices may be lost between nodes; within a node they are not, so only remote owners are asked.
    pub(super) fn compare_with_remote_owners(&mut self, now: Now) {
        let me = self.place.me.node;
        let ring = &self.place.ring;
        if !ring.has_other_nodes(me) {
            return;
        }
        let due = *self
            .compare_at
            .get_or_insert(now.monotonic + limits::COMPARE_EVERY);
        if due > now.monotonic {
            return;
        }
        self.compare_at = Some(now.monotonic + limits::COMPARE_EVERY);
        let is_remote = |id: &DataInfoId| ring.owner(id).node != me;
        self.interests
            .compare(now.monotonic, is_remote, &mut self.interest_needs);
    }

    pub(super) fn perform_registration_needs(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut needs = std::mem::take(&mut self.registration_needs);
        for need in needs.drain(..) {
            match need {
                registrations::Need::Tell(message) => self.tell_owner(message, out),
                registrations::Need::Answer { waiting, outcome } => {
                    let Waiting {
                        asked,
                        register_id,
                        version,
                        ..
                    } = waiting;
                    let registered = ToSocket::Registered {
                        asked,
                        register_id,
                        version,
                        outcome,
                    };
                    self.tell_socket(now, asked.connect_id.core, registered, out);
                }
            }
        }
        self.registration_needs = needs;
    }

    pub(super) fn perform_interest_needs(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut needs = std::mem::take(&mut self.interest_needs);
        for need in needs.drain(..) {
            match need {
                interests::Need::Tell(message) => self.tell_owner(message, out),
                interests::Need::Body {
                    core,
                    data_info_id,
                    slice,
                    version,
                    body,
                } => {
                    let body = ToSocket::Body {
                        data_info_id,
                        slice,
                        version,
                        body,
                    };
                    self.tell_socket(now, core, body, out);
                }
            }
        }
        self.interest_needs = needs;
    }

    pub(super) fn owes_credit(&self) -> bool {
        self.credit_owed.iter().any(|&owed| owed > 0)
    }

    /// Gives back the credit of the watches of this turn, one message per core.
    pub(super) fn return_credit(&mut self, out: &mut Vec<Effect>) {
        let me = self.place.me.core;
        for (core, owed) in (0..self.place.cores).map(CoreId).zip(&mut self.credit_owed) {
            let owed = std::mem::take(owed);
            if owed > 0 && core != me {
                let message = Lane::ToSocket(ToSocket::Credit(owed));
                out.push(Effect::ToCore { core, message });
            }
        }
    }

    pub(super) fn tell_socket(
        &mut self,
        now: Now,
        core: CoreId,
        message: ToSocket,
        out: &mut Vec<Effect>,
    ) {
        if core == self.place.me.core {
            self.on_socket(now, core, message, out);
        } else {
            self.stats.mesh_messages += 1;
            let message = Lane::ToSocket(message);
            out.push(Effect::ToCore { core, message });
        }
    }

    fn tell_owner(&mut self, message: ToData, out: &mut Vec<Effect>) {
        let owner = self.place.ring.owner(message.data_info_id());
        out.push(Effect::ToData { owner, message });
    }
}
