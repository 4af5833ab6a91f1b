//! Data sets whose source drops old rows, which are no deletions.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use connector_core::{
    Dataset, DatasetInfo, Gone, Outcome, Result, Retain, Row, Schema, SnapshotWriter, Value,
    memory::{MemoryDataset, MemorySink},
    schema::{Declared, int, text},
};
use connector_testkit::FaultySink;
use lab::{DEVICES, Lab, device, devices};
use proptest::prelude::*;

fn schema(gone: Gone) -> Arc<Schema> {
    Arc::new(Schema::from(DEVICES).with_gone(gone))
}

fn keeping() -> Lab {
    Lab::with_schema(&["copy"], schema(Gone::Keep))
}

fn cores(rows: &[Row]) -> BTreeMap<String, i64> {
    let cell = |row: &Row| {
        let Some(Value::Int(cores)) = row.value("cores") else {
            panic!("no cores");
        };
        (row.value("name").unwrap().to_string(), cores)
    };
    rows.iter().map(cell).collect()
}

/// With another type of a column.
const RETYPED: Declared = Declared::new(&[
    text("name").key(),
    text("cores").null(),
    int("free").null().volatile(),
]);

#[tokio::test]
async fn what_the_source_dropped_stays() {
    let mut lab = keeping();
    lab.source.set(devices(0..1000, 8));
    lab.synced().await;

    // Far more than the guard would let pass as deletions.
    lab.source.set(devices(900..1100, 8));
    assert_eq!(lab.synced().await, "Inserts: 100, SnapshotCompletes: 1");
    assert_eq!(lab.synced().await, "No events sent");
    lab.source.set(Vec::new());
    assert_eq!(lab.synced().await, "No events sent");
    assert_eq!(lab.copy(0).len(), 1100);

    // One that comes back is what the source says that it is.
    lab.source.set(devices(7..9, 16));
    assert_eq!(lab.synced().await, "Updates: 2, SnapshotCompletes: 1");
    assert_eq!(lab.baseline().await, lab.copy(0));
}

/// What is kept counts as known: it must not look as if a row had passed for another, after which
/// the source is read once more.
#[tokio::test]
async fn what_is_kept_is_no_reason_to_read_again() {
    #[derive(Debug)]
    struct Counted(Arc<MemoryDataset>, AtomicUsize);

    #[async_trait]
    impl Dataset for Counted {
        fn info(&self) -> &DatasetInfo {
            self.0.info()
        }

        async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
            self.0.schema(known).await
        }

        async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read(out).await
        }
    }

    // In the order of keys and out of it: two ways to compare.
    for reversed in [false, true] {
        let mut lab = keeping();
        let source = Counted(Arc::clone(&lab.source), AtomicUsize::new(0));
        for (cycle, from) in [0, 500, 900].into_iter().enumerate() {
            let mut rows = devices(from..1000, 8);
            if reversed {
                rows.reverse();
            }
            lab.source.set(rows);
            let report = lab.cycle().await.run_dataset("lab", &source).await;
            assert!(report.is_ok(), "{report:?}");
            assert_eq!(source.1.load(Ordering::Relaxed), cycle + 1, "{reversed}");
        }
        assert_eq!(lab.copy(0).len(), 1000);
    }
}

#[tokio::test]
async fn a_sink_that_is_new_is_sent_what_was_kept() {
    let mut lab = keeping();
    lab.source.set(devices(0..10, 8));
    lab.synced().await;
    lab.source.set(devices(5..15, 8));
    lab.synced().await;
    lab.sinks
        .push(("late", FaultySink::new(MemorySink::default())));
    lab.synced().await;
    assert_eq!(lab.copy(1), lab.copy(0));
    assert_eq!(lab.copy(1).len(), 15);
}

