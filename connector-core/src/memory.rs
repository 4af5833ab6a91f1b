//! The connector and the sink that live in memory: the reference implementations.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    connector::{Availability, CheckReport, Connector, ConnectorInfo, DatasetCheck},
    copies::{Copies, DigestRows, KeyRange, RangeDigest, RangeDigests},
    dataset::{Dataset, DatasetExt, DatasetInfo},
    error::{Error, ErrorKind, Result},
    event::{Change, ChangeEvent, CycleId, DatasetId, Digest},
    row::{Batch, Key, Row},
    schema::Schema,
    sink::Sink,
    snapshot::SnapshotWriter,
    value::Value,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole after each statement, so a panic elsewhere does not matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connector whose source is memory.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{
///     Connector, DatasetExt, Value,
///     memory::{MemoryConnector, MemoryDataset},
///     schema::{Declared, int, text},
/// };
///
/// const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores")]);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> connector_core::Result<()> {
/// let devices = Arc::new(MemoryDataset::new("devices", Arc::new(DEVICES.into())));
/// devices.set(vec![vec![Value::Text("PC-1".into()), Value::Int(8)]]);
/// let connector = MemoryConnector::new("lab", vec![devices]);
///
/// let dataset = connector.datasets().await?.remove(0);
/// assert_eq!(dataset.collect().await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryConnector {
    info: ConnectorInfo,
    datasets: Vec<Arc<dyn Dataset>>,
}

impl MemoryConnector {
    /// Takes the configured name and the data sets.
    pub fn new(name: &str, datasets: Vec<Arc<MemoryDataset>>) -> Self {
        Self::with_datasets(
            name,
            datasets
                .into_iter()
                .map(|d| d as Arc<dyn Dataset>)
                .collect(),
        )
    }

    /// Takes data sets of any kind.
    pub fn with_datasets(name: &str, datasets: Vec<Arc<dyn Dataset>>) -> Self {
        let info = ConnectorInfo {
            kind: "memory",
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        };
        Self { info, datasets }
    }
}

#[async_trait]
impl Connector for MemoryConnector {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        Ok(self.datasets.clone())
    }

    async fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for dataset in &self.datasets {
            report.datasets.push(DatasetCheck {
                name: dataset.name().to_owned(),
                availability: Availability::from_outcome(dataset.schema(None).await.map(drop)),
            });
        }
        Ok(report)
    }
}

/// A data set whose rows a test or an example sets.
pub struct MemoryDataset {
    info: DatasetInfo,
    content: Mutex<Content>,
}

struct Content {
    schema: Arc<Schema>,
    rows: Arc<Vec<Vec<Value<'static>>>>,
    fail_after: Option<usize>,
}

impl MemoryDataset {
    /// Makes an empty data set.
    pub fn new(name: &str, schema: Arc<Schema>) -> Self {
        let content = Content {
            schema,
            rows: Arc::default(),
            fail_after: None,
        };
        Self {
            info: DatasetInfo::named(name, "General"),
            content: Mutex::new(content),
        }
    }

    /// Replaces what the source holds.
    pub fn set(&self, rows: Vec<Vec<Value<'static>>>) {
        lock(&self.content).rows = Arc::new(rows);
    }

    /// Replaces the columns.
    pub fn set_schema(&self, schema: Arc<Schema>) {
        lock(&self.content).schema = schema;
    }

    /// Lets reads fail after that many rows, or not any more.
    pub fn set_failure(&self, after_rows: Option<usize>) {
        lock(&self.content).fail_after = after_rows;
    }
}

