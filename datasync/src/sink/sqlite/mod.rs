//! The repository: every data set as a table of a SQLite database.

mod catalog;
mod load;
mod log;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{
    Change, ChangeEvent, CycleId, DatasetId, Digest, Error, ErrorKind, Result, Retry, Row, Schema,
    Sink,
};
use rusqlite::{Connection, ErrorCode};

use self::{catalog::Entry, load::Load, table::Table};
use super::{
    blocking::{Worker, blocking},
    identity::Identity,
};
pub use log::{ProcessEntry, SyncEntry};

/// "dsyn": marks the file as a repository, so that no other program's database is written to.
const APPLICATION_ID: i32 = 0x6473_796e;
const FORMAT: i32 = 1;

/// How long to wait for somebody else who writes to the repository.
const BUSY: Duration = Duration::from_secs(30);

/// Keeps every data set as a table of a SQLite database.
///
/// - A cycle's events are applied in one transaction together with the cycle's position, so a
///   repeat changes nothing.
/// - A full cycle is loaded into a table aside and swapped in when it is whole, so a reader never
///   sees half of it; its digest is taken from the table as it stands there.
/// - Indexes, triggers and views that the repository's owner makes stay.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> connector_core::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("repository.db");
/// use connector_core::NamedSink;
/// use datasync::SqliteSink;
///
/// let sink = NamedSink::new("repository", SqliteSink::open(&path).await?);
/// # drop(sink);
/// # Ok(())
/// # }
/// ```
pub struct SqliteSink {
    id: String,
    worker: Worker<Repository>,
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

impl SqliteSink {
    /// Opens the repository, or makes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] naming the file: it can't be opened, is none of this program's, or was
    /// made by a newer version.
    pub async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let repository = blocking(move || Repository::open(path)).await?;
        Ok(Self {
            id: repository.id.clone(),
            worker: Worker::new(repository),
        })
    }

    /// Returns what tells this repository from any other, also from one that was at the same path
    /// before.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads a data set's table back as rows of `schema`, which has the table's columns and maybe
    /// more, null so far; none when the repository does not hold the data set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] when a cell can't be what was written there, or the file can't be read.
    pub async fn verify(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
    ) -> Result<Option<TableState>> {
        let (dataset, schema) = (dataset.clone(), Arc::clone(schema));
        self.with(move |repository| repository.verify(&dataset, &schema))
            .await
    }

    /// Adds a line to the table `_sync_log`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] when the file can't be written to.
    pub async fn log_sync(&mut self, entry: SyncEntry) -> Result<()> {
        self.with(move |repository| {
            repository.begin()?;
            log::sync(&repository.connection, &entry)
        })
        .await
    }

    /// Adds a line to the table `_process_log`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] when the file can't be written to.
    pub async fn log_process(&mut self, entry: ProcessEntry) -> Result<()> {
        self.with(move |repository| {
            repository.begin()?;
            log::process(&repository.connection, &entry)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Repository) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.worker
            .run(|repository| {
                let outcome = work(repository);
                outcome.map_err(|error| error.with("repository", repository.path.display()))
            })
            .await
    }
}

#[async_trait]
impl Sink for SqliteSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        // Rows are shared, not copied.
        let events = events.to_vec();
        self.with(move |repository| repository.write(&events)).await
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let cycle = *cycle;
        self.with(move |repository| repository.commit(cycle)).await
    }
}

impl fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSink").finish_non_exhaustive()
    }
}

/// The database and the delivery on its way.
struct Repository {
    path: PathBuf,
    id: String,
    connection: Connection,
    identity: Identity,
    delivery: Option<Delivery>,
}

struct Delivery {
    path: PathBuf,
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    step: Step,
}

enum Step {
    /// Waits for the truncate of a full cycle.
    Full,
    Load(Load),
    Apply(Apply),
    /// The cycle is here already: its events change nothing.
    Repeat(Entry),
    /// Everything is applied and waits for the commit.
    Complete,
}

/// Differences on their way into a table, in one transaction.
struct Apply {
    entry: Entry,
    /// The columns changed, which changes every row's hash: count and digest are taken from the
    /// table again.
    recount: bool,
}

