//! Sending again what may be sent again.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{Clock, Error, Result, Retry, Timestamp};
use tokio::time::Instant;

use crate::{
    config::RetryConfig,
    error::Refusal,
    transport::{Request, Response, Transport},
};

/// The longest wait that is understood; a source that asks for more has made a mistake.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// The longest pause between attempts when the source names none.
const LONGEST_PAUSE: Duration = Duration::from_mins(3);

/// How often 500 and 502 are tried, which pass in practice but are meant to stay.
const OF_A_DEFECT: u32 = 4;

/// A layer that sends a request again when its error says that this can help.
///
/// It waits as long as the source asks, or else a random part of a growing pause. What it gives up
/// is [`Retry::Exhausted`], so that nobody above multiplies the attempts. It stands above the layer
/// that attaches credentials: the token is asked for anew with each attempt, which may come long
/// after the one before.
pub(crate) struct Retrying {
    inner: Arc<dyn Transport>,
    config: RetryConfig,
    random: Mutex<fastrand::Rng>,
}

impl Retrying {
    pub(crate) fn new(inner: Arc<dyn Transport>, config: RetryConfig, seed: u64) -> Self {
        Self {
            inner,
            config,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// Returns how long to wait after so many attempts, or none when that is it.
    fn wait(&self, error: &Error, attempts: u32) -> Option<Duration> {
        let most = match Refusal::of(error).map(|refusal| refusal.status.as_u16()) {
            Some(500 | 502) => self.config.attempts.min(OF_A_DEFECT),
            _ => self.config.attempts,
        };
        if attempts >= most {
            return None;
        }
        match error.retry() {
            Retry::After(wait) => Some(wait),
            Retry::Backoff => {
                let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
                let pause = self.config.pause.saturating_mul(doubled);
                let random = self
                    .random
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .f64();
                Some(pause.min(LONGEST_PAUSE).mul_f64(random))
            }
            Retry::Never | Retry::Restart | Retry::Exhausted => None,
        }
    }
}

#[async_trait]
impl Transport for Retrying {
    async fn send(&self, request: Request) -> Result<Response> {
        let start = Instant::now();
        let mut attempts = 0;
        loop {
            let error = match self.inner.send(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            attempts += 1;
            if matches!(error.retry(), Retry::Never | Retry::Exhausted) {
                return Err(error);
            }
            let spent = start.elapsed();
            let within = |wait: &Duration| spent.saturating_add(*wait) <= self.config.elapsed;
            let wait = self.wait(&error, attempts);
            let Some(wait) = wait.filter(within) else {
                let error = match wait {
                    Some(wait) => error.with("asked to wait", format!("{wait:.0?}")),
                    None => error,
                };
                return Err(error
                    .with_retry(Retry::Exhausted)
                    .with("attempts", attempts));
            };
            tracing::debug!(%error, ?wait, attempts, "sent again after a wait");
            tokio::time::sleep(wait).await;
        }
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Retrying").field(&self.inner).finish()
    }
}

/// Returns how long a reply asks to wait, rounded up to whole seconds.
pub(crate) fn retry_after(response: &Response, clock: &dyn Clock) -> Option<Duration> {
    // The source's own clock where it is told, since ours may differ.
    let now = || {
        response
            .header("date")
            .and_then(date)
            .unwrap_or_else(|| clock.now())
    };
    parse_retry_after(response.header("retry-after")?, now)
}

/// Reads the three forms of `Retry-After`: seconds (RFC 9110, 10.2.3), seconds with a fraction as
/// Graph sends them, and a date. Always rounded up: who comes early is counted again.
fn parse_retry_after(text: &str, now: impl FnOnce() -> Timestamp) -> Option<Duration> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let seconds: f64 = text.parse().ok().filter(|_| plain)?;
        // Long rows of digits are infinite, which is too long like all that is.
        let whole = seconds.ceil().min(LONGEST.as_secs_f64());
        return Duration::try_from_secs_f64(whole).ok();
    }
    let ticks = date(text)?.ticks().saturating_sub(now().ticks()).max(0);
    let seconds = u64::try_from(ticks).ok()?.div_ceil(10_000_000);
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// Reads a date in any of the three forms of RFC 9110, 5.6.7.
fn date(text: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Timestamp::from_ticks(i64::try_from(since.as_nanos() / 100).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<Duration> {
        parse_retry_after(text, || "2026-11-21T00:00:00.5Z".parse().unwrap())
    }

    #[test]
    fn what_is_no_wait_is_none() {
        for text in [
            "", "-1", "soon", "1e3", "1.2.3", ".", "inf", "NaN", "0x10", "3 s",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn dates_have_three_forms_and_may_be_over() {
        for (text, seconds) in [
            ("Sat, 21 Nov 2026 00:00:10 GMT", 10),
            ("Saturday, 21-Nov-26 00:00:10 GMT", 10),
            ("Sat Nov 21 00:00:10 2026", 10),
            ("Fri, 20 Nov 2026 00:00:10 GMT", 0),
            ("Thu, 21 Nov 2126 00:00:10 GMT", LONGEST.as_secs()),
        ] {
            assert_eq!(parsed(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_never_rounded_down(whole in 0..600_000_u64, part in proptest::option::of("[0-9]{0,9}")) {
            let text = match &part {
                Some(part) => format!("{whole}.{part}"),
                None => whole.to_string(),
            };
            let more = part.is_some_and(|part| part.bytes().any(|digit| digit != b'0'));
            let waited = parsed(&text).unwrap().as_secs();
            prop_assert_eq!(waited, whole + u64::from(more));
        }

        #[test]
        fn nothing_panics_or_waits_for_ever(text in "\\PC{0,40}|[0-9.]{0,400}") {
            prop_assert!(parsed(&text).unwrap_or_default() <= LONGEST);
        }
    }
}
