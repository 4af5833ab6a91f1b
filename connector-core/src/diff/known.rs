//! Which rows the baseline holds already: those are dropped as they arrive.

use super::{
    merge::Old,
    ordered::Ordered,
    runs::Sorted,
    table::{Bits, Table},
};
use crate::{
    baseline::{Entry, Layer, Layers, Place},
    error::Result,
    row::KeyHash,
};

/// What is asked whether the baseline holds a row.
pub(super) enum Known {
    /// The rows of the base in their order: the source returns them in the order of their keys.
    Ordered(Box<Ordered>),
    /// A mark for each row of the baseline.
    Table(Table),
    /// Nothing, since the marks would take more memory than there is: every row is kept.
    Nothing(Seen),
}

impl Known {
    /// Takes the marks if they fit in `memory`; `seen` are the rows that were read before.
    pub(super) fn unordered(
        layers: &Layers,
        rows: u64,
        memory: u64,
        mut seen: Seen,
    ) -> Result<Self> {
        if Table::bytes(rows) > memory || u32::try_from(rows).is_err() {
            return Ok(Self::Nothing(seen));
        }
        let mut at = 0;
        let table = Table::new(rows, layers.index()?, |entry, layer| {
            at += 1;
            seen.has(at - 1, entry, layer)
        })?;
        Ok(Self::Table(table))
    }
}

/// Which entries of the baseline's index stand for rows that were read and dropped.
pub(super) enum Seen {
    Nothing,
    /// By their place in the order of key hashes.
    Rows(Bits),
    Passed(Box<Passed>),
}

/// What a read in the order of keys has passed.
pub(super) struct Passed {
    /// Every row of the base before this place was read, but those that were missed.
    until: Place,
    /// In the order of key hashes, in which entries are asked for, too.
    missed: Sorted<Old>,
    next_missed: Option<Old>,
    /// The keys that were read as they last changed since the base; sorted.
    changed: Vec<KeyHash>,
}

impl Passed {
    pub(super) fn new(
        until: Place,
        mut missed: Sorted<Old>,
        changed: Vec<KeyHash>,
    ) -> Result<Self> {
        Ok(Self {
            until,
            next_missed: missed.next()?,
            missed,
            changed,
        })
    }

    fn is_missed(&mut self, key: KeyHash) -> Result<bool> {
        while self.next_missed.is_some_and(|old| old.entry.key < key) {
            self.next_missed = self.missed.next()?;
        }
        Ok(self.next_missed.is_some_and(|old| old.entry.key == key))
    }
}

impl Seen {
    /// Entries are asked for in the order of key hashes.
    #[inline]
    pub(super) fn has(&mut self, at: usize, entry: &Entry, layer: Layer) -> Result<bool> {
        Ok(match self {
            Self::Nothing => false,
            Self::Rows(bits) => bits.has(at),
            Self::Passed(passed) if layer == 0 => {
                entry.place < passed.until && !passed.is_missed(entry.key)?
            }
            Self::Passed(passed) => passed.changed.binary_search(&entry.key).is_ok(),
        })
    }
}

/// What a row that arrives is to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    /// The baseline has it under its key, and it was not read before.
    Known,
    /// Anything else: it is kept.
    New,
}
