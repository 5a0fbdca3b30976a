//! The socket's core: connections, their subscribers, and requests on their way to a home core.

use std::sync::Arc;

use crate::limits;
use crate::machine::Now;
use crate::message::Boxes;
use crate::meta::Side;
use crate::names::{ConnectId, CoreId};
use crate::publisher::{Holder, Order, Publisher};

use super::answer::{Answer, Kind};
use super::index::ConnectionIndex;
use super::lane::{Asked, Denied, Lane, Slice, Tally, ToHome, ToSocket};
use super::pushes::{Joined, Need, Seat, Subscriber, TopicKey};
use super::refusal::{Refusal, Refused};
use super::request::Declared;
use super::{Effect, EndedBy, Session, answer};

impl Session {
    pub(super) fn on_publish(
        &mut self,
        now: Now,
        connection: ConnectionIndex,
        asked: Asked,
        declared: Declared,
        boxes: Boxes,
        out: &mut Vec<Effect>,
    ) {
        self.stats.requests_publish += 1;
        let home = self.home(&declared.data_info_id);
        let holder = self.holder(asked.connect_id);
        if !self.may(Side::Publisher, self.connections.peek(connection).peer.ip()) {
            let taken = Answer::registered(Kind::Publisher, declared.register_id, declared.version);
            answer(asked, taken, out);
            return;
        }
        let connection = self.connections.at(connection);
        connection.remember_home(home);
        connection.remember_app(&declared.app);
        let publisher = Arc::new(Publisher {
            order: order(&declared, connection.stamp),
            register_id: declared.register_id,
            holder,
            zone: declared.zone,
            app: declared.app,
            address: connection.peer,
            registered_ms: now.wall_ms,
            boxes,
        });
        let register = ToHome::Register {
            asked,
            data_info_id: declared.data_info_id,
            publisher,
        };
        self.ask_home(now, home, register, out);
    }

    pub(super) fn on_unpublish(
        &mut self,
        now: Now,
        connection: ConnectionIndex,
        asked: Asked,
        declared: Declared,
        out: &mut Vec<Effect>,
    ) {
        self.stats.requests_unpublish += 1;
        let home = self.home(&declared.data_info_id);
        let unregister = ToHome::Unregister {
            asked,
            order: order(&declared, self.connections.at(connection).stamp),
            data_info_id: declared.data_info_id,
            register_id: declared.register_id,
        };
        self.ask_home(now, home, unregister, out);
    }

