//! Writing rows, cell by cell, into one buffer.

use std::{fmt, sync::Arc};

use super::{RowHash, RowRef, header_len, read_u32};
use crate::{
    error::{Error, ErrorKind, Result},
    json,
    schema::{Schema, Type},
    time::ParseError,
    value::{Value, canonical_float},
};

/// Rows of one schema in one buffer.
pub struct Batch {
    schema: Arc<Schema>,
    bytes: Vec<u8>,
    /// Where each finished row ends in `bytes`.
    ends: Vec<usize>,
    /// The volatile section of the row being written.
    volatile: Vec<u8>,
    /// The number of the first row within its read, from 1, for messages.
    first_row: u64,
    column: usize,
    error: Option<Error>,
}

impl Batch {
    /// Makes an empty batch.
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            bytes: Vec::new(),
            ends: Vec::new(),
            volatile: Vec::new(),
            first_row: 1,
            column: 0,
            error: None,
        }
    }

    /// Makes an empty batch that goes on where `self` ends, with the buffers of one that is spent
    /// or with room for as much again.
    #[must_use]
    pub fn next(&self, spent: Option<Self>) -> Self {
        let mut next = spent.unwrap_or_else(|| {
            let mut next = Self::new(Arc::clone(&self.schema));
            next.bytes.reserve(self.bytes.len() + self.bytes.len() / 8);
            next.ends.reserve(self.ends.len() + self.ends.len() / 8);
            next
        });
        next.bytes.clear();
        next.ends.clear();
        next.first_row = self.first_row + self.ends.len() as u64;
        next
    }

    /// Starts a row. A row that was started and not ended is dropped.
    pub fn row(&mut self) -> RowWriter<'_, Self> {
        self.begin();
        RowWriter { target: self }
    }

    /// Returns the rows' schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Returns how many rows it holds.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tells whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the size of its rows in bytes.
    pub fn byte_len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns its rows in the order in which they were written.
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> + Clone {
        self.spans()
            .map(|span| RowRef::new(&self.schema, &self.bytes[span]))
    }

    /// Where each row stands in the buffer.
    fn spans(&self) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(self.ends.iter().copied())
            .map(|(start, end)| start..end)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn begin(&mut self) {
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.volatile.clear();
        let (compared, volatile) = self.schema.section_lens();
        self.bytes
            .resize(self.bytes.len() + header_len(compared), 0);
        self.volatile.resize(header_len(volatile), 0);
        self.column = 0;
        self.error = None;
    }

    fn row_start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Writes the next cell; `write` is told the column's type and appends the canonical form.
    fn cell(
        &mut self,
        given: &'static str,
        write: impl FnOnce(Type, &mut Vec<u8>) -> Result<(), ParseError>,
    ) {
        let place = self.column;
        self.column += 1;
        // A wrong count is reported by `end_row`.
        let Some(column) = self
            .schema
            .columns()
            .get(place)
            .filter(|_| self.error.is_none())
        else {
            return;
        };
        let section = if column.is_volatile() {
            &mut self.volatile
        } else {
            &mut self.bytes
        };
        match write(column.ty(), section) {
            Ok(()) => self.close_cell(place),
            Err(error) => {
                let ty = column.ty();
                let message = if error == MISMATCH {
                    format!("the column is {ty}, the value {given}")
                } else {
                    format!("the column is {ty}, the value is {error}")
                };
                self.error = Some(self.wrong(place, message));
            }
        }
    }

    fn null_cell(&mut self) {
        let place = self.column;
        self.column += 1;
        let Some(column) = self
            .schema
            .columns()
            .get(place)
            .filter(|_| self.error.is_none())
        else {
            return;
        };
        if !column.is_nullable() {
            self.error = Some(self.wrong(place, "the column can't be null".to_owned()));
            return;
        }
        let slot = self.schema.slot(place);
        let start = self.row_start();
        let bitmap = if slot.volatile {
            &mut self.volatile[..]
        } else {
            &mut self.bytes[start..]
        };
        bitmap[slot.index / 8] |= 1 << (slot.index % 8);
        self.close_cell(place);
    }

    /// Writes every cell of a row whose columns are all text and compared: one copy and the ends.
    fn text_cells(
        &mut self,
        text: &str,
        ends: impl IntoIterator<Item = usize>,
        empty_is_null: bool,
    ) {
        let start = self.row_start();
        let columns = self.schema.columns();
        let (nulls, slots) = self.bytes[start..].split_at_mut(columns.len().div_ceil(8));
        let mut ends = ends.into_iter();
        let (mut place, mut from) = (0, 0);
        let (mut rising, mut empty) = (u32::try_from(text.len()).is_ok(), false);
        // What few rows need is only noticed here, and looked at below.
        for slot in slots.chunks_exact_mut(4) {
            let Some(end) = ends.next() else { break };
            rising &= from <= end;
            empty |= from == end;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the text's length is checked"
            )]
            slot.copy_from_slice(&(end as u32).to_le_bytes());
            (place, from) = (place + 1, end);
        }
        let end = |place: usize| read_u32(slots, 4 * place);
        if empty && empty_is_null {
            for (at, column) in columns.iter().enumerate().take(place) {
                let start = if at == 0 { 0 } else { end(at - 1) };
                if start == end(at) && column.is_nullable() {
                    nulls[at / 8] |= 1 << (at % 8);
                }
            }
        }
        let aligned = text.is_ascii() || (0..place).all(|at| text.is_char_boundary(end(at)));
        self.column = place + ends.count();
        if self.column == columns.len() && !(rising && aligned && from == text.len()) {
            let message = "its cells are not text by themselves, or it is over 4 GiB";
            self.error = Some(self.wrong(0, message.to_owned()));
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Records where the cell ends.
    fn close_cell(&mut self, place: usize) {
        let slot = self.schema.slot(place);
        let start = self.row_start();
        let (compared, volatile) = self.schema.section_lens();
        let (section, count) = if slot.volatile {
            (&mut self.volatile[..], volatile)
        } else {
            (&mut self.bytes[start..], compared)
        };
        let at = count.div_ceil(8) + 4 * slot.index;
        match u32::try_from(section.len() - header_len(count)) {
            Ok(end) => section[at..at + 4].copy_from_slice(&end.to_le_bytes()),
            Err(_) => self.error = Some(self.wrong(place, "the row is over 4 GiB".to_owned())),
        }
    }

    fn wrong(&self, place: usize, message: String) -> Error {
        Error::new(ErrorKind::Data, message)
            .with("column", self.schema.columns()[place].name())
            .with("row", self.first_row + self.ends.len() as u64)
    }

    /// Writes the one row that stands for `row` where only digests are kept: its key and `hash`.
    pub(crate) fn write_digest(&mut self, row: RowRef<'_>, hash: RowHash) {
        self.ends.clear();
        self.begin();
        let schema = row.schema();
        for place in schema.key_positions() {
            let cell = row.cell(*place).unwrap_or_default();
            self.cell("a key", |_, out| {
                out.extend_from_slice(cell);
                Ok(())
            });
        }
        self.cell("a hash", |_, out| {
            out.extend_from_slice(&hash.0.to_le_bytes());
            Ok(())
        });
        self.ends.push(self.bytes.len());
    }

    /// The bytes of the first row.
    pub(crate) fn first(&self) -> &[u8] {
        &self.bytes[..self.ends.first().copied().unwrap_or(0)]
    }

    pub(crate) fn end_row(&mut self) -> Result<()> {
        let expected = self.schema.columns().len();
        if self.error.is_none() && self.column != expected {
            let message = format!("{} values for {expected} columns", self.column);
            self.error = Some(
                Error::new(ErrorKind::Data, message)
                    .with("row", self.first_row + self.ends.len() as u64),
            );
        }
        if let Some(error) = self.error.take() {
            self.bytes.truncate(self.row_start());
            return Err(error);
        }
        self.bytes.extend_from_slice(&self.volatile);
        self.ends.push(self.bytes.len());
        Ok(())
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} rows, {} bytes)", self.len(), self.byte_len())
    }
}

