//! The binary as a shell sees it: exit codes, one line per fault, what its commands print.

use std::process::{Command, Output, Stdio};

use rollcall_core::data::journal::manifest::Current;

fn rollcall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.args(arguments).env_clear();
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the binary runs");
    (status.code(), text(stdout), text(stderr))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the program writes UTF-8")
}

#[test]
fn bad_usage_ends_with_64_and_one_line() {
    for arguments in [
        &["--coers", "2"][..],
        &["frobnicate"],
        &["--cores"],
        &["--cores", "0"],
        &["completions"],
    ] {
        let (code, printed, told) = output(&mut rollcall(arguments));

        assert_eq!(code, Some(64), "{arguments:?}");
        assert_eq!(printed, "");
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
        assert!(told.starts_with("rollcall: "), "{told}");
    }
}

#[test]
fn a_bad_configuration_ends_with_64_and_a_line_per_fault() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/config/invalid/several_faults.toml"
    );

    for command in ["serve", "check-config"] {
        let (code, printed, told) = output(&mut rollcall(&[command, "--config", file]));

        assert_eq!(code, Some(64));
        assert_eq!(printed, "");
        assert_eq!(told.lines().count(), 3, "{told}");
    }
}

#[test]
fn check_config_prints_what_is_in_effect_and_hides_the_token() {
    let mut command = rollcall(&["check-config", "--cores", "3"]);
    command
        .env("ROLLCALL__ADMIN__TOKEN", "a-token-nobody-guesses")
        .env("ROLLCALL__SESSION__GRACE_MS", "7");

    let (code, printed, told) = output(&mut command);

    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(
        printed.contains("cores = 3\n") && printed.contains("grace_ms = 7\n"),
        "{printed}"
    );
    assert!(
        printed.contains("token = \"***\"\n") && !printed.contains("nobody"),
        "{printed}"
    );
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/config/valid/one_core.toml"
    );

    let (code, printed, _) = output(rollcall(&["check-config"]).env("ROLLCALL_CONFIG", file));

    assert_eq!(code, Some(0));
    assert!(printed.contains("cores = 1\n"), "{printed}");
}

#[test]
fn help_version_manual_and_completions_go_to_standard_output() {
    let asked = [
        (&["--help"][..], "check-config"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["man"], ".TH rollcall 1"),
        (&["completions", "bash"], "complete -F _rollcall"),
        (&["completions", "zsh"], "#compdef rollcall"),
    ];

    for (arguments, part) in asked {
        let (code, printed, told) = output(&mut rollcall(arguments));

        assert_eq!((code, told.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(printed.contains(part), "{arguments:?}: {printed}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let mut child = rollcall(&["man"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());

    let Output { status, stderr, .. } = child.wait_with_output().expect("the binary ends");

    assert_eq!((status.code(), text(stderr).as_str()), (Some(0), ""));
}

#[test]
fn too_few_descriptors_end_with_69_and_what_to_do() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 100 && exec \"$0\"",
        env!("CARGO_BIN_EXE_rollcall"),
    ]);

    let (code, _, told) = output(&mut command);

    assert_eq!(code, Some(69));
    assert_eq!(
        told,
        "rollcall: limit of 100 open files is too low: 1024 or more are needed (ulimit -Hn, LimitNOFILE= of the unit)\n"
    );
}

#[test]
fn a_journal_is_verified_and_damage_ends_with_1() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let directory = data.path().to_str().expect("plain letters");
    let (code, printed, told) = output(&mut rollcall(&["journal", directory]));
    assert_eq!((code, printed.as_str()), (Some(64), ""));
    assert!(told.contains("no journal is there"), "{told}");

    let journal = data.path().join("journal");
    std::fs::create_dir_all(journal.join("0/0")).expect("a directory");
    let current = Current { era: 0, cores: 1 }.encode();
    std::fs::write(journal.join("current"), &current).expect("written");
    let (code, printed, told) = output(&mut rollcall(&["journal", directory, "--verify"]));
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(printed.ends_with("No damage.\n"), "{printed}");

    std::fs::write(journal.join("current"), &current[1..]).expect("written");
    let (code, printed, told) = output(&mut rollcall(&["journal", directory, "--verify"]));
    assert_eq!(code, Some(1));
    assert!(printed.contains("Damage in 1 place:"), "{printed}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let (code, ..) = output(&mut rollcall(&["journal", directory]));
    assert_eq!(code, Some(0));
}
