//! A store, a source and a sink that the engine's tests share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use connector_core::{
    ChangeEvent, Cycle, CycleOptions, DatasetId, DatasetReport, NamedSink, Outcome, Row, Schema,
    Storage, Store, Value,
    memory::{MemoryDataset, MemorySink},
    schema::{Declared, int, text},
};
use connector_testkit::{CrashStorage, FaultySink, ManualClock};

pub(crate) const DEVICES: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    int("free").null().volatile(),
]);

pub(crate) type Sink = FaultySink<MemorySink>;

/// Everything that outlives a process: the disk, the source and the receivers.
pub(crate) struct Lab {
    pub(crate) storage: CrashStorage,
    pub(crate) source: Arc<MemoryDataset>,
    pub(crate) sinks: Vec<(&'static str, Sink)>,
    pub(crate) options: CycleOptions,
    pub(crate) clock: ManualClock,
    store: Option<Store>,
}

pub(crate) fn device(name: &str, cores: i64) -> Vec<Value<'static>> {
    vec![
        Value::Text(name.to_owned().into()),
        Value::Int(cores),
        Value::Int(0),
    ]
}

pub(crate) fn devices(
    names: impl IntoIterator<Item = u32>,
    cores: i64,
) -> Vec<Vec<Value<'static>>> {
    names
        .into_iter()
        .map(|n| device(&format!("PC-{n:05}"), cores))
        .collect()
}

/// Another row of the same key that loses against `row` where the row with the greatest hash is
/// kept. `other` makes rows that differ, by number.
pub(crate) fn loser(
    schema: &Schema,
    row: &[Value<'static>],
    other: impl Fn(i64) -> Value<'static>,
    column: usize,
) -> Vec<Value<'static>> {
    let compared = schema
        .columns()
        .iter()
        .filter(|column| !column.is_volatile());
    let compared = Arc::new(Schema::new(compared.cloned().collect::<Vec<_>>()).unwrap());
    let hash = |row: &[Value<'static>]| {
        let cells = schema.columns().iter().zip(row);
        let cells = cells.filter(|(column, _)| !column.is_volatile());
        let values: Vec<_> = cells.map(|(_, value)| value.clone()).collect();
        let row = Row::from_values(&compared, &values).unwrap();
        twox_hash::XxHash3_64::oneshot(row.bytes())
    };
    let greatest = hash(row);
    let others = (0..).map(|number| {
        let mut differs = row.to_vec();
        differs[column] = other(number);
        differs
    });
    others
        .take(1_000_000)
        .find(|other| hash(other) < greatest)
        .unwrap()
}

/// Reads a file whole.
pub(crate) fn read(storage: &CrashStorage, file: &str) -> Vec<u8> {
    let file = storage.open(file).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

impl Lab {
    pub(crate) fn new(sinks: &[&'static str]) -> Self {
        Self::with_schema(sinks, Arc::new(DEVICES.into()))
    }

    pub(crate) fn with_schema(sinks: &[&'static str], schema: Arc<Schema>) -> Self {
        Self {
            storage: CrashStorage::new(),
            source: Arc::new(MemoryDataset::new("devices", schema)),
            sinks: sinks
                .iter()
                .map(|name| (*name, Sink::new(MemorySink::default())))
                .collect(),
            options: CycleOptions::default(),
            clock: ManualClock::default(),
            store: None,
        }
    }

    pub(crate) fn id() -> DatasetId {
        DatasetId::new("lab", "devices")
    }

    /// The store of this process.
    pub(crate) async fn store(&mut self) -> Store {
        if self.store.is_none() {
            let clock = Arc::new(self.clock.clone());
            self.store = Some(
                Store::open(Arc::new(self.storage.clone()), clock)
                    .await
                    .unwrap(),
            );
        }
        self.store.clone().unwrap()
    }

    /// The process ends.
    pub(crate) fn stop(&mut self) {
        self.store = None;
    }

    pub(crate) async fn cycle(&mut self) -> Cycle {
        let mut cycle = Cycle::new(&self.store().await).options(self.options.clone());
        for (name, sink) in &self.sinks {
            cycle = cycle.sink(NamedSink::new(name, sink.clone()));
        }
        cycle
    }

    pub(crate) async fn sync(&mut self) -> DatasetReport {
        self.cycle().await.run_dataset("lab", &*self.source).await
    }

    /// A cycle that must succeed; returns what it sent as the log says it.
    pub(crate) async fn synced(&mut self) -> String {
        let report = self.sync().await;
        assert!(report.sink_errors.is_empty(), "{:?}", report.sink_errors);
        match report.outcome {
            Outcome::Synced(counts) => counts.to_string(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn failed(&mut self) -> connector_core::Error {
        match self.sync().await.outcome {
            Outcome::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn copy(&self, sink: usize) -> Vec<Row> {
        self.sinks[sink].1.inner().rows(&Self::id())
    }

    /// What the last call's events of a sink were: kind and key.
    pub(crate) fn events(&self, sink: usize) -> Vec<ChangeEvent> {
        self.sinks[sink].1.inner().take_events()
    }

    pub(crate) fn kinds(&self, sink: usize) -> Vec<&'static str> {
        self.events(sink)
            .iter()
            .map(|event| event.change.kind())
            .collect()
    }

    pub(crate) async fn baseline(&mut self) -> Vec<Row> {
        let store = self.store().await;
        let mut rows = store.rows(&Self::id()).await.unwrap();
        let mut all = Vec::new();
        while let Some(some) = rows.next().await.unwrap() {
            all.extend(some);
        }
        all.sort_by_key(Row::key);
        all
    }

    pub(crate) async fn history(&mut self) -> Vec<ChangeEvent> {
        let store = self.store().await;
        let mut changes = store.changes(&Self::id()).await.unwrap();
        let mut all = Vec::new();
        while let Some(some) = changes.next().await.unwrap() {
            all.extend(some);
        }
        all
    }

    /// The files of the data set.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = self.storage.files();
        files.retain(|file| file.starts_with("lab/devices/"));
        files
    }

    /// The manifest and the files that it names, in order; nothing when there is none.
    pub(crate) fn named(&self) -> Vec<String> {
        fn collect(json: &serde_json::Value, files: &mut Vec<String>) {
            match json {
                serde_json::Value::Object(members) => {
                    for (name, value) in members {
                        match value.as_str() {
                            Some(file) if name == "file" => {
                                files.push(format!("lab/devices/{file}"));
                            }
                            _ => collect(value, files),
                        }
                    }
                }
                serde_json::Value::Array(items) => {
                    for item in items {
                        collect(item, files);
                    }
                }
                _ => {}
            }
        }
        let mut files = vec!["lab/devices/manifest".to_owned()];
        if !self.storage.files().contains(&files[0]) {
            return Vec::new();
        }
        let text = read(&self.storage, &files[0]);
        let body = text.iter().position(|byte| *byte == b'\n').unwrap();
        collect(&serde_json::from_slice(&text[body..]).unwrap(), &mut files);
        files.sort_unstable();
        files
    }
}
