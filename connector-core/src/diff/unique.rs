//! One entry for each key, however many rows a read holds under it.

use super::runs::Sorted;
use crate::{
    baseline::{Entry, Place},
    cycle::DuplicateCounts,
    error::{Error, ErrorKind, Result},
    schema::{Duplicates, Schema},
};

/// How many duplicates an error names.
const NAMED: usize = 10;

/// Entries in the order of key hashes, one for each key.
pub(super) struct Unique {
    entries: Sorted<Entry>,
    ahead: Option<Entry>,
    pub(super) settled: Settled,
}

/// What became of duplicates.
pub(super) struct Settled {
    policy: Duplicates,
    pub(super) counts: DuplicateCounts,
    /// How many rows differ from another of their key where the policy is to fail, and the first
    /// of them with those others; none stands for a row that was not kept.
    refused: u64,
    named: Vec<(Place, Option<Place>)>,
}

impl Settled {
    pub(super) fn new(policy: Duplicates) -> Self {
        Self {
            policy,
            counts: DuplicateCounts::default(),
            refused: 0,
            named: Vec::new(),
        }
    }

    /// Tells whether `other` takes the place of `kept`, a row of the same key. `kept` has no place
    /// when it was not kept.
    pub(super) fn replaces(&mut self, other: &Entry, kept: &Entry, kept_at: Option<Place>) -> bool {
        if other.row == kept.row {
            self.counts.identical += 1;
            return false;
        }
        match self.policy {
            Duplicates::Fail => {
                self.refused += 1;
                self.named.push((other.place, kept_at));
                self.named.sort_unstable();
                self.named.truncate(NAMED);
                false
            }
            Duplicates::KeepGreatest => {
                self.counts.differing += 1;
                other.row > kept.row
            }
        }
    }

    /// Fails when rows were refused; `number` tells a row's number in the read.
    pub(super) fn check(
        &self,
        schema: &Schema,
        mut number: impl FnMut(Place) -> Result<u64>,
    ) -> Result<()> {
        if self.refused == 0 {
            return Ok(());
        }
        let mut rows = Vec::new();
        for (other, kept) in &self.named {
            let other = number(*other)?;
            rows.push(match kept {
                // By number, since keys are values.
                Some(kept) => {
                    let kept = number(*kept)?;
                    format!("{} and {}", kept.min(other), kept.max(other))
                }
                None => format!("{other} and one that is as it was in the last cycle"),
            });
        }
        let key: Vec<&str> = schema.key().map(crate::Column::name).collect();
        Err(Error::new(
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
}

impl Unique {
    pub(super) fn new(mut entries: Sorted<Entry>, policy: Duplicates) -> Result<Self> {
        Ok(Self {
            ahead: entries.next()?,
            entries,
            settled: Settled::new(policy),
        })
    }

    /// Returns the next key's entry, or none after the last. `lost` is told the place of every row
    /// that lost to another of that key.
    pub(super) fn next(
        &mut self,
        mut lost: impl FnMut(Place) -> Result<()>,
    ) -> Result<Option<Entry>> {
        let Some(mut kept) = self.ahead else {
            return Ok(None);
        };
        loop {
            self.ahead = self.entries.next()?;
            let Some(other) = self.ahead.filter(|other| other.key == kept.key) else {
                return Ok(Some(kept));
            };
            let mut loser = other;
            if self.settled.replaces(&other, &kept, Some(kept.place)) {
                loser = std::mem::replace(&mut kept, other);
            }
            lost(loser.place)?;
        }
    }

    /// Tells how many rows arrived before that place; for reads that keep every row.
    pub(super) fn count_before(&self, place: Place) -> Result<u64> {
        self.entries.count_before(place)
    }
}
