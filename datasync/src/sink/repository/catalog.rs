//! What the repository knows of its tables: which data set each one holds, and up to which cycle.

use std::sync::Arc;

use connector_core::{CycleId, DatasetId, Digest, Error, ErrorKind, Result, Schema};

use super::{Database, Table, differs};

/// A line of the table `_dataset`, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) struct Line {
    pub(in crate::sink) table: String,
    /// The data set's columns, as JSON.
    pub(in crate::sink) schema: String,
    /// What each of them is called in the table, as JSON.
    pub(in crate::sink) columns: String,
    pub(in crate::sink) cycle: String,
    pub(in crate::sink) rows: i64,
    pub(in crate::sink) digest: String,
}

/// A data set as the repository holds it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) table: Table,
    pub(super) cycle: CycleId,
    pub(super) rows: u64,
    pub(super) digest: Digest,
}

/// What stands there was not written by this program.
fn damaged(what: &'static str) -> Error {
    Error::new(
        ErrorKind::Sink,
        "the table _dataset was changed by hand; delete the data set's line there and run \
         `datasync sync --clean`",
    )
    .with("column", what)
}

impl Entry {
    /// Finds a data set whose table is still there.
    pub(super) fn load(database: &mut dyn Database, id: &DatasetId) -> Result<Option<Self>> {
        let Some(line) = database.line(id)? else {
            return Ok(None);
        };
        let schema: Schema = serde_json::from_str(&line.schema).map_err(|_| damaged("schema"))?;
        let columns: Vec<String> =
            serde_json::from_str(&line.columns).map_err(|_| damaged("columns"))?;
        if columns.len() != schema.columns().len() {
            return Err(damaged("columns"));
        }
        Ok(Some(Self {
            table: Table {
                name: line.table,
                schema: Arc::new(schema),
                columns,
            },
            cycle: line.cycle.parse().map_err(|_| damaged("cycle"))?,
            rows: u64::try_from(line.rows).map_err(|_| damaged("rows"))?,
            digest: line.digest.parse().map_err(|_| damaged("digest"))?,
        }))
    }

    /// Records it, within the transaction that changed the table.
    pub(super) fn save(&self, database: &mut dyn Database, id: &DatasetId) -> Result<()> {
        let unexpected = |error: serde_json::Error| {
            Error::new(ErrorKind::Unexpected, "can't write a schema").with_source(error)
        };
        let line = Line {
            table: self.table.name.clone(),
            schema: serde_json::to_string(&*self.table.schema).map_err(unexpected)?,
            columns: serde_json::to_string(&self.table.columns).map_err(unexpected)?,
            cycle: self.cycle.to_string(),
            rows: i64::try_from(self.rows).unwrap_or(i64::MAX),
            digest: self.digest.to_string(),
        };
        database.record(id, &line)
    }

    pub(super) fn expect(&self, id: &DatasetId, expected: (u64, Digest)) -> Result<()> {
        if (self.rows, self.digest) == expected {
            return Ok(());
        }
        let (table, kind) = (&self.table.name, ErrorKind::Incomplete);
        Err(differs(kind, id, table, self.rows, expected.0))
    }
}

/// Names the table of a data set: as before if it had one, else as the data set is called when
/// nothing else is, else after connector and data set. The name never changes afterwards.
pub(in crate::sink) fn table_name(database: &mut dyn Database, id: &DatasetId) -> Result<String> {
    if let Some(name) = database.name_of(id)? {
        return Ok(name);
    }
    let dataset = id.dataset();
    let both = format!("{}_{dataset}", id.connector());
    let numbered = (2..).map(|number: u32| format!("data{number}_{both}"));
    for name in [dataset.to_owned(), both.clone()]
        .into_iter()
        .chain(numbered)
    {
        let names = database.names();
        let name = names.plain(&name);
        if !names.is_reserved_table(&name) && !database.is_taken(&name)? {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Sink, "no table name is free").with("data set", id))
}
