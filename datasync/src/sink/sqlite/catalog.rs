//! What the repository knows of its tables: which data set each one holds, and up to which cycle.

use std::sync::Arc;

use connector_core::{CycleId, DatasetId, Digest, Error, ErrorKind, Result, Schema};
use rusqlite::{Connection, OptionalExtension, params};

use super::{failed, int, table::Table};

pub(super) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS _repository (id TEXT NOT NULL);
INSERT INTO _repository SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM _repository);
CREATE TABLE IF NOT EXISTS _dataset (
    connector  TEXT NOT NULL,
    dataset    TEXT NOT NULL,
    table_name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- JSON: the data set's columns, and what each is called in the table.
    schema     TEXT NOT NULL,
    columns    TEXT NOT NULL,
    cycle      TEXT NOT NULL,
    rows       INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    PRIMARY KEY (connector, dataset)
) WITHOUT ROWID;
";

/// A data set as the repository holds it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) table: Table,
    pub(super) cycle: CycleId,
    pub(super) rows: u64,
    pub(super) digest: Digest,
}

fn io(error: rusqlite::Error) -> Error {
    failed(error, "can't use the table _dataset")
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
    pub(super) fn load(connection: &Connection, id: &DatasetId) -> Result<Option<Self>> {
        let found = connection
            .prepare_cached(
                "SELECT table_name, schema, columns, cycle, rows, digest FROM _dataset
                 WHERE connector = ?1 AND dataset = ?2 AND EXISTS (
                     SELECT 1 FROM sqlite_schema WHERE type = 'table'
                     AND name = table_name COLLATE NOCASE)",
            )
            .and_then(|mut select| {
                select
                    .query_row([id.connector(), id.dataset()], |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            row.get::<_, String>(1)?,
                            row.get::<_, String>(2)?,
                            row.get::<_, String>(3)?,
                            row.get::<_, i64>(4)?,
                            row.get::<_, String>(5)?,
                        ))
                    })
                    .optional()
            })
            .map_err(io)?;
        let Some((name, schema, columns, cycle, rows, digest)) = found else {
            return Ok(None);
        };
        let schema: Schema = serde_json::from_str(&schema).map_err(|_| damaged("schema"))?;
        let columns: Vec<String> =
            serde_json::from_str(&columns).map_err(|_| damaged("columns"))?;
        if columns.len() != schema.columns().len() {
            return Err(damaged("columns"));
        }
        Ok(Some(Self {
            table: Table::new(name, Arc::new(schema), columns),
            cycle: cycle.parse().map_err(|_| damaged("cycle"))?,
            rows: u64::try_from(rows).map_err(|_| damaged("rows"))?,
            digest: digest.parse().map_err(|_| damaged("digest"))?,
        }))
    }

    /// Records it, within the transaction that changed the table.
    pub(super) fn save(&self, connection: &Connection, id: &DatasetId) -> Result<()> {
        let unexpected = |error: serde_json::Error| {
            Error::new(ErrorKind::Unexpected, "can't write a schema").with_source(error)
        };
        let schema = serde_json::to_string(&*self.table.schema).map_err(unexpected)?;
        let columns = serde_json::to_string(&self.table.columns).map_err(unexpected)?;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO _dataset VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    id.connector(),
                    id.dataset(),
                    self.table.name,
                    schema,
                    columns,
                    self.cycle.to_string(),
                    int(self.rows),
                    self.digest.to_string(),
                ])
            })
            .map_err(io)?;
        Ok(())
    }
}

/// Names the table of a data set: as before if it had one, else as the data set is called when
/// nothing else is, else after connector and data set. The name never changes afterwards.
pub(super) fn table_name(connection: &Connection, id: &DatasetId) -> Result<String> {
    let known = connection
        .query_row(
            "SELECT table_name FROM _dataset WHERE connector = ?1 AND dataset = ?2",
            [id.connector(), id.dataset()],
            |row| row.get(0),
        )
        .optional()
        .map_err(io)?;
    if let Some(name) = known {
        return Ok(name);
    }
    // SQL text ends at a zero.
    let dataset = id.dataset().replace('\0', "\u{fffd}");
    let both = format!("{}_{dataset}", id.connector());
    let numbered = (2..).map(|number: u32| format!("data{number}_{both}"));
    for name in [dataset, both.clone()].into_iter().chain(numbered) {
        if !is_reserved(&name) && !is_taken(connection, &name)? {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Sink, "no table name is free").with("data set", id))
}

/// Names with `_` in front are the repository's own, and `sqlite_` is SQLite's.
fn is_reserved(name: &str) -> bool {
    let sqlite = name
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    name.is_empty() || name.starts_with('_') || sqlite
}

/// Taken by anything, so that a view or a table of the owner's is never touched; and by a data set
/// whose table is gone, since that may come back.
fn is_taken(connection: &Connection, name: &str) -> Result<bool> {
    connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)
                 OR EXISTS (SELECT 1 FROM _dataset WHERE table_name = ?1)",
            [name],
            |row| row.get(0),
        )
        .map_err(io)
}
