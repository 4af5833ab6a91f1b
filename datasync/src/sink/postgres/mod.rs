//! Repositories in PostgreSQL databases.

mod catalog;
mod config;
mod copy;
mod error;
mod field;
mod log;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod value;

use std::sync::Arc;

use connector_core::{
    Batch, Change, ChangeEvent, DatasetId, Digest, Error, ErrorKind, Result, Row, Schema,
};
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;

use self::{
    copy::CopyIn,
    error::{failed, is},
    field::{CHANGE, Field, NAMES},
    session::Session,
    table::{Merge, Reshaping, STAGING},
};
use super::repository::{
    Database, Line, Names, ProcessEntry, Repository, SyncEntry, Table, changed_by_hand, differs,
    refused, table_name, tally,
};
pub use config::{PostgresConfig, PostgresTls};

impl Repository {
    /// Opens the repository in a schema of a PostgreSQL database, or makes it. The server is version
    /// 13 or later, and its database is in UTF-8.
    ///
    /// A connection that is lost is made again for the next cycle.
    ///
    /// ```no_run
    /// # async fn open() -> connector_core::Result<()> {
    /// use connector_core::NamedSink;
    /// use datasync::{PostgresConfig, Repository};
    ///
    /// let mut config = PostgresConfig::new("postgresql://datasync@db.example/inventory");
    /// config.password = Some(connector_core::Secret::new("s3cret"));
    /// let sink = NamedSink::new("repository", Repository::postgres(config).await?);
    /// # drop(sink);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) when a setting is wrong;
    /// [`ErrorKind::Sink`](connector_core::ErrorKind::Sink) naming the server: it can't be reached,
    /// is too old, does not let the role make tables, or the schema is another program's or was made
    /// by a newer version.
    pub async fn postgres(config: PostgresConfig) -> Result<Self> {
        let opened = Self::open_postgres(config, true).await?;
        let missing = || Error::new(ErrorKind::Unexpected, "a repository was not made");
        opened.ok_or_else(missing)
    }

    /// Opens a repository that is there, and makes nothing.
    pub(crate) async fn existing_postgres(config: PostgresConfig) -> Result<Option<Self>> {
        Self::open_postgres(config, false).await
    }

    async fn open_postgres(config: PostgresConfig, make: bool) -> Result<Option<Self>> {
        let runtime = Handle::current();
        Self::open(move || Postgres::open(runtime, &config, make)).await
    }
}

/// A schema of a database.
struct Postgres {
    session: Session,
    /// Whether a transaction was begun and not ended.
    began: bool,
    work: Work,
}

/// What is on its way into it.
enum Work {
    Nothing,
    Load(Load),
    Changes(Changes),
}

/// A full load: into the data set's new table, which nobody else sees before the commit; or aside,
/// when there is one that others look at.
struct Load {
    table: Table,
    /// The table that is there, and which columns it lacks.
    held: Option<(Table, Vec<usize>)>,
    rows: CopyIn,
}

/// Changes that are sent aside, and how many of each kind.
#[derive(Default)]
struct Changes {
    is_staged: bool,
    rows: Option<CopyIn>,
    deletes: u64,
    updates: u64,
    inserts: u64,
}

const DELETE: char = 'd';
const UPDATE: char = 'u';
const INSERT: char = 'i';

impl Postgres {
    fn open(runtime: Handle, config: &PostgresConfig, make: bool) -> Result<Option<Self>> {
        let session =
            Session::open(runtime, config, make).map_err(|error| match config.place() {
                Ok(place) => error.with("repository", place),
                Err(_) => error,
            })?;
        Ok(session.map(|session| Self {
            session,
            began: false,
            work: Work::Nothing,
        }))
    }

    fn begin_transaction(&mut self, how: &str) -> Result<()> {
        self.session
            .run(&format!("BEGIN ISOLATION LEVEL {how}"))
            .map_err(|error| failed(error, "can't begin a transaction"))?;
        self.began = true;
        Ok(())
    }

    /// Makes what is aside the rows of a table that is there.
    fn merge(&self, table: &Table, held: &Table, added: &[usize]) -> Result<()> {
        let has_key = table::has_key(&self.session, held);
        let has_key = has_key.map_err(|error| load_failed(error, table))?;
        let reshaping = Reshaping::new(&self.session, held, table, added, has_key);
        for sql in &reshaping.sql {
            self.session
                .run(sql)
                .map_err(|error| in_the_way(error, table))?;
        }
        let merge = Merge::new(&self.session, table);
        let statements = if reshaping.rekeyed {
            vec![merge.everything()]
        } else {
            merge.whole()
        };
        self.run(&format!("ANALYZE {STAGING}"))?;
        for sql in &statements {
            self.session
                .run(sql)
                .map_err(|error| load_failed(error, table))?;
        }
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.session
            .run(sql)
            .map_err(|error| failed(error, "a full load failed"))
    }

