//! Which era is the truth, of directories that a kill or damage left in every state.

use std::process::Command;

use rollcall_core::data::journal::File;
use rollcall_core::data::journal::manifest::Manifest;
use rollcall_core::data::journal::record::Entry;
use rollcall_core::data::journal::segment::{Header, SegmentWriter};
use rollcall_core::names::DataInfoId;
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;
use tempfile::TempDir;

use super::*;

/// A data directory with these files, all with something in them.
fn directory(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for file in files {
        write(&directory, file, b"something");
    }
    directory
}

fn write(directory: &TempDir, file: &str, bytes: &[u8]) {
    let path = directory.path().join(JOURNAL).join(file);
    let folder = path.parent().expect("a file is in a directory");
    fs::create_dir_all(folder).expect("a directory");
    fs::write(path, bytes).expect("written");
}

fn say(directory: &TempDir, era: u64, cores: u16) {
    write(directory, CURRENT, &Current { era, cores }.encode());
}

fn find(directory: &TempDir, cores: u16) -> Result<Journals, RecoveryError> {
    Journals::find(directory.path(), cores, Durability::Always)
}

/// The eras that are there once room was made.
fn eras_with_room(directory: &TempDir, cores: u16) -> Vec<u64> {
    let journals = find(directory, cores).expect("it can be taken over");
    journals.make_room().expect("room");
    eras(&directory.path().join(JOURNAL)).expect("readable")
}

fn recover(directory: &TempDir) -> Result<Recovered, RecoveryError> {
    let seed = Seed(1);
    let journals = find(directory, 1)?;
    journals.recover(CoreId(0), seed, &mut Interner::new(seed), &|_| true)
}

/// That a message says what is wrong, where, and what to do.
fn assert_helps(error: &RecoveryError, directory: &TempDir, file: &str, why: &str) {
    let journal = directory.path().join(JOURNAL);
    let said = error.to_string();
    for wanted in [
        format!("{}: {why}", journal.join(file).display()),
        "put it back from a copy".to_owned(),
        format!("move {} away", journal.display()),
        "shown only those publishers who are back".to_owned(),
        format!("`rollcall journal {}`", directory.path().display()),
    ] {
        assert!(said.contains(&wanted), "{wanted:?} is not in {said:?}");
    }
    assert!(!said.contains('\n'), "{said:?}");
}

#[test]
fn a_move_to_another_number_of_cores_begins_where_nothing_is() {
    let directory = directory(&["3/0/manifest", "4/0/0000000007.segment", "4/5/manifest"]);
    say(&directory, 3, 1);

    assert_eq!(eras_with_room(&directory, 2), [3]);
    assert!(directory.path().join("journal/3/0/manifest").exists());
    assert_eq!(eras_with_room(&directory, 2), [3], "nothing to remove");
}

#[test]
fn without_a_move_nothing_is_removed_before_all_cores_are_ready() {
    let directory = directory(&["3/0/manifest", "4/0/manifest"]);
    say(&directory, 3, 1);

    assert_eq!(eras_with_room(&directory, 1), [3, 4]);
    let journals = find(&directory, 1).expect("it can be taken over");
    journals.begin_era().expect("begun");

    assert_eq!(eras_with_room(&directory, 1), [3]);
}

#[test]
fn a_first_start_that_was_killed_is_gone_on_with_on_any_number_of_cores() {
    let directory = directory(&["0/0/manifest", "0/1/manifest"]);

    let same = find(&directory, 2).expect("it can be taken over");
    let other = find(&directory, 3).expect("it can be taken over");

    assert!(!same.must_move());
    assert_eq!(
        same.path_of(CoreId(0)),
        directory.path().join("journal/0/0")
    );
    // Both shards are read, whatever they hold.
    assert_eq!(other.before, Some(Current { era: 0, cores: 2 }));
    assert_eq!(
        other.path_of(CoreId(0)),
        directory.path().join("journal/1/0")
    );
}

