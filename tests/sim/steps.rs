//! A node that goes down at each single step of its disks: a short life, the same every time, with all in it that a journal does, cut off
//! at every operation in turn.

use std::time::Duration;

use rollcall_core::data;
use rollcall_core::data::journal::Durability;
use rollcall_core::machine::{Instant, Machine};
use rollcall_core::names::Scope;
use rollcall_core::session::{self, EndedBy};
use rollcall_core::tables::Seed;

use crate::crashes::{INTERVAL, Loss, SYNC_EVERY, Versions, is_all_there};
use crate::disk::Fate;
use crate::invariants;
use crate::life::{TICK, Zone, step};
use crate::world::{Size, World};

const SEED: u64 = 1;
/// A disk that fails does so for this long, and is tried again a little later.
const FAILING: Duration = Duration::from_millis(300);
/// A sync may wait for the operation under way, and takes its time.
const SYNC_LATE: Duration = Duration::from_millis(200);
/// Clients come back so soon.
const AWAY_MAX: Duration = Duration::from_millis(1_500);
/// No cut at a start is later: what a start has to do on its disks is done by then.
const START: Duration = Duration::from_millis(200);

/// What the life that is cut off is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) durability: Durability,
    pub(crate) cores: u16,
    /// In the midst of it all disks fail for a while.
    pub(crate) disks_fail: bool,
}

/// How far all disks are, and where the node goes down.
#[derive(Default)]
pub(crate) struct Steps {
    count: usize,
    cut: Option<Cut>,
    pub(crate) is_down: bool,
}

/// Where the node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// At which operation.
    number: usize,
    moment: Moment,
}

/// When in the life of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The disk has been given it. If nothing of it is done, that is also the moment before.
    HandedOver,
    /// It should have ended.
    Due,
    /// Its end was told, and what waited for that is done.
    Told,
}

/// How the node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crash {
    loss: Loss,
    leaves: Leaves,
}

/// What is there of all that is not certain: what is under way, and if the power is lost what is not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nothing,
    Half,
    Everything,
}

/// What happens in the life that is cut off.
enum Act {
    Publish(usize, usize, Zone),
    Republish(usize, usize),
    Unpublish(usize, usize),
    /// The client is gone for good.
    Die(usize),
    /// All disks fail for so long.
    DisksFail(Duration),
    /// The wall clock is so much later.
    Later(Duration),
    /// The node ends in order.
    Stop,
    Nothing,
}

/// A life, and those after it.
struct Trial {
    setting: Setting,
    world: World,
    /// What the owner had at the end of each tick of this life, but not what a disk failed before it had to have it.
    past: Vec<(Instant, Versions)>,
    is_stopping: bool,
    /// What the last start found.
    recovered: Versions,
}

impl Steps {
    /// The number of one operation more.
    pub(crate) fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// An operation has come so far; true if the node is down from here on.
    pub(crate) fn pass(&mut self, number: usize, moment: Moment) -> bool {
        self.is_down |= self.cut == Some(Cut { number, moment });
        self.is_down
    }
}

impl Leaves {
    fn fate(self) -> Fate<'static> {
        match self {
            Self::Nothing => Fate::Nothing,
            Self::Half => Fate::Half(0),
            Self::Everything => Fate::Everything,
        }
    }
}

/// A process that is gone leaves what the kernel has.
const KILLED: Crash = crash(Loss::Process, Leaves::Nothing);
const KILLED_AMID: Crash = crash(Loss::Process, Leaves::Half);
const KILLED_LATE: Crash = crash(Loss::Process, Leaves::Everything);
/// Only what is synced is there.
const CUT: Crash = crash(Loss::Power, Leaves::Nothing);
/// What was written first is not there, and the first half of what was written then.
const TORN: Crash = crash(Loss::Power, Leaves::Half);
const CUT_LATE: Crash = crash(Loss::Power, Leaves::Everything);

