use connector_core::{
    Cycle, CycleId, CycleOptions, NamedSink, Retain, Sink as _, Store, Value,
    memory::MemoryDataset,
    schema::{date, int, text},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sink::testing::{Source, all_types, deliver, values};

async fn open(folder: &TempDir) -> Repository {
    Repository::sqlite(&folder.path().join("repository.db"))
        .await
        .unwrap()
}

/// Another connection, as a person who queries has it.
fn reader(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("repository.db")).unwrap()
}

fn lines(connection: &Connection, sql: &str) -> Vec<String> {
    let mut select = connection.prepare(sql).unwrap();
    let columns = select.column_count();
    let line = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
        let cells: Vec<_> = (0..columns)
            .map(|column| match row.get_ref(column)? {
                rusqlite::types::ValueRef::Null => Ok("NULL".to_owned()),
                rusqlite::types::ValueRef::Integer(v) => Ok(v.to_string()),
                other => Ok(other.as_str().unwrap().to_owned()),
            })
            .collect::<rusqlite::Result<_>>()?;
        Ok(cells.join("|"))
    };
    let rows = select.query_map([], line).unwrap();
    rows.map(Result::unwrap).collect()
}

fn devices(connection: &Connection) -> Vec<String> {
    lines(connection, "SELECT name, cores FROM devices ORDER BY name")
}

#[tokio::test]
async fn a_person_finds_tables_named_as_the_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    for connector in ["hr", "lab"] {
        let mut source = Source::devices(connector);
        let rows = vec![source.device(connector, 4)];
        deliver(&mut sink, &source.full(rows)).await.unwrap();
    }
    let mut source = Source::new("lab", "sqlite_x", vec![text("a").key()]);
    deliver(&mut sink, &source.full(vec![])).await.unwrap();

    let reader = reader(&folder);
    let of = |table: &str| lines(&reader, &format!("SELECT * FROM {table}"));
    assert_eq!(of("devices"), ["hr|4|hr"]);
    assert_eq!(of("lab_devices"), ["lab|4|lab"]);
    assert!(of("lab_sqlite_x").is_empty());
}

#[tokio::test]
async fn a_table_of_the_owners_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let owner = reader(&folder);
    owner
        .execute_batch("CREATE TABLE Devices (mine); INSERT INTO Devices VALUES ('x')")
        .unwrap();
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    assert_eq!(lines(&owner, "SELECT * FROM Devices"), ["x"]);
    assert_eq!(lines(&owner, "SELECT name FROM hr_devices"), ["PC-1"]);
}

#[tokio::test]
async fn a_repeat_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4), source.device("PC-2", 8)];
    let full = source.full(rows);
    deliver(&mut sink, &full).await.unwrap();
    let by_hand = "UPDATE devices SET cores = cores + 1";
    reader(&folder).execute_batch(by_hand).unwrap();
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-1|5", "PC-2|9"]);
    let rows = vec![source.device("PC-2", 16), source.device("PC-3", 2)];
    let change = source.change(rows);
    deliver(&mut sink, &change).await.unwrap();
    drop(sink);

    let mut sink = open(&folder).await;
    deliver(&mut sink, &change).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-2|16", "PC-3|2"]);
    let state = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (state.rows, state.digest, state.cycle),
        (2, source.digest(), change.0)
    );
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_to_a_repository_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    let remove = || {
        for file in std::fs::read_dir(&folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    };

    // Between two cycles: the new one lacks the cycle before, and asks for everything.
    remove();
    let rows = vec![source.device("PC-1", 5)];
    let error = deliver(&mut sink, &source.change(rows)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);

    // Within one: it fails, naming the file.
    let rows = vec![source.device("PC-1", 6)];
    let full = source.full(rows);
    sink.write(&full.1).await.unwrap();
    remove();
    let error = sink.commit(&full.0).await.unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains(".db") && message.contains("removed"),
        "{message}"
    );
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-1|6"]);
}