impl Repository {
    fn open(path: PathBuf) -> Result<Self> {
        let (connection, identity, id) =
            connect(&path).map_err(|error| error.with("repository", path.display()))?;
        Ok(Self {
            path,
            id,
            connection,
            identity,
            delivery: None,
        })
    }

    fn is_in_place(&self) -> Result<bool> {
        self.identity.is_at(&self.path).map_err(|error| {
            Error::new(ErrorKind::Sink, "can't look at the repository").with_source(error)
        })
    }

    /// Drops what is on its way, and sees to it that what comes next goes into the file that is at
    /// the path now. One that lacks what was delivered is sent everything.
    fn begin(&mut self) -> Result<()> {
        self.abandon();
        if !self.is_in_place()? {
            tracing::warn!(
                "The repository {} was removed or replaced; what it lacks is sent again",
                self.path.display()
            );
            (self.connection, self.identity, self.id) = connect(&self.path)?;
        }
        Ok(())
    }

    fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let outcome = self.take(events);
        if outcome.is_err() {
            self.abandon();
        }
        outcome
    }

    fn take(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let mut rest = events;
        while let Some(event) = rest.first() {
            if event.seq == 1 {
                self.begin()?;
                load::drop_staging(&self.connection)?;
                self.delivery = Some(Delivery::begin(&self.connection, &self.path, event)?);
            }
            let Some(delivery) = &mut self.delivery else {
                return Err(refused("an event without a beginning"));
            };
            let taken = delivery
                .take(&self.connection, rest)
                .map_err(|error| error.with("data set", &event.dataset))?;
            rest = &rest[taken..];
        }
        match &self.delivery {
            // No lock is held while more rows are waited for.
            Some(Delivery {
                step: Step::Load(load),
                ..
            }) => load.end_piece(&self.connection),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, cycle: CycleId) -> Result<()> {
        match self.delivery.take() {
            Some(delivery)
                if delivery.cycle == cycle && matches!(delivery.step, Step::Complete) => {}
            _ => {
                self.abandon();
                return Err(refused("a commit of a cycle that is not complete"));
            }
        }
        if self.connection.is_autocommit() {
            return Ok(()); // A repeat.
        }
        self.connection.execute_batch("COMMIT").map_err(|error| {
            self.abandon();
            failed(error, "can't commit a cycle")
        })?;
        if !self.is_in_place()? {
            return Err(Error::new(
                ErrorKind::Sink,
                "the repository was removed or replaced while it was written to; it is sent \
                 everything again",
            ));
        }
        // The next cycle may be an hour away. That memory is not given back is no failure.
        let _ = self.connection.execute_batch("PRAGMA shrink_memory");
        Ok(())
    }

    /// Drops what was not committed.
    fn abandon(&mut self) {
        self.delivery = None;
        if !self.connection.is_autocommit() {
            // If this fails there is nothing left to roll back.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn verify(&mut self, dataset: &DatasetId, schema: &Arc<Schema>) -> Result<Option<TableState>> {
        self.begin()?;
        // One state of the table and its line, whoever writes meanwhile.
        let read = self
            .connection
            .transaction()
            .map_err(|error| failed(error, "can't read the repository"))?;
        let Some(entry) = Entry::load(&read, dataset)? else {
            return Ok(None);
        };
        let (rows, digest) = entry.table.digest_as(&read, schema)?;
        Ok(Some(TableState {
            table: entry.table.name,
            cycle: entry.cycle,
            rows,
            digest,
        }))
    }
}

impl Delivery {
    fn begin(connection: &Connection, path: &Path, event: &ChangeEvent) -> Result<Self> {
        let held = Entry::load(connection, &event.dataset)?;
        let step = match held {
            Some(entry) if entry.cycle == event.cycle => Step::Repeat(entry),
            _ if event.cycle.is_full() => Step::Full,
            // The same state, once delivered whole and now as differences.
            Some(entry)
                if (entry.cycle.number(), entry.cycle.at())
                    == (event.cycle.number(), event.cycle.at()) =>
            {
                Step::Repeat(entry)
            }
            Some(entry) if entry.cycle.number() + 1 == event.cycle.number() => {
                connection
                    .execute_batch(
                        "PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; BEGIN IMMEDIATE",
                    )
                    .map_err(|error| failed(error, "can't begin a transaction"))?;
                Step::Apply(Apply {
                    entry,
                    recount: false,
                })
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Incomplete,
                    "the repository lacks the cycle before this one",
                )
                .with("data set", &event.dataset)
                .with("cycle", event.cycle));
            }
        };
        Ok(Self {
            path: path.to_owned(),
            dataset: event.dataset.clone(),
            cycle: event.cycle,
            next_seq: 1,
            step,
        })
    }

    /// Takes one event, or all that are rows of a load, and returns how many.
    fn take(&mut self, connection: &Connection, events: &[ChangeEvent]) -> Result<usize> {
        if let Step::Load(load) = &self.step {
            let rows: Vec<&Row> = events.iter().map_while(inserted).collect();
            if !rows.is_empty() {
                load.insert(connection, &rows)?;
                let taken = rows.len();
                events[..taken].iter().try_for_each(|e| self.in_order(e))?;
                return Ok(taken);
            }
        }
        let Some(event) = events.first() else {
            return Ok(0);
        };
        self.in_order(event)?;
        self.take_one(connection, event).map(|()| 1)
    }

    fn in_order(&mut self, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq || event.cycle != self.cycle || event.dataset != self.dataset
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        self.next_seq += 1;
        Ok(())
    }

    fn take_one(&mut self, connection: &Connection, event: &ChangeEvent) -> Result<()> {
        match (&mut self.step, &event.change) {
            (Step::Full, Change::Truncate { schema }) => {
                let load = Load::begin(connection, &self.path, &self.dataset, schema)?;
                self.step = Step::Load(load);
                Ok(())
            }
            (Step::Repeat(entry), Change::SnapshotComplete { rows, digest }) => {
                entry.expect(&self.dataset, (*rows, *digest))?;
                self.step = Step::Complete;
                Ok(())
            }
            (Step::Repeat(_), _) => Ok(()),
            (Step::Apply(apply), Change::SnapshotComplete { rows, digest }) => {
                apply.finish(connection, &self.dataset, self.cycle, (*rows, *digest))?;
                self.step = Step::Complete;
                Ok(())
            }
            (Step::Apply(apply), change) => apply.take(connection, change),
            (Step::Load(_), Change::SnapshotComplete { rows, digest }) => {
                if let Step::Load(load) = std::mem::replace(&mut self.step, Step::Complete) {
                    load.finish(connection, &self.dataset, self.cycle, (*rows, *digest))?;
                }
                Ok(())
            }
            (Step::Full | Step::Load(_) | Step::Complete, change) => {
                Err(refused("an event that does not belong there").with("kind", change.kind()))
            }
        }
    }
}

