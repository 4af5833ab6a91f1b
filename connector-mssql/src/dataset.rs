//! Data sets of SQL Server, declared as data.
//!
//! A declaration says what rows look like and where they come from; statements are made from it.
//! Before each read it is met with the server's catalogue, so that a view or column that a server
//! lacks, or has under another type, is found before the first row.

use std::time::Duration;

use connector_core::{Column, DatasetInfo, Duplicates, Gone, Result, Schema, Type, schema};

/// One data set: rows of a view, a table or a join, declared as a constant.
///
/// ```
/// use connector_mssql::dataset::{Range, SqlDataset, int, text, time};
///
/// /// One row for each service on each device.
/// pub const SERVICE: SqlDataset = SqlDataset {
///     name: "v_GS_SERVICE",
///     category: "Devices",
///     about: "Windows services of each device",
///     from: "v_GS_SERVICE v",
///     columns: &[
///         int("ResourceID", "v.ResourceID").key(),
///         int("GroupID", "v.GroupID").key(),
///         text("Name0", "v.Name0").optional(),
///         text("State0", "v.State0").optional().volatile(),
///         time("TimeStamp", "v.TimeStamp").optional().local().volatile(),
///     ],
///     optional: true,
///     range: Some(Range::of("v.ResourceID").keys("v_R_System.ResourceID", 250)),
///     ..SqlDataset::NEW
/// }
/// .checked();
/// # assert_eq!(SERVICE.columns.len(), 5);
/// ```
///
/// [`checked`](Self::checked) runs in the compiler: a declaration without a key, with a nullable or
/// volatile key column, with a repeated name or a malformed `from` does not compile:
///
/// ```compile_fail
/// use connector_mssql::dataset::{SqlDataset, text};
///
/// const WRONG: SqlDataset = SqlDataset {
///     name: "Sites",
///     category: "Sites",
///     from: "Sites s",
///     columns: &[text("SiteCode", "s.SiteCode")],
///     ..SqlDataset::NEW
/// }
/// .checked();
/// # let _ = WRONG;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SqlDataset {
    /// The name, unique within the connector; letters in either case are the same. Also what
    /// configuration calls it in `[override.NAME]`.
    pub name: &'static str,

    /// The category.
    pub category: &'static str,

    /// One line on what the rows are, for people. Default: empty.
    pub about: &'static str,

    /// The object that rows come from, and its alias: `"v_R_System s"`, or with a schema that is
    /// not `dbo`, `"MonitorData.Session s"`. Names are quoted when statements are made.
    pub from: &'static str,

    /// Objects to take instead when the one of `from` does not exist, without alias, in order of
    /// preference. Default: none.
    pub instead: &'static [&'static str],

    /// The columns, in the order in which rows are written. Rows that are the same in all of them
    /// become one, so a statement needs no `DISTINCT`.
    pub columns: &'static [SqlColumn],

    /// Whether further columns that the object has are read too. Default: [`Others::Ignored`].
    pub others: Others,

    /// Further objects that are joined to the first. Default: none.
    pub joins: &'static [Join],

    /// The condition that rows fulfil: `"p.Action <> 3"`. Default: empty, for all rows.
    pub filter: &'static str,

    /// Further objects with rows of the same columns, each read by a statement of its own. A server
    /// that has some of them and lacks others is an error, or the rows of those would look deleted;
    /// `without` in `[override.NAME]` leaves them out. Default: none.
    pub parts: &'static [Part],

    /// Whether the server need not have the object: an optional inventory class that nobody ever
    /// switched on is *not collected*. One that was there in the last cycle and is gone is an
    /// error all the same. Default: false, and a missing object is an error.
    pub optional: bool,

    /// How a read is split when there are many rows. Default: not at all.
    pub range: Option<Range>,

    /// How long the server may take until the first row, for what is expensive to compute.
    /// Default: what the configuration says for all data sets.
    pub first_row: Option<Duration>,

    /// What happens with differing rows under one key. Default: [`Duplicates::Fail`].
    pub duplicates: Duplicates,

    /// What happens with a row that the object no longer has. Default: [`Gone::Delete`].
    pub gone: Gone,
}

