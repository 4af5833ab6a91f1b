//! A transport that answers as scripted, and a clock that goes with tokio's.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use connector_core::{Clock, Error, ErrorKind, Result, Retry, Timestamp};
use connector_http::{Body, HttpConfig, Request, Response, Service, SignIn, Stack, Transport};
use connector_testkit::http::{HttpReply, HttpRequest};
use futures::stream;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use url::Url;

pub(crate) const SERVICE: Service = Service::new("The source").reply_ids(&["request-id"]);

pub(crate) fn url(text: &str) -> Url {
    text.parse().unwrap()
}

pub(crate) fn get(path: &str) -> Request {
    Request::get(url(&format!("https://source.test{path}")))
}

/// The stack as connectors have it, over a script.
pub(crate) fn stack(script: &Arc<Scripted>) -> Arc<dyn Transport> {
    layers(SERVICE, HttpConfig::default())
        .over(script.clone())
        .unwrap()
}

pub(crate) fn layers(service: Service, config: HttpConfig) -> Stack {
    Stack::new(service, config)
        .clock(Arc::new(TokioClock::new()))
        .seed(7)
}

pub(crate) fn signed_in(script: &Arc<Scripted>, sign_in: impl SignIn) -> Arc<dyn Transport> {
    layers(SERVICE, HttpConfig::default())
        .sign_in(&url("https://source.test"), Arc::new(sign_in))
        .over(script.clone())
        .unwrap()
}

/// 2026-11-21 at the start, and then as tokio's time goes.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let ticks = i64::try_from(self.elapsed().as_nanos() / 100).unwrap();
        Timestamp::from_ticks(start.ticks() + ticks).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

type Handler = dyn Fn(&HttpRequest) -> HttpReply + Send + Sync;

/// Answers by a function, and keeps what was asked and when.
pub(crate) struct Scripted {
    handler: Box<Handler>,
    start: Instant,
    seen: Mutex<Vec<(Duration, HttpRequest)>>,
}

impl Scripted {
    pub(crate) fn new(
        handler: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            start: Instant::now(),
            seen: Mutex::default(),
        })
    }

    /// Answers with these, one after the other, and with the last one for ever.
    pub(crate) fn in_turn(replies: impl IntoIterator<Item = HttpReply>) -> Arc<Self> {
        let replies: Vec<_> = replies.into_iter().collect();
        let next = Mutex::new(0);
        Self::new(move |_| {
            let mut next = next.lock().unwrap();
            let reply = replies[(*next).min(replies.len() - 1)].clone();
            *next += 1;
            reply
        })
    }

    pub(crate) fn requests(&self) -> Vec<HttpRequest> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(_, request)| request.clone()).collect()
    }

    /// When each request came, since the start.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(at, _)| *at).collect()
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
            let header = (name.to_string(), value.to_str().unwrap().to_owned());
            asked.headers.push(header);
        }
        asked.body = request.body.to_vec();
        let at = self.start.elapsed();
        self.seen.lock().unwrap().push((at, asked.clone()));
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
        let mut chunks: Vec<_> = reply
            .chunks()
            .iter()
            .cloned()
            .map(Bytes::from)
            .map(Ok)
            .collect();
        if !reply.is_whole() {
            let cut = Error::new(ErrorKind::Incomplete, "cut").with_retry(Retry::Backoff);
            chunks.push(Err(cut));
        }
        let status = StatusCode::from_u16(reply.code()).unwrap();
        let mut response = Response::new(status, request.url, Body::new(stream::iter(chunks)));
        for (name, value) in reply.headers() {
            response.headers.append(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        Ok(response)
    }
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = response.bytes(1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
