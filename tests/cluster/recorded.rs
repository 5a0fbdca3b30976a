//! Data directories that earlier builds have left: a node starts on them, and everybody and everything in them is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rollcall_tests::{Options, Rollcall, http};
use serde_json::{Value as Json, json};

/// By service: its version and its strings.
type Lists = BTreeMap<String, Json>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/data")
        .join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of ours");
    for entry in fs::read_dir(from).expect("a recording") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("room")),
        }
    }
}

fn recorded(name: &str) -> Lists {
    let text = fs::read(golden(&format!("{name}.json"))).expect("what was shown");
    serde_json::from_slice(&text).expect("lists")
}

/// All lists, as a subscriber of a node on a copy of this recording is shown them before any publisher is back.
fn shown(node: &Rollcall, services: Vec<String>) -> Lists {
    let mut observer = node.client();
    observer.subscribe_all(&services);
    let mut lists = Lists::new();
    while lists.len() < services.len() {
        let list = observer.list();
        let strings: Vec<_> = list.strings().iter().map(ToString::to_string).collect();
        let told = json!({"version": list.version, "strings": strings});
        lists.insert(list.data_id.to_string(), told);
    }
    lists
}

fn assert_operators_are_obeyed(node: &Rollcall) {
    let told = |path: &str| http::get(node.addresses.meta, path).body;
    let value =
        "/persistentData/query?dataInfoId=kept%23@%23DEFAULT_INSTANCE_ID%23@%23DEFAULT_GROUP";
    assert!(told(value).contains("value"), "{}", told(value));
    let off = told("/api/clientManager/query");
    assert!(off.contains("10.0.0.7"), "{off}");
    assert_eq!(node.metric("rollcall_operators_lost"), 0);
}

on_one_and_two_cores! {
    fn an_orderly_stop_of_the_build_before_is_gone_on_with(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&golden("stopped"), folder.path());
        let recorded = recorded("stopped");

        let node = Rollcall::on(Options::cores(cores), folder.path());

        assert_eq!(shown(&node, recorded.keys().cloned().collect()), recorded);
        assert_operators_are_obeyed(&node);
        assert_eq!(node.metric("rollcall_journal_damages_total"), 0);
        assert_eq!(node.metric("rollcall_journal_gaps"), 0);
    }

    fn a_kill_of_the_build_before_on_another_machine_costs_nobody(cores: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&golden("killed"), folder.path());
        let recorded = recorded("killed");

        let node = Rollcall::on(Options::cores(cores), folder.path());

        // On any machine but that of the recording they are held for a while, and then shown under versions of their own.
        let shown = shown(&node, recorded.keys().cloned().collect());
        for (service, list) in recorded {
            assert_eq!(shown[&service]["strings"], list["strings"], "{service}");
            assert!(shown[&service]["version"].as_i64() >= list["version"].as_i64(), "{service}");
        }
        assert_operators_are_obeyed(&node);
        assert_eq!(node.metric("rollcall_journal_damages_total"), 0);
    }
}