/// Flips a bit of what is said.
fn damage(directory: &TempDir) {
    let path = directory.path().join(JOURNAL).join(CURRENT);
    let mut bytes = fs::read(&path).expect("just written");
    bytes[12] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn where_there_is_one_era_a_lost_or_damaged_word_on_it_is_made_up_for() {
    for is_damaged in [false, true] {
        let directory = directory(&["3/0/manifest", "3/1/manifest"]);
        if is_damaged {
            say(&directory, 3, 2);
            damage(&directory);
        }

        let other = find(&directory, 1).expect("it can be taken over");
        assert_eq!(other.before, Some(Current { era: 3, cores: 2 }));
        let same = find(&directory, 2).expect("it can be taken over");
        assert!(!same.must_move());
        same.begin_era().expect("begun");

        let said = said(&directory.path().join(JOURNAL)).expect("readable");
        assert_eq!(said, Ok(Current { era: 3, cores: 2 }));
    }
}

#[test]
fn a_lost_or_damaged_word_on_one_of_several_eras_is_refused_with_what_to_do() {
    let directory = directory(&["3/0/manifest", "4/0/manifest"]);
    let missing = find(&directory, 1).expect_err("which era counts is not known");
    assert_helps(
        &missing,
        &directory,
        CURRENT,
        "missing, though several eras",
    );

    say(&directory, 3, 1);
    damage(&directory);
    let damaged = find(&directory, 1).expect_err("which era counts is not known");
    assert_helps(
        &damaged,
        &directory,
        CURRENT,
        "damaged, though several eras",
    );

    assert_eq!(
        eras(&directory.path().join(JOURNAL)).expect("readable"),
        [3, 4]
    );
}

#[test]
fn where_no_era_is_left_a_damaged_word_on_it_is_refused() {
    let empty = directory(&["3/nothing"]);
    let missing = find(&empty, 1).expect_err("an era was there");
    assert_helps(&missing, &empty, CURRENT, "missing, and the only era");

    let none = directory(&[]);
    say(&none, 3, 1);
    damage(&none);
    let damaged = find(&none, 1).expect_err("an era was there");
    assert_helps(&damaged, &none, CURRENT, "damaged, and no era");
}

/// A shard with a service in each of these segments, as a life leaves it that went on in the last.
fn journal(segments: &[u64]) -> TempDir {
    let directory = directory(&[]);
    say(&directory, 0, 1);
    let manifest = Manifest {
        key: 77,
        segments: segments.to_vec(),
        is_last_to_begin: false,
        next_segment: 100,
    };
    write(&directory, "0/0/manifest", &manifest.encode());
    for &segment in segments {
        let header = Header {
            segment,
            salt: manifest.salt(segment),
            boot_id: host::boot_id(),
            ..Header::default()
        };
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&header, &mut bytes);
        let service = DataInfoId::new(&format!("service {segment}"), "", "");
        writer.append(
            &Entry::empty(&service, DatumVersion::new(segment + 2)),
            &mut bytes,
        );
        writer.close(&mut bytes);
        write(&directory, &segment_name(segment), &bytes);
    }
    directory
}

fn segment_name(segment: u64) -> String {
    format!("0/0/{}", File::Segment(segment))
}

fn path(directory: &TempDir, file: &str) -> PathBuf {
    directory.path().join(JOURNAL).join(file)
}

/// How many services are replayed, what could not be read, and whether that is known to the life that begins.
fn found(directory: &TempDir) -> (usize, u64, bool) {
    let recovered = recover(directory).expect("it is read");
    let Former { has_gap, .. } = recovered.former;
    (
        recovered.replayed.services.len(),
        recovered.damages,
        has_gap,
    )
}

#[test]
fn a_whole_journal_has_no_gap() {
    assert_eq!(found(&journal(&[3, 4])), (2, 0, false));
    let nothing = directory(&[]);
    assert_eq!(found(&nothing), (0, 0, false));
}

#[test]
fn what_the_disk_failed_to_take_is_a_gap() {
    let directory = journal(&[3]);
    write(&directory, "0/0/gap", b"");

    assert_eq!(found(&directory), (1, 0, true));
    assert!(
        path(&directory, "0/0/gap").exists(),
        "nothing is made up for yet"
    );
}

#[test]
fn without_a_manifest_every_segment_is_read_and_none_written_over() {
    let losses: [(&str, Option<&[u8]>); 3] = [
        ("missing", None),
        ("empty", Some(b"")),
        ("damaged", Some(b"RLCLMAN")),
    ];
    for (how, bytes) in losses {
        let directory = journal(&[3, 4]);
        let manifest = path(&directory, "0/0/manifest");
        match bytes {
            Some(bytes) => fs::write(&manifest, bytes).expect("written"),
            None => fs::remove_file(&manifest).expect("it was there"),
        }

        let Recovered {
            former,
            replayed,
            damages,
        } = recover(&directory).expect("it is read");

        assert_eq!(replayed.services.len(), 2, "{how}");
        assert_eq!(
            (damages, former.has_gap, former.needs_snapshot),
            (1, true, true),
            "{how}"
        );
        assert_eq!(former.next_segment, 5, "{how}");
        assert_eq!(former.key, 77, "{how}: headers tell it");
        let kept = path(&directory, "0/0/manifest.damaged");
        assert_eq!(kept.exists(), bytes.is_some(), "{how}");
    }
}

#[test]
fn a_segment_that_is_missing_or_empty_is_a_gap_and_the_others_are_read() {
    for is_empty in [false, true] {
        for lost in [3, 4] {
            let directory = journal(&[3, 4]);
            let file = path(&directory, &segment_name(lost));
            match is_empty {
                true => fs::write(file, b"").expect("written"),
                false => fs::remove_file(file).expect("it was there"),
            }

            assert_eq!(found(&directory), (1, 1, true), "{lost}, empty: {is_empty}");
        }
    }
}

