//! What a sink lacks, found out by asking it for digests of ever narrower ranges of keys.

use std::{sync::Arc, vec};

use tracing::info;

use crate::{
    baseline::{Baseline, Entry, Layer, Layers, RowFetcher, blocking},
    copies::{Copies, KeyRange, RangeDigest, RangeDigests},
    error::{Error, ErrorKind, Result},
    event::{Change, CycleId, DatasetId},
    row::{KeyHash, Row, RowHash},
    schema::Schema,
};

/// Ranges that are asked for first, and at most. An answer is some 50 bytes a range on the wire.
const FIRST_RANGES: u32 = 4_096;
const MOST_RANGES: u32 = 65_536;

/// Ranges of fewer rows are not worth another pass of the sink over all its rows.
const ROWS_A_RANGE: u64 = 16;

/// So many passes; each after the first narrows what differs to a sixteenth or more.
const PASSES: u32 = 3;

/// With more rows to look at one by one, everything is sent: they are held in memory.
const MOST_ROWS: u64 = 131_072;

/// So few rows are looked at even when they are all there are.
const FEW_ROWS: u64 = 1_024;

/// The state of a data set in the store, to compare a sink's copy with.
pub(crate) struct Compared {
    pub(crate) dataset: DatasetId,
    pub(crate) cycle: CycleId,
    pub(crate) whole: RangeDigest,
    schema: Arc<Schema>,
    layers: Layers,
}

/// What leads from a sink's copy to the state in the store.
pub(crate) struct Fixes {
    rest: vec::IntoIter<Fix>,
    schema: Arc<Schema>,
    fetchers: Vec<RowFetcher>,
}

/// One row that differs. Rows of the sink are digests.
enum Fix {
    Insert(Entry, Layer),
    Update(Row, Entry, Layer),
    Delete(Row),
}

impl Compared {
    pub(crate) fn new(baseline: &Baseline) -> Result<Self> {
        let manifest = baseline.committed()?;
        Ok(Self {
            dataset: baseline.id.clone(),
            cycle: manifest.cycle.as_repair(),
            whole: RangeDigest {
                rows: manifest.rows,
                digest: manifest.digest,
            },
            schema: Arc::new(manifest.schema.clone()),
            layers: baseline.layers()?,
        })
    }

    /// Finds what differs; none when that can't be told, or is so much that everything may as well
    /// be sent. The outer error is the store's, the inner one the sink's.
    pub(crate) async fn fixes(&self, copies: &mut dyn Copies) -> Result<Result<Option<Fixes>>> {
        let (ranges, rows) = match self.differing(copies).await? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        if rows > MOST_ROWS || rows > FEW_ROWS.max(self.whole.rows / 2) {
            return Ok(Ok(None));
        }
        let held = if ranges.is_empty() {
            Vec::new()
        } else {
            match copies.rows(&self.dataset, &self.schema, &ranges).await {
                Ok(held) => held,
                Err(error) => return Ok(Err(error)),
            }
        };
        let (layers, schema) = (self.layers.clone(), Arc::clone(&self.schema));
        let fixes = blocking(move || compare(&layers, schema, &ranges, held)).await?;
        if let Ok(fixes) = &fixes {
            info!(
                "a sink's copy of {} differs from the store in {} of {} rows, which are sent to it",
                self.dataset,
                fixes.rest.len(),
                self.whole.rows
            );
        }
        Ok(fixes.map(Some))
    }

    /// Narrows down to the ranges that differ, and how many rows there are to look at in them.
    async fn differing(
        &self,
        copies: &mut dyn Copies,
    ) -> Result<Result<Option<(Vec<KeyRange>, u64)>>> {
        let parts = u32::try_from(self.whole.rows / ROWS_A_RANGE).unwrap_or(u32::MAX);
        let mut ranges: Vec<_> = KeyRange::ALL.split(parts.min(FIRST_RANGES)).collect();
        let mut pass = 1;
        loop {
            let layers = self.layers.clone();
            let ours;
            (ranges, ours) = blocking(move || {
                let ours = digests(&layers, &ranges)?;
                Ok((ranges, ours))
            })
            .await?;
            if pass == 1 && sum(&ours) != self.whole {
                tracing::error!(
                    "the index of {} does not add up to its digest",
                    self.dataset
                );
                return Ok(Ok(None));
            }
            let asked = copies.digests(&self.dataset, &self.schema, &ranges).await;
            let theirs = match asked {
                Ok(Some(theirs)) if theirs.len() == ranges.len() => theirs,
                Ok(Some(_)) => return Ok(Err(senseless("as many digests as ranges"))),
                Ok(None) => return Ok(Ok(None)),
                Err(error) => return Ok(Err(error)),
            };
            let (mut differing, mut rows) = (Vec::new(), 0);
            for (range, (ours, theirs)) in ranges.iter().zip(ours.iter().zip(&theirs)) {
                if ours != theirs {
                    differing.push(*range);
                    rows += ours.rows.max(theirs.rows);
                }
            }
            let count = u32::try_from(differing.len()).unwrap_or(u32::MAX);
            let parts = MOST_RANGES / count.max(1);
            let narrow = rows <= u64::from(count) * ROWS_A_RANGE;
            if narrow || parts < 2 || pass == PASSES {
                return Ok(Ok(Some((differing, rows))));
            }
            ranges = differing
                .iter()
                .flat_map(|range| range.split(parts))
                .collect();
            pass += 1;
        }
    }
}