impl SqlDataset {
    /// What a declaration takes its defaults from. It is not a data set: it has no name.
    pub const NEW: Self = Self {
        name: "",
        category: "General",
        about: "",
        from: "",
        instead: &[],
        columns: &[],
        others: Others::Ignored,
        joins: &[],
        filter: "",
        parts: &[],
        optional: false,
        range: None,
        first_row: None,
        duplicates: Duplicates::Fail,
        gone: Gone::Delete,
    };

    /// Returns the columns that are declared, with what becomes of duplicates and of rows that the
    /// source no longer has. Configuration and the catalogue may add columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](connector_core::ErrorKind::Data) when the columns have no key, or one
    /// that can't be one.
    pub fn schema(&self) -> Result<Schema> {
        let schema = Schema::new(self.columns.iter().map(SqlColumn::column))?;
        Ok(schema.with_duplicates(self.duplicates).with_gone(self.gone))
    }

    /// Checks the declaration.
    ///
    /// # Panics
    ///
    /// When it is wrong; in a constant that is a compile error.
    #[must_use]
    pub const fn checked(self) -> Self {
        assert!(!self.name.is_empty(), "a data set has no name");
        assert!(!self.category.is_empty(), "a data set has no category");
        assert!(
            is_aliased(self.from),
            "`from` is an object and its alias, with one space between"
        );
        let mut has_key = false;
        let mut i = 0;
        while i < self.columns.len() {
            let SqlColumn {
                name,
                expression,
                key,
                nullable,
                volatile,
                ..
            } = self.columns[i];
            assert!(!name.is_empty(), "a column has no name");
            assert!(!expression.is_empty(), "a column has no expression");
            assert!(!(key && nullable), "a key column can't be null or optional");
            assert!(!(key && volatile), "a key column can't be volatile");
            has_key |= key;
            let mut j = 0;
            while j < i {
                assert!(
                    !same_name(self.columns[j].name, name),
                    "a column's name is repeated; letters in either case are the same"
                );
                j += 1;
            }
            i += 1;
        }
        assert!(has_key, "no column is part of the key");
        let mut i = 0;
        while i < self.joins.len() {
            let object = self.joins[i].object;
            assert!(
                is_query(object) || is_aliased(object),
                "a join is an object and its alias, with one space between, or a query in brackets and its alias"
            );
            assert!(!self.joins[i].on.is_empty(), "a join has no condition");
            i += 1;
        }
        let mut i = 0;
        while i < self.parts.len() {
            assert!(
                is_aliased(self.parts[i].from),
                "a part is an object and its alias, with one space between"
            );
            i += 1;
        }
        self
    }

    /// Returns name and category.
    pub const fn info(&self) -> DatasetInfo {
        DatasetInfo::new(self.name, self.category)
    }
}

/// One column of a [`SqlDataset`]: what it is called, what it holds, and the expression it is read
/// by.
///
/// An expression is mostly `alias.Column`. In any expression, condition or subquery `{alias}`
/// stands for the name of the object with that alias, as the server has it. A constant is one
/// too: `int("Bits", "32")`.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one word of a declaration, and any of them go together"
)]
pub struct SqlColumn {
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    pub(crate) expression: &'static str,
    pub(crate) instead: Option<&'static str>,
    pub(crate) key: bool,
    pub(crate) nullable: bool,
    pub(crate) volatile: bool,
    pub(crate) optional: bool,
}

impl SqlColumn {
    /// Makes it part of the key.
    #[must_use]
    pub const fn key(mut self) -> Self {
        self.key = true;
        self
    }

    /// Lets it be null. A server without the column is still an error; see
    /// [`optional`](Self::optional).
    #[must_use]
    pub const fn null(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Lets it be null, and lets the server lack the column: it is then null in every row, which is
    /// reported once.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.nullable = true;
        self.optional = true;
        self
    }

    /// Marks a column that moves when nothing else did: its value travels with an event and never
    /// causes one.
    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Turns a timestamp, which is in UTC, into one whose zone is not known.
    ///
    /// # Panics
    ///
    /// On a column of another type; in a constant that is a compile error.
    #[must_use]
    pub const fn local(mut self) -> Self {
        assert!(
            matches!(self.ty, Type::Timestamp),
            "only a timestamp can be local"
        );
        self.ty = Type::LocalTimestamp;
        self
    }

