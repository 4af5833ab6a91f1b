//! Advice on whether a failed operation is worth another attempt.

use std::{fmt, time::Duration};

/// Says whether and when another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// The same call fails the same way until somebody changes something.
    #[default]
    Never,
    /// May pass by itself; wait a growing while between attempts.
    Backoff,
    /// The other side named the wait.
    After(Duration),
    /// The source has forgotten where the read was: what was read counts for nothing, and the read
    /// can start from its beginning at once. A [`Cycle`](crate::Cycle) does that by itself, up to
    /// five times.
    Restart,
    /// A layer below has already tried as often as it may. Outer layers must not try again, or
    /// attempts multiply.
    Exhausted,
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("no retry"),
            Self::Backoff => f.write_str("retry later"),
            Self::After(wait) => write!(f, "retry after {wait:?}"),
            Self::Restart => f.write_str("read again"),
            Self::Exhausted => f.write_str("retries exhausted"),
        }
    }
}
