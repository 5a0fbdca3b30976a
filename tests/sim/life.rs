//! What clients and sockets go through: a busy while full of accidents, then calm, in which everything must come right.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_core::names::Scope;
use rollcall_core::session::{EndedBy, Event};
use rollcall_core::tables::Seed;

use crate::client::{Client, Publishing, Sending, Subscribing};
use crate::invariants;
use crate::planted::Planted;
use crate::world::{Size, World};

pub(crate) const TICK: Duration = Duration::from_millis(10);
const BUSY_TICKS: u32 = 1500;
const SETTLING_TICKS: u32 = 200;
/// Longer than the longest pause between two tries of a push, and what may come before it.
const CALM: Duration = Duration::from_secs(75);
/// Zones have names for ever.
pub(crate) type Zone = &'static str;

const ZONES: [Zone; 2] = ["zone-a", "zone-b"];
const SCOPES: [Scope; 3] = [Scope::Zone, Scope::DataCenter, Scope::Global];

/// A whole run; gives the digest of its effects, or the first rule that was broken.
pub(crate) fn run(seed: u64, size: Size, planted: Option<Planted>) -> Result<u64, String> {
    run_with(seed, size, planted, Seed(seed))
}

/// The same with tables of another seed, which must make no difference.
pub(crate) fn run_with(
    seed: u64,
    size: Size,
    planted: Option<Planted>,
    tables: Seed,
) -> Result<u64, String> {
    let mut world = populated(seed, size, planted, tables);
    for _ in 0..BUSY_TICKS {
        world.act();
        step(&mut world, TICK)?;
    }
    // The last changes meet the same accidents as all before them.
    for _ in 0..SETTLING_TICKS {
        world.reconnect();
        step(&mut world, TICK)?;
    }
    world.calm = true;
    let end = world.now.monotonic + CALM;
    while world.now.monotonic < end {
        world.reconnect();
        step(&mut world, TICK * 4)?;
    }
    if let Err(what) = invariants::check_quiet(&world) {
        world.break_rule(what);
    }
    world.broken.map_or(Ok(world.trace), Err)
}

/// A node that stops while clients publish and watch: none of them may notice.
pub(crate) fn run_drain(seed: u64, size: Size, planted: Option<Planted>) -> Result<u64, String> {
    let mut world = populated(seed, size, planted, Seed(seed));
    world.calm = true;
    for _ in 0..300 {
        world.reconnect();
        step(&mut world, TICK)?;
    }
    for core in 0..world.cores.len() {
        world.tell_session(core, Event::Draining);
    }
    let before = world.versions();
    let keys: Vec<_> = world.connections.keys().copied().collect();
    for key in keys {
        let by = [EndedBy::Peer, EndedBy::Silence, EndedBy::Us][world.random.index(3)];
        world.end(key, by);
        step(&mut world, TICK)?;
    }
    for _ in 0..400 {
        step(&mut world, TICK * 5)?;
    }
    if world.versions() != before {
        world.break_rule("a node that drains removed something".to_owned());
    }
    world.broken.map_or(Ok(world.trace), Err)
}

pub(crate) fn step(world: &mut World, by: Duration) -> Result<(), String> {
    world.tick(by);
    world.broken.take().map_or(Ok(()), Err)
}

fn populated(seed: u64, size: Size, planted: Option<Planted>, tables: Seed) -> World {
    let mut world = World::new(seed, size, planted, tables);
    world.populate();
    world
}

impl World {
    /// The versions that the owners gave last.
    pub(crate) fn versions(&self) -> Vec<Option<i64>> {
        let versions = self.services.iter().map(|id| {
            let owner = self.core_of(self.ring.owner(id));
            let datum = self.cores[owner].data.datum(id);
            datum.map(|datum| datum.version().wire())
        });
        versions.collect()
    }

    pub(crate) fn populate(&mut self) {
        (0..7).for_each(|_| self.add_client());
    }

    fn add_client(&mut self) {
        let one_at_a_time = self.random.chance(500);
        let client = self.join(one_at_a_time);
        for _ in 0..=self.random.below(2) {
            self.add_publisher(client);
            self.add_subscriber(client);
        }
    }

    /// A client that does nothing yet.
    pub(crate) fn join(&mut self, one_at_a_time: bool) -> usize {
        let client = self.clients.len();
        let port = 10_000 + u16::try_from(client).expect("few clients");
        self.clients.push(Client {
            peer: SocketAddr::from(([10, 0, 0, 1], port)),
            clock_ms: 0,
            renews_timestamps: self.random.chance(500),
            lives: true,
            connection: None,
            reconnects_at: self.now.monotonic,
            one_at_a_time,
            publishers: Vec::new(),
            subscribers: Vec::new(),
        });
        client
    }

    fn add_publisher(&mut self, client: usize) {
        let service = self.random.index(self.services.len());
        let zone = ZONES[self.random.index(2)];
        self.publish(client, service, zone);
    }

    pub(crate) fn publish(&mut self, client: usize, service: usize, zone: Zone) {
        let register_id = self.register_id("p", client, service);
        let timestamp = self.clients[client].timestamp(self.now.wall_ms);
        self.clients[client].publishers.push(Publishing {
            service,
            timestamp,
            text: format!("{register_id} 1"),
            register_id,
            zone,
            version: 1,
            wanted: true,
            sending: Sending::Due,
            acknowledged: None,
        });
    }

