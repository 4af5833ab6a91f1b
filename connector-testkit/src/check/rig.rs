//! A store, a clock and a sink around the connector under test.

use std::{sync::Arc, time::Duration};

use connector_core::{
    Change, ChangeEvent, Cycle, CycleOptions, Dataset, DatasetId, DatasetReport, DatasetStatus,
    DeleteGuard, NamedSink, Outcome, Row, Store, memory::MemorySink,
};

use super::{Probe, Shown};
use crate::{
    clock::ManualClock,
    harness::Subject,
    model::Model,
    sink::FaultySink,
    storage::{CrashStorage, Unsynced},
};

pub(super) struct Rig {
    pub(super) storage: CrashStorage,
    pub(super) sink: FaultySink<MemorySink>,
    clock: ManualClock,
    store: Store,
    connector: String,
}

/// Lets everything pass, for edits that delete much.
pub(super) fn no_guard() -> CycleOptions {
    guarded(DeleteGuard {
        rows: u64::MAX,
        share: 1.0,
        empty: false,
    })
}

pub(super) fn guarded(guard: DeleteGuard) -> CycleOptions {
    let mut options = CycleOptions::default();
    options.guard = guard;
    options
}

impl Rig {
    pub(super) async fn new(probe: &Probe<'_>) -> Shown<Self> {
        Self::on(probe, CrashStorage::new()).await
    }

    pub(super) async fn on(probe: &Probe<'_>, storage: CrashStorage) -> Shown<Self> {
        let clock = ManualClock::default();
        let store = open(probe, &storage, &clock).await?;
        Ok(Self {
            storage,
            sink: FaultySink::new(MemorySink::default()),
            clock,
            store,
            connector: probe.harness.connector().info().name.clone(),
        })
    }

    /// The next start of the process over what a crash at this moment leaves; the sink lives on.
    pub(super) async fn restart(&mut self, probe: &Probe<'_>, unsynced: Unsynced) -> Shown {
        self.storage = self.storage.reopen(unsynced);
        self.store = open(probe, &self.storage, &self.clock).await?;
        Ok(())
    }

    pub(super) fn id(&self, subject: &Subject) -> DatasetId {
        DatasetId::new(&self.connector, &subject.name)
    }

    pub(super) fn cycle(&self, options: CycleOptions) -> Cycle {
        self.clock.advance(Duration::from_mins(1));
        Cycle::new(&self.store)
            .sink(NamedSink::new("kit", self.sink.clone()))
            .options(options)
    }

    /// A cycle without the delete guard.
    pub(super) async fn run(&self, probe: &Probe<'_>, subject: &Subject) -> Shown<DatasetReport> {
        Ok(self.run_dataset(&*probe.dataset(subject).await?).await)
    }

    pub(super) async fn run_dataset(&self, dataset: &dyn Dataset) -> DatasetReport {
        self.cycle(no_guard())
            .run_dataset(&self.connector, dataset)
            .await
    }

    /// A cycle with the delete guard as it is by default.
    pub(super) async fn run_guarded(
        &self,
        probe: &Probe<'_>,
        subject: &Subject,
    ) -> Shown<DatasetReport> {
        let dataset = probe.dataset(subject).await?;
        let cycle = self.cycle(CycleOptions::default());
        Ok(cycle.run_dataset(&self.connector, &*dataset).await)
    }

    /// A cycle that must succeed; returns how many events it sent.
    pub(super) async fn sync(&self, probe: &Probe<'_>, subject: &Subject) -> Shown<u64> {
        let report = self.run(probe, subject).await?;
        synced(probe, &report)
    }

    pub(super) async fn status(
        &self,
        probe: &Probe<'_>,
        subject: &Subject,
    ) -> Shown<Option<DatasetStatus>> {
        let status = self.store.status(&self.id(subject)).await;
        status.map_err(probe.unexpected("asking for the state"))
    }

    /// The baseline's rows; none when there is no baseline.
    pub(super) async fn baseline(
        &self,
        probe: &Probe<'_>,
        subject: &Subject,
    ) -> Shown<Option<Vec<Row>>> {
        if self.status(probe, subject).await?.is_none() {
            return Ok(None);
        }
        let reading = || probe.unexpected("reading the baseline");
        let rows = self.store.rows(&self.id(subject)).await;
        let mut rows = rows.map_err(reading())?;
        let mut all = Vec::new();
        while let Some(some) = rows.next().await.map_err(reading())? {
            all.extend(some);
        }
        Ok(Some(all))
    }

    /// Hands the committed events to a model, cycle by cycle.
    pub(super) fn deliver_to(&self, probe: &Probe<'_>, model: &mut Model) -> Shown {
        let events = self.sink.inner().take_events();
        for cycle in events.chunk_by(|a, b| a.cycle == b.cycle && a.dataset == b.dataset) {
            model.apply(cycle).map_err(|wrong| probe.fail(wrong))?;
        }
        Ok(())
    }

    /// Sees that baseline and receiver both hold these rows.
    pub(super) async fn holds(
        &self,
        probe: &Probe<'_>,
        subject: &Subject,
        what: &str,
        expected: &[Row],
    ) -> Shown {
        let baseline = self.baseline(probe, subject).await?.unwrap_or_default();
        probe.same(
            &format!("{what}, in the baseline"),
            subject,
            expected,
            &baseline,
        )?;
        let received = self.sink.inner().rows(&self.id(subject));
        probe.same(
            &format!("{what}, at the receiver"),
            subject,
            expected,
            &received,
        )
    }
}

async fn open(probe: &Probe<'_>, storage: &CrashStorage, clock: &ManualClock) -> Shown<Store> {
    let store = Store::open(Arc::new(storage.clone()), Arc::new(clock.clone())).await;
    store.map_err(probe.unexpected("opening the store"))
}

/// Sees that a cycle succeeded; returns how many events it sent.
pub(super) fn synced(probe: &Probe<'_>, report: &DatasetReport) -> Shown<u64> {
    match (&report.outcome, report.sink_errors.first()) {
        (Outcome::Synced(counts), None) => Ok(counts.truncates
            + counts.inserts
            + counts.updates
            + counts.deletes
            + counts.snapshot_completes),
        (Outcome::Synced(_), Some((_, error))) => {
            Err(probe.fail(format!("the events do not fit the receiver: {error:#}")))
        }
        (Outcome::Failed(error), _) => Err(probe.fail(format!("the cycle failed: {error:#}"))),
        (Outcome::Held(held), _) => Err(probe.fail(format!("the cycle was held: {held:?}"))),
        (Outcome::NotCollected { reason }, _) => {
            Err(probe.fail(format!("the data set counts as not collected: {reason}")))
        }
    }
}

/// How many events of a kind there are, for messages.
pub(super) fn summary(events: &[ChangeEvent]) -> String {
    let kinds = events.iter().map(|event| event.change.kind());
    let deletes = kinds.filter(|kind| *kind == "delete").count();
    let truncates = events
        .iter()
        .filter(|event| matches!(event.change, Change::Truncate { .. }))
        .count();
    format!(
        "{} events, {deletes} deletes and {truncates} truncates among them",
        events.len()
    )
}
