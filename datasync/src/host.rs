//! Runs cycles: what connectors offer, through the store, to sinks, with a record of it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use connector_core::{
    Clock, Counts, Cycle, CycleOptions, Dataset, DatasetExt, DatasetId, DatasetReport, Error,
    ErrorKind, FileStorage, Outcome, Result, Store, SystemClock, Timestamp,
};
use futures::{StreamExt, stream};
use tracing::{Instrument, error, info_span, warn};

use crate::{
    config::Config,
    connectors::Configured,
    console::Console,
    health,
    metrics::{self, Metrics},
    sink::{OpenSink, ProcessEntry, SyncEntry},
    stop::Stop,
};

/// Everything that is open while cycles run.
pub(crate) struct Host {
    clock: Arc<dyn Clock>,
    store: Store,
    sinks: BTreeMap<String, OpenSink>,
    memory: u64,
    console: Console,
    stop: Stop,
    metrics: Arc<Metrics>,
}

/// What a person wants to sync; everything by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) datasets: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) clean: bool,
}

impl Selection {
    fn is_everything(&self) -> bool {
        self.datasets.is_empty() && self.categories.is_empty()
    }

    fn names(&self, dataset: &str) -> bool {
        self.datasets.iter().any(|name| same(name, dataset))
    }

    fn takes(&self, dataset: &dyn Dataset) -> bool {
        let category = &dataset.info().category;
        self.is_everything()
            || self.names(dataset.name())
            || self.categories.iter().any(|name| same(name, category))
    }
}

/// Letters in either case are the same in a data set's name.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// What a cycle of a connector will go through.
pub(crate) struct Plan<'a> {
    configured: &'a Configured,
    selection: &'a Selection,
    offered: Result<Vec<Arc<dyn Dataset>>>,
    /// What the store knows and the connector no longer offers.
    vanished: Vec<DatasetId>,
}

impl Plan<'_> {
    /// Tells whether the selection of that name is part of it, or can't be told now.
    pub(crate) fn has_dataset(&self, name: &str) -> bool {
        let offers = match &self.offered {
            Ok(offered) => offered.iter().any(|dataset| same(dataset.name(), name)),
            Err(_) => true,
        };
        offers || self.vanished.iter().any(|id| same(id.dataset(), name))
    }

    /// The same of a category.
    pub(crate) fn has_category(&self, name: &str) -> bool {
        match &self.offered {
            Ok(offered) => offered.iter().any(|d| same(&d.info().category, name)),
            Err(_) => true,
        }
    }
}

/// Opens the store of a configuration, which nobody else uses meanwhile.
pub(crate) async fn open_store(config: &Config, clock: &Arc<dyn Clock>) -> Result<Store> {
    let storage = Arc::new(FileStorage::new(&config.state));
    Store::open(storage, Arc::clone(clock)).await
}

/// The machine's own clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

