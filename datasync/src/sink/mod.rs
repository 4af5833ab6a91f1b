//! Receivers of change events that the host can be configured with.

mod blocking;
mod identity;
mod jetstream;
mod ndjson;
mod postgres;
mod repository;
mod settings;
mod sqlite;
#[cfg(test)]
mod testing;

pub use jetstream::{JetStreamConfig, JetStreamSink};
pub use ndjson::{EVENT_SCHEMA, EventLine, NdjsonSink};
pub use postgres::{PostgresConfig, PostgresTls};
pub use repository::{ProcessEntry, Repository, SyncEntry, TableState};
pub(crate) use settings::{OpenSink, SinkSettings, configured_name};
