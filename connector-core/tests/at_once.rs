//! Several data sets are synced at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use connector_core::{
    Cycle, CycleOptions, Dataset, DatasetInfo, DatasetReport, Result, Schema, SnapshotWriter,
    Store,
    memory::MemoryConnector,
    schema::{Declared, text},
};
use connector_testkit::{CrashStorage, ManualClock};
use tokio::sync::Barrier;

const NAMES: Declared = Declared::new(&[text("name").key()]);

/// Is read to its end only while another one is.
#[derive(Debug)]
struct Meeting {
    info: DatasetInfo,
    pair: Arc<Barrier>,
    /// How many are read now, and how many were at most.
    reading: Arc<(AtomicUsize, AtomicUsize)>,
}

#[async_trait]
impl Dataset for Meeting {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::new(NAMES.into()))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let (now, most) = &*self.reading;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        self.pair.wait().await;
        now.fetch_sub(1, SeqCst);
        out.row().text("PC-1").end().await
    }
}

#[tokio::test]
async fn as_many_data_sets_are_read_at_once_as_the_options_say() {
    let (pair, reading) = (Arc::new(Barrier::new(2)), Arc::default());
    let datasets = ["a", "b", "c", "d", "e", "f"].map(|name| {
        Arc::new(Meeting {
            info: DatasetInfo::named(name, "test"),
            pair: Arc::clone(&pair),
            reading: Arc::clone(&reading),
        }) as Arc<dyn Dataset>
    });
    let connector = MemoryConnector::with_datasets("lab", datasets.to_vec());
    let storage = Arc::new(CrashStorage::new());
    let store = Store::open(storage, Arc::new(ManualClock::default()));
    let mut options = CycleOptions::default();
    options.concurrency = 2;
    let cycle = Cycle::new(&store.await.unwrap()).options(options);
    let reports = cycle.run(&connector).await.unwrap();

    assert!(reports.iter().all(DatasetReport::is_ok), "{reports:?}");
    let names: Vec<&str> = reports.iter().map(|report| report.id.dataset()).collect();
    assert_eq!(
        names.concat(),
        "abcdef",
        "reports keep the connector's order"
    );
    assert_eq!(reading.1.load(SeqCst), 2);
}
