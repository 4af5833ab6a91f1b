//! Conformance kit for connectors: harness, faults, model, canary, crashing storage.

mod clock;
mod sink;
mod storage;

pub use clock::ManualClock;
pub use sink::{FaultySink, SinkFault};
pub use storage::{CrashStorage, MemoryStorage, Unsynced};
