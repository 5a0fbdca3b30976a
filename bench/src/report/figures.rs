//! Numbers as a reader can use them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3)
}

/// Milliseconds below which this share of the times lies.
pub(crate) fn quantile_ms(times: &Histogram<u64>, quantile: f64) -> f64 {
    rounded(times.value_at_quantile(quantile) as f64 / 1e6)
}

/// Three digits behind the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The middle of some values; zero of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A length in the unit in which it is a small number.
pub(crate) fn bytes(bytes: usize) -> String {
    if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{bytes} B")
    }
}

/// A number with three or more digits that count, and thousands set apart.
pub(crate) fn shown(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole
        .strip_prefix('-')
        .map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_the_sequence() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown: Vec<_> = [0.0, 0.1234, 1.5, 12.34, 531_207.4, -1_000.0]
            .map(shown)
            .into();

        assert_eq!(shown, ["0", "0.123", "1.5", "12.3", "531,207", "-1,000"]);
    }

    #[test]
    fn lengths_have_a_unit() {
        assert_eq!(
            [128, 1 << 10, 65_536].map(bytes),
            ["128 B", "1 KiB", "64 KiB"]
        );
    }
}
