//! Which servers a run measures: those asked for, less those that are not installed, which the report names.

use std::io;

use clap::ValueEnum;
use serde_json::json;

use super::server::installed;
use crate::args::{Args, Common, Scenario};
use crate::report::Report;
use crate::target::Kind;

/// The servers of a run.
#[derive(Debug)]
pub(crate) struct Roster {
    /// What was asked for, with those servers only that are there.
    pub(crate) common: Common,
    /// Servers of others, each with its version or why it is missing.
    peers: Vec<(Kind, Result<String, String>)>,
}

impl Roster {
    /// Looks for every server that was asked for; an error if the scenario cannot measure one, or if the first is missing.
    pub(crate) fn of(args: &Args) -> io::Result<Self> {
        let mut common = args.common.clone();
        let first = common.target.is_none().then_some(common.spawn);
        let asked = || first.into_iter().chain(args.common.vs.iter().copied());
        if !matches!(args.scenario, Scenario::Fanout(_) | Scenario::Goals(_)) {
            asked().try_for_each(must_speak_bolt)?;
        }
        let mut peers = Vec::new();
        for kind in asked().filter(|kind| kind.is_peer()) {
            let found = installed(kind)?;
            if let Err(why) = &found {
                eprintln!("{}: {why}", kind.name());
                if first == Some(kind) {
                    return Err(io::Error::other(format!("{}: {why}", kind.name())));
                }
                common.vs.retain(|other| *other != kind);
            }
            peers.push((kind, found));
        }
        Ok(Self { common, peers })
    }

    /// Says which servers of others there are, what they promise, and which are missing.
    pub(crate) fn tell(&self, report: &mut Report) {
        for (kind, found) in &self.peers {
            let version = match found {
                Ok(version) | Err(version) => version,
            };
            report.row(
                "peers: servers of others",
                json!({
                    "server": kind.name(),
                    "version": version,
                    "installed": found.is_ok(),
                    "delivers": kind.delivers(),
                    "keeps": kind.keeps(),
                }),
            );
        }
    }
}

fn must_speak_bolt(kind: Kind) -> io::Result<()> {
    if kind.speaks_bolt() {
        return Ok(());
    }
    let possible = Kind::value_variants().iter();
    let possible = possible.filter(|kind| kind.speaks_bolt());
    let names: Vec<_> = possible.map(|kind| kind.name()).collect();
    Err(io::Error::other(format!(
        "{} speaks another protocol, so that only fanout can measure it; this scenario measures {}",
        kind.name(),
        names.join(", ")
    )))
}
