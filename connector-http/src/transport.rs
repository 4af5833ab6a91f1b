//! The one trait that moves bytes, and what goes in and comes out.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use connector_core::{Error, ErrorKind, Result, Secret};
use futures::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

/// Sends one request and returns the reply.
///
/// Layers wrap one another: [`Stack`](crate::Stack) puts them together. The innermost transport
/// returns every reply as `Ok`, whatever its status; what a `Stack` makes returns those of status
/// 2xx only, and everything else as an error that has a [`Refusal`](crate::Refusal) as its cause.
/// Safe to drop at any await.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends a request. The future ends when the reply's headers are there, or with its whole body
    /// for [`Receive::Whole`] through a stack.
    ///
    /// # Errors
    ///
    /// By what was wrong: see [`ErrorKind`]. [`Error::retry`] says whether the same request may be
    /// sent again, so never for one that is not idempotent and may have arrived.
    async fn send(&self, request: Request) -> Result<Response>;
}

/// Whether the connector's credential goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Credential {
    /// The sign-in's token is attached. Only hosts that the stack was told of get it.
    #[default]
    Attach,
    /// Nothing is attached: for what another host serves, such as a redirect's target.
    None,
}

/// How the reply's body is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receive {
    /// Whole, before [`Transport::send`] of a stack returns: a body that is cut is asked for again.
    /// At most `largest_page` of the settings.
    #[default]
    Whole,
    /// As it arrives; what is cut is an error of the reader. At most `largest_download` of the
    /// settings.
    Stream,
}

/// A request, which can be sent again.
///
/// ```
/// use connector_http::Request;
///
/// let request = Request::get("https://graph.microsoft.com/v1.0/users?$top=999".parse()?)
///     .header("consistencylevel", "eventual")?
///     .group("directory");
/// // Neither queries nor the values of headers are shown.
/// assert!(!format!("{request:?}").contains("top"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address, with its query.
    pub url: Url,
    /// The headers, without the credential's.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// Whether sending it twice does no more than sending it once. Default: true for GET and HEAD.
    pub idempotent: bool,
    /// Which of the source's limits it counts against. Default: the empty name.
    pub group: &'static str,
    /// Whether the credential goes along. Default: [`Credential::Attach`].
    pub credential: Credential,
    /// How the body of the reply is received. Default: [`Receive::Whole`].
    pub receive: Receive,
    pub(crate) hidden: Vec<Secret>,
}

impl Request {
    /// Makes a request with a method.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            idempotent: matches!(method, Method::GET | Method::HEAD),
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            group: "",
            credential: Credential::default(),
            receive: Receive::default(),
            hidden: Vec::new(),
        }
    }

    /// Makes a GET.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Makes a POST of a body of this type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the type is no text of a header.
    pub fn post(url: Url, content_type: &str, body: impl Into<Bytes>) -> Result<Self> {
        let mut request = Self::new(Method::POST, url);
        request.body = body.into();
        request.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// Makes a POST of a form, as sign-ins take it. Names and values are encoded.
    pub fn form<'a>(url: Url, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut request = Self::new(Method::POST, url);
        request.body = body.into();
        request.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request
    }

    /// Sets a header.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when name or value can't stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let wrong = |error: http::Error| {
            Error::new(ErrorKind::Unexpected, "not a header")
                .with("header", name)
                .with_source(error)
        };
        let header = HeaderName::try_from(name).map_err(|e| wrong(e.into()))?;
        let value = HeaderValue::try_from(value).map_err(|e| wrong(e.into()))?;
        self.headers.insert(header, value);
        Ok(self)
    }

    /// Sets the limit that it counts against.
    #[must_use]
    pub fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// Says that sending it twice does no more than sending it once.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Leaves the credential out.
    #[must_use]
    pub fn without_credential(mut self) -> Self {
        self.credential = Credential::None;
        self
    }

    /// Takes a secret that goes along out of every message that the reply leads to, should the
    /// source repeat it there.
    #[must_use]
    pub fn hide(mut self, secret: Secret) -> Self {
        self.hidden.push(secret);
        self
    }

    /// Receives the body as it arrives.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.receive = Receive::Stream;
        self
    }
}

