//! Real files: what a core is told of them, and what lies on the disk then.

use std::fs;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;

use tempfile::TempDir;

use super::*;
use crate::executor::{self, Bell};

const SEGMENT: File = File::Segment(7);
const AHEAD: u64 = 4 << 20;

fn write(file: File, at: u64, bytes: &[u8]) -> Operation {
    let bytes = bytes.to_vec();
    Operation::Write { file, at, bytes }
}

/// A directory on an executor of its own.
struct Disk {
    directory: Directory,
    bell: Bell,
}

impl Disk {
    /// Does one operation and waits for its end.
    async fn run(&mut self, lane: Lane, operation: Operation) -> Finished {
        self.directory.begin(lane, operation);
        self.end().await
    }

    async fn end(&mut self) -> Finished {
        loop {
            if let Some(finished) = self.directory.finished().next() {
                return finished;
            }
            self.bell.wait(|| self.directory.prepare_sleep()).await;
        }
    }
}

fn on_a_core<T, R>(path: PathBuf, main: impl FnOnce(Disk) -> T + 'static) -> R
where
    T: Future<Output = R> + 'static,
    R: 'static,
{
    let ringer = Ringer::new().expect("a descriptor");
    let rings = ringer.clone();
    let ran = executor::run_control(&ringer, |bell| async move {
        let directory = Directory::open(&path, &rings, AHEAD).expect("a directory");
        main(Disk { directory, bell }).await
    });
    ran.expect("an executor")
}

fn folder() -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let path = temporary.path().join("new").join("shard");
    (temporary, path)
}

#[test]
fn a_file_that_grows_has_room_ahead_and_is_as_long_as_what_was_written() {
    let (_temporary, path) = folder();
    let bytes = vec![7; 600 << 10];
    let file = path.join("0000000007.segment");

    let allocated = on_a_core(path, {
        async move |mut disk| {
            let mut allocated = Vec::new();
            for number in 0..4 {
                let at = number * bytes.len() as u64;
                let end = disk.run(Lane::Turn, write(SEGMENT, at, &bytes)).await;
                assert!(end.result.is_ok(), "{end:?}");
                let end = disk
                    .run(Lane::Turn, Operation::Sync { file: SEGMENT })
                    .await;
                assert!(end.result.is_ok(), "{end:?}");
                let metadata = fs::metadata(&file).expect("a segment");
                assert_eq!(metadata.len(), at + bytes.len() as u64);
                allocated.push(metadata.blocks() * 512);
            }
            assert!(
                fs::read(&file)
                    .expect("a segment")
                    .iter()
                    .all(|byte| *byte == 7)
            );
            allocated
        }
    });

    let [small, large, ..] = allocated[..] else {
        panic!("{allocated:?}")
    };
    assert!(small < 1 << 20, "{allocated:?}");
    assert!(large >= (1200 << 10) + AHEAD, "{allocated:?}");
    assert_eq!(allocated[1..], [large; 3], "there was room");
}

#[test]
fn what_was_written_is_in_the_file_and_its_buffer_comes_back() {
    for lane in [Lane::Turn, Lane::Background] {
        let (_temporary, path) = folder();
        let large = vec![7; 3 << 20];

        let ends = on_a_core(path.clone(), {
            let large = large.clone();
            async move |mut disk| {
                let first = disk.run(lane, write(SEGMENT, 0, b"0123456789")).await;
                let second = disk.run(lane, write(SEGMENT, 5, &large)).await;
                let empty = disk.run(lane, write(File::Manifest, 0, b"")).await;
                [first, second, empty]
            }
        });

        assert!(
            ends.iter()
                .all(|end| end.lane == lane && end.result.is_ok())
        );
        let lengths = ends.map(|end| end.buffer.len());
        assert_eq!(lengths, [10, large.len(), 0]);
        let segment = fs::read(path.join("0000000007.segment")).expect("a segment");
        assert!(segment.starts_with(b"01234\x07") && segment.len() == 5 + large.len());
        assert_eq!(fs::read(path.join("manifest")).expect("made"), b"");
    }
}

