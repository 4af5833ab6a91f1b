//! What a data set's rows look like.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    decimal::MAX_SCALE,
    error::{Error, ErrorKind, Result},
};

/// The type of a column: a closed set on purpose, so that every sink knows all of it.
///
/// In configuration and files it is spelled `bool`, `int`, `float`, `decimal(4)`, `text`, `bytes`,
/// `timestamp`, `local_timestamp`, `date`, `uuid` or `json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number of 64 bits with sign.
    Int,
    /// A binary floating-point number of 64 bits; every NaN is one value, and −0 is 0.
    Float,
    /// An exact number; money is `Decimal { scale: 4 }`.
    Decimal {
        /// Decimal places, 38 at most.
        scale: u8,
    },
    /// Unicode text.
    Text,
    /// Bytes without a meaning of their own.
    Bytes,
    /// A moment in UTC; see [`Timestamp`](crate::Timestamp).
    Timestamp,
    /// A time whose zone is not known; see [`LocalTimestamp`](crate::LocalTimestamp).
    LocalTimestamp,
    /// A day of the calendar.
    Date,
    /// A UUID, which Windows calls a GUID.
    Uuid,
    /// A JSON document; kept with sorted keys and without white space, its numbers as written.
    Json,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Decimal { scale } => return write!(f, "decimal({scale})"),
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::LocalTimestamp => "local_timestamp",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Json => "json",
        })
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "bool" => Self::Bool,
            "int" => Self::Int,
            "float" => Self::Float,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "timestamp" => Self::Timestamp,
            "local_timestamp" => Self::LocalTimestamp,
            "date" => Self::Date,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            _ => {
                let scale = text
                    .strip_prefix("decimal(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|scale| scale.parse().ok())
                    .filter(|scale| *scale <= MAX_SCALE);
                match scale {
                    Some(scale) => Self::Decimal { scale },
                    None => {
                        return Err(format!(
                            "unknown type `{text}`: expected bool, int, float, decimal(0) to \
                             decimal(38), text, bytes, timestamp, local_timestamp, date, uuid or json"
                        ));
                    }
                }
            }
        })
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// One column of a [`Schema`], or with a literal for a name, of a [`Declared`] one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column<N = Box<str>> {
    name: N,
    #[serde(rename = "type")]
    ty: Type,
    #[serde(default, skip_serializing_if = "is_false")]
    key: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    nullable: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    volatile: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Column {
    /// Makes a column that is not null, not part of the key and compared.
    pub fn new(name: impl Into<Box<str>>, ty: Type) -> Self {
        Self {
            name: name.into(),
            ty,
            key: false,
            nullable: false,
            volatile: false,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<N> Column<N> {
    /// Makes it part of the key.
    #[must_use]
    pub const fn key(mut self) -> Self {
        self.key = true;
        self
    }

    /// Lets it be null.
    #[must_use]
    pub const fn null(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Marks a column that moves when nothing else did (a scan stamp, free memory): its value
    /// travels with an event and never causes one.
    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Turns a timestamp into one whose zone is not known.
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

    /// Returns the type.
    pub const fn ty(&self) -> Type {
        self.ty
    }

    /// Tells whether it is part of the key.
    pub const fn is_key(&self) -> bool {
        self.key
    }

    /// Tells whether it may be null.
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Tells whether it is left out of comparison.
    pub const fn is_volatile(&self) -> bool {
        self.volatile
    }
}

impl From<Column<&'static str>> for Column {
    fn from(declared: Column<&'static str>) -> Self {
        let Column {
            name,
            ty,
            key,
            nullable,
            volatile,
        } = declared;
        Self {
            name: name.into(),
            ty,
            key,
            nullable,
            volatile,
        }
    }
}

const fn declared(name: &'static str, ty: Type) -> Column<&'static str> {
    Column {
        name,
        ty,
        key: false,
        nullable: false,
        volatile: false,
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $ty:expr;)*) => {$(
        $(#[$doc])*
        pub const fn $name(name: &'static str) -> Column<&'static str> {
            declared(name, $ty)
        }
    )*};
}

constructors! {
    /// Declares a [`Type::Bool`] column.
    bool => Type::Bool;
    /// Declares a [`Type::Int`] column.
    int => Type::Int;
    /// Declares a [`Type::Float`] column.
    float => Type::Float;
    /// Declares a [`Type::Text`] column.
    text => Type::Text;
    /// Declares a [`Type::Bytes`] column.
    bytes => Type::Bytes;
    /// Declares a [`Type::Timestamp`] column; [`Column::local`] makes it one without a zone.
    time => Type::Timestamp;
    /// Declares a [`Type::Date`] column.
    date => Type::Date;
    /// Declares a [`Type::Uuid`] column.
    uuid => Type::Uuid;
    /// Declares a [`Type::Json`] column.
    json => Type::Json;
}

/// Declares a [`Type::Decimal`] column of that many decimal places.
pub const fn decimal(name: &'static str, scale: u8) -> Column<&'static str> {
    declared(name, Type::Decimal { scale })
}

/// Columns that the compiler has checked.
///
/// ```
/// use connector_core::schema::{Declared, Schema, date, int, text};
///
/// const SOFTWARE: Declared = Declared::new(&[
///     text("device").key(),
///     text("product").key(),
///     text("version").null(),
///     date("installed_on").null(),
///     int("free_bytes").volatile(),
/// ]);
/// let schema = Schema::from(SOFTWARE);
/// assert_eq!(schema.columns().len(), 5);
/// ```
///
/// A declaration without a key, with a nullable or volatile key column, or with a repeated name
/// does not compile:
///
/// ```compile_fail
/// use connector_core::schema::{Declared, text};
/// const WRONG: Declared = Declared::new(&[text("device").key().null()]);
/// # let _ = WRONG;
/// ```
///
/// ```compile_fail
/// use connector_core::schema::{Declared, text};
/// const WRONG: Declared = Declared::new(&[text("device").key(), text("device")]);
/// # let _ = WRONG;
/// ```
///
/// ```compile_fail
/// use connector_core::schema::{Declared, text};
/// const WRONG: Declared = Declared::new(&[text("device")]);
/// # let _ = WRONG;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Declared(&'static [Column<&'static str>]);

impl Declared {
    /// Checks the columns.
    ///
    /// # Panics
    ///
    /// When the declaration is wrong; in a constant that is a compile error.
    pub const fn new(columns: &'static [Column<&'static str>]) -> Self {
        let mut has_key = false;
        let mut i = 0;
        while i < columns.len() {
            let column = &columns[i];
            assert!(!column.name.is_empty(), "a column has no name");
            assert!(
                !(column.key && column.nullable),
                "a key column can't be null"
            );
            assert!(
                !(column.key && column.volatile),
                "a key column can't be volatile"
            );
            has_key |= column.key;
            let mut j = 0;
            while j < i {
                assert!(
                    !same(columns[j].name.as_bytes(), column.name.as_bytes()),
                    "a column's name is repeated"
                );
                j += 1;
            }
            if let Type::Decimal { scale } = column.ty {
                assert!(scale <= MAX_SCALE, "a decimal has 38 places at most");
            }
            i += 1;
        }
        assert!(has_key, "no column is part of the key");
        Self(columns)
    }

    /// Returns the columns.
    pub const fn columns(self) -> &'static [Column<&'static str>] {
        self.0
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// What happens when one read holds several differing rows under one key. Identical rows always
/// collapse into one and are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// The data set fails; its baseline stays as it was.
    #[default]
    Fail,
    /// The row with the greatest hash is kept: any one of them, but the same one in whatever order
    /// they arrive. The others are counted and reported.
    KeepGreatest,
}

/// What happens with a row of the baseline that a complete read no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays as it was last read: for a source that drops its oldest rows and deletes no others,
    /// such as a monitoring database. Only a full load, which starts from what the source holds,
    /// ends that: a clean sync, another key or type, or a sink that needs rows of which
    /// [digests](crate::Retain::Digests) are kept.
    Keep,
}

impl Gone {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde calls"
    )]
    fn is_delete(&self) -> bool {
        *self == Self::Delete
    }
}

/// The column of a row's hash. No source has a column of that name.
pub(crate) const DIGEST: &str = "\0digest";

/// Where a column's cell stands in a row's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) volatile: bool,
    pub(crate) index: usize,
}

/// The columns of a data set, its key among them, and the policies for duplicate keys and for rows
/// that are gone.
#[derive(Clone)]
pub struct Schema {
    columns: Vec<Column>,
    key: Vec<usize>,
    slots: Vec<Slot>,
    compared: usize,
    plain_text: bool,
    digests: bool,
    /// Of digests that a sink is sent: the columns of their records.
    records: Option<Arc<Self>>,
    duplicates: Duplicates,
    gone: Gone,
}

impl Schema {
    /// Checks columns that are known only at run time; [`Declared`] does it in the compiler.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] when there is no key, a key column is nullable or volatile, or a name
    /// is empty or repeated.
    pub fn new(columns: impl IntoIterator<Item = impl Into<Column>>) -> Result<Self> {
        let columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
        let wrong = |what: &str, column: &Column| {
            Err(Error::new(ErrorKind::Data, what).with("column", column.name()))
        };
        let mut names = std::collections::HashSet::new();
        for column in &columns {
            if column.name.is_empty() {
                return Err(Error::new(ErrorKind::Data, "a column has no name"));
            }
            if !names.insert(column.name()) {
                return wrong("a column's name is repeated", column);
            }
            if column.key && column.nullable {
                return wrong("a key column can't be null", column);
            }
            if column.key && column.volatile {
                return wrong("a key column can't be volatile", column);
            }
            if matches!(column.ty, Type::Decimal { scale } if scale > MAX_SCALE) {
                return wrong("a decimal has 38 places at most", column);
            }
        }
        if !columns.iter().any(|column| column.key) {
            return Err(Error::new(ErrorKind::Data, "no column is part of the key"));
        }
        Ok(Self::from_checked(columns))
    }

    fn from_checked(columns: Vec<Column>) -> Self {
        let (mut compared, mut volatile) = (0, 0);
        let slots = columns
            .iter()
            .map(|column| {
                let next = if column.volatile {
                    &mut volatile
                } else {
                    &mut compared
                };
                *next += 1;
                Slot {
                    volatile: column.volatile,
                    index: *next - 1,
                }
            })
            .collect();
        let key = (0..columns.len()).filter(|i| columns[*i].key).collect();
        let plain_text = columns.iter().all(|c| c.ty == Type::Text && !c.volatile);
        let digests = columns.last().is_some_and(|column| &*column.name == DIGEST);
        Self {
            columns,
            key,
            slots,
            compared,
            plain_text,
            digests,
            records: None,
            duplicates: Duplicates::default(),
            gone: Gone::default(),
        }
    }

    /// Sets the policy for differing rows under one key.
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: Duplicates) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Sets the policy for rows that a complete read no longer holds.
    #[must_use]
    pub fn with_gone(mut self, gone: Gone) -> Self {
        self.gone = gone;
        self
    }

    /// Returns the columns in the order in which rows are written and read.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| *column.name == *name)
    }

    /// Returns the place of the column of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| *column.name == *name)
    }

    /// Returns the key's columns.
    pub fn key(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.key.iter().map(|i| &self.columns[*i])
    }

    /// Returns the policy for differing rows under one key.
    pub fn duplicates(&self) -> Duplicates {
        self.duplicates
    }

    /// Returns the policy for rows that a complete read no longer holds.
    pub fn gone(&self) -> Gone {
        self.gone
    }

    pub(crate) fn key_positions(&self) -> &[usize] {
        &self.key
    }

    pub(crate) fn slot(&self, column: usize) -> Slot {
        self.slots[column]
    }

    /// How many columns are compared, and how many are volatile.
    pub(crate) fn section_lens(&self) -> (usize, usize) {
        (self.compared, self.columns.len() - self.compared)
    }

    /// Tells whether its rows are digests.
    pub(crate) fn is_digests(&self) -> bool {
        self.digests
    }

    /// Tells whether every column is text, and compared.
    pub(crate) fn is_plain_text(&self) -> bool {
        self.plain_text
    }

    /// The key's columns and [`DIGEST`]: the rows of a base that keeps digests.
    pub(crate) fn digests(&self) -> Self {
        let mut columns: Vec<Column> = self.key().cloned().collect();
        columns.push(Column::new(DIGEST, Type::Int));
        Self::from_checked(columns)
    }

    /// As [`Schema::digests`], and says of which columns, for sinks.
    pub(crate) fn digests_to_send(self: &Arc<Self>) -> Self {
        Self {
            records: Some(Arc::clone(self)),
            ..self.digests()
        }
    }

    /// The columns of the records that its rows are digests of, where that is known.
    pub(crate) fn records(&self) -> Option<&Arc<Self>> {
        self.records.as_ref()
    }

    /// Tells whether rows of both have the same bytes.
    pub(crate) fn same_rows(&self, other: &Self) -> bool {
        self.columns == other.columns
    }

    /// Tells whether rows of `self` can be carried over into rows of `newer` without asking the
    /// source: the key and every type are the same, and what is new may be null.
    pub(crate) fn extends_to(&self, newer: &Self) -> bool {
        let kept = self.columns.iter().all(|old| {
            newer.column(&old.name).is_some_and(|new| {
                new.ty == old.ty && new.key == old.key && (new.nullable || !old.nullable)
            })
        });
        let added = newer
            .columns
            .iter()
            .all(|new| self.column(&new.name).is_some() || new.nullable);
        // The key's order is part of the key.
        kept && added
            && self
                .key()
                .map(Column::name)
                .eq(newer.key().map(Column::name))
    }
}

