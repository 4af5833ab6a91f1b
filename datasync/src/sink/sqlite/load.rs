//! A full load: into a table aside, then swapped in.

use connector_core::{DatasetId, Digest, Error, Result, Row};
use rusqlite::Connection;

use super::{
    catalog::{self, Entry},
    differs, failed, refused,
    table::{Table, quote},
};

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
#[derive(Debug)]
pub(super) struct Load {
    staging: Table,
}

impl Load {
    pub(super) fn begin(
        connection: &Connection,
        id: &DatasetId,
        schema: &std::sync::Arc<connector_core::Schema>,
    ) -> Result<Self> {
        let staging = Table::named(STAGING, schema);
        // The pieces need not survive a power cut. The swap does, and its sync covers them too.
        connection
            .execute_batch("PRAGMA synchronous = NORMAL")
            .and_then(|()| connection.execute_batch(&staging.create(id.connector())))
            .map_err(io)?;
        Ok(Self { staging })
    }

    /// Adds a record to the piece on its way.
    pub(super) fn insert(&self, connection: &Connection, row: &Row) -> Result<()> {
        if row.schema() != &self.staging.schema {
            return Err(refused("a record with other columns than its data set's"));
        }
        if connection.is_autocommit() {
            connection.execute_batch("BEGIN IMMEDIATE").map_err(io)?;
        }
        self.staging.insert(connection, row).map_err(io)?;
        Ok(())
    }

    /// Commits the piece on its way.
    #[expect(clippy::unused_self, reason = "there are pieces only in a load")]
    pub(super) fn end_piece(&self, connection: &Connection) -> Result<()> {
        if connection.is_autocommit() {
            return Ok(());
        }
        connection.execute_batch("COMMIT").map_err(io)
    }

    /// Checks what was loaded against the source's digest and swaps it in, in a transaction that
    /// is left open for the cycle's commit.
    pub(super) fn finish(
        self,
        connection: &Connection,
        id: &DatasetId,
        cycle: connector_core::CycleId,
        expected: (u64, Digest),
    ) -> Result<()> {
        self.end_piece(connection)?;
        let found = self.staging.digest(connection)?;
        if found != expected {
            return Err(differs(id, STAGING, found.0, expected.0));
        }
        connection
            .execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")
            .map_err(io)?;
        let table = Table::new(
            catalog::table_name(connection, id)?,
            self.staging.schema,
            self.staging.columns,
        );
        let extras = extras(connection, &table).map_err(io)?;
        connection
            .execute_batch(&format!(
                "DROP TABLE IF EXISTS {name}; ALTER TABLE {STAGING} RENAME TO {name}; {key}",
                name = quote(&table.name),
                key = table.create_key(),
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
        let entry = Entry {
            table,
            cycle,
            rows: expected.0,
            digest: expected.1,
        };
        entry.save(connection, id)
    }
}

/// The indexes and triggers that the repository's owner has put on a table, which go with it.
fn extras(connection: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
             AND type IN ('index', 'trigger') AND sql IS NOT NULL AND name <> ?2",
        )?
        .query_map([&table.name, &table.key_name()], |row| row.get(0))?
        .collect()
}
