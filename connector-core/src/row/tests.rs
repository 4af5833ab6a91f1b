//! The codec against plain values.

use std::{borrow::Cow, cmp::Ordering};

use proptest::prelude::*;

use super::*;
use crate::schema::{Column, Schema};

const TYPES: [Type; 11] = [
    Type::Bool,
    Type::Int,
    Type::Float,
    Type::Decimal { scale: 3 },
    Type::Text,
    Type::Bytes,
    Type::Timestamp,
    Type::LocalTimestamp,
    Type::Date,
    Type::Uuid,
    Type::Json,
];

fn value(ty: Type) -> BoxedStrategy<Value<'static>> {
    let ticks = Timestamp::MIN.ticks()..=Timestamp::MAX.ticks();
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Type::Decimal { scale } => any::<i128>()
            .prop_map(move |u| Value::Decimal(Decimal::new(u, scale).unwrap()))
            .boxed(),
        Type::Text => any::<String>()
            .prop_map(|v| Value::Text(Cow::Owned(v)))
            .boxed(),
        Type::Bytes => any::<Vec<u8>>()
            .prop_map(|v| Value::Bytes(Cow::Owned(v)))
            .boxed(),
        Type::Timestamp => ticks
            .prop_map(|t| Value::Timestamp(Timestamp::from_ticks(t).unwrap()))
            .boxed(),
        Type::LocalTimestamp => ticks
            .prop_map(|t| Value::LocalTimestamp(LocalTimestamp::from_ticks(t).unwrap()))
            .boxed(),
        Type::Date => (Date::MIN.days()..=Date::MAX.days())
            .prop_map(|d| Value::Date(Date::from_days(d).unwrap()))
            .boxed(),
        Type::Uuid => any::<u128>()
            .prop_map(|v| Value::Uuid(Uuid::from_u128(v)))
            .boxed(),
        Type::Json => (any::<i64>(), any::<String>(), any::<bool>())
            .prop_map(|(number, text, nested)| {
                let json = if nested {
                    serde_json::json!([{ "b": number, "a": { text: null } }])
                } else {
                    serde_json::json!({ "a": number, "b": text })
                };
                Value::Json(Cow::Owned(json.to_string()))
            })
            .boxed(),
    }
}

fn all_types() -> Arc<Schema> {
    let mut columns = vec![Column::new("id", Type::Int).key()];
    for (i, ty) in TYPES.into_iter().enumerate() {
        let column = Column::new(format!("{ty}"), ty).null();
        columns.push(if i % 3 == 2 {
            column.volatile()
        } else {
            column
        });
        columns.push(Column::new(format!("{ty} twin"), ty).null());
    }
    Arc::new(Schema::new(columns).unwrap())
}

fn row() -> impl Strategy<Value = Vec<Value<'static>>> {
    let cells: Vec<BoxedStrategy<Value<'static>>> = TYPES
        .into_iter()
        .flat_map(|ty| [ty, ty])
        .map(|ty| prop_oneof![1 => Just(Value::Null), 4 => value(ty)].boxed())
        .collect();
    (any::<i64>(), cells)
        .prop_map(|(id, cells)| std::iter::once(Value::Int(id)).chain(cells).collect())
}

