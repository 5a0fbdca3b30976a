//! Registrations that a server refuses for a moment, and that its clients send again.
//!
//! SOFARegistry refuses what comes before it has noted the connection, which it does on another of its threads. A client that comes back and
//! registers at once meets that now and then, and its own clients try again; so do ours. Rollcall must never refuse.

use std::collections::BTreeMap;

use crate::clients::first_frame;
use crate::target::Kind;

/// What was sent and not taken yet.
#[derive(Debug)]
pub(crate) struct Resends {
    may_refuse: bool,
    /// By connection and request.
    waiting: BTreeMap<(usize, u32), Vec<u8>>,
    /// How often something was sent again.
    pub(crate) count: usize,
}

impl Resends {
    /// Nothing was sent to such a server yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            may_refuse: kind.promises_less(),
            waiting: BTreeMap::new(),
            count: 0,
        }
    }

    /// Remembers frames, where they may be refused.
    pub(crate) fn sent(&mut self, connection: usize, mut frames: &[u8]) {
        while self.may_refuse
            && let Ok(Some((frame, len))) = first_frame(frames)
        {
            let (first, rest) = frames.split_at(len);
            let key = (connection, frame.request_id);
            self.waiting.insert(key, first.to_vec());
            frames = rest;
        }
    }

    /// Forgets what the server took.
    pub(crate) fn taken(&mut self, connection: usize, request_id: u32) {
        self.waiting.remove(&(connection, request_id));
    }

    /// Appends what the server refused, to be sent again; false if it must not refuse that.
    pub(crate) fn refused(
        &mut self,
        connection: usize,
        request_id: u32,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(frame) = self.waiting.get(&(connection, request_id)) else {
            return false;
        };
        out.extend_from_slice(frame);
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn heartbeats() -> [Vec<u8>; 2] {
        [1, 2].map(|request_id| {
            let mut frame = Vec::new();
            wire::heartbeat(request_id, &mut frame);
            frame
        })
    }

    #[test]
    fn what_is_refused_is_sent_again_until_it_is_taken() {
        let [first, second] = heartbeats();
        let mut resends = Resends::new(Kind::Sofaregistry);
        resends.sent(7, &[first, second.clone()].concat());
        let mut out = Vec::new();

        assert!(resends.refused(7, 2, &mut out));
        assert_eq!(out, second);
        resends.taken(7, 2);

        assert!(!resends.refused(7, 2, &mut out));
        assert!(!resends.refused(8, 1, &mut out));
        assert_eq!(resends.count, 1);
    }

    #[test]
    fn the_product_must_not_refuse() {
        let mut resends = Resends::new(Kind::Rollcall);

        resends.sent(7, &heartbeats().concat());

        assert!(!resends.refused(7, 1, &mut Vec::new()));
    }
}
