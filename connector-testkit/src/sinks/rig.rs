//! A source, a store and the sink of a harness.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{future::Future, sync::Arc};

use connector_core::{
    Column, Cycle, CycleOptions, Dataset, DatasetExt, DatasetId, DatasetReport, DeleteGuard,
    Digest, NamedSink, Outcome, RangeDigest, Schema, Store, Value,
    memory::MemoryDataset,
    schema::{int, text},
};

use tokio::sync::Mutex;

use super::SinkHarness;
use crate::{FaultySink, ManualClock, MemoryStorage, SinkFault};

pub(super) fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

/// The connector of most checks.
pub(super) const LAB: &str = "lab";

pub(super) struct Rig<H: SinkHarness> {
    pub(super) harness: H,
    store: Store,
    pub(super) options: CycleOptions,
    /// The sink of the process that runs.
    sink: Option<Arc<Mutex<FaultySink<H::Sink>>>>,
}

impl<H: SinkHarness> Rig<H> {
    pub(super) async fn new() -> Self {
        let harness = H::start().await;
        let clock = Arc::new(ManualClock::default());
        let store = Store::open(Arc::new(MemoryStorage::default()), clock).await;
        let mut options = CycleOptions::default();
        options.guard = DeleteGuard {
            rows: u64::MAX,
            share: 1.0,
            empty: false,
        };
        Self {
            harness,
            store: store.unwrap(),
            options,
            sink: None,
        }
    }

    async fn sink(&mut self) -> Arc<Mutex<FaultySink<H::Sink>>> {
        if self.sink.is_none() {
            let sink = self.harness.open().await.unwrap();
            self.sink = Some(Arc::new(Mutex::new(FaultySink::new(sink))));
        }
        self.sink.clone().unwrap()
    }

    /// Lets the next call of a kind fail.
    pub(super) async fn fail(&mut self, fault: SinkFault, passes: u32) {
        self.sink().await.lock().await.fail(fault, passes);
    }

    /// The process ends.
    pub(super) async fn crash(&mut self) {
        if let Some(sink) = self.sink.take() {
            let sink = Arc::into_inner(sink).unwrap().into_inner();
            self.harness.crash(sink.into_inner()).await;
        }
    }

    /// One cycle of a data set.
    pub(super) async fn sync(&mut self, connector: &str, dataset: &dyn Dataset) -> DatasetReport {
        let sink = self.sink().await;
        Cycle::new(&self.store)
            .options(self.options.clone())
            .sink(NamedSink::shared("sink", sink))
            .run_dataset(connector, dataset)
            .await
    }

    /// One cycle that must be delivered; returns what was sent.
    pub(super) async fn synced(&mut self, connector: &str, dataset: &dyn Dataset) -> String {
        let report = self.sync(connector, dataset).await;
        let errors: Vec<_> = report
            .sink_errors
            .iter()
            .map(|(_, e)| format!("{e:#}"))
            .collect();
        assert!(errors.is_empty(), "the sink failed: {errors:?}");
        match report.outcome {
            Outcome::Synced(counts) => counts.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// One cycle that the sink must not confirm.
    pub(super) async fn refused(&mut self, connector: &str, dataset: &dyn Dataset) {
        let report = self.sync(connector, dataset).await;
        assert_eq!(
            report.sink_errors.len(),
            1,
            "the sink was told to fail: {report:?}"
        );
    }

    /// The receiver holds what the source does.
    pub(super) async fn assert_held(&self, connector: &str, dataset: &dyn Dataset) {
        let (schema, expected) = whole(dataset).await;
        let id = DatasetId::new(connector, dataset.name());
        let held = self.harness.held(&id, &schema).await;
        assert_eq!(held, Some(expected), "{id} as a reader finds it");
    }
}

/// Count and digest of what a source holds.
pub(super) async fn whole(dataset: &dyn Dataset) -> (Arc<Schema>, RangeDigest) {
    let rows = dataset.collect().await.unwrap();
    let mut digest = Digest::default();
    for row in &rows {
        digest.add(row);
    }
    let whole = RangeDigest {
        rows: rows.len() as u64,
        digest,
    };
    (dataset.schema(None).await.unwrap(), whole)
}

/// Devices with a name, a count of cores and free space, which moves all the time.
pub(super) fn devices() -> MemoryDataset {
    let columns = vec![
        text("name").key(),
        int("cores").null(),
        text("owner").null(),
    ];
    MemoryDataset::new("devices", schema(columns))
}

pub(super) fn schema(columns: Vec<impl Into<Column>>) -> Arc<Schema> {
    Arc::new(Schema::new(columns).unwrap())
}

pub(super) fn device(number: u32, cores: i64) -> Vec<Value<'static>> {
    let owner = match number % 3 {
        0 => Value::Null,
        _ => Value::Text(format!("Größe \"{number}\"\n").into()),
    };
    vec![
        Value::Text(format!("PC-{number:06}").into()),
        Value::Int(cores),
        owner,
    ]
}

pub(super) fn numbered(numbers: std::ops::Range<u32>) -> Vec<Vec<Value<'static>>> {
    numbers.map(|number| device(number, 8)).collect()
}
