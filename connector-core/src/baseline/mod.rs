//! The last committed snapshot of each data set, and the changes since.

mod storage;

pub use storage::{FileStorage, ReadFile, Storage, WriteFile};
