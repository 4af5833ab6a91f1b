//! Writing a new base: to take the changes in when they have grown, and to give rows new columns.

use std::sync::Arc;

use crate::{
    baseline::{Baseline, Digester, Entry, LiveRows, Manifest, Retain, SegmentKind, SegmentRef},
    diff::{ByKey, KeyOrder, Runs, Temporary},
    error::Result,
    event::{Counts, Digest},
    row::{KeyHash, Row, RowHash, encode_key},
    schema::Schema,
};

/// Changes are folded when they take more than this share of the base: one part in four.
const SHARE: u64 = 4;

/// Small data sets are not folded after every cycle.
const AT_LEAST: u64 = 64 << 10;

/// What a change since the base takes in memory while it is folded: its place.
const IN_MEMORY: u64 = 8;

/// Changes of more cycles than these are folded however few they are: each cycle's are a file that
/// is open, and read along with the base.
const MOST_CYCLES: usize = 128;

/// Tells whether the changes have grown past their share, past what `memory` holds of them, or into
/// too many files.
pub(crate) fn is_due(manifest: &Manifest, memory: u64) -> bool {
    // A held cycle's changes are those since this base.
    if manifest.held.is_some() {
        return false;
    }
    let (mut bytes, mut records) = (0, 0);
    for change in manifest.live_changes() {
        let Counts {
            inserts,
            updates,
            deletes,
            ..
        } = change.counts;
        bytes += change.segment.bytes;
        records += inserts + updates + deletes;
    }
    let grown = bytes > AT_LEAST.max(manifest.base.bytes / SHARE);
    let crowded = records * IN_MEMORY > memory / 2 && bytes > AT_LEAST;
    grown || crowded || manifest.live_changes().len() > MOST_CYCLES
}

/// Tells whether the rows of a full load can be dropped for their digests: every sink has them.
pub(crate) fn is_delivered(manifest: &Manifest, sinks: &[String]) -> bool {
    let confirmed = |sink: &String| manifest.sinks.get(sink) == Some(&manifest.cycle.number());
    manifest.held.is_none() && sinks.iter().all(confirmed)
}

/// Takes the changes into a new base. The cycle is delivered by now: a crash here costs nothing.
pub(crate) fn fold(mut baseline: Baseline, retain: Retain, memory: u64) -> Result<Baseline> {
    let mut next = baseline.committed()?.clone();
    (next.base, _) = rewrite(&baseline, None, retain, memory)?;
    next.retained = retain;
    next.base_cycle = next.cycle.number();
    baseline.commit(next)?;
    Ok(baseline)
}

/// Lets go of old history.
pub(crate) fn let_go(mut baseline: Baseline, history: u32, sinks: &[String]) -> Result<()> {
    let manifest = baseline.committed()?;
    let mut next = manifest.clone();
    trim_history(&mut next, history, sinks);
    if next != *manifest {
        baseline.commit(next)?;
    }
    Ok(())
}

/// Gives every row the columns of `schema`, which extends the baseline's. No event comes of it:
/// what the source holds in new columns is found by the cycle that follows.
pub(crate) fn recode(
    mut baseline: Baseline,
    schema: &Arc<Schema>,
    memory: u64,
) -> Result<Baseline> {
    let mut next = baseline.committed()?.clone();
    (next.base, next.digest) = rewrite(&baseline, Some(schema), Retain::Rows, memory)?;
    next.base_cycle = next.cycle.number();
    next.schema = (**schema).clone();
    // A held cycle was compared with the old columns.
    next.held = None;
    baseline.commit(next)?;
    Ok(baseline)
}

/// Drops history: folded cycles beyond the last `history`, except those that a sink still waits
/// for, as long as they are less to send than the whole data set.
fn trim_history(manifest: &mut Manifest, history: u32, sinks: &[String]) {
    let confirmed = sinks
        .iter()
        .filter_map(|sink| manifest.sinks.get(sink))
        .min()
        .copied();
    let kept_from = manifest.cycle.number().saturating_sub(u64::from(history));
    let waited: u64 = manifest
        .changes
        .iter()
        .filter(|c| confirmed.is_some_and(|confirmed| c.cycle.number() > confirmed))
        .map(|c| c.segment.bytes)
        .sum();
    let wait_from = confirmed
        .filter(|_| waited <= manifest.base.bytes)
        .unwrap_or(u64::MAX);
    let base_cycle = manifest.base_cycle;
    manifest.changes.retain(|changes| {
        let number = changes.cycle.number();
        number > base_cycle || number > kept_from || number > wait_from
    });
}

/// Writes all rows of the baseline into a new base: in the order of keys where the old one is, so
/// that a source that returns them so is met row by row again.
fn rewrite(
    baseline: &Baseline,
    schema: Option<&Arc<Schema>>,
    retain: Retain,
    memory: u64,
) -> Result<(SegmentRef, Digest)> {
    let manifest = baseline.committed()?;
    let columns = schema.map_or(&manifest.schema, |schema| schema);
    let (mut writer, mut digester) = match retain {
        Retain::Rows => (baseline.create(SegmentKind::Base, "base", columns)?, None),
        Retain::Digests => (
            baseline.create(SegmentKind::Digests, "base", &columns.digests())?,
            Some(Digester::new(columns)),
        ),
    };
    let mut file = Temporary::new(baseline, writer.file());
    let layers = baseline.layers()?;
    let ordered = layers.base().is_ordered();
    let mut rows = if ordered {
        let (mut changed, mut by_key) = (layers.changed_rows()?, ByKey::new(memory / 2));
        while let Some(row) = changed.next()? {
            by_key.push(&row, baseline)?;
        }
        Rows::ByKey(by_key.merge(layers.base_rows()?)?)
    } else {
        Rows::AsTheyStand(Box::new(layers.rows()?))
    };
    let mut entries = Runs::new("entries", memory / 2);
    let (mut digest, mut key) = (Digest::default(), Vec::new());
    while let Some(row) = rows.next()? {
        let row = match schema {
            Some(schema) => row.recode(schema)?,
            None => row,
        };
        key.clear();
        encode_key(row.as_ref(), &mut key);
        let key = KeyHash::of(&key);
        let hash = RowHash::of(row.as_ref());
        digest.add_hashes(key, hash);
        let place = match &mut digester {
            Some(digester) if !row.is_digest() => {
                writer.row(digester.digest(row.as_ref(), hash).bytes())?
            }
            _ => writer.row(row.bytes())?,
        };
        let entry = Entry {
            key,
            row: hash,
            place,
        };
        entries.push(entry, baseline, columns)?;
    }
    let mut index = writer.into_index()?;
    for entry in entries.finish()? {
        index.push(entry?)?;
    }
    let segment = index.finish_base(std::iter::empty(), ordered)?;
    file.keep();
    Ok((segment, digest))
}

enum Rows {
    ByKey(KeyOrder),
    AsTheyStand(Box<LiveRows>),
}

impl Rows {
    fn next(&mut self) -> Result<Option<Row>> {
        match self {
            Self::ByKey(rows) => rows.next(),
            Self::AsTheyStand(rows) => rows.next(),
        }
    }
}
