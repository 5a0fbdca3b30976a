//! The session role on a core: what a frame means to the machine (`route`), and how its effects are carried out (`perform`).

use std::net::{IpAddr, SocketAddr};

use rollcall_core::bolt::{self, Consequence, Decoded, Frame, FrameError, Kind, Status};
use rollcall_core::message::{
    self, Acknowledgement, Glance, MessageError, register_response, server_exception,
};
use rollcall_core::names::{ConnectId, DataInfoId};
use rollcall_core::session::answer::{Answer, ReplyTo};
use rollcall_core::session::lane;
use rollcall_core::session::request::Request;
use rollcall_core::session::{self, Effect, Event, Refused};
use rollcall_io::clock::Clock;
use rollcall_io::mesh::{Mesh, Place};
use rollcall_io::net::{self, EndedBy, Flow, Net, Outgoing, Reason, Service};

use crate::cancelling::MayCancel;
use crate::driver::Roles;
use crate::framing::Bolt;
use crate::lanes::Message;

impl Service<Bolt> for Roles {
    fn opened(&mut self, connect_id: ConnectId, peer: SocketAddr, local: SocketAddr) {
        for listener in &mut self.listeners {
            listener.connected(connect_id, peer, local);
        }
        let stamp = Clock::stamp();
        self.session_event(Event::Opened {
            connect_id,
            stamp,
            peer,
            local,
        });
    }

    fn frame(&mut self, connect_id: ConnectId, bytes: &[u8], out: &mut Outgoing) -> Flow {
        self.stats.frames_received += 1;
        match bolt::decode(bytes) {
            Ok(Decoded::Frame { frame, .. }) => self.route(connect_id, &frame, out),
            Ok(Decoded::Incomplete { .. }) => Flow::Close(EndedBy::Us(Reason::BadFrame)),
            Err(error) => {
                self.bad_frame(connect_id, &error, out);
                Flow::Close(EndedBy::Us(Reason::BadFrame))
            }
        }
    }

    fn bad_frame(&mut self, connect_id: ConnectId, error: &FrameError, _: &mut Outgoing) {
        *match error {
            FrameError::UnknownProtocol { .. }
            | FrameError::UnknownVersion { .. }
            | FrameError::BadSwitch { .. } => &mut self.stats.frames_bad_protocol,
            FrameError::UnknownType { .. } => &mut self.stats.frames_bad_type,
            FrameError::UnknownCommand { .. } | FrameError::UnknownStatus { .. } => {
                &mut self.stats.frames_bad_command
            }
            FrameError::NegativeLength { .. }
            | FrameError::ClassTooLong { .. }
            | FrameError::TooLarge { .. } => &mut self.stats.frames_bad_length,
            FrameError::WrongCrc { .. } => &mut self.stats.frames_bad_crc,
        } += 1;
        self.attend();
        let Some(peer) = self.session.peer(connect_id) else {
            return;
        };
        if let Some(untold) = self.complain(peer.ip(), "frame") {
            tracing::warn!(connection = %connect_id, %peer, %error, untold, "bad frame, closing; further ones of this address are counted");
        }
    }

    fn sent(&mut self, connect_id: ConnectId, request_id: u32) {
        self.session_event(Event::Sent {
            connect_id,
            request_id,
        });
    }

    fn writable(&mut self, connect_id: ConnectId) {
        self.session_event(Event::Writable(connect_id));
    }

    fn closed(&mut self, connect_id: ConnectId, ended_by: EndedBy) {
        self.count_closed(ended_by);
        for listener in &mut self.listeners {
            listener.disconnected(connect_id, ended_by);
        }
        let ended_by = match ended_by {
            EndedBy::Peer => session::EndedBy::Peer,
            EndedBy::Silent => session::EndedBy::Silence,
            // An operator closes a connection to have its client come back: its publishers await that.
            // Who left while this core stood still may have done so because of that.
            EndedBy::Operator | EndedBy::Us(_) | EndedBy::PeerUnheard => session::EndedBy::Us,
        };
        self.session_event(Event::Closed {
            connect_id,
            ended_by,
        });
    }
}

