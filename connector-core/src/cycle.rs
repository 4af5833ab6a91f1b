//! One pass over a data set: read, diff, commit, deliver.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use tracing::{error, info, warn};

use crate::{
    baseline::{Baseline, Held, HeldCycle, Retain, SegmentKind, Store, blocking},
    budget::Share,
    commit::{Settled, apply, changes, full},
    connector::Connector,
    dataset::{Dataset, DatasetExt},
    delivery::Delivery,
    diff::{ChangesRead, FullRead},
    error::{Error, ErrorKind, Result},
    event::{Counts, DatasetId, Digest},
    fold,
    retry::Retry,
    schema::{Gone, Schema},
    sink::NamedSink,
    snapshot::{Batches, Left, Progress, SnapshotWriter, panicked},
    time::Timestamp,
};

/// How often a read starts again when the source has forgotten it.
const RESTARTS: u32 = 5;

/// How cycles are run. Every field has a default.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CycleOptions {
    /// Bytes that all data sets of the store together keep in memory while they are compared; the
    /// rest goes to files in the state folder. What a read has in flight comes on top: some MiB a
    /// data set. Default: 256 MiB.
    pub memory: u64,
    /// How many data sets [`Cycle::run`] syncs at once. Default: 2.
    pub concurrency: usize,
    /// When a cycle is held for a person. Default: see [`DeleteGuard`].
    pub guard: DeleteGuard,
    /// How many cycles of changes are kept as history once they are delivered and folded.
    /// Default: 30.
    pub history: u32,
    /// What the store keeps of rows. Default: the rows.
    pub retain: Retain,
    /// Drop what was synced before, and load in full; also heals a damaged baseline. Default: no.
    pub clean: bool,
}

impl Default for CycleOptions {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            concurrency: 2,
            guard: DeleteGuard::default(),
            history: 30,
            retain: Retain::default(),
            clean: false,
        }
    }
}

/// Holds a cycle that would delete suspiciously much: more than `rows` records that are also more
/// than `share` of the data set, or all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteGuard {
    /// Default: 500.
    pub rows: u64,
    /// Default: 0.1, a tenth.
    pub share: f64,
    /// Hold a cycle that leaves nothing of a data set that had records. Default: yes.
    pub empty: bool,
}

impl Default for DeleteGuard {
    fn default() -> Self {
        Self {
            rows: 500,
            share: 0.1,
            empty: true,
        }
    }
}

impl DeleteGuard {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    pub(crate) fn holds(&self, before: u64, after: u64, deletes: u64) -> bool {
        let many = deletes > self.rows && deletes as f64 > self.share * before as f64;
        many || (self.empty && before > 0 && after == 0)
    }
}

/// What a cycle did with one data set.
#[derive(Debug)]
pub struct DatasetReport {
    /// Which data set.
    pub id: DatasetId,
    /// How it ended.
    pub outcome: Outcome,
    /// How many rows were read.
    pub rows: u64,
    /// How many of them were dropped for another row of their key.
    pub duplicates: DuplicateCounts,
    /// How long it took.
    pub elapsed: Duration,
    /// Sinks that failed; what they lack is sent in the next cycle.
    pub sink_errors: Vec<(String, Error)>,
}

/// Rows that were dropped because one read held several under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DuplicateCounts {
    /// An identical row was kept.
    pub identical: u64,
    /// A differing row was kept, as [`Duplicates::KeepGreatest`](crate::Duplicates) says.
    pub differing: u64,
}

impl DatasetReport {
    /// Tells whether nothing needs a person.
    pub fn is_ok(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Synced(_) | Outcome::NotCollected { .. }
        ) && self.sink_errors.is_empty()
    }
}

/// How a cycle ended for one data set.
#[derive(Debug)]
pub enum Outcome {
    /// The baseline is what the source holds. Counts the events that were sent, those of earlier
    /// cycles that had not been confirmed included.
    Synced(Counts),
    /// The delete guard stopped the cycle; a person approves or rejects it.
    Held(Held),
    /// The source does not collect the data set and never did, so there is nothing to sync: an
    /// optional inventory class that nobody switched on.
    NotCollected {
        /// Why, in words.
        reason: String,
    },
    /// The baseline is as it was.
    Failed(Error),
}

