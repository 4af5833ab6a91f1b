//! Staying within what a source allows.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{Clock, Error, ErrorKind, Result, Retry};
use governor::{
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::{
    retry::retry_after,
    transport::{Credential, Request, Response, Transport},
};

/// How many requests a source allows within a time.
///
/// In *no* window of that length are there more than `requests`: a quarter of them may go at once,
/// and the others are spread over the rest of it. A bucket of `requests` that fills again within
/// the time would let nearly twice as many through.
///
/// ```
/// use std::time::Duration;
/// use connector_http::Quota;
///
/// /// Intune counts export jobs a minute, and refuses every call of a minute that had more.
/// const EXPORT_JOBS: Quota = Quota::new(48, Duration::from_mins(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    requests: u32,
    within: Duration,
}

impl Quota {
    /// Takes the number of requests and the time.
    ///
    /// # Panics
    ///
    /// When either is 0; in a constant, the compiler says so.
    pub const fn new(requests: u32, within: Duration) -> Self {
        assert!(requests > 0 && !within.is_zero(), "a quota of nothing");
        Self { requests, within }
    }

    fn limiter(self) -> Option<Limiter> {
        let at_once = (self.requests / 4).max(1);
        let spread = (self.requests - at_once).max(1);
        let quota = governor::Quota::with_period(self.within / spread)?
            .allow_burst(std::num::NonZeroU32::new(at_once)?);
        Some(Limiter::direct_with_clock(quota, TokioClock::start()))
    }
}

type Limiter = governor::RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// The clock of the timers that waits are made of, which tests can stop.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl TokioClock {
    fn start() -> Self {
        Self(Instant::now())
    }
}

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What is counted together.
type Lane = (String, Credential, &'static str);

/// A layer that sends no more than the source's quotas allow, and nothing at all while the source
/// has asked for patience: one wait for all tasks of a limit group.
pub(crate) struct RateLimit {
    inner: Arc<dyn Transport>,
    quotas: &'static [(&'static str, Quota)],
    /// A wait that is longer is not worth it.
    patience: Duration,
    clock: Arc<dyn Clock>,
    lanes: Mutex<HashMap<Lane, Arc<Gate>>>,
}

struct Gate {
    limiter: Option<Limiter>,
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    fn until(&self) -> Option<Instant> {
        *self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, until: Instant) {
        let mut closed = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *closed = (*closed).max(Some(until));
    }

    /// Waits until a request may go.
    async fn pass(&self, patience: Duration) -> Result<()> {
        loop {
            let now = Instant::now();
            let mut wait = self.until().map(|until| until - now).unwrap_or_default();
            if wait.is_zero() {
                let Some(Err(early)) = self.limiter.as_ref().map(Limiter::check) else {
                    return Ok(());
                };
                // Timers are no finer than that.
                let own = self.limiter.as_ref().map(|l| l.clock().now());
                wait = early
                    .wait_time_from(own.unwrap_or_default())
                    .max(Duration::from_millis(1));
            } else if wait > patience {
                return Err(Error::new(
                    ErrorKind::RateLimited,
                    "the source has asked for a longer wait than `retry.elapsed` allows",
                )
                .with_retry(Retry::After(wait)));
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl RateLimit {
    pub(crate) fn new(
        inner: Arc<dyn Transport>,
        quotas: &'static [(&'static str, Quota)],
        patience: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner,
            quotas,
            patience,
            clock,
            lanes: Mutex::default(),
        }
    }

    fn gate(&self, request: &Request) -> Arc<Gate> {
        let origin = request.url.origin().ascii_serialization();
        let lane = (origin, request.credential, request.group);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = lanes.entry(lane).or_insert_with(|| {
            let quota = self
                .quotas
                .iter()
                .find(|(group, _)| *group == request.group);
            Arc::new(Gate {
                limiter: quota.and_then(|(_, quota)| quota.limiter()),
                closed_until: Mutex::default(),
            })
        });
        Arc::clone(gate)
    }
}

#[async_trait]
impl Transport for RateLimit {
    async fn send(&self, request: Request) -> Result<Response> {
        let gate = self.gate(&request);
        gate.pass(self.patience).await?;
        let response = self.inner.send(request).await?;
        if response.status.as_u16() == 429
            && let Some(wait) = retry_after(&response, &*self.clock)
        {
            gate.close(Instant::now() + wait);
        }
        Ok(response)
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateLimit").field(&self.inner).finish()
    }
}
