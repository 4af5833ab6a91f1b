//! Keys in a form whose bytes sort as their values do, and the hashes that the diff works on.

use std::fmt;

use twox_hash::{XxHash3_64, XxHash3_128};

use super::RowRef;
use crate::schema::Type;

/// A row's key in order-preserving form: comparing two keys compares their columns, in the
/// schema's order, whatever collation the source has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }

    /// Returns the order-preserving bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the key's hash.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

/// A key is made of values, which do not belong in logs.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Names a key: 128 bits of XXH3 over its order-preserving bytes.
///
/// Two keys share a hash with a probability of 2⁻¹²⁸ a pair: for a data set of 10⁹ rows, less than
/// one in 10²⁰.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub(crate) u128);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(key))
    }
}

/// Names the compared part of a row: 64 bits of XXH3 over its bytes. Only ever compared between
/// rows of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowHash(pub(crate) u64);

impl RowHash {
    pub(crate) fn of(row: RowRef<'_>) -> Self {
        if let Some(hash) = row.digest() {
            return hash;
        }
        Self(XxHash3_64::oneshot(row.compared()))
    }
}

/// Appends the row's key in order-preserving form.
///
/// Every form is either of fixed length or ends with a mark that sorts before any content, so that
/// no key is the beginning of another.
pub(crate) fn encode(row: RowRef<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if row.schema().is_plain_text() && encode_plain(row, out).is_some() {
        return;
    }
    out.truncate(start);
    for place in row.schema().key_positions() {
        // A key column can't be null.
        let cell = row.cell(*place).unwrap_or_default();
        match row.schema().columns()[*place].ty() {
            Type::Text | Type::Bytes | Type::Json => escape(cell, out),
            Type::Bool | Type::Uuid => out.extend_from_slice(cell),
            Type::Int
            | Type::Decimal { .. }
            | Type::Timestamp
            | Type::LocalTimestamp
            | Type::Date => {
                // Big-endian with the sign turned sorts as the number does.
                let start = out.len();
                out.extend(cell.iter().rev());
                if let Some(first) = out.get_mut(start) {
                    *first ^= 0x80;
                }
            }
            Type::Float => {
                let bits = cell.try_into().map_or(0, u64::from_le_bytes);
                // Negative numbers sort backwards by their bits.
                let turned = if bits >> 63 == 1 {
                    !bits
                } else {
                    bits | 1 << 63
                };
                out.extend_from_slice(&turned.to_be_bytes());
            }
        }
    }
}

/// The same for rows of text alone. Returns none when a cell of the key holds a 0, or comes after
/// columns that are not of the key; that is looked for once, and not in each cell.
fn encode_plain(row: RowRef<'_>, out: &mut Vec<u8>) -> Option<()> {
    let columns = row.schema().columns().len();
    let key = row.schema().key_positions();
    if key.last()? + 1 != key.len() {
        return None;
    }
    let (ends, payload) = (columns.div_ceil(8), super::header_len(columns));
    let ends = row.bytes().get(ends..payload)?;
    let payload = row.bytes().get(payload..)?;
    let end = |column: usize| Some(u32::from_le_bytes(*ends.get(4 * column..)?.first_chunk()?));
    let text = payload.get(..end(key.len() - 1)? as usize)?;
    if memchr::memchr(0, text).is_some() {
        return None;
    }
    let mut start = 0;
    out.reserve(text.len() + 2 * key.len());
    for column in 0..key.len() {
        let end = end(column)? as usize;
        out.extend_from_slice(text.get(start..end)?);
        out.extend_from_slice(&[0, 0]);
        start = end;
    }
    Some(())
}

/// Writes 0 as 0 255 and ends with 0 0.
fn escape(mut cell: &[u8], out: &mut Vec<u8>) {
    while let Some(zero) = memchr::memchr(0, cell) {
        out.extend_from_slice(&cell[..=zero]);
        out.push(255);
        cell = &cell[zero + 1..];
    }
    out.extend_from_slice(cell);
    out.extend_from_slice(&[0, 0]);
}
