//! Rows as canonical bytes: equal rows have equal bytes, and any cell is found in one step.
//!
//! ```text
//! row      = compared volatile?
//! section  = null bitmap (a bit a column) · end of each cell (u32, from the payload's start) · payload
//! ```
//!
//! `compared` holds the columns that can cause an event, `volatile` the others; a row without
//! volatile columns has no second section. All numbers are little-endian. A null cell has no
//! bytes. One value has one form: see [`crate::Value`].

mod batch;
mod de;
mod key;

pub(crate) use batch::sealed::Sealed;
pub use batch::{Batch, RowTarget, RowWriter};
pub(crate) use key::encode as encode_key;
pub use key::{Key, KeyHash, RowHash};

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use uuid::Uuid;

use crate::{
    decimal::Decimal,
    error::{Error, ErrorKind, Result},
    json,
    schema::{Schema, Slot, Type},
    time::{Date, LocalTimestamp, Timestamp},
    value::{Value, canonical_float},
};

/// Bytes before the payload of a section of `columns` columns.
const fn header_len(columns: usize) -> usize {
    columns.div_ceil(8) + 4 * columns
}

fn read_u32(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..at + 4) {
        Some(b) => u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize,
        None => 0,
    }
}

/// The section's length, from the end of its last cell.
fn section_len(section: &[u8], columns: usize) -> usize {
    let header = header_len(columns);
    if columns == 0 {
        0
    } else {
        header + read_u32(section, header - 4)
    }
}

fn cell(section: &[u8], columns: usize, index: usize) -> Option<&[u8]> {
    if section.get(index / 8)? & (1 << (index % 8)) != 0 {
        return None;
    }
    let ends = columns.div_ceil(8);
    let start = if index == 0 {
        0
    } else {
        read_u32(section, ends + 4 * (index - 1))
    };
    let end = read_u32(section, ends + 4 * index);
    let payload = header_len(columns);
    section.get(payload + start..payload + end)
}

/// A row borrowed from a batch or a block.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    schema: &'a Schema,
    bytes: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// Takes bytes that [`RowWriter`] made or [`Row::decode`] checked.
    pub(crate) fn new(schema: &'a Schema, bytes: &'a [u8]) -> Self {
        Self { schema, bytes }
    }

    /// Returns the row's columns.
    pub fn schema(self) -> &'a Schema {
        self.schema
    }

    /// Returns the canonical bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes that decide whether two rows are equal: all but the volatile columns.
    pub(crate) fn compared(self) -> &'a [u8] {
        let (compared, volatile) = self.schema.section_lens();
        if volatile == 0 {
            return self.bytes;
        }
        self.bytes
            .get(..section_len(self.bytes, compared))
            .unwrap_or(self.bytes)
    }

    /// The row's length, when `bytes` may go on after it.
    pub(crate) fn measure(self) -> usize {
        let (compared, volatile) = self.schema.section_lens();
        let first = section_len(self.bytes, compared);
        first + section_len(self.bytes.get(first..).unwrap_or_default(), volatile)
    }

    /// The bytes of a cell, or none when it is null.
    pub(crate) fn cell(self, column: usize) -> Option<&'a [u8]> {
        let (compared, volatile) = self.schema.section_lens();
        match self.schema.slot(column) {
            Slot {
                volatile: false,
                index,
            } => cell(self.bytes, compared, index),
            Slot {
                volatile: true,
                index,
            } => cell(
                self.bytes.get(section_len(self.bytes, compared)..)?,
                volatile,
                index,
            ),
        }
    }

    /// Returns the cell at the place of a column in the schema; null past the last.
    pub fn at(self, column: usize) -> Value<'a> {
        match self.schema.columns().get(column) {
            Some(declared) => decode(declared.ty(), self.cell(column)),
            None => Value::Null,
        }
    }

    /// Returns all cells in the schema's order.
    pub fn values(self) -> impl Iterator<Item = Value<'a>> {
        (0..self.schema.columns().len()).map(move |column| self.at(column))
    }

    /// The hash of the row that this one is the digest of, if it is one.
    pub(crate) fn digest(self) -> Option<RowHash> {
        if !self.schema.is_digests() {
            return None;
        }
        let hash = self.cell(self.schema.columns().len() - 1)?;
        Some(RowHash(u64::from_le_bytes(hash.try_into().ok()?)))
    }

    /// Copies the row out.
    pub fn to_row(self, schema: &Arc<Schema>) -> Row {
        Row {
            schema: Arc::clone(schema),
            bytes: Bytes::copy_from_slice(self.bytes),
        }
    }

    /// Returns the key in order-preserving form.
    pub fn key(self) -> Key {
        let mut bytes = Vec::new();
        key::encode(self, &mut bytes);
        Key::from_bytes(bytes)
    }
}

