//! Rows in the order of their keys, however many there are.

use std::vec;

use super::runs::Temporary;
use crate::{
    baseline::{Baseline, LiveRows, RecordCursor, SegmentKind},
    error::Result,
    row::{Key, Row},
};

/// A run in a file has at least so many bytes, however little memory there is.
const LEAST: u64 = 64 << 10;

/// Takes rows in. Keeps up to a limit of them in memory and spills sorted runs beyond.
pub(crate) struct ByKey {
    rows: Vec<(Key, Row)>,
    bytes: u64,
    limit: u64,
    runs: Vec<Run>,
}

/// Rows in the order of their keys, and the next of them.
struct Run {
    next: Option<(Key, Row)>,
    rest: Rest,
}

enum Rest {
    Base(LiveRows),
    File(
        RecordCursor,
        #[expect(dead_code, reason = "removes the file in the end")] Temporary,
    ),
    Memory(vec::IntoIter<(Key, Row)>),
}

impl Run {
    fn new(rest: Rest) -> Result<Self> {
        let mut run = Self { next: None, rest };
        run.advance()?;
        Ok(run)
    }

    fn advance(&mut self) -> Result<()> {
        let row = match &mut self.rest {
            Rest::Base(rows) => rows.next()?,
            Rest::File(records, _) => records.next_row()?.map(|(_, row)| row),
            Rest::Memory(rows) => {
                self.next = rows.next();
                return Ok(());
            }
        };
        self.next = row.map(|row| (row.key(), row));
        Ok(())
    }
}

impl ByKey {
    /// Keeps up to `limit` bytes of rows in memory.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
            limit: limit.max(LEAST),
            runs: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: &Row, baseline: &Baseline) -> Result<()> {
        // Copied, or a row would keep its whole block.
        let row = row.as_ref().to_row(row.schema());
        let key = row.key();
        self.bytes += (row.bytes().len() + key.as_bytes().len() + size_of::<(Key, Row)>()) as u64;
        self.rows.push((key, row));
        if self.bytes >= self.limit {
            self.spill(baseline)?;
        }
        Ok(())
    }

    fn sorted(&mut self) -> Vec<(Key, Row)> {
        self.bytes = 0;
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    fn spill(&mut self, baseline: &Baseline) -> Result<()> {
        let rows = self.sorted();
        let Some((_, first)) = rows.first() else {
            return Ok(());
        };
        let name = format!("rows-{}", self.runs.len());
        let mut writer = baseline.create(SegmentKind::Base, &name, first.schema())?;
        let file = Temporary::new(baseline, writer.file());
        for (_, row) in &rows {
            writer.row(row.bytes())?;
        }
        let segment = baseline.open_segment(&writer.into_index()?.finish_temporary()?)?;
        self.runs
            .push(Run::new(Rest::File(segment.records(), file))?);
        Ok(())
    }

    /// Ends taking in, and merges with the rows of a base, which are in that order.
    pub(crate) fn merge(mut self, base: LiveRows) -> Result<KeyOrder> {
        let rows = self.sorted().into_iter();
        self.runs.push(Run::new(Rest::Memory(rows))?);
        self.runs.push(Run::new(Rest::Base(base))?);
        Ok(KeyOrder(self.runs))
    }
}

/// See [`ByKey::merge`].
pub(crate) struct KeyOrder(Vec<Run>);

impl KeyOrder {
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        let least = (self.0.iter().enumerate())
            .filter_map(|(at, run)| run.next.as_ref().map(|(key, _)| (key, at)))
            .min();
        let Some((_, at)) = least else {
            return Ok(None);
        };
        let row = self.0[at].next.take().map(|(_, row)| row);
        self.0[at].advance()?;
        Ok(row)
    }
}
