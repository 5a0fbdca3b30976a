//! Why the program ends, and the code it ends with.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::host::HostError;
use crate::journal::JournalError;
use crate::node::StartError;

/// What the shell and systemd are told, after `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was to be verified is not as it must be.
    Damaged = 1,
    /// Bad usage or configuration: the same start will fail again.
    Usage = 64,
    /// This host cannot run it as it is: a port is taken, the kernel forbids io_uring, a limit is too low.
    Unavailable = 69,
    /// A fault of the program.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes.
        Self::from(exit as u8)
    }
}

/// Why the program ends early.
#[derive(Debug)]
pub enum Error {
    /// The command line is wrong.
    Usage(clap::Error),
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// The host lacks something.
    Host(HostError),
    /// The node did not start.
    Start(StartError),
    /// Logging did not start.
    Log(std::io::Error),
    /// There is no journal to tell of.
    Journal(JournalError),
    /// The journal that was to be verified is damaged in so many places.
    Damaged(usize),
    /// Standard output cannot be written.
    Output(std::io::Error),
}

impl Error {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Config(_) => Exit::Usage,
            Self::Host(_) | Self::Log(_) => Exit::Unavailable,
            Self::Journal(JournalError::Nothing(_)) => Exit::Usage,
            Self::Journal(_) => Exit::Unavailable,
            Self::Damaged(_) => Exit::Damaged,
            Self::Start(error) => error.exit(),
            Self::Output(_) => Exit::Internal,
        }
    }
}

impl fmt::Display for Error {
    /// One line per fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => f.write_str(&usage_line(error)),
            Self::Config(errors) => errors.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Log(error) => write!(f, "no thread for the log: {error}"),
            Self::Journal(error) => error.fmt(f),
            Self::Damaged(places) => write!(f, "the journal is damaged; places: {places}"),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<clap::Error> for Error {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// What clap says in paragraphs, in one line: the fault, and its tip where it has one.
fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = lines
        .filter(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let line = told.collect::<Vec<_>>().join("; ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
    format!("{line}; see rollcall --help")
}
