//! Where a data set writes its rows while it is read.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::mpsc;

use crate::{
    error::{Error, ErrorKind, Result},
    row::{Batch, RowTarget, RowWriter, Sealed},
    schema::Schema,
};

/// A batch is handed on when it holds this many bytes: large enough that the hand-over costs
/// nothing a row, small enough to stay in the processor's cache.
const BATCH_BYTES: usize = 256 << 10;

/// A reader that blocks counts its rows so many at a time.
const COUNT_ROWS: usize = 64;

/// How many full batches may wait. The await in `end` is the back-pressure.
const WAITING: usize = 4;

/// Receives the rows of one read. Checks type and null rule of each cell.
///
/// ```no_run
/// # async fn read(out: &mut connector_core::SnapshotWriter) -> connector_core::Result<()> {
/// out.row().text("PC-1").int(8).null().end().await?;
/// # Ok(())
/// # }
/// ```
pub struct SnapshotWriter {
    batch: Batch,
    next: mpsc::Sender<Batch>,
    spent: Spent,
    progress: Progress,
    bookmark: Option<String>,
    left: Left,
}

/// What a read says of itself besides its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left {
    pub(crate) bookmark: Option<String>,
    /// Rows that were not written stay as they are.
    pub(crate) keeps_rest: bool,
}

/// Batches whose rows were taken, to be filled again: their memory is there and warm.
#[derive(Clone, Default)]
struct Spent(Arc<Mutex<Vec<Batch>>>);

impl Spent {
    fn take(&self) -> Option<Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, batch: Batch) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() <= WAITING {
            spent.push(batch);
        }
    }
}

/// The other end of a [`SnapshotWriter`].
pub(crate) struct Batches {
    full: mpsc::Receiver<Batch>,
    spent: Spent,
}

impl Batches {
    /// Returns the next full batch, or none once the writer is gone.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        self.full.recv().await
    }

    /// The same for code that blocks.
    pub(crate) fn blocking_next(&mut self) -> Option<Batch> {
        self.full.blocking_recv()
    }

    /// Gives a batch back that nobody needs any more.
    pub(crate) fn give_back(&self, batch: Batch) {
        self.spent.put(batch);
    }
}

/// How far a read is, for watchers: limits, logs, progress bars. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Returns how many rows were written.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Relaxed)
    }

    /// Returns how many bytes they take as rows.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    fn advance(&self, rows: usize, bytes: usize) {
        self.0.rows.fetch_add(rows as u64, Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl SnapshotWriter {
    /// Makes a writer and the other end, which ends when the writer is finished or dropped.
    pub(crate) fn channel(schema: Arc<Schema>) -> (Self, Batches) {
        Self::with_progress(schema, Progress::default(), None)
    }

    pub(crate) fn with_progress(
        schema: Arc<Schema>,
        progress: Progress,
        bookmark: Option<String>,
    ) -> (Self, Batches) {
        let (next, full) = mpsc::channel(WAITING);
        let spent = Spent::default();
        let writer = Self {
            batch: Batch::new(schema),
            next,
            spent: spent.clone(),
            progress,
            bookmark,
            left: Left::default(),
        };
        (writer, Batches { full, spent })
    }

    /// Returns the columns that rows must have.
    pub fn schema(&self) -> &Arc<Schema> {
        self.batch.schema()
    }

    /// Returns a handle that tells how far this read is.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Returns what the last committed read of the data set [left](Self::leave_bookmark). None for a
    /// read that has to be whole: the first, a clean one, one with other columns, one after a cycle
    /// that is held.
    pub fn bookmark(&self) -> Option<&str> {
        self.bookmark.as_deref()
    }

    /// Leaves something for the next read: up to when the source was read, say. It is committed
    /// together with the rows, and gone after a read that leaves nothing.
    pub fn leave_bookmark(&mut self, bookmark: impl Into<String>) {
        self.left.bookmark = Some(bookmark.into());
    }

    /// Says that this read writes only what changed since its [bookmark](Self::bookmark): rows that
    /// it does not write stay as they are. What is deleted at the source only a whole read can tell,
    /// so one is due now and then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when there is no bookmark: the read has to be whole.
    pub fn keep_rest(&mut self) -> Result<()> {
        if self.bookmark.is_none() {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "a read that has to be whole was to be of changes only",
            ));
        }
        self.left.keeps_rest = true;
        Ok(())
    }

    /// Starts a row; `end().await` finishes it. A row that was started and not ended is dropped.
    pub fn row(&mut self) -> RowWriter<'_, Self> {
        RowWriter::start(self)
    }

    /// Hands on rows that were written elsewhere: by several tasks at once, or held back until a
    /// part of the read was known to be whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the batch has other columns; [`ErrorKind::Cancelled`] when
    /// the read was stopped.
    pub async fn batch(&mut self, batch: Batch) -> Result<()> {
        if batch.schema() != self.schema() {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "a batch of other columns than the read's was handed on",
            ));
        }
        self.flush().await?;
        if batch.is_empty() {
            return Ok(());
        }
        self.progress.advance(batch.len(), batch.byte_len());
        self.next.send(batch).await.map_err(|_| stopped())
    }

    /// Runs a read that blocks (files, a parser) on a thread where that is allowed.
    ///
    /// When the future is dropped, the closure's next full batch fails and so ends it.
    ///
    /// # Errors
    ///
    /// What the closure returns; [`ErrorKind::Unexpected`] when it panics.
    ///
    /// ```no_run
    /// # async fn read(out: &mut connector_core::SnapshotWriter) -> connector_core::Result<()> {
    /// out.blocking(|out| {
    ///     for name in ["PC-1", "PC-2"] {
    ///         out.row().text(name).end()?;
    ///     }
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    pub async fn blocking<F>(&mut self, read: F) -> Result<()>
    where
        F: FnOnce(&mut BlockingWriter) -> Result<()> + Send + 'static,
    {
        let abandoned = Abandoned::default();
        let mut writer = BlockingWriter {
            batch: self.batch.next(None),
            next: self.next.clone(),
            spent: self.spent.clone(),
            progress: self.progress.clone(),
            counted: (0, 0),
            abandoned: Arc::clone(&abandoned.0),
        };
        self.flush().await?;
        let task = tokio::task::spawn_blocking(move || {
            let outcome = read(&mut writer);
            writer.count();
            (writer.batch, outcome)
        });
        let (batch, outcome) = task.await.map_err(panicked)?;
        // Rows of a last, partly filled batch go on being filled from here.
        self.batch = batch;
        outcome
    }

    async fn flush(&mut self) -> Result<()> {
        let batch = self.batch.next(self.spent.take());
        let full = std::mem::replace(&mut self.batch, batch);
        if full.is_empty() {
            return Ok(());
        }
        self.next.send(full).await.map_err(|_| stopped())
    }

    /// Hands on the last rows.
    pub(crate) async fn finish(mut self) -> Result<Left> {
        self.flush().await?;
        Ok(self.left)
    }
}