impl Roles {
    /// What a frame is: an answer to a push, a sign of life, or a request for its home core.
    fn route(&mut self, connect_id: ConnectId, frame: &Frame<'_>, out: &mut Outgoing) -> Flow {
        match frame.kind {
            Kind::Response { .. } => {
                let delivered = message::acknowledgement(frame) == Acknowledgement::Delivered;
                let request_id = frame.request_id;
                self.session_event(Event::Acknowledged {
                    connect_id,
                    request_id,
                    delivered,
                });
            }
            Kind::Heartbeat { .. } => {
                self.stats.requests_heartbeat += 1;
                bolt::write_heartbeat_ack(out.bytes(), frame);
            }
            Kind::HeartbeatAck { .. } => {}
            Kind::Request { .. } | Kind::OneWay { .. } => {
                return self.route_request(connect_id, frame, out);
            }
        }
        Flow::Continue
    }

    fn route_request(
        &mut self,
        connect_id: ConnectId,
        frame: &Frame<'_>,
        out: &mut Outgoing,
    ) -> Flow {
        let request = match Request::of(frame, &mut self.names, &self.zone) {
            Ok(request) => request,
            Err(error) => {
                self.refuse(connect_id, frame, &error, out);
                return Flow::Continue;
            }
        };
        if let Request::CancelAddresses(connections) = &request {
            let peer = self.peer_ip(connect_id);
            let is_allowed = peer.is_some_and(|peer| self.may_cancel.allows(peer));
            MayCancel::tell(peer, connections, is_allowed);
            if !is_allowed {
                let why = "this address may take no client off: list it under [admin] cancel_address_from";
                self.stats.responses_refused += 1;
                message::result::write_refusal(out.bytes(), frame, why);
                return Flow::Continue;
            }
        }
        if let Some(data_info_id) = request.data_info_id()
            && !self.admit(connect_id, data_info_id)
        {
            return Flow::Pause;
        }
        let reply_to = ReplyTo {
            protocol: frame.protocol,
            codec: frame.codec,
            request_id: frame.request_id,
            one_way: matches!(frame.kind, Kind::OneWay { .. }),
        };
        self.session_event(Event::Asked {
            connect_id,
            reply_to,
            request,
        });
        Flow::Continue
    }

    /// Whether the home of this service takes one more request.
    fn admit(&mut self, connect_id: ConnectId, data_info_id: &DataInfoId) -> bool {
        // Each that was heard and not handled may take a credit before.
        if self.session.has_credit(data_info_id, self.heard.len()) {
            return true;
        }
        self.attend();
        self.session.admit(connect_id, data_info_id)
    }

    fn peer_ip(&mut self, connect_id: ConnectId) -> Option<IpAddr> {
        self.attend();
        let peer = self.session.peer(connect_id);
        peer.map(|peer| peer.ip().to_canonical())
    }

    fn refuse(
        &mut self,
        connect_id: ConnectId,
        frame: &Frame<'_>,
        error: &MessageError,
        out: &mut Outgoing,
    ) {
        if let Some(peer) = self.peer_ip(connect_id)
            && let Some(untold) = self.complain(peer, "request")
        {
            let Glance { data_id, app } = Glance::at(frame);
            tracing::warn!(connection = %connect_id, %peer, service = data_id, app, reason = %error, untold, "request refused; further ones of this address are counted");
        }
        *match error {
            MessageError::UnknownClass { .. } | MessageError::WrongClass { .. } => {
                &mut self.stats.frames_bad_class
            }
            MessageError::UnknownCodec { .. } => &mut self.stats.frames_bad_codec,
            MessageError::OverLimit {
                field: "dataList", ..
            } => &mut self.stats.refused_boxes,
            MessageError::OverLimit { .. } => &mut self.stats.refused_name_length,
            _ => &mut self.stats.frames_bad_body,
        } += 1;
        let status = match error.consequence() {
            Consequence::Refuse => {
                self.stats.responses_refused += 1;
                return register_response::write_refusal(out.bytes(), frame, error);
            }
            Consequence::Answer(status) => status,
            Consequence::Close => Status::ServerException,
        };
        self.stats.responses_error += 1;
        server_exception::write_response(out.bytes(), frame, status, error);
    }

