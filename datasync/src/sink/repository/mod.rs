//! The repository: every data set as a table of a database, whatever database that is.

mod catalog;
mod database;
mod delivery;
mod error;
mod log;
mod table;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    Batch, ChangeEvent, Copies, CycleId, DatasetId, Digest, DigestRows, KeyRange, RangeDigest,
    RangeDigests, Result, Row, Schema, Sink,
};

use self::{catalog::Entry, delivery::Deliveries};
pub(super) use self::{
    catalog::{Line, table_name},
    database::{Database, tally},
    error::{changed_by_hand, differs, not_as_written, refused},
    table::{Names, PROVENANCE, Table, literal, quote},
};
use super::blocking::{Worker, blocking};
pub(super) use log::KEPT;
pub use log::{ProcessEntry, SyncEntry};

/// Keeps every data set as a table of a database.
///
/// - A cycle's events are applied in one transaction together with the cycle's position, so a
///   repeat changes nothing.
/// - A full cycle is loaded aside and takes the table's place when it is whole, so a reader never
///   sees half of it; its digest is taken from the rows as the database gives them back.
/// - Indexes, triggers and views that the repository's owner makes stay.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> connector_core::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("repository.db");
/// use connector_core::NamedSink;
/// use datasync::Repository;
///
/// let sink = NamedSink::new("repository", Repository::sqlite(&path).await?);
/// # drop(sink);
/// # Ok(())
/// # }
/// ```
pub struct Repository {
    id: String,
    worker: Worker<Deliveries>,
}

/// A data set as a repository holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// The table's name.
    pub table: String,
    /// The last cycle that was committed here.
    pub cycle: CycleId,
    /// How many rows the table holds, counted.
    pub rows: u64,
    /// The digest of the rows as they were read back from the table.
    pub digest: Digest,
}

impl Repository {
    /// Takes a database as `open` opens it, where that may block.
    pub(super) async fn open<D: Database + 'static>(
        open: impl FnOnce() -> Result<Option<D>> + Send + 'static,
    ) -> Result<Option<Self>> {
        let database = blocking(open).await?;
        Ok(database.map(Self::new))
    }

    pub(super) fn new(database: impl Database + 'static) -> Self {
        Self {
            id: database.id().to_owned(),
            worker: Worker::new(Deliveries::new(Box::new(database))),
        }
    }

    /// Returns what tells this repository from any other, also from one that was at the same place
    /// before.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads a data set's table back as rows of `schema`, which has the table's columns and maybe
    /// more, null so far; none when the repository does not hold the data set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`](connector_core::ErrorKind::Sink) when a cell can't be what was written
    /// there, or the database can't be read.
    pub async fn verify(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
    ) -> Result<Option<TableState>> {
        let (dataset, schema) = (dataset.clone(), Arc::clone(schema));
        self.with(move |deliveries| {
            deliveries.look(|database| {
                let Some(entry) = Entry::load(database, &dataset)? else {
                    return Ok(None);
                };
                let (rows, digest) = tally(|each| database.read(&entry.table, &schema, each))?;
                Ok(Some(TableState {
                    table: entry.table.name,
                    cycle: entry.cycle,
                    rows,
                    digest,
                }))
            })
        })
        .await
    }

    /// Returns the last cycle that was committed here, with the count and the digest of the rows
    /// that it left; none when the repository does not hold the data set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`](connector_core::ErrorKind::Sink) when the database can't be read.
    pub(crate) async fn position(
        &mut self,
        dataset: &DatasetId,
    ) -> Result<Option<(CycleId, RangeDigest)>> {
        let dataset = dataset.clone();
        self.with(move |deliveries| {
            deliveries.look(|database| {
                let entry = Entry::load(database, &dataset)?;
                Ok(entry.map(
                    |Entry {
                         cycle,
                         rows,
                         digest,
                         ..
                     }| { (cycle, RangeDigest { rows, digest }) },
                ))
            })
        })
        .await
    }

    /// Adds a line to the table `_sync_log`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`](connector_core::ErrorKind::Sink) when the database can't be written to.
    pub async fn log_sync(&mut self, entry: SyncEntry) -> Result<()> {
        self.with(move |deliveries| deliveries.beside()?.log_sync(&entry))
            .await
    }

    /// Adds a line to the table `_process_log`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`](connector_core::ErrorKind::Sink) when the database can't be written to.
    pub async fn log_process(&mut self, entry: ProcessEntry) -> Result<()> {
        self.with(move |deliveries| deliveries.beside()?.log_process(&entry))
            .await
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Deliveries) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.worker
            .run(|deliveries| {
                let outcome = work(deliveries);
                outcome.map_err(|error| error.with("repository", deliveries.place()))
            })
            .await
    }
}

#[async_trait]
impl Sink for Repository {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        // Rows are shared, not copied.
        let events = events.to_vec();
        self.with(move |deliveries| deliveries.write(&events)).await
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let cycle = *cycle;
        self.with(move |deliveries| deliveries.commit(cycle)).await
    }

    fn copies(&mut self) -> Option<&mut dyn Copies> {
        Some(self)
    }
}

#[async_trait]
impl Copies for Repository {
    async fn digests(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>> {
        let (dataset, schema) = (dataset.clone(), Arc::clone(schema));
        let ranges = ranges.to_vec();
        self.with(move |deliveries| {
            deliveries.look(|database| {
                let mut digests = RangeDigests::new(&ranges);
                let found = read(database, &dataset, &schema, &mut |batch| {
                    digests.add_batch(batch);
                })?;
                Ok(found.then(|| digests.finish()))
            })
        })
        .await
    }

    async fn rows(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<Row>> {
        let (dataset, schema) = (dataset.clone(), Arc::clone(schema));
        let ranges = ranges.to_vec();
        self.with(move |deliveries| {
            deliveries.look(|database| {
                let mut rows = DigestRows::new(&schema, &ranges);
                read(database, &dataset, &schema, &mut |batch| {
                    rows.add_batch(batch);
                })?;
                Ok(rows.finish())
            })
        })
        .await
    }
}

/// Reads the rows of a data set's table as rows of a schema, if there is one whose columns fit.
fn read(
    database: &mut dyn Database,
    dataset: &DatasetId,
    schema: &Arc<Schema>,
    each: &mut dyn FnMut(&Batch),
) -> Result<bool> {
    let Some(Entry { table, .. }) = Entry::load(database, dataset)? else {
        return Ok(false);
    };
    let fits = table.extended(database.names(), schema).is_some();
    if fits {
        database.read(&table, schema, each)?;
    }
    Ok(fits)
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").finish_non_exhaustive()
    }
}
