//! The types of SQL Server, and values of them as they stand on the wire.
//!
//! [MS-TDS] 2.2.5.4 Data Type Definitions, 2.2.5.5 Data Type Details, 2.2.5.6 Type
//! Info Rule Definition.

use std::fmt;

use jiff::{
    SignedDuration,
    civil::{Date, DateTime, Time},
};

use super::collation::Collation;

/// A length that stands for `max`, and for null where the length has two bytes.
const MAX: u16 = 0xFFFF;
const PLP_NULL: u64 = u64::MAX;
/// Pieces of a value of a `max` type; small, so that tests see several.
const PLP_CHUNK: usize = 3000;

/// A type of SQL Server. Lengths are characters for `nchar` and `nvarchar`, bytes for the rest.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named as T-SQL names it")]
pub enum SqlType {
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Bit,
    Real,
    Float,
    SmallMoney,
    Money,
    /// Precision, scale.
    Decimal(u8, u8),
    /// Precision, scale.
    Numeric(u8, u8),
    Date,
    /// Digits of a second.
    Time(u8),
    SmallDateTime,
    DateTime,
    /// Digits of a second.
    DateTime2(u8),
    /// Digits of a second.
    DateTimeOffset(u8),
    UniqueIdentifier,
    Char(u16, Collation),
    VarChar(u16, Collation),
    VarCharMax(Collation),
    Text(Collation),
    NChar(u16),
    NVarChar(u16),
    NVarCharMax,
    NText,
    Binary(u16),
    VarBinary(u16),
    VarBinaryMax,
    Image,
    Xml,
    SqlVariant,
    /// A type of the common language runtime, by its name in the schema `sys`: `geography`,
    /// `hierarchyid`.
    Udt(&'static str),
}

/// A value of a row.
///
/// Numbers and booleans are themselves. A decimal and an amount of money are text (`-12.50`), and
/// so are dates and times (`2026-01-02`, `03:04:05.1234567`, `2026-01-02 03:04:05.123`, with
/// `+02:00` at the end for `datetimeoffset`) and a `uniqueidentifier`. Bytes are what stands on the
/// wire, whatever the type.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Real(f32),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A value of a `sql_variant`, of a type that such a column can hold.
    Variant(Box<Variant>),
}

/// A value of a `sql_variant` column.
#[derive(Clone)]
pub struct Variant {
    ty: SqlType,
    cell: Cell,
}

impl Variant {
    /// Makes a cell of a `sql_variant` column that holds a value of this type.
    pub fn cell(ty: SqlType, cell: impl Into<Cell>) -> Cell {
        let cell = cell.into();
        Cell::Variant(Box::new(Self { ty, cell }))
    }
}

impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        self.cell == other.cell
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.ty, self.cell)
    }
}

/// The value, as a test prints it.
impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Bytes(value) => write!(f, "{value:02x?}"),
            Self::Variant(value) => value.fmt(f),
        }
    }
}

macro_rules! cell_from {
    ($($from:ty, $value:ident => $cell:expr;)*) => {
        $(impl From<$from> for Cell {
            fn from($value: $from) -> Self {
                $cell
            }
        })*
    };
}