const WAYS: [(Moment, Crash); 11] = [
    (Moment::HandedOver, KILLED),
    (Moment::HandedOver, CUT),
    (Moment::Due, KILLED),
    (Moment::Due, KILLED_AMID),
    (Moment::Due, KILLED_LATE),
    (Moment::Due, CUT),
    (Moment::Due, TORN),
    (Moment::Told, KILLED),
    (Moment::Told, CUT),
    (Moment::Told, TORN),
    (Moment::Told, CUT_LATE),
];

const TWICE: [(Crash, Crash); 2] = [(KILLED_AMID, TORN), (TORN, CUT)];

const fn crash(loss: Loss, leaves: Leaves) -> Crash {
    Crash { loss, leaves }
}

/// Goes down at every operation of the life, in every way.
pub(crate) fn at_every_operation(setting: Setting) {
    let mut on_medium = Versions::new();
    for number in 1..=operations(setting) {
        for (moment, crash) in WAYS {
            let mut trial = Trial::new(setting);
            trial.holds(&[(Cut { number, moment }, crash)]);
            if (moment, crash) == (Moment::HandedOver, CUT) {
                let now = trial.recovered;
                let lasts = is_all_there(&on_medium, &now);
                assert!(
                    lasts,
                    "{setting:?}: at {number} {now:?} is on the medium, before {on_medium:?}"
                );
                on_medium = now;
            }
        }
    }
}

/// Goes down at every operation of the life, and again at every one of the start after that.
pub(crate) fn at_every_operation_of_a_start(setting: Setting) {
    let moment = Moment::Due;
    for number in 1..=operations(setting) {
        for (first, second) in TWICE {
            let first = (Cut { number, moment }, first);
            let starts = (1..).map(|number| (Cut { number, moment }, second));
            let is_reached = |second| Trial::new(setting).holds(&[first, second]);
            assert!(
                starts.take_while(|&second| is_reached(second)).count() > 2,
                "{setting:?} {number} {first:?}: a start writes"
            );
        }
    }
}

/// Loses its power at every operation of the life, and stops in order before anybody is back.
pub(crate) fn at_every_operation_and_stopped_early(setting: Setting) {
    let moment = Moment::Due;
    for number in 1..=operations(setting) {
        for crash in [CUT, TORN] {
            let mut trial = Trial::new(setting);
            let ran = trial.run_with_stop(Cut { number, moment }, crash);
            ran.unwrap_or_else(|what| panic!("{setting:?} {number} {crash:?}: {what}"));
        }
    }
}

/// How many there are if nothing goes wrong.
fn operations(setting: Setting) -> usize {
    let mut trial = Trial::new(setting);
    trial.holds(&[]);
    trial.world.steps.count
}

impl Trial {
    fn new(setting: Setting) -> Self {
        let size = Size {
            nodes: 1,
            cores: setting.cores,
        };
        let mut world = World::without_start(SEED, size, Seed(SEED));
        world.calm = true;
        world.is_untraced = true;
        world.durability = setting.durability;
        for core in &mut world.cores {
            core.disk_mut().is_steady = true;
        }
        Self {
            setting,
            world,
            past: Vec::new(),
            is_stopping: false,
            recovered: Vec::new(),
        }
    }

    /// Whether it has gone down each time it was said.
    fn holds(&mut self, crashes: &[(Cut, Crash)]) -> bool {
        let ran = self.run(crashes);
        ran.unwrap_or_else(|what| panic!("{:?} {crashes:?}: {what}", self.setting))
    }

    /// Lives, goes down where it is said, and again, counted from there, and comes right.
    fn run(&mut self, crashes: &[(Cut, Crash)]) -> Result<bool, String> {
        self.live(crashes.first().map(|(cut, _)| *cut))?;
        let mut crashes = crashes.iter().peekable();
        while self.world.steps.is_down {
            let (_, crash) = crashes.next().expect("it goes down only where it is said");
            self.come_back(*crash, crashes.peek().map(|(cut, _)| *cut))?;
        }
        self.come_right()?;
        Ok(crashes.next().is_none())
    }

