//! Data sets of which the store keeps digests.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::sync::Arc;

use connector_core::{
    Change, ErrorKind, Outcome, Retain, Schema, Value,
    memory::MemorySink,
    schema::{Declared, int, text},
};
use connector_testkit::{FaultySink, SinkFault};
use lab::{Lab, device, devices};

fn digests(sinks: &[&'static str]) -> Lab {
    let mut lab = Lab::new(sinks);
    lab.options.retain = Retain::Digests;
    lab
}

/// The rows that the source has, as a sink must hold them.
async fn source(lab: &Lab) -> Vec<connector_core::Row> {
    use connector_core::DatasetExt;
    let mut rows = lab.source.collect().await.unwrap();
    rows.sort_by_key(connector_core::Row::key);
    rows
}

#[tokio::test]
async fn updates_carry_the_record_and_deletions_the_key() {
    // In the order of keys and out of it: two ways to compare.
    for reverse in [false, true] {
        let mut lab = digests(&["copy"]);
        let set = |lab: &Lab, mut rows: Vec<Vec<Value<'static>>>| {
            if reverse {
                rows.reverse();
            }
            lab.source.set(rows);
        };
        set(&lab, devices(0..5000, 8));
        assert_eq!(
            lab.synced().await,
            "Truncates: 1, Inserts: 5000, SnapshotCompletes: 1"
        );
        lab.events(0);

        for round in 0..20 {
            let mut rows = devices(0..5000, 8);
            rows.remove(round);
            rows[3000] = device("PC-03001", 100 + i64::try_from(round).unwrap());
            rows.push(device(&format!("PC-9{round:04}"), 1));
            set(&lab, rows);
            lab.synced().await;
            assert_eq!(lab.copy(0), source(&lab).await, "round {round}");
        }
        for event in lab.events(0) {
            match event.change {
                Change::Update { before, .. } | Change::Delete { before } => {
                    assert!(before.is_digest());
                    let key = before.value("name").unwrap().to_string();
                    let json = serde_json::to_value(&before).unwrap();
                    assert_eq!(json, serde_json::json!({ "name": key }), "the key alone");
                }
                _ => {}
            }
        }
        assert_eq!(lab.synced().await, "No events sent");

        let error = lab.store().await.rows(&Lab::id()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("only digests"), "{error}");
    }
}

#[tokio::test]
async fn rows_are_dropped_once_every_sink_has_them() {
    let mut lab = digests(&["a", "b"]);
    lab.source.set(devices(0..2000, 8));
    lab.sinks[1].1.fail(SinkFault::BeforeCommit, 0);
    let report = lab.sync().await;
    assert_eq!(report.sink_errors.len(), 1);
    // The second sink still has to be sent them.
    assert_eq!(lab.baseline().await.len(), 2000);
    lab.synced().await;
    assert_eq!(lab.copy(1), source(&lab).await);
    assert!(lab.store().await.rows(&Lab::id()).await.is_err());
}

#[tokio::test]
async fn a_sink_that_is_new_or_lost_its_copy_makes_the_next_cycle_full() {
    let mut lab = digests(&["copy"]);
    lab.source.set(devices(0..100, 8));
    lab.synced().await;
    lab.sinks
        .push(("late", FaultySink::new(MemorySink::default())));
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 100, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(1), source(&lab).await);

    lab.sinks[0].1.inner().clear();
    lab.source.set(devices(0..101, 8));
    let report = lab.sync().await;
    let [(name, error)] = &report.sink_errors[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (name.as_str(), error.kind()),
        ("copy", ErrorKind::Incomplete)
    );
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 101, SnapshotCompletes: 1"
    );
    for sink in 0..2 {
        assert_eq!(lab.copy(sink), source(&lab).await);
    }
    assert_eq!(lab.synced().await, "No events sent");
}

#[tokio::test]
async fn the_choice_changes_with_a_full_load() {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(devices(0..100, 8));
    lab.synced().await;
    lab.options.retain = Retain::Digests;
    assert_eq!(lab.synced().await, "No events sent");
    assert!(lab.store().await.rows(&Lab::id()).await.is_err());

    lab.options.retain = Retain::Rows;
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 100, SnapshotCompletes: 1"
    );
    assert_eq!(lab.baseline().await, source(&lab).await);
    lab.source.set(devices(0..99, 9));
    lab.synced().await;
    assert_eq!(lab.copy(0), source(&lab).await);
}

const WIDER: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    int("free").null().volatile(),
    text("site").null(),
]);

/// Gives the source's records a column, and leaves it empty.
fn widen(lab: &Lab, mut rows: Vec<Vec<Value<'static>>>) {
    for row in &mut rows {
        row.push(Value::Null);
    }
    lab.source.set_schema(Arc::new(Schema::from(WIDER)));
    lab.source.set(rows);
}

#[tokio::test]
async fn a_new_column_makes_the_next_cycle_full() {
    let mut lab = digests(&["copy"]);
    lab.source.set(devices(0..100, 8));
    lab.synced().await;
    widen(&lab, devices(0..100, 8));
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 100, SnapshotCompletes: 1"
    );
}

/// The copy has rows without the column, and the first digests are of rows with it.
#[tokio::test]
async fn a_new_column_is_told_by_deletions_alone() {
    for at_once in [true, false] {
        let mut lab = Lab::new(&["copy"]);
        lab.source.set(devices(0..100, 8));
        lab.synced().await;
        if !at_once {
            widen(&lab, devices(0..100, 8));
            assert_eq!(lab.synced().await, "No events sent");
        }
        lab.options.retain = Retain::Digests;
        widen(&lab, devices(1..100, 8));
        assert_eq!(lab.synced().await, "Deletes: 1, SnapshotCompletes: 1");
        assert_eq!(lab.copy(0), source(&lab).await);
        assert_eq!(lab.synced().await, "No events sent");
    }
}

#[tokio::test]
async fn a_cycle_that_was_held_is_approved() {
    let mut lab = digests(&["copy"]);
    lab.source.set(devices(0..2000, 8));
    lab.synced().await;
    lab.source.set(devices(0..100, 8));
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));
    let report = lab.cycle().await.approve(&Lab::id()).await;
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(lab.copy(0), source(&lab).await);
}