/// The second column is the key, and deletions carry the key only.
#[tokio::test]
async fn changes_of_a_data_set_that_keeps_digests_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::new(vec![int("cores").null(), text("name").key()]).unwrap();
    let devices = Arc::new(MemoryDataset::new("devices", Arc::new(schema)));
    let set = |rows: &[(&'static str, i64)]| {
        let row = |(name, cores): &(&'static str, i64)| {
            vec![Value::Int(*cores), Value::Text((*name).into())]
        };
        devices.set(rows.iter().map(row).collect());
    };
    let store = Store::open_folder(folder.path().join("state")).await;
    let mut options = CycleOptions::default();
    options.retain = Retain::Digests;
    let store = store.unwrap();
    let cycle = Cycle::new(&store)
        .options(options)
        .sink(NamedSink::new("repository", open(&folder).await));
    for rows in [
        &[("PC-1", 4), ("PC-2", 8)][..],
        &[("PC-2", 16), ("PC-3", 2)][..],
    ] {
        set(rows);
        let report = cycle.run_dataset("hr", &*devices).await;
        assert!(report.is_ok(), "{report:?}");
    }
    assert_eq!(self::devices(&reader(&folder)), ["PC-2|16", "PC-3|2"]);
}

/// The first digests are of records with a column that the table does not have.
#[tokio::test]
async fn a_deletion_that_carries_the_key_only_adds_columns() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = vec![text("name").key(), int("cores").null()];
    let wide = [&narrow[..], &[text("site").null()]].concat();
    let shapes = [narrow, wide].map(|columns| Arc::new(Schema::new(columns).unwrap()));
    let devices = Arc::new(MemoryDataset::new("devices", Arc::clone(&shapes[0])));
    let store = Store::open_folder(folder.path().join("state")).await;
    let cycle = Cycle::new(&store.unwrap()).sink(NamedSink::new("repository", open(&folder).await));
    let mut digests = CycleOptions::default();
    digests.retain = Retain::Digests;
    let cycles = [cycle.clone(), cycle.options(digests)];
    for ((schema, cycle), names) in shapes
        .iter()
        .zip(&cycles)
        .zip([&["PC-1", "PC-2"][..], &["PC-2"]])
    {
        let row = |name: &&'static str| {
            let mut row = vec![Value::Text((*name).into()), Value::Int(8)];
            row.resize(schema.columns().len(), Value::Null);
            row
        };
        devices.set_schema(Arc::clone(schema));
        devices.set(names.iter().map(row).collect());
        let report = cycle.run_dataset("hr", &*devices).await;
        assert!(report.is_ok(), "{report:?}");
    }
    assert_eq!(self::devices(&reader(&folder)), ["PC-2|8"]);
}

#[tokio::test]
async fn what_was_cut_off_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    sink.write(&full.1[..2]).await.unwrap();
    drop(sink);

    let mut sink = open(&folder).await;
    deliver(&mut sink, &full).await.unwrap();
    let rows = vec![source.device("PC-1", 5), source.device("PC-2", 8)];
    let change = source.change(rows);
    // Everything but the commit, twice.
    sink.write(&change.1).await.unwrap();
    sink.write(&change.1).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-1|4"], "not committed");
    drop(sink);

    let mut sink = open(&folder).await;
    assert_eq!(devices(&reader(&folder)), ["PC-1|4"]);
    deliver(&mut sink, &change).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-1|5", "PC-2|8"]);
}

#[tokio::test]
async fn a_reader_never_sees_half_a_full_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();

    let reader = reader(&folder);
    let rows = (0..9)
        .map(|i| source.device(&format!("new {i}"), i))
        .collect();
    let full = source.full(rows);
    for event in &full.1 {
        sink.write(std::slice::from_ref(event)).await.unwrap();
        assert_eq!(devices(&reader), ["PC-1|4"]);
    }
    sink.commit(&full.0).await.unwrap();
    assert_eq!(devices(&reader).len(), 9);
}

