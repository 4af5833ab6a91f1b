//! What a complete read becomes: a new base, or a changes segment; committed, or held.

use std::collections::BTreeMap;

use tracing::info;

use crate::{
    baseline::{Baseline, CycleChanges, Held, HeldCycle, Manifest, Retain, SegmentRef},
    cycle::DeleteGuard,
    diff::{Difference, NewBase},
    error::Result,
    event::{Counts, CycleId},
    schema::{Gone, Schema},
    time::Timestamp,
};

/// What there is to know of a complete read besides its rows.
pub(crate) struct Settled<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) retain: Retain,
    /// What it leaves for the next read.
    pub(crate) bookmark: Option<String>,
    pub(crate) guard: Option<DeleteGuard>,
    pub(crate) now: Timestamp,
}

/// Commits a full load, or holds it.
pub(crate) fn full(
    baseline: &mut Baseline,
    base: NewBase,
    settled: Settled<'_>,
) -> Result<Option<Held>> {
    let Settled {
        schema,
        bookmark,
        guard,
        now,
        ..
    } = settled;
    let NewBase {
        segment,
        rows,
        digest,
        ..
    } = base;
    let counts = Counts {
        truncates: 1,
        inserts: rows,
        snapshot_completes: 1,
        ..Counts::default()
    };
    let held = HeldCycle {
        segment,
        full: true,
        schema: schema.clone(),
        counts,
        rows,
        digest,
        since: baseline.manifest().and_then(held_since).unwrap_or(now),
    };
    let Some(mut manifest) = baseline.manifest().cloned() else {
        let mut manifest = first(baseline, held, now);
        manifest.bookmark = bookmark;
        return baseline.commit(manifest).map(|()| None);
    };
    let gone = manifest.rows.saturating_sub(rows);
    if guard.is_some_and(|guard| guard.holds(manifest.rows, rows, gone)) {
        return hold(baseline, manifest, held).map(Some);
    }
    manifest.held = None;
    manifest.synced = now;
    manifest.bookmark = bookmark;
    apply(&mut manifest, held, now);
    baseline.commit(manifest).map(|()| None)
}

/// The state after the very first load.
fn first(baseline: &Baseline, load: HeldCycle, now: Timestamp) -> Manifest {
    Manifest {
        generation: 0,
        connector: baseline.id.connector().to_owned(),
        dataset: baseline.id.dataset().to_owned(),
        schema: load.schema,
        rows: load.rows,
        digest: load.digest,
        cycle: CycleId::new(1, now, true),
        synced: now,
        base: load.segment,
        retained: Retain::Rows,
        base_cycle: 1,
        full_cycle: 1,
        changes: Vec::new(),
        sinks: BTreeMap::new(),
        bookmark: None,
        held: None,
    }
}

/// Commits the changes since the baseline, or holds them.
pub(crate) fn changes(
    baseline: &mut Baseline,
    diff: Difference,
    settled: Settled<'_>,
) -> Result<Option<Held>> {
    let Settled {
        schema,
        retain,
        bookmark,
        guard,
        now,
    } = settled;
    let mut manifest = baseline.committed()?.clone();
    manifest.schema = schema.clone();
    manifest.synced = now;
    manifest.bookmark = bookmark;
    let since = held_since(&manifest).unwrap_or(now);
    if manifest.held.take().is_some() {
        info!(
            "data set {}: the held cycle is replaced by this one",
            baseline.id.dataset()
        );
    }
    if diff.kept > 0 && schema.gone() == Gone::Keep {
        info!(
            "data set {}: {} records that the source no longer has are kept",
            baseline.id.dataset(),
            diff.kept
        );
    }
    if diff.is_empty() {
        return baseline.commit(manifest).map(|()| None);
    }
    let counts = Counts {
        snapshot_completes: 1,
        ..diff.counts
    };
    let (rows, digest) = (diff.rows, diff.digest);
    let segment: SegmentRef = diff.write(baseline, retain)?;
    let held = HeldCycle {
        segment,
        full: false,
        schema: schema.clone(),
        counts,
        rows,
        digest,
        since,
    };
    if guard.is_some_and(|guard| guard.holds(manifest.rows, rows, counts.deletes)) {
        return hold(baseline, manifest, held).map(Some);
    }
    apply(&mut manifest, held, now);
    baseline.commit(manifest).map(|()| None)
}

/// Since when a person is waited for: reads that come to the same again do not start it anew.
fn held_since(manifest: &Manifest) -> Option<Timestamp> {
    manifest.held.as_ref().map(|held| held.since)
}

fn hold(baseline: &mut Baseline, mut manifest: Manifest, held: HeldCycle) -> Result<Held> {
    let report = Held {
        since: held.since,
        counts: held.counts,
        rows_before: manifest.rows,
        rows_after: held.rows,
    };
    manifest.held = Some(held);
    // Only a read of everything can tell whether it is still so.
    manifest.bookmark = None;
    baseline.commit(manifest)?;
    Ok(report)
}

/// Makes a written cycle the newest of the manifest.
pub(crate) fn apply(manifest: &mut Manifest, held: HeldCycle, now: Timestamp) {
    let HeldCycle {
        segment,
        full,
        schema,
        counts,
        rows,
        digest,
        ..
    } = held;
    let number = manifest.cycle.number() + 1;
    let cycle = CycleId::new(number, now, full);
    if full {
        manifest.base = segment;
        manifest.retained = Retain::Rows;
        manifest.base_cycle = number;
        manifest.full_cycle = number;
        manifest.changes.clear();
    } else {
        manifest.changes.push(CycleChanges {
            segment,
            cycle,
            counts,
            rows,
            digest,
        });
    }
    manifest.schema = schema;
    manifest.cycle = cycle;
    manifest.rows = rows;
    manifest.digest = digest;
}
