//! Merging what was read with the baseline's index, and writing what differs.

use std::{cmp::Ordering, vec};

use bytes::Bytes;

use super::{known::Seen, spool::SpooledRows, unique::Unique};
use crate::{
    baseline::{
        Baseline, Entry, Layer, Layers, Manifest, MergedIndex, Place, RowFetcher, SegmentKind,
        SegmentRef,
    },
    cycle::DuplicateCounts,
    error::Result,
    event::{Counts, Digest},
    row::{KeyHash, RowHash},
    schema::Schema,
};

/// A row of the baseline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    pub(super) entry: Entry,
    pub(super) source: Source,
    /// Where it stands in the base, if it does.
    pub(super) base: Option<Place>,
    /// It was read as it is.
    pub(super) seen: bool,
}

impl Old {
    pub(super) fn stored(entry: Entry, layer: Layer, seen: bool) -> Self {
        Self {
            entry,
            source: Source::Layer(layer),
            base: (layer == 0).then_some(entry.place),
            seen,
        }
    }
}

/// Where the row of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Spool,
    Layer(Layer),
}

/// The baseline's rows in the order of key hashes: all, or those that were not read as they are.
pub(super) enum OldRows {
    Missed(vec::IntoIter<Old>),
    All {
        index: Box<MergedIndex>,
        seen: Seen,
        at: usize,
    },
}

impl OldRows {
    pub(super) fn missed(old: Vec<Old>) -> Self {
        Self::Missed(old.into_iter())
    }

