//! One cell of a row.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{
    decimal::Decimal,
    json,
    schema::Type,
    time::{Date, LocalTimestamp, ParseError, Timestamp},
};

/// One cell: null or a value of one of the eleven types. Borrows from the row it was read from.
///
/// `Display` renders it as text that [`Type::parse`] reads back without loss; null is the empty
/// text. Floating-point values are equal when they are the same number or both NaN.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Int`].
    Int(i64),
    /// See [`Type::Float`].
    Float(f64),
    /// See [`Type::Decimal`].
    Decimal(Decimal),
    /// See [`Type::Text`].
    Text(Cow<'a, str>),
    /// See [`Type::Bytes`]; rendered as base64.
    Bytes(Cow<'a, [u8]>),
    /// See [`Type::Timestamp`].
    Timestamp(Timestamp),
    /// See [`Type::LocalTimestamp`].
    LocalTimestamp(LocalTimestamp),
    /// See [`Type::Date`].
    Date(Date),
    /// See [`Type::Uuid`].
    Uuid(Uuid),
    /// See [`Type::Json`].
    Json(Cow<'a, str>),
}

impl Value<'_> {
    /// Tells whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the text of a [`Value::Text`].
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the number of a [`Value::Int`].
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Copies what is borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Decimal(v) => Value::Decimal(v),
            Self::Text(v) => Value::Text(Cow::Owned(v.into_owned())),
            Self::Bytes(v) => Value::Bytes(Cow::Owned(v.into_owned())),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::LocalTimestamp(v) => Value::LocalTimestamp(v),
            Self::Date(v) => Value::Date(v),
            Self::Uuid(v) => Value::Uuid(v),
            Self::Json(v) => Value::Json(Cow::Owned(v.into_owned())),
        }
    }

    /// The name of the value's type, for messages that must not show the value.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Decimal(_) => "decimal",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "timestamp",
            Self::LocalTimestamp(_) => "local_timestamp",
            Self::Date(_) => "date",
            Self::Uuid(_) => "uuid",
            Self::Json(_) => "json",
        }
    }
}

/// Folds every NaN into one and −0 into 0, so that equal numbers have equal bytes.
pub(crate) fn canonical_float(v: f64) -> f64 {
    if v.is_nan() {
        f64::NAN
    } else if v == 0.0 {
        0.0
    } else {
        v
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => {
                canonical_float(*a).to_bits() == canonical_float(*b).to_bits()
            }
            (Self::Decimal(a), Self::Decimal(b)) => a == b,
            (Self::Text(a), Self::Text(b)) | (Self::Json(a), Self::Json(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::LocalTimestamp(a), Self::LocalTimestamp(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            // `Debug` is the shortest text that reads back, with an exponent where that is short.
            Self::Float(v) => write!(f, "{:?}", canonical_float(*v)),
            Self::Decimal(v) => write!(f, "{v}"),
            Self::Text(v) | Self::Json(v) => f.write_str(v),
            Self::Bytes(v) => f.write_str(&BASE64.encode(v)),
            Self::Timestamp(v) => write!(f, "{v}"),
            Self::LocalTimestamp(v) => write!(f, "{v}"),
            Self::Date(v) => write!(f, "{v}"),
            Self::Uuid(v) => write!(f, "{v}"),
        }
    }
}

/// Into the nearest form that loses nothing: numbers that JSON has are numbers, decimals, times
/// and UUIDs are text, bytes are base64 text, JSON stands as it is, and a float that JSON lacks is
/// the text `NaN`, `inf` or `-inf`.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(v) => serializer.serialize_bool(*v),
            Self::Int(v) => serializer.serialize_i64(*v),
            Self::Float(v) if v.is_finite() => serializer.serialize_f64(canonical_float(*v)),
            Self::Text(v) => serializer.serialize_str(v),
            Self::Bytes(v) if !serializer.is_human_readable() => serializer.serialize_bytes(v),
            Self::Json(v) => match serde_json::from_str::<&serde_json::value::RawValue>(v) {
                Ok(raw) => raw.serialize(serializer),
                Err(error) => Err(serde::ser::Error::custom(error)),
            },
            _ => serializer.collect_str(self),
        }
    }
}

