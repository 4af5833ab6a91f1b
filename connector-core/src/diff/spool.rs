//! Rows that were read and may be needed again, in the order in which they came.

use std::sync::Arc;

use bytes::Bytes;

use super::runs::Temporary;
use crate::{
    baseline::{Baseline, Place, RowFetcher, SegmentKind, SegmentWriter},
    error::{Error, ErrorKind, Result},
    schema::Schema,
};

/// Marks a place in the file of a spool; the others are in memory. A file is never that long.
const IN_FILE: u64 = 1 << 38;

/// Memory is taken in pieces of this size, filled from start to end.
const PIECE: usize = 1 << 20;

/// A row's number among all rows of the read stands before it.
const NUMBER: usize = 8;

/// Keeps rows in memory up to a limit, and the rest in a file that goes when the spool does.
pub(super) struct Spool {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    limit: usize,
    file: Option<SegmentWriter>,
    temporary: Option<Temporary>,
}

impl Spool {
    /// Keeps up to `limit` bytes of rows in memory.
    pub(super) fn new(schema: Arc<Schema>, limit: u64) -> Self {
        Self {
            schema,
            memory: Vec::new(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            file: None,
            temporary: None,
        }
    }

    /// Puts a row down, with its number among all rows of the read.
    pub(super) fn push(&mut self, number: u64, row: &[u8], baseline: &Baseline) -> Result<Place> {
        let number = number.to_le_bytes();
        if let Some(file) = &mut self.file {
            let place = file.numbered_row(number, row)?;
            return Ok(Place::new(place.block() | IN_FILE, place.within()));
        }
        let needed = NUMBER + row.len();
        let room = self.memory.last().map_or(0, |p| p.capacity() - p.len());
        if room < needed {
            let piece = needed.max(PIECE);
            let used: usize = self.memory.iter().map(Vec::capacity).sum();
            if used + piece > self.limit {
                let writer = baseline.create(SegmentKind::Base, "spool", &self.schema)?;
                self.temporary = Some(Temporary::new(baseline, writer.file()));
                self.file = Some(writer);
                return self.push(u64::from_le_bytes(number), row, baseline);
            }
            self.memory.push(Vec::with_capacity(piece));
        }
        let at = self.memory.len() - 1;
        let piece = &mut self.memory[at];
        piece.extend_from_slice(&number);
        let place = Place::new(at as u64, piece.len());
        piece.extend_from_slice(row);
        Ok(place)
    }

    /// Tells whether there is room for what could be fetched again as well.
    pub(super) fn has_room(&self) -> bool {
        self.file.is_none() && self.memory.len() * PIECE < self.limit / 2
    }

    /// Ends taking in.
    pub(super) fn finish(mut self, baseline: &Baseline) -> Result<SpooledRows> {
        let fetcher = match &mut self.file {
            Some(file) => {
                file.flush()?;
                let storage = &**baseline.storage();
                let folder = baseline.folder();
                Some(RowFetcher::unfinished(storage, folder, file.file())?)
            }
            None => None,
        };
        Ok(SpooledRows {
            schema: self.schema,
            memory: self.memory,
            fetcher,
            _temporary: self.temporary,
        })
    }
}

/// The rows of a finished spool, by place.
pub(super) struct SpooledRows {
    schema: Arc<Schema>,
    memory: Vec<Vec<u8>>,
    fetcher: Option<RowFetcher>,
    /// Removes the file at the end.
    _temporary: Option<Temporary>,
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "a spooled row is not where it was put",
    )
}

impl SpooledRows {
    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns a row's bytes.
    pub(super) fn fetch(&mut self, place: Place) -> Result<Bytes> {
        if place.block() & IN_FILE != 0 {
            return Ok(self.record(place)?.slice(NUMBER..));
        }
        let rest = self.in_memory(place, 0)?;
        let row = crate::row::RowRef::new(&self.schema, rest).measure();
        Ok(Bytes::copy_from_slice(rest.get(..row).ok_or_else(lost)?))
    }

    /// Returns a row's number among all rows of the read.
    pub(super) fn number(&mut self, place: Place) -> Result<u64> {
        let number = if place.block() & IN_FILE != 0 {
            self.record(place)?.first_chunk().copied()
        } else {
            self.in_memory(place, NUMBER)?.first_chunk().copied()
        };
        number.map(u64::from_le_bytes).ok_or_else(lost)
    }

    fn record(&mut self, place: Place) -> Result<Bytes> {
        let fetcher = self.fetcher.as_mut().ok_or_else(lost)?;
        let record = fetcher.row(Place::new(place.block() & !IN_FILE, place.within()))?;
        if record.len() < NUMBER {
            return Err(lost());
        }
        Ok(record)
    }

    fn in_memory(&self, place: Place, before: usize) -> Result<&[u8]> {
        usize::try_from(place.block())
            .ok()
            .and_then(|piece| self.memory.get(piece))
            .and_then(|piece| piece.get(place.within().checked_sub(before)?..))
            .ok_or_else(lost)
    }
}
