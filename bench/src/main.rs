//! The load generator: starts a server or takes one that runs, speaks the real client protocol to it over real sockets, and reports what
//! an operator can trust.
//!
//! The server has one CPU and the clients another. What is compared is measured in turns within one run, and a result that cannot be
//! trusted ends the program with an error.

mod apart;
mod args;
mod burst;
mod churn;
mod clients;
mod cores;
mod crowd;
mod curious;
mod deaf;
mod fanout;
mod goals;
mod host;
mod idle;
mod interrupt;
mod journal;
mod meter;
mod mixed;
mod neighbours;
mod network;
mod peers;
mod process;
mod progress;
mod publish;
mod report;
mod resends;
mod storm;
mod target;
mod timeline;
mod wire;
mod yardstick;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Common, Scenario};
use host::Seats;
use peers::roster::Roster;
use report::Report;

fn main() -> ExitCode {
    let mut args = Args::parse();
    if matches!(args.scenario, Scenario::Goals(_)) && args.common.vs.is_empty() {
        args.common.vs = goals::PEERS.to_vec();
    }
    if let Scenario::Yardstick { kind } = args.scenario {
        return exit(yardstick::run(kind).map(|()| true));
    }
    exit(measure(&args))
}

/// Runs a scenario and reports; whether its result can be trusted.
fn measure(args: &Args) -> io::Result<bool> {
    interrupt::listen()?;
    let roster = Roster::of(args)?;
    let common = &roster.common;
    let seats = Seats::of_this_host()?;
    let priority = host::raise_priority();
    let descriptors = host::raise_descriptors();
    let environment = host::environment(seats, &priority, descriptors);
    host::pin(seats.client)?;
    let mut report = Report::new(environment, common.check);
    host::warn(seats, &mut report);
    if let Err(error) = run(&args.scenario, common, seats, &mut report) {
        // What was measured before is still worth a look, but never a result.
        report.problem(format!("the run ended early: {error}"));
    }
    roster.tell(&mut report);
    report.fact("load_average_after", host::load_average());
    report.print();
    if let Some(path) = &common.json {
        report.write_json(path)?;
    }
    if let Some(path) = &common.html {
        report.write_html(path)?;
    }
    Ok(report.is_valid())
}

fn run(scenario: &Scenario, common: &Common, seats: Seats, report: &mut Report) -> io::Result<()> {
    match scenario {
        Scenario::Fanout(options) => fanout::run(common, options, seats, report),
        Scenario::Publish(options) => publish::run(common, options, seats, report),
        Scenario::Burst(options) => burst::run(common, options, seats, report),
        Scenario::Storm(options) => storm::run(common, options, seats, report),
        Scenario::Churn(options) => churn::run(common, options, seats, report),
        Scenario::Mixed(options) => mixed::run(common, options, seats, report),
        Scenario::Idle(options) => idle::run(common, options, seats, report),
        Scenario::Neighbours(options) => neighbours::run(common, options, seats, report),
        Scenario::Curious(options) => curious::run(common, options, seats, report),
        Scenario::Deaf(options) => deaf::run(common, options, seats, report),
        Scenario::Cores(options) => cores::run(common, options, seats, report),
        Scenario::Apart(options) => apart::run(common, options, seats, report),
        Scenario::Journal(options) => journal::run(common, options, seats, report),
        Scenario::Goals(options) => goals::run(common, options, seats, report),
        Scenario::Yardstick { .. } => unreachable!("it measures nothing"),
    }
}

fn exit(done: io::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rollcall-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
