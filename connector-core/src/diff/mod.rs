//! The difference between what was read and the baseline.
//!
//! Row bytes are never moved: they are *spooled* once, in the order of arrival, and a small entry
//! a row (key hash, row hash, place) is what gets sorted and merged. Rows are fetched again only
//! for the keys that changed.

mod merge;
mod runs;
mod spool;

pub(crate) use merge::{Difference, difference, write_changes};
pub(crate) use runs::Runs;
pub(crate) use spool::{Snapshot, Spool};
