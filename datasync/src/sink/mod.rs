//! Receivers of change events that the host can be configured with.

mod ndjson;
mod sqlite;
#[cfg(test)]
mod testing;

pub use ndjson::{EVENT_SCHEMA, EventLine, NdjsonSink};
pub use sqlite::{ProcessEntry, SqliteSink, SyncEntry, TableState};

use connector_core::{Error, ErrorKind, Result};

/// Runs what blocks on a thread where that is allowed. It ends even when the future is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_cancelled() => {
            Err(Error::new(ErrorKind::Cancelled, "the program is stopping"))
        }
        Err(_) => Err(Error::new(
            ErrorKind::Unexpected,
            "a thread panicked; its message is on standard error",
        )),
    }
}