    /// Lives, goes down, stops in order as soon as it is back, and comes right.
    fn run_with_stop(&mut self, cut: Cut, crash: Crash) -> Result<(), String> {
        self.live(Some(cut))?;
        self.come_back(crash, None)?;
        self.stop();
        while !self.is_over() {
            self.pass(1)?;
        }
        self.come_back(KILLED_LATE, None)?;
        self.come_right()
    }

    /// The life that is cut off.
    fn live(&mut self, cut: Option<Cut>) -> Result<(), String> {
        let world = &mut self.world;
        world.steps.cut = cut;
        (0..world.cores.len()).for_each(|core| world.restart(core));
        (0..world.cores.len()).for_each(|core| world.finish_start(core));
        for one_at_a_time in [false, true, false, false, true] {
            world.join(one_at_a_time);
        }
        for (client, scope) in [(1, Scope::Zone), (3, Scope::Global), (4, Scope::DataCenter)] {
            (0..3).for_each(|service| world.subscribe(client, service, "zone-a", scope));
        }
        for (act, ticks) in script(self.setting.disks_fail) {
            self.act(act);
            self.pass(ticks)?;
        }
        while self.is_stopping && !self.is_over() {
            self.pass(1)?;
        }
        // The last operations end, and what they lead to.
        self.pass(2)
    }

    fn is_over(&self) -> bool {
        let mut cores = self.world.cores.iter();
        self.world.steps.is_down || cores.all(|core| core.data.journal().is_sealed())
    }

