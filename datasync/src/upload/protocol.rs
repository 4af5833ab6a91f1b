//! The requests and answers of the protocol, version 1.

use std::{sync::Arc, time::Duration};

use connector_core::{CycleId, DatasetId, Digest, KeyRange, RangeDigest, Schema, Secret};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The media type of a batch.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// How a batch is compressed: RFC 8878.
pub(crate) const ENCODING: &str = "zstd";

/// The smallest limit that a receiver may set on a batch, decompressed, in bytes.
pub(crate) const LEAST_BATCH: u64 = 64 << 10;

/// How long a setup token is valid: as the documentation of the DataSync Agent says, six days.
pub(crate) const SETUP_LIFE: Duration = Duration::from_hours(24 * 6);

/// How a client proves itself: RFC 7523, 2.2.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What tells errors apart; stable.
pub(crate) mod code {
    pub(crate) const MALFORMED: &str = "malformed";
    pub(crate) const UNAUTHORIZED: &str = "unauthorized";
    pub(crate) const SYNC_NOT_ALLOWED: &str = "sync_not_allowed";
    pub(crate) const NOT_FOUND: &str = "not_found";
    pub(crate) const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    pub(crate) const GAP: &str = "gap";
    pub(crate) const INCOMPLETE: &str = "incomplete";
    pub(crate) const TOO_LARGE: &str = "too_large";
    pub(crate) const UNSUPPORTED: &str = "unsupported";
    pub(crate) const RATE_LIMITED: &str = "rate_limited";
    pub(crate) const BUSY: &str = "busy";
    pub(crate) const SPOOL_FULL: &str = "spool_full";
    pub(crate) const REPOSITORY: &str = "repository";
    pub(crate) const UNEXPECTED: &str = "unexpected";
}

/// How far the receiver is with a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last cycle in the repository; none when it does not hold the data set.
    pub(crate) committed: Option<Committed>,
    /// The cycle on its way.
    pub(crate) spooled: Option<Spooled>,
    /// How many bytes a batch may have, decompressed.
    pub(crate) largest_batch: u64,
}

/// A cycle that is in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) cycle: CycleId,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
}

/// A cycle of which some events have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spooled {
    pub(crate) cycle: CycleId,
    /// The first event that has not.
    pub(crate) next_seq: u64,
}

/// The answer to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) next_seq: u64,
}

/// The request that ends a cycle; the answer is a [`Committed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commit {
    /// How many events the cycle has.
    pub(crate) events: u64,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
}

/// The request that exchanges a setup token for a certificate.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    pub(crate) token: String,
    /// PEM.
    pub(crate) csr: String,
}

/// The request that exchanges a certificate for a newer one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renew {
    /// Signed with the present certificate's key, as for a bearer token.
    pub(crate) client_assertion: String,
    /// PEM.
    pub(crate) csr: String,
}

/// The answer to both.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    /// PEM.
    pub(crate) certificate: String,
    /// Whom the client's assertions are addressed to.
    pub(crate) audience: String,
}

/// The answer to a request for a bearer token.
#[derive(Debug, Deserialize)]
pub(crate) struct AccessToken {
    pub(crate) access_token: Secret,
    /// Seconds.
    pub(crate) expires_in: u64,
}

/// The question what a receiver holds in ranges of key hashes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ranges {
    pub(crate) schema: Arc<Schema>,
    /// In order and apart.
    pub(crate) ranges: Vec<KeyRange>,
}

/// How many rows it holds there, and their digests.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RangesCounted {
    /// One a range; none when it does not hold the data set with columns that fit.
    pub(crate) digests: Option<Vec<RangeDigest>>,
}

/// The digests of the rows that it holds there, in the order of key hashes.
#[derive(Debug, Deserialize)]
pub(crate) struct RowsFound<'a> {
    #[serde(borrow)]
    pub(crate) rows: Vec<&'a RawValue>,
}

/// What a cycle means to a receiver that has committed what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is here already, or the same state is, delivered whole before.
    Repeat,
    Next,
    /// The cycle before it is missing.
    Incomplete,
}

