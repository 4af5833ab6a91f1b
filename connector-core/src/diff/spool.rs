//! The rows of one read, in the order of arrival.

use std::sync::Arc;

use bytes::Bytes;

use super::runs::{Runs, Sorted, Temporary};
use crate::{
    baseline::{Baseline, Entry, Place, RowFetcher, SegmentKind, SegmentRef, SegmentWriter},
    cycle::DuplicateCounts,
    error::{Error, ErrorKind, Result},
    event::Digest,
    row::{Batch, KeyHash, RowHash, RowRef, encode_key},
    schema::{Duplicates, Schema},
};

/// Marks a place in the file of a spool; the others are in memory. A file is never that long.
const IN_FILE: u64 = 1 << 38;

/// Takes the rows of one read.
///
/// A first or full load writes them where they stay: into the new base. A later read keeps them in
/// memory up to a limit, and the rest in a file that goes when the spool does. So do the entries.
pub(crate) struct Spool {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    used: usize,
    limit: usize,
    file: Option<SegmentWriter>,
    /// Removes the file, unless it becomes the new base.
    temporary: Option<Temporary>,
    is_full: bool,
    entries: Runs,
    key: Vec<u8>,
}

impl Spool {
    /// Keeps rows and entries in memory as long as they take no more than `memory` bytes.
    pub(crate) fn in_memory(schema: Arc<Schema>, memory: u64) -> Self {
        // An entry has 32 bytes and a row of inventory 100 to 300.
        let entries = memory / 4;
        Self::new(schema, memory - entries, entries)
    }

    /// Writes every row into a new base.
    pub(crate) fn in_base(baseline: &Baseline, schema: Arc<Schema>, memory: u64) -> Result<Self> {
        let writer = baseline.create(SegmentKind::Base, "base", &schema)?;
        let mut spool = Self::new(schema, 0, memory);
        spool.temporary = Some(Temporary::new(baseline, writer.file()));
        spool.file = Some(writer);
        spool.is_full = true;
        Ok(spool)
    }

    fn new(schema: Arc<Schema>, rows: u64, entries: u64) -> Self {
        Self {
            schema,
            memory: Vec::new(),
            used: 0,
            limit: usize::try_from(rows).unwrap_or(usize::MAX),
            file: None,
            temporary: None,
            is_full: false,
            entries: Runs::new(entries),
            key: Vec::new(),
        }
    }

    /// Takes a batch in, row by row into the file or as it is into memory.
    pub(crate) fn take(&mut self, batch: Batch, baseline: &Baseline) -> Result<()> {
        let fits = self.used + batch.byte_len() <= self.limit;
        if self.file.is_none() && !fits {
            let writer = baseline.create(SegmentKind::Base, "spool", &self.schema)?;
            self.temporary = Some(Temporary::new(baseline, writer.file()));
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
            let (key, row) = (KeyHash::of(&self.key), RowHash::of(row));
            self.entries
                .push(Entry { key, row, place }, baseline, &self.schema)?;
        }
        if self.file.is_none() {
            let bytes = batch.into_bytes();
            self.used += bytes.len();
            self.memory.push(bytes);
        }
        Ok(())
    }

    /// Ends taking in: the read was complete.
    pub(crate) fn finish(mut self, baseline: &Baseline) -> Result<Snapshot> {
        let fetcher = match &mut self.file {
            Some(file) => {
                file.flush()?;
                let storage = &**baseline.storage();
                Some(RowFetcher::unfinished(
                    storage,
                    baseline.folder(),
                    file.file(),
                )?)
            }
            None => None,
        };
        let rows = SpooledRows {
            schema: self.schema,
            memory: self.memory,
            fetcher,
            temporary: self.temporary,
        };
        let mut entries = self.entries.finish()?;
        Ok(Snapshot {
            read: entries.count(),
            ahead: entries.next()?,
            entries,
            is_full: self.is_full,
            base: self.file.filter(|_| self.is_full),
            dead: Vec::new(),
            duplicates: DuplicateCounts::default(),
            refused: 0,
            named: Vec::new(),
            rows,
        })
    }
}

