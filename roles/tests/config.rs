//! Every configuration file of the repository, loaded: the valid ones are taken, the invalid ones are refused with the
//! very lines they expect, the example tells the defaults.

use std::fs;
use std::path::{Path, PathBuf};

use rollcall::config::{Config, FlagValue, MaskedString, Settings};

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(crate_folder().join(folder)).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    assert!(!files.is_empty(), "{folder} holds no configuration");
    files
}

fn parse(file: &str, text: &str) -> Result<Config, Vec<String>> {
    let mut settings = Settings::default();
    settings.add_text(file, text);
    Config::read(settings).map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn every_valid_file_and_every_profile_is_taken() {
    for folder in ["tests/config/valid", "../tuning/profiles"] {
        for file in toml_files(folder) {
            let loaded = Config::load(Some(&file), [], []);

            assert!(
                loaded.is_ok(),
                "{}: {}",
                file.display(),
                loaded.expect_err("checked")
            );
        }
    }
}

#[test]
fn every_invalid_file_is_refused_with_the_lines_it_expects() {
    for file in toml_files("tests/config/invalid") {
        let text = fs::read_to_string(&file).expect("a readable file");
        let name = file
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let expected: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# expect: "))
            .collect();

        let told = parse(&name, &text).expect_err(&name);

        assert_eq!(told.len(), expected.len(), "{name}: {told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            // What the TOML parser says is its own affair; where it says it is ours.
            let as_expected =
                told == expected || expected.ends_with(": ") && told.starts_with(expected);
            assert!(
                as_expected,
                "{name}\n  says     {told}\n  expected {expected}"
            );
        }
    }
}

#[test]
fn the_example_tells_every_key_with_its_default() {
    let example =
        fs::read_to_string(crate_folder().join("rollcall.example.toml")).expect("the example");
    let uncommented = example
        .replace("\n# advertise = ", "\nadvertise = ")
        .replace("\n# token = ", "\ntoken = ");

    let told = parse("example", &example).expect("the example is valid");
    let with_all = parse("example", &uncommented).expect("the commented keys are valid too");

    assert_eq!(told, Config::default());
    for (section, keys) in with_all.to_string().parse::<toml::Table>().expect("TOML") {
        let written = example
            .split(&format!("[{section}]\n"))
            .nth(1)
            .expect("the section is in the example");
        let written = written.split("\n[").next().unwrap_or_default();
        for key in keys.as_table().expect("a section").keys() {
            let stands = written.lines().any(|line| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{key} = "))
            });
            assert!(stands, "[{section}] {key} is not in the example");
        }
    }
    assert!(with_all.node.advertise.is_some() && with_all.admin.token.is_some());
}

#[test]
fn what_check_config_prints_loads_again() {
    let text = "[node]\ncores = 3\nadvertise = \"[2001:db8::1]:1\"\n[session]\ngrace_ms = 7\n\
                [admin]\ncancel_address_from = [\"10.0.0.7\"]\n[log]\nfilter = \"info,rollcall=debug\"\n";
    let config = parse("first", text).expect("valid");

    let printed = config.to_string();

    assert_eq!(parse("printed", &printed), Ok(config), "{printed}");
}

