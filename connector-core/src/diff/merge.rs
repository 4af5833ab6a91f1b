//! Merging what was read with the baseline's index, and writing what differs.

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;

use super::{
    known::Seen,
    runs::{Runs, Sorted},
    spool::SpooledRows,
    unique::Unique,
};
use crate::{
    baseline::{
        Baseline, Digester, Entry, Item, Layer, Layers, MergedIndex, Place, Retain, RowFetcher,
        SegmentKind, SegmentRef, part,
    },
    cycle::DuplicateCounts,
    error::Result,
    event::{Counts, Digest},
    row::{KeyHash, RowHash, RowRef},
    schema::{Gone, Schema},
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
            source: Source::Layer(u32::try_from(layer).unwrap_or(u32::MAX)),
            base: (layer == 0).then_some(entry.place),
            seen,
        }
    }
}

impl Item for Old {
    type Order = KeyHash;
    type Bytes = [u8; 45];

    fn order(&self) -> KeyHash {
        self.entry.key
    }

    fn to_bytes(self) -> [u8; 45] {
        let mut bytes = [0; 45];
        bytes[..32].copy_from_slice(&self.entry.to_bytes());
        bytes[32..36].copy_from_slice(&self.source.to_number().to_le_bytes());
        bytes[36..44].copy_from_slice(&self.base.unwrap_or(Place::NONE).to_bytes());
        bytes[44] = u8::from(self.seen);
        bytes
    }

    fn from_bytes(bytes: &[u8; 45]) -> Self {
        Self {
            entry: Entry::from_bytes(&part(bytes, 0)),
            source: Source::from_number(u32::from_le_bytes(part(bytes, 32))),
            base: Some(Place::from_bytes(&part(bytes, 36))).filter(|base| *base != Place::NONE),
            seen: bytes[44] != 0,
        }
    }
}

/// Where the row of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Spool,
    Layer(u32),
}

impl Source {
    fn to_number(self) -> u32 {
        match self {
            Self::Spool => 0,
            Self::Layer(layer) => layer.saturating_add(1),
        }
    }

    fn from_number(number: u32) -> Self {
        match number.checked_sub(1) {
            None => Self::Spool,
            Some(layer) => Self::Layer(layer),
        }
    }
}

/// The baseline's rows in the order of key hashes: all, or those that were not read as they are.
pub(super) enum OldRows {
    Missed(Sorted<Old>),
    All {
        index: Box<MergedIndex>,
        seen: Seen,
        at: usize,
    },
}

impl OldRows {
    pub(super) fn all(layers: &Layers, seen: Seen) -> Result<Self> {
        Ok(Self::All {
            index: Box::new(layers.index()?),
            seen,
            at: 0,
        })
    }

