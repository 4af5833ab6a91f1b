//! Rows by the thousand: `COPY` in its binary form, in both directions.

use std::{pin::Pin, sync::Arc};

use connector_core::{Batch, Error, ErrorKind, Result, Row, Schema, Value};
use futures::{SinkExt, StreamExt};
use tokio_postgres::{CopyInSink, Error as ServerError};

use super::{
    error::failed,
    field::{Field, is_time},
    session::Session,
    value,
};
use crate::sink::repository::{Table, not_as_written};

/// The signature, no flags, and no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: i16 = -1;
/// So many bytes are handed over at a time.
const PIECE: usize = 128 << 10;
/// So many rows are read back at a time.
const READ_ROWS: usize = 1024;

/// Rows on their way to the server.
pub(super) struct CopyIn {
    sink: Pin<Box<CopyInSink<std::io::Cursor<Vec<u8>>>>>,
    /// With a column in front that says what is to be done with the row.
    marked: bool,
    fields: Vec<Field>,
    piece: Vec<u8>,
}

impl CopyIn {
    /// Begins to send rows into a table, which is named as SQL does.
    pub(super) fn begin(
        session: &Session,
        into: &str,
        mark: Option<&str>,
        fields: Vec<Field>,
    ) -> Result<Self, ServerError> {
        let names = mark
            .into_iter()
            .chain(fields.iter().map(|f| f.name.as_str()));
        let names: Vec<_> = names.collect();
        let sql = format!(
            "COPY {into} ({}) FROM STDIN (FORMAT binary)",
            names.join(", ")
        );
        let sink = session.wait(session.client().copy_in(&sql))?;
        Ok(Self {
            sink: Box::pin(sink),
            marked: mark.is_some(),
            fields,
            piece: HEAD.to_vec(),
        })
    }

    /// Sends a record, with its mark if this was begun with one. Of a digest the key is sent.
    pub(super) fn row(
        &mut self,
        session: &Session,
        mark: u8,
        row: &Row,
    ) -> Result<(), ServerError> {
        let out = &mut self.piece;
        let cells = self.fields.len() + usize::from(self.marked);
        // A table has 1,600 columns at most.
        out.extend_from_slice(&i16::try_from(cells).unwrap_or(i16::MAX).to_be_bytes());
        if self.marked {
            out.extend_from_slice(&[0, 0, 0, 1, mark]);
        }
        let schema = row.record_schema();
        for field in &self.fields {
            let cell = if !row.is_digest() {
                row.at(field.place)
            } else if field.is_key {
                let name = schema.columns()[field.place].name();
                row.value(name).unwrap_or(Value::Null)
            } else {
                Value::Null
            };
            value::write(&cell, field.part, out);
        }
        if out.len() >= PIECE {
            self.flush(session)?;
        }
        Ok(())
    }

    fn flush(&mut self, session: &Session) -> Result<(), ServerError> {
        let next = Vec::with_capacity(PIECE + PIECE / 8);
        let piece = std::mem::replace(&mut self.piece, next);
        session.wait(self.sink.feed(std::io::Cursor::new(piece)))
    }

    /// Has the server take them.
    pub(super) fn finish(mut self, session: &Session) -> Result<(), ServerError> {
        self.piece.extend_from_slice(&END.to_be_bytes());
        // The server says why it takes no more only at the end.
        let flushed = self.flush(session);
        session.wait(self.sink.as_mut().finish())?;
        flushed
    }
}

/// Reads every record of a table back, in no order, as rows of a schema that may have more columns.
pub(super) fn read(
    session: &Session,
    table: &Table,
    schema: &Arc<Schema>,
    each: &mut dyn FnMut(&Batch),
) -> Result<()> {
    let context = |error: Error| error.with("table", &table.name);
    let failed = |error| context(failed(error, "can't read a table back"));
    let fields: Vec<Field> = schema
        .columns()
        .iter()
        .filter_map(|column| table.schema.position(column.name()))
        .flat_map(|at| Field::of(&table.schema.columns()[at], &table.columns[at], at))
        .collect();
    let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
    let sql = format!(
        "COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)",
        names.join(", "),
        session.table(&table.name)
    );
    let mut rows = Rows {
        table,
        cells: fields.len(),
        batch: Batch::new(Arc::clone(schema)),
    };
    session.wait(async {
        let mut stream = Box::pin(session.client().copy_out(&sql).await.map_err(failed)?);
        let (mut rest, mut begun) = (Vec::new(), false);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(failed)?;
            // A row comes whole, but nobody says so.
            let whole = rest.is_empty();
            if !whole {
                rest.extend_from_slice(&piece);
            }
            let mut bytes = if whole { &piece[..] } else { &rest[..] };
            if !begun {
                let Some(after) = bytes.strip_prefix(HEAD) else {
                    rest = bytes.to_vec();
                    continue;
                };
                (bytes, begun) = (after, true);
            }
            while let Some(after) = rows.take(bytes)? {
                bytes = after;
                if rows.batch.len() == READ_ROWS {
                    rows.hand_over(each);
                }
            }
            rest = bytes.to_vec();
        }
        rows.hand_over(each);
        if begun && rest == END.to_be_bytes() {
            Ok(())
        } else {
            let message = "the server sent something else than rows";
            Err(context(Error::new(ErrorKind::Sink, message)))
        }
    })
}

/// Rows as they come.
struct Rows<'a> {
    table: &'a Table,
    /// How many cells each row has.
    cells: usize,
    batch: Batch,
}

impl Rows<'_> {
    fn hand_over(&mut self, each: &mut dyn FnMut(&Batch)) {
        each(&self.batch);
        self.batch = Batch::new(Arc::clone(self.batch.schema()));
    }

    /// Takes a row and returns what comes after it; none when it is not all there.
    fn take<'b>(&mut self, mut bytes: &'b [u8]) -> Result<Option<&'b [u8]>> {
        let Some(whole) = measure(bytes, self.cells) else {
            return Ok(None);
        };
        let after = &bytes[whole..];
        bytes = &bytes[2..whole];
        let schema = Arc::clone(self.batch.schema());
        let mut row = self.batch.row();
        for column in schema.columns() {
            if self.table.schema.column(column.name()).is_none() {
                row.null();
                continue;
            }
            let main = take_cell(&mut bytes);
            let rest = if is_time(column.ty()) {
                take_cell(&mut bytes)
            } else {
                None
            };
            let value = value::read(column.ty(), main, rest)
                .ok_or_else(|| not_as_written(self.table, column))?;
            row.value(&value);
        }
        let ended = row.end();
        ended.map_err(|error| error.with("table", &self.table.name))?;
        Ok(Some(after))
    }
}

/// The length of a row of so many cells; none when it is not all there, or is none.
fn measure(bytes: &[u8], cells: usize) -> Option<usize> {
    let count = i16::from_be_bytes(bytes.first_chunk().copied()?);
    if usize::try_from(count).ok()? != cells {
        return None;
    }
    let mut at = 2;
    for _ in 0..cells {
        let length = i32::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

/// Takes a cell of a row that is all there; none when it is null.
fn take_cell<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *bytes = after;
        return None;
    };
    let (cell, after) = after.split_at_checked(length)?;
    *bytes = after;
    Some(cell)
}
