use std::io::{self, ErrorKind};

use connector_core::{FileStorage, Storage};

use super::{CrashStorage, StorageFault, Unsynced};

fn write(storage: &dyn Storage, path: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file = storage.create(path)?;
    file.write(bytes)?;
    if sync { file.sync() } else { Ok(()) }
}

fn read(storage: &dyn Storage, path: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.size()?).unwrap()];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn left(storage: &CrashStorage, unsynced: Unsynced, path: &str) -> Option<Vec<u8>> {
    read(&storage.reopen(unsynced), path).ok()
}

/// What tests of the store rely on must hold for real files as well.
#[test]
fn does_without_faults_what_real_files_do() {
    let folder = tempfile::tempdir().unwrap();
    let storages: [&dyn Storage; 2] = [&FileStorage::new(folder.path()), &CrashStorage::new()];
    let kind = |result: io::Result<()>| result.err().map(|error| error.kind());
    let told = storages.map(|s| {
        let lock = s.lock("first").unwrap();
        let second = kind(s.lock("second").map(drop));
        drop(lock);
        write(s, "a/b/c", b"one", true).unwrap();
        write(s, "a/b/d", b"two", false).unwrap();
        s.sync_folder("a/b").unwrap();
        let open_before = s.open("a/b/d").unwrap();
        s.rename("a/b/c", "a/b/d").unwrap();
        write(s, "a/e", b"old and longer", true).unwrap();
        write(s, "a/e", b"new", true).unwrap();
        let mut replaced = [0; 3];
        open_before.read_at(0, &mut replaced).unwrap();
        (
            second,
            replaced,
            read(s, "a/b/d").unwrap(),
            read(s, "a/e").unwrap(),
            (
                s.list("").unwrap(),
                s.list("a").unwrap(),
                s.list("none").unwrap(),
            ),
            [
                kind(s.open("a/b/c").map(drop)),
                kind(s.open("a/e").unwrap().read_at(1, &mut [0; 3])),
                kind(s.rename("none", "x")),
                kind(s.rename("a/e", "none/x")),
                kind(s.remove("none")),
                kind(s.remove("a")),
                kind(s.remove("a/b/d")),
                kind(s.remove("a/b")),
            ],
            s.list("a").unwrap(),
        )
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0, Some(ErrorKind::WouldBlock), "locked");
}

#[test]
fn bytes_are_durable_after_a_sync_of_the_file() {
    let storage = CrashStorage::new();
    let mut file = storage.create("a").unwrap();
    storage.sync_folder("").unwrap();
    file.write(b"synced").unwrap();
    file.sync().unwrap();
    file.write(b"1234").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a").unwrap(), b"synced");
    assert_eq!(left(&storage, Unsynced::Kept, "a").unwrap(), b"synced1234");
    assert_eq!(left(&storage, Unsynced::Torn, "a").unwrap(), b"synced12");
    assert_eq!(
        left(&storage, Unsynced::Zeroed, "a").unwrap(),
        b"synced\0\0\0\0"
    );
}

#[test]
fn names_are_durable_after_a_sync_of_their_folder() {
    let storage = CrashStorage::new();
    write(&storage, "new", b"1", true).unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "new"), None);
    assert_eq!(left(&storage, Unsynced::Torn, "new").unwrap(), b"1");
    storage.sync_folder("").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "new").unwrap(), b"1");

    storage.remove("new").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "new").unwrap(), b"1", "back");
    assert_eq!(left(&storage, Unsynced::Kept, "new"), None);
    storage.sync_folder("").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "new"), None);
}

#[test]
fn a_new_folder_is_a_name_in_the_folder_above() {
    let storage = CrashStorage::new();
    write(&storage, "a/b/c", b"1", true).unwrap();
    storage.sync_folder("a/b").unwrap();
    storage.sync_folder("a").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a/b/c"), None);
    storage.sync_folder("").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a/b/c").unwrap(), b"1");
}

