//! The load generator: starts a server or takes one that runs, speaks the real client protocol to it over real sockets, and reports what
//! an operator can trust.
//!
//! The server has one CPU and the clients another. What is compared is measured in turns within one run, and a result that cannot be
//! trusted ends the program with an error.

mod args;
mod burst;
mod churn;
mod clients;
mod crowd;
mod fanout;
mod host;
mod idle;
mod interrupt;
mod mixed;
mod network;
mod peers;
mod process;
mod publish;
mod report;
mod storm;
mod target;
mod wire;
mod yardstick;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Scenario};
use host::Seats;
use peers::roster::Roster;
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
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
    let mut report = Report::new(environment);
    match &args.scenario {
        Scenario::Fanout(options) => fanout::run(common, options, seats, &mut report)?,
        Scenario::Publish(options) => publish::run(common, options, seats, &mut report)?,
        Scenario::Burst(options) => burst::run(common, options, seats, &mut report)?,
        Scenario::Storm(options) => storm::run(common, options, seats, &mut report)?,
        Scenario::Churn(options) => churn::run(common, options, seats, &mut report)?,
        Scenario::Mixed(options) => mixed::run(common, options, seats, &mut report)?,
        Scenario::Idle(options) => idle::run(common, options, seats, &mut report)?,
        Scenario::Yardstick { .. } => unreachable!("it measures nothing"),
    }
    roster.tell(&mut report);
    report.print();
    if let Some(path) = &common.json {
        report.write_json(path)?;
    }
    Ok(report.is_valid())
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
