//! What is read is what the source holds.

use std::collections::HashMap;

use connector_core::{DatasetExt, Row, Value};
use tokio::join;

use super::{Probe, Shown};
use crate::{
    generate::{edges, numbered_row, numbered_rows, shuffle},
    harness::{Subject, Values},
};

/// Several times what may be in flight between a reader and the diff, so that reads wait.
pub(super) const MANY: u32 = 8_000;

pub(super) async fn empty(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        probe.expect("no rows", &subject, &[]).await?;
    }
    Ok(())
}

pub(super) async fn types(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = edge_rows(probe, &subject)?;
        let values: Vec<_> = rows.iter().map(|(_, values, _)| values.clone()).collect();
        probe.harness.load(&subject, &values).await;
        let seen = probe.read(&subject).await?;
        let mut by_key: HashMap<_, _> = seen.iter().map(|row| (row.key(), row)).collect();
        for (edge, _, row) in &rows {
            let what = format!("with {edge}");
            let expected = std::slice::from_ref(row);
            match by_key.remove(&row.key()) {
                Some(seen) => {
                    probe.same(&what, &subject, expected, std::slice::from_ref(seen))?;
                }
                None => probe.same(&what, &subject, expected, &[])?,
            }
        }
        let expected: Vec<_> = rows.into_iter().map(|(_, _, row)| row).collect();
        probe.same("with edges of every type", &subject, &expected, &seen)?;
    }
    Ok(())
}

/// A row for each edge of each column, under keys that differ.
fn edge_rows(probe: &Probe<'_>, subject: &Subject) -> Shown<Vec<(String, Values, Row)>> {
    let mut rows: Vec<(String, Values, Row)> = Vec::new();
    let mut left_out = Vec::new();
    for (place, column) in subject.schema.columns().iter().enumerate() {
        let mut cases = edges(column.ty());
        if column.is_nullable() {
            cases.push(("null", Value::Null));
        }
        for (name, value) in cases {
            let edge = format!("{name} in {} ({})", column.name(), column.ty());
            if !probe.harness.holds(column, &value) {
                left_out.push(edge);
                continue;
            }
            let number = 1 + u32::try_from(rows.len()).unwrap_or(u32::MAX / 2);
            let mut values = numbered_row(&subject.schema, number);
            values[place] = value;
            let row = probe
                .rows(subject, std::slice::from_ref(&values))?
                .remove(0);
            if rows.iter().all(|(_, _, other)| other.key() != row.key()) {
                rows.push((edge, values, row));
            }
        }
    }
    for edge in left_out {
        probe.note(format!("{}: the source can't hold {edge}", subject.name));
    }
    Ok(rows)
}

pub(super) async fn counts(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for count in [1, 2, MANY] {
            let rows = numbered_rows(&subject.schema, count);
            let what = format!("{count} rows");
            probe.expect(&what, &subject, &rows).await?;
        }
    }
    Ok(())
}

pub(super) async fn fresh(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, 9);
        for (what, rows) in [
            ("first read", &rows[..6]),
            ("same again", &rows[..6]),
            ("other rows", &rows[3..]),
            ("fewer rows", &rows[4..5]),
            ("emptied", &[]),
            ("filled again", &rows[..]),
        ] {
            probe.expect(what, &subject, rows).await?;
        }
    }
    Ok(())
}

pub(super) async fn order(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let mut rows = numbered_rows(&subject.schema, 50);
        probe.expect("in key order", &subject, &rows).await?;
        rows.reverse();
        probe.expect("in reverse order", &subject, &rows).await?;
        for seed in 0..3 {
            shuffle(&mut rows, seed);
            probe.expect("in no order", &subject, &rows).await?;
        }
    }
    Ok(())
}

pub(super) async fn concurrent(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, MANY);
        probe.harness.load(&subject, &rows).await;
        let expected = probe.rows(&subject, &rows)?;
        let (one, other) = (
            probe.dataset(&subject).await?,
            probe.dataset(&subject).await?,
        );
        let connector = probe.harness.connector();
        // Two reads of one data set, one of its twin, and a check that looks in between.
        let (a, b, c, report) = join!(
            one.collect(),
            one.collect(),
            other.collect(),
            connector.check()
        );
        report.map_err(probe.unexpected("a check during reads"))?;
        for (what, rows) in [("first", a), ("second", b), ("third", c)] {
            let what = format!("the {what} of three reads at once");
            let seen = rows.map_err(probe.unexpected(&what))?;
            probe.same(&what, &subject, &expected, &seen)?;
        }
    }
    Ok(())
}
