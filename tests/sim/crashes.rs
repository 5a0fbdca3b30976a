//! A node whose process or machine goes down at any moment and comes back on what its disk has: its clients may hardly notice.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall_core::data::Data;
use rollcall_core::data::journal::{Durability, Journal, Life};
use rollcall_core::limits;
use rollcall_core::session::EndedBy;
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

use crate::cores::Core;
use crate::disk::Fate;
use crate::life::{self, TICK};
use crate::planted::Planted;
use crate::random::Random;
use crate::script;
use crate::sockets::Push;
use crate::world::{ConnectionKey, Size, World};

pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);
pub(crate) const INTERVAL: Durability = Durability::Interval(SYNC_EVERY);
/// Journals believe to be among so many that a log is replaced as soon as it has 640 bytes more than twice what is live.
const SHARDS: u16 = u16::MAX;
/// Clients need so long to come back.
const RETURN: Duration = Duration::from_secs(15);
/// After trouble with the disk something may have been shown that is not written.
const TROUBLE_FORGOTTEN: Duration = Duration::from_millis(500);

/// The newest version of each service.
pub(crate) type Versions = Vec<Option<i64>>;

/// What goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Process,
    Power,
}

/// Crashes amid all the work of clients that have no accident of their own; at the end everything must come right.
pub(crate) fn run(seed: u64, size: Size, planted: Option<Planted>) -> Result<u64, String> {
    run_with(seed, size, planted, Seed(seed), INTERVAL)
}

/// The same with tables of another seed, which must make no difference, and this durability.
pub(crate) fn run_with(
    seed: u64,
    size: Size,
    planted: Option<Planted>,
    tables: Seed,
    durability: Durability,
) -> Result<u64, String> {
    let mut world = World::with_disks(seed, size, planted, tables, durability);
    world.populate();
    world.calm = true;
    for round in 0..8 {
        let busy = 20 + world.random.below(300);
        for _ in 0..busy {
            world.act_without_accidents();
            life::step(&mut world, TICK)?;
        }
        world.crash(match round % 3 {
            2 => Loss::Power,
            _ => Loss::Process,
        });
        // Versions that were given while the disk failed have no ceiling there: only the clock is above them.
        if world.random.chance(500) && !world.clock_counts {
            let hour = world.random.below(3_600_000);
            world.now.wall_ms -= hour;
        }
    }
    // Most of those who are awaited may be dead by now: then the grace is as long as it may be.
    let back = world.now.monotonic + RETURN;
    let end = back + limits::RETURN_GRACE_MAX;
    while world.now.monotonic < end {
        world.reconnect();
        if world.now.monotonic > back {
            world.lost.clear();
        }
        let is_over =
            world.now.monotonic > back && world.cores.iter().all(|core| core.data.awaiting() == 0);
        let step = match world.now.monotonic < back {
            true => TICK * 2,
            false => TICK * 20,
        };
        life::step(&mut world, step)?;
        if is_over {
            break;
        }
    }
    for _ in 0..500 {
        life::step(&mut world, TICK)?;
    }
    if let Err(what) = crate::invariants::check_quiet(&world) {
        world.break_rule(what);
    }
    world.broken.map_or(Ok(world.trace), Err)
}

impl World {
    fn act_without_accidents(&mut self) {
        self.reconnect();
        for client in 0..self.clients.len() {
            if self.clients[client].lives && self.random.chance(20) {
                self.work_as(client);
            }
        }
        if self.random.chance(4) {
            let until = self.now.monotonic + Duration::from_millis(self.random.below(4_000));
            let core = self.random.index(self.cores.len());
            self.cores[core].disk_mut().fail_until(until);
        }
    }

    /// The only node goes down, at a bad moment for its disks, and is started again at once.
    fn crash(&mut self, loss: Loss) {
        let mut random = Random::new(self.random.next());
        self.go_down(loss, &mut Fate::Random(&mut random));
        (0..self.cores.len()).for_each(|core| self.finish_start(core));
    }

    /// The only node goes down; it has read what its disks have.
    pub(crate) fn go_down(&mut self, loss: Loss, fate: &mut Fate<'_>) {
        let now = self.now.monotonic;
        (0..self.cores.len()).for_each(|core| self.notice_trouble(core));
        let is_troubled = |core: &Core| {
            core.troubled_at
                .is_some_and(|at| now.since(at) <= TROUBLE_FORGOTTEN)
        };
        let troubled: Vec<bool> = self.cores.iter().map(is_troubled).collect();
        let is_trusted = !troubled.contains(&true);
        let shown = self.shown();
        self.steps.is_down = false;
        self.life += 1;
        if loss == Loss::Power {
            self.boot += 1;
        }
        self.disconnect_all();
        self.mischief.unwritten.clear();
        for core in 0..self.cores.len() {
            let disk = self.cores[core].disk_mut();
            match loss {
                Loss::Process => disk.lose_process(fate),
                Loss::Power => disk.lose_power(fate),
            }
            disk.fail_until(now);
            self.restart(core);
        }
        let recovered = self.published();
        let is_safe = loss == Loss::Process || self.durability == Durability::Always;
        // What is known to have a gap is shown with as much caution as after a loss of power, and no less.
        let is_cautious =
            |(core, troubled): (&Core, &bool)| core.is_cautious && !core.lacks_log || !troubled;
        let is_marked = !is_trusted && self.cores.iter().zip(&troubled).all(is_cautious);
        if !is_safe || is_marked {
            self.forgive_lost();
        }
        self.clock_counts |= is_marked;
        if is_trusted && is_safe && !is_all_there(&shown, &recovered) {
            self.break_rule(format!("{shown:?} was shown, {recovered:?} is recovered"));
        }
        for service in 0..self.services.len() {
            let id = &self.services[service];
            let owner = self.core_of(self.ring.owner(id));
            let datum = self.cores[owner].data.datum(id);
            let loss = match self.cores[owner].is_cautious {
                true => Loss::Power,
                false => loss,
            };
            self.truth.restart(service, datum, loss);
        }
        if !is_trusted && !is_marked {
            // What was shown without being written may be lost, and its versions with it.
            for one in self
                .clients
                .iter_mut()
                .flat_map(|client| &mut client.subscribers)
            {
                one.held = None;
            }
        }
    }

