//! Receivers of change events that the host can be configured with.

mod blocking;
mod identity;
mod ndjson;
mod settings;
mod sqlite;
#[cfg(test)]
mod testing;

pub use ndjson::{EVENT_SCHEMA, EventLine, NdjsonSink};
pub(crate) use settings::{OpenSink, SinkSettings, configured_name};
pub use sqlite::{ProcessEntry, SqliteSink, SyncEntry, TableState};
