//! Values, rows and edit scripts: edges by name, the rest by chance with a fixed seed.

use std::{borrow::Cow, sync::Arc};

use connector_core::{
    Column, Date, Decimal, LocalTimestamp, Row, Schema, Timestamp, Type, Uuid, Value,
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    sample::select,
    strategy::BoxedStrategy,
};

use crate::harness::Values;

/// Longer than any batch of rows.
const LONG_TEXT: usize = 300 << 10;

const TEXTS: &[(&str, &str)] = &[
    ("empty text", ""),
    ("a space", " "),
    ("spaces around", "  a  "),
    ("a tab", "a\tb"),
    ("line breaks", "a\nb\r\nc\rd"),
    ("quotes", "\"a\" 'b' `c` \"\""),
    ("delimiters", "a,b;c|d"),
    ("a backslash", "C:\\temp\\n"),
    ("zero", "a\0b"),
    ("byte order mark", "\u{feff}a"),
    ("composed accent", "caf\u{e9}"),
    ("combining accent", "cafe\u{301}"),
    ("German", "Größe, STRASSE, ẞ"),
    ("Japanese", "日本語のソフト"),
    ("right to left", "שלום عالم"),
    ("emoji joined", "👩\u{200d}💻"),
    ("last code point", "\u{10ffff}"),
    ("upper case", "ABC"),
    ("lower case", "abc"),
    ("the word NULL", "NULL"),
    ("the word null", "null"),
    ("backslash N", "\\N"),
    ("digits with zeros", "007"),
    ("looks like a float", "1e5"),
    ("looks like a date", "2024-05-31"),
    ("looks like a formula", "=1+1"),
    ("markup", "<a href=\"x\">&amp;</a>"),
];

const DOCUMENTS: &[(&str, &str)] = &[
    ("empty object", "{}"),
    ("empty array", "[]"),
    ("JSON null", "null"),
    ("a number beyond a float", "12345678901234567890123.10"),
    ("a string", "\"a \\\" \\\\ \\n \\u0001 é 👩\""),
    ("nested", r#"{"a":[1,{"b":null,"c":[true,false]}],"ä":"ö"}"#),
];

/// Returns the values of a type that break readers, each with a name.
pub fn edges(ty: Type) -> Vec<(&'static str, Value<'static>)> {
    let texts = |list: &'static [(&'static str, &'static str)], of: fn(Cow<'static, str>) -> _| {
        list.iter()
            .map(|(name, text)| (*name, of(Cow::Borrowed(*text))))
            .collect::<Vec<_>>()
    };
    match ty {
        Type::Bool => vec![("true", Value::Bool(true)), ("false", Value::Bool(false))],
        Type::Int => vec![
            ("0", Value::Int(0)),
            ("-1", Value::Int(-1)),
            ("least", Value::Int(i64::MIN)),
            ("greatest", Value::Int(i64::MAX)),
            ("beyond a float", Value::Int((1 << 53) + 1)),
        ],
        Type::Float => vec![
            ("0", Value::Float(0.0)),
            ("-0", Value::Float(-0.0)),
            ("0.1", Value::Float(0.1)),
            ("a third", Value::Float(1.0 / 3.0)),
            ("least", Value::Float(f64::MIN)),
            ("greatest", Value::Float(f64::MAX)),
            ("nearest to 0", Value::Float(5e-324)),
            ("NaN", Value::Float(f64::NAN)),
            ("infinity", Value::Float(f64::INFINITY)),
            ("-infinity", Value::Float(f64::NEG_INFINITY)),
        ],
        Type::Decimal { scale } => {
            let digits = 10_i128.pow(38) - 1;
            [
                ("0", 0),
                ("one unit", 1),
                ("minus one unit", -1),
                ("38 digits", digits),
                ("minus 38 digits", -digits),
            ]
            .into_iter()
            .filter_map(|(name, units)| {
                Some((name, Value::Decimal(Decimal::new(units, scale).ok()?)))
            })
            .collect()
        }
        Type::Text => {
            let mut list = texts(TEXTS, Value::Text);
            list.push(("long text", Value::Text("Ж".repeat(LONG_TEXT / 2).into())));
            list
        }
        Type::Bytes => vec![
            ("no bytes", Value::Bytes(Cow::Borrowed(&[]))),
            ("zero", Value::Bytes(Cow::Borrowed(&[0]))),
            ("all bytes", Value::Bytes((0..=255).collect())),
            (
                "not text",
                Value::Bytes(Cow::Borrowed(&[0xff, 0xfe, 0xc0, 0x80])),
            ),
        ],
        Type::Timestamp => moments()
            .filter_map(|(name, at)| {
                Some((name, Value::Timestamp(Timestamp::from_ticks(at).ok()?)))
            })
            .collect(),
        Type::LocalTimestamp => moments()
            .filter_map(|(name, at)| {
                Some((
                    name,
                    Value::LocalTimestamp(LocalTimestamp::from_ticks(at).ok()?),
                ))
            })
            .collect(),
        Type::Date => [
            ("first day", Date::MIN.days()),
            ("last day", Date::MAX.days()),
            ("the start of 1970", 0),
            ("the day before", -1),
            ("a leap day", 19_782),
        ]
        .into_iter()
        .filter_map(|(name, days)| Some((name, Value::Date(Date::from_days(days).ok()?))))
        .collect(),
        Type::Uuid => vec![
            ("all zeros", Value::Uuid(Uuid::nil())),
            ("all ones", Value::Uuid(Uuid::max())),
            // Every byte differs, so that a reader that turns parts around is found.
            (
                "every byte",
                Value::Uuid(Uuid::from_bytes([
                    1, 35, 69, 103, 137, 171, 205, 239, 16, 50, 84, 118, 152, 186, 220, 254,
                ])),
            ),
        ],
        Type::Json => texts(DOCUMENTS, Value::Json),
    }
}

