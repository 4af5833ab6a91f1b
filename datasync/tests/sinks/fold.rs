//! A reader of event lines, as the documentation tells people to write one.

use std::{collections::BTreeMap, sync::Arc};

use connector_core::{Column, CycleId, DatasetId, Digest, RangeDigest, Row, Schema, Type, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Line {
    connector: String,
    dataset: String,
    cycle: CycleId,
    seq: u64,
    op: String,
    before: Option<Record>,
    after: Option<Record>,
    rows: Option<u64>,
    digest: Option<Digest>,
}

type Record = BTreeMap<String, Box<RawValue>>;

/// Folds the lines of a data set into its rows. A cycle counts when its end is there, and once.
pub(crate) fn fold(
    lines: impl IntoIterator<Item = String>,
    id: &DatasetId,
    schema: &Arc<Schema>,
) -> Option<RangeDigest> {
    let key: Vec<&str> = schema.key().map(Column::name).collect();
    // Records as they stand: what their cells are is known at the end.
    let mut rows: BTreeMap<Vec<String>, Record> = BTreeMap::new();
    let (mut pending, mut last) = (Vec::new(), None);
    for line in lines {
        let line: Line = serde_json::from_str(&line).unwrap();
        if (line.connector.as_str(), line.dataset.as_str()) != (id.connector(), id.dataset()) {
            continue;
        }
        if line.seq == 1 {
            pending.clear();
        }
        assert_eq!(line.seq, pending.len() as u64 + 1, "a gap");
        let end = line.rows.zip(line.digest);
        let cycle = line.cycle;
        pending.push(line);
        if end.is_none() || last.is_some_and(|(last, _)| last == cycle) {
            continue;
        }
        last = end.map(|end| (cycle, end));
        for line in pending.drain(..) {
            let name = |record: &Record| -> Vec<String> {
                key.iter()
                    .map(|key| record[*key].get().to_owned())
                    .collect()
            };
            match (line.op.as_str(), line.before, line.after) {
                ("truncate", ..) => rows.clear(),
                ("insert" | "update", _, Some(after)) => drop(rows.insert(name(&after), after)),
                ("delete", Some(before), _) => drop(rows.remove(&name(&before))),
                ("snapshot_complete", ..) => {}
                (other, ..) => panic!("{other}"),
            }
        }
    }
    let mut held = RangeDigest::default();
    for record in rows.values() {
        let mut digest = Digest::default();
        digest.add(&read(schema, record));
        held.rows += 1;
        held.digest = held.digest + digest;
    }
    last.map(|_| held)
}

/// Reads a record; what it lacks was not a column yet.
fn read(schema: &Arc<Schema>, record: &Record) -> Row {
    let mut values = Vec::new();
    for column in schema.columns() {
        let cell = record.get(column.name()).map_or("null", |cell| cell.get());
        values.push(match (column.ty(), cell) {
            (Type::Json, "null") if column.is_nullable() => Value::Null,
            (Type::Json, document) => column.ty().parse(document).unwrap().into_owned(),
            (_, "null") if !column.is_key() => Value::Null,
            (ty, cell) => match serde_json::from_str(cell) {
                Ok(text) => {
                    let text: String = text;
                    ty.parse(&text).unwrap().into_owned()
                }
                Err(_) => ty.parse(cell).unwrap().into_owned(),
            },
        });
    }
    Row::from_values(schema, &values).unwrap()
}