impl Host {
    /// Opens the store and the sinks of these connectors.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when another process uses the store; [`ErrorKind::Sink`] naming the
    /// sink that can't be opened.
    pub(crate) async fn open(
        config: &Config,
        connectors: &[Configured],
        console: Console,
        stop: Stop,
    ) -> Result<Self> {
        if let Some(log) = &config.log {
            console.log_to(log)?;
        }
        let clock = clock();
        // The store first: whoever holds it is the only one who writes to the sinks.
        let store = open_store(config, &clock).await?;
        let mut sinks = BTreeMap::new();
        for name in connectors.iter().flat_map(|c| &c.settings.sinks) {
            if let Some(settings) = config.sinks.get(name)
                && !sinks.contains_key(name)
            {
                let sink = settings.open(name).await;
                sinks.insert(
                    name.clone(),
                    sink.map_err(|error| error.with("sink", name))?,
                );
            }
        }
        Ok(Self {
            metrics: Arc::new(Metrics::new(Arc::clone(&clock))),
            clock,
            store,
            sinks,
            memory: config.memory,
            console,
            stop,
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Answers at an address who asks how the host is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the address can't be listened on; those of the store.
    pub(crate) async fn answer(&self, address: SocketAddr) -> Result<()> {
        for id in self.store.datasets().await? {
            if let Some(status) = self.store.status(&id).await? {
                self.metrics.resume(&id, &status);
            }
        }
        health::start(address, Arc::clone(&self.metrics), self.stop.clone()).await
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    pub(crate) fn sinks_of<'a>(
        &'a self,
        configured: &'a Configured,
    ) -> impl Iterator<Item = (&'a str, &'a OpenSink)> {
        let names = configured.settings.sinks.iter();
        names.filter_map(|name| Some((name.as_str(), self.sinks.get(name)?)))
    }

    /// Asks a connector what it offers.
    ///
    /// # Errors
    ///
    /// Those of the store. A connector's own are part of the plan.
    pub(crate) async fn plan<'a>(
        &self,
        configured: &'a Configured,
        selection: &'a Selection,
    ) -> Result<Plan<'a>> {
        let mut plan = Plan {
            configured,
            selection,
            offered: configured.connector.datasets().await,
            vanished: Vec::new(),
        };
        if let Ok(offered) = &plan.offered {
            let is_gone = |id: &DatasetId| {
                id.connector() == configured.name()
                    && !offered
                        .iter()
                        .any(|dataset| same(dataset.name(), id.dataset()))
            };
            let known = self.store.datasets().await?;
            plan.vanished = known.into_iter().filter(is_gone).collect();
        }
        Ok(plan)
    }

    /// Runs a cycle of each data set of a plan and tells whether none needs a person.
    pub(crate) async fn carry_out(&self, plan: Plan<'_>) -> bool {
        let name = plan.configured.name().to_owned();
        self.go_through(plan)
            .instrument(info_span!("cycle", connector = name))
            .await
    }

    async fn go_through(&self, plan: Plan<'_>) -> bool {
        let (configured, selection) = (plan.configured, plan.selection);
        self.log_process(Some(configured), "sync", None).await;
        let offered = match plan.offered {
            Ok(offered) => offered,
            Err(error) => {
                error!("Can't list the data sets: {error:#}");
                let message = format!("{error:#}");
                self.log_process(Some(configured), "error", Some(message))
                    .await;
                return false;
            }
        };
        let chosen = offered
            .iter()
            .filter(|dataset| selection.takes(&***dataset));
        let cycles = chosen.map(|dataset| async {
            // Asked for each, since the ones before may have taken hours.
            !self.stop.is_asked() && self.sync(configured, &**dataset, selection.clean).await
        });
        let mut ok = stream::iter(cycles)
            .buffered(configured.settings.concurrency)
            .fold(true, |all, ok| async move { all && ok })
            .await;
        if self.stop.is_asked() {
            return false;
        }
        for id in plan.vanished {
            if selection.is_everything() || selection.names(id.dataset()) {
                self.report_vanished(configured, &id).await;
                ok = false;
            }
        }
        ok
    }

    async fn sync(&self, configured: &Configured, dataset: &dyn Dataset, clean: bool) -> bool {
        let id = DatasetId::new(configured.name(), dataset.name());
        let watch = self.console.watch(&id);
        let cycle = self
            .cycle(configured, dataset.name(), clean)
            .progress(watch.progress.clone());
        let started = self.clock.now();
        let report = cycle.run_dataset(configured.name(), dataset).await;
        drop(watch);
        self.log_report(configured, started, &report).await;
        report.is_ok()
    }

    fn cycle(&self, configured: &Configured, dataset: &str, clean: bool) -> Cycle {
        let mut options = CycleOptions::default();
        options.memory = self.memory;
        options.guard = configured.settings.guard;
        options.history = configured.settings.history;
        options.retain = configured.settings.retain.of(dataset);
        options.clean = clean;
        let cycle = Cycle::new(&self.store).options(options);
        self.sinks_of(configured)
            .fold(cycle, |cycle, (_, sink)| cycle.sink(sink.named.clone()))
    }

    /// Its records stay: that a source stopped offering a data set does not mean that the records
    /// are gone.
    async fn report_vanished(&self, configured: &Configured, id: &DatasetId) {
        let error = Error::new(
            ErrorKind::NotFound,
            "the connector no longer offers the data set; its records are kept as they were: \
             bring it back at the source, or remove it with `datasync forget` if it is gone for \
             good",
        )
        .with("data set", id);
        error!("Failed data set {}: {error:#}", id.dataset());
        let now = self.clock.now();
        let report = DatasetReport {
            id: id.clone(),
            outcome: Outcome::Failed(error),
            rows: 0,
            duplicates: connector_core::DuplicateCounts::default(),
            elapsed: std::time::Duration::ZERO,
            sink_errors: Vec::new(),
        };
        self.log_report(configured, now, &report).await;
    }

    /// Commits and delivers a held cycle; tells whether that went well.
    pub(crate) async fn approve(&self, configured: &Configured, id: &DatasetId) -> bool {
        let message = Some(id.dataset().to_owned());
        self.log_process(Some(configured), "approve", message).await;
        let started = self.clock.now();
        let report = self
            .cycle(configured, id.dataset(), false)
            .approve(id)
            .await;
        self.log_report(configured, started, &report).await;
        report.is_ok()
    }

    /// Removes a data set from the sinks and the store; tells whether that went well.
    pub(crate) async fn forget(&self, configured: &Configured, id: &DatasetId) -> bool {
        let message = Some(id.dataset().to_owned());
        self.log_process(Some(configured), "forget", message).await;
        let started = self.clock.now();
        let report = self.cycle(configured, id.dataset(), false).forget(id).await;
        self.log_report(configured, started, &report).await;
        report.is_ok()
    }

    /// Drops a held cycle.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when no cycle is held; those of the store.
    pub(crate) async fn reject(&self, configured: &Configured, id: &DatasetId) -> Result<()> {
        let message = Some(id.dataset().to_owned());
        self.log_process(Some(configured), "reject", message).await;
        self.cycle(configured, id.dataset(), false).reject(id).await
    }

    /// Writes a line to `_process_log` of every repository, or of those of one connector.
    pub(crate) async fn log_process(
        &self,
        configured: Option<&Configured>,
        action: &'static str,
        message: Option<String>,
    ) {
        let entry = ProcessEntry {
            at: self.clock.now(),
            action,
            connector: configured.map(|c| c.name().to_owned()),
            message,
        };
        let sinks: Vec<_> = match configured {
            Some(configured) => self.sinks_of(configured).map(|(_, sink)| sink).collect(),
            None => self.sinks.values().collect(),
        };
        for sink in sinks {
            log_process(sink, entry.clone()).await;
        }
    }

    async fn log_report(
        &self,
        configured: &Configured,
        started: Timestamp,
        report: &DatasetReport,
    ) {
        let status = self.store.status(&report.id).await.ok().flatten();
        self.metrics.record(report, status.as_ref());
        let (counts, mut error) = match &report.outcome {
            Outcome::Synced(counts) => (*counts, None),
            Outcome::Held(held) => (held.counts, None),
            Outcome::NotCollected { reason } => (Counts::default(), Some(reason.clone())),
            Outcome::Failed(error) => (Counts::default(), Some(format!("{error:#}"))),
        };
        if let Some((sink, cause)) = report.sink_errors.first() {
            error.get_or_insert_with(|| format!("sink {sink}: {cause:#}"));
        }
        let entry = SyncEntry {
            dataset: report.id.clone(),
            cycle: status.map(|status| status.cycle),
            started,
            finished: self.clock.now(),
            counts,
            outcome: metrics::outcome(report),
            error,
        };
        for (_, sink) in self.sinks_of(configured) {
            if let Some(repository) = &sink.repository {
                let logged = repository.lock().await.log_sync(entry.clone()).await;
                warn_of(logged);
            }
        }
    }
}

/// Writes a line to a repository's `_process_log`.
pub(crate) async fn log_process(sink: &OpenSink, entry: ProcessEntry) {
    if let Some(repository) = &sink.repository {
        warn_of(repository.lock().await.log_process(entry).await);
    }
}

/// What is only a record must not stop the work.
fn warn_of(logged: Result<()>) {
    if let Err(error) = logged {
        warn!("{error:#}");
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