fn moments() -> impl Iterator<Item = (&'static str, i64)> {
    const DAY: i64 = 864_000_000_000;
    [
        ("first moment", Timestamp::MIN.ticks()),
        ("last moment", Timestamp::MAX.ticks()),
        ("the start of 1970", 0),
        ("100 ns before", -1),
        ("2024-02-29T23:59:59.9999999", 19_783 * DAY - 1),
        // Clocks in much of Europe went from 02:00 to 03:00 here.
        (
            "2024-03-31T02:30:00, which some zones skip",
            19_813 * DAY + 90_000_000_000,
        ),
        ("100 ns after midnight", 19_813 * DAY + 1),
    ]
    .into_iter()
}

/// Returns a row that no other number gives: with plain values, and a key made of the number.
pub fn numbered_row(schema: &Schema, number: u32) -> Values {
    schema
        .columns()
        .iter()
        .map(|column| numbered_value(column, number))
        .collect()
}

pub(crate) fn numbered_value(column: &Column, number: u32) -> Value<'static> {
    let small = i32::try_from(number % 10_000).unwrap_or_default();
    let tick = i64::from(number) * 10_000_000;
    let value = match column.ty() {
        Type::Bool => Some(Value::Bool(number % 2 == 1)),
        Type::Int => Some(Value::Int(i64::from(number))),
        Type::Float => Some(Value::Float(f64::from(number) / 8.0)),
        Type::Decimal { scale } => Decimal::new(i128::from(number), scale)
            .map(Value::Decimal)
            .ok(),
        Type::Text => Some(Value::Text(format!("{} {number:06}", column.name()).into())),
        Type::Bytes => Some(Value::Bytes(number.to_be_bytes().to_vec().into())),
        Type::Timestamp => Timestamp::from_ticks(tick).map(Value::Timestamp).ok(),
        Type::LocalTimestamp => LocalTimestamp::from_ticks(tick)
            .map(Value::LocalTimestamp)
            .ok(),
        Type::Date => Date::from_days(small).map(Value::Date).ok(),
        Type::Uuid => Some(Value::Uuid(Uuid::from_u128(u128::from(number)))),
        Type::Json => Some(Value::Json(format!("{{\"n\":{number}}}").into())),
    };
    value.unwrap_or(Value::Null)
}

