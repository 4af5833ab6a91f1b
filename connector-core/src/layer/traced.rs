use std::sync::Arc;

use async_trait::async_trait;
use tracing::{Instrument, field::Empty};

use crate::{
    dataset::{Dataset, DatasetExt, DatasetInfo},
    error::Result,
    schema::Schema,
    snapshot::SnapshotWriter,
};

/// Puts a span around each read: data set, rows, bytes and outcome; never a value.
#[derive(Debug)]
pub struct Traced {
    inner: Arc<dyn Dataset>,
}

impl Traced {
    /// Wraps a data set.
    pub fn new(inner: Arc<dyn Dataset>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Dataset for Traced {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.inner.schema(known).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let span = tracing::info_span!(
            "read",
            dataset = self.name(),
            rows = Empty,
            bytes = Empty,
            outcome = Empty
        );
        let progress = out.progress();
        let (rows, bytes) = (progress.rows(), progress.bytes());
        let outcome = self.inner.read(out).instrument(span.clone()).await;
        span.record("rows", progress.rows() - rows);
        span.record("bytes", progress.bytes() - bytes);
        match &outcome {
            Ok(()) => span.record("outcome", "complete"),
            Err(error) => span.record("outcome", tracing::field::display(error.kind())),
        };
        span.in_scope(|| tracing::debug!("read ended"));
        outcome
    }
}