    /// Subscribers and configurators are this core's own: they are answered at once, their first push follows.
    #[expect(
        clippy::too_many_arguments,
        reason = "context first, then what was asked, then out"
    )]
    pub(super) fn on_subscription(
        &mut self,
        now: Now,
        asked: Asked,
        kind: Kind,
        seat: Seat,
        declared: Declared,
        registers: bool,
        out: &mut Vec<Effect>,
    ) {
        let (register_id, version) = (declared.register_id.clone(), declared.version);
        *match (kind, registers) {
            (Kind::Configurator, true) => &mut self.stats.requests_configure,
            (Kind::Configurator, false) => &mut self.stats.requests_unconfigure,
            (_, true) => &mut self.stats.requests_subscribe,
            (_, false) => &mut self.stats.requests_unsubscribe,
        } += 1;
        let outcome = match registers {
            true => self.subscribe(now, seat, declared, out),
            false => {
                self.unsubscribe(seat, &declared);
                Ok(())
            }
        };
        match outcome {
            Ok(()) => answer(asked, Answer::registered(kind, register_id, version), out),
            Err(denied) => self.deny(asked, kind, version, denied, out),
        }
        self.perform_push_needs(now, out);
    }

    fn subscribe(
        &mut self,
        now: Now,
        mut seat: Seat,
        declared: Declared,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denied> {
        let place = seat.connection;
        let peer = self.connections.peek(place).peer.ip();
        if seat.key.slice != Slice::Config && !self.may(Side::Subscriber, peer) {
            seat.key.slice = Slice::Nothing;
        }
        let data_info_id = seat.key.data_info_id.clone();
        let denied = |refusal| {
            Err(Denied {
                data_info_id,
                refusal,
            })
        };
        self.rise_above_emptied(now, &seat, out);
        let is_known = self.pushes.has(&seat, &declared.register_id);
        let connection = self.connections.at(place);
        connection.remember_app(&declared.app);
        if !is_known && !connection.has_room_for_subscription() {
            return denied(Refusal::TooManyRegistrations);
        }
        let services = self.pushes.topic_count();
        if services >= limits::SERVICES_PER_CORE_MAX && !self.pushes.has_topic(&seat.key) {
            return denied(Refusal::TooManyServices);
        }
        let subscriber = Subscriber::new(
            declared.register_id,
            declared.version,
            declared.timestamp,
            now.wall_ms,
            declared.app,
        );
        match self.pushes.join(
            &mut self.connections,
            seat,
            subscriber,
            &mut self.push_needs,
        ) {
            Joined::First => self.connections.at(place).subscriptions += 1,
            Joined::Again => {}
            Joined::Full => return denied(Refusal::TooManyRegistrations),
        }
        Ok(())
    }

    fn unsubscribe(&mut self, seat: Seat, declared: &Declared) {
        let place = seat.connection;
        let register_id = &declared.register_id;
        let needs = &mut self.push_needs;
        if self
            .pushes
            .leave(&mut self.connections, seat, register_id, needs)
        {
            self.connections.at(place).subscriptions -= 1;
        }
    }

    fn deny(
        &mut self,
        asked: Asked,
        kind: Kind,
        version: i64,
        denied: Denied,
        out: &mut Vec<Effect>,
    ) {
        let place = self.connections.place(asked.connect_id);
        let app = place.and_then(|place| self.connections.peek(place).app.as_ref());
        let Denied {
            data_info_id,
            refusal,
        } = denied;
        let (service, app) = (data_info_id.to_string(), app.map_or("", |app| app));
        let refused = Refused::new(kind, version, refusal, &service, app);
        self.refuse(asked, refused, out);
    }

    /// What a connection asks after it was told of a removal is later than that, whatever the clocks say.
    fn overtake(&mut self, connect_id: ConnectId, refusal: &Refusal) {
        if let Refusal::Superseded { by } = refusal
            && let Some(place) = self.connections.place(connect_id)
        {
            let stamp = &mut self.connections.at(place).stamp;
            *stamp = (*stamp).max(by.stamp + 1);
        }
    }

    fn tally(&mut self, connect_id: ConnectId, tally: Tally) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        let publishers = &mut self.connections.at(place).publishers;
        *publishers = match tally {
            Tally::Added => *publishers + 1,
            Tally::Same => *publishers,
            Tally::Removed => publishers.saturating_sub(1),
        };
    }

    pub(super) fn on_cancel(
        &mut self,
        now: Now,
        asked: Asked,
        addresses: &[String],
        out: &mut Vec<Effect>,
    ) {
        if addresses.is_empty() {
            let why = "Request connectIds cannot be null or empty!";
            answer(asked, Answer::NotCancelled(why), out);
            return;
        }
        let addresses: Arc<[std::net::SocketAddr]> = addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect();
        for core in (0..self.place.cores).map(CoreId) {
            let take_off = ToSocket::TakeOff(Arc::clone(&addresses));
            self.tell_socket(now, core, take_off, out);
        }
        answer(asked, Answer::Cancelled, out);
    }

    pub(super) fn on_acknowledged(
        &mut self,
        now: Now,
        connect_id: ConnectId,
        request_id: u32,
        delivered: bool,
    ) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        self.pushes.on_acknowledged(
            now,
            &mut self.connections,
            place,
            request_id,
            delivered,
            &mut self.stats,
        );
    }

    pub(super) fn on_sent(&mut self, now: Now, connect_id: ConnectId, request_id: u32) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        self.pushes.on_sent(
            now.monotonic,
            &mut self.connections,
            place,
            request_id,
            &mut self.stats,
        );
    }

    pub(super) fn on_writable(&mut self, connect_id: ConnectId) {
        if let Some(place) = self.connections.place(connect_id) {
            self.pushes.on_writable(&mut self.connections, place);
        }
    }

    pub(super) fn on_closed(
        &mut self,
        now: Now,
        connect_id: ConnectId,
        ended_by: EndedBy,
        out: &mut Vec<Effect>,
    ) {
        let Some(place) = self.connections.place(connect_id) else {
            return;
        };
        let Some(mut connection) = self.connections.close(connect_id) else {
            return;
        };
        self.pushes.forget(
            place,
            &connection.groups,
            &connection.unacknowledged,
            &mut self.stats,
            &mut self.push_needs,
        );
        self.perform_push_needs(now, out);
        if self.draining {
            // Clients that leave a stopping node are on their way to the next: nothing of theirs is removed.
            return;
        }
        for home in connection.take_homes() {
            let closed = ToHome::Closed {
                connect_id,
                ended_by,
            };
            self.tell_home(now, home, closed, out);
        }
    }

    pub(super) fn on_socket(
        &mut self,
        now: Now,
        home: CoreId,
        message: ToSocket,
        out: &mut Vec<Effect>,
    ) {
        match message {
            ToSocket::Registered {
                asked,
                register_id,
                version,
                outcome,
            } => {
                if home != self.place.me.core {
                    self.take_credit_back(home, 1);
                }
                let kind = Kind::Publisher;
                match outcome {
                    Ok(tally) => {
                        self.tally(asked.connect_id, tally);
                        answer(asked, Answer::registered(kind, register_id, version), out);
                    }
                    Err(denied) => {
                        self.overtake(asked.connect_id, &denied.refusal);
                        self.deny(asked, kind, version, *denied, out);
                    }
                }
            }
            ToSocket::Body {
                data_info_id,
                slice,
                version,
                body,
            } => {
                let key = TopicKey {
                    data_info_id,
                    slice,
                };
                self.pushes.on_body(now.monotonic, &key, version, body);
            }
            ToSocket::Credit(credit) => self.take_credit_back(home, credit),
            ToSocket::TakeOff(addresses) => self.take_off(now, &addresses, out),
        }
    }

    pub(super) fn perform_push_needs(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut needs = std::mem::take(&mut self.push_needs);
        for need in needs.drain(..) {
            match need {
                Need::Push {
                    connect_id,
                    request_id,
                } => out.push(Effect::Push {
                    connect_id,
                    request_id,
                }),
                Need::Watch(key) | Need::Body(key) if key.slice.is_made_here() => {
                    self.make_body(now, &key)
                }
                Need::Watch(TopicKey {
                    data_info_id,
                    slice,
                }) => {
                    let home = self.home(&data_info_id);
                    self.ask_home(
                        now,
                        home,
                        ToHome::Watch {
                            data_info_id,
                            slice,
                        },
                        out,
                    );
                }
                Need::Unwatch(key) if key.slice.is_made_here() => {}
                Need::Unwatch(TopicKey {
                    data_info_id,
                    slice,
                }) => {
                    let home = self.home(&data_info_id);
                    self.tell_home(
                        now,
                        home,
                        ToHome::Unwatch {
                            data_info_id,
                            slice,
                        },
                        out,
                    );
                }
                Need::Body(TopicKey {
                    data_info_id,
                    slice,
                }) => {
                    let home = self.home(&data_info_id);
                    self.tell_home(
                        now,
                        home,
                        ToHome::BodyWanted {
                            data_info_id,
                            slice,
                        },
                        out,
                    );
                }
            }
        }
        self.push_needs = needs;
    }

    /// Says something that takes a credit until it is answered; `admit` has seen that there is one.
    fn ask_home(&mut self, now: Now, home: CoreId, message: ToHome, out: &mut Vec<Effect>) {
        if home != self.place.me.core {
            let credits = &mut self.credits[home.index()];
            *credits = credits.saturating_sub(1);
        }
        self.tell_home(now, home, message, out);
    }

    pub(super) fn tell_home(
        &mut self,
        now: Now,
        home: CoreId,
        message: ToHome,
        out: &mut Vec<Effect>,
    ) {
        if home == self.place.me.core {
            self.on_home(now, home, message, out);
        } else {
            self.stats.mesh_messages += 1;
            let message = Lane::ToHome(message);
            out.push(Effect::ToCore {
                core: home,
                message,
            });
        }
    }

    fn take_credit_back(&mut self, home: CoreId, credit: u32) {
        self.credits[home.index()] += credit;
    }

    /// Whether a request waits for credit that is there.
    pub(super) fn can_resume(&self) -> bool {
        let mut homes = self.parked.iter().zip(&self.credits);
        homes.any(|(parked, &credits)| credits > 0 && !parked.is_empty())
    }

    /// Offers as many waiting requests again as there are credits. One that needs none after all, or whose connection ended,
    /// leaves its turn to the next.
    pub(super) fn resume_parked(&mut self, out: &mut Vec<Effect>) {
        for (parked, &credits) in self.parked.iter_mut().zip(&self.credits) {
            for _ in 0..credits {
                let connections = &self.connections;
                let is_there = |&connect_id: &_| connections.place(connect_id).is_some();
                let Some(connect_id) = std::iter::from_fn(|| parked.pop_front()).find(is_there)
                else {
                    break;
                };
                out.push(Effect::Resume(connect_id));
            }
        }
    }

    pub(super) fn holder(&self, connect_id: ConnectId) -> Holder {
        Holder {
            node: self.place.me.node,
            incarnation: self.place.incarnation,
            connect_id,
        }
    }
}

impl Slice {
    /// Whether the socket's core makes the body itself.
    pub(super) fn is_made_here(&self) -> bool {
        matches!(self, Self::Config | Self::Nothing)
    }
}

fn order(declared: &Declared, stamp: u64) -> Order {
    Order {
        version: declared.version,
        stamp,
        timestamp: declared.timestamp,
    }
}
