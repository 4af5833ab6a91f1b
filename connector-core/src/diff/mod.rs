//! The difference between what is read and the baseline.
//!
//! A row that the baseline holds already is dropped as it arrives ([`Known`]); what is left is
//! *spooled*: its bytes stay where they were put, and a small entry a row (key hash, row hash,
//! place) is what gets sorted and merged with the baseline's index. Rows are fetched again only
//! for the keys that changed.

mod by_key;
mod changes;
mod full;
mod known;
mod merge;
mod ordered;
mod runs;
mod spool;
mod table;
mod unique;

pub(crate) use by_key::{ByKey, KeyOrder};
pub(crate) use changes::ChangesRead;
pub(crate) use full::{FullRead, NewBase};
pub(crate) use merge::Difference;
pub(crate) use runs::{Runs, Temporary};

use known::Known;

#[cfg(test)]
mod tests;
