//! Every scenario, small enough to take seconds: what is checked is that the server does right, not how fast it is.
//!
//! The load generator ends with an error when a push was wrong or lost, a registration was refused, or a connection was cut.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value as Json;

#[test]
fn a_change_reaches_every_subscriber() {
    let rows = run(&[
        "fanout",
        "--subscribers",
        "20,200",
        "--payload",
        "128,65536",
        "--changes",
        "3",
        "--rounds",
        "2",
    ]);

    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter().all(|row| row["p50_ms"].as_f64() > Some(0.0)),
        "{rows:?}"
    );
}

#[test]
fn the_yardsticks_of_a_fan_out_are_measured_like_the_server() {
    let rows = run(&[
        "fanout",
        "--subscribers",
        "50",
        "--payload",
        "1024",
        "--changes",
        "3",
        "--rounds",
        "2",
        "--vs",
        "floor,floor+acks",
    ]);

    let servers: Vec<_> = rows.iter().map(|row| &row["server"]).collect();
    assert_eq!(servers, ["rollcall", "floor", "floor+acks"]);
    assert!(rows[1]["time_ratio"].is_number(), "{rows:?}");
}

#[test]
fn registrations_are_answered_one_at_a_time_and_pipelined() {
    let rows = run(&[
        "publish",
        "--connections",
        "4",
        "--round-ms",
        "100",
        "--rounds",
        "2",
        "--subscriber",
        "--vs",
        "toy",
    ]);

    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter()
            .all(|row| row["per_second"].as_f64() > Some(0.0)),
        "{rows:?}"
    );
    assert!(rows[0]["pushes"].as_u64() > Some(0), "{rows:?}");
}

#[test]
fn a_burst_is_answered_without_a_refusal() {
    let rows = run(&[
        "burst",
        "--connections",
        "8",
        "--registrations",
        "500",
        "--rounds",
        "2",
    ]);

    assert!(
        rows.iter()
            .all(|row| row["refused"] == 0 && row["unanswered"] == 0),
        "{rows:?}"
    );
}

#[test]
fn clients_that_come_at_once_are_all_served() {
    let rows = run(&[
        "storm",
        "--clients",
        "300",
        "--publishers",
        "20",
        "--rounds",
        "1",
        "--cores",
        "2",
    ]);

    assert_eq!(rows[0]["clients"], 300);
}

#[test]
fn changes_at_a_fixed_rate_all_arrive() {
    let rows = run(&[
        "churn",
        "--publishers",
        "10",
        "--subscribers",
        "5",
        "--rate",
        "200",
        "--seconds",
        "1",
    ]);

    assert_eq!(rows[0]["changes"], 200);
}

#[test]
fn a_rolling_deployment_loses_no_change() {
    let rows = run(&[
        "mixed",
        "--clients",
        "200",
        "--deploys",
        "50",
        "--seconds",
        "1",
    ]);

    assert!(rows[0]["pushes"].as_u64() > Some(0), "{rows:?}");
}

#[test]
fn memory_is_read_with_clients_and_without() {
    let rows = run(&[
        "idle",
        "--connections",
        "100",
        "--publishers",
        "1000",
        "--after-s",
        "0",
        "--rest-ms",
        "100",
    ]);

    assert_eq!(rows.len(), 4);
    assert!(
        rows.iter().all(|row| row["rss_mib"].as_f64() > Some(0.0)),
        "{rows:?}"
    );
}

#[test]
fn others_are_answered_while_many_are_pushed_to() {
    let rows = run(&["neighbours", "--subscribers", "200", "--load-ms", "400"]);

    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["pushes"], 0);
    assert!(rows[1]["pushes"].as_u64() > Some(0), "{rows:?}");
}

#[test]
fn pushes_go_out_while_others_list_everything() {
    let rows = run(&[
        "curious",
        "--publishers",
        "3000",
        "--services",
        "1000",
        "--askers",
        "3",
        "--load-ms",
        "1000",
    ]);

    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["answers"], 0);
    assert!(rows[1]["answers"].as_u64() > Some(0), "{rows:?}");
    assert!(rows[1]["answered_mib"].as_u64() > Some(0), "{rows:?}");
}

#[test]
fn those_who_read_are_served_beside_those_who_never_do() {
    let rows = run(&[
        "deaf",
        "--subscribers",
        "100",
        "--deaf-percent",
        "5",
        "--changes",
        "3",
        "--rounds",
        "2",
    ]);

    assert_eq!(rows[0]["server"], "5 never read");
    assert!(rows[1]["p99_ratio"].is_number(), "{rows:?}");
}

#[test]
fn two_cores_say_how_much_crosses() {
    let rows = run(&[
        "cores",
        "--connections",
        "8",
        "--outstanding",
        "4",
        "--subscribers",
        "50",
        "--round-ms",
        "100",
        "--rounds",
        "2",
    ]);

    assert_eq!(rows.len(), 4);
    assert!(rows[0]["crossings"].as_u64() > Some(0), "{rows:?}");
    assert_eq!(rows[1]["crossings"], 0, "{rows:?}");
}

