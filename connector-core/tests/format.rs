//! The files of the store: every damaged byte is found, the same input gives the same bytes, and
//! what version 1 wrote is read by every later one.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use connector_core::{
    Change, ChangeEvent, Cycle, ErrorKind, FileStorage, NamedSink, Outcome, Row, Storage, Store,
    memory::MemorySink,
};
use connector_testkit::{CrashStorage, ManualClock, Unsynced};
use lab::{Lab, device, devices};

/// A base, history, a live change, a held cycle and two sinks.
async fn filled() -> Lab {
    let mut lab = Lab::new(&["one", "two"]);
    lab.source.set(devices(0..6, 8));
    lab.synced().await;
    lab.source
        .set([devices(1..6, 8), vec![device("new", 1)]].concat());
    lab.synced().await;
    lab.source.set(Vec::new());
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));
    lab
}

fn contents(storage: &dyn Storage, files: &[String]) -> BTreeMap<String, Vec<u8>> {
    let read = |file: &String| {
        let open = storage.open(file).unwrap();
        let mut bytes = vec![0; usize::try_from(open.size().unwrap()).unwrap()];
        open.read_at(0, &mut bytes).unwrap();
        (file.clone(), bytes)
    };
    files.iter().map(read).collect()
}

async fn rows(store: &Store) -> connector_core::Result<Vec<Row>> {
    let mut rows = store.rows(&Lab::id()).await?;
    let mut all = Vec::new();
    while let Some(some) = rows.next().await? {
        all.extend(some);
    }
    all.sort_by_key(Row::key);
    Ok(all)
}

async fn history(store: &Store) -> connector_core::Result<Vec<ChangeEvent>> {
    let mut changes = store.changes(&Lab::id()).await?;
    let mut all = Vec::new();
    while let Some(some) = changes.next().await? {
        all.extend(some);
    }
    Ok(all)
}

#[tokio::test]
async fn a_damaged_byte_anywhere_is_found_or_changes_nothing() {
    let mut lab = filled().await;
    let (good_rows, good_history) = (lab.baseline().await, lab.history().await);
    let files = lab.storage.files();
    lab.stop();
    let mut found = 0;
    for (file, bytes) in contents(&lab.storage, &files) {
        for offset in 0..bytes.len() as u64 {
            let storage = lab.storage.reopen(Unsynced::Kept);
            storage.damage(&file, offset).unwrap();
            let clock = Arc::new(ManualClock::default());
            let store = Store::open(Arc::new(storage), clock).await.unwrap();
            let place = format!("{file} at {offset}");

            let rows = rows(&store).await;
            let history = history(&store).await;
            for error in [rows.as_ref().err(), history.as_ref().err()]
                .into_iter()
                .flatten()
            {
                assert_eq!(error.kind(), ErrorKind::Storage, "{place}: {error:#}");
                assert!(
                    format!("{error:#}").contains("lab/devices/"),
                    "{place}: {error:#}"
                );
            }
            found += u32::from(rows.is_err() || history.is_err());
            assert!(
                rows.is_err() || rows.unwrap() == good_rows,
                "{place}: other rows"
            );
            assert!(
                history.is_err() || history.unwrap() == good_history,
                "{place}: other history"
            );

            // A cycle fails by name, or its sink ends with what the source holds.
            lab.source.set(devices(2..7, 8));
            let sink = MemorySink::default();
            let cycle = Cycle::new(&store).sink(NamedSink::new("three", sink.clone()));
            match cycle.run_dataset("lab", &*lab.source).await.outcome {
                Outcome::Failed(error) => assert_eq!(error.kind(), ErrorKind::Storage, "{place}"),
                Outcome::Synced(_) => assert_eq!(sink.rows(&Lab::id()).len(), 5, "{place}"),
                Outcome::Held(held) => panic!("{place}: {held:?}"),
            }
        }
    }
    // The held cycle is read by nobody here, and a lock's holder is only a message.
    assert!(found > 2000, "{found} bytes of damage were found");
}

#[tokio::test]
async fn the_same_input_gives_the_same_bytes() {
    let (one, other) = (filled().await, filled().await);
    let files: Vec<String> = one
        .storage
        .files()
        .into_iter()
        .filter(|file| file.contains("devices/"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    assert_eq!(
        contents(&one.storage, &files),
        contents(&other.storage, &files)
    );
}

/// Where the state folder of format version 1 is kept.
fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn what_version_1_wrote_is_read_and_gone_on_from() {
    let mut lab = filled().await;
    let expected = (lab.baseline().await, lab.history().await);
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(), folder.path());

    let storage = Arc::new(FileStorage::new(folder.path()));
    let store = Store::open(storage, Arc::new(ManualClock::default()))
        .await
        .unwrap();
    assert_eq!(store.datasets().await.unwrap(), [Lab::id()]);
    assert_eq!(rows(&store).await.unwrap(), expected.0);
    let kinds = |events: &[ChangeEvent]| -> Vec<Change> {
        events.iter().map(|event| event.change.clone()).collect()
    };
    assert_eq!(kinds(&history(&store).await.unwrap()), kinds(&expected.1));
    assert!(
        store
            .status(&Lab::id())
            .await
            .unwrap()
            .unwrap()
            .held
            .is_some()
    );

    let sink = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("three", sink.clone()));
    let report = cycle.approve(&Lab::id()).await;
    assert!(report.is_ok(), "{report:?}");
    lab.source.set(devices(0..3, 8));
    let report = cycle.run_dataset("lab", &*lab.source).await;
    assert!(
        matches!(report.outcome, Outcome::Synced(counts) if counts.inserts == 3),
        "{report:?}"
    );
    assert_eq!(sink.rows(&Lab::id()).len(), 3);
}

#[tokio::test]
async fn another_format_is_refused_by_number() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(), folder.path());
    let manifest = folder.path().join("lab/devices/manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        text.replacen("datasync-manifest 1 ", "datasync-manifest 7 ", 1),
    )
    .unwrap();
    let storage = Arc::new(FileStorage::new(folder.path()));
    let store = Store::open(storage, Arc::new(ManualClock::default()))
        .await
        .unwrap();
    let error = store.status(&Lab::id()).await.unwrap_err();
    assert_eq!(
        error.message(),
        "the manifest has format 7; this program knows 1"
    );
}

/// Made the golden folder, and makes the one of the next version: call it once, over `filled()`.
#[expect(dead_code, reason = "a new version of the format begins with it")]
fn write_golden(storage: &CrashStorage) {
    for (file, bytes) in contents(storage, &storage.files()) {
        let path = golden().join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