    /// What is known of nobody may be missing until its client is back: it was lost with the power.
    fn forgive_lost(&mut self) {
        let datums = self.services.iter().filter_map(|id| {
            let owner = self.core_of(self.ring.owner(id));
            self.cores[owner].data.datum(id)
        });
        let known: BTreeSet<String> = datums
            .flat_map(|datum| crate::invariants::content_of(datum).into_keys())
            .collect();
        let publishers = self.clients.iter().flat_map(|client| &client.publishers);
        let lost = publishers.filter(|one| !known.contains(&one.register_id));
        self.lost = lost.map(|one| one.register_id.clone()).collect();
    }

    fn disconnect_all(&mut self) {
        let now = self.now.monotonic;
        for client in &mut self.clients {
            client.connection = None;
            let away = Duration::from_millis(20 + self.random.below(8_000));
            client.reconnects_at = now + away;
        }
        for connection in self.connections.values_mut() {
            connection.on_crash(now, EndedBy::Peer);
        }
    }

    pub(crate) fn restart(&mut self, core: usize) {
        let key = self.random.next();
        let tables = self.tables;
        let forgets_ceiling = self.is_planted(Planted::CeilingForgotten);
        let forgets_grace = self.is_planted(Planted::GraceForgotten);
        let boot_id = self.boot_id();
        let durability = self.durability;
        let (life, seed, size) = (self.life, self.seed, self.size);
        let ring = self.ring.clone();
        let one = &mut self.cores[core];
        let shard = one.member.core.0;
        let found = one.disk_mut().replay(shard, tables, key);
        let is_cautious = found.former.has_gap;
        let lacks_log = found.lacks_log;
        let floor = match forgets_ceiling {
            true => DatumVersion::NOTHING_KNOWN,
            false => found.replayed.highest,
        };
        let journal = Journal::new(
            Life {
                durability,
                cluster: 0,
                shard,
                shards: SHARDS,
                boot_id,
            },
            found.former,
            floor,
        );
        let grace = match forgets_grace {
            true => Duration::ZERO,
            false => limits::RETURN_GRACE,
        };
        let mut data = Data::new(tables, floor, journal).protecting(limits::PROTECT);
        let services = found.replayed.services;
        data.recover(self.now.monotonic, grace, services);
        one.begin_life(data, size, &ring, seed ^ life, tables);
        one.is_cautious = is_cautious;
        one.lacks_log = lacks_log;
    }

    /// Nothing is served before the journal says that it may be.
    pub(crate) fn finish_start(&mut self, core: usize) {
        while !self.steps.is_down && !self.cores[core].data.journal().is_ready() {
            self.turn(core);
            let far = self.now.monotonic + Duration::from_secs(1);
            self.hear_disk(core, far);
        }
    }
}

/// Whether what there is has come as far as what there was.
pub(crate) fn is_all_there(had: &Versions, has: &Versions) -> bool {
    had.iter().zip(has).all(|(had, has)| had <= has)
}

/// Over restarts too: what a subscriber is pushed is no older than what it holds, and lacks nobody who lives and was in it.
pub(crate) fn check_push(world: &World, key: ConnectionKey, push: &Push) -> Result<(), String> {
    let Some(connection) = world.connections.get(&key) else {
        return Ok(());
    };
    let subscribers = &world.clients[connection.client].subscribers;
    for one in subscribers {
        let Some((version, zones)) = &one.held else {
            continue;
        };
        if !push.register_ids.contains(&one.register_id) {
            continue;
        }
        if push.version < *version {
            return Err(format!(
                "{} holds version {version} and is pushed {}",
                one.register_id, push.version
            ));
        }
        let shown: Vec<&str> = push.zones.values().flatten().map(|it| id_of(it)).collect();
        let missing =
            zones.values().flatten().map(|text| id_of(text)).find(|id| {
                !shown.contains(id) && world.is_published(id) && !world.lost.contains(*id)
            });
        if let Some(missing) = missing {
            return Err(format!(
                "{} is pushed a list without {missing}, which lives",
                one.register_id
            ));
        }
    }
    Ok(())
}

/// The registration that a published text is of.
fn id_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

impl World {
    /// The versions of which anybody was told who is still connected.
    fn shown(&self) -> Versions {
        let mut shown = vec![None; self.services.len()];
        let open = self.connections.values().filter(|it| it.ended.is_none());
        for (register_id, &version) in open.flat_map(|connection| &connection.pushed) {
            let shown: &mut Option<i64> = &mut shown[script::service(register_id)];
            *shown = (*shown).max((version > 1).then_some(version));
        }
        shown
    }

    /// The versions of what was ever published; that of nothing known needs no record.
    pub(crate) fn published(&self) -> Versions {
        let versions = self.versions().into_iter();
        versions
            .map(|version| version.filter(|&version| version > 1))
            .collect()
    }

    fn is_published(&self, register_id: &str) -> bool {
        let living = self.clients.iter().filter(|client| client.lives);
        let mut publishers = living.flat_map(|client| &client.publishers);
        publishers.any(|one| one.register_id == register_id && one.wanted)
    }

    fn boot_id(&self) -> [u8; 16] {
        (u128::from(self.boot) + 1).to_be_bytes()
    }
}