    fn add_subscriber(&mut self, client: usize) {
        let service = self.random.index(self.services.len());
        let zone = ZONES[self.random.index(2)];
        let scope = SCOPES[self.random.index(3)];
        self.subscribe(client, service, zone, scope);
    }

    pub(crate) fn subscribe(&mut self, client: usize, service: usize, zone: Zone, scope: Scope) {
        let register_id = self.register_id("s", client, service);
        self.clients[client].subscribers.push(Subscribing {
            service,
            register_id,
            zone,
            scope,
            wanted: true,
            sending: Sending::Due,
            held: None,
        });
    }

    fn register_id(&mut self, kind: &str, client: usize, service: usize) -> String {
        self.registered += 1;
        format!("{kind}{}@{service}.c{client}", self.registered)
    }

    /// Those who want to be connected and may be.
    pub(crate) fn reconnect(&mut self) {
        for client in 0..self.clients.len() {
            let one = &self.clients[client];
            if one.lives && one.connection.is_none() && one.reconnects_at <= self.now.monotonic {
                let node = self.random.index(self.size.nodes);
                let core = self.random.below(u64::from(self.size.cores));
                self.connect(client, node, u16::try_from(core).expect("few cores"));
            }
        }
    }

    fn act(&mut self) {
        self.reconnect();
        for client in 0..self.clients.len() {
            if self.clients[client].lives && self.random.chance(20) {
                self.act_as(client);
            }
        }
        if self.is_lossless() && self.random.chance(3) {
            let hour = self.random.below(3_600_000);
            match self.random.chance(500) {
                true => self.now.wall_ms += hour,
                false => self.now.wall_ms -= hour,
            }
        }
    }

    fn act_as(&mut self, client: usize) {
        match self.random.below(100) {
            work @ 0..60 => self.work_on(client, work),
            60..80 => {
                let noticed = Duration::from_millis(self.random.below(2500));
                self.leave(client, noticed, EndedBy::Peer);
                self.pause(client, 120);
            }
            80..88 => {
                let noticed = Duration::from_millis(3000 + self.random.below(5000));
                self.leave(client, noticed, EndedBy::Silence);
                self.pause(client, 1000);
            }
            88..90 => {
                let step = self.random.below(10_000).cast_signed() - 8_000;
                self.clients[client].clock_ms += step;
            }
            90..96 => {
                if let Some(key) = self.clients[client].connection {
                    self.end(key, EndedBy::Us);
                }
            }
            _ => self.kill(client),
        }
    }

    /// What a client does that has no accident, but may end.
    pub(crate) fn work_as(&mut self, client: usize) {
        match self.random.below(63) {
            work @ 0..60 => self.work_on(client, work),
            _ => self.kill(client),
        }
    }

    fn work_on(&mut self, client: usize, work: u64) {
        match work {
            0..30 => self.republish(client),
            30..38 => self.unpublish(client),
            38..48 => self.add_publisher(client),
            48..54 => self.add_subscriber(client),
            _ => self.unsubscribe(client),
        }
    }

    fn pause(&mut self, client: usize, up_to_ms: u64) {
        let pause = Duration::from_millis(self.random.below(up_to_ms));
        self.clients[client].reconnects_at = self.now.monotonic + pause;
    }

    fn republish(&mut self, client: usize) {
        let place = self.random.index(self.clients[client].publishers.len());
        self.republish_one(client, place);
    }

    pub(crate) fn republish_one(&mut self, client: usize, place: usize) {
        let timestamp = self.clients[client].timestamp(self.now.wall_ms);
        if let Some(one) = self.clients[client].publishers.get_mut(place)
            && one.wanted
        {
            one.version += 1;
            one.timestamp = timestamp;
            one.text = format!("{} {}", one.register_id, one.version);
            one.sending = Sending::Due;
        }
    }

    fn unpublish(&mut self, client: usize) {
        let place = self.random.index(self.clients[client].publishers.len());
        self.unpublish_one(client, place);
    }

    pub(crate) fn unpublish_one(&mut self, client: usize, place: usize) {
        if let Some(one) = self.clients[client].publishers.get_mut(place)
            && one.wanted
        {
            one.version += 1;
            one.wanted = false;
            one.sending = Sending::Due;
        }
    }

    fn unsubscribe(&mut self, client: usize) {
        let place = self.random.index(self.clients[client].subscribers.len());
        if let Some(one) = self.clients[client].subscribers.get_mut(place)
            && one.wanted
        {
            one.wanted = false;
            one.sending = Sending::Due;
        }
    }

    /// The process ends, just after it began to publish one thing more; the kernel says so, or the machine went with it.
    /// Another one starts.
    fn kill(&mut self, client: usize) {
        self.add_publisher(client);
        self.send_requests();
        let (noticed, ended_by) = match self.random.chance(700) {
            true => (Duration::from_millis(self.random.below(300)), EndedBy::Peer),
            false => (Duration::from_secs(5), EndedBy::Silence),
        };
        self.leave(client, noticed, ended_by);
        self.clients[client].lives = false;
        self.add_client();
    }
}
