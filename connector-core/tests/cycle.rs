//! Cycles over the in-memory connector: what is sent, held, refused and kept.

mod lab;

use std::sync::Arc;

use connector_core::{
    Change, Cycle, DeleteGuard, Duplicates, ErrorKind, NamedSink, Outcome, Schema, Store, Value,
    memory::{MemoryConnector, MemoryDataset, MemorySink},
    schema::{Declared, int, text},
};
use connector_testkit::SinkFault;
use lab::{DEVICES, Lab, device, devices};

const OTHER: Declared = Declared::new(&[text("name").key(), text("cores").null()]);

const WIDER: Declared = Declared::new(&[
    text("owner").null(),
    text("name").key(),
    int("cores").null(),
    int("free").null().volatile(),
]);

const SHAPES: [Declared; 3] = [
    Declared::new(&[
        text("name").key(),
        int("cores").key(),
        int("free").null().volatile(),
    ]),
    Declared::new(&[
        text("name").key(),
        text("cores"),
        int("free").null().volatile(),
    ]),
    Declared::new(&[text("name").key()]),
];

#[tokio::test]
async fn first_full_then_only_differences() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..4, 8));
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 4, SnapshotCompletes: 1"
    );
    assert_eq!(
        lab.kinds(0),
        [
            "truncate",
            "insert",
            "insert",
            "insert",
            "insert",
            "snapshot_complete"
        ]
    );
    assert_eq!(lab.synced().await, "No events sent");

    let mut rows = devices(1..5, 8);
    rows[1] = device("PC-00002", 16);
    rows.reverse();
    lab.source.set(rows);
    assert_eq!(
        lab.synced().await,
        "Inserts: 1, Updates: 1, Deletes: 1, SnapshotCompletes: 1"
    );
    let events = lab.events(0);
    // Deletes come first, so that a receiver with other unique columns has room.
    let kinds: Vec<_> = events.iter().map(|event| event.change.kind()).collect();
    assert_eq!(kinds, ["delete", "insert", "update", "snapshot_complete"]);
    assert_eq!(events[2].change.changed(), ["cores"]);
    assert_eq!(lab.copy(0), lab.baseline().await);
}

#[tokio::test]
async fn a_volatile_column_travels_and_never_causes_an_event() {
    let mut lab = Lab::new(&["copy"]);
    let row = |cores, free| {
        vec![vec![
            Value::Text("PC-1".into()),
            Value::Int(cores),
            Value::Int(free),
        ]]
    };
    lab.source.set(row(8, 100));
    lab.synced().await;
    lab.source.set(row(8, 200));
    assert_eq!(lab.synced().await, "No events sent");
    lab.source.set(row(16, 300));
    assert_eq!(lab.synced().await, "Updates: 1, SnapshotCompletes: 1");
    assert_eq!(lab.copy(0)[0].value("free"), Some(Value::Int(300)));
}

#[tokio::test]
async fn s1_a_read_that_was_cut_deletes_nothing() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..10, 8));
    lab.synced().await;
    for after in [0, 1, 9, 10] {
        lab.source.set_failure(Some(after));
        assert_eq!(lab.failed().await.kind(), ErrorKind::Unavailable);
    }
    lab.source.set_failure(None);
    assert_eq!(lab.synced().await, "No events sent");
    assert_eq!(lab.copy(0).len(), 10);
}

#[tokio::test]
async fn a_full_load_that_fails_leaves_no_file() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..5000, 8));
    lab.source.set_failure(Some(4000));
    lab.failed().await;
    let left = lab
        .storage
        .files()
        .into_iter()
        .find(|file| file.contains("devices"));
    assert_eq!(left, None);
    lab.source.set_failure(None);
    lab.synced().await;
    assert_eq!(lab.copy(0).len(), 5000);
}