/// Runs cycles: what they store, and where events go.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::{
///     Cycle, DatasetId, NamedSink, Store, Value,
///     memory::{MemoryConnector, MemoryDataset, MemorySink},
///     schema::{Declared, int, text},
/// };
///
/// const DEVICES: Declared = Declared::new(&[text("name").key(), int("cores")]);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let devices = Arc::new(MemoryDataset::new("devices", Arc::new(DEVICES.into())));
/// devices.set(vec![vec![Value::Text("PC-1".into()), Value::Int(8)]]);
/// let connector = MemoryConnector::new("lab", vec![devices]);
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::open_folder(folder.path()).await?;
/// let sink = MemorySink::default();
/// let cycle = Cycle::new(&store).sink(NamedSink::new("copy", sink.clone()));
///
/// for report in cycle.run(&connector).await? {
///     println!("{}: {:?}", report.id, report.outcome);
/// }
/// assert_eq!(sink.rows(&DatasetId::new("lab", "devices")).len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cycle {
    store: Store,
    sinks: Vec<NamedSink>,
    options: CycleOptions,
    progress: Option<Progress>,
}

impl Cycle {
    /// Takes the store that keeps baselines and changes.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            sinks: Vec::new(),
            options: CycleOptions::default(),
            progress: None,
        }
    }

    /// Adds a sink; each has its own confirmed position.
    #[must_use]
    pub fn sink(mut self, sink: NamedSink) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Replaces the options.
    #[must_use]
    pub fn options(mut self, options: CycleOptions) -> Self {
        self.options = options;
        self
    }

    /// Counts rows and bytes as they are read, over all data sets, for whoever watches.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Runs a cycle over every data set that the connector offers, as many at once as
    /// [`CycleOptions::concurrency`] says. One that fails does not stop the others; see its report.
    ///
    /// # Errors
    ///
    /// Those of [`Connector::datasets`].
    pub async fn run(&self, connector: &dyn Connector) -> Result<Vec<DatasetReport>> {
        let datasets = connector.datasets().await?;
        let name = &connector.info().name;
        let cycles = datasets
            .iter()
            .map(|dataset| self.run_dataset(name, &**dataset));
        let reports = stream::iter(cycles).buffered(self.options.concurrency.max(1));
        Ok(reports.collect().await)
    }

    /// Runs a cycle over one data set of the connector of that name.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop at any await: the baseline is then as it was or as the cycle made it, and what
    /// was not confirmed is sent in the next cycle.
    pub async fn run_dataset(&self, connector: &str, dataset: &dyn Dataset) -> DatasetReport {
        let id = DatasetId::new(connector, dataset.name());
        info!("Syncing data set {}", dataset.name());
        let start = self.store.clock().elapsed();
        let mut restarts = 0;
        let (pass, outcome) = loop {
            let mut pass = Pass::new(self, &id);
            // A panic in one connector's code is that data set's failure.
            let outcome = AssertUnwindSafe(pass.run(dataset))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    Err(Error::new(
                        ErrorKind::Unexpected,
                        "the read panicked; its message is on standard error",
                    ))
                });
            match outcome {
                Err(error) if error.retry() == Retry::Restart && restarts < RESTARTS => {
                    restarts += 1;
                    warn!("data set {} is read again: {error:#}", dataset.name());
                }
                Err(error) if error.retry() == Retry::Restart => {
                    let error = error.with_retry(Retry::Exhausted);
                    break (pass, Err(error.with("restarts", restarts)));
                }
                outcome => break (pass, outcome),
            }
        };
        pass.report(outcome, start)
    }

    /// Commits the cycle that the delete guard holds, and delivers it.
    pub async fn approve(&self, id: &DatasetId) -> DatasetReport {
        let start = self.store.clock().elapsed();
        let mut pass = Pass::new(self, id);
        let outcome = pass.approve().await;
        pass.report(outcome, start)
    }

    /// Drops the cycle that the delete guard holds. The next cycle reads the source again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when no cycle is held; [`ErrorKind::Storage`].
    pub async fn reject(&self, id: &DatasetId) -> Result<()> {
        let mut baseline = self.store.baseline(id, false).await?;
        blocking(move || {
            let mut manifest = baseline.committed()?.clone();
            manifest
                .held
                .take()
                .ok_or_else(|| nothing_held(&baseline.id))?;
            baseline.commit(manifest)
        })
        .await
    }

    /// Empties the data set at every sink, and then drops what the store knows of it. For a data
    /// set that is gone at the source for good; one that is still there is new in the next cycle.
    ///
    /// When a sink fails, the store keeps the emptied data set, so that it can be done again.
    pub async fn forget(&self, id: &DatasetId) -> DatasetReport {
        let start = self.store.clock().elapsed();
        let mut pass = Pass::new(self, id);
        let outcome = pass.forget().await;
        pass.report(outcome, start)
    }
}

