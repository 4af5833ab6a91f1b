//! Reads of what changed, between reads of everything.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use connector_core::{
    Dataset, DatasetInfo, DatasetReport, Outcome, Result, Row, Schema, SnapshotWriter, Value,
    schema::{int, text},
};
use lab::{DEVICES, Lab};
use proptest::prelude::*;

/// A source that knows when each record was changed, as a number that grows.
#[derive(Debug)]
struct Log {
    info: DatasetInfo,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: u64,
    /// Cores and last change by name.
    records: BTreeMap<u32, (i64, u64)>,
    schema: Option<Arc<Schema>>,
    /// The next read is of everything.
    whole: bool,
    /// What was read, and whether it was everything.
    reads: Vec<(u64, bool)>,
}

impl Log {
    fn new() -> Self {
        let state = State {
            schema: Some(Arc::new(DEVICES.into())),
            ..State::default()
        };
        Self {
            info: DatasetInfo::new("devices", "General"),
            state: Mutex::new(state),
        }
    }

    fn edit(&self, edit: impl FnOnce(&mut BTreeMap<u32, (i64, u64)>, u64)) {
        let state = &mut *self.state.lock().unwrap();
        state.now += 1;
        edit(&mut state.records, state.now);
    }

    fn last(&self) -> (u64, bool) {
        *self.state.lock().unwrap().reads.last().unwrap()
    }
}

#[async_trait]
impl Dataset for Log {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(self.state.lock().unwrap().schema.clone().unwrap())
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let since = out.bookmark().map(|mark| mark.parse::<u64>().unwrap());
        let (rows, now) = {
            let mut state = self.state.lock().unwrap();
            let since = since.filter(|_| !std::mem::take(&mut state.whole));
            let changed = |at: u64| since.is_none_or(|since| at > since);
            let rows: Vec<_> = state
                .records
                .iter()
                .filter(|(_, (_, at))| changed(*at))
                .map(|(number, (cores, _))| (*number, *cores))
                .collect();
            state.reads.push((rows.len() as u64, since.is_none()));
            if since.is_some() {
                out.keep_rest()?;
            }
            (rows, state.now)
        };
        let wide = out.schema().columns().len();
        for (number, cores) in rows {
            let mut row = out.row();
            row.text(&format!("PC-{number:05}")).int(cores).int(0);
            for _ in 3..wide {
                row.int(cores);
            }
            row.end().await?;
        }
        out.leave_bookmark(now.to_string());
        Ok(())
    }
}

async fn sync(lab: &mut Lab, log: &Log) -> DatasetReport {
    lab.cycle().await.run_dataset("lab", log).await
}

async fn synced(lab: &mut Lab, log: &Log) -> String {
    match sync(lab, log).await.outcome {
        Outcome::Synced(counts) => counts.to_string(),
        other => panic!("{other:?}"),
    }
}

fn held(lab: &Lab) -> BTreeMap<String, i64> {
    let cores = |row: &Row| match row.value("cores") {
        Some(Value::Int(cores)) => (row.at(0).to_string(), cores),
        other => panic!("{other:?}"),
    };
    lab.copy(0).iter().map(cores).collect()
}

#[tokio::test]
async fn rows_that_are_not_read_again_stay() {
    let (mut lab, log) = (Lab::new(&["copy"]), Log::new());
    log.edit(|records, now| records.extend((0..1000).map(|n| (n, (8, now)))));
    synced(&mut lab, &log).await;
    assert_eq!(log.last(), (1000, true));
    assert_eq!(synced(&mut lab, &log).await, "No events sent");
    assert_eq!(log.last(), (0, false));

    log.edit(|records, now| {
        records.insert(7, (16, now));
        records.insert(1000, (4, now));
        records.remove(&8);
    });
    let sent = synced(&mut lab, &log).await;
    assert_eq!(sent, "Inserts: 1, Updates: 1, SnapshotCompletes: 1");
    assert_eq!(log.last(), (2, false));
    lab.stop();
    assert_eq!(synced(&mut lab, &log).await, "No events sent");
    assert_eq!(log.last(), (0, false), "the bookmark outlives the process");

    // What is deleted only a read of everything tells.
    log.state.lock().unwrap().whole = true;
    let sent = synced(&mut lab, &log).await;
    assert_eq!(sent, "Deletes: 1, SnapshotCompletes: 1");
    assert_eq!(held(&lab).len(), 1000);
}

