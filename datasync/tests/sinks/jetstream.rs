//! A stream of NATS JetStream.

use std::sync::Arc;

use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use connector_core::{DatasetId, RangeDigest, Result, Schema};
use connector_testkit::{SinkCheck, SinkHarness, peer::NatsServer};
use datasync::{JetStreamConfig, JetStreamSink};
use futures::StreamExt;

use crate::fold::fold;

struct Stream(NatsServer);

impl SinkHarness for Stream {
    type Sink = JetStreamSink;

    async fn start() -> Self {
        Self(NatsServer::start())
    }

    async fn open(&self) -> Result<JetStreamSink> {
        JetStreamSink::new(JetStreamConfig::new(&self.0.url()))
    }

    async fn held(&self, id: &DatasetId, schema: &Arc<Schema>) -> Option<RangeDigest> {
        let context = jetstream::new(async_nats::connect(self.0.url()).await.unwrap());
        let stream = context.get_stream("INVENTORY").await.ok()?;
        let count = stream.cached_info().state.messages;
        let consumer = stream.create_consumer(OrderedConfig::default());
        let messages = consumer.await.unwrap().messages().await.unwrap();
        let lines: Vec<_> = messages
            .take(usize::try_from(count).unwrap())
            .map(|message| String::from_utf8(message.unwrap().payload.to_vec()).unwrap())
            .collect()
            .await;
        fold(lines, id, schema)
    }

    fn unsupported_values() -> &'static [(&'static str, &'static str)] {
        &[("JSON null", "in a line it is the same as no value")]
    }

    fn unsupported() -> &'static [(SinkCheck, &'static str)] {
        // It does ask for the cycle before: its own tests show that.
        const EVENTS: &str =
            "a stream is of events, and its consumers hold the rows and their digest";
        &[(SinkCheck::Missing, EVENTS), (SinkCheck::Repair, EVENTS)]
    }
}

connector_testkit::sink_conformance!(Stream);
