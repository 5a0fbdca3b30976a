//! A part of a datum that somebody on this core subscribes to, with its newest body.

use std::rc::Rc;

use bytes::Bytes;

use crate::machine::Instant;
use crate::names::DataInfoId;
use crate::session::lane::Slice;
use crate::version::DatumVersion;

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
    pub(super) body: Option<Rc<Bytes>>,
    pub(super) crc: Option<u32>,
    pub(super) changed_at: Instant,
    pub(super) groups: Vec<u32>,
    /// Groups that found no body; they are looked at when it comes.
    pub(super) waiting: Vec<u32>,
    /// Pushes of this body that are not acknowledged.
    pub(super) in_flight: usize,
    /// The fan-out in progress: where it is, and how many groups it has left.
    pub(super) cursor: usize,
    pub(super) remaining: usize,
}

impl Topic {
    pub(super) fn body_len(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    /// A push that needed the body is over.
    pub(super) fn release_body(&mut self) {
        self.in_flight -= 1;
        if self.in_flight == 0 && self.remaining == 0 {
            self.body = None;
        }
    }
}