#[tokio::test]
async fn s2_duplicate_keys_follow_the_policy() {
    let schema = |policy| Arc::new(Schema::from(DEVICES).with_duplicates(policy));
    let mut lab = Lab::with_schema(&["copy"], schema(Duplicates::Fail));
    lab.source
        .set(vec![device("a", 1), device("b", 1), device("a", 1)]);
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 2, SnapshotCompletes: 1"
    );

    lab.source.set(vec![
        device("a", 1),
        device("b", 1),
        device("a", 2),
        device("b", 3),
    ]);
    let error = lab.failed().await;
    assert_eq!(error.kind(), ErrorKind::Data);
    let message = error.to_string();
    assert!(
        message.starts_with("2 rows differ from another row of the same key"),
        "{message}"
    );
    let rows = "3 and one that is as it was in the last cycle; 4 and one that is";
    assert!(
        message.contains(&format!("key: name, rows: {rows}")),
        "{message}"
    );

    lab.source.set(vec![
        device("a", 2),
        device("b", 1),
        device("a", 3),
        device("b", 1),
    ]);
    let message = lab.failed().await.to_string();
    assert!(message.contains("rows: 1 and 3,"), "{message}");

    lab.source.set_schema(schema(Duplicates::KeepGreatest));
    let mut outcomes = Vec::new();
    for rows in [
        vec![
            device("a", 1),
            device("a", 2),
            device("b", 1),
            device("a", 3),
        ],
        vec![
            device("a", 3),
            device("b", 1),
            device("a", 1),
            device("a", 2),
        ],
    ] {
        lab.source.set(rows);
        let report = lab.sync().await;
        assert_eq!(report.duplicates.differing, 2, "{report:?}");
        outcomes.push(lab.baseline().await);
    }
    assert_eq!(outcomes[0], outcomes[1], "depends on the order of arrival");
}

#[tokio::test]
async fn s2_duplicates_in_a_full_load_leave_dead_rows_that_nobody_sees() {
    let schema = Schema::from(DEVICES).with_duplicates(Duplicates::KeepGreatest);
    let mut lab = Lab::with_schema(&["copy"], Arc::new(schema));
    lab.source.set(vec![
        device("a", 1),
        device("b", 1),
        device("a", 2),
        device("b", 1),
    ]);
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 2, SnapshotCompletes: 1"
    );
    assert_eq!(lab.baseline().await.len(), 2);
    assert_eq!(lab.copy(0), lab.baseline().await);
}

#[tokio::test]
async fn s3_too_many_deletes_are_held_until_a_person_decides() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..5000, 8));
    lab.synced().await;
    for (kept, held) in [(4500, false), (3900, true)] {
        lab.source.set(devices(0..kept, 8));
        assert_eq!(
            matches!(lab.sync().await.outcome, Outcome::Held(_)),
            held,
            "{kept}"
        );
    }
    assert_eq!(lab.copy(0).len(), 4500);
    let status = lab.store().await.status(&Lab::id()).await.unwrap().unwrap();
    let held = status.held.unwrap();
    assert_eq!(
        (held.rows_before, held.rows_after, held.counts.deletes),
        (4500, 3900, 600)
    );

    // Rejected: as if it had never been read. The next cycle finds the same and holds again.
    lab.cycle().await.reject(&Lab::id()).await.unwrap();
    assert!(
        lab.store()
            .await
            .status(&Lab::id())
            .await
            .unwrap()
            .unwrap()
            .held
            .is_none()
    );
    assert!(lab.cycle().await.reject(&Lab::id()).await.is_err());
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));

    // Approved, after a restart: sent exactly once.
    lab.stop();
    let report = lab.cycle().await.approve(&Lab::id()).await;
    assert!(
        matches!(report.outcome, Outcome::Synced(c) if c.deletes == 600),
        "{report:?}"
    );
    assert_eq!(lab.copy(0).len(), 3900);
    assert_eq!(lab.synced().await, "No events sent");
}

