//! Servers that take turns under the same load, and what becomes of one that fails.

use std::io;
use std::time::Instant;

use super::{Load, Stage, TURNS_MAX};
use crate::args::Common;
use crate::host::Seats;
use crate::progress::Progress;
use crate::target::{Kind, Target};

/// Lets servers take turns.
pub(crate) fn turns(targets: Vec<Target>, load: Load, rounds: usize) -> io::Result<Vec<Stage>> {
    let mut stages = set_up(targets, load, &mut |_, error| Err(error))?;
    alternate(&mut stages, load, rounds)?;
    Ok(stages)
}

/// Lets servers whose subscribers are there take turns.
pub(crate) fn alternate(stages: &mut Vec<Stage>, load: Load, rounds: usize) -> io::Result<()> {
    take(stages, load, rounds, &mut |_, error| Err(error))
}

/// What becomes of a server that failed: an error ends the run; otherwise the others go on without it.
pub(super) type OnFailure<'a> = dyn FnMut(Kind, io::Error) -> io::Result<()> + 'a;

/// Starts all servers before the first client comes: some take long, and nobody is to be kept waiting.
pub(super) fn targets(
    common: &Common,
    seats: Seats,
    on_failure: &mut OnFailure<'_>,
) -> io::Result<Vec<Target>> {
    let mut targets = vec![Target::first(common, seats)?];
    for &kind in &common.vs {
        match Target::start(kind, seats, common.cores) {
            Ok(target) => targets.push(target),
            Err(error) => on_failure(kind, error)?,
        }
    }
    Ok(targets)
}

/// Lets the subscribers come to each.
pub(super) fn set_up(
    targets: Vec<Target>,
    load: Load,
    on_failure: &mut OnFailure<'_>,
) -> io::Result<Vec<Stage>> {
    let progress = Progress::new(format!("fanout, {load}"), targets.len());
    let mut stages = Vec::new();
    for target in targets {
        progress.begin(format_args!("subscribers come to {}", target.name));
        let kind = target.kind;
        match Stage::set_up(target, load.subscribers) {
            Ok(stage) => stages.push(stage),
            Err(error) if stages.is_empty() => return Err(error),
            Err(error) => on_failure(kind, error)?,
        }
        let mut others = Others(&mut stages, &mut []);
        others.ping();
        progress.step();
    }
    Ok(stages)
}

/// Lets servers whose subscribers are there take turns, and goes on without those that fail; without the first there is nothing to compare.
pub(super) fn take(
    stages: &mut Vec<Stage>,
    load: Load,
    rounds: usize,
    on_failure: &mut OnFailure<'_>,
) -> io::Result<()> {
    let progress = Progress::new(format!("fanout, {load}"), rounds * stages.len());
    for round in 0..rounds {
        let mut turn = 0;
        while turn < stages.len() {
            let name = &stages[turn].target.name;
            progress.begin(format_args!("round {}, {name}", round + 1));
            let (before, rest) = stages.split_at_mut(turn);
            let (stage, behind) = rest.split_first_mut().expect("it has a turn");
            let begin = Instant::now();
            let done = stage.round(load, &mut Others(before, behind));
            stage.spent += begin.elapsed();
            let done = done.and_then(|()| stage.is_in_time(rounds));
            progress.step();
            match done {
                Ok(()) => turn += 1,
                Err(error) if turn == 0 => return Err(error),
                Err(error) => on_failure(stages.remove(turn).target.kind, error)?,
            }
        }
    }
    Ok(())
}

impl Stage {
    /// An error if this server of others took so long that it has no further turn.
    fn is_in_time(&self, rounds: usize) -> io::Result<()> {
        let done = self.rounds.len();
        if !self.target.kind.is_peer() || done == rounds || self.spent <= TURNS_MAX {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{}: {done} of {rounds} rounds took {:.0?}, more than {TURNS_MAX:.0?}",
            self.target.name, self.spent
        )))
    }
}

/// The servers before and behind the one that has its turn.
pub(super) struct Others<'a>(&'a mut [Stage], &'a mut [Stage]);

impl Others<'_> {
    /// Whether it is time to let clients of theirs say something.
    pub(super) fn are_silent(&self) -> bool {
        self.0.iter().chain(&*self.1).any(Stage::is_silent)
    }

    /// Lets them, where it is time.
    pub(super) fn ping(&mut self) {
        let stages = self.0.iter_mut().chain(&mut *self.1);
        let silent = stages.filter(|stage| stage.is_silent());
        // What is wrong with them shows in their own turns.
        silent.for_each(|stage| drop(stage.ping_all()));
    }
}
