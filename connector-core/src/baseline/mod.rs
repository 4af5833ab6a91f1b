//! The last committed snapshot of each data set, and the changes since.

mod block;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod live;
mod manifest;
mod merged;
mod place;
mod retain;
mod segment;
mod state;
mod storage;
mod store;

pub(crate) use index::{Entry, Item, part};
pub(crate) use live::{Layer, Layers, LiveRows, MergedIndex, Superseded};
pub(crate) use manifest::{Changes as CycleChanges, HeldCycle, Manifest};
pub(crate) use merged::{Merged, Run};
pub(crate) use place::Place;
pub(crate) use retain::Digester;
pub use retain::Retain;
pub(crate) use segment::{
    BaseRows, Items, Record, RecordCursor, RowFetcher, Segment, SegmentKind, SegmentRef,
    SegmentWriter,
};
pub(crate) use state::Baseline;
pub use storage::{FileStorage, ReadFile, Storage, WriteFile};
pub(crate) use store::blocking;
pub use store::{Changes, DatasetStatus, Held, Rows, Store};