cell_from! {
    (), _nothing => Self::Null;
    bool, value => Self::Bool(value);
    u8, value => Self::Int(value.into());
    i16, value => Self::Int(value.into());
    i32, value => Self::Int(value.into());
    i64, value => Self::Int(value);
    f32, value => Self::Real(value);
    f64, value => Self::Float(value);
    &str, value => Self::Text(value.to_owned());
    String, value => Self::Text(value);
    &[u8], value => Self::Bytes(value.to_vec());
    Vec<u8>, value => Self::Bytes(value);
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Makes the cells of a row from values, with `()` for null.
///
/// ```
/// use connector_testkit::{cells, tds::Cell};
///
/// assert_eq!(cells![1, "PC-1", ()], [Cell::Int(1), Cell::Text("PC-1".into()), Cell::Null]);
/// ```
#[macro_export]
macro_rules! cells {
    ($($value:expr),* $(,)?) => {
        [$($crate::tds::Cell::from($value)),*]
    };
}

/// How the length of a value is written.
enum Length {
    /// In one byte; 0 is null. The same type without a length, for columns that can't be null.
    Byte { fixed: Option<u8> },
    /// In two bytes; 0xFFFF is null.
    Short,
    /// In pieces: [MS-TDS] 2.2.5.2.3, partially length-prefixed bytes.
    Pieces,
    /// Behind a text pointer, in four bytes: see [MS-TDS] 2.2.7.20 ROW, for `text`, `ntext`, `image`.
    Pointer,
    /// In four bytes; 0 is null.
    Variant,
}

impl SqlType {
    /// The byte of the type that can be null.
    fn token(&self) -> u8 {
        match self {
            Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt => 0x26,
            Self::Bit => 0x68,
            Self::Real | Self::Float => 0x6D,
            Self::SmallMoney | Self::Money => 0x6E,
            Self::Decimal(..) => 0x6A,
            Self::Numeric(..) => 0x6C,
            Self::Date => 0x28,
            Self::Time(_) => 0x29,
            Self::SmallDateTime | Self::DateTime => 0x6F,
            Self::DateTime2(_) => 0x2A,
            Self::DateTimeOffset(_) => 0x2B,
            Self::UniqueIdentifier => 0x24,
            Self::Char(..) => 0xAF,
            Self::VarChar(..) | Self::VarCharMax(_) => 0xA7,
            Self::Text(_) => 0x23,
            Self::NChar(_) => 0xEF,
            Self::NVarChar(_) | Self::NVarCharMax => 0xE7,
            Self::NText => 0x63,
            Self::Binary(_) => 0xAD,
            Self::VarBinary(_) | Self::VarBinaryMax => 0xA5,
            Self::Image => 0x22,
            Self::Xml => 0xF1,
            Self::SqlVariant => 0x62,
            Self::Udt(_) => 0xF0,
        }
    }

    fn length(&self) -> Length {
        let fixed = match self {
            Self::TinyInt => 0x30,
            Self::SmallInt => 0x34,
            Self::Int => 0x38,
            Self::BigInt => 0x7F,
            Self::Bit => 0x32,
            Self::Real => 0x3B,
            Self::Float => 0x3E,
            Self::SmallMoney => 0x7A,
            Self::Money => 0x3C,
            Self::SmallDateTime => 0x3A,
            Self::DateTime => 0x3D,
            Self::Decimal(..)
            | Self::Numeric(..)
            | Self::Date
            | Self::Time(_)
            | Self::DateTime2(_)
            | Self::DateTimeOffset(_)
            | Self::UniqueIdentifier => return Length::Byte { fixed: None },
            Self::Char(..)
            | Self::VarChar(..)
            | Self::NChar(_)
            | Self::NVarChar(_)
            | Self::Binary(_)
            | Self::VarBinary(_) => return Length::Short,
            Self::VarCharMax(_)
            | Self::NVarCharMax
            | Self::VarBinaryMax
            | Self::Xml
            | Self::Udt(_) => return Length::Pieces,
            Self::Text(_) | Self::NText | Self::Image => return Length::Pointer,
            Self::SqlVariant => return Length::Variant,
        };
        Length::Byte { fixed: Some(fixed) }
    }

    /// Bytes of a value of a type that has one size.
    fn size(&self) -> u8 {
        match self {
            Self::TinyInt | Self::Bit => 1,
            Self::SmallInt => 2,
            Self::Int | Self::Real | Self::SmallMoney | Self::SmallDateTime => 4,
            Self::BigInt | Self::Float | Self::Money | Self::DateTime => 8,
            Self::UniqueIdentifier => 16,
            Self::Decimal(precision, _) | Self::Numeric(precision, _) => match precision {
                0..=9 => 5,
                10..=19 => 9,
                20..=28 => 13,
                _ => 17,
            },
            _ => 0,
        }
    }

    /// Writes `TYPE_INFO`.
    pub(super) fn write_info(&self, nullable: bool, out: &mut Vec<u8>) {
        if !nullable && let Length::Byte { fixed: Some(fixed) } = self.length() {
            out.push(fixed);
            return;
        }
        out.push(self.token());
        match self {
            Self::Date => {}
            Self::Time(scale) | Self::DateTime2(scale) | Self::DateTimeOffset(scale) => {
                out.push(*scale);
            }
            Self::Decimal(precision, scale) | Self::Numeric(precision, scale) => {
                out.extend([self.size(), *precision, *scale]);
            }
            Self::Char(length, collation) | Self::VarChar(length, collation) => {
                out.extend(length.to_le_bytes());
                collation.write(out);
            }
            Self::VarCharMax(collation) => {
                out.extend(MAX.to_le_bytes());
                collation.write(out);
            }
            Self::NChar(length) | Self::NVarChar(length) => {
                out.extend((length * 2).to_le_bytes());
                Collation::SQL_LATIN1_CP1.write(out);
            }
            Self::NVarCharMax => {
                out.extend(MAX.to_le_bytes());
                Collation::SQL_LATIN1_CP1.write(out);
            }
            Self::Binary(length) | Self::VarBinary(length) => out.extend(length.to_le_bytes()),
            Self::VarBinaryMax => out.extend(MAX.to_le_bytes()),
            Self::Text(collation) => {
                out.extend(0x7FFF_FFFF_u32.to_le_bytes());
                collation.write(out);
            }
            Self::NText => {
                out.extend(0x7FFF_FFFE_u32.to_le_bytes());
                Collation::SQL_LATIN1_CP1.write(out);
            }
            Self::Image => out.extend(0x7FFF_FFFF_u32.to_le_bytes()),
            Self::SqlVariant => out.extend(8009_u32.to_le_bytes()),
            // Without a schema collection.
            Self::Xml => out.push(0),
            Self::Udt(name) => {
                out.extend(MAX.to_le_bytes());
                for part in ["", "sys", name] {
                    write_short_text(part, out);
                }
                let assembly =
                    format!("Microsoft.SqlServer.Types.{name}, Microsoft.SqlServer.Types");
                write_text(&assembly, out);
            }
            _ => out.push(self.size()),
        }
    }

    /// Whether COLMETADATA names the table of such a column.
    pub(super) fn has_table_name(&self) -> bool {
        matches!(self.length(), Length::Pointer)
    }

    /// Writes a value with its length.
    ///
    /// # Panics
    ///
    /// When the cell is none of this type.
    pub(super) fn write_value(&self, nullable: bool, cell: &Cell, out: &mut Vec<u8>) {
        let null = *cell == Cell::Null;
        assert!(nullable || !null, "null for a column that is not nullable");
        let value = if null { Vec::new() } else { self.value(cell) };
        match self.length() {
            Length::Byte { fixed: Some(_) } if !nullable => {}
            Length::Byte { .. } => out.push(narrow(value.len())),
            Length::Short if null => out.extend(MAX.to_le_bytes()),
            Length::Short => out.extend(narrow::<u16>(value.len()).to_le_bytes()),
            Length::Pieces if null => out.extend(PLP_NULL.to_le_bytes()),
            Length::Pieces => {
                out.extend((value.len() as u64).to_le_bytes());
                for chunk in value.chunks(PLP_CHUNK) {
                    out.extend(narrow::<u32>(chunk.len()).to_le_bytes());
                    out.extend(chunk);
                }
                out.extend(0_u32.to_le_bytes());
                return;
            }
            Length::Pointer if null => out.push(0),
            Length::Pointer => {
                out.push(16);
                out.extend([0xEE; 16]);
                // The timestamp of the pointer.
                out.extend([0; 8]);
                out.extend(narrow::<u32>(value.len()).to_le_bytes());
            }
            Length::Variant => out.extend(narrow::<u32>(value.len()).to_le_bytes()),
        }
        out.extend(value);
    }

    /// The bytes of a value that is not null, without its length.
    fn value(&self, cell: &Cell) -> Vec<u8> {
        if let Cell::Bytes(bytes) = cell {
            return bytes.clone();
        }
        match (self, cell) {
            (Self::Bit, Cell::Bool(value)) => vec![u8::from(*value)],
            (Self::TinyInt, Cell::Int(value)) => vec![narrow(*value)],
            (Self::SmallInt, Cell::Int(value)) => narrow::<i16>(*value).to_le_bytes().to_vec(),
            (Self::Int, Cell::Int(value)) => narrow::<i32>(*value).to_le_bytes().to_vec(),
            (Self::BigInt, Cell::Int(value)) => value.to_le_bytes().to_vec(),
            (Self::Real, Cell::Real(value)) => value.to_le_bytes().to_vec(),
            (Self::Float, Cell::Float(value)) => value.to_le_bytes().to_vec(),
            (Self::SmallMoney, Cell::Text(text)) => {
                narrow::<i32>(scaled(text, 4)).to_le_bytes().to_vec()
            }
            (Self::Money, Cell::Text(text)) => {
                let bytes = narrow::<i64>(scaled(text, 4)).to_le_bytes();
                // The upper half first.
                [&bytes[4..], &bytes[..4]].concat()
            }
            (Self::Decimal(_, scale) | Self::Numeric(_, scale), Cell::Text(text)) => {
                let value = scaled(text, *scale);
                let magnitude = value.unsigned_abs().to_le_bytes();
                let (kept, rest) = magnitude.split_at(usize::from(self.size()) - 1);
                assert!(
                    rest.iter().all(|b| *b == 0),
                    "{text} does not fit in {self:?}"
                );
                [&[u8::from(value >= 0)], kept].concat()
            }
            (Self::Date, Cell::Text(text)) => date_bytes(parsed(text)).to_vec(),
            (Self::Time(scale), Cell::Text(text)) => time_bytes(parsed(text), *scale),
            (Self::SmallDateTime, Cell::Text(text)) => {
                let value: DateTime = parsed(text);
                let minutes = u16::from(value.hour().unsigned_abs()) * 60
                    + u16::from(value.minute().unsigned_abs());
                let days = narrow::<u16>(days_since(value.date(), Date::constant(1900, 1, 1)));
                [days.to_le_bytes(), minutes.to_le_bytes()].concat()
            }
            (Self::DateTime, Cell::Text(text)) => {
                let value: DateTime = parsed(text);
                let days = narrow::<i32>(days_since(value.date(), Date::constant(1900, 1, 1)));
                // Steps of 1/300 s.
                let ticks = (nanoseconds(value.time()) * 3 + 5_000_000) / 10_000_000;
                [days.to_le_bytes(), narrow::<u32>(ticks).to_le_bytes()].concat()
            }
            (Self::DateTime2(scale), Cell::Text(text)) => date_time_bytes(parsed(text), *scale),
            (Self::DateTimeOffset(scale), Cell::Text(text)) => offset_bytes(text, *scale),
            (Self::UniqueIdentifier, Cell::Text(text)) => guid_bytes(text),
            (
                Self::Char(_, collation)
                | Self::VarChar(_, collation)
                | Self::VarCharMax(collation)
                | Self::Text(collation),
                Cell::Text(text),
            ) => collation.encode(text),
            (
                Self::NChar(_) | Self::NVarChar(_) | Self::NVarCharMax | Self::NText | Self::Xml,
                Cell::Text(text),
            ) => utf16(text),
            (Self::SqlVariant, Cell::Variant(variant)) => variant.bytes(),
            _ => panic!("{cell:?} is no value of {self:?}"),
        }
    }
}

impl Variant {
    /// [MS-TDS] 2.2.5.5.4 `sql_variant` Values: the type, its properties, and the value.
    fn bytes(&self) -> Vec<u8> {
        let Self { ty, cell } = self;
        let value = ty.value(cell);
        let length = narrow::<u16>(value.len());
        let mut properties = Vec::new();
        match ty {
            SqlType::Time(scale) | SqlType::DateTime2(scale) | SqlType::DateTimeOffset(scale) => {
                properties.push(*scale);
            }
            SqlType::Decimal(precision, scale) | SqlType::Numeric(precision, scale) => {
                properties.extend([*precision, *scale]);
            }
            SqlType::Binary(_) | SqlType::VarBinary(_) => properties.extend(length.to_le_bytes()),
            SqlType::Char(_, collation) | SqlType::VarChar(_, collation) => {
                collation.write(&mut properties);
                properties.extend(length.to_le_bytes());
            }
            SqlType::NChar(_) | SqlType::NVarChar(_) => {
                Collation::SQL_LATIN1_CP1.write(&mut properties);
                properties.extend(length.to_le_bytes());
            }
            _ => {}
        }
        let token = match ty.length() {
            Length::Byte { fixed: Some(fixed) } => fixed,
            _ => ty.token(),
        };
        [
            &[token, narrow(properties.len())],
            &properties[..],
            &value[..],
        ]
        .concat()
    }
}

fn narrow<T>(number: impl TryInto<T> + Copy + fmt::Display) -> T {
    let narrowed = number.try_into();
    narrowed.unwrap_or_else(|_| panic!("{number} is out of range"))
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?} is no such value: {error}"))
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// `B_VARCHAR`: a length of one byte, in characters.
pub(super) fn write_short_text(text: &str, out: &mut Vec<u8>) {
    let text = utf16(text);
    out.push(narrow(text.len() / 2));
    out.extend(text);
}

/// `US_VARCHAR`: a length of two bytes, in characters.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    let text = utf16(text);
    out.extend(narrow::<u16>(text.len() / 2).to_le_bytes());
    out.extend(text);
}