    /// Returns the next row. Those that were read as they are, are passed over up to a key.
    fn next(&mut self, up_to: Option<KeyHash>) -> Result<Option<Old>> {
        match self {
            Self::Missed(old) => old.next(),
            Self::All { index, seen, at } => {
                while let Some((entry, layer)) = index.next()? {
                    *at += 1;
                    let seen = seen.has(*at - 1, &entry, layer)?;
                    if !seen || up_to.is_some_and(|key| entry.key >= key) {
                        return Ok(Some(Old::stored(entry, layer, seen)));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// One key that is new, gone, or has another row than before.
#[derive(Clone, Copy)]
struct Changed {
    /// A key hash; as bytes, it does not make the rest be aligned to its size.
    key: [u8; 16],
    row: RowHash,
    /// In the spool; none when the key is gone.
    new: Place,
    old: Option<(Source, Place)>,
    old_row: RowHash,
}

/// In the order in which changes are written: what is gone in the baseline's order, then what is
/// new or different in the order in which it was read.
impl Item for Changed {
    type Order = (bool, Option<(Source, Place)>, Place);
    type Bytes = [u8; 52];

    fn order(&self) -> Self::Order {
        let gone = self.new == Place::NONE;
        (!gone, if gone { self.old } else { None }, self.new)
    }

    fn to_bytes(self) -> [u8; 52] {
        let (source, old) = match self.old {
            None => (0, Place::NONE),
            Some((source, place)) => (source.to_number().saturating_add(1), place),
        };
        let mut bytes = [0; 52];
        bytes[..16].copy_from_slice(&self.key);
        bytes[16..24].copy_from_slice(&self.row.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.new.to_bytes());
        bytes[32..40].copy_from_slice(&old.to_bytes());
        bytes[40..48].copy_from_slice(&self.old_row.0.to_le_bytes());
        bytes[48..].copy_from_slice(&u32::to_le_bytes(source));
        bytes
    }

    fn from_bytes(bytes: &[u8; 52]) -> Self {
        let old = Place::from_bytes(&part(bytes, 32));
        Self {
            key: part(bytes, 0),
            row: RowHash(u64::from_le_bytes(part(bytes, 16))),
            new: Place::from_bytes(&part(bytes, 24)),
            old_row: RowHash(u64::from_le_bytes(part(bytes, 40))),
            old: (u32::from_le_bytes(part(bytes, 48)).checked_sub(1))
                .map(|source| (Source::from_number(source), old)),
        }
    }
}

/// What differs, and what the data set is afterwards.
pub(crate) struct Difference {
    schema: Arc<Schema>,
    gone: Gone,
    changed: Runs<Changed>,
    /// Places in the base of rows that are changed or gone.
    superseded: Runs<Place>,
    pub(crate) counts: Counts,
    pub(crate) rows: u64,
    pub(crate) digest: Digest,
    pub(crate) duplicates: DuplicateCounts,
    /// Rows that were not read and stay.
    pub(crate) kept: u64,
    spooled: SpooledRows,
    layers: Layers,
    memory: u64,
}

/// How many bytes of rows as they were before are held while changes are written, where there is
/// memory, and how many of them at most.
const BEFORE_BYTES: u64 = 4 << 20;
const BEFORE_ROWS: usize = 1 << 16;

impl Difference {
    /// Compares both sides. Keeps up to `memory` bytes of what differs in memory.
    ///
    /// `known` is the digest of the rows that were read and found known, when that is not certain:
    /// nothing comes of the comparison when a row passed for another.
    pub(super) fn new(
        baseline: &Baseline,
        layers: Layers,
        spooled: SpooledRows,
        (mut new, mut old, known): (Unique, OldRows, Option<Digest>),
        (gone, memory): (Gone, u64),
    ) -> Result<Option<Self>> {
        let manifest = baseline.committed()?;
        let mut diff = Self {
            schema: Arc::clone(spooled.schema()),
            gone,
            changed: Runs::new("changed", memory),
            superseded: Runs::new("superseded", memory / 4),
            counts: Counts::default(),
            rows: manifest.rows,
            digest: manifest.digest,
            duplicates: DuplicateCounts::default(),
            kept: 0,
            spooled,
            layers,
            memory,
        };
        let met = diff.merge(&mut new, &mut old, baseline)?;
        if known.is_some_and(|known| known + met != diff.digest) {
            return Ok(None);
        }
        new.settled
            .check(&diff.schema, |place| diff.spooled.number(place))?;
        diff.duplicates = new.settled.counts;
        diff.rows = diff.rows + diff.counts.inserts - diff.counts.deletes;
        Ok(Some(diff))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts == Counts::default()
    }

    /// Returns the digest of the rows that were met here and stay.
    fn merge(
        &mut self,
        new: &mut Unique,
        old: &mut OldRows,
        baseline: &Baseline,
    ) -> Result<Digest> {
        let (nothing, mut met) = (|_| Ok(()), Digest::default());
        let mut after = new.next(nothing)?;
        let mut before = old.next(after.map(|after| after.key))?;
        loop {
            let order = match (&after, &before) {
                (None, None) => return Ok(met),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(after), Some(before)) => after.key.cmp(&before.entry.key),
            };
            match (&after, &before) {
                (Some(after), Some(before)) if order == Ordering::Equal => {
                    let stays = if before.seen {
                        let replaces = new.settled.replaces(after, &before.entry, None);
                        if replaces {
                            met.remove_hashes(before.entry.key, before.entry.row);
                        }
                        replaces
                    } else {
                        true
                    };
                    if stays {
                        met.add_hashes(after.key, after.row);
                    }
                    if stays && after.row != before.entry.row {
                        self.changed(Some(after), Some(before), baseline)?;
                    }
                }
                (Some(after), _) if order == Ordering::Less => {
                    met.add_hashes(after.key, after.row);
                    self.changed(Some(after), None, baseline)?;
                }
                (_, Some(before)) if !before.seen => match self.gone {
                    Gone::Delete => self.changed(None, Some(before), baseline)?,
                    Gone::Keep => {
                        met.add_hashes(before.entry.key, before.entry.row);
                        self.kept += 1;
                    }
                },
                _ => {}
            }
            if order != Ordering::Greater {
                after = new.next(nothing)?;
            }
            if order != Ordering::Less {
                before = old.next(after.map(|after| after.key))?;
            }
        }
    }

    /// Notes one key whose row was `old` and is `new`.
    fn changed(
        &mut self,
        new: Option<&Entry>,
        old: Option<&Old>,
        baseline: &Baseline,
    ) -> Result<()> {
        let count = match (new, old) {
            (Some(_), Some(_)) => &mut self.counts.updates,
            (Some(_), None) => &mut self.counts.inserts,
            _ => &mut self.counts.deletes,
        };
        *count += 1;
        if let Some(old) = old {
            self.digest.remove_hashes(old.entry.key, old.entry.row);
            if let Some(place) = old.base {
                self.superseded.push(place, baseline, &self.schema)?;
            }
        }
        if let Some(new) = new {
            self.digest.add_hashes(new.key, new.row);
        }
        let Some(entry) = new.or(old.map(|old| &old.entry)) else {
            return Ok(());
        };
        let changed = Changed {
            key: entry.key.0.to_le_bytes(),
            row: entry.row,
            new: new.map_or(Place::NONE, |new| new.place),
            old: old.map(|old| (old.source, old.entry.place)),
            old_row: old.map_or(RowHash(0), |old| old.entry.row),
        };
        self.changed.push(changed, baseline, &self.schema)
    }

    /// Writes the changes segment, with the rows as they were or their digests.
    ///
    /// The rows as they were before are fetched some thousands at a time, in the order in which
    /// they stand in the baseline: one by one in the order of arrival, nearly every one of them
    /// would cost the check and the unpacking of a block of its own.
    pub(crate) fn write(mut self, baseline: &Baseline, retain: Retain) -> Result<SegmentRef> {
        let manifest = baseline.committed()?;
        let row_bytes = (manifest.base.bytes / manifest.rows.max(1)).max(1);
        let together =
            usize::try_from(BEFORE_BYTES.min(self.memory / 8) / row_bytes).unwrap_or(BEFORE_ROWS);
        let mut writer = baseline.create(SegmentKind::Changes, "changes", &self.schema)?;
        let mut entries = Runs::new("index", self.memory / 2);
        let mut changed = self.changed.finish()?;
        let mut befores = Befores {
            layers: &self.layers,
            fetchers: self.layers.fetchers(),
            schema: &self.schema,
            digester: (!retain.is_rows()).then(|| Digester::new(&self.schema)),
        };
        let spooled = &mut self.spooled;
        loop {
            let some = (&mut changed).take(together.clamp(1, BEFORE_ROWS));
            let some = some.collect::<Result<Vec<Changed>>>()?;
            if some.is_empty() {
                break;
            }
            for (changed, before) in some.iter().zip(befores.of(&some, spooled)?) {
                let place = if changed.new == Place::NONE {
                    writer.delete(&before.unwrap_or_default(), retain)?;
                    Place::NONE
                } else {
                    let after = spooled.fetch(changed.new)?;
                    match (changed.old, before) {
                        (None, _) => writer.insert(&after)?,
                        (Some(_), Some(before)) => writer.update(&after, &before, retain)?,
                        (Some(_), None) => {
                            let before = befores.digest(&after, changed.old_row);
                            writer.update(&after, &before, retain)?
                        }
                    }
                };
                let entry = Entry {
                    key: KeyHash(u128::from_le_bytes(changed.key)),
                    row: changed.row,
                    place,
                };
                entries.push(entry, baseline, &self.schema)?;
            }
        }
        let mut index = writer.into_index()?;
        for entry in entries.finish()? {
            index.push(entry?)?;
        }
        index.finish_changes(self.superseded.finish()?)
    }
}

/// Rows as they were, or their digests.
struct Befores<'a> {
    layers: &'a Layers,
    fetchers: Vec<RowFetcher>,
    schema: &'a Schema,
    /// Set where only digests are kept.
    digester: Option<Digester>,
}

impl Befores<'_> {
    /// Returns the row of each change as it was before. Where only digests are kept, the digest of
    /// each that is gone: the others' is made of the row as it is.
    fn of(&mut self, changed: &[Changed], spooled: &mut SpooledRows) -> Result<Vec<Option<Bytes>>> {
        let digests = self.digester.is_some();
        let old = changed.iter().enumerate();
        let mut wanted: Vec<(Source, Place, usize)> = old
            .filter(|(_, changed)| !digests || changed.new == Place::NONE)
            .filter_map(|(at, changed)| changed.old.map(|(source, place)| (source, place, at)))
            .collect();
        wanted.sort_unstable();
        let mut rows = vec![None; changed.len()];
        for (source, place, at) in wanted {
            let (row, kept) = match source {
                Source::Spool => (spooled.fetch(place)?, false),
                Source::Layer(layer) => (
                    self.fetchers[layer as usize].row(place)?,
                    layer == 0 && self.layers.base().keeps_digests(),
                ),
            };
            rows[at] = Some(if digests && !kept {
                self.digest(&row, changed[at].old_row)
            } else {
                // Copied, or a row would keep its whole block.
                Bytes::copy_from_slice(&row)
            });
        }
        Ok(rows)
    }

    /// Returns the digest of a row with that key.
    fn digest(&mut self, row: &[u8], hash: RowHash) -> Bytes {
        let row = RowRef::new(self.schema, row);
        let digest = self
            .digester
            .as_mut()
            .map(|digester| digester.digest(row, hash));
        digest.map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(digest.bytes()))
    }
}
