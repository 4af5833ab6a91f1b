//! What the store keeps of rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    row::{Batch, RowHash, RowRef},
    schema::Schema,
};

/// What the store keeps of a data set's rows. Digests replace rows once every sink has what was
/// read; the way back takes a full load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retain {
    /// The rows: updates and deletions carry the record as it was, and a new sink is filled
    /// without asking the source.
    #[default]
    Rows,
    /// The key and a 64-bit hash of each row, for huge data sets: updates carry the record as it
    /// is, deletions the key, and a new sink makes the next cycle a full load.
    Digests,
}

impl Retain {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde calls"
    )]
    pub(crate) fn is_rows(&self) -> bool {
        *self == Self::Rows
    }
}

/// Makes the rows of a base that keeps digests.
pub(crate) struct Digester {
    row: Batch,
}

impl Digester {
    /// Takes the columns of the data set.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            row: Batch::new(Arc::new(schema.digests())),
        }
    }

    /// Returns what stands for a row of the data set.
    pub(crate) fn digest(&mut self, row: RowRef<'_>, hash: RowHash) -> RowRef<'_> {
        self.row.write_digest(row, hash);
        RowRef::new(self.row.schema(), self.row.first())
    }
}
