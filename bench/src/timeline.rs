//! How long things took, and what happened when: how many events, and the slowest of them, in short slots of the measured time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::report::Moments;

/// Short enough to show a stall, long enough to hold events.
const SLOT: Duration = Duration::from_millis(50);

/// No times yet; they may lie between a microsecond and a minute and are kept to three digits.
pub(crate) fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("a valid range")
}

/// A duration as histograms keep it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The events of one server over all its turns.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    turns: Vec<Turn>,
}

#[derive(Debug)]
struct Turn {
    start: Instant,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    count: u64,
    slowest_nanos: u64,
}

impl Timeline {
    /// Begins a turn: what happens until the next belongs together.
    pub(crate) fn begin(&mut self) {
        self.turns.push(Turn {
            start: Instant::now(),
            slots: Vec::new(),
        });
    }

    /// Counts an event that took so long and ended now; before the first turn nothing counts.
    pub(crate) fn record(&mut self, now: Instant, nanos: u64) {
        let Some(turn) = self.turns.last_mut() else {
            return;
        };
        let place = (now - turn.start).as_millis() / SLOT.as_millis();
        let place = usize::try_from(place).expect("a run ends");
        if turn.slots.len() <= place {
            turn.slots.resize(place + 1, Slot::default());
        }
        let slot = &mut turn.slots[place];
        slot.count += 1;
        slot.slowest_nanos = slot.slowest_nanos.max(nanos);
    }

    /// Events per second.
    pub(crate) fn rates(&self, name: &str) -> Moments {
        self.moments(name, |slot| Some(slot.count as f64 / SLOT.as_secs_f64()))
    }

    /// Milliseconds of the slowest event of each slot that had one.
    pub(crate) fn slowest_ms(&self, name: &str) -> Moments {
        self.moments(name, |slot| {
            (slot.count > 0).then(|| slot.slowest_nanos as f64 / 1e6)
        })
    }

    fn moments(&self, name: &str, value: impl Fn(&Slot) -> Option<f64>) -> Moments {
        let line = |turn: &Turn| {
            // The last slot is not whole.
            let whole = turn.slots.len().saturating_sub(1).max(1);
            let slots = turn.slots.iter().take(whole).enumerate();
            let at = |place: usize| {
                turn.start + SLOT * u32::try_from(place).expect("a run ends") + SLOT / 2
            };
            slots
                .filter_map(|(place, slot)| Some((at(place), value(slot)?)))
                .collect()
        };
        Moments {
            name: name.to_owned(),
            lines: self.turns.iter().map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_tell_the_rate_and_the_slowest() {
        let mut timeline = Timeline::default();
        timeline.begin();
        let start = timeline.turns[0].start;

        timeline.record(start, 1_000_000);
        timeline.record(start + SLOT / 2, 3_000_000);
        timeline.record(start + SLOT * 3, 0);

        let values = |moments: Moments| -> Vec<f64> {
            moments.lines[0].iter().map(|(_, value)| *value).collect()
        };
        assert_eq!(values(timeline.rates("a")), [40.0, 0.0, 0.0]);
        assert_eq!(values(timeline.slowest_ms("a")), [3.0]);
    }
}
