//! The repository's own record of what was done to it: the tables `_sync_log` and `_process_log`.

use connector_core::{Counts, CycleId, DatasetId, Timestamp};

/// So many lines of each log are kept: over a year of hourly cycles of ten data sets.
pub(in crate::sink) const KEPT: i64 = 100_000;

/// How a cycle of a data set ended; one line of `_sync_log`.
#[derive(Debug, Clone)]
pub struct SyncEntry {
    /// The data set.
    pub dataset: DatasetId,
    /// The last committed cycle, if there is one.
    pub cycle: Option<CycleId>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The events that it found.
    pub counts: Counts,
    /// `synced`, `held` or `failed`.
    pub outcome: &'static str,
    /// What went wrong, with its causes.
    pub error: Option<String>,
}

/// Something that the host did; one line of `_process_log`.
#[derive(Debug, Clone)]
pub struct ProcessEntry {
    /// When it happened.
    pub at: Timestamp,
    /// `start`, `stop`, `check`, `sync`, `approve`, `reject` or `error`.
    pub action: &'static str,
    /// The connector that it was done with.
    pub connector: Option<String>,
    /// What there is to say.
    pub message: Option<String>,
}