/// Returns so many rows with different keys.
pub fn numbered_rows(schema: &Schema, count: u32) -> Vec<Values> {
    (0..count)
        .map(|number| numbered_row(schema, number))
        .collect()
}

/// Generates values of a column, edges among them, null where it may be.
pub(crate) fn value(column: &Column) -> BoxedStrategy<Value<'static>> {
    let edges: Vec<_> = edges(column.ty())
        .into_iter()
        .map(|(_, value)| value)
        // One long text a data set is enough to find what it finds, and thousands are slow.
        .filter(|value| value.as_text().is_none_or(|text| text.len() < LONG_TEXT))
        .collect();
    let ticks = Timestamp::MIN.ticks()..=Timestamp::MAX.ticks();
    let any_value = match column.ty() {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Type::Decimal { scale } => any::<i64>()
            .prop_filter_map("scale", move |units| {
                Decimal::new(units.into(), scale).map(Value::Decimal).ok()
            })
            .boxed(),
        Type::Text => vec(any::<char>(), 0..12)
            .prop_map(|chars| Value::Text(chars.into_iter().collect::<String>().into()))
            .boxed(),
        Type::Bytes => vec(any::<u8>(), 0..12)
            .prop_map(|bytes| Value::Bytes(bytes.into()))
            .boxed(),
        Type::Timestamp => ticks
            .prop_filter_map("range", |at| {
                Timestamp::from_ticks(at).map(Value::Timestamp).ok()
            })
            .boxed(),
        Type::LocalTimestamp => ticks
            .prop_filter_map("range", |at| {
                LocalTimestamp::from_ticks(at)
                    .map(Value::LocalTimestamp)
                    .ok()
            })
            .boxed(),
        Type::Date => (Date::MIN.days()..=Date::MAX.days())
            .prop_filter_map("range", |day| Date::from_days(day).map(Value::Date).ok())
            .boxed(),
        Type::Uuid => any::<u128>()
            .prop_map(|bits| Value::Uuid(Uuid::from_u128(bits)))
            .boxed(),
        Type::Json => (any::<i32>(), vec(any::<bool>(), 0..3))
            .prop_map(|(n, list)| Value::Json(format!(r#"{{"list":{list:?},"n":{n}}}"#).into()))
            .boxed(),
    };
    let value = proptest::prop_oneof![select(edges), any_value];
    if column.is_nullable() {
        proptest::prop_oneof![1 => Just(Value::Null), 3 => value].boxed()
    } else {
        value.boxed()
    }
}

/// Generates rows. Keys repeat by chance.
pub(crate) fn row(schema: &Schema) -> BoxedStrategy<Values> {
    schema
        .columns()
        .iter()
        .map(value)
        .collect::<Vec<_>>()
        .boxed()
}

/// What becomes of a source over a few cycles.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) start: Vec<Values>,
    pub(crate) steps: Vec<Step>,
}

/// What happens to a source between two cycles.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) edits: Vec<Edit>,
    /// In which order the source gives its rows.
    order: u64,
    /// A row that the source gives twice.
    twice: Option<usize>,
}

/// One change at the source. Places count from 0 and wrap around.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(Values),
    Change {
        row: usize,
        column: usize,
        value: Values,
    },
    Remove(usize),
    RemoveAll,
}

fn edit(schema: &Schema) -> impl Strategy<Value = Edit> + use<> {
    let place = 0_usize..1000;
    let change = (place.clone(), place.clone(), row(schema))
        .prop_map(|(row, column, value)| Edit::Change { row, column, value });
    proptest::prop_oneof![
        6 => row(schema).prop_map(Edit::Put),
        10 => change,
        5 => place.prop_map(Edit::Remove),
        1 => Just(Edit::RemoveAll),
    ]
}

