//! Which era is the truth, of directories that a kill or damage left in every state.

use rollcall_core::tables::Seed;
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

#[test]
fn a_segment_that_nothing_tells_how_to_read_is_refused_with_what_to_do() {
    let directory = directory(&["0/0/manifest"]);
    say(&directory, 0, 1);
    let file = "0/0/0000000002.segment";
    write(&directory, file, &[1; 1_000]);

    let error = recover(&directory).err().expect("it cannot be read");

    let why = "not a segment of a journal; the manifest beside it, by which it could be read, is damaged too";
    assert_helps(&error, &directory, file, why);
}
