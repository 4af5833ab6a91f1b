use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    dataset::{Dataset, DatasetInfo},
    error::{Error, ErrorKind, Result},
    schema::Schema,
    snapshot::SnapshotWriter,
};

/// Lets only so many data sets ask the source at once: as many as the semaphore has permits, over
/// all data sets that share it. The others wait.
#[derive(Debug)]
pub struct Concurrency {
    inner: Arc<dyn Dataset>,
    permits: Arc<Semaphore>,
}

impl Concurrency {
    /// Wraps a data set.
    pub fn new(inner: Arc<dyn Dataset>, permits: Arc<Semaphore>) -> Self {
        Self { inner, permits }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        self.permits.acquire().await.map_err(|closed| {
            Error::new(ErrorKind::Cancelled, "reads are being stopped").with_source(closed)
        })
    }
}

#[async_trait]
impl Dataset for Concurrency {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        let _permit = self.permit().await?;
        self.inner.schema(known).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let _permit = self.permit().await?;
        self.inner.read(out).await
    }
}
