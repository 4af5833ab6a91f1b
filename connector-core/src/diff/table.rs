//! What the baseline holds, small enough to ask for each row as it arrives.

use std::hint::black_box;

use super::known::{Is, Seen};
use crate::{
    baseline::{Entry, Layer, MergedIndex},
    error::Result,
    row::{KeyHash, RowHash},
};

/// Entries to a bucket, on average: their marks fill a line of the processor's cache.
const BUCKET: u64 = 8;

/// A 64-bit mark for each row of the baseline, in the order of key hashes.
///
/// The place in that order stands for the first bits of the key hash, so only rows of one bucket
/// are ever told apart by their marks alone: that a row passes for another has a chance of
/// 2⁻⁶¹ a row that changed.
pub(super) struct Table {
    /// Where each bucket begins; one more than there are buckets.
    starts: Vec<u32>,
    /// The key hash's bits that are not the bucket's number.
    shift: u32,
    marks: Vec<u64>,
    seen: Bits,
}

fn mark(key: KeyHash, row: RowHash) -> u64 {
    let low = key.0 & u128::from(u64::MAX);
    // The factor keeps a key that is the whole row from cancelling itself out.
    u64::try_from(low).unwrap_or(0) ^ row.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Table {
    fn buckets(rows: u64) -> u64 {
        (rows / BUCKET).max(1).next_power_of_two()
    }

    /// How many bytes the table of so many rows takes.
    pub(super) fn bytes(rows: u64) -> u64 {
        rows * 8 + rows / 8 + Self::buckets(rows) * 4
    }

    /// Takes the baseline's index; `was_seen` tells of each entry whether its row was read before.
    pub(super) fn new(
        rows: u64,
        mut index: MergedIndex,
        mut was_seen: impl FnMut(&Entry, Layer) -> bool,
    ) -> Result<Self> {
        let buckets = Self::buckets(rows);
        let shift = 128 - buckets.ilog2();
        let rows = usize::try_from(rows).unwrap_or(0);
        let mut starts = Vec::with_capacity(usize::try_from(buckets).unwrap_or(0) + 1);
        let (mut marks, mut seen) = (Vec::with_capacity(rows), Bits::new(rows));
        while let Some((entry, layer)) = index.next()? {
            let bucket = bucket(entry.key, shift);
            while starts.len() <= bucket {
                starts.push(u32::try_from(marks.len()).unwrap_or(u32::MAX));
            }
            if was_seen(&entry, layer) {
                seen.set(marks.len());
            }
            marks.push(mark(entry.key, entry.row));
        }
        let end = u32::try_from(marks.len()).unwrap_or(u32::MAX);
        starts.resize(usize::try_from(buckets).unwrap_or(0) + 1, end);
        Ok(Self {
            starts,
            shift,
            marks,
            seen,
        })
    }

    /// Brings what is asked next near the processor: these reads wait for memory together, where
    /// each of the questions would wait on its own.
    pub(super) fn touch(&self, hashes: &[(KeyHash, RowHash)]) {
        let mut touched = 0;
        for (key, _) in hashes {
            let start = self.starts[bucket(*key, self.shift)] as usize;
            // Entries of a bucket are about a line, which may reach into the next.
            let near = self.marks.get(start).copied().unwrap_or(0);
            let far = self.marks.get(start + 7).copied().unwrap_or(0);
            touched ^= near ^ far;
        }
        black_box(touched);
    }

    /// Asks for a row, and remembers that it was read.
    pub(super) fn ask(&mut self, key: KeyHash, row: RowHash) -> Is {
        let bucket = bucket(key, self.shift);
        let (start, end) = (
            self.starts[bucket] as usize,
            self.starts[bucket + 1] as usize,
        );
        let mark = mark(key, row);
        match self.marks[start..end].iter().position(|m| *m == mark) {
            None => Is::New,
            Some(at) if self.seen.set(start + at) => Is::Known,
            Some(_) => Is::Repeated,
        }
    }

    pub(super) fn into_seen(self) -> Seen {
        Seen::Rows(self.seen)
    }
}

fn bucket(key: KeyHash, shift: u32) -> usize {
    // With one bucket the shift is all of the hash.
    usize::try_from(key.0.checked_shr(shift).unwrap_or(0)).unwrap_or(0)
}

/// One bit for each of a number of things.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets a bit and tells whether it was not set before.
    pub(super) fn set(&mut self, at: usize) -> bool {
        let Some(word) = self.0.get_mut(at / 64) else {
            return false;
        };
        let new = *word >> (at % 64) & 1 == 0;
        *word |= 1 << (at % 64);
        new
    }
}
