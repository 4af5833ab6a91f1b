//! The tables `_repository` and `_dataset` of SQLite.

use connector_core::{DatasetId, Error, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::failed;
use crate::sink::repository::Line;

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

fn io(error: rusqlite::Error) -> Error {
    failed(error, "can't use the table _dataset")
}

pub(super) fn line(connection: &Connection, id: &DatasetId) -> Result<Option<Line>> {
    connection
        .prepare_cached(
            "SELECT table_name, schema, columns, cycle, rows, digest FROM _dataset
             WHERE connector = ?1 AND dataset = ?2 AND EXISTS (
                 SELECT 1 FROM sqlite_schema WHERE type = 'table'
                 AND name = table_name COLLATE NOCASE)",
        )
        .and_then(|mut select| {
            select
                .query_row([id.connector(), id.dataset()], |row| {
                    Ok(Line {
                        table: row.get(0)?,
                        schema: row.get(1)?,
                        columns: row.get(2)?,
                        cycle: row.get(3)?,
                        rows: row.get(4)?,
                        digest: row.get(5)?,
                    })
                })
                .optional()
        })
        .map_err(io)
}

pub(super) fn record(connection: &Connection, id: &DatasetId, line: &Line) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO _dataset VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .and_then(|mut insert| {
            insert.execute(params![
                id.connector(),
                id.dataset(),
                line.table,
                line.schema,
                line.columns,
                line.cycle,
                line.rows,
                line.digest,
            ])
        })
        .map_err(io)?;
    Ok(())
}

pub(super) fn name_of(connection: &Connection, id: &DatasetId) -> Result<Option<String>> {
    connection
        .query_row(
            "SELECT table_name FROM _dataset WHERE connector = ?1 AND dataset = ?2",
            [id.connector(), id.dataset()],
            |row| row.get(0),
        )
        .optional()
        .map_err(io)
}

pub(super) fn is_taken(connection: &Connection, name: &str) -> Result<bool> {
    connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)
                 OR EXISTS (SELECT 1 FROM _dataset WHERE table_name = ?1)",
            [name],
            |row| row.get(0),
        )
        .map_err(io)
}
