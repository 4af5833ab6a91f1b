//! One limit on memory for all data sets that are synced at once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// So many data sets can always be synced at once: no share is larger than what leaves room for
/// them, and none is given that is smaller than its part.
const SHARES: u64 = 8;

/// What is given out of the memory that cycles over one store may use.
#[derive(Default)]
pub(crate) struct Budget {
    given: Mutex<u64>,
    returned: Notify,
}

/// A share of a budget; it goes back when this is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// Waits for a share of `total` bytes: what is wanted, or what is left when that is less, but
    /// never less than an eighth.
    pub(crate) async fn share(self: &Arc<Self>, total: u64, wanted: u64) -> Share {
        let least = total / SHARES;
        loop {
            let returned = self.returned.notified();
            if let Some(bytes) = self.take(total, wanted.max(least), least) {
                let budget = Arc::clone(self);
                return Share { budget, bytes };
            }
            returned.await;
        }
    }

    fn take(&self, total: u64, wanted: u64, least: u64) -> Option<u64> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let left = total.saturating_sub(*given);
        let bytes = wanted.min(left);
        (bytes >= least).then(|| {
            *given += bytes;
            bytes
        })
    }
}

impl Share {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut given = (self.budget.given.lock()).unwrap_or_else(PoisonError::into_inner);
        *given -= self.bytes;
        drop(given);
        self.budget.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn shares_never_exceed_the_budget() {
        let budget = Arc::new(Budget::default());
        let small = budget.share(800, 10).await;
        assert_eq!(small.bytes(), 100, "an eighth is the least");
        let large = budget.share(800, 5000).await;
        assert_eq!(large.bytes(), 700, "what is left");
        assert!(budget.share(800, 1).now_or_never().is_none());

        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.share(800, 300).await.bytes() }
        });
        tokio::task::yield_now().await;
        drop(small);
        assert_eq!(waiting.await.unwrap(), 100);
        drop(large);
        assert_eq!(budget.share(800, 5000).await.bytes(), 800);
    }
}
