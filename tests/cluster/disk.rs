//! A disk without room, or one that fails: publishing and pushing go on, the node says what is wrong, and all is safe again once it can be.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rollcall_tests::{List, Options, RawClient, Rollcall, eventually, http};
use tempfile::TempDir;

const SERVICES: usize = 40;
/// The journal's files of a node that holds little, several times over.
const DISK_BYTES: u64 = 4 << 20;

/// A file system of its own that is soon full. Goes with the test.
struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Mounts it; nothing where the user may not.
    fn mount() -> Option<Self> {
        let user = fs::metadata("/proc/self")
            .expect("a process has an owner")
            .uid();
        if user != 0 {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "full disks: must be root where CI=true"
            );
            eprintln!(
                "\n==== SKIPPED: tests with a full disk, because only root may mount one ====\n"
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]);
        run(mount.arg(folder.path()));
        Some(Self { folder })
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a folder of ours");
        let mut bytes = vec![0; 64 << 10];
        while !bytes.is_empty() {
            if ballast.write_all(&bytes).is_err() {
                bytes.truncate(bytes.len() / 2);
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount_lazily(self.folder.path());
    }
}

/// A file system on a device that promises more than is behind it: once that is full, it takes writes as before, and fails to sync them.
struct ThinDisk {
    behind: Disk,
}

impl ThinDisk {
    /// Makes and mounts it; nothing where that cannot be.
    fn mount() -> Option<Self> {
        if !Path::new("/dev/loop-control").exists() {
            eprintln!(
                "\n==== SKIPPED: tests with a disk that fails, because this kernel has no loop devices ====\n"
            );
            return None;
        }
        let disk = Self {
            behind: Disk::mount()?,
        };
        run(Command::new("truncate")
            .args(["-s", "256M"])
            .arg(disk.image()));
        // Without a journal of its own it goes on after a failure, as soon as there is room.
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-O", "^has_journal", "-E", "nodiscard"]);
        run(make.arg(disk.image()));
        fs::create_dir(disk.place()).expect("a folder of ours");
        disk.mount_image();
        Some(disk)
    }

    fn mount_image(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,errors=continue"]);
        run(mount.arg(self.image()).arg(self.place()));
    }

    /// Shows what is on the medium: the kernel's memory has also what it failed to bring there.
    fn remount(&self) {
        run(Command::new("umount").arg(self.place()));
        self.mount_image();
    }

    fn data_dir(&self) -> PathBuf {
        self.place().join("data")
    }

    fn place(&self) -> PathBuf {
        self.behind.folder.path().join("thin")
    }

    fn image(&self) -> PathBuf {
        self.behind.folder.path().join("image")
    }
}

