//! How far a run is: a bar on a terminal, now and then a line elsewhere.
//!
//! Nothing is drawn while something is measured: steps are told between rounds, by the thread that measures.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal, at most.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// One bar; it leaves with this value.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    steps: usize,
    /// Where there is a terminal.
    bar: Option<ProgressBar>,
    done: Cell<usize>,
    told: Cell<Option<Instant>>,
}

impl Progress {
    /// So many steps to go.
    pub(crate) fn new(what: impl Into<String>, steps: usize) -> Self {
        let what = what.into();
        let bar = stderr().is_terminal().then(|| {
            let style = "{prefix} [{bar:30.cyan/blue}] {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(style).expect("a valid template");
            ProgressBar::new(steps as u64)
                .with_style(style.progress_chars("=> "))
                .with_prefix(what.clone())
        });
        Self {
            what,
            steps,
            bar,
            done: Cell::new(0),
            told: Cell::new(None),
        }
    }

    /// Says what is done next.
    pub(crate) fn begin(&self, phase: impl Display) {
        if let Some(bar) = &self.bar {
            bar.set_message(phase.to_string());
            bar.tick();
        } else if self
            .told
            .get()
            .is_none_or(|told| told.elapsed() >= LINE_EVERY)
        {
            let (what, next) = (&self.what, self.done.get() + 1);
            eprintln!("{what}: {phase} ({next} of {})", self.steps);
            self.told.set(Some(Instant::now()));
        }
    }

    /// Says that it is done.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get() + 1);
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