#[tokio::test]
async fn a_read_that_has_to_be_whole_has_no_bookmark() {
    let (mut lab, log) = (Lab::new(&["copy"]), Log::new());
    log.edit(|records, now| records.extend((0..2000).map(|n| (n, (8, now)))));
    synced(&mut lab, &log).await;

    // A clean sync.
    lab.options.clean = true;
    synced(&mut lab, &log).await;
    assert_eq!(log.last(), (2000, true));
    lab.options.clean = false;

    // A new column, which the rows that were read before do not have.
    let mut columns: Vec<_> = Schema::from(DEVICES).columns().to_vec();
    columns.push(int("sockets").null().into());
    log.state.lock().unwrap().schema = Some(Arc::new(Schema::new(columns.clone()).unwrap()));
    let sent = synced(&mut lab, &log).await;
    assert_eq!(sent, "Updates: 2000, SnapshotCompletes: 1");
    assert_eq!(log.last(), (2000, true));
    synced(&mut lab, &log).await;
    assert_eq!(log.last(), (0, false));

    // Another type.
    columns[3] = text("sockets").null().into();
    columns.pop();
    log.state.lock().unwrap().schema = Some(Arc::new(Schema::new(columns).unwrap()));
    synced(&mut lab, &log).await;
    assert_eq!(log.last(), (2000, true));

    // A cycle that is held: who looks again looks at everything, before and after the decision.
    log.edit(|records, _| records.retain(|n, _| *n < 100));
    log.state.lock().unwrap().whole = true;
    for _ in 0..2 {
        let report = sync(&mut lab, &log).await;
        assert!(matches!(report.outcome, Outcome::Held(_)), "{report:?}");
        assert_eq!(log.last(), (100, true));
    }
    let approved = lab.cycle().await.approve(&Lab::id()).await;
    assert!(approved.is_ok(), "{approved:?}");
    assert_eq!(held(&lab).len(), 100);
    synced(&mut lab, &log).await;
    assert_eq!(log.last(), (100, true));
}

#[tokio::test]
async fn a_read_that_fails_leaves_the_bookmark_where_it_was() {
    let (mut lab, log) = (Lab::new(&["copy"]), Log::new());
    log.edit(|records, now| records.extend((0..10).map(|n| (n, (8, now)))));
    synced(&mut lab, &log).await;
    log.edit(|records, now| records.extend([(3, (9, now))]));
    // No space for the changes that were read.
    let calls = lab.storage.calls();
    lab.storage
        .fault_at(calls + 3, connector_testkit::StorageFault::Full);
    let report = sync(&mut lab, &log).await;
    assert!(matches!(report.outcome, Outcome::Failed(_)), "{report:?}");
    lab.storage.mend();
    lab.stop();
    let sent = synced(&mut lab, &log).await;
    assert_eq!(sent, "Updates: 1, SnapshotCompletes: 1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whole reads and reads of changes, in any order: after a whole one the copy is the source, and
    /// before that it lacks nothing but deletions.
    #[test]
    fn a_whole_read_makes_good_whatever_was_missed(
        steps in prop::collection::vec(
            (prop::collection::vec((0..60_u32, prop::option::weighted(0.7, 0..4_i64)), 0..12), any::<bool>()),
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut lab, log) = (Lab::new(&["copy"]), Log::new());
            lab.options.guard.empty = false;
            for (edits, whole) in steps {
                log.edit(|records, now| {
                    for (number, cores) in edits {
                        match cores {
                            Some(cores) => records.insert(number, (cores, now)),
                            None => records.remove(&number),
                        };
                    }
                });
                log.state.lock().unwrap().whole = whole;
                synced(&mut lab, &log).await;
                let source: BTreeMap<String, i64> = log.state.lock().unwrap().records.iter()
                    .map(|(n, (cores, _))| (format!("PC-{n:05}"), *cores))
                    .collect();
                let held = held(&lab);
                assert!(source.iter().all(|(name, cores)| held.get(name) == Some(cores)));
                if log.last().1 {
                    assert_eq!(held, source);
                }
            }
        });
    }
}
