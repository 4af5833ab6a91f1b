//! The repository's own tables in PostgreSQL.

use connector_core::{DatasetId, Error, ErrorKind, Result};
use tokio_postgres::error::SqlState;

use super::{
    error::{failed, is},
    session::Session,
    value::escaped,
};
use crate::sink::repository::{Line, quote};

const FORMAT: i32 = 1;

fn io(error: tokio_postgres::Error) -> Error {
    failed(error, "can't use the table _dataset")
}

/// Returns the repository's id. Makes the repository in a schema that has none, or returns none.
pub(super) fn open(session: &Session, make: bool) -> Result<Option<String>> {
    let done = session
        .run("BEGIN")
        .map_err(|error| failed(error, "can't begin a transaction"))
        .and_then(|()| open_alone(session, make));
    // What failed leaves nothing.
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = session.run(end);
    let id = done?;
    ended.map_err(|error| failed(error, "can't make the repository"))?;
    Ok(id)
}

fn open_alone(session: &Session, make: bool) -> Result<Option<String>> {
    let wrong = |error| failed(error, "can't make the repository in the schema");
    if !make && !is_relation(session, "_repository").map_err(wrong)? {
        return Ok(None);
    }
    // Whoever else opens the schema waits.
    session
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('datasync schema ' || $1, 0))",
            &[&session.schema],
        )
        .map_err(wrong)?;
    let schema = "SELECT FROM pg_namespace WHERE nspname = $1";
    if session
        .row(schema, &[&session.schema])
        .map_err(wrong)?
        .is_none()
    {
        let sql = format!("CREATE SCHEMA {}", quote(&session.schema));
        session.run(&sql).map_err(|error| {
            failed(
                error,
                "can't make the schema; make it, and let the role create tables in it",
            )
        })?;
    }
    if !is_relation(session, "_repository").map_err(wrong)? {
        session.run(&create(session)).map_err(|error| {
            if is(&error, &SqlState::DUPLICATE_TABLE) {
                foreign().with_source(failed(error, "a name is taken"))
            } else {
                wrong(error)
            }
        })?;
    }
    let sql = format!(
        "SELECT id::text, format::integer FROM {}",
        session.table("_repository")
    );
    let found = session.row(&sql, &[]).and_then(|row| {
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .transpose()
    });
    let (id, format): (String, i32) = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Err(foreign()),
        Err(error) if is(&error, &SqlState::UNDEFINED_COLUMN) => return Err(foreign()),
        Err(error) => return Err(wrong(error)),
    };
    if format > FORMAT {
        let message = "the repository was made by a newer version of datasync";
        return Err(Error::new(ErrorKind::Sink, message).with("format", format));
    }
    Ok(Some(id))
}

fn foreign() -> Error {
    Error::new(
        ErrorKind::Sink,
        "the schema has tables of another program, called like a repository's own; give the sink a \
         schema of its own",
    )
}

fn create(session: &Session) -> String {
    format!(
        "CREATE TABLE {repository} (id text NOT NULL, format integer NOT NULL);
         INSERT INTO {repository} VALUES (gen_random_uuid(), {FORMAT});
         CREATE TABLE {dataset} (
             connector  text NOT NULL,
             dataset    text NOT NULL,
             table_name text NOT NULL UNIQUE,
             -- JSON: the data set's columns, and what each is called in the table.
             schema     text NOT NULL,
             columns    text NOT NULL,
             cycle      text NOT NULL,
             rows       bigint NOT NULL,
             digest     text NOT NULL,
             PRIMARY KEY (connector, dataset)
         );
         CREATE TABLE {sync_log} (
             id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             connector          text NOT NULL,
             dataset            text NOT NULL,
             cycle              text,
             started            timestamptz NOT NULL,
             finished           timestamptz NOT NULL,
             truncates          bigint NOT NULL,
             inserts            bigint NOT NULL,
             updates            bigint NOT NULL,
             deletes            bigint NOT NULL,
             snapshot_completes bigint NOT NULL,
             -- synced, held or failed
             outcome            text NOT NULL,
             error              text
         );
         CREATE TABLE {process_log} (
             id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             at        timestamptz NOT NULL,
             action    text NOT NULL,
             connector text,
             message   text
         )",
        repository = session.table("_repository"),
        dataset = session.table("_dataset"),
        sync_log = session.table("_sync_log"),
        process_log = session.table("_process_log"),
    )
}

