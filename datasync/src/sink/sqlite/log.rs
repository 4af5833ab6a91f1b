//! The repository's own record of what was done to it.

use connector_core::{Counts, CycleId, DatasetId, Result, Timestamp};
use rusqlite::{Connection, params};

use super::{failed, int};

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

/// So many lines of each log are kept: over a year of hourly cycles of ten data sets.
const KEPT: i64 = 100_000;

/// How a cycle of a data set ended; one line of `_sync_log`.
#[derive(Debug, Clone)]
pub struct SyncEntry {
    /// The data set.
    pub dataset: DatasetId,
    /// The last committed cycle, if there is one.
    pub cycle: Option<CycleId>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The events that it found.
    pub counts: Counts,
    /// `synced`, `held` or `failed`.
    pub outcome: &'static str,
    /// What went wrong, with its causes.
    pub error: Option<String>,
}

/// Something that the host did; one line of `_process_log`.
#[derive(Debug, Clone)]
pub struct ProcessEntry {
    /// When it happened.
    pub at: Timestamp,
    /// `start`, `stop`, `check`, `sync`, `approve`, `reject` or `error`.
    pub action: &'static str,
    /// The connector that it was done with.
    pub connector: Option<String>,
    /// What there is to say.
    pub message: Option<String>,
}

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
