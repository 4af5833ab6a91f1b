//! What the diff compares: one small entry a row, in the order of key hashes.

use super::place::Place;
use crate::row::{KeyHash, RowHash};

/// Stands for one row: which key, which content, where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: KeyHash,
    pub(crate) row: RowHash,
    pub(crate) place: Place,
}

/// A thing of fixed size that is sorted, and written to a file where memory ends.
pub(crate) trait Item: Copy {
    /// What it is sorted by.
    type Order: Ord;
    /// Its bytes in a file.
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;

    fn order(&self) -> Self::Order;
    fn to_bytes(self) -> Self::Bytes;
    fn from_bytes(bytes: &Self::Bytes) -> Self;
}

impl Item for Entry {
    /// By key, and among the rows of one key by arrival.
    type Order = (KeyHash, Place);
    type Bytes = [u8; 32];

    fn order(&self) -> Self::Order {
        (self.key, self.place)
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.row.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.place.0.to_le_bytes());
        bytes
    }

    #[inline]
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self {
            key: KeyHash(u128::from_le_bytes(part(bytes, 0))),
            row: RowHash(u64::from_le_bytes(part(bytes, 16))),
            place: Place(u64::from_le_bytes(part(bytes, 24))),
        }
    }
}

impl Item for Place {
    type Order = Self;
    type Bytes = [u8; 8];

    fn order(&self) -> Self {
        *self
    }

    fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    fn from_bytes(bytes: &[u8; 8]) -> Self {
        Self(u64::from_le_bytes(*bytes))
    }
}

/// The bytes of one field of an item.
#[inline]
pub(crate) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or([0; N])
}
