//! Whose turn it is: every topic with groups to look at has one turn after the other, of a bounded number of groups.
//!
//! A service that changes all the time, or has many subscribers, waits for its next turn behind all others, and is never on the agenda twice.

use crate::limits;
use crate::machine::Instant;
use crate::session::connections::Connections;
use crate::session::index::{GroupIndex, Index, TopicIndex};
use crate::stats::Stats;

use super::{Need, Pushes};

/// What became of the look at a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// It was pushed to, or needs nothing for now.
    Done,
    /// A push is due for which there is no body.
    NoBody,
}

impl Pushes {
    /// Hands out one slice of pushes; the rest follows after others had their turn.
    pub(super) fn work_off(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) {
        let mut left = limits::FANOUT_SLICE;
        while left > 0
            && let Some(topic) = self.agenda.pop(&mut self.topics)
        {
            let most = left.min(limits::TOPIC_TURN);
            left -= self.take_turn(now, connections, topic, most, stats, needs);
            let it = &mut self.topics[topic.place()];
            it.drop_idle_body();
            self.call(topic);
        }
    }

    /// Looks at so many groups of a topic at most, and tells at how many.
    fn take_turn(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        topic: TopicIndex,
        most: usize,
        stats: &mut Stats,
        needs: &mut Vec<Need>,
    ) -> usize {
        for looks in 0..most {
            let Some(group) = self.next_group(topic, looks) else {
                return looks.max(1);
            };
            let looked = self.push_if_due(now, connections, group, stats, needs);
            if looked == Looked::NoBody {
                let it = &mut self.topics[topic.place()];
                it.ready.push(&mut self.groups, group);
                it.wants_body = true;
                needs.push(Need::Body(it.key.clone()));
                return looks + 1;
            }
        }
        most
    }

    /// Those that wait by themselves and those of the fan-out come by turns: neither waits for all of the others.
    fn next_group(&mut self, topic: TopicIndex, looks: usize) -> Option<GroupIndex> {
        let it = &mut self.topics[topic.place()];
        if looks % 2 == 1
            && let Some(group) = it.next_of_fanout()
        {
            return Some(group);
        }
        it.ready
            .pop(&mut self.groups)
            .or_else(|| it.next_of_fanout())
    }

    /// Has a group looked at when its topic has its turn, unless the fan-out in progress will meet it.
    pub(super) fn enqueue(&mut self, group: GroupIndex) {
        let Some(it) = self.groups.get(group.place()) else {
            return;
        };
        let (topic, place) = (it.topic, it.place as usize);
        if !self.topics[topic.place()].will_meet(place) {
            self.enqueue_first(group);
        }
    }

    /// The same, ahead of the fan-out in progress.
    pub(super) fn enqueue_first(&mut self, group: GroupIndex) {
        let topic = self.groups[group.place()].topic;
        let ready = &mut self.topics[topic.place()].ready;
        ready.push(&mut self.groups, group);
        self.call(topic);
    }

    /// Puts a topic on the agenda if there is anything to do for it.
    pub(super) fn call(&mut self, topic: TopicIndex) {
        let it = &self.topics[topic.place()];
        if it.looks() > 0 && !it.wants_body {
            self.agenda.push(&mut self.topics, topic);
        }
    }

    /// Groups that wait to be looked at, or for the fan-out that has begun to reach them.
    pub(in crate::session) fn behind(&self) -> usize {
        let next = |topic: &TopicIndex| self.topics[topic.place()].link.behind();
        let topics = std::iter::successors(self.agenda.first(), next);
        topics.map(|topic| self.topics[topic.place()].looks()).sum()
    }
}