fn inserted(event: &ChangeEvent) -> Option<&Row> {
    match &event.change {
        Change::Insert { after } => Some(after),
        _ => None,
    }
}

impl Apply {
    fn take(&mut self, connection: &Connection, change: &Change) -> Result<()> {
        let done = match change {
            Change::Insert { after } => {
                self.adopt(connection, after)?;
                self.entry.rows += 1;
                self.entry.digest.add(after);
                self.entry.table.insert(connection, after)
            }
            Change::Update { before, after } => {
                self.adopt(connection, after)?;
                self.entry.digest.remove(before);
                self.entry.digest.add(after);
                self.entry.table.update(connection, after)
            }
            Change::Delete { before } => {
                self.adopt(connection, before)?;
                self.entry.rows = self.entry.rows.saturating_sub(1);
                self.entry.digest.remove(before);
                self.entry.table.delete(connection, before)
            }
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => {
                return Err(
                    refused("an event that does not belong there").with("kind", change.kind())
                );
            }
        };
        match done {
            Ok(1) => Ok(()),
            Ok(_) => Err(changed_by_hand(
                "a record that changed is not in its table",
                &self.entry.table,
            )),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(changed_by_hand(
                    "a record that is new is in its table already",
                    &self.entry.table,
                )
                .with_source(error))
            }
            Err(error) => {
                Err(failed(error, "can't apply a change").with("table", &self.entry.table.name))
            }
        }
    }

    /// Adds the columns that a record has more than its table.
    fn adopt(&mut self, connection: &Connection, row: &Row) -> Result<()> {
        let schema = row.record_schema();
        if Arc::ptr_eq(schema, &self.entry.table.schema) {
            return Ok(());
        }
        if **schema == *self.entry.table.schema {
            // So that the next record compares by address.
            self.entry.table.schema = Arc::clone(schema);
            return Ok(());
        }
        let Some((table, sql)) = self.entry.table.extended(schema) else {
            return Err(refused("a record whose columns do not fit its table")
                .with("table", &self.entry.table.name));
        };
        for sql in sql {
            connection
                .execute_batch(&sql)
                .map_err(|error| failed(error, "can't add a column").with("table", &table.name))?;
        }
        self.entry.table = table;
        self.recount = true;
        Ok(())
    }

    fn finish(
        &mut self,
        connection: &Connection,
        dataset: &DatasetId,
        cycle: CycleId,
        expected: (u64, Digest),
    ) -> Result<()> {
        if self.recount {
            (self.entry.rows, self.entry.digest) = self.entry.table.digest(connection)?;
        }
        self.entry.expect(dataset, expected)?;
        self.entry.cycle = cycle;
        self.entry.save(connection, dataset)
    }
}