/// Without query, values of headers, and body.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &shown(&self.url))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// Returns an address as it may be shown: without user, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// A reply.
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The address that replied.
    pub url: Url,
    /// The body.
    pub body: Body,
    /// What was sent along and is taken out of every message that the reply leads to.
    pub(crate) hidden: Vec<Secret>,
}

impl Response {
    /// Makes a reply; for transports other than the one of this crate.
    pub fn new(status: StatusCode, url: Url, body: Body) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            url,
            body,
            hidden: Vec::new(),
        }
    }

    /// Returns the text of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the whole body, of at most so many bytes. Nothing is copied for a reply that was
    /// received whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] when the body is larger; [`ErrorKind::Incomplete`] when it was cut.
    pub async fn bytes(self, cap: u64) -> Result<Bytes> {
        self.body.capped(cap).bytes().await
    }
}

/// Without values of headers and body.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("url", &shown(&self.url))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The body of a reply: chunks of bytes, decompressed, and no more of them than allowed.
pub struct Body {
    chunks: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
    /// How many more bytes may come, and how many were allowed at first.
    left: u64,
    cap: u64,
}

impl Body {
    /// Makes a body of chunks.
    pub fn new(chunks: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self {
            chunks: Box::pin(chunks),
            left: u64::MAX,
            cap: u64::MAX,
        }
    }

    /// Makes more than so many bytes an error.
    #[must_use]
    pub fn capped(mut self, cap: u64) -> Self {
        if cap < self.left {
            self.left = cap;
            self.cap = cap;
        }
        self
    }

    /// Tells how many bytes each chunk has.
    pub(crate) fn counted(self, mut count: impl FnMut(u64) + Send + 'static) -> Self {
        Self {
            left: self.left,
            cap: self.cap,
            chunks: Box::pin(self.chunks.inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    count(chunk.len() as u64);
                }
            })),
        }
    }

    /// Returns the next chunk, or none at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] for more bytes than allowed; [`ErrorKind::Incomplete`] when the body
    /// was cut.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.next().await.transpose()
    }

    /// Returns the rest as one piece.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub async fn bytes(mut self) -> Result<Bytes> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::with_capacity((first.len() + second.len()) * 2);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        Self::new(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.chunks.as_mut().poll_next(cx));
        Poll::Ready(next.map(|chunk| {
            let chunk = chunk?;
            match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Ok(chunk)
                }
                None => Err(Error::new(
                    ErrorKind::Source,
                    format!("the reply has more than the {} bytes allowed", self.cap),
                )),
            }
        }))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: &'static [&'static str]) -> Body {
        Body::new(stream::iter(
            chunks.iter().map(|c| Ok(Bytes::from_static(c.as_bytes()))),
        ))
    }

    #[tokio::test]
    async fn a_body_is_put_together_and_capped() {
        for chunks in [&[][..], &["abcd"], &["a", "bcd"], &["a", "", "b", "cd"]] {
            let whole: String = chunks.concat();
            assert_eq!(body(chunks).bytes().await.unwrap(), whole);
            assert_eq!(body(chunks).capped(4).bytes().await.unwrap(), whole);
            if !whole.is_empty() {
                let error = body(chunks).capped(3).bytes().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Source);
                assert!(error.message().contains("3 bytes"), "{error}");
            }
        }
        // A later, larger cap lifts nothing.
        assert!(body(&["abcd"]).capped(3).capped(9).bytes().await.is_err());
    }

    #[test]
    fn a_form_is_encoded() {
        let url: Url = "https://login.test/token".parse().unwrap();
        let request = Request::form(url, [("client_secret", "a+b&c=ü")]);
        assert_eq!(request.body, "client_secret=a%2Bb%26c%3D%C3%BC");
        assert!(!request.idempotent && !format!("{request:?}").contains("a%2B"));
    }
}