#[async_trait]
impl Dataset for MemoryDataset {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        Ok(Arc::clone(&lock(&self.content).schema))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let (rows, fail_after) = {
            let content = lock(&self.content);
            (Arc::clone(&content.rows), content.fail_after)
        };
        for (count, values) in rows.iter().enumerate() {
            if fail_after == Some(count) {
                break;
            }
            let mut row = out.row();
            for value in values {
                row.value(value);
            }
            row.end().await?;
        }
        match fail_after {
            Some(_) => Err(Error::new(
                ErrorKind::Unavailable,
                "the source failed as it was told to",
            )),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for MemoryDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDataset")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// A sink that keeps the records in memory, with all that a sink can promise: repeats change
/// nothing, a reader never sees half a cycle, and the digest is checked at the end of each.
///
/// All clones are the same sink.
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    copies: BTreeMap<DatasetId, Copy>,
    staged: Option<Staged>,
    events: Vec<ChangeEvent>,
}

struct Copy {
    cycle: CycleId,
    rows: BTreeMap<Key, Row>,
}

struct Staged {
    dataset: DatasetId,
    cycle: CycleId,
    /// Already committed: the events are a repeat.
    repeat: bool,
    next_seq: u64,
    complete: bool,
    rows: BTreeMap<Key, Row>,
    events: Vec<ChangeEvent>,
}

impl MemorySink {
    /// Returns the records of a data set in key order.
    pub fn rows(&self, dataset: &DatasetId) -> Vec<Row> {
        lock(&self.0)
            .copies
            .get(dataset)
            .map(|c| c.rows.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns the last cycle of a data set that was committed here.
    pub fn cycle(&self, dataset: &DatasetId) -> Option<CycleId> {
        lock(&self.0).copies.get(dataset).map(|copy| copy.cycle)
    }

    /// Returns the committed events since the last call, repeats left out.
    pub fn take_events(&self) -> Vec<ChangeEvent> {
        std::mem::take(&mut lock(&self.0).events)
    }

    /// Forgets everything, as a repository does whose file was deleted.
    pub fn clear(&self) {
        *lock(&self.0) = Inner::default();
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}

impl Inner {
    fn begin(&mut self, event: &ChangeEvent) -> Result<Staged> {
        let held = self.copies.get(&event.dataset);
        let repeat = held.is_some_and(|copy| copy.cycle == event.cycle && !event.cycle.is_repair());
        let follows = held.is_some_and(|copy| {
            copy.cycle.number() + 1 == event.cycle.number() || event.cycle.is_repair()
        });
        if !repeat && !follows && !event.cycle.is_full() {
            return Err(Error::new(
                ErrorKind::Incomplete,
                "the cycle before this one is missing",
            )
            .with("data set", &event.dataset)
            .with("cycle", event.cycle));
        }
        Ok(Staged {
            dataset: event.dataset.clone(),
            cycle: event.cycle,
            repeat,
            next_seq: 1,
            complete: false,
            rows: held.map(|copy| copy.rows.clone()).unwrap_or_default(),
            events: Vec::new(),
        })
    }
}

impl Staged {
    /// Gives the copy the columns that the data set has now; new ones are null.
    fn widen(&mut self, schema: &Arc<Schema>) -> Result<()> {
        if self
            .rows
            .values()
            .next()
            .is_some_and(|row| !row.schema().same_rows(schema))
        {
            for row in self.rows.values_mut() {
                *row = row.recode(schema)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq
            || event.cycle != self.cycle
            || event.dataset != self.dataset
            || self.complete
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        self.next_seq += 1;
        self.complete = matches!(event.change, Change::SnapshotComplete { .. });
        if self.repeat {
            return Ok(());
        }
        match &event.change {
            Change::Insert { after: row } | Change::Update { after: row, .. } => {
                self.widen(row.schema())?;
            }
            // The only rows of a cycle may be those that are gone.
            Change::Delete { before } => self.widen(before.record_schema())?,
            Change::Truncate { .. } | Change::SnapshotComplete { .. } => {}
        }
        let found = match &event.change {
            Change::Truncate { .. } => {
                self.rows.clear();
                true
            }
            Change::Insert { after } => self.rows.insert(after.key(), after.clone()).is_none(),
            Change::Update { before, after } => {
                let old = self.rows.insert(after.key(), after.clone());
                old.is_some_and(|old| alike(&old, before))
            }
            Change::Delete { before } => self
                .rows
                .remove(&before.key())
                .is_some_and(|old| alike(&old, before)),
            Change::SnapshotComplete { rows, digest } => {
                let mut own = Digest::default();
                self.rows.values().for_each(|row| own.add(row));
                *rows == self.rows.len() as u64 && *digest == own
            }
        };
        if !found {
            let kind = event.change.kind();
            let lacks = if self.cycle.is_full() {
                ErrorKind::Sink
            } else {
                ErrorKind::Incomplete
            };
            return Err(Error::new(lacks, "the event does not fit the copy")
                .with("kind", kind)
                .with("seq", event.seq));
        }
        self.events.push(event.clone());
        Ok(())
    }
}

/// Equal but for volatile columns, whose moves are not sent.
fn alike(a: &Row, b: &Row) -> bool {
    crate::row::RowHash::of(a.as_ref()) == crate::row::RowHash::of(b.as_ref())
}

#[async_trait]
impl Sink for MemorySink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let mut inner = lock(&self.0);
        for event in events {
            if event.seq == 1 {
                inner.staged = None;
                inner.staged = Some(inner.begin(event)?);
            }
            match &mut inner.staged {
                Some(staged) => staged.apply(event)?,
                None => return Err(refused("an event without a beginning")),
            }
        }
        Ok(())
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let mut inner = lock(&self.0);
        let staged = inner.staged.take();
        let Some(staged) = staged.filter(|staged| staged.complete && staged.cycle == *cycle) else {
            return Err(refused("a commit of a cycle that is not complete"));
        };
        if !staged.repeat {
            inner.events.extend(staged.events);
            let copy = Copy {
                cycle: staged.cycle,
                rows: staged.rows,
            };
            inner.copies.insert(staged.dataset, copy);
        }
        Ok(())
    }

    fn copies(&mut self) -> Option<&mut dyn Copies> {
        Some(self)
    }
}

impl MemorySink {
    /// Puts a row into the sink's copy of a data set, as somebody does who changes it by hand.
    pub fn tamper(&self, dataset: &DatasetId, row: &Row) {
        if let Some(copy) = lock(&self.0).copies.get_mut(dataset) {
            copy.rows.insert(row.key(), row.clone());
        }
    }

    /// Removes the row of that key from the sink's copy of a data set.
    pub fn lose(&self, dataset: &DatasetId, key: &Key) {
        if let Some(copy) = lock(&self.0).copies.get_mut(dataset) {
            copy.rows.remove(key);
        }
    }

    /// The copy as rows of a schema.
    fn held(&self, dataset: &DatasetId, schema: &Arc<Schema>) -> Result<Option<Batch>> {
        let inner = lock(&self.0);
        let Some(copy) = inner.copies.get(dataset) else {
            return Ok(None);
        };
        let mut batch = Batch::new(Arc::clone(schema));
        for row in copy.rows.values() {
            if !row.schema().extends_to(schema) {
                return Ok(None);
            }
            let row = row.recode(schema)?;
            let mut writer = batch.row();
            for value in row.as_ref().values() {
                writer.value(&value);
            }
            writer.end()?;
        }
        Ok(Some(batch))
    }
}

#[async_trait]
impl Copies for MemorySink {
    async fn digests(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>> {
        Ok(self.held(dataset, schema)?.map(|batch| {
            let mut digests = RangeDigests::new(ranges);
            digests.add_batch(&batch);
            digests.finish()
        }))
    }

    async fn rows(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<Row>> {
        let mut rows = DigestRows::new(schema, ranges);
        if let Some(batch) = self.held(dataset, schema)? {
            rows.add_batch(&batch);
        }
        Ok(rows.finish())
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySink({} data sets)", lock(&self.0).copies.len())
    }
}