/// One complete read: an entry for each key in the order of key hashes, once, and the rows behind
/// them.
pub(crate) struct Snapshot {
    entries: Sorted,
    ahead: Option<Entry>,
    /// The new base that the rows of a full load were written into.
    base: Option<SegmentWriter>,
    /// Places in it of rows that lost to another row of their key.
    dead: Vec<Place>,
    /// How many rows were read.
    pub(crate) read: u64,
    pub(crate) duplicates: DuplicateCounts,
    is_full: bool,
    /// How many rows differ from another of their key where the policy is to fail, and the first
    /// of them with those others.
    refused: u64,
    named: Vec<(Place, Place)>,
    pub(crate) rows: SpooledRows,
}

/// How many duplicates an error names.
const NAMED: usize = 10;

impl Snapshot {
    /// Returns the next key's entry, or none after the last; duplicates are settled on the way.
    ///
    /// # Errors
    ///
    /// After the last, when rows differ under one key and the policy is to fail.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let Some(mut kept) = self.ahead else {
            return if self.refused == 0 {
                Ok(None)
            } else {
                Err(self.duplicates_error()?)
            };
        };
        loop {
            self.ahead = self.entries.next()?;
            match self.ahead {
                Some(other) if other.key == kept.key => self.settle(&mut kept, other)?,
                _ => return Ok(Some(kept)),
            }
        }
    }

    fn settle(&mut self, kept: &mut Entry, other: Entry) -> Result<()> {
        let mut lost = other;
        if other.row == kept.row {
            self.duplicates.identical += 1;
        } else if self.rows.schema.duplicates() == Duplicates::Fail {
            self.refused += 1;
            self.named.push((other.place, kept.place));
            self.named.sort_unstable();
            self.named.truncate(NAMED);
            return Ok(());
        } else {
            self.duplicates.differing += 1;
            if self.rows.fetch(other.place)? > self.rows.fetch(kept.place)? {
                lost = std::mem::replace(kept, other);
            }
        }
        if self.is_full {
            self.dead.push(lost.place);
        }
        Ok(())
    }

    /// Names the rows by number, since their keys are values.
    fn duplicates_error(&self) -> Result<Error> {
        let places: Vec<Place> = self.named.iter().flat_map(|(b, a)| [*a, *b]).collect();
        let before = self.entries.count_before(&places)?;
        let rows: Vec<String> = before
            .chunks(2)
            .map(|pair| format!("{} and {}", pair[0] + 1, pair[1] + 1))
            .collect();
        let key: Vec<&str> = self.rows.schema.key().map(crate::Column::name).collect();
        Ok(Error::new(
            ErrorKind::Data,
            format!(
                "{} rows differ from another row of the same key; declare a key that is unique, \
                 or the duplicate policy that keeps one of them",
                self.refused
            ),
        )
        .with("key", key.join(", "))
        .with("rows", rows.join("; ")))
    }

    /// Ends the new base that the rows were written into; returns it with the number of its rows
    /// and their digest.
    pub(crate) fn write_base(&mut self) -> Result<(SegmentRef, u64, Digest)> {
        let unexpected = || Error::new(ErrorKind::Unexpected, "a full load without a base");
        let base = self.base.take().ok_or_else(unexpected)?;
        let in_file = |place: Place| Place::new(place.block() & !IN_FILE, place.within());
        let mut index = base.into_index()?;
        let (mut rows, mut digest) = (0, Digest::default());
        while let Some(entry) = self.next()? {
            rows += 1;
            digest.add_hashes(entry.key, entry.row);
            index.push(Entry {
                place: in_file(entry.place),
                ..entry
            })?;
        }
        let mut dead: Vec<Place> = self.dead.iter().map(|place| in_file(*place)).collect();
        dead.sort_unstable();
        let segment = index.finish(&dead)?;
        if let Some(file) = &mut self.rows.temporary {
            file.keep();
        }
        Ok((segment, rows, digest))
    }
}

/// The rows of a snapshot by place.
pub(crate) struct SpooledRows {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    fetcher: Option<RowFetcher>,
    /// Removes the file at the end, unless it became the new base.
    temporary: Option<Temporary>,
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