impl Fixes {
    pub(crate) fn next(&mut self) -> Result<Option<Change>> {
        let Some(fix) = self.rest.next() else {
            return Ok(None);
        };
        let mut fetch = |entry: Entry, layer: Layer| {
            let bytes = self.fetchers[layer].row(entry.place)?;
            Ok::<_, Error>(Row::new(Arc::clone(&self.schema), bytes))
        };
        Ok(Some(match fix {
            Fix::Insert(entry, layer) => Change::Insert {
                after: fetch(entry, layer)?,
            },
            Fix::Update(before, entry, layer) => Change::Update {
                before,
                after: fetch(entry, layer)?,
            },
            Fix::Delete(before) => Change::Delete { before },
        }))
    }
}

impl Fix {
    /// Deletions first, then rows as they lie in the files.
    fn order(&self) -> Option<(Layer, crate::baseline::Place)> {
        match self {
            Self::Insert(entry, layer) | Self::Update(_, entry, layer) => {
                Some((*layer, entry.place))
            }
            Self::Delete(_) => None,
        }
    }
}

fn sum(parts: &[RangeDigest]) -> RangeDigest {
    let mut whole = RangeDigest::default();
    for part in parts {
        whole.rows += part.rows;
        whole.digest = whole.digest + part.digest;
    }
    whole
}

fn digests(layers: &Layers, ranges: &[KeyRange]) -> Result<Vec<RangeDigest>> {
    let mut digests = RangeDigests::new(ranges);
    let mut index = layers.index()?;
    while let Some((entry, _)) = index.next()? {
        digests.add(entry.key, entry.row);
    }
    Ok(digests.finish())
}

/// Compares the rows of some ranges with those that a sink holds there. The outer error is the
/// store's, the inner one the sink's.
fn compare(
    layers: &Layers,
    schema: Arc<Schema>,
    ranges: &[KeyRange],
    held: Vec<Row>,
) -> Result<Result<Fixes>> {
    let mut theirs: Vec<(KeyHash, RowHash, Row)> = Vec::with_capacity(held.len());
    for row in held {
        let key = row.key().hash();
        let Some(hash) = row.as_ref().digest() else {
            return Ok(Err(senseless("digests of rows")));
        };
        if theirs.last().is_some_and(|(last, ..)| *last >= key) {
            return Ok(Err(senseless("rows in the order of key hashes")));
        }
        theirs.push((key, hash, row));
    }
    let mut theirs = theirs.into_iter().peekable();
    let mut fixes = Vec::new();
    let mut index = layers.index()?;
    let mut at = 0;
    while let Some((entry, layer)) = index.next()? {
        while ranges
            .get(at)
            .is_some_and(|range| range.ends_before(entry.key))
        {
            at += 1;
        }
        match ranges.get(at) {
            None => break,
            Some(range) if !range.has(entry.key) => continue,
            Some(_) => {}
        }
        while let Some((.., gone)) = theirs.next_if(|(key, ..)| *key < entry.key) {
            fixes.push(Fix::Delete(gone));
        }
        match theirs.next_if(|(key, ..)| *key == entry.key) {
            None => fixes.push(Fix::Insert(entry, layer)),
            Some((_, hash, before)) if hash != entry.row => {
                fixes.push(Fix::Update(before, entry, layer));
            }
            Some(_) => {}
        }
    }
    fixes.extend(theirs.map(|(.., gone)| Fix::Delete(gone)));
    fixes.sort_by_key(Fix::order);
    Ok(Ok(Fixes {
        rest: fixes.into_iter(),
        schema,
        fetchers: layers.fetchers(),
    }))
}

/// An answer that a sink should not have given.
fn senseless(wanted: &str) -> Error {
    let message = format!("a sink that was asked for what it holds did not answer with {wanted}");
    Error::new(ErrorKind::Sink, message)
}