/// Compares as a person would, value by value.
fn compare(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => canonical_float(*a).total_cmp(&canonical_float(*b)),
        (Value::Decimal(a), Value::Decimal(b)) => a.partial_cmp(b).unwrap(),
        (Value::Text(a), Value::Text(b)) | (Value::Json(a), Value::Json(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::LocalTimestamp(a), Value::LocalTimestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        _ => panic!("two types"),
    }
}

/// Two values of one type, often sharing a beginning.
fn pair() -> impl Strategy<Value = (Type, Value<'static>, Value<'static>)> {
    let near = prop_oneof![
        ("[ab\0\u{1}ÿ]{0,4}", "[ab\0\u{1}ÿ]{0,4}").prop_map(|(a, b)| {
            (
                Type::Text,
                Value::Text(Cow::Owned(a)),
                Value::Text(Cow::Owned(b)),
            )
        }),
        (
            prop::collection::vec(0_u8..3, 0..4),
            prop::collection::vec(0_u8..3, 0..4)
        )
            .prop_map(|(a, b)| (
                Type::Bytes,
                Value::Bytes(Cow::Owned(a)),
                Value::Bytes(Cow::Owned(b))
            )),
    ];
    let far = (0..TYPES.len()).prop_flat_map(|i| {
        let ty = TYPES[i];
        (Just(ty), value(ty), value(ty))
    });
    prop_oneof![near, far]
}

proptest! {
    #[test]
    fn a_row_gives_back_its_values(values in row()) {
        let schema = all_types();
        let row = Row::from_values(&schema, &values).unwrap();
        for (i, value) in values.iter().enumerate() {
            let expected = match value {
                Value::Json(text) => Value::Json(json_canonical(text)),
                other => other.clone(),
            };
            prop_assert_eq!(&row.at(i), &expected);
        }
        let decoded = Row::decode(Arc::clone(&schema), Bytes::copy_from_slice(row.bytes()));
        prop_assert_eq!(decoded.unwrap(), row);
    }

    #[test]
    fn text_gives_back_its_value((ty, a, _) in pair()) {
        let text = a.to_string();
        let back = ty.parse(&text).unwrap();
        prop_assert_eq!(back.to_string(), Row::from_values(
            &Arc::new(Schema::new(vec![Column::new("k", ty).key()]).unwrap()), &[a]
        ).unwrap().at(0).to_string());
    }

    #[test]
    fn equal_bytes_mean_equal_values(a in row(), b in row(), same in prop::collection::vec(any::<bool>(), 23)) {
        let schema = all_types();
        let mixed: Vec<_> = a.iter().zip(&b).zip(&same).map(|((a, b), same)| if *same { a.clone() } else { b.clone() }).collect();
        let (one, other) = (Row::from_values(&schema, &a).unwrap(), Row::from_values(&schema, &mixed).unwrap());
        let alike = (0..schema.columns().len()).all(|i| one.at(i) == other.at(i));
        prop_assert_eq!(one.bytes() == other.bytes(), alike);
        let differing: Vec<usize> = (0..schema.columns().len()).filter(|i| one.at(*i) != other.at(*i)).collect();
        prop_assert_eq!(one.changed(&other), differing.clone());
        let compared = differing.iter().any(|i| !schema.columns()[*i].is_volatile());
        prop_assert_eq!(RowHash::of(one.as_ref()) != RowHash::of(other.as_ref()), compared);
    }

    #[test]
    fn keys_sort_as_their_values((ty, a, b) in pair(), (x, y) in (any::<i64>(), any::<i64>())) {
        let schema = Arc::new(Schema::new(vec![
            Column::new("a", ty).key(),
            Column::new("b", Type::Int).key(),
        ]).unwrap());
        let canonical = |row: &Row| row.at(0).into_owned();
        let one = Row::from_values(&schema, &[a, Value::Int(x)]).unwrap();
        let other = Row::from_values(&schema, &[b, Value::Int(y)]).unwrap();
        let expected = compare(&canonical(&one), &canonical(&other)).then(x.cmp(&y));
        prop_assert_eq!(one.key().cmp(&other.key()), expected);
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let schema = all_types();
        if let Ok(row) = Row::decode(schema, Bytes::from(bytes)) {
            let _ = row.values().count();
            let _ = row.key();
        }
    }

    #[test]
    fn a_changed_byte_is_another_row_or_none(values in row(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let schema = all_types();
        let row = Row::from_values(&schema, &values).unwrap();
        let mut bytes = row.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Row::decode(schema, Bytes::from(bytes)) {
            prop_assert_ne!(&other, &row);
            // What was accepted is the one form of its values, but for JSON's order of keys.
            let values: Vec<_> = other.values().map(Value::into_owned).collect();
            if let Ok(again) = Row::from_values(other.schema(), &values) {
                prop_assert_eq!(again.as_ref().values().count(), other.as_ref().values().count());
            }
        }
    }
}

fn json_canonical(text: &str) -> Cow<'static, str> {
    Cow::Owned(crate::json::canonical(text).unwrap().into_owned())
}

fn devices() -> Arc<Schema> {
    use crate::schema::{Declared, date, int, text};
    const DEVICES: Declared = Declared::new(&[
        text("name").key(),
        int("cores").null(),
        int("free").volatile(),
        date("bought").null(),
    ]);
    Arc::new(DEVICES.into())
}

#[test]
fn a_wrong_cell_names_column_and_row_and_spares_the_next_row() {
    let mut batch = Batch::new(devices());
    batch.row().text("a").int(1).int(1).null().end().unwrap();
    for (error, message) in [
        (
            batch.row().text("b").text("four").int(1).null().end(),
            "the column is int, the value text (column: cores, row: 2)",
        ),
        (
            batch.row().null().int(1).int(1).null().end(),
            "the column can't be null (column: name, row: 2)",
        ),
        (
            batch.row().text("b").int(1).int(1).parse("31.5.2024").end(),
            "the column is date, the value is not a date such as 2024-05-31 (column: bought, row: 2)",
        ),
        (
            batch.row().text("b").int(1).end(),
            "2 values for 4 columns (row: 2)",
        ),
        (
            batch.row().text("b").int(1).int(1).null().null().end(),
            "5 values for 4 columns (row: 2)",
        ),
    ] {
        assert_eq!(error.unwrap_err().to_string(), message);
    }
    batch.row().text("c");
    batch
        .row()
        .text("d")
        .null()
        .int(7)
        .parse("2024-05-31")
        .end()
        .unwrap();
    let names: Vec<_> = batch.rows().map(|row| row.at(0).to_string()).collect();
    assert_eq!(names, ["a", "d"]);
    assert_eq!(batch.rows().nth(1).unwrap().at(2), Value::Int(7));
}

#[test]
fn a_struct_is_filled_and_says_which_column_does_not_fit() {
    #[derive(Debug, serde::Deserialize)]
    struct Device {
        name: String,
        cores: Option<u8>,
        bought: Option<Date>,
    }
    let row = |cores| {
        Row::from_values(
            &devices(),
            &[
                Value::Text("PC-1".into()),
                Value::Int(cores),
                Value::Int(0),
                Value::Null,
            ],
        )
        .unwrap()
    };
    let device: Device = row(8).deserialize().unwrap();
    assert_eq!(
        (device.name.as_str(), device.cores, device.bought),
        ("PC-1", Some(8), None)
    );
    let error = row(4711).deserialize::<Device>().unwrap_err();
    assert!(error.to_string().contains("column: cores"), "{error}");
    assert!(
        !format!("{error:#}").contains("4711"),
        "shows the value: {error:#}"
    );
}

#[test]
fn a_json_column_fills_a_struct_or_text() {
    #[derive(serde::Deserialize)]
    struct Nested {
        a: Vec<u8>,
    }
    #[derive(serde::Deserialize)]
    struct Host {
        doc: Nested,
    }
    #[derive(serde::Deserialize)]
    struct Plain {
        doc: String,
    }
    let schema = Arc::new(
        Schema::new(vec![
            Column::new("id", Type::Int).key(),
            Column::new("doc", Type::Json),
        ])
        .unwrap(),
    );
    let row = Row::from_values(
        &schema,
        &[Value::Int(1), Value::Json(r#"{"a": [1, 2]}"#.into())],
    )
    .unwrap();
    assert_eq!(row.deserialize::<Host>().unwrap().doc.a, [1, 2]);
    assert_eq!(row.deserialize::<Plain>().unwrap().doc, r#"{"a":[1,2]}"#);
    assert_eq!(
        serde_json::to_string(&row).unwrap(),
        r#"{"id":1,"doc":{"a":[1,2]}}"#
    );
}