/// The way to replace a file: old or new, never neither, if the bytes were synced first.
#[test]
fn a_rename_is_one_step_and_durable_after_a_sync_of_the_folder() {
    let storage = CrashStorage::new();
    write(&storage, "a", b"old", true).unwrap();
    storage.sync_folder("").unwrap();
    write(&storage, "a.new", b"newer!", true).unwrap();
    storage.rename("a.new", "a").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a").unwrap(), b"old");
    for mode in [Unsynced::Kept, Unsynced::Torn, Unsynced::Zeroed] {
        assert_eq!(left(&storage, mode, "a").unwrap(), b"newer!");
    }
    storage.sync_folder("").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a").unwrap(), b"newer!");
    assert_eq!(left(&storage, Unsynced::Lost, "a.new"), None);
}

#[test]
fn a_rename_of_bytes_that_were_not_synced_can_leave_half_a_file() {
    let storage = CrashStorage::new();
    write(&storage, "a", b"old", true).unwrap();
    storage.sync_folder("").unwrap();
    write(&storage, "a.new", b"newer!", false).unwrap();
    storage.rename("a.new", "a").unwrap();
    storage.sync_folder("").unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a").unwrap(), b"");
    assert_eq!(left(&storage, Unsynced::Torn, "a").unwrap(), b"new");
}

#[test]
fn emptying_a_file_in_place_is_not_durable_either() {
    let storage = CrashStorage::new();
    write(&storage, "a", b"old", true).unwrap();
    storage.sync_folder("").unwrap();
    write(&storage, "a", b"newest", false).unwrap();
    assert_eq!(left(&storage, Unsynced::Lost, "a").unwrap(), b"old");
    assert_eq!(left(&storage, Unsynced::Torn, "a").unwrap(), b"new");
}

