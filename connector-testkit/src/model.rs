//! The receiver as a plain map: what change events must mean.

use std::collections::{BTreeMap, HashSet};

use connector_core::{Change, ChangeEvent, Digest, Key, Row};

/// A receiver's copy of one data set, kept in a map and so simple that it can't be wrong.
///
/// It takes only events that are exactly right: an insert of a key that it has, an update that
/// changes nothing, a `before` that is not what it holds, two events for one key or a digest that
/// does not match are all refused. It does not follow a data set that gains a column.
#[derive(Debug, Clone, Default)]
pub struct Model {
    rows: BTreeMap<Key, Row>,
}

impl Model {
    /// Makes an empty copy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the rows in key order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.values()
    }

    /// Applies the events of one whole cycle.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in words. The copy is then half changed and of no more use.
    pub fn apply(&mut self, events: &[ChangeEvent]) -> Result<(), String> {
        let Some((last, first)) = events.last().zip(events.first()) else {
            return Err("a cycle without events is not delivered at all".to_owned());
        };
        if !matches!(last.change, Change::SnapshotComplete { .. }) {
            return Err(format!("the cycle ends with {}", last.change.kind()));
        }
        let mut keys = HashSet::new();
        for (seq, event) in (1..).zip(events) {
            let kind = event.change.kind();
            if event.seq != seq {
                return Err(format!("{kind} has seq {} in place {seq}", event.seq));
            }
            if event.cycle != first.cycle || event.dataset != first.dataset {
                return Err(format!("{kind} {seq} is of another cycle or data set"));
            }
            let is_truncate = matches!(event.change, Change::Truncate { .. });
            if is_truncate != (seq == 1 && event.cycle.is_full()) {
                return Err(format!("{kind} {seq} in {}", event.cycle));
            }
            self.apply_change(&event.change, &mut keys)
                .map_err(|wrong| format!("{kind} {seq}: {wrong}"))?;
        }
        Ok(())
    }

    fn apply_change(&mut self, change: &Change, keys: &mut HashSet<Key>) -> Result<(), String> {
        let key = match change {
            Change::Insert { after } | Change::Update { after, .. } => Some(after.key()),
            Change::Delete { before } => Some(before.key()),
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => None,
        };
        if key.is_some_and(|key| !keys.insert(key)) {
            return Err("the key's second event in this cycle".to_owned());
        }
        match change {
            Change::Truncate { .. } => self.rows.clear(),
            Change::Insert { after } => {
                if self.rows.insert(after.key(), after.clone()).is_some() {
                    return Err("the key is there already".to_owned());
                }
            }
            Change::Update { before, after } => {
                if before.key() != after.key() {
                    return Err("the key changes".to_owned());
                }
                if before.schema() == after.schema() && alike(before, after) {
                    return Err("nothing changes".to_owned());
                }
                let held = self.rows.insert(after.key(), after.clone());
                if !held.is_some_and(|held| alike(&held, before)) {
                    return Err("`before` is not what the receiver holds".to_owned());
                }
            }
            Change::Delete { before } => {
                let held = self.rows.remove(&before.key());
                if !held.is_some_and(|held| alike(&held, before)) {
                    return Err("`before` is not what the receiver holds".to_owned());
                }
            }
            Change::SnapshotComplete { rows, digest } => {
                let mut own = Digest::default();
                self.rows.values().for_each(|row| own.add(row));
                if *rows != self.rows.len() as u64 {
                    let held = self.rows.len();
                    return Err(format!("{rows} rows announced, the receiver holds {held}"));
                }
                if *digest != own {
                    return Err("the digest does not match the receiver's rows".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Equal but for volatile columns, whose moves are not sent.
pub(crate) fn alike(a: &Row, b: &Row) -> bool {
    a.schema().columns() == b.schema().columns()
        && a.schema()
            .columns()
            .iter()
            .zip(a.values().zip(b.values()))
            .all(|(column, (a, b))| column.is_volatile() || a == b)
}

/// Says how two sets of rows differ, volatile columns left out, or nothing if they don't.
pub(crate) fn difference(expected: &[Row], seen: &[Row]) -> Option<String> {
    fn sorted(rows: &[Row]) -> Vec<(Key, &Row)> {
        let mut rows: Vec<_> = rows.iter().map(|row| (row.key(), row)).collect();
        rows.sort_by(|a, b| (&a.0, a.1.bytes()).cmp(&(&b.0, b.1.bytes())));
        rows
    }
    let (expected, seen) = (sorted(expected), sorted(seen));
    for ((wanted_key, wanted), (key, row)) in expected.iter().zip(&seen) {
        if wanted_key < key {
            return Some(format!("a row is missing: {}", show_key(wanted)));
        }
        if wanted_key > key {
            return Some(format!("a row too many: {}", show_key(row)));
        }
        if !alike(wanted, row) {
            return Some(format!(
                "{}: {}",
                show_key(row),
                first_difference(wanted, row)
            ));
        }
    }
    match (expected.get(seen.len()), seen.get(expected.len())) {
        (Some((_, row)), _) => Some(format!("a row is missing: {}", show_key(row))),
        (_, Some((_, row))) => Some(format!("a row too many: {}", show_key(row))),
        (None, None) => None,
    }
}

fn show_key(row: &Row) -> String {
    let columns = row.schema().columns().iter().zip(row.values());
    let key = columns
        .filter(|(column, _)| column.is_key())
        .map(|(column, value)| format!("{} = {}", column.name(), brief(&format!("{value:?}"))));
    key.collect::<Vec<_>>().join(", ")
}

fn first_difference(expected: &Row, seen: &Row) -> String {
    if expected.schema().columns() != seen.schema().columns() {
        return format!(
            "columns {:?} instead of {:?}",
            seen.schema(),
            expected.schema()
        );
    }
    let columns = expected.schema().columns().iter();
    columns
        .zip(expected.values().zip(seen.values()))
        .find(|(column, (a, b))| !column.is_volatile() && a != b)
        .map(|(column, (a, b))| {
            let (a, b) = (brief(&format!("{a:?}")), brief(&format!("{b:?}")));
            format!("column {} is {b} instead of {a}", column.name())
        })
        .unwrap_or_default()
}

/// Long values are told by their beginning and length.
fn brief(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connector_core::{CycleId, DatasetId, Schema, Timestamp, Value, schema};

    use super::*;

    const SCHEMA: schema::Declared = schema::Declared::new(&[
        schema::int("id").key(),
        schema::int("size"),
        schema::int("stamp").volatile(),
    ]);

    fn row(id: i64, size: i64, stamp: i64) -> Row {
        let schema = Arc::new(Schema::from(SCHEMA));
        Row::from_values(&schema, &[id, size, stamp].map(Value::Int)).unwrap()
    }

    fn complete(rows: &[Row]) -> Change {
        let mut digest = Digest::default();
        for row in rows {
            digest.add(row);
        }
        let rows = rows.len() as u64;
        Change::SnapshotComplete { rows, digest }
    }

    fn events(changes: Vec<Change>) -> Vec<ChangeEvent> {
        let full = matches!(changes.first(), Some(Change::Truncate { .. }));
        let event = |(seq, change)| ChangeEvent {
            dataset: DatasetId::new("lab", "disks"),
            cycle: CycleId::new(1, Timestamp::MIN, full),
            seq,
            change,
        };
        (1..).zip(changes).map(event).collect()
    }

    fn loaded() -> Model {
        let (a, b) = (row(1, 1, 1), row(2, 2, 2));
        let schema = Arc::clone(a.schema());
        let mut model = Model::new();
        model
            .apply(&events(vec![
                Change::Truncate { schema },
                Change::Insert { after: a.clone() },
                Change::Insert { after: b.clone() },
                complete(&[b, a]),
            ]))
            .unwrap();
        model
    }

    #[test]
    fn takes_what_is_right() {
        let mut model = loaded();
        let changes = vec![
            Change::Insert {
                after: row(3, 3, 3),
            },
            // The receiver does not have the newest stamp, which is not sent for itself.
            Change::Update {
                before: row(1, 1, 9),
                after: row(1, 5, 10),
            },
            Change::Delete {
                before: row(2, 2, 2),
            },
            complete(&[row(1, 5, 10), row(3, 3, 3)]),
        ];
        model.apply(&events(changes)).unwrap();
        let rows: Vec<_> = model.rows().cloned().collect();
        assert_eq!(difference(&[row(3, 3, 0), row(1, 5, 0)], &rows), None);
    }

    #[test]
    fn refuses_what_is_wrong() {
        let same = || complete(&[row(1, 1, 1), row(2, 2, 2)]);
        let update = |before, after| vec![Change::Update { before, after }, same()];
        let insert = |after| Change::Insert { after };
        let delete = |before| Change::Delete { before };
        for (changes, wrong) in [
            (vec![], "a cycle without events"),
            (vec![insert(row(3, 3, 3))], "the cycle ends with insert"),
            (
                vec![insert(row(1, 1, 1)), same()],
                "insert 1: the key is there already",
            ),
            (
                vec![delete(row(3, 3, 3)), same()],
                "delete 1: `before` is not what",
            ),
            (
                vec![delete(row(1, 9, 1)), same()],
                "delete 1: `before` is not what",
            ),
            (
                update(row(1, 1, 1), row(1, 1, 2)),
                "update 1: nothing changes",
            ),
            (
                update(row(1, 1, 1), row(2, 1, 1)),
                "update 1: the key changes",
            ),
            (
                update(row(1, 9, 1), row(1, 2, 1)),
                "update 1: `before` is not what",
            ),
            (
                vec![delete(row(1, 1, 1)), insert(row(1, 2, 1)), same()],
                "insert 2: the key's second event",
            ),
            (
                vec![complete(&[row(1, 1, 1)])],
                "snapshot_complete 1: 1 rows announced",
            ),
            (
                vec![complete(&[row(1, 1, 1), row(2, 3, 2)])],
                "snapshot_complete 1: the digest does not match",
            ),
        ] {
            let told = loaded().apply(&events(changes)).unwrap_err();
            assert!(told.starts_with(wrong), "{told:?} instead of {wrong:?}");
        }
        let mut gap = events(vec![insert(row(3, 3, 3)), same()]);
        gap[1].seq = 3;
        assert!(
            loaded()
                .apply(&gap)
                .unwrap_err()
                .contains("seq 3 in place 2")
        );
    }
}
