//! Log lines that strangers can cause: one now and then, with how many were left unsaid.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lets a few lines through in so much time.
#[derive(Debug)]
pub struct Seldom {
    lines: u32,
    every: Duration,
    /// When the lines were last counted anew, and how many passed since.
    since: Cell<Option<Instant>>,
    said: Cell<u32>,
    unsaid: Cell<u64>,
}

impl Seldom {
    /// So many `lines` pass in each `every`.
    pub fn new(lines: u32, every: Duration) -> Self {
        Self {
            lines,
            every,
            since: Cell::new(None),
            said: Cell::new(0),
            unsaid: Cell::new(0),
        }
    }

    /// Whether a line may be said now; if so, how many were not since the last that was.
    pub fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        let is_early = |since: Instant| now.duration_since(since) < self.every;
        if !self.since.get().is_some_and(is_early) {
            self.since.set(Some(now));
            self.said.set(0);
        }
        if self.said.get() >= self.lines {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.said.set(self.said.get() + 1);
        Some(self.unsaid.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let rare = Seldom::new(2, Duration::from_secs(3600));
        let often = Seldom::new(1, Duration::ZERO);

        let passed = [(); 5].map(|()| rare.pass());

        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(rare.unsaid.get(), 3);
        assert_eq!([often.pass(), often.pass()], [Some(0), Some(0)]);
    }
}