#[tokio::test]
async fn a_missing_cycle_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    source.change(vec![]); // Lost on its way.
    let rows = vec![source.device("PC-2", 4)];
    let late = source.change(rows);
    let error = deliver(&mut sink, &late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);

    // So is everything when the owner has dropped the table.
    reader(&folder).execute_batch("DROP TABLE devices").unwrap();
    let error = deliver(&mut sink, &late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    let rows = vec![source.device("PC-2", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-2|4"]);
}

#[tokio::test]
async fn a_table_that_was_changed_by_hand_is_told_of_and_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4), source.device("PC-2", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    reader(&folder)
        .execute_batch("DELETE FROM devices WHERE name = 'PC-1'; UPDATE devices SET cores = 5")
        .unwrap();

    let state = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.rows, 1);
    assert_ne!(state.digest, source.digest());
    let rows = vec![source.device("PC-1", 8), source.device("PC-2", 4)];
    let error = deliver(&mut sink, &source.change(rows)).await.unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Incomplete, "{message}");
    assert!(message.contains("somebody changed"), "{message}");
    assert!(message.contains("hr/devices"), "{message}");
    assert!(message.contains("table: devices"), "{message}");
}

#[tokio::test]
async fn events_that_do_not_add_up_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    for full in [true, false] {
        let rows = vec![source.device("PC-1", 4), source.device("PC-2", 4)];
        let good = source.full(rows);
        if !full {
            deliver(&mut sink, &good).await.unwrap();
        }
        let rows = vec![source.device("PC-1", 5), source.device("PC-2", 5)];
        let (cycle, mut events) = if full {
            source.full(rows)
        } else {
            source.change(rows)
        };
        // A lost event.
        events.remove(1);
        (1..)
            .zip(&mut events)
            .for_each(|(seq, event)| event.seq = seq);
        let error = deliver(&mut sink, &(cycle, events)).await.unwrap_err();
        // After changes, what differs is sent; after everything, there is nothing more to send.
        let kind = if full {
            ErrorKind::Sink
        } else {
            ErrorKind::Incomplete
        };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(sink.commit(&cycle).await.is_err());
    }
    assert_eq!(devices(&reader(&folder)), ["PC-1|4", "PC-2|4"]);
}

#[tokio::test]
async fn new_columns_are_added_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4), source.device("PC-2", 8)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    reader(&folder)
        .execute_batch("CREATE INDEX by_cores ON devices (cores)")
        .unwrap();

    let columns = vec![
        date("bought").null(),
        text("name").key(),
        int("cores").null(),
    ];
    let old = std::mem::take(&mut source.rows);
    source.schema = Arc::new(connector_core::Schema::new(columns).unwrap());
    let day = connector_core::Type::Date.parse("2026-01-02").unwrap();
    let name = |name: &'static str| connector_core::Value::Text(name.into());
    let (null, cores) = (connector_core::Value::Null, |cores| {
        connector_core::Value::Int(cores)
    });
    let pc1 = source.row(&[day, name("PC-1"), cores(4)]);
    let pc2 = source.row(&[null, name("PC-2"), cores(8)]);
    let before = old[&pc1.key()].clone();
    // The store sends updates of the rows that have a value there.
    source.rows.insert(pc1.key(), pc1.clone());
    source.rows.insert(pc2.key(), pc2.clone());
    let (cycle, mut events) = source.change(vec![pc1.clone(), pc2]);
    let complete = events.pop().unwrap();
    let events = vec![
        ChangeEvent {
            change: Change::Update { before, after: pc1 },
            ..complete.clone()
        },
        ChangeEvent { seq: 2, ..complete },
    ];
    deliver(&mut sink, &(cycle, events)).await.unwrap();
    let found = lines(
        &reader(&folder),
        "SELECT name, cores, bought FROM devices ORDER BY name",
    );
    assert_eq!(found, ["PC-1|4|2026-01-02", "PC-2|8|NULL"]);
    let state = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.digest, source.digest());
}

