//! The types of SQL Server, and what becomes of them.

use std::fmt;

use connector_core::Type;

/// A type of SQL Server, as far as reading is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SqlType {
    Bit,
    /// `tinyint` to `bigint`.
    Int {
        bits: u8,
    },
    /// `decimal` and `numeric`. The catalogue tells precision and scale.
    Decimal {
        digits: Option<(u8, u8)>,
    },
    Money,
    /// `real` and `float`.
    Float,
    /// `char` to `ntext`; `wide` ones are UTF-16. Without a length: `(max)` or not known.
    Text {
        wide: bool,
        padded: bool,
        length: Option<u16>,
    },
    Xml,
    /// `datetime`, `smalldatetime` and `datetime2`.
    DateTime,
    Date,
    Time,
    DateTimeOffset,
    Uuid,
    /// `binary`, `varbinary`, `image` and `rowversion`.
    Binary {
        length: Option<u16>,
    },
    /// What can't be carried, by name.
    Other(&'static str),
}

/// What a column is not read as.
pub(crate) const LARGE: &str = "a type for large contents";

impl SqlType {
    /// Reads what the catalogue says. The numbers are those of `sys.types.system_type_id`.
    pub(crate) fn from_catalogue(system: i64, length: i64, precision: i64, scale: i64) -> Self {
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        // −1 is `(max)`.
        let bytes = u16::try_from(length).ok().filter(|length| *length > 0);
        let text = |wide: bool, padded: bool| Self::Text {
            wide,
            padded,
            length: if wide { bytes.map(|b| b / 2) } else { bytes },
        };
        match system {
            104 => Self::Bit,
            48 => Self::Int { bits: 8 },
            52 => Self::Int { bits: 16 },
            56 => Self::Int { bits: 32 },
            127 => Self::Int { bits: 64 },
            106 | 108 => Self::Decimal {
                digits: Some((small(precision), small(scale))),
            },
            60 | 122 => Self::Money,
            59 | 62 => Self::Float,
            167 => text(false, false),
            175 => text(false, true),
            231 => text(true, false),
            239 => text(true, true),
            35 => Self::Text {
                wide: false,
                padded: false,
                length: None,
            },
            99 => Self::Text {
                wide: true,
                padded: false,
                length: None,
            },
            241 => Self::Xml,
            58 | 61 | 42 => Self::DateTime,
            40 => Self::Date,
            41 => Self::Time,
            43 => Self::DateTimeOffset,
            36 => Self::Uuid,
            165 | 173 | 189 => Self::Binary { length: bytes },
            34 => Self::Binary { length: None },
            98 => Self::Other("sql_variant"),
            240 => Self::Other("a CLR type"),
            _ => Self::Other("a type that is not known here"),
        }
    }

    /// The type that loses nothing, where nobody says otherwise.
    pub(crate) fn natural(&self) -> Option<Type> {
        Some(match self {
            Self::Bit => Type::Bool,
            Self::Int { .. } => Type::Int,
            Self::Decimal { digits } => Type::Decimal {
                scale: digits.as_ref()?.1,
            },
            Self::Money => Type::Decimal { scale: 4 },
            Self::Float => Type::Float,
            // The offset of `datetimeoffset` is kept.
            Self::Text { .. } | Self::Xml | Self::Time | Self::DateTimeOffset => Type::Text,
            Self::DateTime => Type::LocalTimestamp,
            Self::Date => Type::Date,
            Self::Uuid => Type::Uuid,
            Self::Binary { .. } => Type::Bytes,
            Self::Other(_) => return None,
        })
    }

    /// Tells whether every value, or every one that is checked as it is read, becomes one of the
    /// type without loss.
    pub(crate) fn fits(&self, ty: Type) -> bool {
        match self {
            Self::Bit => matches!(
                ty,
                Type::Bool | Type::Int | Type::Text | Type::Decimal { .. }
            ),
            Self::Int { bits } => match ty {
                Type::Bool => *bits <= 32,
                _ => matches!(ty, Type::Int | Type::Text | Type::Decimal { .. }),
            },
            Self::Decimal { digits } => match (ty, digits) {
                (Type::Decimal { scale }, Some((_, places))) => *places <= scale,
                (Type::Int, Some((_, places))) => *places == 0,
                (Type::Decimal { .. } | Type::Int, None) | (Type::Text, _) => true,
                _ => false,
            },
            Self::Money => match ty {
                Type::Decimal { scale } => scale >= 4,
                _ => ty == Type::Text,
            },
            Self::Float => ty == Type::Float,
            Self::Text { .. } => matches!(ty, Type::Text | Type::Json),
            Self::Xml | Self::Time => ty == Type::Text,
            Self::DateTime => matches!(ty, Type::Timestamp | Type::LocalTimestamp),
            Self::Date => matches!(ty, Type::Date | Type::LocalTimestamp | Type::Timestamp),
            Self::DateTimeOffset => matches!(ty, Type::Timestamp | Type::Text),
            Self::Uuid => matches!(ty, Type::Uuid | Type::Text),
            Self::Binary { length } => match ty {
                Type::Uuid => length.is_none_or(|length| length == 16),
                _ => ty == Type::Bytes,
            },
            Self::Other(_) => false,
        }
    }

