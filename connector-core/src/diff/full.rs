//! A read that becomes a new base.

use std::sync::Arc;

use super::{
    runs::{Runs, Temporary},
    unique::Unique,
};
use crate::{
    baseline::{Baseline, Entry, SegmentKind, SegmentRef, SegmentWriter},
    cycle::DuplicateCounts,
    error::Result,
    event::Digest,
    row::{Batch, KeyHash, RowHash, encode_key},
    schema::Schema,
};

/// Writes every row of a read where it stays: into the new base.
pub(crate) struct FullRead {
    schema: Arc<Schema>,
    base: SegmentWriter,
    /// Removes the file, unless it becomes the base.
    temporary: Temporary,
    entries: Runs<Entry>,
    memory: u64,
    rows: u64,
    /// The key of the row before, and the current one's.
    keys: (Vec<u8>, Vec<u8>),
    ordered: bool,
}

/// A new base, written and synced.
pub(crate) struct NewBase {
    pub(crate) segment: SegmentRef,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
    pub(crate) duplicates: DuplicateCounts,
}

impl FullRead {
    /// Keeps up to `memory` bytes of entries in memory.
    pub(crate) fn new(baseline: &Baseline, schema: Arc<Schema>, memory: u64) -> Result<Self> {
        let base = baseline.create(SegmentKind::Base, "base", &schema)?;
        Ok(Self {
            schema,
            temporary: Temporary::new(baseline, base.file()),
            base,
            entries: Runs::new("entries", memory),
            memory,
            rows: 0,
            keys: (Vec::new(), Vec::new()),
            ordered: true,
        })
    }

    /// Takes a batch in.
    pub(crate) fn take(&mut self, batch: &Batch, baseline: &Baseline) -> Result<()> {
        for row in batch.rows() {
            let place = self.base.row(row.bytes())?;
            self.keys.1.clear();
            encode_key(row, &mut self.keys.1);
            let (key, hash) = (KeyHash::of(&self.keys.1), RowHash::of(row));
            self.ordered &= self.keys.0 < self.keys.1;
            std::mem::swap(&mut self.keys.0, &mut self.keys.1);
            let entry = Entry {
                key,
                row: hash,
                place,
            };
            self.entries.push(entry, baseline, &self.schema)?;
            self.rows += 1;
        }
        Ok(())
    }

    /// How many rows were taken in.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends taking in: the read was complete.
    pub(crate) fn finish(mut self, baseline: &Baseline) -> Result<NewBase> {
        let mut entries = Unique::new(self.entries.finish()?, self.schema.duplicates())?;
        let mut dead = Runs::new("dead", self.memory / 8);
        let mut index = self.base.into_index()?;
        let (mut rows, mut digest) = (0, Digest::default());
        while let Some(entry) = entries.next(|lost| dead.push(lost, baseline, &self.schema))? {
            rows += 1;
            digest.add_hashes(entry.key, entry.row);
            index.push(entry)?;
        }
        entries
            .settled
            .check(&self.schema, |place| Ok(entries.count_before(place)? + 1))?;
        let segment = index.finish_base(dead.finish()?, self.ordered)?;
        self.temporary.keep();
        Ok(NewBase {
            segment,
            rows,
            digest,
            duplicates: entries.settled.counts,
        })
    }
}