#[test]
fn a_segment_that_was_to_be_begun_is_none_that_is_lost() {
    let directory = journal(&[3]);
    let manifest = Manifest {
        key: 77,
        segments: vec![3, 4],
        is_last_to_begin: true,
        next_segment: 5,
    };
    write(&directory, "0/0/manifest", &manifest.encode());

    assert_eq!(found(&directory), (1, 0, false));
}

#[test]
fn a_folder_that_is_gone_is_a_gap() {
    let directory = journal(&[3]);
    fs::remove_dir_all(path(&directory, "0/0")).expect("it was there");
    assert_eq!(found(&directory), (0, 1, true));

    fs::remove_dir_all(path(&directory, "0")).expect("it was there");
    assert_eq!(found(&directory), (0, 1, true));
}

#[test]
fn a_lost_word_on_the_era_is_a_gap() {
    let directory = journal(&[3]);
    fs::remove_file(path(&directory, CURRENT)).expect("it was there");

    assert_eq!(found(&directory), (1, 1, true));
}

#[test]
fn damage_in_a_segment_is_a_gap() {
    let directory = journal(&[3]);
    let file = path(&directory, &segment_name(3));
    let mut bytes = fs::read(&file).expect("a segment");
    bytes[12] ^= 1;
    fs::write(&file, bytes).expect("written");

    assert_eq!(found(&directory), (1, 1, true));
}

#[test]
fn an_end_that_is_damaged_is_a_gap_and_one_that_is_cut_short_is_none() {
    let ends: [(&[u8], bool); 2] = [
        (&[0x5a; 100], true),
        (&[0, 0, 0, 0, 200, 0, 1, 9, 9], false),
    ];
    for (end, is_gap) in ends {
        let directory = journal(&[3]);
        let file = path(&directory, &segment_name(3));
        let mut bytes = fs::read(&file).expect("a segment");
        bytes.extend(end);
        fs::write(&file, bytes).expect("written");

        assert_eq!(found(&directory), (1, u64::from(is_gap), is_gap));
    }
}

#[test]
fn a_segment_that_nothing_tells_how_to_read_is_set_aside() {
    let directory = journal(&[2, 3]);
    write(&directory, "0/0/manifest", b"something");
    write(&directory, &segment_name(2), &[1; 1_000]);

    assert_eq!(found(&directory), (1, 2, true));

    let kept = path(&directory, &format!("{}.damaged", segment_name(2)));
    assert_eq!(fs::read(kept).expect("kept"), [1; 1_000]);
}

#[test]
fn an_era_that_could_not_be_read_whole_is_set_aside_by_the_next() {
    let directory = journal(&[3, 4]);
    fs::remove_file(path(&directory, &segment_name(3))).expect("it was there");
    let seed = Seed(1);
    let journals = find(&directory, 2).expect("it can be taken over");
    for core in [CoreId(0), CoreId(1)] {
        let is_mine = |_| core == CoreId(0);
        let recovered = journals.recover(core, seed, &mut Interner::new(seed), &is_mine);
        assert!(recovered.expect("it is read").former.has_gap);
    }

    journals.begin_era().expect("begun");

    let kept = path(&directory, "0.damaged/0").join(File::Segment(4).to_string());
    assert!(kept.exists());
    assert!(!path(&directory, "0").exists());
}

#[test]
fn another_rule_of_the_ring_moves_everything_once() {
    let directory = journal(&[3, 4]);
    assert!(
        !find(&directory, 1).expect("taken over").must_move(),
        "the first rule there was"
    );
    write(&directory, RULE, b"0123456789abcdef\n");

    let journals = find(&directory, 1).expect("it can be taken over");

    assert!(journals.must_move());
    let seed = Seed(1);
    let recovered = journals.recover(CoreId(0), seed, &mut Interner::new(seed), &|_| true);
    assert_eq!(recovered.expect("it is read").replayed.services.len(), 2);
    journals.begin_era().expect("begun");
    assert!(!find(&directory, 1).expect("taken over").must_move());
}

#[test]
fn services_that_another_core_has_are_told() {
    let directory = journal(&[3, 4]);
    let seed = Seed(1);
    let journals = find(&directory, 1).expect("it can be taken over");

    let recovered = journals.recover(CoreId(0), seed, &mut Interner::new(seed), &|_| false);

    assert_eq!(recovered.expect("it is read").damages, 1);
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    for file in [
        CURRENT.to_owned(),
        "0/0/manifest".to_owned(),
        segment_name(3),
    ] {
        let directory = journal(&[3]);
        let path = path(&directory, &file);
        fs::remove_file(&path).expect("it was there");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("every host has it").success());

        let refused = recover(&directory).err().expect("a pipe");

        let said = refused.to_string();
        assert!(
            said.contains("not a regular file") && said.contains(&file),
            "{said}"
        );
    }
}