/// Generates scripts.
pub(crate) fn script(schema: &Schema) -> impl Strategy<Value = Script> + use<> {
    let twice = proptest::option::of(0_usize..1000);
    let step =
        (vec(edit(schema), 0..8), any::<u64>(), twice).prop_map(|(edits, order, twice)| Step {
            edits,
            order,
            twice,
        });
    (vec(row(schema), 0..12), vec(step, 1..6)).prop_map(|(start, steps)| Script { start, steps })
}

/// The source that a script edits: what the connector must read.
pub(crate) struct Source {
    schema: Arc<Schema>,
    rows: Vec<(Row, Values)>,
}

impl Source {
    /// Holds these rows; of several under one key, the last.
    pub(crate) fn new(schema: &Arc<Schema>, rows: &[Values]) -> connector_core::Result<Self> {
        let mut source = Self {
            schema: Arc::clone(schema),
            rows: Vec::new(),
        };
        for values in rows {
            source.put(values.clone())?;
        }
        Ok(source)
    }

    fn put(&mut self, values: Values) -> connector_core::Result<()> {
        let row = Row::from_values(&self.schema, &values)?;
        let key = row.key();
        self.rows.retain(|(other, _)| other.key() != key);
        self.rows.push((row, values));
        Ok(())
    }

    /// Makes one step.
    pub(crate) fn apply(&mut self, step: &Step) -> connector_core::Result<()> {
        for edit in &step.edits {
            let len = self.rows.len();
            match edit {
                Edit::Put(values) => self.put(values.clone())?,
                Edit::RemoveAll => self.rows.clear(),
                Edit::Remove(_) | Edit::Change { .. } if len == 0 => {}
                Edit::Remove(row) => drop(self.rows.remove(row % len)),
                Edit::Change { row, column, value } => {
                    let mut values = self.rows.remove(row % len).1;
                    let column = column % values.len();
                    values[column].clone_from(&value[column]);
                    self.put(values)?;
                }
            }
        }
        Ok(())
    }

    /// Returns what it holds, a row a key.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.iter().map(|(row, _)| row.clone()).collect()
    }

    /// Returns what it gives to a reader, in this step's order and with its repeated row.
    pub(crate) fn given(&self, step: &Step) -> Vec<Values> {
        let mut given: Vec<_> = self.rows.iter().map(|(_, values)| values.clone()).collect();
        if let Some(twice) = step.twice
            && !given.is_empty()
        {
            given.push(given[twice % given.len()].clone());
        }
        shuffle(&mut given, step.order);
        given
    }
}

/// Puts rows into an order that the seed decides.
pub(crate) fn shuffle(rows: &mut [Values], mut seed: u64) {
    for last in (1..rows.len()).rev() {
        // The generator SplitMix64, https://prng.di.unimi.it/splitmix64.c
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let other = usize::try_from(mixed % (last as u64 + 1)).unwrap_or_default();
        rows.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Subject;

    #[test]
    fn every_edge_fits_its_column() {
        let schema = Subject::of_every_type("all").schema;
        for (place, column) in schema.columns().iter().enumerate() {
            let edges = edges(column.ty());
            assert!(edges.len() >= 2, "{column:?}");
            for (name, value) in edges {
                let mut values = numbered_row(&schema, 1);
                values[place] = value.clone();
                let row = Row::from_values(&schema, &values).unwrap();
                assert_eq!(row.at(place), value, "{name}");
            }
        }
    }

    #[test]
    fn numbered_rows_have_different_keys() {
        let schema = Subject::of_every_type("all").schema;
        let source = Source::new(&schema, &numbered_rows(&schema, 2000)).unwrap();
        assert_eq!(source.rows().len(), 2000);
    }

    #[test]
    fn shuffling_keeps_every_row_and_follows_the_seed() {
        let schema = Subject::of_every_type("all").schema;
        let rows = numbered_rows(&schema, 20);
        let order = |seed| {
            let mut rows = rows.clone();
            shuffle(&mut rows, seed);
            rows
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert!(rows.iter().all(|row| order(1).contains(row)));
    }
}
