//! A data set that tests change, and the events that its cycles consist of.

use std::{collections::BTreeMap, sync::Arc};

use connector_core::{
    Change, ChangeEvent, Column, CycleId, DatasetId, Digest, Key, Result, Row, Schema, Sink, Type,
    Value,
    schema::{int, text},
};
use proptest::prelude::*;

pub(crate) struct Source {
    pub(crate) id: DatasetId,
    pub(crate) schema: Arc<Schema>,
    pub(crate) rows: BTreeMap<Key, Row>,
    number: u64,
}

pub(crate) type Cycle = (CycleId, Vec<ChangeEvent>);

impl Source {
    pub(crate) fn new(connector: &str, dataset: &str, columns: Vec<impl Into<Column>>) -> Self {
        Self {
            id: DatasetId::new(connector, dataset),
            schema: Arc::new(Schema::new(columns).unwrap()),
            rows: BTreeMap::new(),
            number: 0,
        }
    }

    /// Devices with a name and a count of cores.
    pub(crate) fn devices(connector: &str) -> Self {
        Self::new(
            connector,
            "devices",
            vec![text("name").key(), int("cores").null()],
        )
    }

    pub(crate) fn row(&self, values: &[Value<'_>]) -> Row {
        Row::from_values(&self.schema, values).unwrap()
    }

    pub(crate) fn device(&self, name: &str, cores: i64) -> Row {
        self.row(&[Value::Text(name.into()), Value::Int(cores)])
    }

    fn id(&mut self, full: bool) -> CycleId {
        self.number += 1;
        let at = format!("2026-11-21T03:08:{:02}Z", self.number);
        CycleId::new(self.number, at.parse().unwrap(), full)
    }

    fn events(&self, cycle: CycleId, mut changes: Vec<Change>) -> Cycle {
        changes.push(Change::SnapshotComplete {
            rows: self.rows.len() as u64,
            digest: self.digest(),
        });
        let events = changes
            .into_iter()
            .zip(1..)
            .map(|(change, seq)| ChangeEvent {
                dataset: self.id.clone(),
                cycle,
                seq,
                change,
            });
        (cycle, events.collect())
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.rows.values().for_each(|row| digest.add(row));
        digest
    }

    fn replace(&mut self, rows: Vec<Row>) -> BTreeMap<Key, Row> {
        let rows = rows.into_iter().map(|row| (row.key(), row)).collect();
        std::mem::replace(&mut self.rows, rows)
    }

    /// The cycle that loads these rows in full.
    pub(crate) fn full(&mut self, rows: Vec<Row>) -> Cycle {
        self.replace(rows);
        let cycle = self.id(true);
        let truncate = Change::Truncate {
            schema: Arc::clone(&self.schema),
        };
        let inserts = self
            .rows
            .values()
            .map(|row| Change::Insert { after: row.clone() });
        self.events(cycle, std::iter::once(truncate).chain(inserts).collect())
    }

    /// The cycle that leads from the rows as they are to these.
    pub(crate) fn change(&mut self, rows: Vec<Row>) -> Cycle {
        let old = self.replace(rows);
        let cycle = self.id(false);
        let gone = old.iter().filter(|(key, _)| !self.rows.contains_key(key));
        let mut changes: Vec<_> = gone
            .map(|(_, row)| Change::Delete {
                before: row.clone(),
            })
            .collect();
        for (key, row) in &self.rows {
            changes.extend(match old.get(key) {
                None => Some(Change::Insert { after: row.clone() }),
                Some(before) if before != row => Some(Change::Update {
                    before: before.clone(),
                    after: row.clone(),
                }),
                Some(_) => None,
            });
        }
        self.events(cycle, changes)
    }
}

pub(crate) async fn deliver(sink: &mut impl Sink, (cycle, events): &Cycle) -> Result<()> {
    // In several calls, as a store sends them.
    for events in events.chunks(3) {
        sink.write(events).await?;
    }
    sink.commit(cycle).await
}

/// Every type once as a key column and once as a nullable one.
pub(crate) fn all_types() -> Vec<Column> {
    let types = [
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
    ];
    let keys = types.map(|ty| Column::new(format!("k {ty}"), ty).key());
    let values = types.map(|ty| Column::new(format!("v {ty}"), ty).null());
    keys.into_iter().chain(values).collect()
}

pub(crate) fn value(ty: Type) -> BoxedStrategy<Value<'static>> {
    let parsed = move |text: String| ty.parse(&text).unwrap().into_owned();
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => prop_oneof![any::<i64>(), -2..3_i64, Just(i64::MIN), Just(i64::MAX)]
            .prop_map(Value::Int)
            .boxed(),
        Type::Float => prop_oneof![
            any::<f64>(),
            prop::num::f64::ANY,
            (-5..5_i32).prop_map(f64::from),
            Just(9_007_199_254_740_993.0),
            Just(f64::MIN_POSITIVE / 2.0),
        ]
        .prop_map(Value::Float)
        .boxed(),
        Type::Decimal { scale } => any::<i128>()
            .prop_map(move |units| {
                Value::Decimal(connector_core::Decimal::new(units, scale).unwrap())
            })
            .boxed(),
        Type::Text => prop_oneof![
            any::<String>(),
            "[0-9]{1,3}(\\.0)?",
            Just("a\0b".to_owned()),
            Just("1e5".to_owned()),
            Just(String::new()),
        ]
        .prop_map(|v| Value::Text(v.into()))
        .boxed(),
        Type::Bytes => prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|v| Value::Bytes(v.into()))
            .boxed(),
        Type::Timestamp | Type::LocalTimestamp => {
            let (min, max) = (
                connector_core::Timestamp::MIN.ticks(),
                connector_core::Timestamp::MAX.ticks(),
            );
            (min..=max)
                .prop_map(move |ticks| match ty {
                    Type::Timestamp => {
                        Value::Timestamp(connector_core::Timestamp::from_ticks(ticks).unwrap())
                    }
                    _ => Value::LocalTimestamp(
                        connector_core::LocalTimestamp::from_ticks(ticks).unwrap(),
                    ),
                })
                .boxed()
        }
        Type::Date => (1..9999_u16, 1..13_u8, 1..29_u8)
            .prop_map(move |(y, m, d)| parsed(format!("{y:04}-{m:02}-{d:02}")))
            .boxed(),
        Type::Uuid => any::<u128>()
            .prop_map(|v| Value::Uuid(connector_core::Uuid::from_u128(v)))
            .boxed(),
        Type::Json => (any::<String>(), any::<i64>())
            .prop_map(move |(text, number)| {
                parsed(serde_json::json!({ "b": text, "a": [number, 1.0] }).to_string())
            })
            .boxed(),
    }
}

/// Values for every column, null where that may be.
pub(crate) fn values(columns: &[Column]) -> Vec<BoxedStrategy<Value<'static>>> {
    let cell = |column: &Column| {
        if column.is_nullable() {
            prop_oneof![1 => Just(Value::Null), 4 => value(column.ty())].boxed()
        } else {
            value(column.ty())
        }
    };
    columns.iter().map(cell).collect()
}