#[test]
fn freezing_stops_at_every_call_and_changes_nothing_after() {
    let run = |storage: &CrashStorage| -> io::Result<()> {
        let mut file = storage.create("a.new")?;
        file.write(b"123456")?;
        file.sync()?;
        storage.rename("a.new", "a")?;
        storage.sync_folder("")
    };
    let whole = CrashStorage::new();
    run(&whole).unwrap();
    assert_eq!(whole.calls(), 5);
    assert_eq!(whole.call(4).unwrap(), "rename a.new to a");
    assert_eq!((whole.call(0), whole.call(6)), (None, None));

    let expected = [
        vec![],
        vec![("a.new", &b"123"[..])],
        vec![("a.new", b"123456")],
        vec![("a.new", b"123456")],
        vec![("a", b"123456")],
        vec![("a", b"123456")],
    ];
    for (frozen_at, expected) in (1..).zip(expected) {
        let storage = CrashStorage::new();
        storage.freeze_at(frozen_at);
        assert_eq!(run(&storage).is_err(), frozen_at <= 5);
        assert_eq!(storage.is_frozen(), frozen_at <= 5);
        if frozen_at <= 5 {
            assert!(storage.create("late").is_err(), "dead");
            assert!(storage.list("").is_err(), "dead");
            assert_eq!(storage.calls(), frozen_at, "a dead process makes no calls");
        }
        let kept = storage.reopen(Unsynced::Kept);
        let files = kept.files();
        let left: Vec<_> = files
            .iter()
            .map(|f| (&f[..], read(&kept, f).unwrap()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(f, b)| (*f, b.to_vec())).collect();
        assert_eq!(left, expected, "frozen at call {frozen_at}");
    }
}

#[test]
fn a_call_can_fail_alone() {
    let storage = CrashStorage::new();
    storage.fault_at(2, StorageFault::Fails(ErrorKind::StorageFull));
    let mut file = storage.create("a").unwrap();
    let error = file.write(b"1234").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(
        error.to_string(),
        "call 2 (write a) failed as it was told to"
    );
    file.write(b"56").unwrap();
    assert_eq!(read(&storage, "a").unwrap(), b"1256", "half was written");

    let storage = CrashStorage::new();
    write(&storage, "a", b"1", true).unwrap();
    storage.fault_at(
        storage.calls() + 1,
        StorageFault::Fails(ErrorKind::PermissionDenied),
    );
    assert!(storage.rename("a", "b").is_err());
    assert_eq!(storage.files(), ["a"], "nothing was done");
}

/// Linux drops what it could not write and marks it clean: a second sync succeeds and lies.
#[test]
fn after_a_failed_sync_a_later_one_makes_nothing_durable() {
    let storage = CrashStorage::new();
    storage.fault_at(3, StorageFault::Fails(ErrorKind::Other));
    let mut file = storage.create("a").unwrap();
    file.write(b"1234").unwrap();
    file.sync().unwrap_err();
    file.sync().unwrap();
    storage.sync_folder("").unwrap();
    assert_eq!(read(&storage, "a").unwrap(), b"1234", "still to be read");
    for mode in Unsynced::ALL {
        assert_eq!(left(&storage, mode, "a").unwrap(), b"", "{mode:?}");
    }
}

#[test]
fn a_full_disk_stays_full_until_there_is_room() {
    let storage = CrashStorage::new();
    write(&storage, "old", b"1", true).unwrap();
    let mut open = storage.create("open").unwrap();
    storage.fault_at(storage.calls() + 1, StorageFault::Full);
    for _ in 0..2 {
        let error = open.write(b"12").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
    assert!(storage.create("new").is_err());
    assert_eq!(read(&storage, "old").unwrap(), b"1");
    storage.remove("old").unwrap();
    storage.mend();
    write(&storage, "new", b"1", true).unwrap();
    assert_eq!(storage.files(), ["new", "open"]);
}

#[test]
fn a_right_that_is_lost_does_not_close_files() {
    let storage = CrashStorage::new();
    let mut open = storage.create("a").unwrap();
    storage.fault_at(storage.calls() + 1, StorageFault::Denied);
    open.write(b"1").unwrap();
    open.sync().unwrap();
    for _ in 0..2 {
        let error = storage.rename("a", "b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert!(storage.list("").is_err() && storage.open("a").is_err());
    storage.mend();
    assert_eq!(read(&storage, "a").unwrap(), b"1");
}

/// As on Unix: who has the file open goes on with it.
#[test]
fn a_file_removed_by_somebody_else_is_gone_by_name() {
    let storage = CrashStorage::new();
    let mut open = storage.create("a").unwrap();
    storage.fault_at(storage.calls() + 1, StorageFault::Removed);
    open.write(b"1").unwrap();
    open.sync().unwrap();
    assert_eq!(read(&storage, "a").unwrap_err().kind(), ErrorKind::NotFound);
    write(&storage, "a", b"2", true).unwrap();
    storage.fault_at(storage.calls() + 1, StorageFault::Removed);
    let error = storage.rename("a", "b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Names that were not synced are lost one by one, in every combination.
#[test]
fn a_mixed_crash_keeps_one_name_and_loses_another() {
    let storage = CrashStorage::new();
    write(&storage, "old", b"0", true).unwrap();
    storage.sync_folder("").unwrap();
    write(&storage, "a", b"1", true).unwrap();
    storage.rename("old", "b").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let left = storage.reopen(Unsynced::Mixed(seed)).files();
        assert!(
            left.contains(&"old".to_owned()) != left.contains(&"b".to_owned()),
            "a rename is one step: {left:?}"
        );
        seen.insert(left);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_copy_goes_its_own_way_from_the_same_images() {
    let storage = CrashStorage::new();
    write(&storage, "a", b"1", true).unwrap();
    let copy = storage.copy();
    write(&storage, "b", b"2", true).unwrap();
    assert_eq!(copy.files(), ["a"]);
    assert_eq!(left(&copy, Unsynced::Lost, "a"), None, "not durable there");
}

#[test]
fn damage_stays_over_a_restart() {
    let storage = CrashStorage::new();
    write(&storage, "a", b"12", true).unwrap();
    storage.sync_folder("").unwrap();
    storage.damage("a", 1).unwrap();
    assert_ne!(read(&storage, "a").unwrap(), b"12");
    assert_ne!(left(&storage, Unsynced::Lost, "a").unwrap(), b"12");
    assert!(storage.damage("a", 2).is_err());
}

#[test]
fn the_next_start_has_no_faults_and_no_lock() {
    let storage = CrashStorage::new();
    let _lock = storage.lock("first").unwrap();
    storage.freeze_at(storage.calls() + 1);
    assert!(storage.list("").is_err());
    let next = storage.reopen(Unsynced::Lost);
    assert_eq!(next.calls(), 0);
    assert!(next.lock("second").is_ok());
}
