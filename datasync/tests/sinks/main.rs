//! What every sink must do, shown of each of them.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod fold;
mod jetstream;
mod ndjson;
mod postgres;
mod sqlite;
