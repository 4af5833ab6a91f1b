//! What a sink receives.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    row::{Batch, KeyHash, Row, RowHash, encode_key},
    schema::Schema,
    time::Timestamp,
};
use twox_hash::XxHash3_128;

/// Names a data set of a configured connector. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetId(Arc<(Box<str>, Box<str>)>);

impl DatasetId {
    /// Takes the connector's configured name and the data set's name.
    pub fn new(connector: &str, dataset: &str) -> Self {
        Self(Arc::new((connector.into(), dataset.into())))
    }

    /// Returns the connector's configured name.
    pub fn connector(&self) -> &str {
        &self.0.0
    }

    /// Returns the data set's name.
    pub fn dataset(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector(), self.dataset())
    }
}

impl fmt::Debug for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatasetId({self})")
    }
}

/// Names a cycle of one data set: the same whenever it is delivered, and no other cycle's even
/// when the state folder was lost and made anew.
///
/// As text: when it was committed, its number, and how it leads there if not from the cycle before:
/// `2026-11-21T03:08:00Z.42`, `2026-11-21T03:08:00Z.42.full` or `2026-11-21T03:08:00Z.42.repair`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CycleId {
    number: u64,
    at: Timestamp,
    from: Start,
}

/// What a cycle's events lead from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Start {
    /// The cycle with the number before it.
    Before,
    /// Nothing.
    Nothing,
    /// What the sink said that it holds.
    Copy,
}

impl Start {
    /// How an id ends.
    fn suffix(self) -> &'static str {
        match self {
            Self::Before => "",
            Self::Nothing => ".full",
            Self::Copy => ".repair",
        }
    }
}

impl CycleId {
    /// Names a cycle. Hosts receive ids and do not make them; this is for tests of sinks.
    pub fn new(number: u64, at: Timestamp, full: bool) -> Self {
        let from = if full { Start::Nothing } else { Start::Before };
        Self { number, at, from }
    }

    /// Returns the number: 1 for the first committed cycle of a data set, and one more for each
    /// cycle that changed something. A sink that holds `n` takes `n + 1`, or any full cycle.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Returns when the cycle was committed.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// Tells whether the cycle carries the whole data set, beginning with a truncate.
    pub fn is_full(self) -> bool {
        self.from == Start::Nothing
    }

    /// Tells whether the cycle carries what differs from the rows that a sink's
    /// [`Copies`](crate::Copies) named, wherever that sink stood.
    pub fn is_repair(self) -> bool {
        self.from == Start::Copy
    }

    /// The same state of the data set, delivered whole.
    pub(crate) fn as_full(self) -> Self {
        let from = Start::Nothing;
        Self { from, ..self }
    }

    /// The same state of the data set, delivered as what a sink lacks of it.
    #[must_use]
    pub fn as_repair(self) -> Self {
        let from = Start::Copy;
        Self { from, ..self }
    }
}

impl fmt::Display for CycleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.at, self.number, self.from.suffix())
    }
}

impl fmt::Debug for CycleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CycleId({self})")
    }
}

impl FromStr for CycleId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a cycle id";
        let marked = [Start::Nothing, Start::Copy];
        let (text, from) = marked
            .into_iter()
            .find_map(|from| Some((text.strip_suffix(from.suffix())?, from)))
            .unwrap_or((text, Start::Before));
        let (at, number) = text.rsplit_once('.').ok_or(WRONG)?;
        Ok(Self {
            number: number.parse().map_err(|_| WRONG)?,
            at: at.parse().map_err(|_| WRONG)?,
            from,
        })
    }
}

impl Serialize for CycleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CycleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Proves that two copies of a data set are equal, whatever the order of their rows.
///
/// The wrapping sum, over all rows, of the 128-bit XXH3 of the row's key hash and row hash (16 and
/// 8 bytes, little-endian). So it can be kept up row by row. Volatile columns do not count.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{Digest, Row, Value, schema::{Declared, Schema, int, text}};
///
/// const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores")]);
/// let schema = Arc::new(Schema::from(DEVICES));
/// let row = |name, cores| Row::from_values(&schema, &[Value::Text(name), Value::Int(cores)]);
/// let (a, b) = (row("PC-1".into(), 4)?, row("PC-2".into(), 8)?);
///
/// let mut one = Digest::default();
/// one.add(&a);
/// one.add(&b);
/// let mut other = Digest::default();
/// other.add(&b);
/// other.add(&a);
/// assert_eq!(one, other);
/// other.remove(&b);
/// assert_ne!(one, other);
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(u128);

impl Digest {
    /// Counts a row in.
    pub fn add(&mut self, row: &Row) {
        self.add_hashes(row.key().hash(), RowHash::of(row.as_ref()));
    }

