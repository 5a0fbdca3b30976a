//! The command line as it was typed: which command, and what the flags said, not yet checked.
//!
//! Flags are one source of settings among three, so their values stay text here and are judged where all are.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::FlagValue;

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "rollcall",
    version = crate::version(),
    about = "Rollcall, a service registry: providers publish where they are, consumers are pushed every change",
    after_help = "Settings come from the file, then from ROLLCALL__SECTION__KEY, then from flags; the last to speak wins.\n\
                  Exit codes: 0 stopped in order, 1 a journal is damaged (journal --verify), 64 bad usage or configuration, 69 this host cannot run it, 70 internal error."
)]
pub struct LowArgs {
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of every command.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the node until SIGTERM or SIGINT (the default)
    #[default]
    Serve,
    /// Print the configuration in effect as TOML and end; exit code 64 if it is not valid
    CheckConfig,
    /// Print what the journal in a data directory holds: segments, records, live and dead bytes, damage. Only reads, also
    /// while a node uses the directory
    Journal {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// End with exit code 1 when something is damaged; the torn tail that a killed node leaves is no damage
        #[arg(long)]
        verify: bool,
    },
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page in roff
    Man,
}

/// Flags that set a key, and the one that names the file.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Configuration file, TOML [default: none]
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data-plane cores, a number or `all` [default: all] [env: ROLLCALL__NODE__CORES]
    #[arg(long, global = true, value_name = "N")]
    cores: Option<String>,
    /// How bytes reach the cores: auto, ring or plain [default: auto] [env: ROLLCALL__NODE__TRANSPORT]
    #[arg(long, global = true, value_name = "KIND")]
    transport: Option<String>,
    /// Address of the clients' Bolt connections, port 0 lets the system choose [default: localhost:9600]
    /// [env: ROLLCALL__SESSION__LISTEN]
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the session's HTTP [default: localhost:9603] [env: ROLLCALL__SESSION__HTTP]
    #[arg(long, global = true, value_name = "ADDR")]
    session_http: Option<String>,
    /// Address of meta's HTTP [default: localhost:9615] [env: ROLLCALL__META__HTTP]
    #[arg(long, global = true, value_name = "ADDR")]
    meta_http: Option<String>,
    /// Address of data's HTTP [default: localhost:9622] [env: ROLLCALL__DATA__HTTP]
    #[arg(long, global = true, value_name = "ADDR")]
    data_http: Option<String>,
    /// Host, or host and port, under which clients reach this node [default: the address they ask on]
    /// [env: ROLLCALL__NODE__ADVERTISE]
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// Name of this node's data center [default: DefaultDataCenter] [env: ROLLCALL__NODE__DATA_CENTER]
    #[arg(long, global = true, value_name = "NAME")]
    data_center: Option<String>,
    /// Zone of this node [default: DEFAULT_ZONE] [env: ROLLCALL__NODE__ZONE]
    #[arg(long, global = true, value_name = "NAME")]
    zone: Option<String>,
    /// Folder of what this node keeps on disk [default: rollcall.data] [env: ROLLCALL__NODE__DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Milliseconds over which a stopping node hands its clients over [default: 5000] [env: ROLLCALL__SESSION__DRAIN_MS]
    #[arg(long, global = true, value_name = "MS")]
    drain_ms: Option<String>,
    /// Log level, or levels by module such as info,rollcall=debug [default: info] [env: ROLLCALL__LOG__FILTER]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Log lines for people (human), for machines (json), or by whether it is a terminal (auto) [default: auto]
    /// [env: ROLLCALL__LOG__FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Flags {
    /// The keys that the flags set.
    pub fn values(self) -> Vec<FlagValue> {
        let flags = [
            ("--cores", "node", "cores", self.cores),
            ("--transport", "node", "transport", self.transport),
            ("--listen", "session", "listen", self.listen),
            ("--session-http", "session", "http", self.session_http),
            ("--meta-http", "meta", "http", self.meta_http),
            ("--data-http", "data", "http", self.data_http),
            ("--advertise", "node", "advertise", self.advertise),
            ("--data-center", "node", "data_center", self.data_center),
            ("--zone", "node", "zone", self.zone),
            ("--data-dir", "node", "data_dir", self.data_dir),
            ("--drain-ms", "session", "drain_ms", self.drain_ms),
            ("--log", "log", "filter", self.log),
            ("--log-format", "log", "format", self.log_format),
        ];
        let said = |(flag, section, key, value): (_, _, _, Option<String>)| {
            value.map(|value| FlagValue {
                flag,
                section,
                key,
                value,
            })
        };
        flags.into_iter().filter_map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, environment_variable};
    use clap::CommandFactory;

    #[test]
    fn serve_is_the_default_and_flags_stand_before_or_after_a_command() {
        let plain = LowArgs::parse_from(["rollcall", "--cores", "2"]);
        let before = LowArgs::parse_from(["rollcall", "--cores", "2", "check-config"]);
        let after = LowArgs::parse_from(["rollcall", "check-config", "--cores", "2"]);

        assert_eq!(plain.command.unwrap_or_default(), Command::Serve);
        assert_eq!(before.command, after.command);
        assert_eq!(before.flags.values(), after.flags.values());
    }

    #[test]
    fn the_help_of_every_flag_tells_its_variable_and_its_default() {
        let command = LowArgs::command();
        let defaults: toml::Table = Config::default()
            .to_string()
            .parse()
            .expect("the effective configuration is TOML");

        for flag in every_flag_said() {
            let id = flag.flag.trim_start_matches("--").replace('-', "_");
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_id() == &id)
                .expect("a flag clap knows");
            let help = argument.get_help().expect("a flag with help").to_string();
            let variable = environment_variable(flag.section, flag.key);
            let default = defaults[flag.section].get(flag.key).map_or(
                "the address they ask on".to_owned(),
                |value| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                },
            );
            assert!(
                help.contains(&format!("[env: {variable}]")),
                "{}: {help}",
                flag.flag
            );
            assert!(
                help.contains(&format!("[default: {default}]")),
                "{}: {help}",
                flag.flag
            );
        }
    }

    #[test]
    fn every_flag_sets_a_key_that_exists() {
        let valid = |flag: &FlagValue| match flag.key {
            "cores" | "drain_ms" => "1",
            "transport" => "plain",
            "filter" => "debug",
            "format" => "json",
            "listen" | "http" => "127.0.0.1:0",
            _ => "some-name",
        };
        let flags = every_flag_said().into_iter().map(|flag| FlagValue {
            value: valid(&flag).to_owned(),
            ..flag
        });

        let config = Config::load(None, [], flags).expect("all flags are keys");

        let default = Config::default();
        assert_ne!(config.node, default.node);
        assert_ne!(config.session, default.session);
        assert_ne!(config.log, default.log);
    }

    fn every_flag_said() -> Vec<FlagValue> {
        let command = LowArgs::command();
        let takes_value = |id: &str| !matches!(id, "config" | "help" | "version");
        let flags = command
            .get_arguments()
            .filter(|argument| takes_value(argument.get_id().as_str()));
        let words = flags.flat_map(|flag| {
            [
                format!("--{}", flag.get_long().expect("flags are long")),
                "x".to_owned(),
            ]
        });
        let line: Vec<_> = std::iter::once("rollcall".to_owned())
            .chain(words)
            .collect();
        let count = line.len() / 2;
        let values = LowArgs::parse_from(line).flags.values();
        assert_eq!(values.len(), count, "a flag is missing in Flags::values");
        values
    }
}
