//! Awaited publishers by what they publish and from where: a process that was started anew has another registration id and the same strings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::names::RegisterId;
use crate::publisher::Publisher;

/// The client's address, and a fingerprint of the strings: where both agree the strings are compared.
type Key = (IpAddr, u32);

/// The awaited publishers of one datum.
#[derive(Debug)]
pub(super) struct FormerLives(BTreeMap<Key, Vec<RegisterId>>);

impl FormerLives {
    pub(super) fn of<'a>(awaited: impl Iterator<Item = &'a Arc<Publisher>>) -> Self {
        let mut lives = BTreeMap::<_, Vec<_>>::new();
        for publisher in awaited {
            let ids = lives.entry(key(publisher)).or_default();
            ids.push(publisher.register_id.clone());
        }
        Self(lives)
    }

    /// One that publishes the same from the same address and is still awaited: each is the former life of one only.
    pub(super) fn take<'a>(
        &mut self,
        publisher: &Publisher,
        find: impl Fn(&RegisterId) -> Option<&'a Arc<Publisher>>,
    ) -> Option<RegisterId> {
        let ids = self.0.get_mut(&key(publisher))?;
        while let Some(id) = ids.pop() {
            let is_it =
                |held: &Arc<Publisher>| held.awaits_client() && held.shows_the_same_as(publisher);
            if find(&id).is_some_and(is_it) {
                return Some(id);
            }
        }
        None
    }
}

fn key(publisher: &Publisher) -> Key {
    let ip = publisher.address.ip().to_canonical();
    (ip, publisher.boxes.fingerprint())
}