/// Marks a value of another type than the column's.
const MISMATCH: ParseError = ParseError("of another type");

/// What a [`RowWriter`] writes into. Not for implementing outside this crate.
pub trait RowTarget: sealed::Sealed {
    #[doc(hidden)]
    fn batch(&mut self) -> &mut Batch;
}

pub(crate) mod sealed {
    /// Keeps [`RowTarget`](super::RowTarget) to this crate.
    pub trait Sealed {}
}

impl sealed::Sealed for Batch {}

impl RowTarget for Batch {
    fn batch(&mut self) -> &mut Batch {
        self
    }
}

/// Writes one row, a cell for each column in the schema's order.
///
/// A wrong cell (another type, null where the column can't be) is remembered and reported by
/// `end`, which then drops the row; the next row can go on.
pub struct RowWriter<'a, T: RowTarget> {
    pub(crate) target: &'a mut T,
}

impl<'a, T: RowTarget> RowWriter<'a, T> {
    pub(crate) fn start(target: &'a mut T) -> Self {
        target.batch().begin();
        Self { target }
    }

    fn put(&mut self, given: Type, bytes: &[u8]) -> &mut Self {
        self.target.batch().cell(type_name(given), |ty, out| {
            if ty != given {
                return Err(MISMATCH);
            }
            out.extend_from_slice(bytes);
            Ok(())
        });
        self
    }

    /// Writes a truth value.
    pub fn bool(&mut self, v: bool) -> &mut Self {
        self.put(Type::Bool, &[u8::from(v)])
    }

    /// Writes a whole number.
    pub fn int(&mut self, v: i64) -> &mut Self {
        self.put(Type::Int, &v.to_le_bytes())
    }

