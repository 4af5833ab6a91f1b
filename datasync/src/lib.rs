//! The host of inventory connectors: configuration, schedule, sinks, logs and a command line.
//!
//! The program is [`run`]; the sinks stand on their own for whoever embeds a connector.

mod cli;
mod command;
mod config;
mod connectors;
mod console;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod host;
mod metrics;
mod output;
mod receive;
mod schedule;
mod sink;
mod stop;
mod upload;

pub use cli::run;
pub use sink::{
    EVENT_SCHEMA, EventLine, JetStreamConfig, JetStreamSink, NdjsonSink, PostgresConfig,
    PostgresTls, ProcessEntry, Repository, SyncEntry, TableState,
};