impl Type {
    /// Reads the text of a value that is not null, without loss.
    ///
    /// `Bool` takes `true`, `false` (in any case), `1` and `0`; `Bytes` takes base64; times and
    /// dates take what their own types take.
    ///
    /// # Errors
    ///
    /// When the text is not a value of this type, or would lose something by becoming one. The
    /// message does not show the text.
    ///
    /// ```
    /// use connector_core::{Type, Value};
    ///
    /// let value = Type::Decimal { scale: 2 }.parse("12.5")?;
    /// assert_eq!(value.to_string(), "12.50");
    /// assert!(Type::Decimal { scale: 0 }.parse("12.5").is_err());
    /// # Ok::<(), connector_core::ParseError>(())
    /// ```
    pub fn parse(self, text: &str) -> Result<Value<'_>, ParseError> {
        Ok(match self {
            Self::Bool => Value::Bool(match text {
                "1" => true,
                "0" => false,
                _ if text.eq_ignore_ascii_case("true") => true,
                _ if text.eq_ignore_ascii_case("false") => false,
                _ => return Err(ParseError("not true or false")),
            }),
            Self::Int => Value::Int(
                text.parse()
                    .map_err(|_| ParseError("not a whole number of 64 bits"))?,
            ),
            Self::Float => Value::Float(parse_float(text)?),
            Self::Decimal { scale } => Value::Decimal(text.parse::<Decimal>()?.rescale(scale)?),
            Self::Text => Value::Text(Cow::Borrowed(text)),
            Self::Bytes => Value::Bytes(Cow::Owned(
                BASE64.decode(text).map_err(|_| ParseError("not base64"))?,
            )),
            Self::Timestamp => Value::Timestamp(text.parse()?),
            Self::LocalTimestamp => Value::LocalTimestamp(text.parse()?),
            Self::Date => Value::Date(text.parse()?),
            Self::Uuid => Value::Uuid(Uuid::try_parse(text).map_err(|_| ParseError("not a UUID"))?),
            Self::Json => Value::Json(json::canonical(text)?),
        })
    }
}

fn parse_float(text: &str) -> Result<f64, ParseError> {
    let float: f64 = text.parse().map_err(|_| ParseError("not a number"))?;
    // "1e999" parses as infinity, which it is not.
    if float.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(ParseError("outside what a float holds"));
    }
    Ok(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit() {
        for (ty, text) in [
            (Type::Bool, "yes"),
            (Type::Int, "1.0"),
            (Type::Int, "9223372036854775808"),
            (Type::Float, "1e999"),
            (Type::Float, "1,5"),
            (Type::Decimal { scale: 2 }, "0.001"),
            (Type::Bytes, "not base64!"),
            (Type::Uuid, "1234"),
            (Type::Json, "{\"a\":}"),
        ] {
            let error = ty.parse(text).unwrap_err().to_string();
            assert!(!error.contains(text), "shows the value: {error}");
        }
    }

    #[test]
    fn serializes_into_json_without_loss() {
        let json = |value: Value<'_>| serde_json::to_string(&value).unwrap();
        assert_eq!(json(Value::Null), "null");
        assert_eq!(json(Value::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(json(Value::Float(-0.0)), "0.0");
        assert_eq!(json(Value::Float(f64::NAN)), "\"NaN\"");
        assert_eq!(json(Value::Bytes(Cow::Borrowed(&[0, 255]))), "\"AP8=\"");
        assert_eq!(
            json(Type::Decimal { scale: 4 }.parse("1.5").unwrap()),
            "\"1.5000\""
        );
        assert_eq!(
            json(
                Type::Json
                    .parse(r#"{ "b": 1.00, "a": 12345678901234567890123 }"#)
                    .unwrap()
            ),
            r#"{"a":12345678901234567890123,"b":1.00}"#
        );
    }
}