/// Has nobody else deliver the data set until the transaction ends.
pub(super) fn claim(session: &Session, id: &DatasetId) -> Result<()> {
    let claimed = format!("datasync {} {id}", session.id);
    session
        .execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[&escaped(&claimed)],
        )
        .map_err(|error| {
            if is(&error, &SqlState::LOCK_NOT_AVAILABLE) {
            failed(
                error,
                "another program is delivering the same data set to this repository: two must not \
                 have a connector of one name",
            )
        } else {
            failed(error, "can't begin a delivery")
        }
        .with("data set", id)
        })?;
    Ok(())
}

pub(super) fn line(session: &Session, id: &DatasetId) -> Result<Option<Line>> {
    let sql = format!(
        "SELECT table_name, schema, columns, cycle, rows, digest FROM {}
         WHERE connector = $1 AND dataset = $2 AND EXISTS (
             SELECT FROM pg_class WHERE relname = table_name AND relkind IN ('r', 'p')
             AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $3))",
        session.table("_dataset")
    );
    let found = session.row(
        &sql,
        &[
            &escaped(id.connector()),
            &escaped(id.dataset()),
            &session.schema,
        ],
    );
    let line = |row: tokio_postgres::Row| {
        Ok(Line {
            table: row.try_get(0)?,
            schema: row.try_get(1)?,
            columns: row.try_get(2)?,
            cycle: row.try_get(3)?,
            rows: row.try_get(4)?,
            digest: row.try_get(5)?,
        })
    };
    found.and_then(|row| row.map(line).transpose()).map_err(io)
}

pub(super) fn record(session: &Session, id: &DatasetId, line: &Line) -> Result<()> {
    let sql = format!(
        "INSERT INTO {} AS held VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (connector, dataset) DO UPDATE SET
             table_name = excluded.table_name, schema = excluded.schema,
             columns = excluded.columns, cycle = excluded.cycle, rows = excluded.rows,
             digest = excluded.digest",
        session.table("_dataset")
    );
    session
        .execute(
            &sql,
            &[
                &escaped(id.connector()),
                &escaped(id.dataset()),
                &line.table,
                &line.schema,
                &line.columns,
                &line.cycle,
                &line.rows,
                &line.digest,
            ],
        )
        .map(drop)
        .map_err(io)
}

pub(super) fn name_of(session: &Session, id: &DatasetId) -> Result<Option<String>> {
    let sql = format!(
        "SELECT table_name FROM {} WHERE connector = $1 AND dataset = $2",
        session.table("_dataset")
    );
    let found = session.row(&sql, &[&escaped(id.connector()), &escaped(id.dataset())]);
    found
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(io)
}

pub(super) fn is_taken(session: &Session, name: &str) -> Result<bool> {
    let sql = format!(
        "SELECT FROM {} WHERE table_name = $1",
        session.table("_dataset")
    );
    is_relation(session, name)
        .and_then(|taken| Ok(taken || session.row(&sql, &[&name])?.is_some()))
        .map_err(io)
}

/// A table is a type too, so the name of either is taken.
fn is_relation(session: &Session, name: &str) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT WHERE EXISTS (
                   SELECT FROM pg_class WHERE relname = $2
                   AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1))
               OR EXISTS (
                   SELECT FROM pg_type WHERE typname = $2
                   AND typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1))";
    Ok(session.row(sql, &[&session.schema, &name])?.is_some())
}
