//! Filling a struct of the host's from a row.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor,
        value::SeqDeserializer,
    },
    forward_to_deserialize_any,
};

use super::RowRef;
use crate::{
    error::{Error, ErrorKind, Result},
    value::Value,
};

/// What serde says; converted once, at the boundary.
#[derive(Debug)]
pub(super) struct Message(String);

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Message {}

impl serde::de::Error for Message {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    // serde's own words would show the value.
    fn invalid_type(given: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let given = match given {
            serde::de::Unexpected::Str(_) => "text",
            serde::de::Unexpected::Signed(_) => "a whole number",
            serde::de::Unexpected::Float(_) => "a float",
            serde::de::Unexpected::Bool(_) => "a truth value",
            serde::de::Unexpected::Bytes(_) => "bytes",
            serde::de::Unexpected::Unit | serde::de::Unexpected::Option => "null",
            _ => "another type",
        };
        Self(format!("the value is {given}, the field wants {expected}"))
    }

    fn invalid_value(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self(format!(
            "the value does not fit, the field wants {expected}"
        ))
    }
}

pub(super) fn from_row<T: DeserializeOwned>(row: RowRef<'_>) -> Result<T> {
    let mut map = Cells {
        row,
        next: 0,
        column: None,
    };
    T::deserialize(RowDeserializer(&mut map)).map_err(|error| {
        let mut wrong =
            Error::new(ErrorKind::Data, "the row does not fit the type").with_source(error);
        if let Some(column) = map.column {
            wrong = wrong.with("column", row.schema().columns()[column].name());
        }
        wrong
    })
}

struct RowDeserializer<'a, 'r>(&'a mut Cells<'r>);

impl<'de> Deserializer<'de> for RowDeserializer<'_, 'de> {
    type Error = Message;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        let value = visitor.visit_map(&mut *self.0)?;
        self.0.column = None;
        Ok(value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Cells<'r> {
    row: RowRef<'r>,
    next: usize,
    /// The column being read, for the message.
    column: Option<usize>,
}

impl<'de> MapAccess<'de> for &mut Cells<'de> {
    type Error = Message;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Message> {
        self.column = None;
        let Some(column) = self.row.schema().columns().get(self.next) else {
            return Ok(None);
        };
        seed.deserialize(column.name().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Message> {
        self.column = Some(self.next);
        self.next += 1;
        seed.deserialize(Cell(self.row.at(self.next - 1)))
    }
}

struct Cell<'de>(Value<'de>);

impl Cell<'_> {
    /// `serde_json`'s own message may quote the document.
    fn document(text: &str) -> Result<serde_json::Value, Message> {
        serde_json::from_str(text).map_err(|_| misfit())
    }
}

fn misfit() -> Message {
    Message("the JSON does not fit the field".to_owned())
}

impl<'de> Deserializer<'de> for Cell<'de> {
    type Error = Message;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(v) => visitor.visit_bool(v),
            Value::Int(v) => visitor.visit_i64(v),
            Value::Float(v) => visitor.visit_f64(v),
            Value::Text(Cow::Borrowed(v)) => visitor.visit_borrowed_str(v),
            Value::Text(Cow::Owned(v)) => visitor.visit_string(v),
            Value::Bytes(Cow::Borrowed(v)) => visitor.visit_borrowed_bytes(v),
            Value::Bytes(Cow::Owned(v)) => visitor.visit_byte_buf(v),
            Value::Json(v) => Self::document(&v)?
                .deserialize_any(visitor)
                .map_err(|_: serde_json::Error| misfit()),
            other => visitor.visit_string(other.to_string()),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.0 {
            Value::Json(text) => visitor.visit_string(text.into_owned()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Message> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Message> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Message> {
        match self.0 {
            Value::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Value::Json(text) => Self::document(&text)?
                .deserialize_enum(name, variants, visitor)
                .map_err(|_| misfit()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}
