//! Time that stands still until a test moves it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connector_core::{Clock, Timestamp};

/// A [`Clock`] that moves only when it is told to. All clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use connector_core::Clock;
/// use connector_testkit::ManualClock;
///
/// let clock = ManualClock::new("2026-11-21T03:08:00Z".parse()?);
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().to_string(), "2026-11-21T03:09:30Z");
/// assert_eq!(clock.elapsed(), Duration::from_secs(90));
/// # Ok::<(), connector_core::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Timestamp,
    elapsed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    /// Makes a clock that stands at that moment.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            elapsed: Arc::default(),
        }
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        *self.elapsed_mut() += by;
    }

    fn elapsed_mut(&self) -> MutexGuard<'_, Duration> {
        self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands at the start of 1970.
impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Timestamp::from_ticks(0).unwrap_or(Timestamp::MIN))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        i64::try_from(self.elapsed().as_nanos() / 100)
            .ok()
            .and_then(|ticks| self.start.ticks().checked_add(ticks))
            .and_then(|ticks| Timestamp::from_ticks(ticks).ok())
            .unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed_mut()
    }
}