    /// A registration was refused: says so where somebody can do something about it.
    fn tell_refused(&mut self, connect_id: ConnectId, refused: &Refused) {
        let Refused {
            refusal,
            service,
            app,
            ..
        } = refused;
        if let Some(peer) = self.session.peer(connect_id)
            && let Some(untold) = self.complain(peer.ip(), refusal.word())
        {
            tracing::warn!(connection = %connect_id, %peer, service, app, reason = %refusal, untold, "registration refused; further ones of this address and reason are counted");
        }
    }

    /// Whether the log shall have a line of this, and how many like it had none before.
    fn complain(&mut self, of: IpAddr, kind: &'static str) -> Option<u64> {
        self.complaints.note(self.now.monotonic, of, kind)
    }

    fn count_closed(&mut self, ended_by: EndedBy) {
        *match ended_by {
            EndedBy::Peer | EndedBy::PeerUnheard => &mut self.stats.closed_by_peer,
            EndedBy::Silent => &mut self.stats.closed_idle,
            EndedBy::Operator => &mut self.stats.closed_operator,
            EndedBy::Us(Reason::SlowReader | Reason::Stalled) => &mut self.stats.closed_slow_reader,
            EndedBy::Us(Reason::PartialLimit) => &mut self.stats.closed_partial_memory,
            EndedBy::Us(Reason::BadFrame) => &mut self.stats.closed_bad_frame,
            EndedBy::Us(Reason::Drain) => &mut self.stats.closed_drain,
            EndedBy::Us(Reason::FrameDeadline) => &mut self.stats.closed_slow_frame,
            EndedBy::Us(Reason::Limit | Reason::LocalError) => &mut self.stats.closed_by_error,
        } += 1;
    }

    /// Carries out what the session wants.
    pub(crate) fn perform(
        &mut self,
        effect: Effect,
        net: &mut Net<Bolt>,
        mesh: &mut Mesh<Message>,
    ) {
        match effect {
            Effect::Answer {
                connect_id,
                reply_to,
                answer,
            } => {
                if let Answer::Refused(refused) = &answer {
                    self.tell_refused(connect_id, refused);
                }
                if let Some(out) = net.out(connect_id) {
                    answer.encode(reply_to, out.bytes());
                }
            }
            Effect::Push {
                connect_id,
                request_id,
            } => self.push(connect_id, request_id, net),
            Effect::Resume(connect_id) => net.resume(connect_id),
            Effect::Close(connect_id) => net.close(connect_id, net::EndedBy::Operator),
            Effect::ToCore { core, message } => {
                self.has_asked_others |= matches!(message, lane::Lane::ToHome(_));
                mesh.send(Place::Core(core), Message::Lane(message))
            }
            Effect::Expel(_) => unreachable!("the shard of this core has heard it"),
            Effect::ToData { owner, .. } => {
                unreachable!("{owner:?} is another node, and this one is alone")
            }
        }
    }

    fn push(&mut self, connect_id: ConnectId, request_id: u32, net: &mut Net<Bolt>) {
        let Some(out) = net.out(connect_id) else {
            return;
        };
        if !out.has_room() {
            self.session.no_room(connect_id, request_id);
            return;
        }
        let Some(written) = self.session.write_push(connect_id, request_id, out.bytes()) else {
            return;
        };
        out.shared(&written.body);
        out.bytes().extend(written.tail.into_iter().flatten());
        out.mark(request_id);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use rollcall_core::data::journal::Durability;
    use rollcall_core::limits;
    use rollcall_core::names::{
        CoreId, DEFAULT_ZONE, DataInfoId, Member, Name, NodeId, RegisterId, Scope,
    };
    use rollcall_core::ring::HashRing;
    use rollcall_core::session::request::Declared;
    use rollcall_core::session::{Place, Rules};
    use rollcall_core::tables::Seed;

    use crate::connections::ConnectionListener;
    use crate::driver::Setup;
    use crate::recovery::Journals;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Rc<RefCell<Vec<String>>>);