#[test]
fn each_lane_can_do_everything() {
    for lane in [Lane::Turn, Lane::Background] {
        let (_temporary, path) = folder();

        let results = on_a_core(path.clone(), async move |mut disk| {
            let bytes = b"whole".to_vec();
            let file = File::Manifest;
            let operations = [
                write(SEGMENT, 0, b"a"),
                Operation::Sync { file: SEGMENT },
                Operation::Sync { file: SEGMENT },
                write(file, 0, b"longer than what replaces it"),
                Operation::Replace { file, bytes },
                Operation::Sync { file },
                write(file, 0, b"W"),
                Operation::Remove {
                    files: vec![SEGMENT, File::Segment(8)],
                },
            ];
            let mut results = Vec::new();
            for operation in operations {
                results.push(disk.run(lane, operation).await.result);
            }
            results
        });

        assert!(results.iter().all(Result::is_ok), "{lane:?}: {results:?}");
        assert_eq!(fs::read(path.join("manifest")).expect("there"), b"Whole");
        let names = fs::read_dir(&path).expect("a directory").count();
        assert_eq!(names, 1, "the segment and the temporary file are gone");
    }
}

#[test]
fn a_turn_does_not_wait_for_what_the_background_does() {
    let (_temporary, path) = folder();

    let order = on_a_core(path, async |mut disk| {
        let (release, stuck) = mpsc::channel::<()>();
        rt::spawn(async move {
            let waited = rt::spawn_blocking(move || stuck.recv()).await;
            assert!(matches!(waited, Ok(Ok(()))));
        });
        disk.directory
            .begin(Lane::Background, write(File::Segment(1), 0, b"slow"));

        let first = disk.run(Lane::Turn, write(SEGMENT, 0, b"a")).await;
        let second = disk
            .run(Lane::Turn, Operation::Sync { file: SEGMENT })
            .await;
        release.send(()).expect("it waits");
        let third = disk.end().await;

        [first, second, third].map(|end| (end.lane, end.result))
    });

    let turn = (Lane::Turn, Ok(()));
    assert_eq!(order, [turn.clone(), turn, (Lane::Background, Ok(()))]);
}