/// Turns a cell's bytes into a value. What can't be is impossible in a checked row and reads as null.
fn decode(ty: Type, cell: Option<&[u8]>) -> Value<'_> {
    let Some(cell) = cell else { return Value::Null };
    try_decode(ty, cell).unwrap_or(Value::Null)
}

fn try_decode(ty: Type, cell: &[u8]) -> Option<Value<'_>> {
    Some(match ty {
        Type::Bool => Value::Bool(*cell.first()? != 0),
        Type::Int => Value::Int(i64::from_le_bytes(cell.try_into().ok()?)),
        Type::Float => Value::Float(f64::from_bits(u64::from_le_bytes(cell.try_into().ok()?))),
        Type::Decimal { scale } => {
            Value::Decimal(Decimal::new(i128::from_le_bytes(cell.try_into().ok()?), scale).ok()?)
        }
        // Valid UTF-8 is borrowed as it is.
        Type::Text => Value::Text(String::from_utf8_lossy(cell)),
        Type::Json => Value::Json(String::from_utf8_lossy(cell)),
        Type::Bytes => Value::Bytes(Cow::Borrowed(cell)),
        Type::Timestamp => {
            Value::Timestamp(Timestamp::from_ticks(i64::from_le_bytes(cell.try_into().ok()?)).ok()?)
        }
        Type::LocalTimestamp => Value::LocalTimestamp(
            LocalTimestamp::from_ticks(i64::from_le_bytes(cell.try_into().ok()?)).ok()?,
        ),
        Type::Date => Value::Date(Date::from_days(i32::from_le_bytes(cell.try_into().ok()?)).ok()?),
        Type::Uuid => Value::Uuid(Uuid::from_bytes(cell.try_into().ok()?)),
    })
}

/// Checks one section of a row from outside and returns its length.
fn check_section<'a>(
    section: &[u8],
    columns: impl ExactSizeIterator<Item = &'a crate::schema::Column>,
) -> Option<usize> {
    let count = columns.len();
    if count == 0 {
        return Some(0);
    }
    let header = header_len(count);
    let payload = section.get(header..section_len(section, count))?;
    let spare = section.get(..count.div_ceil(8))?.last()? >> ((count - 1) % 8) >> 1;
    let mut start = 0;
    for (index, column) in columns.enumerate() {
        let end = read_u32(section, count.div_ceil(8) + 4 * index);
        let bytes = payload.get(start..end)?;
        match cell(section, count, index) {
            None if column.is_nullable() && bytes.is_empty() => {}
            None => return None,
            Some(bytes) => match try_decode(column.ty(), bytes)? {
                Value::Bool(v) if bytes != [u8::from(v)] => return None,
                Value::Float(v) if v.to_bits() != canonical_float(v).to_bits() => return None,
                Value::Text(Cow::Owned(_)) | Value::Json(Cow::Owned(_)) => return None,
                Value::Json(text) if json::canonical(&text).ok()? != text => return None,
                _ => {}
            },
        }
        start = end;
    }
    (spare == 0).then_some(header + payload.len())
}

/// A row that stands on its own. Cheap to clone.
///
/// It serializes as a map with the schema's names, and [`Row::deserialize`] fills a struct:
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{Batch, schema::{Declared, Schema, int, text}};
///
/// const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores").null()]);
/// #[derive(serde::Deserialize)]
/// struct Device { name: String, cores: Option<u32> }
///
/// let mut batch = Batch::new(Arc::new(Schema::from(DEVICES)));
/// batch.row().text("PC-1").int(8).end()?;
/// let row = batch.rows().next().unwrap().to_row(batch.schema());
/// assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"name":"PC-1","cores":8}"#);
/// let device: Device = row.deserialize()?;
/// assert_eq!((device.name.as_str(), device.cores), ("PC-1", Some(8)));
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Row {
    schema: Arc<Schema>,
    bytes: Bytes,
}

impl Row {
    /// Takes bytes that [`RowWriter`] made, or that a checksum vouches for.
    pub(crate) fn new(schema: Arc<Schema>, bytes: Bytes) -> Self {
        Self { schema, bytes }
    }

