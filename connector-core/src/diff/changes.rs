//! A read that becomes the changes since the baseline.

use std::sync::Arc;

use super::{
    Difference, Known,
    known::{Is, Seen},
    merge::OldRows,
    ordered::{Ordered, Walked},
    runs::Runs,
    spool::Spool,
    unique::Unique,
};
use crate::{
    baseline::{Baseline, Entry, Layers},
    error::Result,
    row::{Batch, KeyHash, RowHash, encode_key},
    schema::{Gone, Schema},
};

/// A read in the order of keys keeps so little that more memory is not worth taking.
const ORDERED: u64 = 28 << 20;

/// So many rows are looked up together.
const TOGETHER: usize = 128;

/// Takes the rows of a read, and keeps those that the baseline does not hold.
pub(crate) struct ChangesRead {
    schema: Arc<Schema>,
    layers: Layers,
    known: Known,
    spool: Spool,
    entries: Runs<Entry>,
    /// How many rows the baseline has.
    before: u64,
    memory: u64,
    /// How much of it is for what differs.
    differing: u64,
    read: u64,
    hashes: Vec<(KeyHash, RowHash)>,
    key: Vec<u8>,
}

impl ChangesRead {
    /// Keeps within `memory` bytes, beyond which rows and entries go to files. With `careful` every
    /// row is kept, whatever it costs: a read before this one let a row pass for another.
    pub(crate) fn new(
        baseline: &Baseline,
        schema: Arc<Schema>,
        memory: u64,
        careful: bool,
    ) -> Result<Self> {
        let (layers, before) = (baseline.layers()?, baseline.committed()?.rows);
        let mut all = memory;
        let known = if careful {
            Known::Nothing(Seen::Nothing)
        } else if layers.base().is_ordered() {
            all = memory.min(ORDERED);
            Known::Ordered(Box::new(Ordered::new(&layers, &schema, all / 8 * 3)?))
        } else {
            Known::unordered(&layers, before, memory / 4 * 3, Seen::Nothing)?
        };
        let spool = match known {
            Known::Ordered(_) => all / 8 * 3,
            // What is kept is then what changed, or everything.
            Known::Table(_) => all / 8,
            Known::Nothing(_) => all / 4 * 3,
        };
        Ok(Self {
            spool: Spool::new(Arc::clone(&schema), spool),
            schema,
            layers,
            known,
            entries: Runs::new("entries", all / 8),
            before,
            memory,
            differing: all / 8,
            read: 0,
            hashes: Vec::new(),
            key: Vec::new(),
        })
    }

    /// How many rows were taken in.
    pub(crate) fn rows(&self) -> u64 {
        self.read
    }

    /// Takes a batch in.
    pub(crate) fn take(&mut self, batch: &Batch, baseline: &Baseline) -> Result<()> {
        if let Known::Ordered(ordered) = &mut self.known {
            for row in batch.rows() {
                self.read += 1;
                if ordered.meet(row, &mut self.spool, baseline)? == Is::New {
                    self.key.clear();
                    encode_key(row, &mut self.key);
                    let place = self.spool.push(self.read, row.bytes(), baseline)?;
                    let (key, row) = (KeyHash::of(&self.key), RowHash::of(row));
                    self.entries
                        .push(Entry { key, row, place }, baseline, &self.schema)?;
                }
            }
            if ordered.is_lost() {
                self.leave_order()?;
            }
            return Ok(());
        }
        let mut rows = batch.rows();
        loop {
            self.hashes.clear();
            for row in rows.clone().take(TOGETHER) {
                self.key.clear();
                encode_key(row, &mut self.key);
                self.hashes.push((KeyHash::of(&self.key), RowHash::of(row)));
            }
            if self.hashes.is_empty() {
                return Ok(());
            }
            if let Known::Table(table) = &self.known {
                table.touch(&self.hashes);
            }
            for at in 0..self.hashes.len() {
                let ((key, row), Some(bytes)) = (self.hashes[at], rows.next()) else {
                    break;
                };
                self.read += 1;
                let is = match &mut self.known {
                    Known::Table(table) => table.ask(key, row),
                    _ => Is::New,
                };
                if is == Is::New {
                    let place = self.spool.push(self.read, bytes.bytes(), baseline)?;
                    let entry = Entry { key, row, place };
                    self.entries.push(entry, baseline, &self.schema)?;
                }
            }
        }
    }

    /// Goes on by hashes: the rows do not come in the order of keys, or too much has changed.
    fn leave_order(&mut self) -> Result<()> {
        let known = std::mem::replace(&mut self.known, Known::Nothing(Seen::Nothing));
        let Known::Ordered(ordered) = known else {
            self.known = known;
            return Ok(());
        };
        let seen = Seen::Passed(Box::new(ordered.into_passed()?));
        self.known = Known::unordered(&self.layers, self.before, self.memory / 4 * 3, seen)?;
        Ok(())
    }

    /// Ends taking in: the read was complete. Compares it with the baseline; nothing comes of it
    /// when a row passed for another, and the data set has to be read again. `gone` is what becomes
    /// of rows that were not read.
    pub(crate) fn finish(mut self, baseline: &Baseline, gone: Gone) -> Result<Option<Difference>> {
        let mut known = None;
        let old = match self.known {
            Known::Ordered(ordered) => match ordered.finish(&mut self.spool, baseline)? {
                Walked::Through(old) => OldRows::Missed(old),
                Walked::Partly(passed) => {
                    OldRows::all(&self.layers, Seen::Passed(Box::new(passed)))?
                }
            },
            Known::Table(table) => {
                let (seen, digest) = table.into_seen();
                known = Some(digest);
                OldRows::all(&self.layers, seen)?
            }
            Known::Nothing(seen) => OldRows::all(&self.layers, seen)?,
        };
        let spooled = self.spool.finish(baseline)?;
        let new = Unique::new(self.entries.finish()?, self.schema.duplicates())?;
        Difference::new(
            baseline,
            self.layers,
            spooled,
            (new, old, known),
            (gone, self.differing),
        )
    }
}
