//! Where a record is.

/// A record's place in a file of blocks: the block's offset (39 bits) and the offset within it (24
/// bits). A block ends with the record that fills it, so a record always *begins* early enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(super) u64);

const WITHIN: u32 = 24;

impl Place {
    /// Marks the absence of a record: a deleted key.
    pub(crate) const NONE: Self = Self(u64::MAX);

    pub(crate) fn new(block: u64, within: usize) -> Self {
        Self(block << WITHIN | within as u64)
    }

    pub(crate) fn block(self) -> u64 {
        self.0 >> WITHIN
    }

    pub(crate) fn within(self) -> usize {
        usize::try_from(self.0 & ((1 << WITHIN) - 1)).unwrap_or(usize::MAX)
    }
}