    impl ConnectionListener for Heard {
        fn connected(&mut self, connect_id: ConnectId, peer: SocketAddr, _: SocketAddr) {
            self.0
                .borrow_mut()
                .push(format!("{connect_id} from {peer}"));
        }

        fn disconnected(&mut self, connect_id: ConnectId, ended_by: EndedBy) {
            self.0
                .borrow_mut()
                .push(format!("{connect_id} {ended_by:?}"));
        }
    }

    fn roles() -> Roles {
        let node = NodeId(1);
        let place = Place {
            me: Member {
                node,
                core: CoreId(0),
            },
            incarnation: 7,
            cores: 1,
            ring: HashRing::of_node(node, 1),
        };
        let setup = Setup {
            rules: Rules::default(),
            journals: Journals::find(Path::new("none"), 1, Durability::Off).expect("nothing there"),
            return_grace: Duration::ZERO,
            protect: Duration::ZERO,
            operators: Arc::default(),
            operators_lost: false,
            zone: Name::from(DEFAULT_ZONE),
            may_cancel: MayCancel::default(),
            listeners: Arc::new(|_| Vec::new()),
        };
        Roles::recover(place, Seed(7), &setup).expect("there is nothing to read")
    }

    fn declared(number: usize) -> Declared {
        Declared {
            data_info_id: DataInfoId::new("service", "", ""),
            register_id: RegisterId::new(&number.to_string()),
            version: 1,
            timestamp: 1,
            zone: Name::from(DEFAULT_ZONE),
            app: Name::from("app"),
        }
    }

    #[test]
    fn a_turn_full_of_answers_pushes_all_the_same() {
        let mut roles = roles();
        let connect_id = ConnectId {
            core: CoreId(0),
            slot: 0,
            generation: 1,
        };
        let end = "127.0.0.1:5000".parse().expect("an address");
        roles.opened(connect_id, end, end);
        let ask = |roles: &mut Roles, request| {
            let reply_to = ReplyTo {
                protocol: bolt::Protocol::V1,
                codec: bolt::CODEC_HESSIAN,
                request_id: 1,
                one_way: false,
            };
            roles.session_event(Event::Asked {
                connect_id,
                reply_to,
                request,
            });
        };
        ask(
            &mut roles,
            Request::Subscriber {
                declared: declared(0),
                scope: Scope::DataCenter,
                registers: true,
            },
        );
        roles.settle();
        while roles.handle_due() {}
        let first = roles.outward.drain(..).find_map(|effect| match effect {
            Effect::Push { request_id, .. } => Some(request_id),
            _ => None,
        });
        let request_id = first.expect("a first push");
        let written = roles
            .session
            .write_push(connect_id, request_id, &mut Vec::new());
        assert!(written.is_some());
        roles.sent(connect_id, request_id);
        roles.session_event(Event::Acknowledged {
            connect_id,
            request_id,
            delivered: true,
        });

        for number in 1..=2 * limits::FANOUT_SLICE {
            ask(
                &mut roles,
                Request::Publisher {
                    declared: declared(number),
                    boxes: Some(["one"].into_iter().collect()),
                },
            );
        }
        roles.settle();
        assert!(roles.outward.len() >= limits::FANOUT_SLICE, "answers");

        roles.handle_due();

        let is_push = |effect: &Effect| matches!(effect, Effect::Push { .. });
        assert!(roles.outward.iter().any(is_push));
    }

    #[test]
    fn a_listener_is_told_once_of_each_begin_and_end() {
        let heard = Heard::default();
        let mut roles = roles();
        roles.listeners.push(Box::new(heard.clone()));
        let connect_id = ConnectId {
            core: CoreId(0),
            slot: 3,
            generation: 1,
        };
        let [peer, local] = ["127.0.0.1:5000", "127.0.0.1:9600"]
            .map(|address| address.parse().expect("an address"));

        roles.opened(connect_id, peer, local);
        roles.closed(connect_id, EndedBy::Us(Reason::Stalled));

        assert_eq!(
            *heard.0.borrow(),
            ["0.3.1 from 127.0.0.1:5000", "0.3.1 Us(Stalled)"]
        );
        assert_eq!(roles.stats.closed_slow_reader, 1);
    }
}