    /// Checks bytes from outside.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when they are not the one canonical form of a row of this schema.
    pub fn decode(schema: Arc<Schema>, bytes: Bytes) -> Result<Self> {
        let columns = |volatile| {
            let (mut compared, mut moving) = (Vec::new(), Vec::new());
            for column in schema.columns() {
                if column.is_volatile() {
                    &mut moving
                } else {
                    &mut compared
                }
                .push(column);
            }
            if volatile { moving } else { compared }
        };
        let whole = check_section(&bytes, columns(false).into_iter()).and_then(|first| {
            let second = check_section(bytes.get(first..)?, columns(true).into_iter())?;
            (first + second == bytes.len()).then_some(())
        });
        match whole {
            Some(()) => Ok(Self { schema, bytes }),
            None => Err(Error::new(
                ErrorKind::Data,
                "the bytes are not a row of this schema",
            )),
        }
    }

    /// Makes a row from one value for each column.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when a value does not fit its column.
    pub fn from_values(schema: &Arc<Schema>, values: &[Value<'_>]) -> Result<Self> {
        let mut batch = Batch::new(Arc::clone(schema));
        let mut row = batch.row();
        for value in values {
            row.value(value);
        }
        row.end()?;
        Ok(Self {
            schema: Arc::clone(schema),
            bytes: Bytes::from(batch.into_bytes()),
        })
    }

    /// Returns the row's columns.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Tells whether this is what is left of a row where the store keeps digests: its key's
    /// columns, and the hash that lets a receiver keep its own [`Digest`](crate::Digest). See
    /// [`Retain`](crate::Retain).
    pub fn is_digest(&self) -> bool {
        self.schema.is_digests()
    }

    /// Returns the columns of the record: the row's own, or of a [digest](Row::is_digest) those of
    /// the record that it is of. A receiver whose copy has fewer columns adds them, as null.
    pub fn record_schema(&self) -> &Arc<Schema> {
        self.schema.records().unwrap_or(&self.schema)
    }

    /// Borrows the row.
    pub fn as_ref(&self) -> RowRef<'_> {
        RowRef {
            schema: &self.schema,
            bytes: &self.bytes,
        }
    }

    /// Returns the canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the cell at the place of a column in the schema; null past the last.
    pub fn at(&self, column: usize) -> Value<'_> {
        self.as_ref().at(column)
    }

    /// Returns the cell of the column of that name, or none when there is no such column.
    pub fn value(&self, name: &str) -> Option<Value<'_>> {
        self.schema.position(name).map(|column| self.at(column))
    }

    /// Returns all cells in the schema's order.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        self.as_ref().values()
    }

    /// Returns the key in order-preserving form.
    pub fn key(&self) -> Key {
        self.as_ref().key()
    }

    /// Fills a struct of the host's from the columns of the same names. Columns without a field
    /// are passed over.
    ///
    /// Times, dates, decimals and UUIDs arrive as text, so they fit `String`, this crate's own
    /// types and those of the usual libraries. A JSON column fills a struct of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when a field has no column, or a column does not fit its field.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T> {
        de::from_row(self.as_ref())
    }

    /// Returns the same record with the columns of another schema: cells are matched by name, and
    /// what was not there before is null.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when a cell does not fit its new column.
    pub fn recode(&self, schema: &Arc<Schema>) -> Result<Self> {
        let values: Vec<Value<'_>> = schema
            .columns()
            .iter()
            .map(|column| self.value(column.name()).unwrap_or(Value::Null))
            .collect();
        Self::from_values(schema, &values)
    }

    /// Returns the places of the columns whose cells differ from those of `before`, volatile ones
    /// included. Columns are matched by place when both rows have the same columns, else by name.
    pub fn changed(&self, before: &Row) -> Vec<usize> {
        let alike =
            Arc::ptr_eq(&self.schema, &before.schema) || self.schema.same_rows(&before.schema);
        (0..self.schema.columns().len())
            .filter(|column| {
                let old = if alike {
                    Some(*column)
                } else {
                    before
                        .schema
                        .position(self.schema.columns()[*column].name())
                };
                self.as_ref().cell(*column) != old.and_then(|old| before.as_ref().cell(old))
            })
            .collect()
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.schema.same_rows(&other.schema)
    }
}

impl Eq for Row {}

/// Names columns and length only: values of rows do not belong in logs.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Row({} columns, {} bytes)",
            self.schema.columns().len(),
            self.bytes.len()
        )
    }
}

impl fmt::Debug for RowRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RowRef({} columns, {} bytes)",
            self.schema.columns().len(),
            self.bytes.len()
        )
    }
}

impl Serialize for RowRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.schema.columns();
        // The hash of a digest is no cell.
        let columns = &columns[..columns.len() - usize::from(self.schema.is_digests())];
        let mut map = serializer.serialize_map(Some(columns.len()))?;
        for (place, column) in columns.iter().enumerate() {
            map.serialize_entry(column.name(), &self.at(place))?;
        }
        map.end()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
