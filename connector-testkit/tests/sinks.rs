//! The kit's checks of sinks, over the sink that is so simple that it can't be wrong.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use connector_core::{
    Copies, DatasetId, KeyRange, RangeDigest, Result, Schema, memory::MemorySink,
};
use connector_testkit::{SinkCheck, SinkHarness};

struct InMemory(MemorySink);

impl SinkHarness for InMemory {
    type Sink = MemorySink;

    async fn start() -> Self {
        Self(MemorySink::default())
    }

    async fn open(&self) -> Result<MemorySink> {
        Ok(self.0.clone())
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        let held = self.0.clone().digests(id, schema, &[KeyRange::ALL]).await;
        held.unwrap().map(|whole| whole[0])
    }

    async fn remove(&self, id: &DatasetId, name: &str) -> bool {
        let rows = self.0.rows(id);
        let row = rows.iter().find(|row| row.at(0).to_string() == name);
        self.0.lose(id, &row.unwrap().key());
        true
    }

    fn unsupported() -> &'static [(SinkCheck, &'static str)] {
        &[(SinkCheck::Memory, "it keeps everything in memory")]
    }
}

connector_testkit::sink_conformance!(InMemory);
