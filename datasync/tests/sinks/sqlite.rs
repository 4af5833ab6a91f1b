//! The repository in SQLite.

use std::{path::PathBuf, sync::Arc};

use connector_core::{DatasetId, Digest, RangeDigest, Result, Row, Schema, Type, Value};
use connector_testkit::SinkHarness;
use datasync::Repository;
use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use tempfile::TempDir;

struct Sqlite(TempDir);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("repository.db")
    }

    /// The table of a data set, as a person looks it up.
    fn table(&self, id: &DatasetId) -> Option<(Connection, String)> {
        let reader = Connection::open(self.path()).unwrap();
        let table = reader
            .query_row(
                "SELECT table_name FROM _dataset WHERE connector = ?1 AND dataset = ?2",
                [id.connector(), id.dataset()],
                |row| row.get(0),
            )
            .optional()
            .unwrap()?;
        Some((reader, table))
    }
}

impl SinkHarness for Sqlite {
    type Sink = Repository;

    async fn start() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> Result<Repository> {
        Repository::sqlite(&self.path()).await
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        let (reader, table) = self.table(id)?;
        let mut select = reader
            .prepare(&format!("SELECT * FROM \"{table}\""))
            .unwrap();
        let mut found = select.query([]).unwrap();
        let mut held = RangeDigest::default();
        while let Some(line) = found.next().unwrap() {
            let cell = |column: &connector_core::Column| {
                value(column.ty(), line.get_ref(column.name()).unwrap())
            };
            let values: Vec<_> = schema.columns().iter().map(cell).collect();
            let mut digest = Digest::default();
            digest.add(&Row::from_values(schema, &values).unwrap());
            held.rows += 1;
            held.digest = held.digest + digest;
        }
        Some(held)
    }

    async fn remove(&self, id: &DatasetId, name: &str) -> bool {
        let (reader, table) = self.table(id).unwrap();
        let sql = format!("DELETE FROM \"{table}\" WHERE name = ?1");
        reader.execute(&sql, [name]).unwrap() == 1
    }
}

fn value(ty: Type, cell: ValueRef<'_>) -> Value<'_> {
    match (ty, cell) {
        (_, ValueRef::Null) => Value::Null,
        (Type::Bool, ValueRef::Integer(cell)) => Value::Bool(cell == 1),
        (Type::Int, ValueRef::Integer(cell)) => Value::Int(cell),
        (Type::Float, ValueRef::Real(cell)) => Value::Float(cell),
        (Type::Bytes, ValueRef::Blob(cell)) => Value::Bytes(cell.into()),
        (ty, cell) => ty.parse(cell.as_str().unwrap()).unwrap(),
    }
}

connector_testkit::sink_conformance!(Sqlite);
