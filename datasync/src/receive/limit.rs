//! How many requests a tenant may make.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use super::problem::Problem;
use crate::upload::code;

/// So many requests a second, and ten times as many at once.
pub(super) struct RateLimit(
    governor::RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
);

/// The runtime's clock, which tests can stop.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl RateLimit {
    /// Takes how many a second; at least one.
    pub(super) fn new(rate: u32) -> Self {
        let rate = NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(9));
        let quota = governor::Quota::per_second(rate).allow_burst(burst);
        let clock = TokioClock(Instant::now());
        Self(governor::RateLimiter::direct_with_clock(quota, clock))
    }

    /// Counts a request.
    pub(super) fn pass(&self) -> Result<(), Problem> {
        self.0.check().map_err(|early| {
            let wait = early.wait_time_from(self.0.clock().now());
            Problem::new(
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                code::RATE_LIMITED,
                "more requests than `receive.rate` allows a tenant",
            )
            .after(wait.as_secs() + 1)
        })
    }
}