#[test]
fn an_end_rings_the_bell() {
    let (_temporary, path) = folder();
    let writes = 50;

    let took = on_a_core(path, async move |mut disk| {
        let begun = Clock::monotonic();
        for turn in 0..writes {
            let end = disk.run(Lane::Turn, write(SEGMENT, turn, b"a")).await;
            end.result.expect("written");
        }
        Clock::monotonic().since(begun)
    });

    // Without a ring the pulse of the bell ends each sleep after 100 ms.
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[test]
fn what_cannot_be_done_names_the_file_and_the_reason() {
    let (_temporary, path) = folder();

    let errors = on_a_core(path.clone(), async move |mut disk| {
        fs::remove_dir(&path).expect("an empty directory");
        let bytes = b"x".to_vec();
        let file = File::Manifest;
        let operations = [
            (Lane::Turn, write(SEGMENT, 0, b"a")),
            (Lane::Background, write(SEGMENT, 0, b"a")),
            (Lane::Background, Operation::Sync { file: SEGMENT }),
            (Lane::Background, Operation::Replace { file, bytes }),
        ];
        let mut errors = Vec::new();
        for (lane, operation) in operations {
            errors.push(disk.run(lane, operation).await.result.expect_err("gone"));
        }
        errors
    });

    for (error, doing) in errors
        .iter()
        .zip(["writing", "opening", "opening", "replacing"])
    {
        let said = error.to_string();
        assert_eq!(error.trouble, Trouble::Other);
        assert!(
            said.starts_with(doing) && said.contains("No such file"),
            "{said}"
        );
    }
    assert!(errors[0].to_string().contains("0000000007.segment"));
}

/// A file system of 1 MiB.
struct Tiny(TempDir);

impl Tiny {
    /// Nothing without the privilege to mount.
    fn mount() -> Option<Self> {
        let tiny = Self(tempfile::tempdir().expect("a temporary directory"));
        tiny.call("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .then_some(tiny)
    }

    fn call(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        let output = command.args(arguments).arg(self.0.path()).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        self.call("umount", &["--lazy"]);
    }
}

#[test]
fn a_full_disk_is_told_and_heals() {
    let Some(tiny) = Tiny::mount() else {
        println!("not shown: needs the privilege to mount");
        return;
    };

    let results = on_a_core(tiny.0.path().join("shard"), async |mut disk| {
        let mut results = Vec::new();
        for lane in [Lane::Turn, Lane::Background] {
            let full = disk.run(lane, write(SEGMENT, 0, &vec![1; 2 << 20])).await;
            assert_eq!(full.buffer.len(), 2 << 20, "it can be tried again");
            let files = vec![SEGMENT];
            let removed = disk.run(lane, Operation::Remove { files }).await;
            let again = disk.run(lane, write(SEGMENT, 0, &[1; 1 << 10])).await;
            results.push([full, removed, again].map(|end| end.result));
        }
        results
    });

    for [full, removed, again] in results {
        let full = full.expect_err("2 MiB do not fit");
        assert_eq!(full.trouble, Trouble::Full, "{full}");
        assert_eq!((removed, again), (Ok(()), Ok(())));
    }
}

#[test]
fn a_disk_that_became_read_only_is_told() {
    let Some(tiny) = Tiny::mount() else {
        println!("not shown: needs the privilege to mount");
        return;
    };
    let path = tiny.0.path().join("shard");
    Folder::new(&path).make().expect("room");
    assert!(tiny.call("mount", &["-o", "remount,ro"]));

    let errors = on_a_core(path, async |mut disk| {
        let turn = disk.run(Lane::Turn, write(SEGMENT, 0, b"a")).await;
        let (file, bytes) = (File::Manifest, b"x".to_vec());
        let replace = disk.run(Lane::Background, Operation::Replace { file, bytes });
        [turn.result, replace.await.result]
    });

    for error in errors {
        assert_eq!(error.expect_err("read-only").trouble, Trouble::ReadOnly);
    }
}

#[test]
fn a_folder_is_read_in_chunks_and_cut() {
    let (_temporary, path) = folder();
    let folder = Folder::new(&path);
    assert_eq!(folder.list(), Ok(vec![]), "no directory is an empty one");
    folder.make().expect("room");
    let content: Vec<u8> = (0..600_000_u32).map(|place| place as u8).collect();
    folder.replace(File::Segment(12), &content).expect("room");
    folder.replace(File::Manifest, b"names").expect("room");
    for stranger in ["manifest.next", "12.segment", "00000000012.segment", "x"] {
        fs::write(path.join(stranger), "").expect("room");
    }

    let mut chunks = Vec::new();
    let read = folder.read(File::Segment(12), |chunk| chunks.push(chunk.to_vec()));
    folder.truncate(File::Segment(12), 1_000).expect("there");

    assert_eq!(read, Ok(()));
    assert!(
        chunks[..chunks.len() - 1]
            .iter()
            .all(|chunk| chunk.len() % (32 << 10) == 0)
    );
    assert_eq!(chunks.concat(), content);
    assert_eq!(folder.len(File::Segment(12)), Ok(1_000));
    assert_eq!(folder.len(File::Segment(13)), Ok(0));
    assert_eq!(folder.list(), Ok(vec![File::Manifest, File::Segment(12)]));
    folder
        .remove(&[File::Manifest, File::Segment(13)])
        .expect("what is not there is no error");
    assert_eq!(folder.list(), Ok(vec![File::Segment(12)]));
}