#[tokio::test]
async fn views_and_indexes_of_the_owners_outlive_a_full_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    reader(&folder)
        .execute_batch(
            "CREATE VIEW big AS SELECT name FROM devices WHERE cores > 4;
             CREATE INDEX by_cores ON devices (cores)",
        )
        .unwrap();
    let rows = vec![source.device("PC-1", 8)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    let reader = reader(&folder);
    assert_eq!(lines(&reader, "SELECT name FROM big"), ["PC-1"]);
    let indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'devices'";
    assert_eq!(lines(&reader, indexes), ["_devices_key", "by_cores"]);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    reader(&folder)
        .execute_batch("CREATE TABLE bookmarks (url)")
        .unwrap();
    let error = Repository::sqlite(&folder.path().join("repository.db"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another program's"), "{error}");
    assert_eq!(
        lines(&reader(&folder), "SELECT name FROM sqlite_schema"),
        ["bookmarks"]
    );
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder).await);
    reader(&folder)
        .execute_batch("PRAGMA user_version = 2")
        .unwrap();
    let error = Repository::sqlite(&folder.path().join("repository.db"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn logs_are_tables() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let at: connector_core::Timestamp = "2026-11-21T03:08:00Z".parse().unwrap();
    sink.log_process(ProcessEntry {
        at,
        action: "start",
        connector: None,
        message: None,
    })
    .await
    .unwrap();
    sink.log_sync(SyncEntry {
        dataset: DatasetId::new("hr", "devices"),
        cycle: Some(CycleId::new(3, at, false)),
        started: at,
        finished: at,
        counts: connector_core::Counts {
            inserts: 5,
            ..Default::default()
        },
        outcome: "synced",
        error: None,
    })
    .await
    .unwrap();
    let reader = reader(&folder);
    assert_eq!(
        lines(
            &reader,
            "SELECT dataset, cycle, inserts, outcome FROM _sync_log"
        ),
        ["devices|2026-11-21T03:08:00Z.3|5|synced"]
    );
    assert_eq!(
        lines(&reader, "SELECT at, action, connector FROM _process_log"),
        ["2026-11-21T03:08:00Z|start|NULL"]
    );
}

/// Gives up the delivery's future in the middle, as a host that is stopped does.
#[tokio::test]
async fn an_abandoned_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    {
        let write = sink.write(&full.1[..2]);
        futures::pin_mut!(write);
        let _ = futures::poll!(write);
    }
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(devices(&reader(&folder)), ["PC-1|4"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// D1 and losslessness for every type: after any cycles the table read back equals the source.
    #[test]
    fn tables_hold_exactly_the_sources_rows(
        cycles in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(values(&all_types()), 0..6)),
            1..5,
        ),
        keep in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut sink = open(&folder).await;
            let mut source = Source::new("hr", "all", all_types());
            for (place, (full, rows)) in cycles.into_iter().enumerate() {
                let mut next: Vec<_> = rows.iter().map(|values| source.row(values)).collect();
                // Some keys stay, with the other columns of another row.
                let old: Vec<_> = source.rows.values().cloned().collect();
                for (old, new) in old.iter().take(keep.index(6)).zip(&next.clone()) {
                    let half = all_types().len() / 2;
                    let values: Vec<_> = old.values().take(half)
                        .chain(new.values().skip(half))
                        .collect();
                    next.push(source.row(&values));
                }
                let cycle = if full || place == 0 {
                    source.full(next)
                } else {
                    source.change(next)
                };
                deliver(&mut sink, &cycle).await.unwrap();
                let state = sink.verify(&source.id, &source.schema).await.unwrap().unwrap();
                prop_assert_eq!(state.rows, source.rows.len() as u64);
                prop_assert_eq!(state.digest, source.digest());
            }
            Ok(())
        })?;
    }
}
