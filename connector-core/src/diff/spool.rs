//! The rows of one read, in the order of arrival.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    baseline::{
        Baseline, Entry, Place, RowFetcher, SegmentKind, SegmentRef, SegmentWriter, Storage,
    },
    error::{Error, ErrorKind, Result},
    row::{Batch, KeyHash, RowHash, RowRef, encode_key},
    schema::{Duplicates, Schema},
};

/// Marks a place in the file of a spool; the others are in memory. A file is never that long.
const IN_FILE: u64 = 1 << 38;

/// Takes the rows of one read.
///
/// A first or full load writes them where they stay: into the new base. A later read keeps them in
/// memory up to its share, and the rest in a file that goes when the spool does. Sorting the
/// entries beyond memory belongs here too, and is not there yet.
pub(crate) struct Spool {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    used: usize,
    limit: usize,
    file: Option<SegmentWriter>,
    source: Source,
    entries: Vec<Entry>,
    key: Vec<u8>,
}

/// What a spool needs of the baseline to make its file.
struct Source {
    storage: Arc<dyn Storage>,
    folder: String,
    file: String,
    /// Removed with the spool; a base is kept.
    temporary: bool,
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.temporary {
            // What can't be removed is swept when the data set is opened.
            let _ = self
                .storage
                .remove(&format!("{}/{}", self.folder, self.file));
        }
    }
}

impl Spool {
    /// Keeps up to `limit` bytes of rows in memory.
    pub(crate) fn in_memory(baseline: &Baseline, schema: Arc<Schema>, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::new(baseline, schema, limit)
    }

    /// Writes every row into a new base.
    pub(crate) fn in_base(baseline: &Baseline, schema: Arc<Schema>) -> Result<Self> {
        let writer = baseline.create(SegmentKind::Base, "base", &schema)?;
        let mut spool = Self::new(baseline, schema, 0);
        writer.file().clone_into(&mut spool.source.file);
        spool.file = Some(writer);
        Ok(spool)
    }

    fn new(baseline: &Baseline, schema: Arc<Schema>, limit: usize) -> Self {
        let source = Source {
            storage: Arc::clone(baseline.storage()),
            folder: baseline.folder().to_owned(),
            file: String::new(),
            temporary: false,
        };
        Self {
            schema,
            memory: Vec::new(),
            used: 0,
            limit,
            file: None,
            source,
            entries: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Takes a batch in, row by row into the file or as it is into memory.
    pub(crate) fn take(&mut self, batch: Batch, baseline: &Baseline) -> Result<()> {
        let fits = self.used + batch.byte_len() <= self.limit;
        if self.file.is_none() && !fits {
            let writer = baseline.create(SegmentKind::Base, "spool", &self.schema)?;
            writer.file().clone_into(&mut self.source.file);
            self.source.temporary = true;
            self.file = Some(writer);
        }
        for span in batch.spans() {
            let row = RowRef::new(&self.schema, &batch.bytes()[span.clone()]);
            let place = match &mut self.file {
                Some(file) => {
                    let place = file.row(row.bytes())?;
                    Place::new(place.block() | IN_FILE, place.within())
                }
                None => Place::new(self.memory.len() as u64, span.start),
            };
            self.key.clear();
            encode_key(row, &mut self.key);
            self.entries.push(Entry {
                key: KeyHash::of(&self.key),
                row: RowHash::of(row),
                place,
            });
        }
        if self.file.is_none() {
            let bytes = batch.into_bytes();
            self.used += bytes.len();
            self.memory.push(bytes);
        }
        Ok(())
    }

    /// Orders what was read and settles duplicate keys.
    pub(crate) fn finish(mut self) -> Result<Snapshot> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        let read = self.entries.len() as u64;
        let mut entries = std::mem::take(&mut self.entries);
        // By key and then by arrival.
        entries.sort_unstable_by_key(|entry| (entry.key, entry.place));
        let mut snapshot = Snapshot {
            entries,
            dead: Vec::new(),
            read,
            identical: 0,
            differing: 0,
            rows: SpooledRows {
                fetcher: match &self.file {
                    Some(file) => Some(RowFetcher::unfinished(
                        &*self.source.storage,
                        &self.source.folder,
                        file.file(),
                    )?),
                    None => None,
                },
                schema: self.schema,
                memory: self.memory,
                file: self.file,
                _source: self.source,
            },
        };
        snapshot.settle_duplicates()?;
        Ok(snapshot)
    }
}

/// One complete read: an entry for each key, and the rows behind them.
pub(crate) struct Snapshot {
    /// In the order of key hashes, one a key.
    pub(crate) entries: Vec<Entry>,
    /// Places of rows that lost to another row of their key.
    dead: Vec<Place>,
    /// How many rows were read.
    pub(crate) read: u64,
    /// How many rows were dropped because an identical one was kept.
    pub(crate) identical: u64,
    /// How many rows were dropped because a greater one of their key was kept.
    pub(crate) differing: u64,
    pub(crate) rows: SpooledRows,
}

impl Snapshot {
    fn settle_duplicates(&mut self) -> Result<()> {
        if self
            .entries
            .windows(2)
            .all(|pair| pair[0].key != pair[1].key)
        {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.entries);
        let mut refused = Vec::new();
        for same_key in entries.chunk_by(|a, b| a.key == b.key) {
            let mut kept = same_key[0];
            for other in &same_key[1..] {
                let mut lost = *other;
                if other.row == kept.row {
                    self.identical += 1;
                } else if self.rows.schema.duplicates() == Duplicates::Fail {
                    refused.push((kept.place, other.place));
                    continue;
                } else {
                    self.differing += 1;
                    if self.rows.fetch(other.place)? > self.rows.fetch(kept.place)? {
                        lost = std::mem::replace(&mut kept, *other);
                    }
                }
                self.dead.push(lost.place);
            }
            self.entries.push(kept);
        }
        self.dead.sort_unstable();
        if refused.is_empty() {
            Ok(())
        } else {
            Err(self.duplicates_error(refused, &entries))
        }
    }