#[tokio::test]
async fn s3_an_empty_result_is_held_and_released_when_the_source_is_back() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    lab.source.set(Vec::new());
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));
    lab.source.set(devices(0..3, 9));
    assert_eq!(lab.synced().await, "Updates: 3, SnapshotCompletes: 1");
    assert!(
        lab.store()
            .await
            .status(&Lab::id())
            .await
            .unwrap()
            .unwrap()
            .held
            .is_none()
    );

    lab.source.set(Vec::new());
    lab.options.guard = DeleteGuard {
        empty: false,
        ..DeleteGuard::default()
    };
    assert_eq!(lab.synced().await, "Deletes: 3, SnapshotCompletes: 1");
}

#[tokio::test]
async fn s3_a_full_load_is_guarded_unless_a_person_asked_for_it() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..2000, 8));
    lab.synced().await;
    lab.source.set_schema(Arc::new(OTHER.into()));
    lab.source.set(Vec::new());
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));
    assert_eq!(lab.copy(0).len(), 2000);
    let report = lab.cycle().await.approve(&Lab::id()).await;
    assert!(report.is_ok(), "{report:?}");
    assert!(lab.copy(0).is_empty());

    lab.source
        .set(vec![vec![Value::Text("a".into()), Value::Null]]);
    lab.synced().await;
    lab.source.set(Vec::new());
    lab.options.clean = true;
    assert_eq!(lab.synced().await, "Truncates: 1, SnapshotCompletes: 1");
}

#[tokio::test]
async fn c4_one_data_set_that_fails_or_panics_does_not_stop_the_others() {
    #[derive(Debug)]
    struct Panics(connector_core::DatasetInfo);
    #[async_trait::async_trait]
    impl connector_core::Dataset for Panics {
        fn info(&self) -> &connector_core::DatasetInfo {
            &self.0
        }
        async fn schema(&self, _: Option<&Arc<Schema>>) -> connector_core::Result<Arc<Schema>> {
            Ok(Arc::new(DEVICES.into()))
        }
        async fn read(&self, _: &mut connector_core::SnapshotWriter) -> connector_core::Result<()> {
            panic!("on purpose")
        }
    }
    let store = Store::open_folder(tempfile::tempdir().unwrap().path())
        .await
        .unwrap();
    let good = |name: &str| {
        let dataset = MemoryDataset::new(name, Arc::new(DEVICES.into()));
        dataset.set(devices(0..3, 8));
        dataset
    };
    let bad = good("bad");
    bad.set_failure(Some(1));
    let info = connector_core::DatasetInfo::new("panics", "General");
    let connector = MemoryConnector::with_datasets(
        "lab",
        vec![
            Arc::new(good("first")),
            Arc::new(bad),
            Arc::new(Panics(info)),
            Arc::new(good("last")),
        ],
    );
    let reports = Cycle::new(&store).run(&connector).await.unwrap();
    let ok: Vec<_> = reports
        .iter()
        .map(|report| (report.id.dataset(), report.is_ok()))
        .collect();
    assert_eq!(
        ok,
        [
            ("first", true),
            ("bad", false),
            ("panics", false),
            ("last", true)
        ]
    );
    let status = store.status(&reports[3].id).await.unwrap().unwrap();
    assert_eq!(status.rows, 3);
    assert!(store.status(&reports[2].id).await.unwrap().is_none());
}

