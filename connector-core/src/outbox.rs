//! A cycle's events as they stand in the store: read again, byte for byte and under the same ids,
//! for every sink and every repeat.

use std::sync::Arc;

use crate::{
    baseline::{CycleChanges, Layers, LiveRows, Manifest, Record, RecordCursor, Segment, blocking},
    error::Result,
    event::{Change, ChangeEvent, CycleId, DatasetId, Digest},
    repair::{Compared, Fixes},
    schema::Schema,
};

/// Events are handed over in pieces of about this many bytes, or this many events.
const PIECE_BYTES: usize = 256 << 10;
const PIECE_EVENTS: usize = 2048;

/// The events of one cycle, from the first to the last.
pub(crate) struct Outbox {
    dataset: DatasetId,
    cycle: CycleId,
    rows: u64,
    digest: Digest,
    next_seq: u64,
    rest: Rest,
}

enum Rest {
    /// A full cycle, not begun: the columns, then the rows.
    Full(Arc<Schema>, Box<LiveRows>),
    Rows(Box<LiveRows>),
    Changes(Box<RecordCursor>),
    Fixes(Box<Fixes>),
    Complete,
    Nothing,
}

impl Outbox {
    /// The changes of one cycle.
    pub(crate) fn changes(
        dataset: DatasetId,
        changes: &CycleChanges,
        segment: &Arc<Segment>,
    ) -> Self {
        Self {
            dataset,
            cycle: changes.cycle,
            rows: changes.rows,
            digest: changes.digest,
            next_seq: 1,
            rest: Rest::Changes(Box::new(segment.records())),
        }
    }

    /// The whole data set as it is now.
    pub(crate) fn full(dataset: DatasetId, manifest: &Manifest, layers: &Layers) -> Result<Self> {
        Ok(Self {
            dataset,
            cycle: manifest.cycle.as_full(),
            rows: manifest.rows,
            digest: manifest.digest,
            next_seq: 1,
            rest: Rest::Full(Arc::new(manifest.schema.clone()), Box::new(layers.rows()?)),
        })
    }

    /// What a sink lacks of the data set as it is now.
    pub(crate) fn repair(compared: Compared, fixes: Fixes) -> Self {
        Self {
            dataset: compared.dataset,
            cycle: compared.cycle,
            rows: compared.whole.rows,
            digest: compared.whole.digest,
            next_seq: 1,
            rest: Rest::Fixes(Box::new(fixes)),
        }
    }

    pub(crate) fn cycle(&self) -> CycleId {
        self.cycle
    }

    /// Returns the next events, or none after the last.
    pub(crate) async fn next(mut self) -> Result<(Self, Option<Vec<ChangeEvent>>)> {
        blocking(move || {
            let events = self.piece()?;
            Ok((self, events))
        })
        .await
    }

    fn piece(&mut self) -> Result<Option<Vec<ChangeEvent>>> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < PIECE_EVENTS && bytes < PIECE_BYTES {
            let Some(change) = self.step()? else { break };
            bytes += match &change {
                Change::Insert { after: row } | Change::Delete { before: row } => row.bytes().len(),
                Change::Update { before, after } => before.bytes().len() + after.bytes().len(),
                Change::Truncate { .. } | Change::SnapshotComplete { .. } => 0,
            };
            let (dataset, cycle, seq) = (self.dataset.clone(), self.cycle, self.next_seq);
            events.push(ChangeEvent {
                dataset,
                cycle,
                seq,
                change,
            });
            self.next_seq += 1;
        }
        Ok(if events.is_empty() {
            None
        } else {
            Some(events)
        })
    }

    fn step(&mut self) -> Result<Option<Change>> {
        match &mut self.rest {
            Rest::Full(..) => {
                if let Rest::Full(schema, rows) = std::mem::replace(&mut self.rest, Rest::Nothing) {
                    self.rest = Rest::Rows(rows);
                    return Ok(Some(Change::Truncate { schema }));
                }
            }
            Rest::Rows(rows) => {
                if let Some(after) = rows.next()? {
                    return Ok(Some(Change::Insert { after }));
                }
                self.rest = Rest::Complete;
            }
            Rest::Changes(records) => {
                if let Some((_, record)) = records.next_record()? {
                    return Ok(Some(match record {
                        Record::Insert { after } => Change::Insert { after },
                        Record::Update { after, before } => Change::Update { before, after },
                        Record::Delete { before } => Change::Delete { before },
                    }));
                }
                self.rest = Rest::Complete;
            }
            Rest::Fixes(fixes) => {
                if let Some(change) = fixes.next()? {
                    return Ok(Some(change));
                }
                self.rest = Rest::Complete;
            }
            Rest::Complete | Rest::Nothing => {}
        }
        if let Rest::Complete = self.rest {
            self.rest = Rest::Nothing;
            return Ok(Some(Change::SnapshotComplete {
                rows: self.rows,
                digest: self.digest,
            }));
        }
        Ok(None)
    }
}
