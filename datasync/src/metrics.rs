//! How the cycles go, in numbers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use connector_core::{
    Clock, Counts, DatasetId, DatasetReport, DatasetStatus, Outcome, Result, Timestamp,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use serde::Serialize;

/// What is counted of each data set, for people and for Prometheus.
pub(crate) struct Metrics {
    clock: Arc<dyn Clock>,
    registry: Registry,
    rows: Family<Labels, Gauge>,
    read: Family<Labels, Counter>,
    events: Family<EventLabels, Counter>,
    cycles: Family<CycleLabels, Counter>,
    retries: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    lag: Family<Labels, Gauge>,
    undelivered: Family<SinkLabels, Gauge>,
    standing: Mutex<BTreeMap<DatasetId, Standing>>,
}

/// How a data set stands.
#[derive(Debug, Clone, Serialize)]
struct Standing {
    /// How its last cycle ended.
    outcome: &'static str,
    /// When its source was last read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<String>,
    #[serde(skip)]
    at: Option<Timestamp>,
    /// How many cycles the sink that lacks most has yet to confirm.
    undelivered: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    connector: String,
    dataset: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    connector: String,
    dataset: String,
    op: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CycleLabels {
    connector: String,
    dataset: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    connector: String,
    dataset: String,
    sink: String,
}

impl Labels {
    fn of(id: &DatasetId) -> Self {
        Self {
            connector: id.connector().to_owned(),
            dataset: id.dataset().to_owned(),
        }
    }
}

/// How a cycle ended, in one word; failed when a sink did.
pub(crate) fn outcome(report: &DatasetReport) -> &'static str {
    match &report.outcome {
        _ if !report.sink_errors.is_empty() => "failed",
        Outcome::Synced(_) => "synced",
        Outcome::Held(_) => "held",
        Outcome::NotCollected { .. } => "not collected",
        Outcome::Failed(_) => "failed",
    }
}