    fn apply(&self, table: &Table, changes: &Changes) -> Result<()> {
        let failed = |error| failed(error, "can't apply the changes").with("table", &table.name);
        self.session
            .run(&format!("ANALYZE {STAGING}"))
            .map_err(failed)?;
        let merge = Merge::new(&self.session, table);
        let deleted = Some(merge.delete(DELETE));
        // Deletes first, so that a row that came in another's place finds its own free.
        for (sql, expected) in [
            (deleted, changes.deletes),
            (merge.update(UPDATE), changes.updates),
            (Some(merge.insert(INSERT)), changes.inserts),
        ] {
            let done = match sql {
                Some(sql) if expected > 0 => self.session.execute(&sql, &[]),
                _ => Ok(0),
            };
            match done {
                Ok(done) if done == expected => {}
                Ok(_) => {
                    let message = "a record that changed is not in its table";
                    return Err(changed_by_hand(message, table));
                }
                Err(error) if is(&error, &SqlState::UNIQUE_VIOLATION) => {
                    let message = "a record that is new is in its table already";
                    return Err(changed_by_hand(message, table).with_source(failed(error)));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

impl Database for Postgres {
    fn id(&self) -> &str {
        &self.session.id
    }

    fn place(&self) -> String {
        self.session.to_string()
    }

    fn names(&self) -> &'static Names {
        &NAMES
    }

    /// A connection that was lost is made again; what the database lacks is sent again.
    fn begin(&mut self) -> Result<()> {
        self.abandon();
        self.session.ensure()
    }

    fn claim(&mut self, dataset: &DatasetId) -> Result<()> {
        // What others commit is seen by the next statement, so all that comes after the lock.
        self.begin_transaction("READ COMMITTED")?;
        catalog::claim(&self.session, dataset)
    }

    fn freeze(&mut self) -> Result<()> {
        self.begin_transaction("REPEATABLE READ READ ONLY")
    }

    fn line(&mut self, dataset: &DatasetId) -> Result<Option<Line>> {
        catalog::line(&self.session, dataset)
    }

    fn name_of(&mut self, dataset: &DatasetId) -> Result<Option<String>> {
        catalog::name_of(&self.session, dataset)
    }

    fn is_taken(&mut self, name: &str) -> Result<bool> {
        catalog::is_taken(&self.session, name)
    }

    fn record(&mut self, dataset: &DatasetId, line: &Line) -> Result<()> {
        catalog::record(&self.session, dataset, line)
    }

    fn start_load(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        held: Option<&Table>,
    ) -> Result<()> {
        let (table, held) = if let Some(held) = held {
            let (table, added) = held.reshaped(&NAMES, schema);
            (table, Some((held.clone(), added)))
        } else {
            let name = table_name(self, dataset)?;
            (Table::new(&NAMES, &name, schema), None)
        };
        let (sql, into) = if held.is_some() {
            (table::create_staging(&table, false), STAGING.to_owned())
        } else {
            let name = self.session.table(&table.name);
            (table::create(&self.session, &table, dataset), name)
        };
        let rows = self
            .session
            .run(&sql)
            .and_then(|()| CopyIn::begin(&self.session, &into, None, Field::all(&table)))
            .map_err(|error| load_failed(error, &table))?;
        self.work = Work::Load(Load { table, held, rows });
        Ok(())
    }

    fn load(&mut self, rows: &[&Row]) -> Result<()> {
        let Work::Load(load) = &mut self.work else {
            return Err(misplaced());
        };
        rows.iter()
            .try_for_each(|row| load.rows.row(&self.session, 0, row))
            .map_err(|error| load_failed(error, &load.table))
    }

    /// Nobody waits for the locks that a load holds: others do not see its table.
    fn pause(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish_load(&mut self, dataset: &DatasetId, expected: (u64, Digest)) -> Result<Table> {
        let Work::Load(load) = std::mem::replace(&mut self.work, Work::Nothing) else {
            return Err(misplaced());
        };
        let Load { table, held, rows } = load;
        rows.finish(&self.session)
            .map_err(|error| load_failed(error, &table))?;
        match &held {
            Some((held, added)) => self.merge(&table, held, added)?,
            None => self
                .session
                .run(&table::create_key(&self.session, &table))
                .map_err(|error| load_failed(error, &table))?,
        }
        let schema = &table.schema;
        let found = tally(|each| copy::read(&self.session, &table, schema, each))?;
        if found != expected {
            return Err(differs(
                ErrorKind::Sink,
                dataset,
                &table.name,
                found.0,
                expected.0,
            ));
        }
        // The server would do it some time, and plan the next cycle's statements for no rows until then.
        self.run(&format!("ANALYZE {}", self.session.table(&table.name)))?;
        Ok(table)
    }

    fn start_changes(&mut self, _: &Table) -> Result<()> {
        self.work = Work::Changes(Changes::default());
        Ok(())
    }

    fn change(&mut self, table: &Table, events: &[ChangeEvent]) -> Result<()> {
        let Work::Changes(changes) = &mut self.work else {
            return Err(misplaced());
        };
        let failed = |error| failed(error, "can't send the changes").with("table", &table.name);
        let rows = match &mut changes.rows {
            Some(rows) => rows,
            none => {
                if !changes.is_staged {
                    let staging = table::create_staging(table, true);
                    self.session.run(&staging).map_err(failed)?;
                    changes.is_staged = true;
                }
                let rows = CopyIn::begin(&self.session, STAGING, Some(CHANGE), Field::all(table));
                none.insert(rows.map_err(failed)?)
            }
        };
        for event in events {
            let (mark, row, count) = match &event.change {
                Change::Insert { after } => (INSERT, after, &mut changes.inserts),
                Change::Update { after, .. } => (UPDATE, after, &mut changes.updates),
                Change::Delete { before } => (DELETE, before, &mut changes.deletes),
                Change::Truncate { .. } | Change::SnapshotComplete { .. } => {
                    return Err(misplaced());
                }
            };
            *count += 1;
            rows.row(&self.session, mark as u8, row).map_err(failed)?;
        }
        Ok(())
    }

    fn add_columns(&mut self, table: &Table, added: &[usize]) -> Result<()> {
        let Work::Changes(changes) = &mut self.work else {
            return Err(misplaced());
        };
        let failed = |error| failed(error, "can't add a column").with("table", &table.name);
        if let Some(rows) = changes.rows.take() {
            rows.finish(&self.session).map_err(failed)?;
        }
        let held = Some((self.session.table(&table.name), true));
        let staging = changes.is_staged.then(|| (STAGING.to_owned(), false));
        for (name, rules) in held.into_iter().chain(staging) {
            if let Some(sql) = table::add_columns(&name, table, added, rules) {
                self.session.run(&sql).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn finish_changes(&mut self, table: &Table) -> Result<()> {
        let Work::Changes(mut changes) = std::mem::replace(&mut self.work, Work::Nothing) else {
            return Err(misplaced());
        };
        if let Some(rows) = changes.rows.take() {
            rows.finish(&self.session).map_err(|error| {
                failed(error, "can't send the changes").with("table", &table.name)
            })?;
        }
        if changes.is_staged {
            self.apply(table, &changes)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        table: &Table,
        schema: &Arc<Schema>,
        each: &mut dyn FnMut(&Batch),
    ) -> Result<()> {
        copy::read(&self.session, table, schema, each)
    }

    fn commit(&mut self) -> Result<()> {
        self.session
            .run("COMMIT")
            .map_err(|error| failed(error, "can't commit a cycle"))?;
        self.began = false;
        Ok(())
    }

    fn abandon(&mut self) {
        // Rows on their way are cut off before the transaction is.
        self.work = Work::Nothing;
        if std::mem::take(&mut self.began) {
            // If this fails the connection is lost, and the transaction with it.
            let _ = self.session.run("ROLLBACK");
        }
    }

    fn log_sync(&mut self, entry: &SyncEntry) -> Result<()> {
        log::sync(&self.session, entry)
    }

    fn log_process(&mut self, entry: &ProcessEntry) -> Result<()> {
        log::process(&self.session, entry)
    }
}

/// The order of [`Database`] was not kept.
fn misplaced() -> Error {
    refused("a piece of work that does not belong there")
}

fn load_failed(error: tokio_postgres::Error, table: &Table) -> Error {
    failed(error, "a full load failed").with("table", &table.name)
}

/// The columns of a table can't become what they are to be.
fn in_the_way(error: tokio_postgres::Error, table: &Table) -> Error {
    let message = if is(&error, &SqlState::DEPENDENT_OBJECTS_STILL_EXIST) {
        "the data set's columns changed, and something that was made by hand stands on one that is \
         gone: drop or change it, and the next cycle goes on"
    } else {
        "can't change the table's columns"
    };
    failed(error, message).with("table", &table.name)
}
