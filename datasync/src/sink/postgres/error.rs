//! What goes wrong between this program and a PostgreSQL server.

use std::fmt;

use connector_core::{Error, ErrorKind, Retry};
use tokio_postgres::error::{DbError, SqlState};

/// What the server said, without what it quotes: the details of a refusal have values of rows.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

impl From<&DbError> for Said {
    fn from(error: &DbError) -> Self {
        let mut said = format!("{} (SQLSTATE {})", error.message(), error.code().code());
        // Which views stand on a column is what a person needs to know, and names no value.
        if *error.code() == SqlState::DEPENDENT_OBJECTS_STILL_EXIST
            && let Some(detail) = error.detail()
        {
            said = format!("{said}: {}", detail.replace('\n', ", "));
        }
        Self(said)
    }
}

/// Wraps what went wrong. Retrying helps where it passes by itself: connections, locks, a server that
/// restarts or is full.
pub(super) fn failed(error: tokio_postgres::Error, message: &str) -> Error {
    let wrapped = Error::new(ErrorKind::Sink, message);
    let Some(said) = error.as_db_error() else {
        return wrapped.with_source(error).with_retry(Retry::Backoff);
    };
    let passes = ["08", "40", "53", "55P03", "57"];
    let retry = if passes
        .iter()
        .any(|code| said.code().code().starts_with(code))
    {
        Retry::Backoff
    } else {
        Retry::Never
    };
    wrapped.with_source(Said::from(said)).with_retry(retry)
}

/// Tells whether the server answered with that code.
pub(super) fn is(error: &tokio_postgres::Error, code: &SqlState) -> bool {
    error.code() == Some(code)
}
