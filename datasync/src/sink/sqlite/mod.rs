//! Repositories in SQLite databases.

mod catalog;
mod load;
mod log;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use connector_core::{
    Batch, Change, ChangeEvent, DatasetId, Digest, Error, ErrorKind, Result, Retry, Row, Schema,
};
use rusqlite::{Connection, ErrorCode};

use self::{load::Load, table::Sql};
use super::{
    blocking::blocking,
    identity::Identity,
    repository::{
        Database, Line, Names, ProcessEntry, Repository, SyncEntry, Table, changed_by_hand, refused,
    },
};

/// "dsyn": marks the file as a repository, so that no other program's database is written to.
const APPLICATION_ID: i32 = 0x6473_796e;
const FORMAT: i32 = 1;

/// How long to wait for somebody else who writes to the repository.
const BUSY: Duration = Duration::from_secs(30);

/// SQLite holds letters in either case for the same, quoted or not.
const NAMES: Names = Names {
    longest: usize::MAX,
    lower: false,
    own_tables: "sqlite_",
    is_own_column: |_| false,
};

impl Repository {
    /// Opens the repository in a SQLite database, or makes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] naming the file: it can't be opened, is none of this program's, or was
    /// made by a newer version.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        blocking(move || Sqlite::open(path)).await.map(Self::new)
    }
}

/// A database in a file.
struct Sqlite {
    path: PathBuf,
    id: String,
    connection: Connection,
    identity: Identity,
    work: Work,
}

/// What is on its way into it.
enum Work {
    Nothing,
    Load(Load),
    Changes(Sql),
}

impl Sqlite {
    fn open(path: PathBuf) -> Result<Self> {
        let (connection, identity, id) =
            connect(&path).map_err(|error| error.with("repository", path.display()))?;
        Ok(Self {
            path,
            id,
            connection,
            identity,
            work: Work::Nothing,
        })
    }

    fn is_in_place(&self) -> Result<bool> {
        self.identity.is_at(&self.path).map_err(|error| {
            Error::new(ErrorKind::Sink, "can't look at the repository").with_source(error)
        })
    }

    fn change_one(&self, table: &Table, sql: &Sql, change: &Change) -> Result<()> {
        let done = match change {
            Change::Insert { after } => sql.insert(&self.connection, after),
            Change::Update { after, .. } => sql.update(&self.connection, after),
            Change::Delete { before } => sql.delete(&self.connection, before),
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => return Err(misplaced()),
        };
        match done {
            Ok(1) => Ok(()),
            Ok(_) => Err(changed_by_hand(
                "a record that changed is not in its table",
                table,
            )),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                let message = "a record that is new is in its table already";
                Err(changed_by_hand(message, table).with_source(error))
            }
            Err(error) => Err(failed(error, "can't apply a change").with("table", &table.name)),
        }
    }
}

impl Database for Sqlite {
    fn id(&self) -> &str {
        &self.id
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn names(&self) -> &'static Names {
        &NAMES
    }

    /// What the file at the path lacks is sent again.
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

    fn claim(&mut self, _: &DatasetId) -> Result<()> {
        load::drop_staging(&self.connection)
    }

    fn freeze(&mut self) -> Result<()> {
        self.connection
            .execute_batch("BEGIN")
            .map_err(|error| failed(error, "can't read the repository"))
    }

    fn line(&mut self, dataset: &DatasetId) -> Result<Option<Line>> {
        catalog::line(&self.connection, dataset)
    }

    fn name_of(&mut self, dataset: &DatasetId) -> Result<Option<String>> {
        catalog::name_of(&self.connection, dataset)
    }

    fn is_taken(&mut self, name: &str) -> Result<bool> {
        catalog::is_taken(&self.connection, name)
    }

    fn record(&mut self, dataset: &DatasetId, line: &Line) -> Result<()> {
        catalog::record(&self.connection, dataset, line)
    }

    fn start_load(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        _: Option<&Table>,
    ) -> Result<()> {
        self.work = Work::Load(Load::begin(&self.connection, dataset, schema)?);
        Ok(())
    }

    fn load(&mut self, rows: &[&Row]) -> Result<()> {
        match &self.work {
            Work::Load(load) => load.insert(&self.connection, rows),
            _ => Err(misplaced()),
        }
    }

    /// No lock is held meanwhile.
    fn pause(&mut self) -> Result<()> {
        load::end_piece(&self.connection)
    }

    fn finish_load(&mut self, dataset: &DatasetId, expected: (u64, Digest)) -> Result<Table> {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Load(load) => load.finish(self, dataset, expected),
            _ => Err(misplaced()),
        }
    }

    fn start_changes(&mut self, table: &Table) -> Result<()> {
        self.connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; BEGIN IMMEDIATE")
            .map_err(|error| failed(error, "can't begin a transaction"))?;
        self.work = Work::Changes(Sql::new(table));
        Ok(())
    }

    fn change(&mut self, table: &Table, events: &[ChangeEvent]) -> Result<()> {
        let Work::Changes(sql) = &self.work else {
            return Err(misplaced());
        };
        let mut changes = events.iter().map(|event| &event.change);
        changes.try_for_each(|change| self.change_one(table, sql, change))
    }

    fn add_columns(&mut self, table: &Table, added: &[usize]) -> Result<()> {
        for &place in added {
            self.connection
                .execute_batch(&table::add_column(table, place))
                .map_err(|error| failed(error, "can't add a column").with("table", &table.name))?;
        }
        self.work = Work::Changes(Sql::new(table));
        Ok(())
    }

    fn finish_changes(&mut self, _: &Table) -> Result<()> {
        self.work = Work::Nothing;
        Ok(())
    }

    fn read(
        &mut self,
        table: &Table,
        schema: &Arc<Schema>,
        each: &mut dyn FnMut(&Batch),
    ) -> Result<()> {
        table::read(&self.connection, table, schema, each)
    }

    fn commit(&mut self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Ok(()); // A repeat.
        }
        self.connection
            .execute_batch("COMMIT")
            .map_err(|error| failed(error, "can't commit a cycle"))?;
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

    fn abandon(&mut self) {
        self.work = Work::Nothing;
        if !self.connection.is_autocommit() {
            // If this fails there is nothing left to roll back.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn log_sync(&mut self, entry: &SyncEntry) -> Result<()> {
        log::sync(&self.connection, entry)
    }

    fn log_process(&mut self, entry: &ProcessEntry) -> Result<()> {
        log::process(&self.connection, entry)
    }
}

/// The order of [`Database`] was not kept.
fn misplaced() -> Error {
    refused("a piece of work that does not belong there")
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

/// A count as SQLite holds it.
fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
