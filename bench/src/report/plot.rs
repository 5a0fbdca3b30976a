//! Lines over two axes, drawn as SVG whose colours the page decides.

use std::time::Instant;

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::figures::shown;
use super::scale::Scale;

/// The size of a drawing in its own units; the page stretches it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
/// Room for the names of the values.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
/// Points nearer to the last one than this are not drawn.
const NEAR: f64 = 0.6;
/// A line of fewer points shows each of them.
const FEW: usize = 60;
/// What is told in numbers of a distribution.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One drawing.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(super) title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    /// One row per series, where the series are distributions.
    quantiles: Vec<[f64; QUANTILES.len() + 1]>,
}

/// What lies along one side.
#[derive(Clone, Copy, Debug)]
struct Axis {
    label: &'static str,
    kind: AxisKind,
}

#[derive(Clone, Copy, Debug)]
enum AxisKind {
    /// Whatever shows the values best.
    Fitting,
    /// From zero to the last value, which ends the line.
    Extent,
    /// Powers of ten.
    Powers,
    /// From none to all.
    Share,
}

/// What one server, or one kind of event, did.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name; the same name has the same colour in all drawings.
    pub(crate) name: String,
    /// Points in sequence; between two lines there is a gap.
    pub(crate) lines: Vec<Vec<(f64, f64)>>,
}

/// A series over time, before anyone knows when the first of all began.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// As for [`Series`].
    pub(crate) name: String,
    /// Values with their time.
    pub(crate) lines: Vec<Vec<(Instant, f64)>>,
}

impl Plot {
    /// Which share of the times is below each value.
    pub(crate) fn distribution<'a>(
        title: String,
        label: &'static str,
        times: impl IntoIterator<Item = (&'a str, &'a Histogram<u64>)>,
    ) -> Self {
        let times: Vec<_> = times
            .into_iter()
            .filter(|(_, all)| !all.is_empty())
            .collect();
        let quantiles = times.iter().map(|(_, all)| {
            let mut row = [all.max() as f64 / 1e6; QUANTILES.len() + 1];
            for (cell, (_, quantile)) in row.iter_mut().zip(QUANTILES) {
                *cell = all.value_at_quantile(quantile) as f64 / 1e6;
            }
            row
        });
        Self {
            title,
            x: Axis {
                label,
                kind: AxisKind::Powers,
            },
            y: Axis {
                label: "% of all",
                kind: AxisKind::Share,
            },
            quantiles: quantiles.collect(),
            series: times.iter().map(|(name, all)| shares(name, all)).collect(),
        }
    }

    /// Values over the seconds of the run.
    pub(crate) fn over_time(title: String, label: &'static str, moments: Vec<Moments>) -> Self {
        let all = || moments.iter().flat_map(|series| &series.lines).flatten();
        let begin = all().map(|(at, _)| *at).min();
        let since = |at: Instant| {
            begin.map_or(0.0, |begin| {
                at.saturating_duration_since(begin).as_secs_f64()
            })
        };
        let line = |line: &Vec<(Instant, f64)>| {
            let points = line.iter().map(|(at, value)| (since(*at), *value));
            points.collect()
        };
        let series = moments.iter().map(|series| Series {
            name: series.name.clone(),
            lines: series.lines.iter().map(line).collect(),
        });
        Self::over("seconds", title, label, series.collect())
    }

    /// Values over something else.
    pub(crate) fn over(
        x: &'static str,
        title: String,
        y: &'static str,
        series: Vec<Series>,
    ) -> Self {
        Self {
            title,
            x: Axis {
                label: x,
                kind: AxisKind::Extent,
            },
            y: Axis {
                label: y,
                kind: AxisKind::Fitting,
            },
            series,
            quantiles: Vec::new(),
        }
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.series
            .iter()
            .all(|series| series.lines.iter().all(Vec::is_empty))
    }

    /// The names of what is drawn.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.series.iter().map(|series| series.name.as_str())
    }

    /// The drawing with its legend; `colour` names the class of a series.
    pub(super) fn draw(&self, colour: &dyn Fn(&str) -> String) -> Markup {
        let points = || {
            self.series
                .iter()
                .flat_map(|series| &series.lines)
                .flatten()
        };
        let x = self.x.scale(points().map(|(x, _)| *x));
        let y = self.y.scale(points().map(|(_, y)| *y));
        let place = |(vx, vy): (f64, f64)| {
            let width = WIDTH - LEFT - RIGHT;
            let height = HEIGHT - TOP - BOTTOM;
            (
                LEFT + x.place(vx) * width,
                TOP + (1.0 - y.place(vy)) * height,
            )
        };
        let (left, bottom) = (LEFT, HEIGHT - BOTTOM);
        html! {
            figure.plot {
                figcaption { (self.title) }
                @if self.quantiles.is_empty() { (self.legend(colour)) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    @for (value, name) in y.ticks() {
                        @let (_, at) = place((0.0, value));
                        line.grid x1=(left) x2=(WIDTH - RIGHT) y1=(at) y2=(at) {}
                        text.y x=(left - 6.0) y=(at + 4.0) { (name) }
                    }
                    @for (value, name) in x.ticks() {
                        @let (at, _) = place((value, 0.0));
                        line.grid x1=(at) x2=(at) y1=(TOP) y2=(bottom) {}
                        text.x x=(at) y=(bottom + 16.0) { (name) }
                    }
                    text.x x=((left + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 6.0) { (self.x.label) }
                    text.label transform=(format!("translate(12 {}) rotate(-90)", (TOP + bottom) / 2.0)) { (self.y.label) }
                    @for series in &self.series {
                        g class=(colour(&series.name)) {
                            title { (series.name) }
                            @for line in &series.lines { (draw_line(line.iter().map(|point| place(*point)))) }
                        }
                    }
                }
                @if !self.quantiles.is_empty() { (self.quantile_table(colour)) }
            }
        }
    }

    fn legend(&self, colour: &dyn Fn(&str) -> String) -> Markup {
        html! {
            p.legend {
                @for name in self.names() {
                    span { (swatch(&colour(name))) (name) }
                }
            }
        }
    }

    /// The distributions in numbers, which serve as the legend.
    fn quantile_table(&self, colour: &dyn Fn(&str) -> String) -> Markup {
        html! {
            table.quantiles {
                thead { tr {
                    th {}
                    @for (name, _) in QUANTILES { th { (name) } }
                    th { "max" }
                } }
                tbody {
                    @for (series, row) in self.series.iter().zip(&self.quantiles) {
                        tr {
                            th { (swatch(&colour(&series.name))) (series.name) }
                            @for cell in row { td { (shown(*cell)) } }
                        }
                    }
                }
            }
        }
    }
}

