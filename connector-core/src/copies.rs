//! What a sink holds, so that only what differs is sent again.

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    error::Result,
    event::{DatasetId, Digest},
    row::{Batch, KeyHash, Row, RowHash, RowRef, encode_key},
    schema::Schema,
};

/// The rows that a sink holds, as it can tell of them.
///
/// A sink that lacks a cycle, or whose rows turn out to be others than the source's, is asked for
/// the digests of ever narrower ranges of keys, then for the digests of single rows. What differs
/// is sent to it as a [repair](crate::CycleId::is_repair).
///
/// Both questions are answered by one pass over all rows, with [`RangeDigests`] and [`DigestRows`].
#[async_trait]
pub trait Copies: Send {
    /// Counts and digests the rows held in each range; `ranges` are in order and apart. None when
    /// the sink does not hold the data set, or not in columns that `schema` extends.
    ///
    /// Rows are read as rows of `schema`, whose further columns are null in them.
    ///
    /// # Errors
    ///
    /// The data set is asked for again in its next cycle.
    async fn digests(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>>;

    /// Returns the [digest](Row::is_digest) of every row held in the ranges, in the order of key
    /// hashes.
    ///
    /// # Errors
    ///
    /// The data set is asked for again in its next cycle.
    async fn rows(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<Row>>;
}

/// A range of key hashes with both its ends.
///
/// As text, two times 32 hexadecimal digits: `000…000-0ff…fff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRange {
    first: KeyHash,
    last: KeyHash,
}

/// How many rows of a range there are, and their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RangeDigest {
    /// How many rows.
    pub rows: u64,
    /// The digest of them all.
    pub digest: Digest,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self {
        first: KeyHash(0),
        last: KeyHash(u128::MAX),
    };

    /// Tells whether a key is in the range.
    pub fn has(self, key: KeyHash) -> bool {
        self.first <= key && key <= self.last
    }

    /// Tells whether all of the range comes before a key.
    pub(crate) fn ends_before(self, key: KeyHash) -> bool {
        self.last < key
    }

    /// Cuts the range into parts of about equal width, in order: `parts` of them, or fewer when it
    /// has no more hashes.
    pub(crate) fn split(self, parts: u32) -> impl Iterator<Item = Self> {
        let width = self.last.0 - self.first.0;
        let parts = u128::from(parts.max(1)).min(width.saturating_add(1));
        let step = width / parts;
        let first = move |part: u128| self.first.0 + part * step + part.min(width % parts);
        (0..parts).map(move |part| Self {
            first: KeyHash(first(part)),
            last: KeyHash(if part + 1 == parts {
                self.last.0
            } else {
                first(part + 1) - 1
            }),
        })
    }
}

/// Finds the range that a key is in, among ranges in order and apart.
fn range_of(ranges: &[KeyRange], key: KeyHash) -> Option<usize> {
    let at = ranges.partition_point(|range| range.ends_before(key));
    ranges
        .get(at)
        .is_some_and(|range| range.has(key))
        .then_some(at)
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:032x}", self.first.0, self.last.0)
    }
}

impl FromStr for KeyRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = |digits: &str| {
            let hash = u128::from_str_radix(digits, 16).ok()?;
            (digits.len() == 32 && !digits.starts_with('+')).then_some(KeyHash(hash))
        };
        let ends = text.split_once('-');
        let ends = ends.and_then(|(first, last)| Some((hash(first)?, hash(last)?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err("not a range of key hashes"),
        }
    }
}

impl Serialize for KeyRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl RangeDigest {
    pub(crate) fn add(&mut self, key: KeyHash, row: RowHash) {
        self.rows += 1;
        self.digest.add_hashes(key, row);
    }
}

/// Counts and digests rows by the range that their key is in: the answer to [`Copies::digests`].
#[derive(Debug)]
pub struct RangeDigests<'a> {
    ranges: &'a [KeyRange],
    digests: Vec<RangeDigest>,
    key: Vec<u8>,
}

impl<'a> RangeDigests<'a> {
    /// Begins with no rows. The ranges are in order and apart.
    pub fn new(ranges: &'a [KeyRange]) -> Self {
        Self {
            ranges,
            digests: vec![RangeDigest::default(); ranges.len()],
            key: Vec::new(),
        }
    }

    /// Counts in the rows of a batch that are in a range.
    pub fn add_batch(&mut self, batch: &Batch) {
        for row in batch.rows() {
            let key = hash(row, &mut self.key);
            if let Some(range) = range_of(self.ranges, key) {
                self.digests[range].add(key, RowHash::of(row));
            }
        }
    }

    pub(crate) fn add(&mut self, key: KeyHash, row: RowHash) {
        if let Some(range) = range_of(self.ranges, key) {
            self.digests[range].add(key, row);
        }
    }

    /// Returns what was counted, a range after the other.
    pub fn finish(self) -> Vec<RangeDigest> {
        self.digests
    }
}

/// Collects the digests of rows whose key is in one of some ranges: the answer to
/// [`Copies::rows`].
#[derive(Debug)]
pub struct DigestRows<'a> {
    ranges: &'a [KeyRange],
    digest: Batch,
    schema: Arc<Schema>,
    rows: Vec<(KeyHash, Row)>,
    key: Vec<u8>,
}

impl<'a> DigestRows<'a> {
    /// Begins with no rows of `schema`. The ranges are in order and apart.
    pub fn new(schema: &Arc<Schema>, ranges: &'a [KeyRange]) -> Self {
        let digests = Arc::new(schema.digests_to_send());
        Self {
            ranges,
            digest: Batch::new(Arc::clone(&digests)),
            schema: digests,
            rows: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Adds the rows of a batch that are in a range.
    pub fn add_batch(&mut self, batch: &Batch) {
        for row in batch.rows() {
            let key = hash(row, &mut self.key);
            if range_of(self.ranges, key).is_some() {
                self.digest.write_digest(row, RowHash::of(row));
                let digest = RowRef::new(&self.schema, self.digest.first());
                self.rows.push((key, digest.to_row(&self.schema)));
            }
        }
    }

    /// Returns the digests in the order of key hashes.
    pub fn finish(mut self) -> Vec<Row> {
        self.rows.sort_unstable_by_key(|(key, _)| *key);
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn hash(row: RowRef<'_>, key: &mut Vec<u8>) -> KeyHash {
    key.clear();
    encode_key(row, key);
    KeyHash::of(key)
}
