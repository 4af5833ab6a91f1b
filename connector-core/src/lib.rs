//! Traits, rows, snapshot diff and baseline store for inventory connectors.
//!
//! A [`Connector`] owns [`Dataset`]s; each writes all its rows into a [`SnapshotWriter`].

mod baseline;
mod budget;
mod clock;
mod commit;
mod connector;
mod copies;
mod cycle;
mod dataset;
mod decimal;
mod delivery;
mod diff;
mod error;
mod event;
mod fold;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod layer;
pub mod memory;
mod outbox;
mod repair;
mod retry;
mod row;
pub mod schema;
mod secret;
mod settings;
mod sink;
mod snapshot;
mod time;
mod value;

pub use baseline::{
    Changes, DatasetStatus, FileStorage, Held, ReadFile, Retain, Rows, Storage, Store, WriteFile,
};
pub use clock::{Clock, SystemClock};
pub use connector::{Availability, CheckReport, Connector, ConnectorInfo, DatasetCheck};
pub use copies::{Copies, DigestRows, KeyRange, RangeDigest, RangeDigests};
pub use cycle::{Cycle, CycleOptions, DatasetReport, DeleteGuard, DuplicateCounts, Outcome};
pub use dataset::{Dataset, DatasetExt, DatasetInfo};
pub use decimal::{Decimal, MAX_SCALE};
pub use error::{Error, ErrorKind, Result};
pub use event::{Change, ChangeEvent, Counts, CycleId, DatasetId, Digest};
pub use json::{JsonCells, JsonRows};
pub use retry::Retry;
pub use row::{Batch, Key, KeyHash, Row, RowHash, RowRef, RowTarget, RowWriter};
pub use schema::{Column, Duplicates, Gone, Schema, Type};
pub use secret::Secret;
/// For [`settings!`].
#[doc(hidden)]
pub use serde;
pub use settings::{Settings, unknown_setting};
pub use sink::{NamedSink, Sink};
pub use snapshot::{BlockingWriter, Progress, SnapshotWriter};
pub use time::{Date, LocalTimestamp, ParseError, Timestamp};
pub use uuid::Uuid;
pub use value::Value;