impl Drop for ThinDisk {
    fn drop(&mut self) {
        unmount_lazily(&self.place());
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("every host has it");
    assert!(status.success(), "{command:?}: {status}");
}

/// A node that still ends must not keep it.
fn unmount_lazily(place: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(place).status();
}

fn services() -> Vec<String> {
    (0..SERVICES)
        .map(|number| format!("service {number}"))
        .collect()
}

/// What is published in this round: enough that the last page of a file has no room for all of it.
fn value(round: i64) -> String {
    format!("{round}{}", "x".repeat(1_000))
}

/// Publishes to all services, and reads until the observer was shown all of it.
fn pass(round: i64, publisher: &mut RawClient, observer: &mut RawClient) -> Vec<List> {
    let services = services();
    publisher.publish_all(&services, "a", round, &value(round));
    observer.lists_until(&services, &[&value(round)])
}

fn observer(node: &Rollcall) -> RawClient {
    let mut observer = node.client();
    observer.subscribe_all(&services());
    observer
}

/// What health and readiness say.
fn health(node: &Rollcall) -> [String; 2] {
    ["/health/check", "/readyz"].map(|path| {
        let reply = http::get(node.addresses.data, path);
        assert_eq!(reply.status, 200, "it serves: {reply:?}");
        reply.body
    })
}

fn is_degraded(node: &Rollcall) -> bool {
    node.metric("rollcall_journal_degraded") > 0
}

fn says_no_room(node: &Rollcall) -> bool {
    let is_told = |said: &String| said.contains("degraded") && said.contains("No space left");
    health(node).iter().all(is_told)
}

fn assert_says_no_room(node: &Rollcall) {
    eventually("the node says that there is no room", || says_no_room(node));
    assert!(is_degraded(node));
}

fn heals(node: &Rollcall) {
    eventually("the journal heals by itself", || !is_degraded(node));
    let said = health(node);
    assert!(
        said.iter().all(|said| !said.contains("degraded")),
        "{said:?}"
    );
}

fn survives_a_crash(node: &mut Rollcall, round: i64, shown: &[List]) {
    node.kill();
    node.restart();
    shows_again(node, round, shown);
}

/// Everybody is there, as it was shown last, before anybody is back.
fn shows_again(node: &Rollcall, round: i64, shown: &[List]) {
    let again = observer(node).lists_until(&services(), &[&value(round)]);
    assert_eq!(again.len(), SERVICES, "{again:#?}");
    for list in again {
        let before = shown.iter().rfind(|before| before.data_id == list.data_id);
        assert!(
            before.is_some_and(|before| before.version <= list.version),
            "{before:?} before {list:?}"
        );
    }
}

on_one_and_two_cores! {
    fn a_full_disk_stops_no_push_and_heals_once_there_is_room(cores: usize) {
        let disk = or_skip!(Disk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut observer) = (node.client(), observer(&node));
        pass(1, &mut publisher, &mut observer);

        disk.fill();
        (2..=4).for_each(|round| drop(pass(round, &mut publisher, &mut observer)));
        assert_says_no_room(&node);
        pass(5, &mut publisher, &mut observer);

        disk.make_room();
        heals(&node);
        // What was published while there was no room is safe, and so is what comes then.
        let shown = pass(6, &mut publisher, &mut observer);
        survives_a_crash(&mut node, 6, &shown);
    }

    fn what_came_while_the_disk_was_full_is_on_it_when_it_has_healed(cores: usize) {
        let disk = or_skip!(Disk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut observer) = (node.client(), observer(&node));
        pass(1, &mut publisher, &mut observer);

        disk.fill();
        let shown = (2..=4).map(|round| pass(round, &mut publisher, &mut observer)).last();
        assert_says_no_room(&node);
        disk.make_room();
        heals(&node);

        survives_a_crash(&mut node, 4, &shown.expect("three rounds"));
    }

    fn a_disk_that_fails_to_sync_stops_no_push_and_heals_once_it_can(cores: usize) {
        let disk = or_skip!(ThinDisk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut observer) = (node.client(), observer(&node));
        pass(1, &mut publisher, &mut observer);

        disk.behind.fill();
        let mut rounds = 2..;
        let mut pass = || {
            let round = rounds.next().expect("without end");
            assert!(round < 10_000, "this would take more than is behind the disk");
            (round, pass(round, &mut publisher, &mut observer))
        };
        while !says_no_room(&node) {
            pass();
        }
        pass();

        disk.behind.make_room();
        heals(&node);
        let (round, shown) = pass();
        node.kill();
        disk.remount();
        node.restart();
        shows_again(&node, round, &shown);
    }

    fn a_kill_while_the_disk_is_full_shows_nobody_what_is_outdated(cores: usize) {
        let disk = or_skip!(Disk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut before) = (node.client(), observer(&node));
        pass(1, &mut publisher, &mut before);
        disk.fill();
        let shown = (2..=4).map(|round| pass(round, &mut publisher, &mut before)).last();
        assert_says_no_room(&node);
        let marks = || (0..cores).filter(|core| disk.data_dir().join(format!("journal/0/{core}/gap")).exists()).count();
        eventually("each shard is marked", || marks() == cores);

        node.kill();
        drop(publisher);
        disk.make_room();
        node.restart();

        assert_eq!(node.metric("rollcall_journal_gaps"), cores as u64);
        let mut after = observer(&node);
        let mut publisher = node.client();
        publisher.publish_all(&services(), "a", 4, &value(4));
        let again = after.lists_until(&services(), &[&value(4)]);
        assert_eq!(again.len(), SERVICES, "none was shown the lists of before");
        for list in again {
            let shown = shown.iter().flatten().rfind(|shown| shown.data_id == list.data_id);
            assert!(shown.is_some_and(|shown| shown.version < list.version), "{shown:?} before {list:?}");
        }
        eventually("nothing is missing any more", || marks() == 0);
    }

    fn a_disk_that_the_journal_fills_by_itself_heals(cores: usize) {
        let disk = or_skip!(Disk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut observer) = (node.client(), observer(&node));
        // The log may be far larger than the disk.
        let mut rounds = 1..;
        let mut pass = || {
            let round = rounds.next().expect("without end");
            assert!(round < 2_000, "this would take more than the disk has");
            (round, pass(round, &mut publisher, &mut observer))
        };
        while node.logged("journal degraded, pushes go on without it").is_empty() {
            pass();
        }

        heals(&node);
        let (round, shown) = pass();
        survives_a_crash(&mut node, round, &shown);
    }

    fn a_start_on_a_full_disk_serves_what_is_there(cores: usize) {
        let disk = or_skip!(Disk::mount());
        let mut node = Rollcall::on(Options::cores(cores), &disk.data_dir());
        let (mut publisher, mut before) = (node.client(), observer(&node));
        let shown = pass(1, &mut publisher, &mut before);

        node.kill();
        disk.fill();
        node.restart();

        assert_says_no_room(&node);
        let mut after = observer(&node);
        assert_eq!(after.lists_until(&services(), &[&value(1)]).len(), SERVICES);
        let mut publisher = node.client();
        pass(2, &mut publisher, &mut after);
        disk.make_room();
        heals(&node);
        survives_a_crash(&mut node, 2, &shown);
    }
}