impl Axis {
    fn scale(self, values: impl Iterator<Item = f64>) -> Scale {
        match self.kind {
            AxisKind::Fitting => Scale::fitting(values),
            AxisKind::Extent => Scale::between(0.0, values.fold(0.0, f64::max)),
            AxisKind::Powers => Scale::powers(values),
            AxisKind::Share => Scale::between(0.0, 100.0),
        }
    }
}

/// A mark in the colour of a series.
fn swatch(class: &str) -> Markup {
    html! {
        svg.swatch viewBox="0 0 22 8" aria-hidden="true" {
            g class=(class) { polyline points="0,4 22,4" {} }
        }
    }
}

/// The shares of a distribution, in milliseconds.
fn shares(name: &str, times: &Histogram<u64>) -> Series {
    let all = times.len() as f64;
    let mut below = 0;
    let mut line = vec![(times.min() as f64 / 1e6, 0.0)];
    for step in times.iter_recorded() {
        below += step.count_at_value();
        let value = step.value_iterated_to().min(times.max());
        line.push((value as f64 / 1e6, below as f64 / all * 100.0));
    }
    Series {
        name: name.to_owned(),
        lines: vec![line],
    }
}

fn draw_line(points: impl Iterator<Item = (f64, f64)>) -> Markup {
    let mut drawn: Vec<(f64, f64)> = Vec::new();
    let mut points = points.peekable();
    while let Some((x, y)) = points.next() {
        let is_near = drawn
            .last()
            .is_some_and(|last| (x - last.0).abs() < NEAR && (y - last.1).abs() < NEAR);
        if !is_near || points.peek().is_none() {
            drawn.push((x, y));
        }
    }
    let text: Vec<_> = drawn
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    html! {
        polyline points=(text.join(" ")) {}
        @if drawn.len() < FEW {
            @for (x, y) in &drawn {
                circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.2" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_ends_with_all_of_its_times() {
        let mut times = Histogram::<u64>::new(3).expect("a valid precision");
        for nanos in [1_000_000, 2_000_000, 2_000_000, 9_000_000] {
            times.record(nanos).expect("in range");
        }

        let series = shares("server", &times);

        let last = series.lines[0].last().expect("points");
        assert!((last.0 - 9.0).abs() < 0.01, "{last:?}");
        assert_eq!(last.1, 100.0);
    }

    #[test]
    fn what_is_drawn_is_escaped_and_has_a_line() {
        let series = Series {
            name: "a<b".to_owned(),
            lines: vec![vec![(0.0, 1.0), (1.0, 2.0)]],
        };
        let plot = Plot::over("n", "title".to_owned(), "ms", vec![series]);

        let drawn = plot.draw(&|_| "s0".to_owned()).into_string();

        assert!(drawn.contains("<polyline points=\"58.0,"), "{drawn}");
        assert!(
            drawn.contains("a&lt;b") && !drawn.contains("a<b"),
            "{drawn}"
        );
    }
}
