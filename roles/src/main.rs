//! The binary: parse, load, check the host, run, and end with a code that says why.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rollcall::args::{Command, Flags, LowArgs};
use rollcall::config::Config;
use rollcall::error::{Error, Exit};
use rollcall::{host, journal, log, node};
use tikv_jemallocator::Jemalloc;

/// Gives back what departed clients held within seconds, also while nobody allocates; pipelined registrations cost a tenth
/// less than with glibc's allocator, single ones and fan-outs as much.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    die_in_one_line();
    match run() {
        Ok(()) => {
            log::finish();
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            error.exit().into()
        }
    }
}

fn run() -> Result<(), Error> {
    let args = match LowArgs::try_parse() {
        Err(asked) if !asked.use_stderr() => return print(&asked.render().to_string()),
        parsed => parsed?,
    };
    match args.command.unwrap_or_default() {
        Command::Serve => serve(args.flags),
        Command::CheckConfig => print(&load(args.flags)?.to_string()),
        Command::Journal { directory, verify } => {
            let survey = journal::survey(&directory)?;
            print(&survey.to_string())?;
            match survey.damages() {
                places if verify && places > 0 => Err(Error::Damaged(places)),
                _ => Ok(()),
            }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut LowArgs::command(), "rollcall", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(LowArgs::command())
                .render(&mut page)
                .map_err(Error::Output)?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}

fn load(flags: Flags) -> Result<Config, Error> {
    let environment = std::env::vars_os();
    let environment = environment.map(|(name, value)| {
        (
            name.to_string_lossy().into(),
            value.to_string_lossy().into(),
        )
    });
    let file = flags.config.clone();
    Ok(Config::load(file.as_deref(), environment, flags.values())?)
}

fn serve(flags: Flags) -> Result<(), Error> {
    let mut config = load(flags.clone())?;
    let filter = move || match load(flags.clone()) {
        Ok(config) => Ok(config.log.filter),
        Err(error) => Err(error.to_string()),
    };
    log::start(&config.log, Box::new(filter)).map_err(Error::Log)?;
    host::prepare(&mut config)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = rollcall::version(), "starting");
    Ok(node::run(config)?)
}

/// A reader that went away, as in `rollcall man | head`, has all it wanted.
fn print(text: &str) -> Result<(), Error> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// A panic anywhere is a fault of ours that leaves shared state in doubt: say where, and end the whole process.
fn die_in_one_line() {
    std::panic::set_hook(Box::new(|panic| {
        let said = panic
            .payload_as_str()
            .unwrap_or("no reason given")
            .replace('\n', " ");
        let place = panic
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()))
            .unwrap_or_default();
        complain(&format!("internal error{place}: {said}"));
        std::process::exit(Exit::Internal as i32);
    }));
}

/// Writes to standard error, after the log lines that led to it. Nobody is left to tell if that fails.
fn complain(text: &str) {
    log::finish();
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "rollcall: {line}");
    }
}
