//! Errors as answers: RFC 9457.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use connector_core::{Error, ErrorKind, Retry};
use serde::Serialize;

use crate::upload::{BatchError, code};

/// How long a sender waits for what ends by itself, in seconds.
const SOON: u64 = 5;

/// What is wrong with a request, or here. Its code is stable, its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    next_seq: Option<u64>,
    /// Seconds.
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_seq: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            next_seq: None,
            retry_after: None,
        }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::MALFORMED, detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code::UNAUTHORIZED, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code::NOT_FOUND, detail)
    }

    /// Events are missing before the ones that were sent.
    pub(super) fn gap(next_seq: u64) -> Self {
        let mut problem = Self::new(
            StatusCode::CONFLICT,
            code::GAP,
            format!("the receiver has not got event {next_seq} of the cycle"),
        );
        problem.next_seq = Some(next_seq);
        problem
    }

    /// The repository lacks the cycle before, or holds other rows than the source.
    pub(super) fn incomplete(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code::INCOMPLETE, detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE, detail)
    }

    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::BUSY, detail).after(SOON)
    }

    pub(super) fn unexpected() -> Self {
        let detail = "the receiver failed; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code::UNEXPECTED, detail)
    }

    /// Asks to come again after so many seconds.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Tells whether it is known to pass by itself, so that nothing need be sent again.
    pub(super) fn passes(&self) -> bool {
        self.retry_after.is_some()
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.code == code::INCOMPLETE
    }
}

/// What a repository or the spool says. What a sender can't change it is not told.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        match (error.kind(), error.retry()) {
            (ErrorKind::Incomplete, _) => Self::incomplete(error.message()),
            (ErrorKind::Cancelled, _) => Self::busy("the receiver is stopping"),
            (_, Retry::Backoff | Retry::After(_)) => Self::busy("the repository is in use"),
            (ErrorKind::Storage, _) => Self::unexpected(),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::REPOSITORY,
                error.message(),
            ),
        }
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::TooLarge(_) => Self::too_large(error.to_string()),
            BatchError::Malformed(..) => Self::malformed(error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            next_seq: self.next_seq,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