impl Standing {
    pub(crate) fn of(cycle: CycleId, committed: Option<&Committed>) -> Self {
        let Some(held) = committed.map(|committed| committed.cycle) else {
            return if cycle.is_full() {
                Self::Next
            } else {
                Self::Incomplete
            };
        };
        if cycle.is_repair() {
            // One of the same name may say something else: it leads from the rows as they were.
            Self::Next
        } else if held == cycle {
            Self::Repeat
        } else if cycle.is_full() {
            Self::Next
        } else if (held.number(), held.at()) == (cycle.number(), cycle.at()) {
            Self::Repeat
        } else if held.number() + 1 == cycle.number() {
            Self::Next
        } else {
            Self::Incomplete
        }
    }
}

/// Returns the path of a data set, without a slash in front.
pub(crate) fn dataset_path(id: &DatasetId) -> String {
    let mut path = "v1/datasets".to_owned();
    for name in [id.connector(), id.dataset()] {
        path.push('/');
        escape(name, &mut path);
    }
    path
}

/// Encodes all but what RFC 3986, 2.3 calls unreserved. A name of points alone would be taken for a
/// step upwards.
fn escape(name: &str, out: &mut String) {
    use std::fmt::Write;

    let points = name.bytes().all(|byte| byte == b'.');
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        if plain || (byte == b'.' && !points) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(text: &str) -> CycleId {
        text.parse().unwrap()
    }

    #[test]
    fn a_cycle_follows_the_one_before_or_begins_anew() {
        let held = |text: &str| Committed {
            cycle: cycle(text),
            rows: 0,
            digest: Digest::default(),
        };
        for (coming, committed, standing) in [
            ("2026-11-21T00:00:00Z.1", None, Standing::Incomplete),
            ("2026-11-21T00:00:00Z.1.full", None, Standing::Next),
            (
                "2026-11-21T00:00:00Z.2",
                Some("2026-11-20T00:00:00Z.1.full"),
                Standing::Next,
            ),
            (
                "2026-11-21T00:00:00Z.2",
                Some("2026-11-21T00:00:00Z.2"),
                Standing::Repeat,
            ),
            (
                "2026-11-21T00:00:00Z.2",
                Some("2026-11-21T00:00:00Z.2.full"),
                Standing::Repeat,
            ),
            (
                "2026-11-21T00:00:00Z.2.full",
                Some("2026-11-21T00:00:00Z.2"),
                Standing::Next,
            ),
            (
                "2026-11-21T00:00:00Z.2",
                Some("2026-11-20T00:00:00Z.2.full"),
                Standing::Incomplete,
            ),
            (
                "2026-11-21T00:00:00Z.3",
                Some("2026-11-20T00:00:00Z.1"),
                Standing::Incomplete,
            ),
            (
                "2026-11-21T00:00:00Z.1.full",
                Some("2026-11-20T00:00:00Z.7"),
                Standing::Next,
            ),
            ("2026-11-21T00:00:00Z.2.repair", None, Standing::Incomplete),
            (
                "2026-11-21T00:00:00Z.2.repair",
                Some("2026-11-21T00:00:00Z.2.repair"),
                Standing::Next,
            ),
            (
                "2026-11-21T00:00:00Z.2",
                Some("2026-11-21T00:00:00Z.2.repair"),
                Standing::Repeat,
            ),
        ] {
            let committed = committed.map(held);
            assert_eq!(
                Standing::of(cycle(coming), committed.as_ref()),
                standing,
                "{coming} after {committed:?}"
            );
        }
    }

    #[test]
    fn any_name_is_two_segments_of_a_path() {
        for (connector, dataset, path) in [
            ("hr", "v_R_System", "v1/datasets/hr/v_R_System"),
            ("hr", "a/b?c#d%", "v1/datasets/hr/a%2Fb%3Fc%23d%25"),
            ("hr", "..", "v1/datasets/hr/%2E%2E"),
            ("hr", "a.b", "v1/datasets/hr/a.b"),
            ("hr", "Geräte", "v1/datasets/hr/Ger%C3%A4te"),
        ] {
            assert_eq!(dataset_path(&DatasetId::new(connector, dataset)), path);
        }
    }
}