/// Nobody takes rows any more: the diff failed, or the cycle was dropped.
fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the read was stopped")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` calls"
)]
pub(crate) fn panicked(error: tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        return stopped();
    }
    Error::new(
        ErrorKind::Unexpected,
        "a thread panicked; its message is on standard error",
    )
}

impl Sealed for SnapshotWriter {}

impl RowTarget for SnapshotWriter {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl RowWriter<'_, SnapshotWriter> {
    /// Ends the row and waits while the reader of rows is behind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming column and row when a cell was wrong, missing or too many: the
    /// row is dropped and the next one can go on. [`ErrorKind::Cancelled`] when the read was
    /// stopped.
    pub async fn end(&mut self) -> Result<()> {
        let before = self.target.batch.byte_len();
        self.target.batch.end_row()?;
        let after = self.target.batch.byte_len();
        self.target.progress.advance(1, after - before);
        if after < BATCH_BYTES {
            return Ok(());
        }
        self.target.flush().await
    }
}

/// The same as [`SnapshotWriter`] for code that blocks; see [`SnapshotWriter::blocking`].
pub struct BlockingWriter {
    batch: Batch,
    next: mpsc::Sender<Batch>,
    spent: Spent,
    progress: Progress,
    /// Rows and bytes of the batch that the progress knows of.
    counted: (usize, usize),
    abandoned: Arc<AtomicBool>,
}

impl BlockingWriter {
    /// Returns the columns that rows must have.
    pub fn schema(&self) -> &Arc<Schema> {
        self.batch.schema()
    }

    /// Starts a row; `end` finishes it. A row that was started and not ended is dropped.
    pub fn row(&mut self) -> RowWriter<'_, Self> {
        RowWriter::start(self)
    }

    /// Counts some rows at a time: what comes from a file comes fast, and two atomic additions
    /// a row are felt.
    fn count(&mut self) {
        let now = (self.batch.len(), self.batch.byte_len());
        self.progress
            .advance(now.0 - self.counted.0, now.1 - self.counted.1);
        self.counted = now;
    }

    fn flush(&mut self) -> Result<()> {
        self.count();
        self.counted = (0, 0);
        let batch = self.batch.next(self.spent.take());
        let full = std::mem::replace(&mut self.batch, batch);
        if self.abandoned.load(Relaxed) {
            return Err(stopped());
        }
        self.next.blocking_send(full).map_err(|_| stopped())
    }
}

impl Sealed for BlockingWriter {}

impl RowTarget for BlockingWriter {
    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

impl RowWriter<'_, BlockingWriter> {
    /// Ends the row and waits while the reader of rows is behind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming column and row when a cell was wrong, missing or too many: the
    /// row is dropped and the next one can go on. [`ErrorKind::Cancelled`] when the read was
    /// stopped.
    pub fn end(&mut self) -> Result<()> {
        self.target.batch.end_row()?;
        if self.target.batch.len().is_multiple_of(COUNT_ROWS) {
            self.target.count();
        }
        if self.target.batch.byte_len() < BATCH_BYTES {
            return Ok(());
        }
        self.target.flush()
    }
}

/// Tells the blocking side that the async side is gone.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotWriter({} rows)", self.progress.rows())
    }
}

impl fmt::Debug for BlockingWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockingWriter({} rows)", self.progress.rows())
    }
}