/// A decimal in units of its last digit.
fn scaled(text: &str, scale: u8) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::from(scale);
    assert!(
        fraction.len() <= scale,
        "{text} has more than {scale} digits after the point"
    );
    parsed(&format!("{whole}{fraction:0<scale$}"))
}

fn days_since(date: Date, origin: Date) -> i64 {
    date.duration_since(origin).as_hours() / 24
}

fn nanoseconds(time: Time) -> i128 {
    time.duration_since(Time::midnight()).as_nanos()
}

/// Days since the year 1, in three bytes.
fn date_bytes(date: Date) -> [u8; 3] {
    let days = narrow::<u32>(days_since(date, Date::constant(1, 1, 1))).to_le_bytes();
    [days[0], days[1], days[2]]
}

/// Units of the last digit since midnight, in three to five bytes.
fn time_bytes(time: Time, scale: u8) -> Vec<u8> {
    let units = nanoseconds(time) / 10_i128.pow(9 - u32::from(scale));
    let size = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    narrow::<u64>(units).to_le_bytes()[..size].to_vec()
}

fn date_time_bytes(value: DateTime, scale: u8) -> Vec<u8> {
    [
        &time_bytes(value.time(), scale)[..],
        &date_bytes(value.date()),
    ]
    .concat()
}

/// The time in UTC, and the offset in minutes.
fn offset_bytes(text: &str, scale: u8) -> Vec<u8> {
    let (local, offset) = text.split_at(text.len() - "+00:00".len());
    let local: DateTime = parsed(local.trim_end());
    let minutes = parsed::<i16>(&offset[1..3]) * 60 + parsed::<i16>(&offset[4..]);
    let minutes = if offset.starts_with('-') {
        -minutes
    } else {
        minutes
    };
    let utc = local - SignedDuration::from_mins(minutes.into());
    [&date_time_bytes(utc, scale)[..], &minutes.to_le_bytes()].concat()
}

/// The first three groups in the order of little-endian numbers.
fn guid_bytes(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let value: u128 = u128::from_str_radix(&digits, 16)
        .unwrap_or_else(|error| panic!("{text:?} is no uniqueidentifier: {error}"));
    let mut bytes = value.to_be_bytes();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes.to_vec()
}
