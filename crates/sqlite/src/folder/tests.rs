//! Tests that a folder has one owner, and none after its release.

use super::*;

#[test]
fn folder_rejects_a_second_owner_while_the_first_exists() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::own(dir.path()).unwrap();
    assert!(matches!(Folder::own(dir.path()), Err(Error::Owned(_))));
    drop(first);
    Folder::own(dir.path()).unwrap();
}

#[test]
fn released_folder_can_be_owned_while_the_lock_file_is_still_open_in_a_starting_program() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::own(dir.path()).unwrap();
    // Between fork and exec, a program shares the open files of its parent like this.
    let _shared = first.lock.try_clone().unwrap();
    drop(first);
    Folder::own(dir.path()).unwrap();
}