    /// Tells whether it is meant for large contents, which nobody reads without asking for it.
    pub(crate) fn is_large(&self) -> bool {
        matches!(
            self,
            Self::Xml | Self::Text { length: None, .. } | Self::Binary { length: None }
        )
    }

    pub(crate) fn is_padded(&self) -> bool {
        matches!(self, Self::Text { padded: true, .. })
    }

    /// The expression that brings the column over the wire without loss.
    pub(crate) fn select(&self, expression: &str, collation: Option<&str>) -> String {
        match self {
            Self::Xml => format!("CAST({expression} AS nvarchar(max))"),
            Self::Text {
                wide: false,
                length,
                ..
            } if !is_decoded(collation) => match length {
                Some(length) if *length <= 4000 => {
                    format!("CAST({expression} AS nvarchar({length}))")
                }
                _ => format!("CAST({expression} AS nvarchar(max))"),
            },
            _ => expression.to_owned(),
        }
    }
}

/// Tells whether text of a collation is read here as it stands on the wire: in UTF-8 or code page
/// 1252. Everything else the server turns into UTF-16: its own idea of the code pages of East Asia
/// differs from a decoder's in a few characters, and nobody here knows the old ones of MS-DOS.
pub(crate) fn is_decoded(collation: Option<&str>) -> bool {
    collation.is_some_and(|name| {
        let name = name.to_ascii_uppercase();
        name.starts_with("SQL_LATIN1_GENERAL_CP1_")
            || name.starts_with("LATIN1_GENERAL_")
            || name.ends_with("_UTF8")
    })
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bit => "bit",
            Self::Int { bits: 8 } => "tinyint",
            Self::Int { bits: 16 } => "smallint",
            Self::Int { bits: 32 } => "int",
            Self::Int { .. } => "bigint",
            Self::Decimal {
                digits: Some((precision, scale)),
            } => return write!(f, "decimal({precision},{scale})"),
            Self::Decimal { digits: None } => "decimal",
            Self::Money => "money",
            Self::Float => "float",
            Self::Text {
                wide,
                padded,
                length,
            } => {
                let name = match (wide, padded) {
                    (true, true) => "nchar",
                    (true, false) => "nvarchar",
                    (false, true) => "char",
                    (false, false) => "varchar",
                };
                return match length {
                    Some(length) => write!(f, "{name}({length})"),
                    None => f.write_str(name),
                };
            }
            Self::Xml => "xml",
            Self::DateTime => "datetime",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTimeOffset => "datetimeoffset",
            Self::Uuid => "uniqueidentifier",
            Self::Binary { length: Some(n) } => return write!(f, "varbinary({n})"),
            Self::Binary { length: None } => "varbinary",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_natural_type_always_fits() {
        for system in 0..256 {
            let ty = SqlType::from_catalogue(system, 16, 19, 4);
            match ty.natural() {
                Some(natural) => assert!(ty.fits(natural), "{ty}"),
                None => assert!(matches!(ty, SqlType::Other(_))),
            }
        }
    }

    #[test]
    fn what_loses_does_not_fit() {
        let decimal = SqlType::from_catalogue(106, 9, 19, 4);
        assert_eq!(decimal.to_string(), "decimal(19,4)");
        for (ty, wrong) in [
            (decimal, Type::Decimal { scale: 2 }),
            (SqlType::Money, Type::Float),
            (SqlType::Float, Type::Int),
            (SqlType::Int { bits: 64 }, Type::Float),
            (SqlType::Int { bits: 64 }, Type::Bool),
            (SqlType::DateTime, Type::Date),
            (SqlType::DateTimeOffset, Type::LocalTimestamp),
            (SqlType::from_catalogue(231, 20, 0, 0), Type::Int),
            (SqlType::from_catalogue(173, 8, 0, 0), Type::Uuid),
            (SqlType::from_catalogue(98, 0, 0, 0), Type::Text),
        ] {
            assert!(!ty.fits(wrong), "{ty} as {wrong}");
        }
    }

    #[test]
    fn only_utf_8_and_code_page_1252_come_as_they_are() {
        let short = SqlType::from_catalogue(167, 20, 0, 0);
        let select = |ty: &SqlType, collation| ty.select("[s].[a]", Some(collation));
        assert_eq!(select(&short, "SQL_Latin1_General_CP1_CI_AS"), "[s].[a]");
        assert_eq!(select(&short, "Latin1_General_100_BIN2"), "[s].[a]");
        assert_eq!(select(&short, "Greek_100_CI_AS_SC_UTF8"), "[s].[a]");
        for collation in ["SQL_Latin1_General_CP850_CI_AS", "Chinese_PRC_CI_AS"] {
            assert_eq!(select(&short, collation), "CAST([s].[a] AS nvarchar(20))");
        }
        let long = SqlType::from_catalogue(167, 8000, 0, 0);
        assert_eq!(
            select(&long, "Greek_CI_AS"),
            "CAST([s].[a] AS nvarchar(max))"
        );
        let wide = SqlType::from_catalogue(231, 510, 0, 0);
        assert_eq!(wide.to_string(), "nvarchar(255)");
        assert_eq!(select(&wide, "Greek_CI_AS"), "[s].[a]");
    }
}
