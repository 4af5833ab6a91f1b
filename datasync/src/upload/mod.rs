//! What both ends of an upload share; `docs/upload-protocol.md` says what each part is for.

mod batch;
pub(crate) mod jwt;
pub(crate) mod private;
mod protocol;

pub(crate) use batch::{BatchError, BatchWriter, Header, is_reserved, read_batch};
pub(crate) use protocol::{
    ASSERTION_TYPE, AccessToken, Commit, Committed, ENCODING, Enrol, Enrolled, LEAST_BATCH, NDJSON,
    Position, Ranges, RangesCounted, Renew, RowsFound, SETUP_LIFE, Spooled, Standing, Taken, code,
    dataset_path,
};
