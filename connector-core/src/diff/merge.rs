//! Merging a snapshot's entries with the baseline's.

use std::cmp::Ordering;

use bytes::Bytes;

use super::spool::Snapshot;
use crate::{
    baseline::{Entry, Layer, Layers, Place, RowFetcher, SegmentRef, SegmentWriter},
    error::Result,
    event::{Counts, Digest},
    row::{KeyHash, RowHash},
};

/// One key that is new, gone, or has another row than before.
struct Changed {
    key: KeyHash,
    row: RowHash,
    /// In the snapshot; none when the key is gone.
    new: Place,
    old: Option<(Layer, Place)>,
}

/// What differs, in the order of key hashes, and what the data set is afterwards.
pub(crate) struct Difference {
    changed: Vec<Changed>,
    pub(crate) counts: Counts,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

/// Compares the snapshot with the baseline; `digest` is the baseline's.
pub(crate) fn difference(
    snapshot: &mut Snapshot,
    layers: &Layers,
    digest: Digest,
) -> Result<Difference> {
    let mut index = layers.index()?;
    let (mut old, mut new) = (index.next()?, snapshot.next()?);
    let (changed, counts) = (Vec::new(), Counts::default());
    let mut diff = Difference {
        changed,
        counts,
        rows: 0,
        digest,
    };
    loop {
        let order = match (&new, &old) {
            (None, None) => return Ok(diff),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(new), Some((old, _))) => new.key.cmp(&old.key),
        };
        let after = new.filter(|_| order != Ordering::Greater);
        let before = old.filter(|_| order != Ordering::Less);
        diff.compare(after.as_ref(), before);
        if after.is_some() {
            diff.rows += 1;
            new = snapshot.next()?;
        }
        if before.is_some() {
            old = index.next()?;
        }
    }
}

impl Difference {
    fn compare(&mut self, new: Option<&Entry>, old: Option<(Entry, Layer)>) {
        if new.map(|new| new.row) == old.map(|(old, _)| old.row) {
            return;
        }
        let count = match (new, old) {
            (Some(_), Some(_)) => &mut self.counts.updates,
            (Some(_), None) => &mut self.counts.inserts,
            _ => &mut self.counts.deletes,
        };
        *count += 1;
        if let Some((old, _)) = old {
            self.digest.remove_hashes(old.key, old.row);
        }
        if let Some(new) = new {
            self.digest.add_hashes(new.key, new.row);
        }
        let Some(entry) = new.or(old.as_ref().map(|(old, _)| old)) else {
            return;
        };
        self.changed.push(Changed {
            key: entry.key,
            row: entry.row,
            new: new.map_or(Place::NONE, |new| new.place),
            old: old.map(|(old, layer)| (layer, old.place)),
        });
    }
}

/// How many bytes of rows as they were before are held while changes are written.
const BEFORE_BYTES: u64 = 16 << 20;

/// Writes the changes segment: what is gone in the baseline's order, then what is new or different
/// in the order in which it was read.
///
/// The rows as they were before are fetched some thousands at a time, in the order in which they
/// stand in the baseline: one by one in the order of arrival, nearly every one of them would cost
/// the check and the unpacking of a block of its own.
pub(crate) fn write_changes(
    diff: &Difference,
    snapshot: &mut Snapshot,
    layers: &Layers,
    row_bytes: u64,
    mut writer: SegmentWriter,
) -> Result<SegmentRef> {
    let mut order: Vec<usize> = (0..diff.changed.len()).collect();
    order.sort_unstable_by_key(|i| {
        let changed = &diff.changed[*i];
        let gone = changed.new == Place::NONE;
        (!gone, if gone { changed.old } else { None }, changed.new)
    });
    let window = usize::try_from(BEFORE_BYTES / row_bytes.max(1))
        .unwrap_or(1)
        .clamp(1, 1 << 16);
    let mut fetchers = layers.fetchers();
    let mut places = vec![Place::NONE; diff.changed.len()];
    for window in order.chunks(window) {
        for (i, before) in window
            .iter()
            .zip(fetch_before(diff, window, &mut fetchers)?)
        {
            let new = diff.changed[*i].new;
            places[*i] = match before {
                Some(before) if new == Place::NONE => {
                    writer.delete(&before)?;
                    Place::NONE
                }
                Some(before) => writer.update(&snapshot.rows.fetch(new)?, &before)?,
                None => writer.insert(&snapshot.rows.fetch(new)?)?,
            };
        }
    }
    let mut index = writer.into_index()?;
    for (changed, place) in diff.changed.iter().zip(places) {
        index.push(Entry {
            key: changed.key,
            row: changed.row,
            place,
        })?;
    }
    index.finish(&[])
}

/// Returns the rows as they were before, in the order of `window`.
fn fetch_before(
    diff: &Difference,
    window: &[usize],
    fetchers: &mut [RowFetcher],
) -> Result<Vec<Option<Bytes>>> {
    let mut wanted: Vec<(Layer, Place, usize)> = window
        .iter()
        .enumerate()
        .filter_map(|(at, i)| {
            diff.changed[*i]
                .old
                .map(|(layer, place)| (layer, place, at))
        })
        .collect();
    wanted.sort_unstable();
    let mut rows = vec![None; window.len()];
    for (layer, place, at) in wanted {
        // Copied, or a row would keep its whole block.
        rows[at] = Some(Bytes::copy_from_slice(&fetchers[layer].row(place)?));
    }
    Ok(rows)
}