#[test]
fn two_cores_on_two_cpus_are_measured_where_there_are_four() {
    let arguments = [
        "apart",
        "--connections",
        "8",
        "--round-ms",
        "100",
        "--rounds",
        "2",
    ];
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);

    if cpus < 4 {
        let output = Command::new(env!("CARGO_BIN_EXE_rollcall-bench"))
            .args(arguments)
            .output()
            .expect("the bench runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains("need 4 CPUs"),
            "{told}"
        );
    } else {
        let rows = run(&arguments);
        assert!(rows[1]["rate_ratio"].is_number(), "{rows:?}");
    }
}

#[test]
fn the_journal_is_measured_and_a_killed_server_finds_all_publishers() {
    let result = result(&[
        "journal",
        "--connections",
        "4",
        "--round-ms",
        "100",
        "--subscribers",
        "20",
        "--publishers",
        "2000",
        "--rounds",
        "2",
    ]);

    let goals = result["goals"].as_array().expect("the numbers");
    assert_eq!(goals.len(), 7);
    assert!(
        goals.iter().all(|goal| goal["met"] != "missing"),
        "{goals:#?}"
    );
    let starts = &result["results"]["journal: ready again after a kill"];
    assert_eq!(starts[1]["listed"], 2_000, "{starts}");
    let registrations = &result["results"]["journal: registrations per second with it and without"];
    assert!(
        registrations[0]["written_bytes_each"].as_f64() > Some(64.0),
        "{registrations}"
    );
    assert!(registrations[1]["written_bytes_each"].is_null());
}

#[test]
fn every_number_to_reach_is_measured_or_said_to_be_missing() {
    let result = result(&["goals", "--short", "--rounds", "1", "--vs", "redis"]);

    let goals = result["goals"].as_array().expect("the numbers");
    let met = |goal: &Json| goal["met"].as_str().map(str::to_owned);
    let unmeasured: Vec<_> = goals
        .iter()
        .filter(|goal| {
            ["missing", "not here"]
                .map(str::to_owned)
                .contains(&met(goal).unwrap_or_default())
        })
        .filter_map(|goal| goal["measured"].as_str())
        .collect();
    assert_eq!(goals.len(), 24);
    let excused = [
        "redis is not installed",
        "sofaregistry is not installed",
        "needs ",
    ];
    assert!(
        unmeasured
            .iter()
            .all(|why| excused.iter().any(|excuse| why.starts_with(excuse))),
        "{goals:#?}"
    );
}

#[test]
fn a_run_that_cannot_be_finished_is_no_result() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let page = folder.path().join("page.html");

    let output = Command::new(env!("CARGO_BIN_EXE_rollcall-bench"))
        .args(["publish", "--check", "--html"])
        .arg(&page)
        .env("ROLLCALL_BINARY", "/bin/false")
        .output()
        .expect("the bench runs");

    assert!(!output.status.success());
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(
        page.contains("Invalid") && page.contains("did not start"),
        "{page}"
    );
}

/// The rows of the one table that a scenario reports.
fn run(arguments: &[&str]) -> Vec<Json> {
    let result = result(arguments);
    let tables = result["results"].as_object().expect("tables by name");
    let rows = tables
        .values()
        .next()
        .and_then(Json::as_array)
        .expect("one table");
    rows.clone()
}

/// What a run says to programs; what it says to people is looked at too.
fn result(arguments: &[&str]) -> Json {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let json = folder.path().join("result.json");
    let html = folder.path().join("result.html");

    let output = Command::new(env!("CARGO_BIN_EXE_rollcall-bench"))
        .args(arguments)
        .arg("--check")
        .arg("--json")
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .env("ROLLCALL_BINARY", binary())
        .output()
        .expect("the bench runs");

    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{printed}");
    let page = std::fs::read_to_string(&html).expect("a page");
    assert!(
        page.contains("<polyline") && page.ends_with("</html>"),
        "{page}"
    );
    assert!(!page.contains("<script") && !page.contains("NaN"), "{page}");
    let result: Json =
        serde_json::from_slice(&std::fs::read(&json).expect("a result file")).expect("JSON");
    assert!(result["environment"]["kernel"].is_string(), "{result}");
    assert_eq!(result["valid"], true);
    result
}

/// The server, built once with the profile of this test, so that the tests do not wait for each other's cargo.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let bench = PathBuf::from(env!("CARGO_BIN_EXE_rollcall-bench"));
        let profile = bench.parent().expect("a folder of executables");
        let name = if profile.ends_with("debug") {
            "dev"
        } else {
            "release"
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "rollcall",
                "--bin",
                "rollcall",
                "--profile",
                name,
                "--target-dir",
            ])
            .arg(profile.parent().expect("the target folder"))
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the server does not build: {built}");
        profile.join("rollcall")
    })
}
