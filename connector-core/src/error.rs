//! The one error type of every connector.

use std::fmt;

use crate::retry::Retry;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What a caller does next about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing or wrong: a person corrects the configuration.
    Config,
    /// The source did not accept the credential: a person corrects it.
    Auth,
    /// The credential is good and lacks a right: a person grants it.
    Permission,
    /// The thing asked for does not exist: a view, a file, a data set.
    NotFound,
    /// The source does not collect the data set, which is no mistake: an optional inventory class
    /// that nobody switched on. An error only where there were records of it before.
    NotCollected,
    /// The source asked for patience; see [`Error::retry`].
    RateLimited,
    /// The source can't be reached or is down for now.
    Unavailable,
    /// The source answered with an error of its own.
    Source,
    /// What was read does not fit its declaration: a type, a null, a key.
    Data,
    /// Something arrived only in part: a cut reply, or a sink that lacks an earlier cycle.
    Incomplete,
    /// The delete guard holds the data set until a person approves or rejects the cycle.
    Held,
    /// The store's own files: disk full, damaged, in use by another process.
    Storage,
    /// A sink refused or failed.
    Sink,
    /// Stopped on request.
    Cancelled,
    /// A defect in this software.
    Unexpected,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::NotFound => "not found",
            Self::NotCollected => "not collected",
            Self::RateLimited => "rate limited",
            Self::Unavailable => "unavailable",
            Self::Source => "source",
            Self::Data => "data",
            Self::Incomplete => "incomplete",
            Self::Held => "held",
            Self::Storage => "storage",
            Self::Sink => "sink",
            Self::Cancelled => "cancelled",
            Self::Unexpected => "unexpected",
        })
    }
}

/// Tells what happened, where, whether to try again, and why.
///
/// One word wide. `{}` prints the message and its context; `{:#}` adds the chain of causes. No
/// secret, no URL query and no value of a row is ever part of a message.
///
/// ```
/// use connector_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Data, "the value is not a date")
///     .with("file", "devices.tsv")
///     .with("line", 7)
///     .with_source(std::io::Error::other("month 13"));
/// assert_eq!(error.to_string(), "the value is not a date (file: devices.tsv, line: 7)");
/// assert_eq!(format!("{error:#}"), "the value is not a date (file: devices.tsv, line: 7): month 13");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Source>,
}

impl Error {
    /// Makes an error that is not worth a retry, except for the kinds that pass by themselves
    /// ([`ErrorKind::RateLimited`] and [`ErrorKind::Unavailable`]).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable => Retry::Backoff,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// Adds where it happened: a data set, a file, a column, a row number; never a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, what: impl fmt::Display) -> Self {
        self.0.context.push((name, what.to_string()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether and when another attempt makes sense.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Returns what a caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether and when another attempt makes sense.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Returns the message without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns where it happened, as name and text, in the order it was added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .context
            .iter()
            .map(|(name, what)| (*name, what.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (name, what)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name}: {what}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if f.alternate() {
            let mut cause = self
                .0
                .source
                .as_ref()
                .map(|s| s.as_ref() as &dyn std::error::Error);
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    // A derived `Debug` would print the fields of every cause, and a cause of another crate may
    // keep a URL or a header there. The display chain is what we vouch for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}, {}: {self:#})", self.0.kind, self.0.retry)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn display_leaves_the_cause_to_the_alternate_form() {
        let error = Error::new(ErrorKind::Storage, "could not sync")
            .with_source(Error::new(ErrorKind::Storage, "disk full").with("path", "a"));
        assert_eq!(error.to_string(), "could not sync");
        assert_eq!(format!("{error:#}"), "could not sync: disk full (path: a)");
    }

    #[test]
    fn only_passing_kinds_ask_for_a_retry() {
        assert_eq!(
            Error::new(ErrorKind::Unavailable, "").retry(),
            Retry::Backoff
        );
        assert_eq!(Error::new(ErrorKind::Data, "").retry(), Retry::Never);
    }
}
