//! What was said about each key, by the file, the environment and the flags; the last to speak wins.
//!
//! Sections take their values out of it. Whatever nobody took is a key that does not exist, so the list of valid keys
//! is the code that reads them and cannot drift from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::error::{ConfigError, ConfigErrors, Place};

/// Environment variables that begin so are settings: `ROLLCALL__SECTION__KEY`.
pub(super) const ENVIRONMENT_PREFIX: &str = "ROLLCALL__";

/// The value of one command line flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagValue {
    /// The flag as typed, with its dashes.
    pub flag: &'static str,
    /// The section of the key it sets.
    pub section: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// What was said.
    pub value: String,
}

/// The merged sources, and what was wrong with them so far.
#[derive(Debug, Default)]
pub struct Settings {
    said: BTreeMap<(String, String), Said>,
    sections_said: BTreeMap<String, Place>,
    keys: BTreeSet<(&'static str, &'static str)>,
    errors: Vec<ConfigError>,
}

#[derive(Debug)]
struct Said {
    place: Place,
    value: String,
}

impl Settings {
    /// Adds the keys of a TOML file.
    pub fn add_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_text(&path.display().to_string(), &text),
            Err(error) => {
                self.errors.push(ConfigError::Unreadable {
                    file: path.display().to_string(),
                    reason: error.to_string(),
                });
            }
        }
    }

    /// Adds the keys of TOML text; `file` is how errors name it.
    pub fn add_text(&mut self, file: &str, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => return self.errors.push(syntax_error(file, text, &error)),
        };
        for (section, value) in table {
            match value {
                toml::Value::Table(keys) => self.add_section(file, section, keys),
                other => self.say(
                    Place::file(file, "", &section),
                    "",
                    &section,
                    value_text(&other),
                ),
            }
        }
    }

    /// Adds the variables that begin with `ROLLCALL__`.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let (section, key) = name.split_once("__").unwrap_or(("", &name));
            self.say(Place::Environment(variable.clone()), section, key, value);
        }
    }

    /// Adds what the command line said.
    pub fn add_flags(&mut self, flags: impl IntoIterator<Item = FlagValue>) {
        for FlagValue {
            flag,
            section,
            key,
            value,
        } in flags
        {
            self.say(Place::Flag(flag), section, key, value);
        }
    }

    fn add_section(&mut self, file: &str, section: String, keys: toml::Table) {
        for (key, value) in keys {
            self.say(
                Place::file(file, &section, &key),
                &section,
                &key,
                value_text(&value),
            );
        }
        let place = Place::file(file, &section, "");
        self.sections_said.insert(section, place);
    }

    fn say(&mut self, place: Place, section: &str, key: &str, value: String) {
        self.said
            .insert((section.to_owned(), key.to_owned()), Said { place, value });
    }

    /// The value of a key that `T` can parse, or `default`. `must` tells what would have been accepted.
    pub fn parsed<T: FromStr>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: T,
        must: &str,
    ) -> T {
        self.parsed_if_said(section, key, must).unwrap_or(default)
    }

    /// The value of a key that has no default.
    pub fn parsed_if_said<T: FromStr>(
        &mut self,
        section: &'static str,
        key: &'static str,
        must: &str,
    ) -> Option<T> {
        let said = self.take(section, key)?;
        match said.value.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.refuse(said, must);
                None
            }
        }
    }

    /// A whole number within `range`, or `default`.
    pub fn number<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T
    where
        T: FromStr + PartialOrd + Copy + Display,
    {
        let Some(said) = self.take(section, key) else {
            return default;
        };
        let (low, high) = (*range.start(), *range.end());
        match said.value.parse::<T>() {
            Ok(value) if value < low => self.refuse(said, &format!("must be {low} or more")),
            Ok(value) if value > high => self.refuse(said, &format!("must be {high} or less")),
            Ok(value) => return value,
            Err(_) => self.refuse(
                said,
                &format!("must be a whole number from {low} to {high}"),
            ),
        }
        default
    }

    /// A time in milliseconds within `range`, or `default`.
    pub fn millis(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<u64>,
    ) -> Duration {
        let default = u64::try_from(default.as_millis())
            .expect("default times are far below 584 million years");
        Duration::from_millis(self.number(section, key, default, range))
    }

    /// The text of a key, if it was said. Errors about it must be told through [`Self::refuse_secret`].
    pub fn secret(&mut self, section: &'static str, key: &'static str) -> Option<(Place, String)> {
        self.take(section, key).map(|said| (said.place, said.value))
    }

    /// Notes that a secret at `place` is not acceptable, without repeating it.
    pub fn refuse_secret(&mut self, place: Place, problem: &str) {
        self.errors.push(ConfigError::Value {
            place,
            value: "***".to_owned(),
            problem: problem.to_owned(),
        });
    }

    /// Notes that values which are fine each do not go together.
    pub fn clash(&mut self, problem: String) {
        self.errors.push(ConfigError::Clash(problem));
    }

    /// Everything that was wrong, unknown keys and sections included.
    pub fn finish(mut self) -> Result<(), ConfigErrors> {
        self.refuse_unknown_sections();
        self.refuse_unknown_keys();
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(self.errors))
        }
    }

    fn take(&mut self, section: &'static str, key: &'static str) -> Option<Said> {
        self.keys.insert((section, key));
        self.said.remove(&(section.to_owned(), key.to_owned()))
    }

    fn refuse(&mut self, said: Said, problem: &str) {
        self.errors.push(ConfigError::Value {
            place: said.place,
            value: said.value,
            problem: problem.to_owned(),
        });
    }

    fn refuse_unknown_sections(&mut self) {
        for (section, place) in std::mem::take(&mut self.sections_said) {
            if self.keys.iter().any(|(known, _)| *known == section) {
                continue;
            }
            self.said.retain(|(said, _), _| *said != section);
            let nearest = nearest(
                self.keys
                    .iter()
                    .map(|(known, _)| (strsim::damerau_levenshtein(known, &section), *known)),
            );
            self.errors.push(ConfigError::UnknownSection {
                place,
                nearest: nearest.unwrap_or_default(),
            });
        }
    }

    fn refuse_unknown_keys(&mut self) {
        for ((section, key), said) in std::mem::take(&mut self.said) {
            // A right key in the wrong section is nearer than a similar key in the right one.
            let candidates = self.keys.iter().map(|known| {
                let distance = 4 * strsim::damerau_levenshtein(known.1, &key)
                    + strsim::damerau_levenshtein(known.0, &section).min(3);
                (distance, *known)
            });
            let (section, key) = nearest(candidates).unwrap_or_default();
            let nearest = said.place.with_key(section, key);
            self.errors.push(ConfigError::UnknownKey {
                place: said.place,
                nearest,
            });
        }
    }
}

fn nearest<T>(candidates: impl Iterator<Item = (usize, T)>) -> Option<T> {
    candidates
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The text a flag or variable would use for the same value.
fn value_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn syntax_error(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error
        .span()
        .map_or("", |span| text.get(..span.start).unwrap_or(text));
    ConfigError::Syntax {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        reason: error.message().lines().collect::<Vec<_>>().join(", "),
    }
}
