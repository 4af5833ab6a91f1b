//! The columns that a data set's table has in PostgreSQL.
//!
//! | type | PostgreSQL | form |
//! | --- | --- | --- |
//! | bool | `boolean` | |
//! | int | `bigint` | |
//! | float | `double precision` | with NaN and both infinities |
//! | decimal | `numeric(39, s)` | 39 digits hold every value |
//! | text | `text` | U+0000, which PostgreSQL can't store, as `␀`; see [`super::value`] |
//! | bytes | `bytea` | |
//! | timestamp | `timestamptz`, and `smallint` | see below |
//! | local timestamp | `timestamp`, and `smallint` | see below |
//! | date | `date` | |
//! | uuid | `uuid` | |
//! | json | `json` | the text as it is, which `jsonb` would change; in a key `text`, since `json` has no order |
//!
//! Sources know times to 100 ns and PostgreSQL to 1 µs. So a column `seen` of times has one beside it,
//! `seen_100ns`, with the last digit: 0 to 9.
//!
//! Text in a key is compared by its bytes (`COLLATE "C"`), so that an index can't break when the
//! system's rules of sorting change.

use connector_core::{Column, Type};

use crate::sink::repository::{Names, Table, quote};

/// What the column beside a column of times is called after it.
const REST: &str = "_100ns";
/// What changes say of a row, in the table that they are sent to.
pub(super) const CHANGE: &str = "_change";

/// PostgreSQL cuts a name at 63 bytes, and more is made of each: `devices_100ns`, `_devices_key`.
/// Letters are small, so that a person need not quote a name, whichever way it is written.
pub(super) const NAMES: Names = Names {
    longest: 63 - REST.len(),
    lower: true,
    own_tables: "pg_",
    is_own_column: |name| {
        let system = [
            "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "oid", CHANGE,
        ];
        system.contains(&name) || name.ends_with(REST)
    },
};

/// Which part of a cell a column of PostgreSQL holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it, but for what is finer than 1 µs.
    Main,
    /// The 100 ns.
    Rest,
}

/// A column of PostgreSQL.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Quoted.
    pub(super) name: String,
    /// The place of the data set's column.
    pub(super) place: usize,
    pub(super) part: Part,
    ty: Type,
    pub(super) is_key: bool,
}

impl Field {
    /// The columns that hold one of the data set's, in order.
    pub(super) fn of(
        column: &Column,
        name: &str,
        place: usize,
    ) -> impl Iterator<Item = Self> + use<> {
        let (ty, is_key) = (column.ty(), column.is_key());
        let field = move |name: String, part| Self {
            name: quote(&name),
            place,
            part,
            ty,
            is_key,
        };
        let rest = is_time(ty).then(|| field(format!("{name}{REST}"), Part::Rest));
        [field(name.to_owned(), Part::Main)].into_iter().chain(rest)
    }

    /// All columns of a table.
    pub(super) fn all(table: &Table) -> Vec<Self> {
        let columns = table.schema.columns().iter().zip(&table.columns);
        columns
            .enumerate()
            .flat_map(|(place, (column, name))| Self::of(column, name, place))
            .collect()
    }

    /// How it is declared, but for null.
    pub(super) fn declared(&self) -> String {
        let ty = match (self.part, self.ty) {
            (Part::Rest, _) => "smallint",
            (_, Type::Bool) => "boolean",
            (_, Type::Int) => "bigint",
            (_, Type::Float) => "double precision",
            (_, Type::Decimal { scale }) => return format!("{} numeric(39, {scale})", self.name),
            (_, Type::Text | Type::Json) if self.is_key => r#"text COLLATE "C""#,
            (_, Type::Text) => "text",
            (_, Type::Json) => "json",
            (_, Type::Bytes) => "bytea",
            (_, Type::Timestamp) => "timestamptz",
            (_, Type::LocalTimestamp) => "timestamp",
            (_, Type::Date) => "date",
            (_, Type::Uuid) => "uuid",
        };
        format!("{} {ty}", self.name)
    }
}

pub(super) fn is_time(ty: Type) -> bool {
    matches!(ty, Type::Timestamp | Type::LocalTimestamp)
}
