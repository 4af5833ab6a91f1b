//! What a server answers.

/// A reply: status, headers, and a body of chunks that may end too early.
///
/// ```
/// use connector_testkit::http::HttpReply;
///
/// let page = HttpReply::json(r#"{"value":[]}"#).header("request-id", "4711");
/// let throttled = HttpReply::status(429).header("retry-after", "2.5");
/// let cut = HttpReply::status(200).chunk(r#"{"value":[{"id":"#).cut();
/// assert_eq!((page.code(), throttled.code(), cut.code()), (200, 429, 200));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) end: End,
}

/// How a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// The connection is closed where the rest should follow.
    Cut,
    /// Nothing more comes, and the connection stays.
    Hang,
    /// The connection is closed, or stays, before anything was answered.
    CutAtOnce,
    HangAtOnce,
}

impl HttpReply {
    /// Makes a reply without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            chunks: Vec::new(),
            end: End::Whole,
        }
    }

    /// Makes a reply of status 200 that is JSON.
    pub fn json(text: impl Into<String>) -> Self {
        Self::status(200)
            .header("content-type", "application/json")
            .chunk(text.into())
    }

    /// Makes a reply that sends to another address.
    pub fn redirect(to: &str) -> Self {
        Self::status(302).header("location", to)
    }

    /// Makes no reply at all: the connection is closed.
    pub fn closed() -> Self {
        let mut reply = Self::status(200);
        reply.end = End::CutAtOnce;
        reply
    }

    /// Makes no reply at all: the connection stays open, and nothing comes.
    pub fn never() -> Self {
        let mut reply = Self::status(200);
        reply.end = End::HangAtOnce;
        reply
    }

    /// Sets the status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds to the body. Each call is a chunk of its own where the reply is chunked.
    pub fn chunk(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.chunks.push(bytes.into());
        self
    }

    /// Closes the connection after what was said so far, where more should follow.
    pub fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Sends nothing more after what was said so far, where more should follow.
    pub fn hang(mut self) -> Self {
        self.end = End::Hang;
        self
    }

    /// Returns the status.
    pub fn code(&self) -> u16 {
        self.status
    }

    /// Returns the headers, as they were added.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns the chunks of the body.
    pub fn chunks(&self) -> &[Vec<u8>] {
        &self.chunks
    }

    /// Returns whether the reply comes whole; for handlers that are called without a socket.
    pub fn is_whole(&self) -> bool {
        self.end == End::Whole
    }

    /// Returns whether the client waits for something that never comes.
    pub fn hangs(&self) -> bool {
        matches!(self.end, End::Hang | End::HangAtOnce)
    }

    /// Returns whether there is a status, and so a start of a reply.
    pub fn is_begun(&self) -> bool {
        !matches!(self.end, End::CutAtOnce | End::HangAtOnce)
    }
}
