//! Sinks whose copy is not what the store believes it to be.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use connector_core::{
    ChangeEvent, CycleId, Key, NamedSink, Outcome, Result, Row, Sink, Value, memory::MemorySink,
};
use connector_testkit::FaultySink;
use lab::{Lab, device, devices};
use proptest::prelude::*;

/// The source's rows as the sink must hold them.
async fn source(lab: &Lab) -> Vec<Row> {
    use connector_core::DatasetExt;
    let mut rows = lab.source.collect().await.unwrap();
    rows.sort_by_key(Row::key);
    rows
}

/// A lab whose sink holds what the source had.
async fn delivered(rows: Vec<Vec<Value<'static>>>) -> Lab {
    let mut lab = Lab::new(&["copy"]);
    lab.source.set(rows);
    lab.synced().await;
    lab.events(0);
    lab
}

fn row(lab: &Lab, name: &str, cores: i64) -> Row {
    let schema = lab.copy(0)[0].schema().clone();
    Row::from_values(&schema, &device(name, cores)).unwrap()
}

#[tokio::test]
async fn what_was_changed_by_hand_is_found_and_sent_again() {
    let mut lab = delivered(devices(0..20_000, 8)).await;
    let held = lab.copy(0);
    let sink = lab.sinks[0].1.inner().clone();
    sink.lose(&Lab::id(), &held[7].key());
    sink.tamper(&Lab::id(), &row(&lab, "PC-00010", 9));
    sink.tamper(&Lab::id(), &row(&lab, "somebody's", 1));

    let mut rows = devices(0..20_000, 8);
    rows[19_999] = device("PC-19999", 16);
    lab.source.set(rows);
    // The cycle itself failed at its end, when the sink counted.
    assert_eq!(
        lab.synced().await,
        "Inserts: 1, Updates: 2, Deletes: 1, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), source(&lab).await);
    let events = lab.events(0);
    assert!(events.iter().all(|event| event.cycle.is_repair()));
    assert_eq!(lab.synced().await, "No events sent");
    lab.source.set(devices(0..19_990, 8));
    lab.synced().await;
    assert_eq!(lab.copy(0), source(&lab).await, "cycles go on after it");
}

#[tokio::test]
async fn a_copy_that_is_cycles_behind_is_sent_what_differs() {
    let mut lab = delivered(devices(0..5_000, 8)).await;
    // A copy as it was after the first cycle.
    let old = MemorySink::default();
    let store = lab.store().await;
    let cycle = connector_core::Cycle::new(&store).sink(NamedSink::new("old", old.clone()));
    cycle.run_dataset("lab", &*lab.source).await;
    for cores in 9..12 {
        let mut rows = devices(0..5_000, 8);
        rows[3] = device("PC-00003", cores);
        rows.truncate(5_000 - usize::try_from(cores).unwrap());
        lab.source.set(rows);
        lab.synced().await;
    }
    // Somebody puts it in the place of the one that the store knows.
    lab.sinks[0].1 = FaultySink::new(old.clone());
    old.take_events();
    let mut rows = devices(0..4_980, 8);
    rows[3] = device("PC-00003", 12);
    lab.source.set(rows);
    assert_eq!(
        lab.synced().await,
        "Updates: 1, Deletes: 20, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), source(&lab).await);
}

#[tokio::test]
async fn damage_all_over_is_narrowed_down() {
    let mut lab = delivered(devices(0..80_000, 8)).await;
    let sink = lab.sinks[0].1.inner().clone();
    for row in lab.copy(0).iter().step_by(16) {
        sink.lose(&Lab::id(), &row.key());
    }
    lab.source.set(devices(0..79_999, 8));
    assert_eq!(
        lab.synced().await,
        "Inserts: 5000, Deletes: 1, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), source(&lab).await);
}

#[tokio::test]
async fn a_copy_of_which_nothing_is_right_is_replaced() {
    let mut lab = delivered(devices(0..5_000, 8)).await;
    let sink = lab.sinks[0].1.inner().clone();
    for held in lab.copy(0) {
        let name = held.value("name").unwrap().to_string();
        sink.tamper(&Lab::id(), &row(&lab, &name, 9));
    }
    lab.source.set(devices(0..4_999, 8));
    assert_eq!(
        lab.synced().await,
        "Truncates: 1, Inserts: 4999, SnapshotCompletes: 1"
    );
    assert_eq!(lab.copy(0), source(&lab).await);
}

/// A sink that can't be asked.
#[derive(Clone)]
struct Mute(MemorySink);

#[async_trait]
impl Sink for Mute {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        self.0.write(events).await
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        self.0.commit(cycle).await
    }
}

#[tokio::test]
async fn a_sink_that_can_not_be_asked_is_sent_everything() {
    let mut lab = Lab::new(&[]);
    let sink = MemorySink::default();
    let store = lab.store().await;
    let cycle = connector_core::Cycle::new(&store).sink(NamedSink::new("copy", Mute(sink.clone())));
    lab.source.set(devices(0..100, 8));
    cycle.run_dataset("lab", &*lab.source).await;
    sink.lose(&Lab::id(), &sink.rows(&Lab::id())[0].key());
    lab.source.set(devices(0..101, 8));
    let report = cycle.run_dataset("lab", &*lab.source).await;
    let Outcome::Synced(counts) = report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!((counts.truncates, counts.inserts), (1, 101));
    assert_eq!(sink.rows(&Lab::id()), source(&lab).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever was done to the copy: it ends as the source is, and no row is sent that was right.
    #[test]
    fn exactly_what_differs_is_sent(
        rows in prop::collection::btree_map(0..3_000_u32, 0..4_i64, 0..2_000),
        damage in prop::collection::btree_map(0..3_000_u32, prop::option::of(0..4_i64), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let of = |rows: &BTreeMap<u32, i64>| -> Vec<_> {
                rows.iter().map(|(n, cores)| device(&format!("PC-{n:05}"), *cores)).collect()
            };
            let mut lab = delivered(of(&rows)).await;
            let sink = lab.sinks[0].1.inner().clone();
            let schema = std::sync::Arc::new(lab::DEVICES.into());
            for (n, cores) in &damage {
                let row = device(&format!("PC-{n:05}"), cores.unwrap_or(0));
                let row = Row::from_values(&schema, &row).unwrap();
                match cores {
                    Some(_) => sink.tamper(&Lab::id(), &row),
                    None => sink.lose(&Lab::id(), &row.key()),
                }
            }
            let held: BTreeMap<Key, Row> =
                lab.copy(0).into_iter().map(|row| (row.key(), row)).collect();
            let mut edited = rows.clone();
            edited.insert(3_001, 1);
            lab.source.set(of(&edited));
            lab.synced().await;
            let now = source(&lab).await;
            assert_eq!(lab.copy(0), now);
            let touched: BTreeSet<Key> = lab
                .events(0)
                .iter()
                .filter_map(|event| match &event.change {
                    connector_core::Change::Insert { after: row }
                    | connector_core::Change::Update { after: row, .. }
                    | connector_core::Change::Delete { before: row } => Some(row.key()),
                    _ => None,
                })
                .collect();
            let now: BTreeMap<Key, Row> = now.into_iter().map(|row| (row.key(), row)).collect();
            let differ: BTreeSet<Key> = held
                .keys()
                .chain(now.keys())
                .filter(|key| held.get(key) != now.get(key))
                .cloned()
                .collect();
            assert_eq!(touched, differ);
        });
    }
}
