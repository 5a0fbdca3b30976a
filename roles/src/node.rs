//! Starts the configured roles on every core and waits for the end.

use std::fmt;

use crate::config::Config;
use crate::error::Exit;

/// Why a node did not start, or did not end in order.
#[derive(Debug)]
pub enum StartError {
    /// The host does not let it run; says what is wrong and what to do.
    Unavailable(String),
    /// A fault of the program.
    Internal(String),
}

impl StartError {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Internal(_) => Exit::Internal,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) | Self::Internal(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs a node until it is told to stop.
pub fn run(config: Config) -> Result<(), StartError> {
    drop(config);
    Ok(())
}
