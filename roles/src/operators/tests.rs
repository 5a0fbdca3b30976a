//! Restarts, damage and a full disk, with the real file.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use rollcall_core::meta::{Blacklist, OffClient, Switch};
use rollcall_core::names::DataInfoId;
use tempfile::TempDir;

use super::*;

fn put(name: &str, version: i64, value: &str) -> MetaCommand {
    MetaCommand::Put {
        data_info_id: DataInfoId::new(name, "", ""),
        version,
        value: value.into(),
    }
}

/// One command of each kind.
fn every_kind() -> Vec<MetaCommand> {
    let ip: IpAddr = "10.0.0.1".parse().expect("an address");
    let client = OffClient {
        ip,
        publishers: true,
        subscribers: false,
    };
    let blacklist = Blacklist {
        publishers: [ip].into(),
        ..Blacklist::default()
    };
    vec![
        put("kept", 5, "value"),
        put("removed", 6, "value"),
        MetaCommand::Remove {
            data_info_id: DataInfoId::new("removed", "", ""),
            version: 7,
        },
        MetaCommand::Turn {
            switch: Switch::StopPush,
            on: true,
            version: 1_000,
        },
        MetaCommand::Blacklist {
            blacklist,
            text: "{}".into(),
            version: 1_001,
        },
        MetaCommand::ClientsOff(vec![client]),
        MetaCommand::ClientsOpen(vec!["10.0.0.2".parse().expect("an address")]),
        MetaCommand::Shutdown { requested: true },
    ]
}

fn carry_out(operators: &mut Operators, state: &mut MetaState, command: MetaCommand) {
    state.apply(command.clone()).expect("a good command");
    operators.record(&command, state).expect("room");
}

fn reopened(directory: &TempDir) -> MetaState {
    Operators::open(directory.path()).expect("sound").1
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn every_command_is_there_after_a_restart() {
    let directory = directory();
    let (mut operators, mut state) = Operators::open(directory.path()).expect("the first start");
    assert_eq!(state, MetaState::default());

    for command in every_kind() {
        carry_out(&mut operators, &mut state, command);
        // As a killed process leaves it: what is in the file now, without an orderly close.
        let copy = self::directory();
        fs::copy(operators.path.as_path(), copy.path().join(FILE)).expect("room");
        assert_eq!(reopened(&copy), state);
    }
    drop(operators);

    assert_eq!(reopened(&directory), state);
}

/// A file must stay readable: who changes how a command or the state is written raises `FORMAT`, reads the older one too, and writes here
/// what is so now.
#[test]
fn the_format_is_what_it_was() {
    let mut state = MetaState::default();
    let mut written = Vec::new();

    for command in every_kind() {
        written.extend(encode(&command));
        state.apply(command).expect("a good command");
    }
    written.extend(encode(&state));

    assert_eq!(
        (FORMAT, written.len(), crc32fast::hash(&written)),
        (1, 811, 3_084_425_412)
    );
}

#[test]
fn versions_only_grow_over_a_restart() {
    let directory = directory();
    let (mut operators, mut state) = Operators::open(directory.path()).expect("the first start");
    for command in every_kind() {
        carry_out(&mut operators, &mut state, command);
    }
    drop(operators);

    let mut state = reopened(&directory);
    let turned = state.apply(MetaCommand::Turn {
        switch: Switch::StopPush,
        on: false,
        version: 1,
    });
    let opened = state.apply(MetaCommand::ClientsOpen(Vec::new()));

    let version = |applied: Result<rollcall_core::meta::Applied, _>| applied.map(|it| it.version);
    assert_eq!((version(turned), version(opened)), (Ok(1_001), Ok(3)));
    assert!(state.apply(put("kept", 4, "old")).is_err());
    assert!(state.apply(put("removed", 7, "old")).is_err());
}

#[test]
fn a_long_log_gives_way_to_the_state() {
    let directory = directory();
    let (mut operators, mut state) = Operators::open(directory.path()).expect("the first start");
    let value: Arc<str> = "x".repeat(100 << 10).into();

    for version in 1..=100 {
        carry_out(&mut operators, &mut state, put("a", version, &value));
        assert!(operators.log_bytes <= LOG_BYTES_MIN);
    }
    let bytes = fs::metadata(&operators.path).expect("a file").len();
    drop(operators);

    assert!(bytes < 10 << 20, "{bytes} bytes for 10 MB of commands");
    assert_eq!(reopened(&directory), state);
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    for content in [&b""[..], b"not a database", &[0; 1 << 16]] {
        let directory = directory();
        let path = directory.path().join(FILE);
        fs::write(&path, content).expect("room");

        let refused = Operators::open(directory.path()).expect_err("damaged");

        let said = refused.to_string();
        assert!(said.contains("operators.redb: damaged: "), "{said}");
        assert!(said.contains("put a backup in its place"), "{said}");
        assert_eq!(fs::read(&path).expect("still there"), content);
    }
}

#[test]
fn another_format_is_refused_by_its_number() {
    let directory = directory();
    let (operators, _) = Operators::open(directory.path()).expect("the first start");
    let database = operators.database.expect("open");
    let write = database.begin_write().expect("a transaction");
    let newer = 2_u32.to_le_bytes();
    write
        .open_table(ABOUT)
        .and_then(|mut about| Ok(about.insert(FORMAT_KEY, &newer[..]).map(drop)?))
        .expect("room");
    write.commit().expect("room");
    drop(database);

    let refused = Operators::open(directory.path()).expect_err("a newer format");

    assert!(matches!(refused, OpenError::Format(_, 2)), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("start the version that wrote it")
    );
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let directory = directory();
    let (mut operators, mut state) = Operators::open(directory.path()).expect("the first start");
    for command in every_kind() {
        carry_out(&mut operators, &mut state, command);
    }
    drop(operators);
    let path = directory.path().join(FILE);
    let sound = fs::read(&path).expect("a file");

    let mut refused = 0;
    let used = sound.iter().enumerate().filter(|(_, byte)| **byte != 0);
    for (place, _) in used.step_by(97) {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x10;
        fs::write(&path, &damaged).expect("room");
        match Operators::open(directory.path()) {
            Ok((_, held)) => assert_eq!(held, state, "byte {place}"),
            Err(_) => refused += 1,
        }
    }

    assert!(refused > 3, "{refused} of the changed bytes were in use");
}

#[test]
fn a_changed_byte_behind_a_kill_loses_no_command_without_a_word() {
    let directory = directory();
    let (mut operators, mut state) = Operators::open(directory.path()).expect("the first start");
    for command in every_kind() {
        carry_out(&mut operators, &mut state, command);
    }
    let path = directory.path().join(FILE);
    // As a killed process leaves it.
    let killed = fs::read(&path).expect("a file");
    drop(operators);

    let used = killed.iter().enumerate().filter(|(_, byte)| **byte != 0);
    for (place, _) in used.step_by(61) {
        let mut damaged = killed.clone();
        damaged[place] ^= 0x10;
        fs::write(&path, &damaged).expect("room");
        if let Ok((_, held)) = Operators::open(directory.path()) {
            assert_eq!(held, state, "byte {place}");
        }
    }
}

#[test]
fn the_file_is_for_its_user_only_and_no_pipe_is_waited_for() {
    let directory = directory();
    drop(Operators::open(directory.path()).expect("the first start"));
    let path = directory.path().join(FILE);
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::remove_file(&path).expect("ours");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("every host has it").success());

    let refused = Operators::open(directory.path()).expect_err("a pipe");
    assert!(
        refused.to_string().contains("not a regular file"),
        "{refused}"
    );
}