    fn pass(&mut self, ticks: usize) -> Result<(), String> {
        for _ in 0..ticks {
            if self.world.steps.is_down {
                return Ok(());
            }
            if !self.is_stopping {
                self.world.reconnect();
            }
            step(&mut self.world, TICK)?;
            let now = self.world.now.monotonic;
            let mut cores = self.world.cores.iter();
            match cores.any(|core| core.data.journal().trouble().is_some()) {
                true => self.past.retain(|(at, _)| is_on_medium(*at, now)),
                false => self.past.push((now, self.world.published())),
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act) {
        let world = &mut self.world;
        if world.steps.is_down {
            return;
        }
        match act {
            Act::Publish(client, service, zone) => world.publish(client, service, zone),
            Act::Republish(client, place) => world.republish_one(client, place),
            Act::Unpublish(client, place) => world.unpublish_one(client, place),
            Act::Die(client) => {
                world.leave(client, Duration::ZERO, EndedBy::Peer);
                world.clients[client].lives = false;
            }
            Act::DisksFail(time) => {
                let until = world.now.monotonic + time;
                for core in &mut world.cores {
                    core.disk_mut().fail_until(until);
                }
            }
            Act::Later(by) => {
                world.now.wall_ms += u64::try_from(by.as_millis()).expect("a short time");
            }
            Act::Stop => self.stop(),
            Act::Nothing => {}
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        let world = &mut self.world;
        for core in 0..world.cores.len() {
            world.tell_session(core, session::Event::Draining);
        }
        let keys: Vec<_> = world.connections.keys().copied().collect();
        for key in keys {
            world.end(key, EndedBy::Us);
        }
        for core in &mut world.cores {
            core.data
                .handle(world.now, data::Event::Seal, &mut Vec::new());
        }
    }

    /// Goes down, with everybody having read what was sent to them, and is started again.
    fn come_back(&mut self, crash: Crash, cut: Option<Cut>) -> Result<(), String> {
        let world = &mut self.world;
        world.deliver_all();
        world.go_down(crash.loss, &mut crash.leaves.fate());
        world.steps = Steps {
            cut,
            ..Steps::default()
        };
        self.recovered = world.published();
        self.check_interval(crash.loss)?;
        self.past.clear();
        self.is_stopping = false;
        let world = &mut self.world;
        for client in &mut world.clients {
            let away = Duration::from_millis(world.random.below(AWAY_MAX.as_millis() as u64));
            client.reconnects_at = world.now.monotonic + away;
        }
        for core in 0..world.cores.len() {
            world.finish_start(core);
        }
        self.pass(usize::try_from(START.as_millis() / TICK.as_millis()).expect("few"))?;
        let mut cores = self.world.cores.iter();
        match cores.find_map(|core| core.data.journal().failure()) {
            Some(error) => Err(format!("the journal fails on a sound disk: {error}")),
            None => Ok(()),
        }
    }

    /// What was there an interval before the power went is there.
    fn check_interval(&mut self, loss: Loss) -> Result<(), String> {
        let world = &mut self.world;
        if (loss, world.durability) != (Loss::Power, INTERVAL) {
            return Ok(());
        }
        let now = world.now.monotonic;
        let mut past = self.past.iter().rev();
        let synced = past.find(|(at, _)| is_on_medium(*at, now));
        match synced {
            Some((_, had)) if !is_all_there(had, &self.recovered) => Err(format!(
                "{had:?} was there an interval ago, {:?} is recovered",
                self.recovered
            )),
            _ => Ok(()),
        }
    }

    /// Everybody comes back, and what changes then is seen; and all of it is on the medium a little later.
    fn come_right(&mut self) -> Result<(), String> {
        let world = &mut self.world;
        world.steps.cut = None;
        if self.is_stopping {
            return self.goes_on_with_everything();
        }
        let phases = [
            (AWAY_MAX + Duration::from_millis(500), TICK * 2),
            (Duration::from_secs(10), TICK * 10),
            (Duration::from_secs(30), TICK * 50),
        ];
        for (time, tick) in phases {
            let end = world.now.monotonic + time;
            while world.now.monotonic < end {
                world.reconnect();
                step(world, tick)?;
            }
            world.lost.clear();
        }
        for client in 0..2 {
            world.republish_one(client, 0);
        }
        for _ in 0..20 {
            step(world, TICK)?;
        }
        for _ in 0..20 {
            step(world, TICK * 10)?;
        }
        invariants::check_quiet(world)?;
        self.goes_on_with_everything()
    }

    /// The power may go: all is there.
    fn goes_on_with_everything(&mut self) -> Result<(), String> {
        let world = &mut self.world;
        let before = world.published();
        world.go_down(Loss::Power, &mut Fate::Nothing);
        let after = world.published();
        match before == after {
            true => Ok(()),
            false => Err(format!("{before:?} at rest, {after:?} recovered")),
        }
    }
}

/// Whether disks that are sound must have by now what was there then.
fn is_on_medium(then: Instant, now: Instant) -> bool {
    now.since(then) > SYNC_EVERY + SYNC_LATE
}

/// What happens, and for how many ticks afterwards nothing else does.
fn script(disks_fail: bool) -> Vec<(Act, usize)> {
    let mut script = vec![
        (Act::Publish(0, 0, "zone-a"), 0),
        (Act::Publish(0, 1, "zone-b"), 0),
        (Act::Publish(1, 0, "zone-a"), 0),
        (Act::Publish(2, 0, "zone-b"), 20),
        (Act::Republish(0, 0), 3),
        (Act::Publish(1, 2, "zone-a"), 3),
        // The interval between two syncs.
        (Act::Unpublish(0, 1), 110),
        (Act::Publish(1, 0, "zone-b"), 3),
        (Act::Later(Duration::from_secs(40)), 0),
        (Act::Republish(1, 0), 8),
        (Act::Die(2), 3),
    ];
    // Twice what is live, and more: a snapshot.
    for round in 0..14 {
        script.push((Act::Republish(round % 2, 0), 3));
    }
    if disks_fail {
        script.extend([
            (Act::DisksFail(FAILING), 0),
            (Act::Republish(0, 0), 10),
            (Act::Publish(0, 2, "zone-a"), 10),
            (Act::Unpublish(1, 2), 20),
        ]);
        // While a snapshot is tried again, and once more behind it.
        for round in 0..16 {
            script.push((Act::Republish(round % 2, 0), 7));
        }
    }
    script.extend([
        (Act::Nothing, 20),
        (Act::Republish(0, 0), 5),
        (Act::Publish(1, 1, "zone-a"), 1),
        (Act::Stop, 0),
    ]);
    script
}