#[tokio::test]
async fn sinks_have_their_own_positions() {
    let mut lab = Lab::new(&["one", "two"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    for cores in [9, 10] {
        lab.source.set(devices(0..3, cores));
        lab.sinks[1].1.fail(SinkFault::BeforeWrite, 0);
        let report = lab.sync().await;
        assert_eq!(report.sink_errors.len(), 1);
        assert_eq!(report.sink_errors[0].0, "two");
    }
    lab.events(0);
    lab.events(1);
    lab.source.set(devices(0..2, 10));
    assert_eq!(
        lab.synced().await,
        "Updates: 6, Deletes: 1, SnapshotCompletes: 3"
    );
    assert_eq!(lab.kinds(0), ["delete", "snapshot_complete"]);
    assert_eq!(lab.copy(0), lab.copy(1));
    let status = lab.store().await.status(&Lab::id()).await.unwrap().unwrap();
    assert_eq!(status.sinks, [("one".to_owned(), 4), ("two".to_owned(), 4)]);
}

#[tokio::test]
async fn a_new_sink_is_filled_from_the_store_without_reading_the_source() {
    let mut lab = Lab::new(&["one"]);
    lab.source.set(devices(0..300, 8));
    lab.synced().await;
    let mut rows = devices(10..310, 8);
    rows[5] = device("PC-00015", 1);
    lab.source.set(rows);
    lab.synced().await;

    lab.sinks
        .push(("two", lab::Sink::new(MemorySink::default())));
    lab.source.set_failure(Some(0));
    assert_eq!(lab.failed().await.kind(), ErrorKind::Unavailable);
    assert_eq!(lab.copy(1).len(), 300);
    assert_eq!(lab.copy(1), lab.copy(0));
}

#[tokio::test]
async fn a_sink_that_lost_its_copy_is_sent_the_whole_again() {
    let mut lab = Lab::new(&["one"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    lab.sinks[0].1.inner().clear();
    lab.source.set(devices(0..4, 8));
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 4, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0).len(), 4);
    assert_eq!(lab.synced().await, "No events sent");
}

#[tokio::test]
async fn when_every_sink_fails_the_source_is_not_read() {
    let mut lab = Lab::new(&["one"]);
    lab.source.set(devices(0..3, 8));
    lab.sinks[0].1.fail(SinkFault::BeforeCommit, 0);
    assert!(!lab.sync().await.is_ok());
    lab.sinks[0].1.fail(SinkFault::BeforeCommit, 0);
    lab.source.set_failure(Some(0));
    let report = lab.sync().await;
    assert!(
        matches!(report.outcome, Outcome::Synced(_)) && !report.is_ok(),
        "{report:?}"
    );
    lab.source.set_failure(None);
    lab.synced().await;
    assert_eq!(lab.copy(0).len(), 3);
}

#[tokio::test]
async fn a_new_column_is_an_update_of_the_rows_that_have_it() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    lab.source.set_schema(Arc::new(WIDER.into()));
    let owned = |owner: Option<&str>, name: &str| {
        let owner = owner.map_or(Value::Null, |owner| Value::Text(owner.to_owned().into()));
        [vec![owner], device(name, 8)].concat()
    };
    lab.source.set(vec![
        owned(None, "PC-00000"),
        owned(Some("Ann"), "PC-00001"),
        owned(None, "PC-00002"),
    ]);
    lab.events(0);
    assert_eq!(lab.synced().await, "Updates: 1, SnapshotCompletes: 1");
    let events = lab.events(0);
    assert_eq!(events[0].change.changed(), ["owner"]);
    assert!(
        matches!(&events[0].change, Change::Update { before, .. } if before.value("owner") == Some(Value::Null))
    );
    assert_eq!(lab.copy(0), lab.baseline().await);
    assert_eq!(lab.synced().await, "No events sent");
}

#[tokio::test]
async fn another_key_or_type_or_a_column_that_is_gone_is_a_full_load() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    for shape in SHAPES {
        lab.source.set_schema(Arc::new(shape.into()));
        let text_cores = shape
            .columns()
            .get(1)
            .is_some_and(|c| c.ty() == connector_core::Type::Text);
        let rows = devices(0..3, 8).into_iter().map(|mut row| {
            if text_cores {
                row[1] = Value::Text("8".into());
            }
            row.truncate(shape.columns().len());
            row
        });
        lab.source.set(rows.collect());
        assert_eq!(
            lab.synced().await,
            "Truncates: 1, Inserts: 3, SnapshotCompletes: 1"
        );
        assert_eq!(lab.copy(0), lab.baseline().await);
    }
}