#[tokio::test]
async fn a_new_column_is_null_in_what_was_kept() {
    const WIDER: Declared = Declared::new(&[
        text("name").key(),
        int("cores").null(),
        int("free").null().volatile(),
        text("owner").null(),
    ]);
    let mut lab = keeping();
    lab.source.set(devices(0..3, 8));
    lab.synced().await;
    lab.source
        .set_schema(Arc::new(Schema::from(WIDER).with_gone(Gone::Keep)));
    let mut row = device("PC-00002", 8);
    row.push(Value::Text("me".into()));
    lab.source.set(vec![row]);
    assert_eq!(lab.synced().await, "Updates: 1, SnapshotCompletes: 1");
    let owners = lab.copy(0);
    let owners = owners.iter().map(|row| row.value("owner").unwrap());
    assert_eq!(
        owners.collect::<Vec<_>>(),
        [Value::Null, Value::Null, Value::Text("me".into())]
    );
}

#[tokio::test]
async fn who_no_longer_keeps_deletes() {
    let mut lab = keeping();
    lab.source.set(devices(0..10, 8));
    lab.synced().await;
    lab.source.set(devices(5..15, 8));
    lab.synced().await;
    lab.source.set_schema(schema(Gone::Delete));
    assert_eq!(lab.synced().await, "Deletes: 5, SnapshotCompletes: 1");
}

#[tokio::test]
async fn a_full_load_is_what_the_source_holds() {
    let mut lab = keeping();
    lab.source.set(devices(0..1000, 8));
    lab.synced().await;
    lab.source.set(devices(900..1000, 8));
    lab.synced().await;

    // Another type of column is a full load that nobody asked for, and is held for a person.
    lab.source
        .set_schema(Arc::new(Schema::from(RETYPED).with_gone(Gone::Keep)));
    let row = |n: u32| {
        let name = Value::Text(format!("PC-{n:05}").into());
        vec![name, Value::Text("8".into()), Value::Int(0)]
    };
    lab.source.set((900..1000).map(row).collect());
    assert!(matches!(lab.sync().await.outcome, Outcome::Held(_)));
    assert_eq!(lab.copy(0).len(), 1000);

    lab.source.set_schema(schema(Gone::Keep));
    lab.source.set(devices(900..1000, 8));
    lab.options.clean = true;
    lab.synced().await;
    assert_eq!(lab.copy(0).len(), 100);
}

#[derive(Debug, Clone)]
struct Read {
    from: u16,
    many: u16,
    edits: Vec<(u16, u8)>,
    reversed: bool,
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let edits = prop::collection::vec((0..300_u16, 0..4_u8), 0..10);
    let read = (0..250_u16, 0..80_u16, edits, prop::bool::weighted(0.3));
    let read = read.prop_map(|(from, many, edits, reversed)| Read {
        from,
        many,
        edits,
        reversed,
    });
    prop::collection::vec(read, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is read, in whatever order and memory: the copy is the last that was read of each
    /// record.
    #[test]
    fn the_copy_is_all_that_was_ever_read(
        reads in reads(),
        memory in prop::sample::select(vec![0_u64, 200, 8 << 10, 1 << 20]),
        retain in prop::sample::select(vec![Retain::Rows, Retain::Digests]),
        history in 0..3_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lab = keeping();
            lab.options.memory = memory;
            lab.options.retain = retain;
            lab.options.history = history;
            let mut values = BTreeMap::new();
            let mut expected = BTreeMap::new();
            for read in reads {
                values.extend(read.edits);
                let mut rows: Vec<_> = (read.from..read.from + read.many)
                    .map(|n| (format!("PC-{n:05}"), i64::from(*values.get(&n).unwrap_or(&0))))
                    .collect();
                expected.extend(rows.iter().cloned());
                if read.reversed {
                    rows.reverse();
                }
                lab.source.set(rows.iter().map(|(name, cores)| device(name, *cores)).collect());
                lab.synced().await;
                assert_eq!(cores(&lab.copy(0)), expected);
            }
        });
    }
}
