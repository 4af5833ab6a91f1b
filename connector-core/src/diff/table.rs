//! What the baseline holds, small enough to ask for each row as it arrives.

use std::{collections::HashSet, hint::black_box};

use super::known::{Is, Seen};
use crate::{
    baseline::{Entry, Layer, MergedIndex},
    error::Result,
    event::Digest,
    row::{KeyHash, RowHash},
};

/// Entries to a bucket, on average at most: their marks fill a line of the processor's cache.
const BUCKET: u64 = 16;

/// The bits of a mark. Few in unit tests, so that rows do pass for others.
const MARK: u32 = if cfg!(test) { 0x3F } else { u32::MAX };

/// A 32-bit mark for each row of the baseline, in the order of key hashes.
///
/// The place in that order stands for the first bits of the key hash, so only rows of one bucket
/// are ever told apart by their marks. A row that the baseline does not have passes for another
/// with a chance of 2⁻²⁸. That is found at the end of the read, since then the digest of what was
/// read is not what the difference comes to, and the data set is read again without a table.
pub(super) struct Table {
    /// Where each bucket begins; one more than there are buckets.
    starts: Vec<u32>,
    /// The key hash's bits that are not the bucket's number.
    shift: u32,
    marks: Vec<u32>,
    /// Marks that two rows of one bucket share: these rows are met by their hashes.
    shared: HashSet<(usize, u32)>,
    seen: Bits,
    /// Of the rows that were read and are known.
    known: Digest,
}

fn mark(key: KeyHash, row: RowHash) -> u32 {
    let low = u64::try_from(key.0 & u128::from(u64::MAX)).unwrap_or(0);
    // The factor keeps a key that is the whole row from cancelling itself out.
    let mixed = low ^ row.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u32::try_from(mixed >> 32).unwrap_or(0) & MARK
}

/// Returns the place of a mark. Eight are compared at a time, without a branch between them.
fn find(marks: &[u32], mark: u32) -> Option<usize> {
    let eights = marks.chunks(8).position(|some| {
        let hits = some.iter().map(|m| u32::from(*m == mark));
        hits.sum::<u32>() > 0
    });
    let start = eights? * 8;
    let within = marks[start..].iter().position(|m| *m == mark)?;
    Some(start + within)
}

impl Table {
    fn buckets(rows: u64) -> u64 {
        (rows / BUCKET).max(1).next_power_of_two()
    }

    /// How many bytes the table of so many rows takes.
    pub(super) fn bytes(rows: u64) -> u64 {
        rows * 4 + rows / 8 + Self::buckets(rows) * 4
    }

    /// Takes the baseline's index; `was_seen` tells of each entry whether its row was read before.
    pub(super) fn new(
        rows: u64,
        mut index: MergedIndex,
        mut was_seen: impl FnMut(&Entry, Layer) -> Result<bool>,
    ) -> Result<Self> {
        let buckets = Self::buckets(rows);
        let shift = 128 - buckets.ilog2();
        let rows = usize::try_from(rows).unwrap_or(0);
        let buckets = usize::try_from(buckets).unwrap_or(0);
        let mut table = Self {
            starts: Vec::with_capacity(buckets + 1),
            shift,
            marks: Vec::with_capacity(rows),
            shared: HashSet::new(),
            seen: Bits::new(rows),
            known: Digest::default(),
        };
        while let Some((entry, layer)) = index.next()? {
            let (bucket, mark) = (bucket(entry.key, shift), mark(entry.key, entry.row));
            while table.starts.len() <= bucket {
                table
                    .starts
                    .push(u32::try_from(table.marks.len()).unwrap_or(u32::MAX));
            }
            let start = table.starts[bucket] as usize;
            if find(&table.marks[start..], mark).is_some() {
                table.shared.insert((bucket, mark));
            }
            if was_seen(&entry, layer)? {
                table.seen.set(table.marks.len());
                table.known.add_hashes(entry.key, entry.row);
            }
            table.marks.push(mark);
        }
        let end = u32::try_from(table.marks.len()).unwrap_or(u32::MAX);
        table.starts.resize(buckets + 1, end);
        Ok(table)
    }

    /// Brings what is asked next near the processor: these reads wait for memory together, where
    /// each of the questions would wait on its own.
    pub(super) fn touch(&self, hashes: &[(KeyHash, RowHash)]) {
        let mut touched = 0;
        for (key, _) in hashes {
            let start = self.starts[bucket(*key, self.shift)] as usize;
            // Entries of a bucket are about a line, which may reach into the next.
            let near = self.marks.get(start).copied().unwrap_or(0);
            let far = self.marks.get(start + 15).copied().unwrap_or(0);
            touched ^= near ^ far ^ u32::from(self.seen.has(start));
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
        let Some(at) = find(&self.marks[start..end], mark) else {
            return Is::New;
        };
        let shared = !self.shared.is_empty() && self.shared.contains(&(bucket, mark));
        // A row that comes again is met by its hashes too: it may be another with the same mark.
        if shared || !self.seen.set(start + at) {
            return Is::New;
        }
        self.known.add_hashes(key, row);
        Is::Known
    }

    /// Returns what was read, and its digest.
    pub(super) fn into_seen(self) -> (Seen, Digest) {
        (Seen::Rows(self.seen), self.known)
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
