//! What loads rows into PostgreSQL.

use std::path::Path;

use connector_core::Result as CoreResult;
use datasync::{PostgresConfig, PostgresTls, Repository};
use tokio_postgres::{NoTls, types::ToSql};

use crate::Result;

/// Opens a repository as a host does, but that nobody listens in on a connection to oneself.
pub(crate) async fn open(url: String) -> CoreResult<Repository> {
    let mut config = PostgresConfig::new(url);
    config.sslmode = Some(PostgresTls::Disable);
    Repository::postgres(config).await
}

/// Inserts the rows of a file one after the other.
pub(crate) async fn insert(file: &Path, url: &str) -> Result<u64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let mut reader = csv::Reader::from_path(file)?;
    let quote = |name: &str| format!("\"{name}\"");
    let columns: Vec<String> = reader.headers()?.iter().map(quote).collect();
    let table = format!(
        "BEGIN; CREATE TABLE software ({} text)",
        columns.join(" text, ")
    );
    client.batch_execute(&table).await?;
    let places: Vec<_> = (1..=columns.len())
        .map(|place| format!("${place}"))
        .collect();
    let insert = format!("INSERT INTO software VALUES ({})", places.join(", "));
    let insert = client.prepare(&insert).await?;
    let mut record = csv::StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut record)? {
        let cells: Vec<&str> = record.iter().collect();
        let cells: Vec<&(dyn ToSql + Sync)> = cells.iter().map(|cell| cell as _).collect();
        client.execute(&insert, &cells).await?;
        rows += 1;
    }
    client.batch_execute("COMMIT").await?;
    Ok(rows)
}
