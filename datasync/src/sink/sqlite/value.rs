//! One cell on its way into SQLite and back, without loss.
//!
//! | type | SQLite | form |
//! | --- | --- | --- |
//! | bool | INTEGER | 0 or 1 |
//! | int | INTEGER | |
//! | float | REAL | `NaN`, `inf` and `-inf` as TEXT: SQLite would turn NaN into NULL |
//! | decimal | TEXT | with all its decimal places; SQLite has binary floats only |
//! | text | TEXT | |
//! | bytes | BLOB | |
//! | timestamp, local_timestamp, date | TEXT | as ISO 8601 writes it, which SQLite's date functions read |
//! | uuid | TEXT | |
//! | json | TEXT | for SQLite's JSON functions |

use std::borrow::Cow;

use connector_core::{Type, Value};
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, Value as Owned, ValueRef},
};

/// Returns the type that a column is declared with.
pub(super) const fn declared(ty: Type) -> &'static str {
    match ty {
        Type::Bool | Type::Int => "INTEGER",
        Type::Float => "REAL",
        Type::Bytes => "BLOB",
        Type::Decimal { .. }
        | Type::Text
        | Type::Timestamp
        | Type::LocalTimestamp
        | Type::Date
        | Type::Uuid
        | Type::Json => "TEXT",
    }
}

/// A value to bind.
pub(super) struct Cell<'a>(pub(super) Value<'a>);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            Value::Null => ValueRef::Null,
            Value::Bool(v) => ValueRef::Integer(i64::from(*v)),
            Value::Int(v) => ValueRef::Integer(*v),
            Value::Float(v) if v.is_finite() => ValueRef::Real(*v),
            Value::Text(v) | Value::Json(v) => ValueRef::Text(v.as_bytes()),
            Value::Bytes(v) => ValueRef::Blob(v),
            other => return Ok(ToSqlOutput::Owned(Owned::Text(other.to_string()))),
        }))
    }
}

/// Reads a cell back; none when it can't be one that [`Cell`] wrote.
pub(super) fn read(ty: Type, cell: ValueRef<'_>) -> Option<Value<'_>> {
    Some(match (ty, cell) {
        (_, ValueRef::Null) => Value::Null,
        (Type::Bool, ValueRef::Integer(v @ (0 | 1))) => Value::Bool(v == 1),
        (Type::Int, ValueRef::Integer(v)) => Value::Int(v),
        (Type::Float, ValueRef::Real(v)) => Value::Float(v),
        (Type::Bytes, ValueRef::Blob(v)) => Value::Bytes(Cow::Borrowed(v)),
        (Type::Bool | Type::Int | Type::Bytes, _) => return None,
        (Type::Json, ValueRef::Text(v)) => Value::Json(std::str::from_utf8(v).ok()?.into()),
        (_, ValueRef::Text(v)) => ty.parse(std::str::from_utf8(v).ok()?).ok()?,
        _ => return None,
    })
}
