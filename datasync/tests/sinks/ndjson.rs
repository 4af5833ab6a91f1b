//! A file of event lines.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    sync::Arc,
};

use connector_core::{DatasetId, RangeDigest, Result, Schema};
use connector_testkit::{SinkCheck, SinkHarness};
use datasync::NdjsonSink;
use tempfile::TempDir;

use crate::fold::fold;

struct Lines(TempDir);

impl SinkHarness for Lines {
    type Sink = NdjsonSink;

    async fn start() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> Result<NdjsonSink> {
        NdjsonSink::open(&self.0.path().join("events.ndjson")).await
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        let file = File::open(self.0.path().join("events.ndjson")).unwrap();
        fold(
            BufReader::new(file).lines().map(|line| line.unwrap()),
            id,
            schema,
        )
    }

    fn unsupported_values() -> &'static [(&'static str, &'static str)] {
        &[("JSON null", "in a line it is the same as no value")]
    }

    fn unsupported() -> &'static [(SinkCheck, &'static str)] {
        const APPENDS: &str = "lines are appended and not read again";
        &[(SinkCheck::Missing, APPENDS), (SinkCheck::Repair, APPENDS)]
    }
}

connector_testkit::sink_conformance!(Lines);
