//! The two logs as tables of SQLite.

use connector_core::Result;
use rusqlite::{Connection, params};

use super::{failed, int};
use crate::sink::repository::{KEPT, ProcessEntry, SyncEntry};

pub(super) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS _sync_log (
    id                 INTEGER PRIMARY KEY,
    connector          TEXT NOT NULL,
    dataset            TEXT NOT NULL,
    cycle              TEXT,
    started            TEXT NOT NULL,
    finished           TEXT NOT NULL,
    truncates          INTEGER NOT NULL,
    inserts            INTEGER NOT NULL,
    updates            INTEGER NOT NULL,
    deletes            INTEGER NOT NULL,
    snapshot_completes INTEGER NOT NULL,
    -- synced, held or failed
    outcome            TEXT NOT NULL,
    error              TEXT
);
CREATE TABLE IF NOT EXISTS _process_log (
    id        INTEGER PRIMARY KEY,
    at        TEXT NOT NULL,
    action    TEXT NOT NULL,
    connector TEXT,
    message   TEXT
);
";

pub(super) fn sync(connection: &Connection, entry: &SyncEntry) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO _sync_log VALUES
             (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                entry.dataset.connector(),
                entry.dataset.dataset(),
                entry.cycle.map(|cycle| cycle.to_string()),
                entry.started.to_string(),
                entry.finished.to_string(),
                int(entry.counts.truncates),
                int(entry.counts.inserts),
                int(entry.counts.updates),
                int(entry.counts.deletes),
                int(entry.counts.snapshot_completes),
                entry.outcome,
                entry.error,
            ])?;
            prune(connection, "_sync_log")
        })
        .map_err(|error| failed(error, "can't write to the table _sync_log"))
}

pub(super) fn process(connection: &Connection, entry: &ProcessEntry) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO _process_log VALUES (NULL, ?1, ?2, ?3, ?4)")
        .and_then(|mut insert| {
            insert.execute(params![
                entry.at.to_string(),
                entry.action,
                entry.connector,
                entry.message,
            ])?;
            prune(connection, "_process_log")
        })
        .map_err(|error| failed(error, "can't write to the table _process_log"))
}

fn prune(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!("DELETE FROM {table} WHERE id <= ?1 - ?2"))?
        .execute(params![connection.last_insert_rowid(), KEPT])?;
    Ok(())
}