#[tokio::test]
async fn changes_are_folded_and_history_is_kept_as_long_as_asked() {
    let mut lab = Lab::new(&["copy"]);
    lab.options.history = 3;
    lab.source.set(devices(0..3000, 0));
    lab.synced().await;
    for cores in 1..8 {
        // A third of the rows: the changes outgrow a quarter of the base with the first cycle.
        lab.source
            .set([devices(0..1000, cores), devices(1000..3000, 0)].concat());
        lab.synced().await;
        assert_eq!(lab.copy(0), lab.baseline().await);
    }
    let bases = lab
        .storage
        .files()
        .into_iter()
        .filter(|f| f.contains(".base"))
        .count();
    assert_eq!(bases, 1);
    let mut cycles: Vec<u64> = lab
        .history()
        .await
        .iter()
        .map(|e| e.cycle.number())
        .collect();
    cycles.dedup();
    assert_eq!(cycles, [6, 7, 8]);

    lab.sinks
        .push(("late", lab::Sink::new(MemorySink::default())));
    lab.synced().await;
    assert_eq!(lab.copy(1), lab.copy(0));
}

#[tokio::test]
async fn history_is_the_events_as_they_were_sent() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    lab.events(0);
    let mut sent = Vec::new();
    for cores in [1, 2] {
        lab.source.set(devices(0..3, cores));
        lab.synced().await;
        sent.extend(lab.events(0));
    }
    assert_eq!(lab.history().await, sent);
}

#[tokio::test]
async fn rows_beyond_memory_go_to_a_file_that_is_removed() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..20_000, 8));
    lab.synced().await;
    lab.options.memory = 300_000;
    let mut rows = devices(1..20_001, 8);
    rows[15_000] = device("PC-15001", 1);
    lab.source.set(rows);
    assert_eq!(
        lab.synced().await,
        "Inserts: 1, Updates: 1, Deletes: 1, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), lab.baseline().await);
    assert!(
        !lab.storage
            .files()
            .iter()
            .any(|file| file.contains(".spool"))
    );

    lab.source.set_failure(Some(19_000));
    lab.failed().await;
    assert!(
        !lab.storage
            .files()
            .iter()
            .any(|file| file.contains(".spool"))
    );
}

/// Runs a cycle over each of the states, with any amount of memory.
async fn events_are_alike(schema: &Schema, states: &[Vec<Vec<Value<'static>>>]) {
    let mut sent = Vec::new();
    for memory in [0, 20_000, 200_000, u64::MAX] {
        let mut lab = Lab::with_schema(&["copy"], Arc::new(schema.clone()));
        lab.options.memory = memory;
        let mut all = Vec::new();
        for rows in states {
            lab.source.set(rows.clone());
            lab.synced().await;
            all.extend(lab.events(0));
            assert_eq!(lab.copy(0), lab.baseline().await);
            let left = lab
                .storage
                .files()
                .into_iter()
                .filter(|file| file.contains("run-"));
            assert_eq!(left.count(), 0);
        }
        sent.push(all);
    }
    for other in &sent[1..] {
        assert!(*other == sent[0]);
    }
}

/// However little memory there is: the same events, in the same order.
#[tokio::test]
async fn memory_changes_nothing_but_where_rows_wait() {
    let policy = Schema::from(DEVICES).with_duplicates(Duplicates::KeepGreatest);
    let states = [
        devices(0..3000, 8),
        [devices(1500..3300, 8), devices(0..1500, 9)].concat(),
        // Keys twice, alike and differing, far apart.
        [
            devices(0..2900, 9),
            devices(2000..3300, 8),
            devices(100..200, 9),
        ]
        .concat(),
        devices((0..3300).rev(), 8),
    ];
    events_are_alike(&policy, &states).await;

    let mut lab = Lab::new(&["copy"]);
    lab.options.memory = 0;
    lab.source
        .set([devices(0..3000, 8), devices(1000..1002, 9)].concat());
    let error = lab.failed().await;
    assert!(
        error
            .to_string()
            .contains("rows: 1001 and 3001; 1002 and 3002"),
        "{error}"
    );
}

/// The same of a source in the order of its keys: more is missed, and has changed since the base,
/// than memory holds, and then rows come out of order.
#[tokio::test]
async fn memory_changes_nothing_for_rows_in_the_order_of_keys() {
    let changed = |upto, cores| [devices(0..upto, cores), devices(upto..6000, 8)].concat();
    let mut strays = changed(400, 11);
    strays.swap(100, 5000);
    let mut gone = changed(400, 12);
    gone.drain(300..700);
    let states = [
        changed(0, 8),
        changed(600, 9),
        changed(700, 10),
        changed(700, 10),
        strays,
        gone,
        changed(0, 8),
    ];
    events_are_alike(&Schema::from(DEVICES), &states).await;
}

/// Each cycle's changes are a file that is open.
#[tokio::test]
async fn a_few_changes_of_many_cycles_are_folded() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..100, 0));
    lab.synced().await;
    let mut most = 0;
    for cores in 1..300 {
        lab.source
            .set([devices(0..1, cores), devices(1..100, 0)].concat());
        lab.synced().await;
        let files = lab.storage.files().into_iter();
        most = most.max(files.filter(|file| file.contains(".changes")).count());
    }
    assert!((100..140).contains(&most), "{most} files");
    assert_eq!(lab.copy(0), lab.baseline().await);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_a_clean_sync_heals_it() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..300, 8));
    lab.synced().await;
    lab.source.set(devices(0..299, 8));
    lab.synced().await;
    for ending in ["manifest", ".base", ".changes"] {
        let files = lab.storage.files();
        let file = files.iter().find(|file| file.ends_with(ending)).unwrap();
        lab.storage.damage(file, 70).unwrap();
        lab.source.set(devices(1..299, 9));
        let error = lab.failed().await;
        assert_eq!(error.kind(), ErrorKind::Storage);
        let message = format!("{error:#}");
        assert!(
            message.contains(file) && message.contains("a clean sync"),
            "{message}"
        );

        lab.options.clean = true;
        lab.synced().await;
        lab.options.clean = false;
        assert_eq!(lab.copy(0), lab.baseline().await);
        // For the next round: something to damage.
        lab.source.set(devices(0..299, 9));
        lab.synced().await;
    }
}

