//! What the diff compares: one small entry a row, in the order of key hashes.

use super::place::Place;
use crate::row::{KeyHash, RowHash};

/// Stands for one row: which key, which content, where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: KeyHash,
    pub(crate) row: RowHash,
    pub(crate) place: Place,
}

/// Bytes of an entry in a file.
pub(super) const ENTRY: usize = 32;

impl Entry {
    pub(super) fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.row.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.place.0.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let (key, rest) = bytes.split_at(16);
        let (row, place) = rest.split_at(8);
        let u64_of = |b: &[u8]| b.try_into().map_or(0, u64::from_le_bytes);
        Self {
            key: KeyHash(key.try_into().map_or(0, u128::from_le_bytes)),
            row: RowHash(u64_of(row)),
            place: Place(u64_of(place)),
        }
    }
}
