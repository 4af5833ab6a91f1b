//! A full load: into a table aside, then swapped in.

use std::{path::Path, sync::Arc, thread};

use connector_core::{DatasetId, Digest, Error, ErrorKind, Result, Row, Schema};
use rusqlite::{Connection, OpenFlags};

use super::{
    BUSY, NAMES, Sqlite, failed,
    table::{self, Sql},
};
use crate::sink::repository::{Table, differs, quote, table_name, tally};

/// The table aside. At most one load is on its way, so one name does.
const STAGING: &str = "_staging";

/// Removes what a load that was cut off left behind.
pub(super) fn drop_staging(connection: &Connection) -> Result<()> {
    connection
        .execute_batch("DROP TABLE IF EXISTS _staging")
        .map_err(io)
}

fn io(error: rusqlite::Error) -> Error {
    failed(error, "a full load failed")
}

/// A full load on its way.
///
/// Rows are committed in pieces while they arrive, so that neither memory nor the write-ahead log
/// grows with the data set; nobody looks at the table aside before it is whole.
pub(super) struct Load {
    staging: Table,
    sql: Sql,
}

/// Sorting the key needs no more cache than this, and is fastest when the processor's own holds
/// what is being sorted.
const CACHE: &str = "PRAGMA cache_size = -8192";

impl Load {
    pub(super) fn begin(
        connection: &Connection,
        id: &DatasetId,
        schema: &Arc<Schema>,
    ) -> Result<Self> {
        let staging = Table::new(&NAMES, STAGING, schema);
        // The pieces need not survive a power cut. The swap does, and its sync covers them too.
        connection
            .execute_batch("PRAGMA synchronous = NORMAL")
            .and_then(|()| connection.execute_batch(CACHE))
            .and_then(|()| connection.execute_batch(&table::create(&staging, id.connector())))
            .map_err(io)?;
        let sql = Sql::new(&staging);
        Ok(Self { staging, sql })
    }

    /// Adds records to the piece on its way.
    pub(super) fn insert(&self, connection: &Connection, rows: &[&Row]) -> Result<()> {
        if connection.is_autocommit() {
            connection.execute_batch("BEGIN IMMEDIATE").map_err(io)?;
        }
        let mut insert = self.sql.inserting(connection).map_err(io)?;
        rows.iter()
            .try_for_each(|row| insert.insert(row).map(drop))
            .map_err(io)
    }

    /// Swaps what was loaded in, in a transaction that is left open for the cycle's commit, and
    /// checks it against the source's digest meanwhile.
    pub(super) fn finish(
        self,
        sqlite: &mut Sqlite,
        id: &DatasetId,
        expected: (u64, Digest),
    ) -> Result<Table> {
        end_piece(&sqlite.connection)?;
        let path = sqlite.path.clone();
        let (found, swapped) = thread::scope(|scope| {
            let check = thread::Builder::new()
                .name("check".to_owned())
                .spawn_scoped(scope, || self.read_back(&path))
                .map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "can't start a thread").with_source(error)
                })?;
            let swapped = self.swap(sqlite, id);
            match check.join() {
                Ok(found) => Ok((found?, swapped)),
                Err(_) => Err(Error::new(
                    ErrorKind::Unexpected,
                    "a thread panicked; its message is on standard error",
                )),
            }
        })?;
        if found != expected {
            return Err(differs(ErrorKind::Sink, id, STAGING, found.0, expected.0));
        }
        swapped
    }

    /// Takes the digest of the table aside as everybody but the swap sees it.
    fn read_back(&self, path: &Path) -> Result<(u64, Digest)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(io)?;
        connection.busy_timeout(BUSY).map_err(io)?;
        let staging = &self.staging;
        tally(|each| table::read(&connection, staging, &staging.schema, each))
    }

    fn swap(&self, sqlite: &mut Sqlite, id: &DatasetId) -> Result<Table> {
        sqlite
            .connection
            .execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")
            .map_err(io)?;
        let table = Table {
            name: table_name(sqlite, id)?,
            ..self.staging.clone()
        };
        let connection = &sqlite.connection;
        let extras = extras(connection, &table).map_err(io)?;
        connection
            .execute_batch(&format!(
                "DROP TABLE IF EXISTS {name}; ALTER TABLE {STAGING} RENAME TO {name}; {key}",
                name = quote(&table.name),
                key = table::create_key(&table),
            ))
            .map_err(|error| io(error).with("table", &table.name))?;
        for sql in extras {
            if let Err(error) = connection.execute_batch(&sql) {
                tracing::warn!(
                    table = table.name,
                    %error,
                    "An index or trigger that was made by hand no longer fits and is dropped"
                );
            }
        }
        Ok(table)
    }
}

/// Commits the piece on its way.
pub(super) fn end_piece(connection: &Connection) -> Result<()> {
    if connection.is_autocommit() {
        return Ok(());
    }
    connection.execute_batch("COMMIT").map_err(io)
}

/// The indexes and triggers that the repository's owner has put on a table, which go with it.
fn extras(connection: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
             AND type IN ('index', 'trigger') AND sql IS NOT NULL AND name <> ?2",
        )?
        .query_map([&table.name, &table::key_name(table)], |row| row.get(0))?
        .collect()
}
