//! `/metrics`: the counters of all cores in Prometheus' text format.
//!
//! A metric is told twice: as the total under its plain name, and per core under a name of its own, so that a sum over either
//! is right. Distributions are told in full as totals and as sum and count per core, which keeps a scrape of many cores small.

use std::fmt::{Display, Write};

use rollcall_core::stats::{Family, Histogram, Kind, Sample, Stats};

use crate::admin::{Answered, Facts, Phase};

/// The type of the exposition.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of a scrape.
pub(crate) fn exposition(
    cores: &[Stats],
    facts: &Facts,
    push_stopped: bool,
    answered: &Answered,
) -> String {
    let mut total = Stats::default();
    for stats in cores {
        total.add(stats);
    }
    let mut text = Exposition::default();
    about_the_node(&mut text, facts, push_stopped, answered);
    for family in Stats::NUMBERS {
        let kind = if family.kind == Kind::Counter {
            "counter"
        } else {
            "gauge"
        };
        text.family(family.name, family.help, kind);
        for sample in family.samples {
            text.sample(
                family.name,
                &labels(None, family, sample),
                (sample.read)(&total),
            );
        }
        let per_core = format!("core_{}", family.name);
        text.family(&per_core, family.help, kind);
        for (core, stats) in cores.iter().enumerate() {
            for sample in family.samples {
                text.sample(
                    &per_core,
                    &labels(Some(core), family, sample),
                    (sample.read)(stats),
                );
            }
        }
    }
    for family in Stats::TIMES {
        times(&mut text, family, &total, cores);
    }
    text.0
}

fn about_the_node(text: &mut Exposition, facts: &Facts, push_stopped: bool, answered: &Answered) {
    text.family("build_info", "What runs here, in the labels.", "gauge");
    text.sample(
        "build_info",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        1,
    );
    text.family(
        "start_time_seconds",
        "When the process started, in seconds since 1970.",
        "gauge",
    );
    text.sample(
        "start_time_seconds",
        "",
        seconds(facts.started_ms.saturating_mul(1_000_000)),
    );
    text.family("cores", "Data cores.", "gauge");
    text.sample("cores", "", facts.cores);
    text.family(
        "draining",
        "1 while clients are handed over to other nodes.",
        "gauge",
    );
    text.sample("draining", "", u8::from(facts.phase == Phase::Draining));
    text.family(
        "push_stopped",
        "1 while an operator has stopped pushing.",
        "gauge",
    );
    text.sample("push_stopped", "", u8::from(push_stopped));
    text.family(
        "http_requests_total",
        "HTTP requests answered, by role and status.",
        "counter",
    );
    for ((role, status), count) in answered {
        let labels = format!("role=\"{}\",status=\"{status}\"", role.as_str());
        text.sample("http_requests_total", &labels, count);
    }
}

fn times(text: &mut Exposition, family: &Family<Histogram>, total: &Stats, cores: &[Stats]) {
    text.family(family.name, family.help, "histogram");
    for sample in family.samples {
        let labels = labels(None, family, sample);
        let histogram = (sample.read)(total);
        let bounds = Histogram::BOUNDS
            .iter()
            .map(|&bound| seconds(bound))
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(histogram.cumulative()) {
            text.sample(
                &format!("{}_bucket", family.name),
                &format!("{labels},le=\"{bound}\""),
                count,
            );
        }
        text.sum_and_count(family.name, &labels, histogram);
    }
    let per_core = format!("core_{}", family.name);
    text.family(&per_core, family.help, "summary");
    for (core, stats) in cores.iter().enumerate() {
        for sample in family.samples {
            text.sum_and_count(
                &per_core,
                &labels(Some(core), family, sample),
                (sample.read)(stats),
            );
        }
    }
}

fn labels<R>(core: Option<usize>, family: &Family<R>, sample: &Sample<R>) -> String {
    let core = core.map(|core| format!("core=\"{core}\""));
    let own = family
        .label
        .map(|label| format!("{label}=\"{}\"", sample.value));
    core.into_iter().chain(own).collect::<Vec<_>>().join(",")
}