impl Metrics {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut registry = Registry::with_prefix("datasync");
        let mut metrics = Self {
            clock,
            registry: Registry::default(),
            rows: Family::default(),
            read: Family::default(),
            events: Family::default(),
            cycles: Family::default(),
            retries: Family::default(),
            // From a tenth of a second to three hours.
            seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.1, 4.0, 10))
            }),
            lag: Family::default(),
            undelivered: Family::default(),
            standing: Mutex::default(),
        };
        registry.register(
            "rows",
            "Rows of the data set as it was last synced",
            metrics.rows.clone(),
        );
        registry.register(
            "rows_read",
            "Rows read from the source",
            metrics.read.clone(),
        );
        registry.register(
            "events",
            "Change events sent, to the sink that got most",
            metrics.events.clone(),
        );
        registry.register(
            "cycles",
            "Cycles, by how they ended",
            metrics.cycles.clone(),
        );
        registry.register(
            "retries",
            "Cycles that followed one that failed",
            metrics.retries.clone(),
        );
        registry.register_with_unit(
            "cycle_duration",
            "How long a cycle took",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "lag",
            "How long ago the source was last read whole and delivered to every sink",
            Unit::Seconds,
            metrics.lag.clone(),
        );
        registry.register(
            "undelivered_cycles",
            "Committed cycles that a sink has not confirmed",
            metrics.undelivered.clone(),
        );
        metrics.registry = registry;
        metrics
    }

    /// Takes in how the store stands before the first cycle, so that nothing looks new after a
    /// restart.
    pub(crate) fn resume(&self, id: &DatasetId, status: &DatasetStatus) {
        self.stand(id, "not run yet", Some(status), false);
    }

    /// Takes in a cycle.
    pub(crate) fn record(&self, report: &DatasetReport, status: Option<&DatasetStatus>) {
        let (id, labels) = (&report.id, Labels::of(&report.id));
        let outcome = outcome(report);
        let failed_before = self
            .standing()
            .get(id)
            .is_some_and(|s| s.outcome == "failed");
        if failed_before {
            self.retries.get_or_create(&labels).inc();
        }
        self.read.get_or_create(&labels).inc_by(report.rows);
        self.seconds
            .get_or_create(&labels)
            .observe(report.elapsed.as_secs_f64());
        let cycle = CycleLabels {
            connector: labels.connector.clone(),
            dataset: labels.dataset.clone(),
            outcome,
        };
        self.cycles.get_or_create(&cycle).inc();
        if let Outcome::Synced(counts) = &report.outcome {
            self.count(&labels, counts);
        }
        self.stand(id, outcome, status, outcome == "failed");
    }

    fn count(&self, labels: &Labels, counts: &Counts) {
        for (op, count) in [
            ("truncate", counts.truncates),
            ("insert", counts.inserts),
            ("update", counts.updates),
            ("delete", counts.deletes),
            ("snapshot_complete", counts.snapshot_completes),
        ] {
            let labels = EventLabels {
                connector: labels.connector.clone(),
                dataset: labels.dataset.clone(),
                op,
            };
            self.events.get_or_create(&labels).inc_by(count);
        }
    }

    fn stand(
        &self,
        id: &DatasetId,
        outcome: &'static str,
        status: Option<&DatasetStatus>,
        failed: bool,
    ) {
        let labels = Labels::of(id);
        let mut standing = self.standing();
        let before = standing.get(id).and_then(|standing| standing.at);
        let mut now = Standing {
            outcome,
            synced: None,
            at: None,
            undelivered: 0,
        };
        if let Some(status) = status {
            self.rows.get_or_create(&labels).set(signed(status.rows));
            for (sink, confirmed) in &status.sinks {
                let behind = status.cycle.number().saturating_sub(*confirmed);
                let sink = SinkLabels {
                    connector: labels.connector.clone(),
                    dataset: labels.dataset.clone(),
                    sink: crate::sink::configured_name(sink).to_owned(),
                };
                self.undelivered.get_or_create(&sink).set(signed(behind));
                now.undelivered = now.undelivered.max(behind);
            }
            now.synced = Some(status.synced.to_string());
            now.at = if failed { before } else { Some(status.synced) };
        }
        standing.insert(id.clone(), now);
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<DatasetId, Standing>> {
        // Each change is one assignment, so a panic elsewhere does not matter.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all numbers as OpenMetrics, which Prometheus reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`](connector_core::ErrorKind::Unexpected), which a text that grows
    /// never is.
    pub(crate) fn text(&self) -> Result<String> {
        let now = self.clock.now();
        for (id, standing) in &*self.standing() {
            if let Some(at) = standing.at {
                let lag = (now.ticks() - at.ticks()).max(0) / TICKS;
                self.lag.get_or_create(&Labels::of(id)).set(lag);
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|error| {
            connector_core::Error::new(
                connector_core::ErrorKind::Unexpected,
                "can't write the metrics",
            )
            .with_source(error)
        })?;
        Ok(text)
    }

    /// How every data set stands, for people: `ok`, or `degraded` when the last cycle of one failed
    /// or is held.
    pub(crate) fn health(&self) -> serde_json::Value {
        let standing = self.standing();
        let bad = |s: &Standing| matches!(s.outcome, "failed" | "held") || s.undelivered > 0;
        let datasets: BTreeMap<String, &Standing> = standing
            .iter()
            .map(|(id, standing)| (id.to_string(), standing))
            .collect();
        let status = if standing.values().any(bad) {
            "degraded"
        } else {
            "ok"
        };
        serde_json::json!({ "status": status, "datasets": datasets })
    }
}

/// A second as timestamps count.
const TICKS: i64 = 10_000_000;

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use connector_core::{DuplicateCounts, Error, ErrorKind};
    use connector_testkit::ManualClock;

    use super::*;

    fn report(outcome: Outcome) -> DatasetReport {
        DatasetReport {
            id: DatasetId::new("hr", "devices"),
            outcome,
            rows: 12,
            duplicates: DuplicateCounts::default(),
            elapsed: Duration::from_secs(3),
            sink_errors: Vec::new(),
        }
    }

    #[test]
    fn a_failed_cycle_shows_and_its_repeat_is_a_retry() {
        let metrics = Metrics::new(Arc::new(ManualClock::default()));
        assert_eq!(metrics.health()["status"], "ok");
        let failed = Error::new(ErrorKind::Unavailable, "no answer");
        metrics.record(&report(Outcome::Failed(failed)), None);
        assert_eq!(metrics.health()["status"], "degraded");
        let counts = Counts {
            inserts: 7,
            ..Counts::default()
        };
        metrics.record(&report(Outcome::Synced(counts)), None);
        assert_eq!(metrics.health()["status"], "ok");
        let text = metrics.text().unwrap();
        let of = r#"{connector="hr",dataset="devices""#;
        for line in [
            format!("datasync_retries_total{of}}} 1"),
            format!("datasync_rows_read_total{of}}} 24"),
            format!(r#"datasync_events_total{of},op="insert"}} 7"#),
            format!(r#"datasync_cycles_total{of},outcome="failed"}} 1"#),
            format!("datasync_cycle_duration_seconds_sum{of}}} 6.0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