#[test]
fn a_secret_is_neither_printed_nor_told_in_an_error() {
    let token = "a-token-nobody-guesses";
    let config = parse("file", &format!("[admin]\ntoken = \"{token}\"")).expect("valid");
    let refused = parse("file", "[admin]\ntoken = \"short secret\"").expect_err("too short");

    assert!(!config.to_string().contains(token) && !format!("{config:?}").contains(token));
    assert!(config.to_string().contains("token = \"***\""));
    assert!(
        config
            .admin
            .token
            .as_ref()
            .is_some_and(|masked: &MaskedString| masked.matches(token))
    );
    assert!(!refused[0].contains("short secret"));
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let mut settings = Settings::default();
    settings.add_text(
        "file",
        "[session]\nidle_close_ms = 1001\ngrace_ms = 1001\ndrain_ms = 1001",
    );
    settings.add_environment([
        variable("ROLLCALL__SESSION__GRACE_MS", "1002"),
        variable("ROLLCALL__SESSION__DRAIN_MS", "1002"),
        variable("ROLLCALL_GOLDEN", "not a setting"),
    ]);
    let value = "1003".to_owned();
    settings.add_flags([FlagValue {
        flag: "--drain-ms",
        section: "session",
        key: "drain_ms",
        value,
    }]);

    let session = Config::read(settings).expect("valid").session;

    assert_eq!(session.idle_close.as_millis(), 1001);
    assert_eq!(session.grace.as_millis(), 1002);
    assert_eq!(session.drain.as_millis(), 1003);
}

#[test]
fn an_error_names_the_variable_or_flag_it_comes_from() {
    let mut settings = Settings::default();
    settings.add_environment([
        variable("ROLLCALL__SESSION__IDEL_CLOSE_MS", "1000"),
        variable("ROLLCALL__CORES", "2"),
        variable("ROLLCALL__DATA__HTTP", "nowhere"),
    ]);
    let value = "none".to_owned();
    settings.add_flags([FlagValue {
        flag: "--cores",
        section: "node",
        key: "cores",
        value,
    }]);

    let told = Config::read(settings)
        .expect_err("nothing of it is valid")
        .to_string();

    let expected = [
        "config command line: --cores = none: must be \"all\" or a number from 1 to 256",
        "config environment: ROLLCALL__DATA__HTTP = nowhere: must be an address with a port, such as 127.0.0.1:9600 or [::1]:9600",
        "config environment: ROLLCALL__CORES: no such key, nearest is ROLLCALL__NODE__CORES",
        "config environment: ROLLCALL__SESSION__IDEL_CLOSE_MS: no such key, nearest is ROLLCALL__SESSION__IDLE_CLOSE_MS",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn an_open_admin_port_is_warned_of_once() {
    let open = "[session]\nlisten = \"0.0.0.0:9600\"\nhttp = \"0.0.0.0:9603\"\n[data]\nhttp = \"0.0.0.0:9622\"\n";
    let unguarded = format!("{open}[admin]\nallow_unauthenticated_admin = true");

    assert_eq!(
        parse("file", open).expect("valid").warnings(),
        Vec::<String>::new()
    );
    assert_eq!(
        parse("file", &unguarded).expect("valid").warnings().len(),
        1
    );
}

#[test]
fn a_session_that_clients_cannot_be_told_is_warned_of() {
    let warnings = |text: &str| parse("file", text).expect("valid").warnings();
    let hidden = "[session]\nhttp = \"0.0.0.0:9603\"\n";
    let six = "[session]\nlisten = \"[2001:db8::5]:9600\"\n";

    for (text, setting) in [
        (hidden.to_owned(), "[session] listen"),
        (six.to_owned(), "[node] advertise"),
        (
            format!("{six}[node]\nadvertise = \"2001:db8::5\"\n"),
            "[node] advertise",
        ),
    ] {
        let warned = warnings(&text);
        assert_eq!(warned.len(), 1, "{text}: {warned:?}");
        assert!(warned[0].contains(setting), "{warned:?}");
    }
    for text in [
        String::new(),
        format!("{hidden}[node]\nadvertise = \"registry.example\"\n"),
        format!("{six}[node]\nadvertise = \"registry.example\"\n"),
        "[session]\nlisten = \"[::]:9600\"\nhttp = \"[::]:9603\"\n".to_owned(),
    ] {
        assert_eq!(warnings(&text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_one_line() {
    let errors =
        Config::load(Some(Path::new("nowhere/registry.toml")), [], []).expect_err("no such file");

    assert_eq!(
        errors.to_string(),
        "config nowhere/registry.toml: cannot be read: No such file or directory (os error 2)"
    );
}
