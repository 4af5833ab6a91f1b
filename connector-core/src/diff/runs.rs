//! Items in their order, however many there are and however they arrive.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use crate::{
    baseline::{Baseline, Entry, Item, Items, Place, SegmentKind, Storage},
    error::Result,
    schema::Schema,
};

/// So many items are sorted as soon as they are there, while they are in the processor's cache and
/// the source is still being read. The sort at the end then only merges.
const RUN: usize = 64 << 10;

/// A run in a file has at least this many items, however little memory there is.
const LEAST: usize = 256;

/// A file that goes when it is no longer needed; one that a crash leaves is swept when the data
/// set is opened.
pub(crate) struct Temporary {
    storage: Arc<dyn Storage>,
    path: String,
    kept: bool,
}

impl Temporary {
    pub(crate) fn new(baseline: &Baseline, file: &str) -> Self {
        let path = format!("{}/{file}", baseline.folder());
        Self {
            storage: Arc::clone(baseline.storage()),
            path,
            kept: false,
        }
    }
}

impl Temporary {
    /// Lets the file stay: it is finished, and a manifest is about to name it.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.storage.remove(&self.path);
        }
    }
}

/// Takes items in. Keeps up to a limit of them in memory and spills sorted runs beyond.
pub(crate) struct Runs<T> {
    name: &'static str,
    items: Vec<T>,
    /// How many of `items` are in sorted runs of [`RUN`].
    sorted: usize,
    limit: usize,
    files: Vec<RunFile<T>>,
}

struct RunFile<T> {
    items: Items<T>,
    _file: Temporary,
}

impl<T: Item> Runs<T> {
    /// Keeps up to `limit` bytes of items in memory; `name` is for files.
    pub(crate) fn new(name: &'static str, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX) / size_of::<T>();
        Self {
            name,
            items: Vec::new(),
            sorted: 0,
            limit: limit.max(LEAST),
            files: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, item: T, baseline: &Baseline, schema: &Schema) -> Result<()> {
        self.items.push(item);
        if self.items.len() - self.sorted == RUN {
            self.items[self.sorted..].sort_unstable_by_key(T::order);
            self.sorted = self.items.len();
        }
        if self.items.len() >= self.limit {
            self.spill(baseline, schema)
        } else {
            Ok(())
        }
    }

    fn sort(&mut self) {
        // This sort finds the runs and merges them.
        self.items.sort_by_key(T::order);
        self.sorted = self.items.len();
    }

    fn spill(&mut self, baseline: &Baseline, schema: &Schema) -> Result<()> {
        self.sort();
        let name = format!("{}-{}", self.name, self.files.len());
        let writer = baseline.create(SegmentKind::Base, &name, schema)?;
        let file = Temporary::new(baseline, writer.file());
        let mut index = writer.into_index()?;
        for item in self.items.drain(..) {
            index.push(item)?;
        }
        self.sorted = 0;
        let segment = baseline.open_segment(&index.finish_temporary()?)?;
        self.files.push(RunFile {
            items: segment.items(),
            _file: file,
        });
        Ok(())
    }

    /// Ends taking in.
    pub(crate) fn finish(mut self) -> Result<Sorted<T>> {
        self.sort();
        let runs = self.files.len() + 1;
        let mut sorted = Sorted {
            items: self.items,
            next: 0,
            files: self.files,
            heads: BinaryHeap::with_capacity(runs),
        };
        if runs > 1 {
            for run in 0..runs {
                sorted.refill(run)?;
            }
        }
        Ok(sorted)
    }
}

/// The next item of a run.
struct Head<T> {
    item: T,
    run: usize,
}

impl<T: Item> PartialEq for Head<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Item> Eq for Head<T> {}

impl<T: Item> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Item> Ord for Head<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let runs = || self.run.cmp(&other.run);
        self.item.order().cmp(&other.item.order()).then_with(runs)
    }
}

/// All items in order, once.
pub(crate) struct Sorted<T: Item> {
    items: Vec<T>,
    next: usize,
    files: Vec<RunFile<T>>,
    /// The next item of each run, when there is more than the one in memory.
    heads: BinaryHeap<Reverse<Head<T>>>,
}

impl<T: Item> Sorted<T> {
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<T>> {
        if self.files.is_empty() {
            self.next += 1;
            return Ok(self.items.get(self.next - 1).copied());
        }
        let Some(Reverse(head)) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(head.run)?;
        Ok(Some(head.item))
    }

    fn refill(&mut self, run: usize) -> Result<()> {
        let next = if let Some(file) = self.files.get_mut(run) {
            file.items.next()?
        } else {
            self.next += 1;
            self.items.get(self.next - 1).copied()
        };
        if let Some(item) = next {
            self.heads.push(Reverse(Head { item, run }));
        }
        Ok(())
    }
}

impl<T: Item> Iterator for Sorted<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        Self::next(self).transpose()
    }
}

impl Sorted<Entry> {
    /// Tells how many rows arrived before that place. Reads everything again: for errors.
    pub(super) fn count_before(&self, place: Place) -> Result<u64> {
        let before = self.items.iter().filter(|entry| entry.place < place);
        let mut count = before.count() as u64;
        for file in &self.files {
            let mut items = file.items.again();
            while let Some(entry) = items.next()? {
                count += u64::from(entry.place < place);
            }
        }
        Ok(count)
    }
}
