//! An upload is a sink like any other.

use std::sync::Arc;

use connector_core::{DatasetId, RangeDigest, Result, Schema};
use connector_testkit::SinkHarness;

use super::{Lab, Running};
use crate::sink::UploadSink;

struct Upload {
    lab: Lab,
    running: Running,
}

impl SinkHarness for Upload {
    type Sink = UploadSink;

    async fn start() -> Self {
        let lab = Lab::new("rate = 100000");
        let running = lab.start().await;
        // The setup token is used once, here; every sender goes on from there.
        let mut first = lab.enrolling(&running, "sender").await;
        let id = DatasetId::new("lab", "none");
        let none = Schema::new(vec![connector_core::schema::text("name").key()]).unwrap();
        let copies = connector_core::Sink::copies(&mut first).unwrap();
        let asked = copies.digests(&id, &Arc::new(none), &[]).await;
        assert_eq!(asked.unwrap(), None);
        Self { lab, running }
    }

    async fn open(&self) -> Result<UploadSink> {
        let proof = "auth_service_url = '$URL/auth'";
        Ok(self.lab.sender(&self.running, "sender", proof).await)
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        self.lab.held("acme.db", id, schema).await
    }

    async fn remove(&self, id: &DatasetId, name: &str) -> bool {
        let reader = rusqlite::Connection::open(self.lab.path("acme.db")).unwrap();
        let table: String = reader
            .query_row(
                "SELECT table_name FROM _dataset WHERE connector = ?1 AND dataset = ?2",
                [id.connector(), id.dataset()],
                |row| row.get(0),
            )
            .unwrap();
        let sql = format!("DELETE FROM \"{table}\" WHERE name = ?1");
        reader.execute(&sql, [name]).unwrap() == 1
    }

    /// Both ends are in the test's process, and the repository behind them.
    fn memory() -> u64 {
        128 << 20
    }
}

connector_testkit::sink_conformance!(Upload);
