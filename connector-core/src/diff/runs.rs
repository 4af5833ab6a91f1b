//! Items in their order, however many there are and however they arrive.

use std::sync::Arc;

use crate::{
    baseline::{Baseline, Entry, Item, Items, Merged, Place, Run, SegmentKind, Storage},
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
        let mut runs: Vec<SortedRun<T>> = self.files.into_iter().map(SortedRun::File).collect();
        let (items, next) = (self.items, 0);
        runs.push(SortedRun::Memory { items, next });
        Merged::new(runs).map(Sorted)
    }
}

enum SortedRun<T> {
    File(RunFile<T>),
    Memory { items: Vec<T>, next: usize },
}

impl<T: Item> Run<T> for SortedRun<T> {
    #[inline]
    fn next(&mut self) -> Result<Option<T>> {
        match self {
            Self::File(file) => file.items.next(),
            Self::Memory { items, next } => {
                *next += 1;
                Ok(items.get(*next - 1).copied())
            }
        }
    }
}

/// All items in order, once.
pub(crate) struct Sorted<T>(Merged<T, SortedRun<T>>);

impl<T: Item> Sorted<T> {
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<T>> {
        Ok(self.0.next()?.map(|(item, _)| item))
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
        let mut count = 0;
        for run in self.0.runs() {
            match run {
                SortedRun::Memory { items, .. } => {
                    let before = items.iter().filter(|entry| entry.place < place);
                    count += before.count() as u64;
                }
                SortedRun::File(file) => {
                    let mut items = file.items.again();
                    while let Some(entry) = items.next()? {
                        count += u64::from(entry.place < place);
                    }
                }
            }
        }
        Ok(count)
    }
}
