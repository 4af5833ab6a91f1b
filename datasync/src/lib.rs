//! The host of inventory connectors: configuration, schedule, sinks, logs and a command line.

mod config;
mod sink;

pub use sink::{
    EVENT_SCHEMA, EventLine, NdjsonSink, ProcessEntry, SqliteSink, SyncEntry, TableState,
};