/// Equal when rows of both have the same bytes and the policies are the same.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.duplicates == other.duplicates
            && self.gone == other.gone
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for column in &self.columns {
            list.entry(&format_args!(
                "{}: {}{}{}{}",
                column.name,
                column.ty,
                if column.key { " key" } else { "" },
                if column.nullable { " null" } else { "" },
                if column.volatile { " volatile" } else { "" },
            ));
        }
        list.finish()
    }
}

impl From<Declared> for Schema {
    fn from(declared: Declared) -> Self {
        Self::from_checked(
            declared
                .0
                .iter()
                .map(|column| Column::from(*column))
                .collect(),
        )
    }
}

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    columns: Cow<'a, [Column]>,
    #[serde(default)]
    duplicates: Duplicates,
    #[serde(default, skip_serializing_if = "Gone::is_delete")]
    gone: Gone,
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form {
            columns: Cow::Borrowed(&self.columns),
            duplicates: self.duplicates,
            gone: self.gone,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        Self::new(form.columns.into_owned())
            .map(|schema| schema.with_duplicates(form.duplicates).with_gone(form.gone))
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[Column<&'static str>]) -> Schema {
        Schema::new(columns.to_vec()).unwrap()
    }

    #[test]
    fn refuses_wrong_declarations() {
        for (columns, reason) in [
            (vec![text("a")], "no column is part of the key"),
            (
                vec![text("a").key().null()],
                "a key column can't be null (column: a)",
            ),
            (
                vec![text("a").key().volatile()],
                "a key column can't be volatile (column: a)",
            ),
            (
                vec![text("a").key(), int("a")],
                "a column's name is repeated (column: a)",
            ),
            (vec![text("").key()], "a column has no name"),
            (
                vec![decimal("a", 39).key()],
                "a decimal has 38 places at most (column: a)",
            ),
        ] {
            assert_eq!(Schema::new(columns).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn types_are_spelled_and_read_back() {
        for ty in [
            Type::Bool,
            Type::Int,
            Type::Float,
            Type::Decimal { scale: 4 },
            Type::Text,
            Type::Bytes,
            Type::Timestamp,
            Type::LocalTimestamp,
            Type::Date,
            Type::Uuid,
            Type::Json,
        ] {
            assert_eq!(ty.to_string().parse(), Ok(ty));
        }
        assert!("decimal(39)".parse::<Type>().is_err());
        assert!(
            "string"
                .parse::<Type>()
                .unwrap_err()
                .contains("unknown type `string`")
        );
    }

    #[test]
    fn survives_serde() {
        let schema = schema(&[
            text("a").key(),
            decimal("b", 2).null(),
            time("c").volatile(),
        ])
        .with_duplicates(Duplicates::KeepGreatest)
        .with_gone(Gone::Keep);
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        assert!(serde_json::from_str::<Schema>(r#"{"columns":[]}"#).is_err());
    }

    #[test]
    fn a_new_nullable_column_and_another_order_extend() {
        let old = schema(&[text("a").key(), int("b")]);
        assert!(old.extends_to(&schema(&[int("b"), text("c").null(), text("a").key()])));
        assert!(old.extends_to(&schema(&[text("a").key(), int("b").volatile()])));
        assert!(
            !old.extends_to(&schema(&[text("a").key()])),
            "a column is gone"
        );
        assert!(
            !old.extends_to(&schema(&[text("a").key(), text("b")])),
            "another type"
        );
        assert!(
            !old.extends_to(&schema(&[text("a").key(), int("b").key()])),
            "another key"
        );
        assert!(
            !old.extends_to(&schema(&[text("a").key(), int("b"), int("c")])),
            "new, not null"
        );
    }
}