fn nothing_held(id: &DatasetId) -> Error {
    Error::new(ErrorKind::NotFound, "no cycle is held").with("data set", id)
}

/// One cycle of one data set.
struct Pass<'a> {
    cycle: &'a Cycle,
    id: &'a DatasetId,
    delivery: Delivery<'a>,
    rows: u64,
    duplicates: DuplicateCounts,
}

/// What a cycle writes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    /// A base: there is none yet.
    First,
    /// A base: a person asked for it.
    Clean,
    /// A base: the key or a type is another, or a column is gone.
    Reshaped,
    /// A base: rows are needed of which only digests were kept.
    Refill,
    /// The changes since the baseline.
    Changes,
    /// The same, and the columns or their rules are not what they were.
    Widened,
}

impl<'a> Pass<'a> {
    fn new(cycle: &'a Cycle, id: &'a DatasetId) -> Self {
        Self {
            cycle,
            id,
            delivery: Delivery::new(&cycle.sinks),
            rows: 0,
            duplicates: DuplicateCounts::default(),
        }
    }

    async fn run(&mut self, dataset: &dyn Dataset) -> Result<Outcome> {
        let options = &self.cycle.options;
        let mut baseline = self.cycle.store.baseline(self.id, options.clean).await?;
        let retained = baseline.manifest().map(|manifest| manifest.retained);
        let mut refill = retained == Some(Retain::Digests) && options.retain.is_rows();
        if !options.clean && baseline.manifest().is_some() {
            baseline = self.delivery.deliver(baseline).await?;
            if self.delivery.needs_rows(&baseline)? {
                self.delivery.ask_again();
                refill = true;
            }
            if self.delivery.all_failed() {
                // Nothing that is read now could be sent.
                return Ok(Outcome::Synced(Counts::default()));
            }
        }
        let known = baseline
            .manifest()
            .map(|manifest| Arc::new(manifest.schema.clone()));
        // Who asks for a clean sync wants a key that was found to be found anew.
        let pinned = known.as_ref().filter(|_| !options.clean);
        let schema = match dataset.schema(pinned).await {
            // What was collected before and is gone is a failure: it must not become deletions.
            Err(error) if error.kind() == ErrorKind::NotCollected && known.is_none() => {
                return Ok(Outcome::NotCollected {
                    reason: error.to_string(),
                });
            }
            schema => schema?,
        };
        let share = self.share(&baseline).await;
        let load = match &known {
            None => Load::First,
            Some(_) if options.clean => Load::Clean,
            Some(_) if refill => Load::Refill,
            Some(known) if known.same_rows(&schema) => Load::Changes,
            Some(known) if retained != Some(Retain::Digests) && known.extends_to(&schema) => {
                let (schema, memory) = (Arc::clone(&schema), share.bytes());
                baseline = blocking(move || fold::recode(baseline, &schema, memory)).await?;
                Load::Changes
            }
            Some(_) => Load::Reshaped,
        };
        let why = match load {
            Load::Reshaped => Some("its key or columns changed"),
            Load::Refill => Some("its rows are needed, of which digests were kept"),
            Load::First | Load::Clean | Load::Changes | Load::Widened => None,
        };
        if let Some(why) = why {
            info!("data set {} is loaded in full: {why}", self.id.dataset());
            if schema.gone() == Gone::Keep {
                warn!(
                    "data set {}: records that the source no longer has are not part of a full load",
                    self.id.dataset()
                );
            }
        }
        // Who asks for a clean sync has seen what is there.
        let guard = Some(options.guard).filter(|_| load != Load::Clean);
        let retain = options.retain;
        // Rows that are not read again would lack what is new in the columns.
        let load = match load {
            Load::Changes if known.as_deref() != Some(&*schema) => Load::Widened,
            load => load,
        };
        let mut careful = false;
        let settled = loop {
            let how = (load, share.bytes(), careful);
            let (taken, left);
            (baseline, (taken, left)) = self.read(dataset, baseline, &schema, how).await?;
            self.rows = taken.rows();
            let (schema, now) = (Arc::clone(&schema), self.cycle.store.clock().now());
            let settled;
            (baseline, settled) = blocking(move || {
                let settled = taken.settle(&mut baseline, (&schema, retain), left, (guard, now))?;
                Ok((baseline, settled))
            })
            .await?;
            if let Some((settled, duplicates)) = settled {
                self.duplicates = duplicates;
                break settled;
            }
            info!(
                "data set {} is read again: a row passed for another",
                self.id.dataset()
            );
            careful = true;
        };
        // Sinks may be slow, and need none of it.
        drop(share);
        self.log_duplicates();
        if let Some(held) = settled {
            return Ok(Outcome::Held(held));
        }
        self.deliver_and_fold(baseline).await
    }

