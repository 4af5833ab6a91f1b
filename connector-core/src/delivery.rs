//! Bringing sinks up to the last committed cycle.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::{
    baseline::{Baseline, Retain, blocking},
    error::{Error, ErrorKind, Result},
    event::Counts,
    outbox::Outbox,
    sink::NamedSink,
};

/// What was sent to each sink in one cycle, and which of them failed.
pub(crate) struct Delivery<'a> {
    sinks: &'a [NamedSink],
    sent: BTreeMap<&'a str, Counts>,
    errors: Vec<(String, Error)>,
}

/// What a sink needs to be up to date.
enum Backlog {
    Nothing,
    /// The changes of one cycle, by its place in the manifest; more may follow.
    Changes(usize),
    /// Everything: the sink is new, or what it needs is no longer kept.
    Full,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(sinks: &'a [NamedSink]) -> Self {
        Self {
            sinks,
            sent: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Tells whether there are sinks and all of them failed.
    pub(crate) fn all_failed(&self) -> bool {
        !self.sinks.is_empty() && self.errors.len() == self.sinks.len()
    }

    /// Tells whether a sink needs rows of which only digests are kept: then the data set is loaded
    /// in full.
    pub(crate) fn needs_rows(&self, baseline: &Baseline) -> Result<bool> {
        if baseline.committed()?.retained.is_rows() {
            return Ok(false);
        }
        for sink in self.sinks {
            if matches!(backlog(baseline, sink.name())?, Backlog::Full) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks sinks again that failed for want of rows.
    pub(crate) fn ask_again(&mut self) {
        self.errors
            .retain(|(_, error)| error.kind() != ErrorKind::Incomplete);
    }

    pub(crate) fn none_failed(&self) -> bool {
        self.errors.is_empty()
    }

    /// The events that were sent, to the sink that got most.
    pub(crate) fn sent(&self) -> Counts {
        let total =
            |c: &Counts| c.truncates + c.inserts + c.updates + c.deletes + c.snapshot_completes;
        self.sent
            .values()
            .copied()
            .max_by_key(total)
            .unwrap_or_default()
    }

    pub(crate) fn into_errors(self) -> Vec<(String, Error)> {
        self.errors
    }

    /// Sends each sink what it has not confirmed. A sink that fails is passed over until the next
    /// cycle; the others go on.
    ///
    /// # Errors
    ///
    /// Only of the store.
    pub(crate) async fn deliver(&mut self, mut baseline: Baseline) -> Result<Baseline> {
        for sink in self.sinks {
            if self.errors.iter().any(|(failed, _)| failed == sink.name()) {
                continue;
            }
            let outcome;
            (baseline, outcome) = self.deliver_to(sink, baseline).await?;
            if let Err(error) = outcome {
                warn!(
                    "sink {} failed, the cycle is sent again in the next one: {error:#}",
                    sink.name()
                );
                self.errors.push((sink.name().to_owned(), error));
            }
        }
        Ok(baseline)
    }

    async fn deliver_to(
        &mut self,
        sink: &'a NamedSink,
        mut baseline: Baseline,
    ) -> Result<(Baseline, Result<()>)> {
        let mut whole = false;
        loop {
            let backlog = if whole {
                Backlog::Full
            } else {
                backlog(&baseline, sink.name())?
            };
            if let (Backlog::Full, Retain::Digests) = (&backlog, baseline.committed()?.retained) {
                return drop_position(baseline, sink.name()).await;
            }
            let outbox;
            (baseline, outbox) = blocking(move || {
                let manifest = baseline.committed()?;
                let id = baseline.id.clone();
                let outbox = match backlog {
                    Backlog::Nothing => None,
                    Backlog::Changes(i) => {
                        let changes = &manifest.changes[i];
                        let segment = baseline.open_segment(&changes.segment)?;
                        Some(Outbox::changes(id, changes, &segment))
                    }
                    Backlog::Full => Some(Outbox::full(id, manifest, &baseline.layers()?)?),
                };
                Ok((baseline, outbox))
            })
            .await?;
            let Some(outbox) = outbox else {
                return Ok((baseline, Ok(())));
            };
            let (cycle, full) = (outbox.cycle(), outbox.cycle().is_full());
            match send(sink, outbox).await? {
                Ok(counts) => {
                    *self.sent.entry(sink.name()).or_default() += counts;
                    whole = false;
                    let name = sink.name().to_owned();
                    baseline = blocking(move || {
                        let mut manifest = baseline.committed()?.clone();
                        manifest.sinks.insert(name, cycle.number());
                        baseline.commit(manifest)?;
                        Ok(baseline)
                    })
                    .await?;
                }
                // The sink lost what it had: an old copy was put back, or it was emptied.
                Err(error) if error.kind() == ErrorKind::Incomplete && !full => {
                    info!(
                        "sink {} is sent the whole data set {}: {error:#}",
                        sink.name(),
                        baseline.id
                    );
                    whole = true;
                }
                Err(error) => return Ok((baseline, Err(error))),
            }
        }
    }
}

/// Leaves a sink for the next cycle: it needs rows that are not kept.
async fn drop_position(mut baseline: Baseline, sink: &str) -> Result<(Baseline, Result<()>)> {
    let name = sink.to_owned();
    let baseline = blocking(move || {
        let mut manifest = baseline.committed()?.clone();
        if manifest.sinks.remove(&name).is_some() {
            baseline.commit(manifest)?;
        }
        Ok(baseline)
    })
    .await?;
    let message = "the sink needs the whole data set, of which the store keeps digests; the next \
                   cycle loads it in full";
    Ok((baseline, Err(Error::new(ErrorKind::Incomplete, message))))
}

fn backlog(baseline: &Baseline, sink: &str) -> Result<Backlog> {
    let manifest = baseline.committed()?;
    let Some(confirmed) = manifest.sinks.get(sink).copied() else {
        return Ok(Backlog::Full);
    };
    if confirmed == manifest.cycle.number() {
        return Ok(Backlog::Nothing);
    }
    let next = manifest
        .changes
        .iter()
        .position(|c| c.cycle.number() == confirmed + 1);
    Ok(match next {
        Some(i) if confirmed >= manifest.full_cycle => Backlog::Changes(i),
        _ => Backlog::Full,
    })
}

/// Sends one cycle. The outer error is the store's, the inner one the sink's.
async fn send(sink: &NamedSink, mut outbox: Outbox) -> Result<Result<Counts>> {
    let cycle = outbox.cycle();
    let mut counts = Counts::default();
    // Held to the end: between two commits a sink sees one cycle.
    let mut out = sink.lock().await;
    let mut piece;
    (outbox, piece) = outbox.next().await?;
    while let Some(events) = piece {
        // The store reads the next piece while the sink takes this one.
        let (next, written) = tokio::join!(outbox.next(), out.write(&events));
        (outbox, piece) = next?;
        if let Err(error) = written {
            return Ok(Err(error));
        }
        for event in &events {
            counts.add(&event.change);
        }
    }
    Ok(out.commit(&cycle).await.map(|()| counts))
}
