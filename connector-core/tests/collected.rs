//! Data sets that a source need not have.

mod lab;

use std::sync::Arc;

use connector_core::{
    Batch, Dataset, ErrorKind, Outcome, Schema, SnapshotWriter, memory::MemoryDataset,
};
use lab::Lab;

/// A data set that the source collects or does not, as an optional inventory class.
#[derive(Debug)]
struct Optional {
    inner: Arc<MemoryDataset>,
    collected: bool,
}

#[async_trait::async_trait]
impl Dataset for Optional {
    fn info(&self) -> &connector_core::DatasetInfo {
        self.inner.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> connector_core::Result<Arc<Schema>> {
        if self.collected {
            return self.inner.schema(known).await;
        }
        let reason = "nobody switched the class on";
        Err(connector_core::Error::new(ErrorKind::NotCollected, reason))
    }

    /// Half in batches that were written elsewhere.
    async fn read(&self, out: &mut SnapshotWriter) -> connector_core::Result<()> {
        let mut batch = Batch::new(Arc::clone(out.schema()));
        batch.row().text("PC-00000").int(8).int(0).end()?;
        out.row().text("PC-00001").int(8).int(0).end().await?;
        let following = batch.next(None);
        out.batch(batch).await?;
        out.batch(following).await
    }
}

#[tokio::test]
async fn what_was_never_collected_is_no_failure_and_what_was_is() {
    let mut lab = Lab::new(&["copy"]);
    let mut class = Optional {
        inner: Arc::clone(&lab.source),
        collected: false,
    };
    let cycle = lab.cycle().await;
    for _ in 0..2 {
        let report = cycle.run_dataset("lab", &class).await;
        assert!(report.is_ok());
        assert!(
            matches!(&report.outcome, Outcome::NotCollected { reason } if reason.contains("nobody"))
        );
    }

    class.collected = true;
    let report = cycle.run_dataset("lab", &class).await;
    assert!(matches!(report.outcome, Outcome::Synced(counts) if counts.inserts == 2));

    class.collected = false;
    let report = cycle.run_dataset("lab", &class).await;
    assert!(
        matches!(report.outcome, Outcome::Failed(error) if error.kind() == ErrorKind::NotCollected)
    );
    assert_eq!(lab.copy(0).len(), 2);
}