    async fn approve(&mut self) -> Result<Outcome> {
        let mut baseline = self.cycle.store.baseline(self.id, false).await?;
        let now = self.cycle.store.clock().now();
        baseline = blocking(move || {
            let mut manifest = baseline.committed()?.clone();
            let held = manifest
                .held
                .take()
                .ok_or_else(|| nothing_held(&baseline.id))?;
            apply(&mut manifest, held, now);
            baseline.commit(manifest)?;
            Ok(baseline)
        })
        .await?;
        self.deliver_and_fold(baseline).await
    }

    async fn forget(&mut self) -> Result<Outcome> {
        let mut baseline = self.cycle.store.baseline(self.id, false).await?;
        let now = self.cycle.store.clock().now();
        baseline = blocking(move || {
            let mut manifest = baseline.committed()?.clone();
            let schema = manifest.schema.clone();
            let writer = baseline.create(SegmentKind::Base, "base", &schema)?;
            let segment = writer.into_index()?.finish_base(std::iter::empty(), true)?;
            let counts = Counts {
                truncates: 1,
                snapshot_completes: 1,
                ..Counts::default()
            };
            let (rows, digest, since) = (0, Digest::default(), now);
            let empty = HeldCycle {
                segment,
                full: true,
                schema,
                counts,
                rows,
                digest,
                since,
            };
            manifest.held = None;
            apply(&mut manifest, empty, now);
            baseline.commit(manifest)?;
            Ok(baseline)
        })
        .await?;
        baseline = self.delivery.deliver(baseline).await?;
        if self.delivery.none_failed() {
            blocking(move || baseline.erase()).await?;
        }
        Ok(Outcome::Synced(self.delivery.sent()))
    }

    async fn deliver_and_fold(&mut self, mut baseline: Baseline) -> Result<Outcome> {
        baseline = self.delivery.deliver(baseline).await?;
        let CycleOptions {
            history,
            memory,
            retain,
            ..
        } = self.cycle.options;
        let sinks = self.cycle.sinks.iter();
        let sinks: Vec<String> = sinks.map(|sink| sink.name().to_owned()).collect();
        let manifest = baseline.committed()?;
        // Rows are kept until every sink has them.
        let keep = if fold::is_delivered(manifest, &sinks) {
            retain.max(manifest.retained)
        } else {
            manifest.retained
        };
        if keep != manifest.retained || fold::is_due(manifest, memory) {
            let share = self.share(&baseline).await;
            let memory = share.bytes();
            baseline = blocking(move || fold::fold(baseline, keep, memory)).await?;
        }
        blocking(move || fold::let_go(baseline, history, &sinks)).await?;
        Ok(Outcome::Synced(self.delivery.sent()))
    }

    /// Waits for memory to work in: as much as the data set takes, when there is so much.
    async fn share(&self, baseline: &Baseline) -> Share {
        let total = self.cycle.options.memory;
        let wanted = baseline.manifest().map_or(total / 2, |m| m.base.bytes);
        self.cycle.store.budget().share(total, wanted).await
    }

