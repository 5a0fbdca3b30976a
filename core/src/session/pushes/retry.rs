//! Pushes that failed or stay without an answer: a pause that doubles, then what is newest goes out again.

use std::cmp::Reverse;
use std::time::Duration;

use crate::limits;
use crate::machine::Instant;
use crate::names::ConnectId;
use crate::session::connections::Connections;
use crate::stats::Stats;

use super::{Pushes, strike};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A connection has pushes that may be overdue.
    Acknowledgements(ConnectId),
    /// A group's pause after a failure is over.
    Retry(u32),
}

impl Pushes {
    pub(super) fn fail(&mut self, now: Instant, index: u32, is_change: bool, request_id: u32) {
        self.release_body(index);
        let Some(group) = self.groups.get_mut(index as usize) else {
            return;
        };
        group.put_down(request_id, is_change, None);
        let at = now + retry_pause(group.failures);
        group.failures += 1;
        group.retry_at = Some(at);
        self.alarms.push(Reverse((at, Alarm::Retry(index))));
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

    fn give_up_overdue(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        connection: u32,
        stats: &mut Stats,
    ) {
        let at = connections.at(connection);
        at.ack_check_due = false;
        let mut next: Option<Instant> = None;
        let mut overdue = Vec::new();
        for &request_id in &at.unacknowledged {
            let Some(push) = self.in_flight.find(connection, request_id) else {
                continue;
            };
            let Some(sent_at) = push.sent_at else {
                continue;
            };
            let body = self
                .groups
                .get(push.group as usize)
                .map_or(0, |group| self.topics[group.topic as usize].body_len());
            match sent_at + time_to_answer(body) {
                deadline if deadline <= now => overdue.push(request_id),
                deadline => next = Some(next.map_or(deadline, |next| next.min(deadline))),
            }
        }
        for request_id in overdue {
            strike(&mut at.unacknowledged, request_id);
            if let Some(push) = self.in_flight.remove(connection, request_id) {
                stats.pushes_timed_out += 1;
                self.fail(now, push.group, push.is_change, request_id);
            }
        }
        if let Some(next) = next {
            at.ack_check_due = true;
            let alarm = Alarm::Acknowledgements(at.connect_id);
            self.alarms.push(Reverse((next, alarm)));
        }
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
