//! The table of a core's connections: stable slots whose use count never repeats, and the deadlines of each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rollcall_core::machine::Instant;

use super::connection::Connection;
use super::transport::Key;

/// Connections by slot. A slot is used again only under the next generation, and retired when they are used up.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
    most: usize,
    /// By kind, at most one entry per slot; looked at again when it passes, so that traffic never touches it.
    deadlines: [BinaryHeap<Reverse<(Instant, u32)>>; Deadline::ALL.len()],
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// One bit per kind of deadline that is in the heap.
    scheduled: u8,
    connection: Option<Box<Connection>>,
}

/// What can be late about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// It sends nothing.
    Idle,
    /// A begun frame does not end.
    Frame,
    /// It takes nothing.
    Write,
    /// Its end takes too long.
    Close,
}

impl Slots {
    /// An empty table for at most `most` connections.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            most,
            deadlines: Default::default(),
        }
    }

    /// How many connections there are, closing ones included.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Whether no further connection fits.
    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.most
    }

    /// Puts a connection in a free slot.
    pub(crate) fn insert(&mut self, connection: Connection) -> Key {
        assert!(
            !self.is_full(),
            "{} connections, limit is {}",
            self.live,
            self.most
        );
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1)
                .expect("retired slots are few, live ones bounded far below")
        });
        let place = &mut self.slots[slot as usize];
        place.connection = Some(Box::new(connection));
        self.live += 1;
        Key {
            slot,
            generation: place.generation,
        }
    }

    /// Ends the use of a slot.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Box<Connection>> {
        let place = self.slots.get_mut(key.slot as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let connection = place.connection.take()?;
        self.live -= 1;
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(key.slot);
        }
        Some(connection)
    }

    /// The connection with this key, if it still exists.
    pub(crate) fn find(&mut self, key: Key) -> Option<&mut Connection> {
        let place = self.slots.get_mut(key.slot as usize)?;
        if place.generation != key.generation {
            return None;
        }
        place.connection.as_deref_mut()
    }

    /// What every connection is late with counts from `now` on.
    pub(crate) fn hear_anew(&mut self, now: Instant) {
        for place in &mut self.slots {
            if let Some(connection) = place.connection.as_deref_mut() {
                connection.hear_anew(now);
            }
        }
    }

    /// All connections in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            let connection = place.connection.as_deref()?;
            let slot = u32::try_from(slot).expect("slots are counted in 32 bits");
            Some((
                Key {
                    slot,
                    generation: place.generation,
                },
                connection,
            ))
        })
    }

    /// Looks at `kind` of this slot no later than a little after `at`.
    ///
    /// An entry that is already there is never later than a new one would be, as all time-outs of a kind are equal. Times
    /// are rounded up to a 64th of the time-out, so that many idle connections wake the core about once a second.
    pub(crate) fn schedule(&mut self, slot: u32, kind: Deadline, at: Instant, timeout: Duration) {
        let place = &mut self.slots[slot as usize];
        if place.scheduled & kind.bit() != 0 {
            return;
        }
        place.scheduled |= kind.bit();
        let grain = u64::try_from(timeout.as_nanos() / 64)
            .unwrap_or(u64::MAX)
            .max(1);
        let rounded = Instant(at.0.div_ceil(grain).saturating_mul(grain));
        self.deadlines[kind as usize].push(Reverse((rounded, slot)));
    }

    /// Takes out the next entry that has passed.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<(Option<Key>, Deadline)> {
        let has_passed = |kind: &Deadline| self.first(*kind).is_some_and(|at| at <= now);
        let kind = Deadline::ALL.into_iter().find(has_passed)?;
        let (_, key) = self.take_first(kind)?;
        Some((key, kind))
    }

    /// Takes out the first entry of a kind, whether it has passed or not, with the connection that is there.
    pub(crate) fn take_first(&mut self, kind: Deadline) -> Option<(Instant, Option<Key>)> {
        let Reverse((at, slot)) = self.deadlines[kind as usize].pop()?;
        let place = &mut self.slots[slot as usize];
        place.scheduled &= !kind.bit();
        let key = place.connection.is_some().then_some(Key {
            slot,
            generation: place.generation,
        });
        Some((at, key))
    }

    /// When the next entry passes.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let firsts = Deadline::ALL
            .into_iter()
            .filter_map(|kind| self.first(kind));
        firsts.min()
    }

    fn first(&self, kind: Deadline) -> Option<Instant> {
        self.deadlines[kind as usize]
            .peek()
            .map(|Reverse((at, _))| *at)
    }
}

impl Deadline {
    pub(crate) const ALL: [Self; 4] = [Self::Idle, Self::Frame, Self::Write, Self::Close];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new("127.0.0.1:1".parse().expect("an address"), Instant(0))
    }

    #[test]
    fn a_key_of_an_earlier_use_finds_nothing() {
        let mut slots = Slots::new(4);
        let first = slots.insert(connection());
        slots.remove(first);

        let second = slots.insert(connection());

        assert_eq!(first.slot, second.slot);
        assert!(slots.find(first).is_none());
        assert!(slots.find(second).is_some());
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut slots = Slots::new(4);
        let first = slots.insert(connection());
        slots.remove(first);
        slots.slots[0].generation = u32::MAX;
        let last = slots.insert(connection());
        assert_eq!(
            last,
            Key {
                slot: 0,
                generation: u32::MAX
            }
        );
        slots.remove(last);

        let next = slots.insert(connection());

        assert_eq!(next.slot, 1);
    }

    #[test]
    fn a_deadline_is_kept_once_per_slot_and_kind() {
        let mut slots = Slots::new(4);
        let key = slots.insert(connection());
        let second = Duration::from_secs(1);

        slots.schedule(key.slot, Deadline::Idle, Instant(1_000_000_000), second);
        slots.schedule(key.slot, Deadline::Idle, Instant(2_000_000_000), second);

        assert_eq!(
            slots.next_due(Instant(1_100_000_000)),
            Some((Some(key), Deadline::Idle))
        );
        assert_eq!(slots.next_due(Instant(9_000_000_000)), None);
    }
}