    /// Reads the data set whole. What comes back is complete.
    async fn read(
        &self,
        dataset: &dyn Dataset,
        baseline: Baseline,
        schema: &Arc<Schema>,
        (load, memory, careful): (Load, u64, bool),
    ) -> Result<(Baseline, (Taken, Left))> {
        let progress = self.cycle.progress.clone().unwrap_or_default();
        let bookmark = baseline
            .manifest()
            .filter(|_| load == Load::Changes)
            .and_then(|manifest| manifest.bookmark.clone());
        let columns = Arc::clone(schema);
        let (mut out, batches) = SnapshotWriter::with_progress(columns, progress, bookmark);
        let columns = Arc::clone(schema);
        let taken = tokio::task::spawn_blocking(move || {
            let taken = match load {
                Load::Changes | Load::Widened => {
                    let read = ChangesRead::new(&baseline, columns, memory, careful)?;
                    Taken::Changes(Box::new(read))
                }
                _ => Taken::Full(Box::new(FullRead::new(&baseline, columns, memory)?)),
            };
            take(batches, taken, baseline)
        });
        let read = async {
            dataset.read(&mut out).await?;
            out.finish().await
        };
        let complete = read.await;
        // The writer is gone by now, so the other end ends too.
        let taken = taken.await.map_err(panicked)?;
        match (complete, taken) {
            // The read was only told that nobody takes its rows: the cause is here.
            (Err(error), Err(cause)) if error.kind() == ErrorKind::Cancelled => Err(cause),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(left), Ok((baseline, taken))) => Ok((baseline, (taken, left))),
        }
    }

    fn log_duplicates(&self) {
        let DuplicateCounts {
            identical,
            differing,
        } = self.duplicates;
        let name = self.id.dataset();
        if identical > 0 {
            info!("data set {name}: {identical} rows were identical to another and collapsed");
        }
        if differing > 0 {
            warn!(
                "data set {name}: {differing} rows shared their key with a differing row; the \
                 greatest was kept"
            );
        }
    }

    fn report(self, outcome: Result<Outcome>, start: Duration) -> DatasetReport {
        let elapsed = self.cycle.store.clock().elapsed().saturating_sub(start);
        let name = self.id.dataset();
        let outcome = outcome.unwrap_or_else(|error| {
            let named = error.context().any(|(what, _)| what == "data set");
            Outcome::Failed(if named {
                error
            } else {
                error.with("data set", self.id)
            })
        });
        let took = Took(elapsed);
        match &outcome {
            Outcome::Synced(counts) => info!("Done syncing data set {name} in {took}: {counts}"),
            Outcome::Held(held) => warn!(
                "Held data set {name} after {took}: {} of {} records would be deleted; approve or \
                 reject the cycle ({})",
                held.rows_before
                    .saturating_sub(held.rows_after)
                    .max(held.counts.deletes),
                held.rows_before,
                held.counts
            ),
            Outcome::NotCollected { reason } => {
                info!("Done syncing data set {name} in {took}: not collected: {reason}");
            }
            Outcome::Failed(error) => error!("Failed data set {name} after {took}: {error:#}"),
        }
        let sink_errors = self.delivery.into_errors();
        DatasetReport {
            id: self.id.clone(),
            outcome,
            rows: self.rows,
            duplicates: self.duplicates,
            elapsed,
            sink_errors,
        }
    }
}

/// As .NET writes a time span, which the DataSync Agent's log shows.
struct Took(Duration);

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let ticks = self.0.subsec_nanos() / 100;
        write!(f, "{hours:02}:{minutes:02}:{:02}.{ticks:07}", seconds % 60)
    }
}

/// What was read.
enum Taken {
    Full(Box<FullRead>),
    Changes(Box<ChangesRead>),
}

impl Taken {
    fn rows(&self) -> u64 {
        match self {
            Self::Full(read) => read.rows(),
            Self::Changes(read) => read.rows(),
        }
    }

    /// Commits what a complete read comes to, or holds it; nothing when it has to be read again.
    fn settle(
        self,
        baseline: &mut Baseline,
        (schema, retain): (&Schema, Retain),
        left: Left,
        (guard, now): (Option<DeleteGuard>, Timestamp),
    ) -> Result<Option<(Option<Held>, DuplicateCounts)>> {
        let Left {
            bookmark,
            keeps_rest,
        } = left;
        let settled = Settled {
            schema,
            retain,
            bookmark,
            guard,
            now,
        };
        match self {
            Self::Full(read) => {
                let base = read.finish(baseline)?;
                let duplicates = base.duplicates;
                let held = full(baseline, base, settled)?;
                Ok(Some((held, duplicates)))
            }
            Self::Changes(read) => {
                let gone = if keeps_rest {
                    Gone::Keep
                } else {
                    schema.gone()
                };
                let Some(diff) = read.finish(baseline, gone)? else {
                    return Ok(None);
                };
                let duplicates = diff.duplicates;
                let held = changes(baseline, diff, settled)?;
                Ok(Some((held, duplicates)))
            }
        }
    }
}

/// Takes batches until the writer is gone.
fn take(mut batches: Batches, mut taken: Taken, baseline: Baseline) -> Result<(Baseline, Taken)> {
    while let Some(batch) = batches.blocking_next() {
        match &mut taken {
            Taken::Full(read) => read.take(&batch, &baseline)?,
            Taken::Changes(read) => read.take(&batch, &baseline)?,
        }
        batches.give_back(batch);
    }
    Ok((baseline, taken))
}
