//! Reads that the source forgets on the way.

mod lab;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use connector_core::{
    Dataset, DatasetInfo, Error, ErrorKind, Outcome, Result, Retry, Schema, SnapshotWriter,
};
use lab::{DEVICES, Lab};

/// A walk that the source forgets so many times, each after another row.
#[derive(Debug)]
struct Forgotten {
    times: u32,
    reads: AtomicU32,
}

static INFO: DatasetInfo = DatasetInfo::new("devices", "Devices");

#[async_trait::async_trait]
impl Dataset for Forgotten {
    fn info(&self) -> &DatasetInfo {
        &INFO
    }

    async fn schema(&self, _: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::new(DEVICES.into()))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let read = self.reads.fetch_add(1, Relaxed);
        let name = format!("PC-{read}");
        out.row().text(&name).int(8).int(0).end().await?;
        if read < self.times {
            let forgotten = Error::new(ErrorKind::Incomplete, "the page token expired");
            return Err(forgotten.with_retry(Retry::Restart));
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_was_read_before_counts_for_nothing() {
    let mut lab = Lab::new(&["copy"]);
    let walk = Forgotten {
        times: 5,
        reads: AtomicU32::new(0),
    };
    let report = lab.cycle().await.run_dataset("lab", &walk).await;
    let Outcome::Synced(counts) = &report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!((report.rows, counts.inserts), (1, 1));
    assert_eq!(walk.reads.load(Relaxed), 6);
}

#[tokio::test]
async fn a_source_that_always_forgets_is_an_error() {
    let mut lab = Lab::new(&["copy"]);
    let walk = Forgotten {
        times: u32::MAX,
        reads: AtomicU32::new(0),
    };
    let report = lab.cycle().await.run_dataset("lab", &walk).await;
    let Outcome::Failed(error) = &report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!(error.retry(), Retry::Exhausted);
    assert!(error.to_string().contains("restarts: 5"), "{error}");
    assert_eq!(walk.reads.load(Relaxed), 6);
}