    /// Counts in every row of a batch.
    pub fn add_batch(&mut self, batch: &Batch) {
        let mut key = Vec::new();
        for row in batch.rows() {
            key.clear();
            encode_key(row, &mut key);
            self.add_hashes(KeyHash::of(&key), RowHash::of(row));
        }
    }

    /// Counts a row out.
    pub fn remove(&mut self, row: &Row) {
        self.remove_hashes(row.key().hash(), RowHash::of(row.as_ref()));
    }

    pub(crate) fn add_hashes(&mut self, key: KeyHash, row: RowHash) {
        self.0 = self.0.wrapping_add(part(key, row));
    }

    pub(crate) fn remove_hashes(&mut self, key: KeyHash, row: RowHash) {
        self.0 = self.0.wrapping_sub(part(key, row));
    }
}

/// The digest of both together.
impl std::ops::Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

fn part(key: KeyHash, row: RowHash) -> u128 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&key.0.to_le_bytes());
    bytes[16..].copy_from_slice(&row.0.to_le_bytes());
    XxHash3_128::oneshot(&bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u128::from_str_radix(text, 16) {
            Ok(sum) if text.len() == 32 => Ok(Self(sum)),
            _ => Err("not a digest"),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// One change of a data set, named so that a repeat can be told from a new one.
///
/// `(dataset, cycle, seq)` is the same whenever the event is delivered again.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// Whose change it is.
    pub dataset: DatasetId,
    /// The cycle that found it.
    pub cycle: CycleId,
    /// Its place within the cycle, from 1 without gaps.
    pub seq: u64,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The receiver empties its copy of the data set: every row follows. Names the columns, so
    /// that an empty data set has a shape too.
    Truncate {
        /// The columns of the rows that follow.
        schema: Arc<Schema>,
    },
    /// A record that was not there before.
    Insert {
        /// The record as it is now.
        after: Row,
    },
    /// A record whose key stayed and whose other columns did not.
    Update {
        /// The record as it was, or its [digest](Row::is_digest).
        before: Row,
        /// The record as it is now.
        after: Row,
    },
    /// A record that is no longer there.
    Delete {
        /// The record as it was, or its [digest](Row::is_digest).
        before: Row,
    },
    /// The end of a cycle: the receiver's copy is whole and must match.
    SnapshotComplete {
        /// How many rows the data set has now.
        rows: u64,
        /// The digest of all its rows.
        digest: Digest,
    },
}

impl Change {
    /// Returns the name of the kind: `truncate`, `insert`, `update`, `delete` or
    /// `snapshot_complete`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Truncate { .. } => "truncate",
            Self::Insert { .. } => "insert",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::SnapshotComplete { .. } => "snapshot_complete",
        }
    }

    /// Returns the names of the columns that an update changed, in the schema's order; of none
    /// for the other kinds, and where only a digest of the record as it was is left.
    pub fn changed(&self) -> Vec<&str> {
        match self {
            Self::Update { before, after } if !before.is_digest() => after
                .changed(before)
                .into_iter()
                .map(|column| after.schema().columns()[column].name())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// How many events of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// [`Change::Truncate`]
    pub truncates: u64,
    /// [`Change::Insert`]
    pub inserts: u64,
    /// [`Change::Update`]
    pub updates: u64,
    /// [`Change::Delete`]
    pub deletes: u64,
    /// [`Change::SnapshotComplete`]
    pub snapshot_completes: u64,
}

impl Counts {
    /// Counts an event.
    pub fn add(&mut self, change: &Change) {
        match change {
            Change::Truncate { .. } => self.truncates += 1,
            Change::Insert { .. } => self.inserts += 1,
            Change::Update { .. } => self.updates += 1,
            Change::Delete { .. } => self.deletes += 1,
            Change::SnapshotComplete { .. } => self.snapshot_completes += 1,
        }
    }

    /// Tells whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.truncates += other.truncates;
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.deletes += other.deletes;
        self.snapshot_completes += other.snapshot_completes;
    }
}

/// As the DataSync Agent's log spells it.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("No events sent");
        }
        let kinds = [
            ("Truncates", self.truncates),
            ("Inserts", self.inserts),
            ("Updates", self.updates),
            ("Deletes", self.deletes),
            ("SnapshotCompletes", self.snapshot_completes),
        ];
        let mut separator = "";
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{kind}: {count}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text() {
        let at = "2026-11-21T03:08:00.1234567Z".parse().unwrap();
        let changes = CycleId::new(42, at, false);
        for id in [changes, CycleId::new(1, at, true), changes.as_repair()] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert!("42".parse::<CycleId>().is_err());
        let digest = Digest(u128::MAX - 5);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn counts_read_as_the_agents_log() {
        let mut counts = Counts::default();
        assert_eq!(counts.to_string(), "No events sent");
        counts.updates = 2;
        counts.snapshot_completes = 1;
        assert_eq!(counts.to_string(), "Updates: 2, SnapshotCompletes: 1");
    }
}
