//! Servers of others that failed under a load, and the larger loads that they are spared.

use serde_json::json;

use super::Load;
use super::turns::OnFailure;
use crate::args::Common;
use crate::interrupt;
use crate::report::Report;
use crate::target::Kind;

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<Failure>);

/// A server that failed, and under which load first.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    load: Load,
    why: String,
}

impl Failures {
    /// What becomes of a server that fails under this load: one of others is noted and the run goes on without it; another ends the run.
    pub(super) fn at(&mut self, load: Load) -> Box<OnFailure<'_>> {
        Box::new(move |kind, error| {
            interrupt::check()?;
            if !kind.is_peer() {
                return Err(error);
            }
            eprintln!("goes on without {}: {error}", kind.name());
            let why = error.to_string();
            self.0.push(Failure { kind, load, why });
            Ok(())
        })
    }

    /// How a server failed under this load or a smaller one, if it did.
    pub(super) fn of(&self, kind: Kind, load: Load) -> Option<&Failure> {
        let is_it = |failure: &&Failure| failure.kind == kind && failure.load.is_within(load);
        self.0.iter().find(is_it)
    }

    /// The servers that did not fail under this load or a smaller one.
    pub(super) fn able(&self, common: &Common, load: Load) -> Common {
        let others = common.vs.iter().copied();
        Common {
            vs: others
                .filter(|&kind| self.of(kind, load).is_none())
                .collect(),
            ..common.clone()
        }
    }

    /// Names those of these servers that have no figures under this load.
    pub(super) fn tell(&self, common: &Common, load: Load, report: &mut Report) {
        for failure in common.vs.iter().filter_map(|&kind| self.of(kind, load)) {
            let why = if load.is_within(failure.load) {
                failure.why.clone()
            } else {
                format!("not tried: it failed with {}", failure.load)
            };
            report.row(
                "fanout: servers of others that failed",
                json!({
                    "subscribers": load.subscribers,
                    "bytes": load.payload,
                    "server": failure.kind.name(),
                    "why": why,
                }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::Length;
    use super::*;

    fn load(subscribers: usize, payload: usize) -> Load {
        Load {
            subscribers,
            payload,
            length: Length::exactly(1),
        }
    }

    #[test]
    fn a_server_that_failed_is_spared_what_is_no_smaller() {
        let mut failures = Failures::default();

        failures.at(load(100, 1_000))(Kind::Redis, io::Error::other("full")).expect("it goes on");

        let fails = |kind, load| failures.of(kind, load).is_some();
        assert!(fails(Kind::Redis, load(100, 1_000)));
        assert!(fails(Kind::Redis, load(200, 1_000)));
        assert!(!fails(Kind::Redis, load(200, 500)));
        assert!(!fails(Kind::Redis, load(50, 2_000)));
        assert!(!fails(Kind::Nats, load(200, 2_000)));
    }

    #[test]
    fn a_server_of_ours_must_not_fail() {
        let mut failures = Failures::default();

        let ended = failures.at(load(1, 1))(Kind::Rollcall, io::Error::other("a push was lost"));

        assert_eq!(
            ended.map_err(|error| error.to_string()),
            Err("a push was lost".to_owned())
        );
    }
}
