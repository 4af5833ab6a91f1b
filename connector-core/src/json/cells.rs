//! Rows as JSON arrays that are read back as the same rows.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::json_text;
use crate::{
    error::{Error, ErrorKind, Result},
    row::{Batch, Row, RowHash, RowRef, RowWriter},
    schema::{Schema, Type},
    time::ParseError,
    value::Value,
};

/// Writes rows as JSON arrays, a cell for each column in the schema's order, and reads them back:
/// what is read is the row that was written, whatever its types.
///
/// A cell is as [`JsonRows`](crate::JsonRows) has it, but for documents of [`Type::Json`], which are
/// text here: `null` is no value, and the document `null` is `"null"`.
///
/// What is left of a row where only its key and hash matter is its [digest](Row::is_digest): an
/// array of the key's cells and of the row's hash, 16 hexadecimal digits.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{JsonCells, Row, Schema, Value, schema::{Declared, int, json, text}};
///
/// const DEVICES: Declared =
///     Declared::new(&[text("name").key(), int("cores").null(), json("facts").null()]);
/// let schema = Arc::new(Schema::from(DEVICES));
/// let values = [Value::Text("PC-1".into()), Value::Int(8), Value::Json("null".into())];
/// let row = Row::from_values(&schema, &values)?;
///
/// let cells = JsonCells::new(&schema);
/// let mut out = Vec::new();
/// cells.write(&row, &mut out);
/// assert_eq!(out, br#"["PC-1",8,"null"]"#);
/// assert_eq!(cells.read(std::str::from_utf8(&out).unwrap())?, row);
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct JsonCells {
    schema: Arc<Schema>,
    digests: Arc<Schema>,
}

impl JsonCells {
    /// Takes the columns of the rows.
    pub fn new(schema: &Arc<Schema>) -> Self {
        Self {
            schema: Arc::clone(schema),
            digests: Arc::new(schema.digests_to_send()),
        }
    }

    /// Returns the columns of the rows.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Appends a row of this schema.
    pub fn write(&self, row: &Row, out: &mut Vec<u8>) {
        let row = row.as_ref();
        out.push(b'[');
        for place in 0..self.schema.columns().len() {
            if place > 0 {
                out.push(b',');
            }
            write_cell(row, place, out);
        }
        out.push(b']');
    }

    /// Appends the digest of a row, which may be one already, and may have other columns beside
    /// its key.
    pub fn write_digest(&self, row: &Row, out: &mut Vec<u8>) {
        let row = row.as_ref();
        out.push(b'[');
        for place in row.schema().key_positions() {
            write_cell(row, *place, out);
            out.push(b',');
        }
        let RowHash(hash) = RowHash::of(row);
        json_text(&format!("{hash:016x}"), out);
        out.push(b']');
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the column whose cell does not fit, but no value.
    pub fn read(&self, json: &str) -> Result<Row> {
        read(&self.schema, json)
    }

    /// Reads a digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the column whose cell does not fit, but no value.
    pub fn read_digest(&self, json: &str) -> Result<Row> {
        read(&self.digests, json)
    }
}

fn write_cell(row: RowRef<'_>, place: usize, out: &mut Vec<u8>) {
    match row.at(place) {
        Value::Text(text) | Value::Json(text) => json_text(&text, out),
        // A `Vec` takes everything, and these values are all of a kind that JSON has.
        value => drop(serde_json::to_writer(out, &value)),
    }
}

fn read(schema: &Arc<Schema>, json: &str) -> Result<Row> {
    let mut batch = Batch::new(Arc::clone(schema));
    let mut row = batch.row();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer
        .deserialize_seq(Cells(&mut row, schema))
        .and_then(|()| deserializer.end())
        // The parser's own words may show a value.
        .map_err(|_| Error::new(ErrorKind::Data, "a row is not a JSON array of cells"))?;
    row.end()?;
    Ok(Row::new(Arc::clone(schema), batch.into_bytes().into()))
}

struct Cells<'a, 'b>(&'a mut RowWriter<'b, Batch>, &'a Schema);

impl<'de> Visitor<'de> for Cells<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of cells")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> Result<(), A::Error> {
        let Self(row, schema) = self;
        let mut columns = schema.columns().iter().enumerate();
        while let Some(cell) = cells.next_element::<&RawValue>()? {
            let Some((place, column)) = columns.next() else {
                // A wrong count is reported by the row's end; a few more are enough for that.
                row.null();
                return if cells.next_element::<de::IgnoredAny>()?.is_some() {
                    Err(de::Error::custom("too many cells"))
                } else {
                    Ok(())
                };
            };
            let digest = schema.is_digests() && place + 1 == schema.columns().len();
            match read_cell(column.ty(), digest, cell.get()) {
                Ok(Cell::Value(value)) => row.value(&value),
                Ok(Cell::Text(text)) => row.parse(&text),
                Err(error) => row.refuse(error),
            };
        }
        Ok(())
    }
}

