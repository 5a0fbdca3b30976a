//! One core of a made-up node: the real machines, its disk, and its lanes to the others.

use std::collections::VecDeque;

use rollcall_core::data::Data;
use rollcall_core::data::journal::Journal;
use rollcall_core::limits;
use rollcall_core::machine::Instant;
use rollcall_core::names::Member;
use rollcall_core::ring::HashRing;
use rollcall_core::session::lane::Lane;
use rollcall_core::session::{Place, Session};
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

use crate::disk::{Disk, Done};
use crate::world::Size;

/// One core of one node.
pub(crate) struct Core {
    pub(crate) member: Member,
    pub(crate) session: Session,
    pub(crate) data: Data,
    pub(crate) disk: Option<Disk>,
    /// What its disk is said to have done though it has not.
    pub(crate) early: Option<Done>,
    /// Its start has found that something may have been shown which is not there.
    pub(crate) is_cautious: bool,
    /// It has lost the ceilings of its versions, too.
    pub(crate) lacks_log: bool,
    /// When its disk was last in trouble.
    pub(crate) troubled_at: Option<Instant>,
    pub(crate) lanes: Vec<LaneTo>,
    /// The generation of each slot, and those that are free.
    generations: Vec<u32>,
    pub(crate) free: Vec<u32>,
}

/// A lane with one slot: what does not fit waits in the sender's outbox.
#[derive(Default)]
pub(crate) struct LaneTo {
    pub(crate) outbox: VecDeque<Lane>,
    pub(crate) slot: Option<(Instant, Vec<Lane>)>,
    pub(crate) is_congested: bool,
}

impl Core {
    pub(crate) fn new(me: Member, size: Size, ring: &HashRing, seed: u64, tables: Seed) -> Self {
        let place = Place {
            me,
            incarnation: seed ^ me.node.0,
            cores: size.cores,
            ring: ring.clone(),
        };
        Self {
            member: me,
            session: Session::new(place, tables),
            data: Data::new(tables, DatumVersion::NOTHING_KNOWN, Journal::off())
                .protecting(limits::PROTECT),
            disk: None,
            early: None,
            is_cautious: false,
            lacks_log: false,
            troubled_at: None,
            lanes: (0..size.cores).map(|_| LaneTo::default()).collect(),
            generations: Vec::new(),
            free: Vec::new(),
        }
    }

    /// A slot that was free, the one that became so last.
    pub(crate) fn take_slot(&mut self) -> (u32, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("few connections")
        });
        let generation = &mut self.generations[slot as usize];
        *generation += 1;
        (slot, *generation)
    }

    pub(crate) fn disk_mut(&mut self) -> &mut Disk {
        self.disk.as_mut().expect("a world with disks")
    }

    /// The process is started again: only its disk, and the numbers of connections, go on.
    pub(crate) fn begin_life(
        &mut self,
        data: Data,
        size: Size,
        ring: &HashRing,
        seed: u64,
        tables: Seed,
    ) {
        let fresh = Self::new(self.member, size, ring, seed, tables);
        self.session = fresh.session;
        self.lanes = fresh.lanes;
        self.data = data;
        self.early = None;
        self.troubled_at = None;
        self.free = (0..self.generations.len() as u32).collect();
    }

    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.generations[slot as usize]
    }
}
