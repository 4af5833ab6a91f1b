//! Merging a snapshot's entries with the baseline's.

use std::cmp::Ordering;

use super::spool::Snapshot;
use crate::{
    baseline::{Entry, Layer, Layers, Place, SegmentRef, SegmentWriter},
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
    snapshot: &Snapshot,
    layers: &Layers,
    digest: Digest,
) -> Result<Difference> {
    let mut index = layers.index()?;
    let mut old = index.next()?;
    let mut new = snapshot.entries.iter().peekable();
    let rows = snapshot.entries.len() as u64;
    let mut diff = Difference {
        changed: Vec::new(),
        counts: Counts::default(),
        rows,
        digest,
    };
    loop {
        let order = match (new.peek(), &old) {
            (None, None) => return Ok(diff),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(new), Some((old, _))) => new.key.cmp(&old.key),
        };
        let new = if order == Ordering::Greater {
            None
        } else {
            new.next()
        };
        let before = if order == Ordering::Less { None } else { old };
        if before.is_some() {
            old = index.next()?;
        }
        diff.compare(new, before);
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

/// Writes the changes segment: what is gone in the baseline's order, then what is new or different
/// in the order in which it was read. So both files are read forwards.
pub(crate) fn write_changes(
    diff: &Difference,
    snapshot: &mut Snapshot,
    layers: &Layers,
    mut writer: SegmentWriter,
) -> Result<SegmentRef> {
    let mut order: Vec<usize> = (0..diff.changed.len()).collect();
    order.sort_unstable_by_key(|i| {
        let changed = &diff.changed[*i];
        let gone = changed.new == Place::NONE;
        (!gone, if gone { changed.old } else { None }, changed.new)
    });
    let mut fetchers = layers.fetchers();
    let mut places = vec![Place::NONE; diff.changed.len()];
    for i in order {
        let changed = &diff.changed[i];
        let before = match changed.old {
            Some((layer, place)) => Some(fetchers[layer].row(place)?),
            None => None,
        };
        places[i] = match before {
            Some(before) if changed.new == Place::NONE => {
                writer.delete(&before)?;
                Place::NONE
            }
            Some(before) => writer.update(&snapshot.rows.fetch(changed.new)?, &before)?,
            None => writer.insert(&snapshot.rows.fetch(changed.new)?)?,
        };
    }
    let entries = diff.changed.iter().zip(places);
    writer.finish(
        entries.map(|(changed, place)| Entry {
            key: changed.key,
            row: changed.row,
            place,
        }),
        &[],
    )
}
