//! A part of a datum that somebody on this core subscribes to, with its newest body and the groups that are to be looked at.

use std::rc::Rc;

use crate::machine::Instant;
use crate::names::DataInfoId;
use crate::session::chain::{Chain, Link, Linked};
use crate::session::index::{GroupIndex, TopicIndex};
use crate::session::lane::Slice;
use crate::version::DatumVersion;

use super::body::Body;

/// A part of a datum that this core watches for its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicKey {
    /// Which service.
    pub data_info_id: DataInfoId,
    /// Which part.
    pub slice: Slice,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(in crate::session) key: TopicKey,
    /// The newest version heard of; none until the first body came.
    pub(super) version: Option<DatumVersion>,
    /// Its bytes, held while a push needs them.
    pub(super) body: Option<Rc<Body>>,
    pub(super) crc: Option<u32>,
    pub(super) changed_at: Instant,
    pub(super) groups: Vec<GroupIndex>,
    /// Pushes of this body that are not acknowledged.
    pub(super) in_flight: usize,
    /// Groups to be looked at by themselves.
    pub(super) ready: Chain<GroupIndex>,
    /// The fan-out in progress goes round: where it is, and how many groups it has left.
    cursor: usize,
    remaining: usize,
    /// Nothing can be pushed before the body is here again, which was asked for.
    pub(super) wants_body: bool,
    /// Its place on the agenda.
    pub(super) link: Link<TopicIndex>,
}

impl Linked<TopicIndex> for Topic {
    fn link(&mut self) -> &mut Link<TopicIndex> {
        &mut self.link
    }
}

impl Topic {
    pub(super) fn new(key: TopicKey) -> Self {
        Self {
            key,
            version: None,
            body: None,
            crc: None,
            changed_at: Instant::default(),
            groups: Vec::new(),
            in_flight: 0,
            ready: Chain::default(),
            cursor: 0,
            remaining: 0,
            wants_body: false,
            link: Link::default(),
        }
    }

    pub(super) fn body_len(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    pub(super) fn is_fanning_out(&self) -> bool {
        self.remaining > 0
    }

    /// How many looks at groups are to come.
    pub(super) fn looks(&self) -> usize {
        self.ready.len() + self.remaining
    }

    /// A push that needed the body is over.
    pub(super) fn release_body(&mut self) {
        self.in_flight -= 1;
        self.drop_idle_body();
    }

    /// Lets the body go if no push needs it.
    pub(super) fn drop_idle_body(&mut self) {
        if self.in_flight == 0 && self.looks() == 0 {
            self.body = None;
        }
    }

    /// Everybody is behind. A fan-out in progress goes on from where it is, so that nobody waits for it to begin again.
    pub(super) fn begin_fanout(&mut self) {
        self.remaining = self.groups.len();
    }

    /// Whether the fan-out in progress has yet to meet the group that is listed here.
    pub(super) fn will_meet(&self, place: usize) -> bool {
        let ahead = match place.checked_sub(self.cursor) {
            Some(ahead) => ahead,
            None => place + self.groups.len() - self.cursor,
        };
        ahead < self.remaining
    }

    /// The next group of the fan-out in progress.
    pub(super) fn next_of_fanout(&mut self) -> Option<GroupIndex> {
        self.remaining = self.remaining.checked_sub(1)?;
        let group = self.groups[self.cursor];
        self.cursor += 1;
        if self.cursor == self.groups.len() {
            self.cursor = 0;
        }
        Some(group)
    }

    /// Lists a group and tells where.
    pub(super) fn add(&mut self, group: GroupIndex) -> usize {
        self.groups.push(group);
        // A fan-out in progress goes round: with one more on its way it would end before it met everybody.
        self.remaining += usize::from(self.remaining > 0);
        self.groups.len() - 1
    }

    /// Takes the group that is listed here off the list, and tells which one is listed here in its stead.
    pub(super) fn remove(&mut self, place: usize) -> Option<GroupIndex> {
        self.groups.swap_remove(place);
        self.remaining = self.remaining.min(self.groups.len());
        if self.cursor >= self.groups.len() {
            // The end that the fan-out had reached is gone: the beginning comes next, not wherever the remainder falls.
            self.cursor = 0;
        }
        self.groups.get(place).copied()
    }
}
