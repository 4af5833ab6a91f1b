//! The two logs as tables of PostgreSQL.

use std::time::{Duration, SystemTime};

use connector_core::{Result, Timestamp};
use tokio_postgres::types::ToSql;

use super::{error::failed, session::Session, value::escaped};
use crate::sink::repository::{KEPT, ProcessEntry, SyncEntry};

pub(super) fn sync(session: &Session, entry: &SyncEntry) -> Result<()> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    add(
        session,
        "_sync_log",
        &[
            &escaped(entry.dataset.connector()),
            &escaped(entry.dataset.dataset()),
            &entry.cycle.map(|cycle| cycle.to_string()),
            &time(entry.started),
            &time(entry.finished),
            &count(entry.counts.truncates),
            &count(entry.counts.inserts),
            &count(entry.counts.updates),
            &count(entry.counts.deletes),
            &count(entry.counts.snapshot_completes),
            &entry.outcome,
            &entry.error.as_deref().map(escaped),
        ],
    )
}

pub(super) fn process(session: &Session, entry: &ProcessEntry) -> Result<()> {
    add(
        session,
        "_process_log",
        &[
            &time(entry.at),
            &entry.action,
            &entry.connector,
            &entry.message.as_deref().map(escaped),
        ],
    )
}

/// Adds a line, and drops the one that is too old for it.
fn add(session: &Session, log: &'static str, cells: &[&(dyn ToSql + Sync)]) -> Result<()> {
    let places: Vec<_> = (1..=cells.len()).map(|place| format!("${place}")).collect();
    let table = session.table(log);
    let sql = format!(
        "WITH added AS (INSERT INTO {table} VALUES (DEFAULT, {}) RETURNING id)
         DELETE FROM {table} WHERE id <= (SELECT id - {KEPT} FROM added)",
        places.join(", ")
    );
    session
        .execute(&sql, cells)
        .map(drop)
        .map_err(|error| failed(error, "can't write to a log").with("table", log))
}

fn time(at: Timestamp) -> SystemTime {
    let since = Duration::from_micros(at.ticks().unsigned_abs() / 10);
    if at.ticks() < 0 {
        SystemTime::UNIX_EPOCH - since
    } else {
        SystemTime::UNIX_EPOCH + since
    }
}
