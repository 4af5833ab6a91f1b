use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    dataset::{Dataset, DatasetInfo},
    error::{Error, ErrorKind, Result},
    retry::Retry,
    schema::Schema,
    snapshot::SnapshotWriter,
};

/// Ends a read that takes too long, or that brings no row for too long.
///
/// The time that the reader of rows keeps the data set waiting counts too; it is far below any
/// sensible limit.
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn Dataset>,
    whole: Option<Duration>,
    idle: Option<Duration>,
}

impl Timeout {
    /// Wraps a data set, without a limit yet.
    pub fn new(inner: Arc<dyn Dataset>) -> Self {
        Self {
            inner,
            whole: None,
            idle: None,
        }
    }

    /// Limits the whole read, and the asking for the columns.
    #[must_use]
    pub fn whole(mut self, limit: Duration) -> Self {
        self.whole = Some(limit);
        self
    }

    /// Limits the time between rows, to within a factor of two.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }
}

fn too_slow(what: &str, limit: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} within {limit:?}"))
        .with_retry(Retry::Backoff)
}

async fn limited<T>(limit: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(too_slow("the source did not finish", limit))),
    }
}

#[async_trait]
impl Dataset for Timeout {
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        limited(self.whole, self.inner.schema(known)).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let progress = out.progress();
        let read = limited(self.whole, self.inner.read(out));
        let Some(idle) = self.idle else {
            return read.await;
        };
        let watch = async {
            let mut seen = progress.rows();
            loop {
                tokio::time::sleep(idle).await;
                let rows = progress.rows();
                if rows == seen {
                    return;
                }
                seen = rows;
            }
        };
        tokio::select! {
            outcome = read => outcome,
            () = watch => Err(too_slow("the source sent no row", idle)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dataset::DatasetExt,
        schema::{Declared, text},
    };

    static INFO: DatasetInfo = DatasetInfo::new("slow", "General");
    const COLUMNS: Declared = Declared::new(&[text("name").key()]);

    /// Brings three rows, waiting before each.
    #[derive(Debug)]
    struct Slow(Duration);

    #[async_trait]
    impl Dataset for Slow {
        fn info(&self) -> &DatasetInfo {
            &INFO
        }

        async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
            Ok(Arc::new(COLUMNS.into()))
        }

        async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
            for name in ["a", "b", "c"] {
                tokio::time::sleep(self.0).await;
                out.row().text(name).end().await?;
            }
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_stops_sending_is_given_up() {
        let slow = || Timeout::new(Arc::new(Slow(Duration::from_secs(20))));
        assert_eq!(
            slow()
                .idle(Duration::from_secs(30))
                .collect()
                .await
                .unwrap()
                .len(),
            3
        );
        let error = slow()
            .idle(Duration::from_secs(9))
            .collect()
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the source sent no row within 9s");
        assert_eq!(error.retry(), Retry::Backoff);
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_read_is_limited() {
        let slow = || Timeout::new(Arc::new(Slow(Duration::from_secs(20))));
        assert_eq!(
            slow()
                .whole(Duration::from_secs(61))
                .collect()
                .await
                .unwrap()
                .len(),
            3
        );
        let error = slow()
            .whole(Duration::from_secs(59))
            .collect()
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the source did not finish within 59s");
    }
}