enum Cell<'a> {
    Value(Value<'static>),
    /// What the column's type reads.
    Text(Cow<'a, str>),
}

const NOT_ITS_FORM: ParseError = ParseError("not in the JSON form of that type");

/// Reads the text of one JSON value.
fn read_cell(ty: Type, digest: bool, json: &str) -> Result<Cell<'_>, ParseError> {
    let value = match (ty, json) {
        (_, "null") => Value::Null,
        (Type::Bool, "true") => Value::Bool(true),
        (Type::Bool, "false") => Value::Bool(false),
        (Type::Int, _) if digest => Value::Int(hash(&text(json)?).ok_or(NOT_ITS_FORM)?),
        (Type::Int, _) => Value::Int(json.parse().map_err(|_| NOT_ITS_FORM)?),
        (Type::Float, _) => Value::Float(float(json)?),
        (Type::Bool, _) => return Err(NOT_ITS_FORM),
        _ => return text(json).map(Cell::Text),
    };
    Ok(Cell::Value(value))
}

/// The bits of a row's hash as the number that a digest's last column holds.
fn hash(digits: &str) -> Option<i64> {
    let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let hash = u64::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some(i64::from_le_bytes(hash.to_le_bytes()))
}

fn float(json: &str) -> Result<f64, ParseError> {
    match json {
        r#""NaN""# => Ok(f64::NAN),
        r#""inf""# => Ok(f64::INFINITY),
        r#""-inf""# => Ok(f64::NEG_INFINITY),
        // To the nearest number, which the parser of JSON promises for none.
        _ => match json.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(NOT_ITS_FORM),
        },
    }
}

fn text(json: &str) -> Result<Cow<'_, str>, ParseError> {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(json)
            .map(Cow::Owned)
            .map_err(|_| NOT_ITS_FORM),
        None => Err(NOT_ITS_FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{bool, bytes, float, int, json, text, time};

    fn schema() -> Arc<Schema> {
        let columns = vec![
            text("name").key(),
            int("n").null(),
            float("f").null(),
            bool("b").null(),
            json("j").null(),
            bytes("x").null(),
            time("t").null().volatile(),
        ];
        Arc::new(Schema::new(columns).unwrap())
    }

    #[test]
    fn reads_the_one_form_of_each_type_and_no_other() {
        let cells = JsonCells::new(&schema());
        for good in [
            r#"["a",1,1.5,true,"{}","AP8=","2026-11-21T00:00:00Z"]"#,
            r#"[ "\u0061" , null,"NaN", false , "null",null,null]"#,
            r#"["",-9223372036854775808,1e300,null,null,"",null]"#,
        ] {
            let row = cells.read(good).unwrap_or_else(|e| panic!("{good}: {e}"));
            let mut again = Vec::new();
            cells.write(&row, &mut again);
            let again = cells.read(std::str::from_utf8(&again).unwrap()).unwrap();
            assert_eq!(again, row);
        }
        for (wrong, why) in [
            (r#"[null,1,1.5,true,"{}","",null]"#, "column: name"),
            (r#"[1,1,1.5,true,"{}","",null]"#, "column: name"),
            (r#"["S3",1.0,1.5,true,"{}","",null]"#, "column: n"),
            (
                r#"["S3",9223372036854775808,1.5,true,"{}","",null]"#,
                "column: n",
            ),
            (r#"["S3","1",1.5,true,"{}","",null]"#, "column: n"),
            (r#"["S3",1,1e999,true,"{}","",null]"#, "column: f"),
            (r#"["S3",1,"1.5",true,"{}","",null]"#, "column: f"),
            (r#"["S3",1,1.5,1,"{}","",null]"#, "column: b"),
            (r#"["S3",1,1.5,true,{},"",null]"#, "column: j"),
            (r#"["S3",1,1.5,true,"{","",null]"#, "column: j"),
            (r#"["S3",1,1.5,true,"{}","?",null]"#, "column: x"),
            (r#"["S3",1,1.5,true,"{}","","2026-11-21"]"#, "column: t"),
            (r#"["S3",1,1.5,true,"{}",""]"#, "6 values for 7 columns"),
            (
                r#"["S3",1,1.5,true,"{}","",null,1]"#,
                "8 values for 7 columns",
            ),
            (r#"["S3",1,1.5,true,"{}","",null,1,2]"#, "not a JSON array"),
            (r#"["S3",1,1.5,true,"{}","",null] 1"#, "not a JSON array"),
            (r#"{"name":"S3"}"#, "not a JSON array"),
            (r#"["S3""#, "not a JSON array"),
        ] {
            let error = cells.read(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
            assert!(!error.contains("S3"), "shows a value: {error}");
        }
    }

    #[test]
    fn a_digest_is_of_the_row_it_was_made_of() {
        let cells = JsonCells::new(&schema());
        let row = cells
            .read(r#"["a",1,1.5,true,"{}","AP8=","2026-11-21T00:00:00Z"]"#)
            .unwrap();
        let mut out = Vec::new();
        cells.write_digest(&row, &mut out);
        let digest = cells
            .read_digest(std::str::from_utf8(&out).unwrap())
            .unwrap();
        assert!(digest.is_digest() && digest.record_schema() == &schema());
        assert_eq!(digest.key(), row.key());
        assert_eq!(RowHash::of(digest.as_ref()), RowHash::of(row.as_ref()));
        let mut again = Vec::new();
        cells.write_digest(&digest, &mut again);
        assert_eq!(again, out);
        for wrong in [
            r#"["a",1]"#,
            r#"["a","0"]"#,
            r#"["a","+123456789012345"]"#,
            r#"["a",null]"#,
            r#"["0123456789abcdef"]"#,
        ] {
            assert!(cells.read_digest(wrong).is_err(), "{wrong}");
        }
    }
}