    pub(super) fn all(layers: &Layers, seen: Seen) -> Result<Self> {
        Ok(Self::All {
            index: Box::new(layers.index()?),
            seen,
            at: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Old>> {
        match self {
            Self::Missed(old) => Ok(old.next()),
            Self::All { index, seen, at } => {
                let next = index.next()?;
                *at += 1;
                Ok(next.map(|(entry, layer)| {
                    Old::stored(entry, layer, seen.has(*at - 1, &entry, layer))
                }))
            }
        }
    }
}

/// One key that is new, gone, or has another row than before.
struct Changed {
    key: KeyHash,
    row: RowHash,
    /// In the spool; none when the key is gone.
    new: Place,
    old: Option<(Source, Place)>,
}

/// What differs, in the order of key hashes, and what the data set is afterwards.
pub(crate) struct Difference {
    changed: Vec<Changed>,
    /// Places in the base of rows that are changed or gone.
    superseded: Vec<Place>,
    pub(crate) counts: Counts,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
    pub(crate) duplicates: DuplicateCounts,
    spooled: SpooledRows,
    layers: Layers,
}

/// How many bytes of rows as they were before are held while changes are written.
const BEFORE_BYTES: u64 = 16 << 20;

impl Difference {
    pub(super) fn new(manifest: &Manifest, layers: Layers, spooled: SpooledRows) -> Self {
        Self {
            changed: Vec::new(),
            superseded: Vec::new(),
            counts: Counts::default(),
            rows: manifest.rows,
            digest: manifest.digest,
            duplicates: DuplicateCounts::default(),
            spooled,
            layers,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// Compares both sides.
    pub(super) fn merge(&mut self, new: &mut Unique, old: &mut OldRows) -> Result<()> {
        let (mut after, mut before) = (new.next()?, old.next()?);
        loop {
            let order = match (&after, &before) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(after), Some(before)) => after.key.cmp(&before.entry.key),
            };
            match (&after, &before) {
                (Some(after), Some(before)) if order == Ordering::Equal => {
                    let replaces = if before.seen {
                        new.settled.replaces(after, &before.entry, None)
                    } else {
                        after.row != before.entry.row
                    };
                    if replaces {
                        self.update(after, before);
                    }
                }
                (Some(after), _) if order == Ordering::Less => self.insert(after),
                (_, Some(before)) if !before.seen => self.delete(before),
                _ => {}
            }
            if order != Ordering::Greater {
                after = new.next()?;
            }
            if order != Ordering::Less {
                before = old.next()?;
            }
        }
    }

    /// Ends the comparison; fails when duplicates were refused.
    pub(super) fn settle(&mut self, new: &Unique, schema: &Schema) -> Result<()> {
        new.settled
            .check(schema, |place| self.spooled.number(place))?;
        self.duplicates = new.settled.counts;
        self.rows = self.rows + self.counts.inserts - self.counts.deletes;
        self.superseded.sort_unstable();
        Ok(())
    }

    fn insert(&mut self, new: &Entry) {
        self.counts.inserts += 1;
        self.digest.add_hashes(new.key, new.row);
        self.changed.push(Changed {
            key: new.key,
            row: new.row,
            new: new.place,
            old: None,
        });
    }

    fn update(&mut self, new: &Entry, old: &Old) {
        self.counts.updates += 1;
        self.digest.add_hashes(new.key, new.row);
        self.leave(new.row, new.place, old);
    }

    fn delete(&mut self, old: &Old) {
        self.counts.deletes += 1;
        self.leave(old.entry.row, Place::NONE, old);
    }

    fn leave(&mut self, row: RowHash, new: Place, old: &Old) {
        self.digest.remove_hashes(old.entry.key, old.entry.row);
        self.superseded.extend(old.base);
        self.changed.push(Changed {
            key: old.entry.key,
            row,
            new,
            old: Some((old.source, old.entry.place)),
        });
    }

    /// Writes the changes segment: what is gone in the baseline's order, then what is new or
    /// different in the order in which it was read.
    ///
    /// The rows as they were before are fetched some thousands at a time, in the order in which
    /// they stand in the baseline: one by one in the order of arrival, nearly every one of them
    /// would cost the check and the unpacking of a block of its own.
    pub(crate) fn write(&mut self, baseline: &Baseline, schema: &Schema) -> Result<SegmentRef> {
        let manifest = baseline.committed()?;
        let row_bytes = manifest.base.bytes / manifest.rows.max(1);
        let mut writer = baseline.create(SegmentKind::Changes, "changes", schema)?;
        let mut order: Vec<usize> = (0..self.changed.len()).collect();
        order.sort_unstable_by_key(|i| {
            let changed = &self.changed[*i];
            let gone = changed.new == Place::NONE;
            (!gone, if gone { changed.old } else { None }, changed.new)
        });
        let window = usize::try_from(BEFORE_BYTES / row_bytes.max(1))
            .unwrap_or(1)
            .clamp(1, 1 << 16);
        let mut fetchers = self.layers.fetchers();
        let mut places = vec![Place::NONE; self.changed.len()];
        for window in order.chunks(window) {
            let before = self.fetch_before(window, &mut fetchers)?;
            for (i, before) in window.iter().zip(before) {
                let new = self.changed[*i].new;
                places[*i] = match before {
                    Some(before) if new == Place::NONE => {
                        writer.delete(&before)?;
                        Place::NONE
                    }
                    Some(before) => writer.update(&self.spooled.fetch(new)?, &before)?,
                    None => writer.insert(&self.spooled.fetch(new)?)?,
                };
            }
        }
        let mut index = writer.into_index()?;
        for (changed, place) in self.changed.iter().zip(places) {
            index.push(Entry {
                key: changed.key,
                row: changed.row,
                place,
            })?;
        }
        index.finish_changes(&self.superseded)
    }

    /// Returns the rows as they were before, in the order of `window`.
    fn fetch_before(
        &mut self,
        window: &[usize],
        fetchers: &mut [RowFetcher],
    ) -> Result<Vec<Option<Bytes>>> {
        let mut wanted: Vec<(Source, Place, usize)> = window
            .iter()
            .enumerate()
            .filter_map(|(at, i)| {
                self.changed[*i]
                    .old
                    .map(|(source, place)| (source, place, at))
            })
            .collect();
        wanted.sort_unstable();
        let mut rows = vec![None; window.len()];
        for (source, place, at) in wanted {
            rows[at] = Some(match source {
                Source::Spool => self.spooled.fetch(place)?,
                // Copied, or a row would keep its whole block.
                Source::Layer(layer) => Bytes::copy_from_slice(&fetchers[layer].row(place)?),
            });
        }
        Ok(rows)
    }
}
