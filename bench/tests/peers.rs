//! Servers of others, where they are installed, in a fan-out small enough to take seconds: every subscriber has the complete text of every
//! change, or the load generator ends with an error.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

/// Those that continuous integration installs: small, and started in no time.
const SMALL: [&str; 2] = ["redis", "nats"];

#[test]
fn a_peer_is_measured_like_the_server() {
    if !are_installed(&SMALL) {
        return;
    }

    let result = result(&mut fanout(&SMALL.join(",")));

    let rows = result["results"]["fanout: one change until all have it"].as_array();
    let rows = rows.expect("a table");
    let servers: Vec<_> = rows.iter().map(|row| &row["server"]).collect();
    assert_eq!(servers, ["floor", "redis", "nats"]);
    assert!(
        rows.iter()
            .all(|row| row["p50_ms"].as_f64() > Some(0.0) && row["server_us"].as_f64() > Some(0.0)),
        "{rows:?}"
    );
}

#[test]
fn a_peer_that_is_not_installed_is_named_and_left_out() {
    let tools = tempfile::tempdir().expect("a temporary directory");
    // Enough for the script itself, and nothing that could find a package.
    for tool in ["bash", "dirname"] {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        let found = found.iter().find(|path| path.exists());
        symlink(found.expect("a shell"), tools.path().join(tool)).expect("a new folder");
    }
    let mut command = fanout("redis");
    command.env("PATH", tools.path());

    let result = result(&mut command);

    let peers = &result["results"]["peers: servers of others"];
    assert_eq!(peers[0]["server"], "redis");
    assert_eq!(peers[0]["version"], "missing: run bench/peers/setup redis");
    assert_eq!(peers[0]["installed"], false);
}

#[test]
fn a_scenario_names_the_servers_it_can_measure() {
    let output = bench().args(["publish", "--vs", "redis"]).output();
    let output = output.expect("the bench runs");

    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("redis speaks another protocol") && told.contains("sofaregistry"),
        "{told}"
    );
}

/// A fan-out of a yardstick and these servers.
fn fanout(peers: &str) -> Command {
    let mut command = bench();
    command.args(["fanout", "--spawn", "floor", "--vs", peers]);
    command.args(["--subscribers", "50", "--payload", "65536"]);
    command.args(["--changes", "3", "--rounds", "2", "--check"]);
    command
}

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rollcall-bench"))
}

/// What a run that must succeed wrote.
fn result(command: &mut Command) -> Json {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let json = folder.path().join("result.json");
    let output = command.arg("--json").arg(&json).output();
    let output = output.expect("the bench runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&std::fs::read(&json).expect("a result file")).expect("JSON")
}

/// A laptop without the servers skips loudly; continuous integration fails.
fn are_installed(peers: &[&str]) -> bool {
    let is_absent = |peer: &&&str| {
        let script = format!("{}/peers/{peer}.sh", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(script).arg("check").output();
        !output.is_ok_and(|output| output.status.success())
    };
    let absent: Vec<_> = peers.iter().filter(is_absent).collect();
    if absent.is_empty() {
        return true;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{absent:?} must be installed where CI=true: bench/peers/setup"
    );
    eprintln!("\n==== SKIPPED: a fan-out of {peers:?}, because {absent:?} is not installed ====\n");
    false
}
