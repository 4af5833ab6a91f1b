//! Work that blocks, kept off the runtime and in order.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use connector_core::{Error, ErrorKind, Result};
use tokio::task::{JoinHandle, spawn_blocking};

/// Runs what blocks on a thread where that is allowed. It ends even when the future is dropped.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    Pending(spawn_blocking(work)).done().await
}

/// Work on its way.
pub(super) struct Pending<T>(JoinHandle<Result<T>>);

impl<T> Pending<T> {
    /// Waits until it is done.
    pub(super) async fn done(self) -> Result<T> {
        match self.0.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Err(stopped()),
            Err(_) => Err(Error::new(
                ErrorKind::Unexpected,
                "a thread panicked; its message is on standard error",
            )),
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the program is stopping")
}

/// Something that is worked on where blocking is allowed, one piece of work after the other.
///
/// The future of a piece may be dropped. The piece is then done before any later one or not at
/// all: threads do not start in the order in which they are asked for.
pub(super) struct Worker<T> {
    subject: Arc<Mutex<T>>,
    last: u64,
    /// The number of the piece that was asked for last.
    wanted: Arc<AtomicU64>,
}

impl<T: Send + 'static> Worker<T> {
    pub(super) fn new(subject: T) -> Self {
        Self {
            subject: Arc::new(Mutex::new(subject)),
            last: 0,
            wanted: Arc::default(),
        }
    }

    pub(super) async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.start(work).done().await
    }

    /// Starts a piece of work. Whoever starts the next one before it is done gives it up.
    pub(super) fn start<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Pending<R> {
        self.last += 1;
        self.wanted.store(self.last, Relaxed);
        let (number, wanted) = (self.last, Arc::clone(&self.wanted));
        let subject = Arc::clone(&self.subject);
        Pending(spawn_blocking(move || {
            // After a panic the next cycle begins anew, which drops what is left of the last.
            let mut subject = subject.lock().unwrap_or_else(PoisonError::into_inner);
            if wanted.load(Relaxed) != number {
                return Err(stopped());
            }
            work(&mut subject)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc};

    use super::*;

    #[test]
    fn an_abandoned_piece_is_not_done_behind_a_later_one() {
        // One thread for what blocks, held until everything is asked for.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let done = runtime.block_on(async {
            let (release, held) = mpsc::channel::<()>();
            let holder = tokio::task::spawn_blocking(move || held.recv());
            let mut worker = Worker::new(Vec::new());
            {
                let abandoned = pin!(worker.run(|done| {
                    done.push("abandoned");
                    Ok(())
                }));
                assert!(futures::poll!(abandoned).is_pending());
            }
            let mut later = pin!(worker.run(|done| {
                done.push("later");
                Ok(done.clone())
            }));
            assert!(futures::poll!(&mut later).is_pending());
            release.send(()).unwrap();
            holder.await.unwrap().unwrap();
            later.await.unwrap()
        });
        assert_eq!(done, ["later"]);
    }
}
