//! Entries in the order of key hashes, however many there are and however they arrive.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use crate::{
    baseline::{Baseline, Entry, IndexCursor, Place, SegmentKind, Storage},
    error::Result,
    schema::Schema,
};

/// So many entries are sorted as soon as they are there, while they are in the processor's cache
/// and the source is still being read. The sort at the end then only merges.
const RUN: usize = 64 << 10;

/// A run in a file has at least this many entries, however little memory there is.
const LEAST: usize = 256;

/// A file that goes when it is no longer needed; one that a crash leaves is swept when the data
/// set is opened.
pub(super) struct Temporary {
    storage: Arc<dyn Storage>,
    path: String,
    kept: bool,
}

impl Temporary {
    pub(super) fn new(baseline: &Baseline, file: &str) -> Self {
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
    pub(super) fn keep(&mut self) {
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

/// Takes entries in. Keeps up to a limit of them in memory and spills sorted runs beyond.
pub(crate) struct Runs {
    entries: Vec<Entry>,
    /// How many of `entries` are in sorted runs of [`RUN`].
    sorted: usize,
    limit: usize,
    files: Vec<RunFile>,
}

struct RunFile {
    cursor: IndexCursor,
    _file: Temporary,
}

/// By key, and among the rows of one key by arrival.
fn order(entry: &Entry) -> (crate::row::KeyHash, Place) {
    (entry.key, entry.place)
}

impl Runs {
    /// Keeps up to `limit` bytes of entries in memory.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX) / size_of::<Entry>();
        Self {
            entries: Vec::new(),
            sorted: 0,
            limit: limit.max(LEAST),
            files: Vec::new(),
        }
    }

    pub(crate) fn push(
        &mut self,
        entry: Entry,
        baseline: &Baseline,
        schema: &Schema,
    ) -> Result<()> {
        self.entries.push(entry);
        if self.entries.len() - self.sorted == RUN {
            self.entries[self.sorted..].sort_unstable_by_key(order);
            self.sorted = self.entries.len();
        }
        if self.entries.len() >= self.limit {
            self.spill(baseline, schema)
        } else {
            Ok(())
        }
    }

    fn sort(&mut self) {
        // This sort finds the runs and merges them.
        self.entries.sort_by_key(order);
        self.sorted = self.entries.len();
    }

    fn spill(&mut self, baseline: &Baseline, schema: &Schema) -> Result<()> {
        self.sort();
        let name = format!("run-{}", self.files.len());
        let writer = baseline.create(SegmentKind::Base, &name, schema)?;
        let file = Temporary::new(baseline, writer.file());
        let mut index = writer.into_index()?;
        for entry in self.entries.drain(..) {
            index.push(entry)?;
        }
        self.sorted = 0;
        let segment = baseline.open_segment(&index.finish_temporary()?)?;
        self.files.push(RunFile {
            cursor: segment.index(),
            _file: file,
        });
        Ok(())
    }

    /// Ends taking in.
    pub(crate) fn finish(mut self) -> Result<Sorted> {
        self.sort();
        let mut heads = BinaryHeap::with_capacity(self.files.len() + 1);
        for (run, file) in self.files.iter_mut().enumerate() {
            if let Some(entry) = file.cursor.next()? {
                heads.push(Reverse((order(&entry), entry, run)));
            }
        }
        let mut sorted = Sorted {
            entries: self.entries,
            next: 0,
            files: self.files,
            heads,
        };
        if !sorted.heads.is_empty() {
            sorted.refill(sorted.files.len())?;
        }
        Ok(sorted)
    }
}

type Head = Reverse<((crate::row::KeyHash, Place), Entry, usize)>;

/// All entries in order, once.
pub(crate) struct Sorted {
    entries: Vec<Entry>,
    next: usize,
    files: Vec<RunFile>,
    /// The next entry of each run, when there is more than the one in memory.
    heads: BinaryHeap<Head>,
}

impl Sorted {
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        if self.files.is_empty() {
            self.next += 1;
            return Ok(self.entries.get(self.next - 1).copied());
        }
        let Some(Reverse((_, entry, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(run)?;
        Ok(Some(entry))
    }

    fn refill(&mut self, run: usize) -> Result<()> {
        let next = if let Some(file) = self.files.get_mut(run) {
            file.cursor.next()?
        } else {
            self.next += 1;
            self.entries.get(self.next - 1).copied()
        };
        if let Some(entry) = next {
            self.heads.push(Reverse((order(&entry), entry, run)));
        }
        Ok(())
    }

    /// Tells how many rows arrived before that place. Reads everything again: for errors.
    pub(super) fn count_before(&self, place: Place) -> Result<u64> {
        let before = self.entries.iter().filter(|entry| entry.place < place);
        let mut count = before.count() as u64;
        for file in &self.files {
            let mut cursor = file.cursor.again();
            while let Some(entry) = cursor.next()? {
                count += u64::from(entry.place < place);
            }
        }
        Ok(count)
    }
}