/// Nanoseconds as seconds without rounding and without trailing zeros.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The text as it grows; all names get the product's prefix here.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.trim();
        self.line(format_args!(
            "# HELP rollcall_{name} {help}\n# TYPE rollcall_{name} {kind}"
        ));
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.line(format_args!("rollcall_{name} {value}")),
            labels => self.line(format_args!("rollcall_{name}{{{labels}}} {value}")),
        }
    }

    fn sum_and_count(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        self.sample(
            &format!("{name}_sum"),
            labels,
            seconds(histogram.sum_nanos()),
        );
        self.sample(&format!("{name}_count"), labels, histogram.count());
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes all text");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::admin::{Role, Roles};

    fn facts() -> Facts {
        Facts {
            cores: 2,
            phase: Phase::Serving,
            roles: Roles::ALL,
            data_center: "DefaultDataCenter".into(),
            zone: "DEFAULT_ZONE".into(),
            bolt: "127.0.0.1:9600".parse().expect("an address"),
            advertise: None,
            started_ms: 1_500,
            troubles: Vec::new(),
            others: Vec::new(),
        }
    }

    fn scrape() -> String {
        let mut one = Stats {
            publishers: 3,
            closed_idle: 1,
            ..Stats::default()
        };
        one.push_total.record(1_500_000);
        let mut other = Stats {
            publishers: 4,
            ..Stats::default()
        };
        other.push_total.record(10);
        let answered = BTreeMap::from([((Role::Session, 200), 7)]);
        exposition(&[one, other], &facts(), false, &answered)
    }

    #[test]
    fn totals_and_cores_have_names_of_their_own() {
        let text = scrape();

        for line in [
            "rollcall_publishers 7",
            "rollcall_core_publishers{core=\"0\"} 3",
            "rollcall_core_publishers{core=\"1\"} 4",
            "rollcall_connections_closed_total{reason=\"idle\"} 1",
            "rollcall_core_connections_closed_total{core=\"1\",reason=\"idle\"} 0",
            "rollcall_start_time_seconds 1.5",
            "rollcall_http_requests_total{role=\"session\",status=\"200\"} 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_in_everything() {
        let text = scrape();

        for line in [
            "rollcall_push_latency_seconds_bucket{stage=\"total\",le=\"0.000001\"} 1",
            "rollcall_push_latency_seconds_bucket{stage=\"total\",le=\"0.001\"} 1",
            "rollcall_push_latency_seconds_bucket{stage=\"total\",le=\"0.002\"} 2",
            "rollcall_push_latency_seconds_bucket{stage=\"total\",le=\"+Inf\"} 2",
            "rollcall_push_latency_seconds_sum{stage=\"total\"} 0.00150001",
            "rollcall_push_latency_seconds_count{stage=\"total\"} 2",
            "rollcall_core_push_latency_seconds_count{core=\"1\",stage=\"total\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_family_is_declared_once_before_its_samples_and_no_sample_comes_twice() {
        let text = scrape();
        let mut families = BTreeMap::new();
        let mut samples = BTreeSet::new();
        let mut current = String::new();

        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                assert!(help.ends_with('.') && !help.starts_with(' '), "{line}");
                current = name.to_owned();
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert_eq!(name, current, "HELP and TYPE belong together");
                assert!(
                    families.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{line}"
                );
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a sample");
            let name = sample.split('{').next().expect("a name");
            let suffixes: &[&str] = match families[&current].as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(
                suffixes
                    .iter()
                    .any(|suffix| name == format!("{current}{suffix}")),
                "{line} in {current}"
            );
            assert!(samples.insert(sample.to_owned()), "{line}");
            value.parse::<f64>().expect("a number");
        }

        assert!(families.len() > 60, "{}", families.len());
        assert!(text.ends_with('\n'));
    }
}
