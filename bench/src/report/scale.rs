//! Where a value lies on an axis, and which values the axis names.

use super::figures::shown;

/// A spread of at least this much is shown by powers, so that the small values are not all the same line.
const SPREAD_FOR_POWERS: f64 = 25.0;
/// Names along an axis, about.
const TICKS: f64 = 5.0;

/// The values along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Scale {
    /// From zero, or the lowest value where that is below, to the highest; by powers where values spread far.
    pub(super) fn fitting(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values);
        if low > 0.0 && high / low >= SPREAD_FOR_POWERS {
            return Self::powers_between(low, high);
        }
        let high = if high > low.min(0.0) { high } else { low + 1.0 };
        let step = step(high - low.min(0.0));
        Self {
            low: (low.min(0.0) / step).floor() * step,
            high: (high / step).ceil() * step,
            is_log: false,
        }
    }

    /// By powers of ten, whatever the spread.
    pub(super) fn powers(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values.filter(|value| *value > 0.0));
        Self::powers_between(low.max(1e-6), high.max(1e-5))
    }

    /// These ends.
    pub(super) fn between(low: f64, high: f64) -> Self {
        Self {
            low,
            high: high.max(low + 1e-9),
            is_log: false,
        }
    }

    fn powers_between(low: f64, high: f64) -> Self {
        // Ends at 1, 2 or 5 times a power: whole decades would leave half the plot empty.
        let low = named_powers(low / 10.0, low).last().unwrap_or(low);
        let above = |end: &f64| *end > low * 1.001;
        let high = named_powers(high, high * 10.0).find(above).unwrap_or(high);
        Self {
            low,
            high,
            is_log: true,
        }
    }

    /// How far along the axis a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    /// The values it names, and how they are written.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let named = |value: f64| (value, short(value));
        if !self.is_log {
            let step = step(self.high - self.low);
            let count = ((self.high - self.low) / step).round() as usize;
            return (0..=count)
                .map(|number| named(self.low + number as f64 * step))
                .filter(|(value, _)| *value <= self.high + step * 1e-6)
                .collect();
        }
        let all: Vec<_> = named_powers(self.low, self.high).collect();
        let decades = (self.high / self.low).log10();
        let is_named = |value: &f64| decades < 3.0 || is_power_of_ten(*value);
        all.into_iter().filter(is_named).map(named).collect()
    }
}

/// The lowest and the highest of some values; 0 and 1 of none.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values.fold(None, |ends: Option<(f64, f64)>, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    found.unwrap_or((0.0, 1.0))
}

/// The distance between two names on an axis of this length: 1, 2 or 5 times a power of ten.
fn step(length: f64) -> f64 {
    let rough = length / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// 1, 2 and 5 times the powers of ten from one value to another.
fn named_powers(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    (first..=last)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power)))
        .filter(move |value| (low * 0.999..=high * 1.001).contains(value))
}

fn is_power_of_ten(value: f64) -> bool {
    let power = value.log10();
    (power - power.round()).abs() < 1e-6
}

/// A number as an axis has room for.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", shown(value / 1e6)),
        size if size >= 1e4 => format!("{} k", shown(value / 1e3)),
        _ => shown(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_size_stand_on_a_line_from_zero() {
        let scale = Scale::fitting([4.0, 9.0].into_iter());

        assert_eq!(scale.place(0.0), 0.0);
        assert_eq!(scale.place(10.0), 1.0);
        let names: Vec<_> = scale.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn values_that_spread_far_stand_by_powers() {
        let scale = Scale::fitting([0.7, 600.0].into_iter());

        let names: Vec<_> = scale.ticks().into_iter().map(|(_, name)| name).collect();

        assert_eq!(names, ["1", "10", "100", "1,000"]);
        assert!((scale.place(500.0) - 0.909).abs() < 1e-3);
    }

    #[test]
    fn an_axis_of_one_value_has_a_length() {
        for scale in [
            Scale::fitting([0.0].into_iter()),
            Scale::fitting([7.0].into_iter()),
            Scale::powers([2.0].into_iter()),
        ] {
            assert!(scale.high > scale.low, "{scale:?}");
        }
    }
}
