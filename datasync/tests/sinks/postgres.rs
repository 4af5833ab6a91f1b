//! The repository in PostgreSQL.

use std::sync::Arc;

use connector_core::{Column, DatasetId, Digest, RangeDigest, Result, Row, Schema, Type, Value};
use connector_testkit::{
    SinkHarness,
    peer::{PostgresDatabase, PostgresPeer},
};
use datasync::{PostgresConfig, PostgresTls, Repository};
use futures::{StreamExt, pin_mut};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

struct Postgres(PostgresDatabase<'static>);

impl Postgres {
    async fn reader(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.0.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("SET timezone = 'UTC'").await.unwrap();
        client
    }

    /// The table of a data set, as a person looks it up.
    async fn table(&self, reader: &Client, id: &DatasetId) -> Option<String> {
        let sql = "SELECT table_name FROM _dataset WHERE connector = $1 AND dataset = $2";
        let (connector, dataset) = (id.connector(), id.dataset());
        let line = reader.query_opt(sql, &[&connector, &dataset]).await;
        line.unwrap().map(|line| line.get(0))
    }
}

impl SinkHarness for Postgres {
    type Sink = Repository;

    async fn start() -> Self {
        Self(PostgresPeer::shared().database())
    }

    async fn open(&self) -> Result<Repository> {
        let mut config = PostgresConfig::new(self.0.url());
        config.sslmode = Some(PostgresTls::Disable);
        Repository::postgres(config).await
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        let reader = self.reader().await;
        let table = self.table(&reader, id).await?;
        let sql = format!("SELECT * FROM \"{table}\"");
        let found = reader.simple_query_raw(&sql).await.unwrap();
        pin_mut!(found);
        let mut held = RangeDigest::default();
        while let Some(line) = found.next().await {
            let SimpleQueryMessage::Row(line) = line.unwrap() else {
                continue;
            };
            let columns = schema.columns().iter();
            let values: Vec<_> = columns.map(|column| value(column, &line)).collect();
            let mut digest = Digest::default();
            digest.add(&Row::from_values(schema, &values).unwrap());
            held.rows += 1;
            held.digest = held.digest + digest;
        }
        Some(held)
    }

    async fn remove(&self, id: &DatasetId, name: &str) -> bool {
        let reader = self.reader().await;
        let table = self.table(&reader, id).await.unwrap();
        let sql = format!("DELETE FROM \"{table}\" WHERE name = $1");
        reader.execute(&sql, &[&name]).await.unwrap() == 1
    }
}

/// Reads a cell as the documentation of the sink tells people to.
fn value(column: &Column, line: &SimpleQueryRow) -> Value<'static> {
    let Some(cell) = line.get(column.name()) else {
        return Value::Null;
    };
    let ty = column.ty();
    let text = match ty {
        Type::Bool => cell.replace('t', "true").replace('f', "false"),
        Type::Bytes => {
            let digits = cell.strip_prefix("\\x").unwrap().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16);
            let bytes: Vec<u8> = digits.chunks(2).map(|pair| byte(pair).unwrap()).collect();
            return Value::Bytes(bytes.into());
        }
        Type::Text => {
            let (mut text, mut chars) = (String::new(), cell.chars());
            while let Some(c) = chars.next() {
                text.push(match c {
                    '␀' => '\0',
                    '␛' => chars.next().unwrap(),
                    c => c,
                });
            }
            return Value::Text(text.into());
        }
        Type::Timestamp | Type::LocalTimestamp => {
            let rest = line.get(&*format!("{}_100ns", column.name())).unwrap();
            let (cell, zone) = match cell.strip_suffix("+00") {
                Some(cell) => (cell, "Z"),
                None => (cell, ""),
            };
            let (seconds, fraction) = cell.split_once('.').unwrap_or((cell, ""));
            format!("{seconds}.{fraction:0<6}{rest}{zone}")
        }
        Type::Float => cell.replace("Infinity", "inf"),
        _ => cell.to_owned(),
    };
    ty.parse(&text).unwrap().into_owned()
}

connector_testkit::sink_conformance!(Postgres);
