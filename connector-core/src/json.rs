//! One canonical text for a JSON document, and rows as JSON objects and arrays.

mod cells;

pub use cells::JsonCells;

use std::{borrow::Cow, io::Write, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    row::Row,
    schema::{Schema, Type},
    time::ParseError,
};

/// Documents nest less than this in inventory; the bound keeps the stack small.
const MAX_DEPTH: usize = 128;

const NOT_JSON: ParseError = ParseError("not a JSON document");

/// Returns the document with sorted keys and without white space. Numbers stand as written, since
/// reading them as 64-bit floats would lose digits.
///
/// A repeated key is an error: keeping either value would lose the other.
pub(crate) fn canonical(text: &str) -> Result<Cow<'_, str>, ParseError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
    let mut out = String::with_capacity(text.len());
    write(raw, &mut out, 0)?;
    Ok(if out == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(out)
    })
}

fn write(raw: &RawValue, out: &mut String, depth: usize) -> Result<(), ParseError> {
    if depth > MAX_DEPTH {
        return Err(ParseError("JSON that nests over 128 levels deep"));
    }
    let text = raw.get().trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Object(mut members) = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            members.sort_by(|a, b| a.0.cmp(&b.0));
            if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(ParseError("JSON that repeats a key"));
            }
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out)?;
                out.push(':');
                write(value, out, depth + 1)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            write_string(&string, out)?;
        }
        _ => out.push_str(text),
    }
    Ok(())
}

/// Escapes alike whatever the source's own way of escaping was.
fn write_string(string: &str, out: &mut String) -> Result<(), ParseError> {
    out.push_str(&serde_json::to_string(string).map_err(|_| NOT_JSON)?);
    Ok(())
}

/// The members in the order of the text, repeated keys included.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Writes rows as JSON objects: the same bytes as `serde_json` makes of a [`Row`], straight from
/// the row's own and several times faster.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{JsonRows, Row, Schema, Value, schema::{Declared, int, text}};
///
/// const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores").null()]);
/// let schema = Arc::new(Schema::from(DEVICES));
/// let row = Row::from_values(&schema, &[Value::Text("PC-\"1\"".into()), Value::Int(8)])?;
///
/// let mut out = Vec::new();
/// JsonRows::default().write(&row, &mut out);
/// assert_eq!(out, br#"{"name":"PC-\"1\"","cores":8}"#);
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct JsonRows {
    /// The columns that `starts` is made of.
    schema: Option<Arc<Schema>>,
    /// What stands before each column's value: a brace or a comma, the name, a colon, and the
    /// quote of a value that is text.
    starts: Vec<Vec<u8>>,
}

impl JsonRows {
    /// Appends a row.
    pub fn write(&mut self, row: &Row, out: &mut Vec<u8>) {
        self.prepare(row.schema());
        let (columns, cells) = (row.schema().columns(), row.as_ref());
        for (place, (column, start)) in columns.iter().zip(&self.starts).enumerate() {
            out.extend_from_slice(start);
            match (column.ty(), cells.cell(place)) {
                (Type::Text, Some(text)) => {
                    escape(text, out);
                    out.push(b'"');
                }
                (Type::Text, None) => {
                    out.pop();
                    out.extend_from_slice(b"null");
                }
                (Type::Json, Some(document)) => out.extend_from_slice(document),
                // A `Vec` takes everything, and these values are all of a kind that JSON has.
                _ => drop(serde_json::to_writer(&mut *out, &cells.at(place))),
            }
        }
        out.push(b'}');
    }

    fn prepare(&mut self, schema: &Arc<Schema>) {
        match &mut self.schema {
            Some(known) if Arc::ptr_eq(known, schema) => {}
            // So that the next row compares by address.
            Some(known) if known == schema => *known = Arc::clone(schema),
            _ => {
                // The hash of a digest is no cell.
                let cells = schema.columns().len() - usize::from(schema.is_digests());
                let columns = schema.columns().iter().take(cells).enumerate();
                self.starts = columns
                    .map(|(place, column)| {
                        let mut start = vec![if place == 0 { b'{' } else { b',' }];
                        json_text(column.name(), &mut start);
                        start.push(b':');
                        if column.ty() == Type::Text {
                            start.push(b'"');
                        }
                        start
                    })
                    .collect();
                self.schema = Some(Arc::clone(schema));
            }
        }
    }
}

/// Appends text in quotes.
fn json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text.as_bytes(), out);
    out.push(b'"');
}

/// Appends text that stands in quotes.
fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(place) = first_special(text) {
        let (plain, rest) = text.split_at(place);
        out.extend_from_slice(plain);
        let (special, rest) = (rest[0], &rest[1..]);
        let short = match special {
            b'"' | b'\\' => special,
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            _ => 0,
        };
        if short == 0 {
            drop(write!(out, "\\u{special:04x}")); // A `Vec` takes everything.
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        text = rest;
    }
    out.extend_from_slice(text);
}

/// Finds the first byte that must be escaped, eight at a time.
fn first_special(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    let place = rest.iter().position(special)?;
    Some(words.len() * 8 + place)
}

/// Sets the highest bit of bytes that must be escaped. Bytes above the lowest such one may be set
/// wrongly, since the subtractions borrow.
fn specials(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let controls = word.wrapping_sub(0x20 * EACH) & !word;
    let quotes = zeros(word ^ (u64::from(b'"') * EACH));
    let slashes = zeros(word ^ (u64::from(b'\\') * EACH));
    (controls | quotes | slashes) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        schema::{int, text},
        value::Value,
    };

    #[test]
    fn sorts_and_trims_at_every_level() {
        let text = " { \"b\" : [ 1.0 , { \"z\":null, \"a\" : \"\\u0041\" } ] , \"a\":true } ";
        assert_eq!(
            canonical(text).unwrap(),
            r#"{"a":true,"b":[1.0,{"a":"A","z":null}]}"#
        );
    }

    proptest! {
        #[test]
        fn escapes_as_serde_json_does(parts in prop::collection::vec(
            prop_oneof![any::<char>().prop_map(String::from), "[ -~]{0,20}", "[\0-\x20\"\\\\\x7f]"], 0..8,
        )) {
            let text = parts.concat();
            let mut out = Vec::new();
            json_text(&text, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn rows_are_written_as_they_serialize_whatever_their_columns() {
        let columns = [
            vec![text("a\"b").key(), int("n").null(), text("t").null()],
            vec![int("n").key()],
        ];
        let mut schemas = columns
            .map(|columns| Schema::new(columns).unwrap())
            .to_vec();
        schemas.push(schemas[0].digests());
        let mut rows = JsonRows::default();
        for schema in schemas.iter().chain(&schemas) {
            let schema = Arc::new(schema.clone());
            let mut values = vec![Value::Null; schema.columns().len()];
            values[0] = schema.columns()[0].ty().parse("1").unwrap();
            if schema.is_digests() {
                values[1] = Value::Int(7);
            }
            let row = Row::from_values(&schema, &values).unwrap();
            let mut out = Vec::new();
            rows.write(&row, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, serde_json::to_string(&row).unwrap());
        }
    }

    #[test]
    fn refuses_what_would_be_lost() {
        assert!(canonical(r#"{"a":1,"a":2}"#).is_err());
        assert!(canonical("{} {}").is_err());
        assert!(canonical("").is_err());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(canonical(&deep).is_err());
    }
}
