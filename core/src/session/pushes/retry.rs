//! Pushes that failed or stay without an answer: a pause that doubles, then what is newest goes out again.

use std::cmp::Reverse;
use std::time::Duration;

use crate::limits;
use crate::machine::Instant;
use crate::names::ConnectId;
use crate::session::connections::Connections;
use crate::session::in_flight::Sending;
use crate::session::index::{ConnectionIndex, GroupIndex, Index};
use crate::stats::Stats;

use super::Pushes;

/// How often at most the unanswered pushes of a connection are gone through while one of them might become overdue.
const LOOKS_PER_TIMEOUT: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A connection has pushes that may be overdue.
    Acknowledgements(ConnectId),
    /// A group's pause after a failure is over.
    Retry(GroupIndex),
}

impl Pushes {
    pub(super) fn fail(&mut self, now: Instant, push: &Sending, request_id: u32) {
        self.release_body(push.group);
        let group = &mut self.groups[push.group.place()];
        group.put_down(request_id, push.is_change, None);
        let at = now + retry_pause(group.failures);
        group.failures += 1;
        group.retry_at = Some(at);
        self.alarms.push(Reverse((at, Alarm::Retry(push.group))));
    }

    pub(super) fn ring_alarms(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        stats: &mut Stats,
    ) {
        while let Some(&Reverse((at, alarm))) = self.alarms.peek()
            && at <= now
        {
            self.alarms.pop();
            match alarm {
                Alarm::Retry(group) => self.enqueue(group),
                Alarm::Acknowledgements(connect_id) => {
                    if let Some(connection) = connections.place(connect_id) {
                        self.give_up_overdue(now, connections, connection, stats);
                    }
                }
            }
        }
    }

    /// One pass over what the connection has not answered, however much of it is overdue.
    fn give_up_overdue(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        connection: ConnectionIndex,
        stats: &mut Stats,
    ) {
        let at = connections.at(connection);
        at.ack_check_due = false;
        let mut next: Option<Instant> = None;
        let mut overdue = Vec::new();
        for &request_id in &at.unacknowledged {
            match self.answer_due(connection, request_id) {
                Some(deadline) if deadline <= now => overdue.push(request_id),
                Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
        for request_id in overdue {
            if let Some(push) = self.end(&mut at.unacknowledged, connection, request_id) {
                stats.pushes_timed_out += 1;
                self.fail(now, &push.sending, request_id);
            }
        }
        if let Some(next) = next {
            at.ack_check_due = true;
            // Pushes that became due one after the other are not looked for one by one.
            let next = next.max(now + limits::PUSH_TIMEOUT / LOOKS_PER_TIMEOUT);
            let alarm = Alarm::Acknowledgements(at.connect_id);
            self.alarms.push(Reverse((next, alarm)));
        }
    }

    /// When a push must be answered, if all of it is in the kernel.
    fn answer_due(&mut self, connection: ConnectionIndex, request_id: u32) -> Option<Instant> {
        let push = self.in_flight.find(connection, request_id)?;
        let sent_at = push.sent_at?;
        let topic = self.groups[push.sending.group.place()].topic;
        let body = self.topics[topic.place()].body_len();
        Some(sent_at + time_to_answer(body))
    }
}

/// How long a client may take for a push of this length: much of a long one is still in the kernel when its last byte gets there.
fn time_to_answer(body: usize) -> Duration {
    let millis = body as u64 * 1000 / limits::PUSH_BYTES_PER_SECOND_MIN;
    limits::PUSH_TIMEOUT + Duration::from_millis(millis)
}

fn retry_pause(failures: u32) -> Duration {
    let doubled = limits::PUSH_RETRY_MIN.saturating_mul(1 << failures.min(16));
    doubled.min(limits::PUSH_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;

    use super::*;
    use crate::machine::Now;
    use crate::names::{CoreId, DataInfoId, Name, RegisterId, Scope};
    use crate::session::lane::Slice;
    use crate::session::pushes::{Need, Seat, Subscriber, TopicKey};
    use crate::tables::Seed;
    use crate::version::DatumVersion;

    const PUSHES: usize = 100_000;
    const CONNECT_ID: ConnectId = ConnectId {
        core: CoreId(0),
        slot: 0,
        generation: 1,
    };

    /// One connection with so many pushes unanswered, each of another service, sent one after the other in half the time-out.
    fn unanswered() -> (Pushes, Connections, Stats) {
        let (mut pushes, mut connections) = (
            Pushes::new(Seed(1), Name::from("here")),
            Connections::default(),
        );
        let peer: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        connections.open(0, CONNECT_ID, 0, peer, peer);
        let connection = connections.place(CONNECT_ID).expect("just opened");
        let (mut needs, mut stats) = (Vec::new(), Stats::default());
        for number in 0..PUSHES {
            let seat = Seat {
                connection,
                key: TopicKey {
                    data_info_id: DataInfoId::new(&number.to_string(), "", ""),
                    slice: Slice::All,
                },
                scope: Scope::Global,
                zone: Name::from("zone"),
            };
            let subscriber = Subscriber::new(RegisterId::new("s"), 1, 1, 1, Name::from("app"));
            let key = seat.key.clone();
            pushes.join(&mut connections, seat, subscriber, &mut needs);
            pushes.on_body(
                Instant(0),
                &key,
                DatumVersion::new(1),
                Bytes::from_static(b"H"),
            );
        }
        needs.clear();
        while pushes.behind() > 0 {
            let now = Now {
                monotonic: Instant(0),
                wall_ms: 0,
            };
            pushes.handle_timeout(now, &mut connections, &mut stats, &mut needs);
        }
        let apart = limits::PUSH_TIMEOUT / 2 / PUSHES as u32;
        for (number, need) in needs.into_iter().enumerate() {
            let Need::Push { request_id, .. } = need else {
                panic!("{need:?}")
            };
            let sent = Instant(0) + apart * number as u32;
            pushes.on_sent(sent, &mut connections, connection, request_id, &mut stats);
        }
        (pushes, connections, stats)
    }

    #[test]
    fn a_hundred_thousand_unanswered_pushes_are_given_up_in_few_passes() {
        let (mut pushes, mut connections, mut stats) = unanswered();
        let end = Instant(0) + limits::PUSH_TIMEOUT * 2;

        let mut looks = 0;
        while stats.pushes_timed_out < PUSHES as u64 {
            let alarm = pushes.alarms.peek().map(|Reverse((at, _))| *at);
            let now = alarm.expect("an alarm while one is unanswered");
            assert!(now <= end, "{} given up", stats.pushes_timed_out);
            pushes.ring_alarms(now, &mut connections, &mut stats);
            looks += 1;
        }

        let at = connections.at(connections.place(CONNECT_ID).expect("open"));
        assert!(at.unacknowledged.is_empty() && pushes.unacknowledged() == 0);
        // Half a time-out, and the pauses after failures, which may fall between.
        let most = LOOKS_PER_TIMEOUT as usize * 4;
        assert!(looks < most, "{looks} looks");
    }
}
