//! Conformance kit for connectors: harness, faults, model, canary, crashing storage.
//!
//! A connector's author implements [`Harness`] over a source that the kit can fill and break, and
//! gets a test of every [`Check`] from one call of [`conformance!`]. The crate's README shows how.

mod browser;
mod canary;
mod certificate;
mod check;
mod clock;
mod conformance;
pub mod generate;
#[cfg(feature = "http")]
pub mod graph;
mod harness;
pub mod http;
mod model;
pub mod peer;
#[cfg(feature = "http")]
pub mod servicenow;
mod sink;
mod sinks;
mod storage;
pub mod tds;
pub mod workspace;

pub use browser::{BrowserAnswer, SqlBrowser};
pub use canary::{Canary, Listener, printed};
pub use certificate::{Authority, Certificate};
pub use check::{Check, Failure, Verdict, run};
pub use clock::ManualClock;
pub use conformance::assert_conforms;
pub use harness::{Fault, FaultKind, Harness, Subject, Unsupported, Values, read_by_key};
pub use model::Model;
pub use sink::{FaultySink, SinkFault};
pub use sinks::{SinkCheck, SinkHarness, assert_sink_conforms};
pub use storage::{CrashStorage, MemoryStorage, StorageFault, Unsynced};
