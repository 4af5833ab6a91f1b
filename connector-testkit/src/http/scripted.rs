//! A transport that answers as scripted, and a clock that goes with tokio's.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use connector_core::{Clock, Error, ErrorKind, Result, Retry, Timestamp};
use connector_http::{Body, Request, Response, Transport};
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{HttpReply, HttpRequest};

/// A [`Clock`] that goes as tokio's time does, which tests can stop: 21 November 2026 at midnight
/// where it is made.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock(Instant);

/// 21 November 2026, in ticks of 100 ns since 1970.
const START: i64 = 17_952_192_000_000_000;

impl TokioClock {
    /// Makes a clock that starts now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        i64::try_from(self.elapsed().as_nanos() / 100)
            .ok()
            .and_then(|ticks| Timestamp::from_ticks(START + ticks).ok())
            .unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

type Handler = dyn Fn(&HttpRequest) -> HttpReply + Send + Sync;

/// A [`Transport`] without a socket, for tests whose time stands still: it answers by a function,
/// and keeps what was asked and when.
///
/// The function gets the whole address as [`HttpRequest::target`].
///
/// ```
/// use connector_testkit::http::{HttpReply, Scripted};
///
/// let source = Scripted::new(|request| match request.path() {
///     "https://source.test/users" => HttpReply::json(r#"{"value":[]}"#),
///     _ => HttpReply::status(404),
/// });
/// assert!(source.requests().is_empty());
/// ```
pub struct Scripted {
    handler: Box<Handler>,
    start: Instant,
    seen: Mutex<Vec<(Duration, HttpRequest)>>,
}

impl Scripted {
    /// Answers by that function.
    pub fn new(handler: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            start: Instant::now(),
            seen: Mutex::default(),
        })
    }

    /// Answers with these, one after the other, and with the last one for ever.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn in_turn(replies: impl IntoIterator<Item = HttpReply>) -> Arc<Self> {
        let replies: Vec<_> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "there is no reply to answer with");
        let next = Mutex::new(0);
        Self::new(move |_| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = replies[(*next).min(replies.len() - 1)].clone();
            *next += 1;
            reply
        })
    }

    /// Returns the requests that came, in order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.seen().iter().map(|(_, asked)| asked.clone()).collect()
    }

    /// Returns when each request came, since the start.
    pub fn times(&self) -> Vec<Duration> {
        self.seen().iter().map(|(at, _)| *at).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Duration, HttpRequest)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Request) -> Result<Response> {
        let mut asked = HttpRequest::new(request.method.as_str(), request.url.as_str());
        for (name, value) in &request.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            asked.headers.push((name.to_string(), value));
        }
        asked.body = request.body.to_vec();
        let at = self.start.elapsed();
        self.seen().push((at, asked.clone()));
        // Others get to send theirs before this one's reply is there.
        tokio::task::yield_now().await;
        let reply = (self.handler)(&asked);
        if !reply.is_begun() {
            if reply.hangs() {
                std::future::pending::<()>().await;
            }
            let retry = if request.idempotent {
                Retry::Backoff
            } else {
                Retry::Never
            };
            return Err(Error::new(ErrorKind::Unavailable, "no reply").with_retry(retry));
        }
        let status = StatusCode::from_u16(reply.code()).map_err(unfit)?;
        let mut response = Response::new(status, request.url, body(&reply));
        for (name, value) in reply.headers() {
            let name = HeaderName::try_from(name).map_err(unfit)?;
            let value = HeaderValue::try_from(value).map_err(unfit)?;
            response.headers.append(name, value);
        }
        Ok(response)
    }
}

fn body(reply: &HttpReply) -> Body {
    let chunks: Vec<_> = reply.chunks().iter().cloned().map(Bytes::from).collect();
    let chunks = stream::iter(chunks).map(Ok);
    if reply.is_whole() {
        Body::new(chunks)
    } else if reply.hangs() {
        Body::new(chunks.chain(stream::pending()))
    } else {
        let cut = Error::new(ErrorKind::Incomplete, "cut").with_retry(Retry::Backoff);
        Body::new(chunks.chain(stream::iter([Err(cut)])))
    }
}

/// What a script says that HTTP does not have.
fn unfit(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the scripted reply is none of HTTP").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_goes_with_tokio() {
        let clock = TokioClock::new();
        assert_eq!(clock.now().to_string(), "2026-11-21T00:00:00Z");
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().to_string(), "2026-11-21T00:01:30Z");
    }
}
