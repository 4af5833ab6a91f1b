//! How much memory a sink takes: in a process of its own, since a process never forgets its peak.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{process::Command, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    ChangeEvent, Cycle, CycleId, Dataset, DatasetId, DatasetInfo, Digest, NamedSink, RangeDigest,
    Result, Row, Schema, Sink, SnapshotWriter, Store, Value,
    schema::{Declared, int, text},
};

use super::{SinkCheck, SinkHarness};

const MARK: &str = "SINK_CONFORMANCE_MEMORY";
const ROWS: u32 = 1_000_000;

/// Runs the check in a process of its own, unless this is that process.
pub(super) fn is_elsewhere(module: &str, check: SinkCheck) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "no configuration: this test program tells itself what it is"
    )]
    if std::env::var(MARK).is_ok() {
        return false;
    }
    // The path of a test does not begin with the name of its crate.
    let within = module.split_once("::").map_or(module, |(_, rest)| rest);
    let name = format!("{within}::{}", check.name());
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&out.stdout);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{printed}{said}");
    assert!(
        printed.contains("1 passed"),
        "no test is called {name}: {printed}"
    );
    true
}

/// A data set that is not in memory.
#[derive(Debug)]
struct Many {
    info: DatasetInfo,
    schema: Arc<Schema>,
    cores: i64,
    rows: u32,
}

const COLUMNS: Declared = Declared::new(&[
    text("device").key(),
    text("product").key(),
    text("publisher"),
    text("version").null(),
    int("cores"),
]);

impl Many {
    fn row(&self, number: u32) -> [Value<'static>; 5] {
        let text = |text: String| Value::Text(text.into());
        let edited = number.is_multiple_of(100);
        [
            text(format!("PC-{:06}", number / 25)),
            text(format!("Product {}", number % 25)),
            text(format!("Publisher {} Software GmbH", number % 977)),
            if number.is_multiple_of(7) {
                Value::Null
            } else {
                text(format!("{}.{}.0", number % 13, number % 7))
            },
            Value::Int(if edited { self.cores } else { 4 }),
        ]
    }
}

#[async_trait]
impl Dataset for Many {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::clone(&self.schema))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        for number in 0..self.rows {
            let mut row = out.row();
            for value in &self.row(number) {
                row.value(value);
            }
            row.end().await?;
        }
        Ok(())
    }
}

/// Takes everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn write(&mut self, _events: &[ChangeEvent]) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, _cycle: &CycleId) -> Result<()> {
        Ok(())
    }
}

pub(super) async fn million<H: SinkHarness>() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::from(COLUMNS));
    let mut source = Many {
        info: DatasetInfo::named("software", "General"),
        schema: Arc::clone(&schema),
        cores: 4,
        rows: ROWS,
    };
    // The engine alone, on another state folder: its peak is not the sink's.
    for name in ["engine", "engine again"] {
        let store = Store::open_folder(folder.path().join(name)).await.unwrap();
        let cycle = Cycle::new(&store).sink(NamedSink::new("nowhere", Nowhere));
        for cores in [4, 8] {
            source.cores = cores;
            assert!(cycle.run_dataset("lab", &source).await.is_ok());
        }
    }
    let before = peak();

    let harness = H::start().await;
    let store = Store::open_folder(folder.path().join("state"))
        .await
        .unwrap();
    let sink = harness.open().await.unwrap();
    let cycle = Cycle::new(&store).sink(NamedSink::new("sink", sink));
    for cores in [4, 8] {
        source.cores = cores;
        let report = cycle.run_dataset("lab", &source).await;
        assert!(report.is_ok(), "{report:?}");
    }
    let took = peak().zip(before).map(|(after, before)| after - before);
    let mut expected = RangeDigest {
        rows: ROWS.into(),
        digest: Digest::default(),
    };
    for number in 0..ROWS {
        let row = Row::from_values(&schema, &source.row(number)).unwrap();
        expected.digest.add(&row);
    }
    let id = DatasetId::new("lab", "software");
    assert_eq!(harness.held(&id, &schema).await, Some(expected));
    if let Some(took) = took {
        assert!(
            took <= H::memory(),
            "the sink took {} MiB more than the engine alone",
            took >> 20
        );
    }
}

/// The most memory that this process ever had, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