    /// Names the rows by number, since their keys are values.
    fn duplicates_error(&self, mut refused: Vec<(Place, Place)>, all: &[Entry]) -> Error {
        const NAMED: usize = 10;
        let count = refused.len();
        refused.sort_unstable_by_key(|(_, second)| *second);
        refused.truncate(NAMED);
        // Places are in the order of arrival.
        let number = |place| 1 + all.iter().filter(|entry| entry.place < place).count();
        let named: Vec<String> = refused
            .iter()
            .map(|(a, b)| format!("{} and {}", number(*a), number(*b)))
            .collect();
        let key: Vec<&str> = self.rows.schema.key().map(crate::Column::name).collect();
        Error::new(
            ErrorKind::Data,
            format!(
                "{count} rows differ from another row of the same key; declare a key that is \
                 unique, or the duplicate policy that keeps one of them"
            ),
        )
        .with("key", key.join(", "))
        .with("rows", named.join("; "))
    }

    /// Ends the new base that the rows were written into.
    pub(crate) fn into_base(self) -> Result<SegmentRef> {
        let in_file = |place: Place| Place::new(place.block() & !IN_FILE, place.within());
        let dead: Vec<Place> = self.dead.iter().map(|place| in_file(*place)).collect();
        let entries = self.entries.iter().map(|entry| Entry {
            place: in_file(entry.place),
            ..*entry
        });
        match self.rows.file {
            Some(file) => file.finish(entries, &dead),
            None => Err(Error::new(
                ErrorKind::Unexpected,
                "a full load without a base",
            )),
        }
    }
}

/// The rows of a snapshot by place.
pub(crate) struct SpooledRows {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    fetcher: Option<RowFetcher>,
    file: Option<SegmentWriter>,
    /// Removes a temporary file at the end.
    _source: Source,
}

impl SpooledRows {
    pub(crate) fn fetch(&mut self, place: Place) -> Result<Bytes> {
        let lost = || {
            Error::new(
                ErrorKind::Unexpected,
                "a spooled row is not where it was put",
            )
        };
        let block = place.block();
        if block & IN_FILE != 0 {
            let fetcher = self.fetcher.as_mut().ok_or_else(lost)?;
            return fetcher.row(Place::new(block & !IN_FILE, place.within()));
        }
        let batch = usize::try_from(block)
            .ok()
            .and_then(|i| self.memory.get(i))
            .ok_or_else(lost)?;
        let rest = batch.get(place.within()..).ok_or_else(lost)?;
        let row = rest
            .get(..RowRef::new(&self.schema, rest).measure())
            .ok_or_else(lost)?;
        Ok(Bytes::copy_from_slice(row))
    }
}
