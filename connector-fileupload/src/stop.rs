//! Blocking work that ends early when nobody waits for it any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use connector_core::{Error, ErrorKind, Result};
use tracing::Span;

/// Tells blocking work that it was given up. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] once the work was given up.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "the read was stopped"));
        }
        Ok(())
    }

    /// Returns a guard that gives the work up when it is dropped.
    pub(crate) fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }
}

/// Gives the work up when it is dropped.
pub(crate) struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Relaxed);
    }
}

/// Runs work that blocks on a thread where that is allowed, within the caller's tracing span.
///
/// # Errors
///
/// Those of the work; [`ErrorKind::Unexpected`] when it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stop = Stop::default();
    let _guard = stop.on_drop();
    let span = Span::current();
    let task = tokio::task::spawn_blocking(move || span.in_scope(|| work(&stop)));
    match task.await {
        Ok(outcome) => outcome,
        Err(error) if error.is_cancelled() => Err(Error::new(
            ErrorKind::Cancelled,
            "the runtime is shutting down",
        )),
        Err(_) => Err(Error::new(
            ErrorKind::Unexpected,
            "a thread panicked; its message is on standard error",
        )),
    }
}