    /// Names the expression to take when the server lacks a column of the first one: another
    /// spelling (`"p.PackageID"`) or a constant (`"0"`). That is no reason for a report.
    #[must_use]
    pub const fn or(mut self, expression: &'static str) -> Self {
        self.instead = Some(expression);
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the type.
    pub const fn ty(&self) -> Type {
        self.ty
    }

    /// Returns the expression.
    pub const fn expression(&self) -> &'static str {
        self.expression
    }

    /// Tells whether it is part of the key.
    pub const fn is_key(&self) -> bool {
        self.key
    }

    /// Tells whether it may be null.
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Tells whether the server may lack it.
    pub const fn is_optional(&self) -> bool {
        self.optional
    }

    /// Tells whether it is left out of comparison.
    pub const fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Returns the column as a schema has it.
    pub fn column(&self) -> Column {
        let mut column = Column::new(self.name, self.ty);
        if self.key {
            column = column.key();
        }
        if self.nullable {
            column = column.null();
        }
        if self.volatile {
            column = column.volatile();
        }
        column
    }
}

const fn declared(name: &'static str, expression: &'static str, ty: Type) -> SqlColumn {
    SqlColumn {
        name,
        ty,
        expression,
        instead: None,
        key: false,
        nullable: false,
        volatile: false,
        optional: false,
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $ty:expr;)*) => {$(
        $(#[$doc])*
        pub const fn $name(name: &'static str, expression: &'static str) -> SqlColumn {
            declared(name, expression, $ty)
        }
    )*};
}

constructors! {
    /// Declares a [`Type::Bool`] column: `bit`, or an integer that is 0 or 1.
    bool => Type::Bool;
    /// Declares a [`Type::Int`] column: `tinyint`, `smallint`, `int`, `bigint`, `bit`, or a decimal
    /// without places that fits in 64 bits.
    int => Type::Int;
    /// Declares a [`Type::Float`] column: `real` or `float`.
    float => Type::Float;
    /// Declares a [`Type::Text`] column: any character type (`char` and `nchar` without the spaces
    /// that fill them up), `xml`, `uniqueidentifier`, `time`, `datetimeoffset` with its offset, or
    /// an exact number as text.
    text => Type::Text;
    /// Declares a [`Type::Bytes`] column: `binary`, `varbinary`, `image` or `rowversion`.
    bytes => Type::Bytes;
    /// Declares a [`Type::Timestamp`] column: `datetime`, `datetime2` or `smalldatetime` that the
    /// product keeps in UTC, or the moment of a `datetimeoffset`. [`SqlColumn::local`] makes it one
    /// without a zone.
    time => Type::Timestamp;
    /// Declares a [`Type::Date`] column: `date`.
    date => Type::Date;
    /// Declares a [`Type::Uuid`] column: `uniqueidentifier`, or `binary(16)` that holds one in the
    /// byte order of Active Directory.
    uuid => Type::Uuid;
    /// Declares a [`Type::Json`] column: a character type that holds JSON.
    json => Type::Json;
}

/// Declares a [`Type::Decimal`] column of that many decimal places: `decimal`, `numeric`, `money`
/// or `smallmoney` with as many places or fewer, or an integer.
///
/// # Panics
///
/// When there are more than 38 places; in a constant that is a compile error.
pub const fn decimal(name: &'static str, expression: &'static str, scale: u8) -> SqlColumn {
    assert!(
        scale <= connector_core::MAX_SCALE,
        "a decimal has 38 places at most"
    );
    declared(name, expression, schema::decimal("", scale).ty())
}

/// Whether columns are read that the object has and the declaration does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are not.
    Ignored,
    /// They are, under the names and types that the catalogue gives, as columns that may be null;
    /// but not those of these names, and none of a type that can't be carried or is meant for
    /// large contents (`image`, `text`, `xml`, `(max)`).
    ReadExcept(&'static [&'static str]),
}

/// Another object that is joined to the first; see [`join`] and [`left_join`].
#[derive(Debug, Clone, Copy)]
pub struct Join {
    pub(crate) object: &'static str,
    pub(crate) on: &'static str,
    pub(crate) left: bool,
}