/// A file system of 4 MiB, filled but for what is there.
struct Full(TempDir);

impl Full {
    /// Nothing without the privilege to mount.
    fn mount() -> Option<Self> {
        let full = Self(directory());
        let path = full.0.path();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(path);
        mount
            .output()
            .is_ok_and(|it| it.status.success())
            .then_some(full)
    }

    fn fill(&self) {
        let filled = fs::write(self.0.path().join("filler"), vec![1; 8 << 20]);
        assert!(filled.is_err(), "it is full");
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).expect("the filler");
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        // Lazily, as a failing test may still have the file open.
        let _ = umount.arg("--lazy").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_a_command_and_takes_it_when_there_is_room() {
    let Some(disk) = Full::mount() else {
        println!("not shown: needs the privilege to mount");
        return;
    };
    let (mut operators, mut state) = Operators::open(disk.0.path()).expect("the first start");
    carry_out(&mut operators, &mut state, put("a", 1, "one"));
    disk.fill();
    let large = put("b", 1, &"x".repeat(2 << 20));
    let mut after = state.clone();
    after.apply(large.clone()).expect("a good command");

    let refused = operators.record(&large, &after).expect_err("no room");
    let again = operators.record(&large, &after).expect_err("no room");
    drop(operators);
    let (mut operators, held) = Operators::open(disk.0.path()).expect("a start on a full disk");
    assert_eq!(held, state, "nothing was changed");
    operators.record(&large, &after).expect_err("no room");
    disk.free();
    carry_out(&mut operators, &mut state, put("c", 1, "three"));
    drop(operators);

    for said in [refused.to_string(), again.to_string()] {
        assert!(said.starts_with("nothing was changed"), "{said}");
        assert!(said.contains("operators.redb"), "{said}");
    }
    let (_, held) = Operators::open(disk.0.path()).expect("sound");
    assert_eq!(held, state, "without the command that was refused");
}