#[tokio::test]
async fn one_process_and_one_cycle_at_a_time() {
    let mut lab = Lab::new(&[]);
    let store = lab.store().await;
    let again = Store::open(
        Arc::new(lab.storage.clone()),
        Arc::new(connector_testkit::ManualClock::default()),
    );
    let error = again.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(
        format!("{error:#}").contains(&std::process::id().to_string()),
        "{error:#}"
    );

    let cycle = Cycle::new(&store).sink(NamedSink::new("copy", MemorySink::default()));
    lab.source.set(devices(0..100, 8));
    let (one, other) = tokio::join!(
        cycle.run_dataset("lab", &*lab.source),
        cycle.run_dataset("lab", &*lab.source)
    );
    let counts = [one, other].map(|report| match report.outcome {
        Outcome::Synced(counts) => counts.inserts,
        other => panic!("{other:?}"),
    });
    assert_eq!(counts, [100, 0], "the second waits, and finds nothing new");
}

#[tokio::test]
async fn a_forgotten_data_set_is_emptied_everywhere_and_then_gone() {
    let mut lab = Lab::new(&["one", "two"]);
    lab.source.set(devices(0..2, 8));
    lab.synced().await;
    lab.sinks[1].1.fail(SinkFault::BeforeCommit, 0);
    let report = lab.cycle().await.forget(&Lab::id()).await;
    assert!(!report.is_ok());
    assert_eq!((lab.copy(0).len(), lab.copy(1).len()), (0, 2));
    assert_eq!(
        lab.store().await.datasets().await.unwrap(),
        [Lab::id()],
        "the other sink waits"
    );

    assert!(lab.cycle().await.forget(&Lab::id()).await.is_ok());
    assert!(lab.copy(1).is_empty());
    assert!(lab.store().await.datasets().await.unwrap().is_empty());
    assert!(
        !lab.storage
            .files()
            .iter()
            .any(|file| file.contains("devices"))
    );
    let report = lab.cycle().await.forget(&Lab::id()).await;
    assert!(
        matches!(report.outcome, Outcome::Failed(error) if error.kind() == ErrorKind::NotFound)
    );

    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 2, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), lab.copy(1));
}
