//! What a database does for a repository.

use std::sync::Arc;

use connector_core::{Batch, ChangeEvent, DatasetId, Digest, Result, Row, Schema};

use super::{Line, Names, ProcessEntry, SyncEntry, Table};

/// A database that holds tables of data sets, the table `_dataset` that says which, and two logs.
///
/// All of it blocks. Deliveries come one after the other:
///
/// ```text
/// begin · claim · line · ( start_load (load … pause)… finish_load
///                        | start_changes (change | add_columns)… finish_changes ) · record · commit
/// ```
///
/// A delivery that fails or is given up ends with `abandon`, as does what was only looked at after
/// `freeze`. What is not committed is seen by nobody else, and is gone after `abandon`, `begin` or a
/// crash.
pub(in crate::sink) trait Database: Send {
    /// What tells it from any other repository.
    fn id(&self) -> &str;

    /// Where it is, for messages.
    fn place(&self) -> String;

    /// How tables and columns may be called.
    fn names(&self) -> &'static Names;

    /// Drops what was not committed, and sees to it that what comes next reaches the database that
    /// is there now.
    fn begin(&mut self) -> Result<()>;

    /// Begins a delivery, of which there is one of a data set at a time.
    fn claim(&mut self, dataset: &DatasetId) -> Result<()>;

    /// Shows one state of everything from now on, whoever writes meanwhile.
    fn freeze(&mut self) -> Result<()>;

    /// Finds the line of a data set whose table is still there.
    fn line(&mut self, dataset: &DatasetId) -> Result<Option<Line>>;

    /// Finds the name of a data set's table, which may be gone.
    fn name_of(&mut self, dataset: &DatasetId) -> Result<Option<String>>;

    /// Tells whether anything has that name, so that a view or a table of the owner's is never
    /// touched; or a data set whose table is gone, since that may come back.
    fn is_taken(&mut self, name: &str) -> Result<bool>;

    /// Adds or replaces the line of a data set.
    fn record(&mut self, dataset: &DatasetId, line: &Line) -> Result<()>;

    /// Begins to take the rows of a full load; `held` is the data set's table, if there is one.
    fn start_load(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        held: Option<&Table>,
    ) -> Result<()>;

    /// Takes rows of the schema that the load began with.
    fn load(&mut self, rows: &[&Row]) -> Result<()>;

    /// More rows may be long in coming.
    fn pause(&mut self) -> Result<()>;

    /// Makes the loaded rows the data set's table. Fails when they are not, as they are read back,
    /// so many rows with that digest.
    fn finish_load(&mut self, dataset: &DatasetId, expected: (u64, Digest)) -> Result<Table>;

    /// Begins to change a table.
    fn start_changes(&mut self, table: &Table) -> Result<()>;

    /// Takes inserts, updates and deletes of records with the table's columns. One that does not fit
    /// the table fails here or in [`Database::finish_changes`].
    fn change(&mut self, table: &Table, events: &[ChangeEvent]) -> Result<()>;

    /// Adds columns, by their places, to what is a table without them so far.
    fn add_columns(&mut self, table: &Table, added: &[usize]) -> Result<()>;

    /// Has all changes in the table.
    fn finish_changes(&mut self, table: &Table) -> Result<()>;

    /// Reads every record back in no order, as rows of a schema that may have more columns, which
    /// are null so far.
    fn read(
        &mut self,
        table: &Table,
        schema: &Arc<Schema>,
        each: &mut dyn FnMut(&Batch),
    ) -> Result<()>;

    /// Makes the delivery durable.
    fn commit(&mut self) -> Result<()>;

    /// Drops what was not committed.
    fn abandon(&mut self);

    /// Adds a line to `_sync_log`.
    fn log_sync(&mut self, entry: &SyncEntry) -> Result<()>;

    /// Adds a line to `_process_log`.
    fn log_process(&mut self, entry: &ProcessEntry) -> Result<()>;
}

/// Counts and digests rows as they are read.
pub(in crate::sink) fn tally(
    read: impl FnOnce(&mut dyn FnMut(&Batch)) -> Result<()>,
) -> Result<(u64, Digest)> {
    let (mut rows, mut digest) = (0, Digest::default());
    read(&mut |batch| {
        rows += batch.len() as u64;
        digest.add_batch(batch);
    })?;
    Ok((rows, digest))
}
