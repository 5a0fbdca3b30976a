//! What can be wrong with a configuration, each on one line: where, what was said, what would do.

use std::fmt;

/// Everything wrong with a configuration; never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One thing wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    Syntax {
        /// The file as it was named.
        file: String,
        /// Where, counted from 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// No such section.
    UnknownSection {
        /// Where it was said.
        place: Place,
        /// The valid section nearest to it.
        nearest: &'static str,
    },
    /// No such key.
    UnknownKey {
        /// Where it was said.
        place: Place,
        /// The valid key nearest to it, as it would be written there.
        nearest: String,
    },
    /// A value that the key cannot have.
    Value {
        /// Where it was said.
        place: Place,
        /// What was said.
        value: String,
        /// What would do.
        problem: String,
    },
    /// Values that do not go together.
    Clash(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, reason } => {
                write!(f, "config {file}: cannot be read: {reason}")
            }
            Self::Syntax { file, line, reason } => {
                write!(f, "config {file}: line {line}: {reason}")
            }
            Self::UnknownSection { place, nearest } => {
                write!(f, "config {place}: no such section, nearest is [{nearest}]")
            }
            Self::UnknownKey { place, nearest } => {
                write!(f, "config {place}: no such key, nearest is {nearest}")
            }
            Self::Value {
                place,
                value,
                problem,
            } => {
                write!(f, "config {place} = {}: {problem}", value.escape_debug())
            }
            Self::Clash(problem) => write!(f, "config: {problem}"),
        }
    }
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// The file as it was named.
        file: String,
        /// The section, without brackets; empty outside of any.
        section: String,
        /// The key; empty for the section itself.
        key: String,
    },
    /// In this environment variable.
    Environment(String),
    /// By this flag.
    Flag(&'static str),
}

impl Place {
    /// A place in a file.
    pub fn file(file: &str, section: &str, key: &str) -> Self {
        Self::File {
            file: file.to_owned(),
            section: section.to_owned(),
            key: key.to_owned(),
        }
    }

    /// How the key `[section] key` would be written where this was said.
    pub fn with_key(&self, section: &str, key: &str) -> String {
        match self {
            Self::Environment(_) => environment_variable(section, key),
            Self::File { .. } | Self::Flag(_) => format!("[{section}] {key}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, section, key } if section.is_empty() => write!(f, "{file}: {key}"),
            Self::File { file, section, key } if key.is_empty() => write!(f, "{file}: [{section}]"),
            Self::File { file, section, key } => write!(f, "{file}: [{section}] {key}"),
            Self::Environment(variable) => write!(f, "environment: {variable}"),
            Self::Flag(flag) => write!(f, "command line: {flag}"),
        }
    }
}

/// The environment variable that sets `[section] key`.
pub fn environment_variable(section: &str, key: &str) -> String {
    format!("{}{section}__{key}", super::settings::ENVIRONMENT_PREFIX).to_ascii_uppercase()
}