impl Entry {
    fn expect(&self, dataset: &DatasetId, expected: (u64, Digest)) -> Result<()> {
        if (self.rows, self.digest) == expected {
            return Ok(());
        }
        Err(differs(dataset, &self.table.name, self.rows, expected.0))
    }
}

fn connect(path: &Path) -> Result<(Connection, Identity, String)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::new(ErrorKind::Sink, "can't make the folder").with_source(error)
        })?;
    }
    let open = |error| failed(error, "can't open the repository");
    let connection = Connection::open(path).map_err(open)?;
    connection.busy_timeout(BUSY).map_err(open)?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(open)?;
    if tables > 0 && pragma("application_id").map_err(open)? != APPLICATION_ID {
        return Err(Error::new(
            ErrorKind::Sink,
            "the file is another program's database; give the sink a path of its own",
        ));
    }
    let format = pragma("user_version").map_err(open)?;
    if format > FORMAT {
        return Err(Error::new(
            ErrorKind::Sink,
            "the repository was made by a newer version of datasync",
        )
        .with("format", format));
    }
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(open)?;
    if mode != "wal" {
        return Err(Error::new(
            ErrorKind::Sink,
            "SQLite can't keep a write-ahead log there; put the repository on a local disk",
        ));
    }
    // The legacy form of a rename leaves views alone; the other one would refuse to swap a table
    // in while a view of the owner's looks at it.
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL;
             PRAGMA legacy_alter_table = ON;
             PRAGMA wal_autocheckpoint = 4096;
             BEGIN IMMEDIATE;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             {}{}
             COMMIT;",
            catalog::CREATE,
            log::CREATE,
        ))
        .map_err(open)?;
    connection.set_prepared_statement_cache_capacity(64);
    let id = connection
        .query_row("SELECT id FROM _repository", [], |row| row.get(0))
        .map_err(open)?;
    let file = std::fs::metadata(path).map_err(|error| {
        Error::new(ErrorKind::Sink, "can't open the repository").with_source(error)
    })?;
    Ok((connection, Identity::of(&file), id))
}

/// Wraps what SQLite says, which names tables and columns and no values.
fn failed(error: rusqlite::Error, message: &str) -> Error {
    let busy = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    );
    let wrapped = Error::new(ErrorKind::Sink, message).with_source(error);
    if busy {
        wrapped.with_retry(Retry::Backoff)
    } else {
        wrapped
    }
}

/// Something that whoever delivers should not have sent.
fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}

fn changed_by_hand(message: &str, table: &Table) -> Error {
    let message = format!("{message}: run `datasync sync --clean` to load it anew");
    Error::new(ErrorKind::Sink, message).with("table", &table.name)
}

fn differs(dataset: &DatasetId, table: &str, found: u64, expected: u64) -> Error {
    Error::new(
        ErrorKind::Sink,
        "the table's rows differ from the source's: run `datasync sync --clean` to load it anew",
    )
    .with("data set", dataset)
    .with("table", table)
    .with("rows in the table", found)
    .with("rows at the source", expected)
}

/// A count as SQLite holds it.
fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