    /// Writes a floating-point number.
    pub fn float(&mut self, v: f64) -> &mut Self {
        self.put(Type::Float, &canonical_float(v).to_bits().to_le_bytes())
    }

    /// Writes text.
    pub fn text(&mut self, v: &str) -> &mut Self {
        self.put(Type::Text, v.as_bytes())
    }

    /// Writes bytes.
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        self.put(Type::Bytes, v)
    }

    /// Writes null.
    pub fn null(&mut self) -> &mut Self {
        self.target.batch().null_cell();
        self
    }

    /// Writes any value.
    pub fn value(&mut self, value: &Value<'_>) -> &mut Self {
        if value.is_null() {
            return self.null();
        }
        self.target
            .batch()
            .cell(value.type_name(), |ty, out| encode(value, ty, out));
        self
    }

    /// Has the row's end report that the next cell can't be read.
    pub(crate) fn refuse(&mut self, error: ParseError) -> &mut Self {
        self.target.batch().cell("another", |_, _| Err(error));
        self
    }

    /// Reads the text as the column's type and writes it; see [`Type::parse`].
    pub fn parse(&mut self, text: &str) -> &mut Self {
        self.target.batch().cell("text", |ty, out| {
            if ty == Type::Text {
                out.extend_from_slice(text.as_bytes());
                return Ok(());
            }
            encode(&ty.parse(text)?, ty, out)
        });
        self
    }

    /// Writes the whole row from text that holds its cells one after the other; `ends` tells where
    /// each ends. The same as [`parse`](Self::parse) for each of them, and much faster where every
    /// column is text: that is how files are read.
    ///
    /// With `empty_is_null` an empty cell is null in a column that can be null.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use connector_core::{Batch, schema::{Declared, Schema, text}};
    ///
    /// const DEVICES: Declared = Declared::new(&[text("name").key(), text("site").null()]);
    /// let mut batch = Batch::new(Arc::new(Schema::from(DEVICES)));
    /// batch.row().texts("PC-1Oslo", [4, 8], true).end()?;
    /// batch.row().texts("PC-2", [4, 4], true).end()?;
    /// assert!(batch.rows().nth(1).unwrap().at(1).is_null());
    /// # Ok::<(), connector_core::Error>(())
    /// ```
    pub fn texts(
        &mut self,
        text: &str,
        ends: impl IntoIterator<Item = usize>,
        empty_is_null: bool,
    ) -> &mut Self {
        let batch = self.target.batch();
        if batch.column == 0 && batch.schema.is_plain_text() {
            batch.text_cells(text, ends, empty_is_null);
            return self;
        }
        let mut start = 0;
        for end in ends {
            let batch = self.target.batch();
            let column = batch.schema.columns().get(batch.column);
            let nullable = column.is_some_and(crate::Column::is_nullable);
            match text.get(start..end) {
                Some("") if empty_is_null && nullable => self.null(),
                // An end that is none leaves the row a cell short, which its end reports.
                None => return self,
                Some(cell) => self.parse(cell),
            };
            start = end;
        }
        self
    }
}

fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Float => "float",
        Type::Text => "text",
        _ => "bytes",
    }
}

impl RowWriter<'_, Batch> {
    /// Ends the row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming column and row when a cell was wrong, missing or too many.
    pub fn end(&mut self) -> Result<()> {
        self.target.end_row()
    }
}

/// Appends the value's one canonical form.
fn encode(value: &Value<'_>, ty: Type, out: &mut Vec<u8>) -> Result<(), ParseError> {
    match (value, ty) {
        (Value::Bool(v), Type::Bool) => out.push(u8::from(*v)),
        (Value::Int(v), Type::Int) => out.extend_from_slice(&v.to_le_bytes()),
        (Value::Float(v), Type::Float) => {
            out.extend_from_slice(&canonical_float(*v).to_bits().to_le_bytes());
        }
        (Value::Decimal(v), Type::Decimal { scale }) => {
            out.extend_from_slice(&v.rescale(scale)?.units().to_le_bytes());
        }
        (Value::Text(v), Type::Text) => out.extend_from_slice(v.as_bytes()),
        (Value::Bytes(v), Type::Bytes) => out.extend_from_slice(v),
        (Value::Timestamp(v), Type::Timestamp) => out.extend_from_slice(&v.ticks().to_le_bytes()),
        (Value::LocalTimestamp(v), Type::LocalTimestamp) => {
            out.extend_from_slice(&v.ticks().to_le_bytes());
        }
        (Value::Date(v), Type::Date) => out.extend_from_slice(&v.days().to_le_bytes()),
        (Value::Uuid(v), Type::Uuid) => out.extend_from_slice(v.as_bytes()),
        (Value::Json(v), Type::Json) => out.extend_from_slice(json::canonical(v)?.as_bytes()),
        _ => return Err(MISMATCH),
    }
    Ok(())
}