/// Joins an object with its alias, or a query in brackets with its alias. An object that the server
/// lacks is treated like the first object.
pub const fn join(object: &'static str, on: &'static str) -> Join {
    Join {
        object,
        on,
        left: false,
    }
}

/// The same as an outer join. An object that the server lacks is left out when every column that is
/// read from it is [optional](SqlColumn::optional).
pub const fn left_join(object: &'static str, on: &'static str) -> Join {
    Join {
        object,
        on,
        left: true,
    }
}

/// A further object with rows of the same columns; see [`part`].
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub(crate) from: &'static str,
    pub(crate) values: &'static [(&'static str, &'static str)],
}

/// Names an object with the alias of the data set's first one. `values` are columns with the
/// expressions to take instead of the declared ones: `&[("Bits", "64")]`.
pub const fn part(from: &'static str, values: &'static [(&'static str, &'static str)]) -> Part {
    Part { from, values }
}

/// How the read of a large data set is split: by a column whose values never change for a row,
/// which an index leads with.
///
/// Each range is a short statement that can be repeated on its own, and several connections read
/// ranges at once.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub(crate) column: &'static str,
    pub(crate) keys: Option<(&'static str, u32)>,
    pub(crate) always: bool,
}

impl Range {
    /// Splits by `alias.Column`, an integer. Its least and greatest value and the number of rows
    /// are asked from the server, which an index answers.
    pub const fn of(column: &'static str) -> Self {
        Self {
            column,
            keys: None,
            always: false,
        }
    }

    /// Takes the bounds from a smaller list instead: `"v_R_System.ResourceID"`, or with a schema
    /// `"PUBLIC_VIEWS.vComputerTarget.ComputerTargetId"`. `rows` is about how many rows there are
    /// for each of its values, and says when the data set is large. The column may then also be
    /// text or a `uniqueidentifier`, if both have the same collation.
    #[must_use]
    pub const fn keys(mut self, list: &'static str, rows: u32) -> Self {
        self.keys = Some((list, rows));
        self
    }

    /// Splits however few rows there are: what must never be read in one statement.
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.always = true;
        self
    }
}

/// Tells whether the text is `object alias`.
const fn is_aliased(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut spaces, mut i) = (0, 0);
    while i < bytes.len() {
        let edge = i == 0 || i + 1 == bytes.len();
        if bytes[i] == b' ' {
            if edge {
                return false;
            }
            spaces += 1;
        }
        i += 1;
    }
    spaces == 1
}

/// Tells whether the text is a query in brackets.
const fn is_query(text: &str) -> bool {
    matches!(text.as_bytes(), [b'(', ..])
}

const fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: SqlDataset = SqlDataset {
        name: "Offered",
        from: "Offered o",
        columns: &[text("Id", "o.Id").key(), int("N", "o.N").or("0").optional()],
        ..SqlDataset::NEW
    };

    #[test]
    fn takes_a_good_declaration() {
        let offered = OFFERED.checked();
        assert_eq!(offered.info(), DatasetInfo::new("Offered", "General"));
        let columns: Vec<_> = offered.columns.iter().map(SqlColumn::column).collect();
        assert_eq!(
            columns,
            [
                Column::new("Id", Type::Text).key(),
                Column::new("N", Type::Int).null()
            ]
        );
    }

    fn declare(columns: &'static [SqlColumn]) -> SqlDataset {
        SqlDataset { columns, ..OFFERED }.checked()
    }

    #[test]
    #[should_panic(expected = "a column's name is repeated")]
    fn refuses_a_repeated_name() {
        const TWICE: &[SqlColumn] = &[text("Id", "o.Id").key(), text("ID", "o.ID")];
        declare(TWICE);
    }

    #[test]
    #[should_panic(expected = "a key column can't be null")]
    fn refuses_an_optional_key() {
        const OPTIONAL: &[SqlColumn] = &[text("Id", "o.Id").optional().key()];
        declare(OPTIONAL);
    }

    #[test]
    #[should_panic(expected = "`from` is an object and its alias")]
    fn refuses_an_object_without_alias() {
        let _ = SqlDataset {
            from: "Offered",
            ..OFFERED
        }
        .checked();
    }
}
