//! Bringing sinks up to the last committed cycle.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::{
    baseline::{Baseline, Retain, blocking},
    error::{Error, ErrorKind, Result},
    event::Counts,
    outbox::Outbox,
    repair::Compared,
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
    /// What differs from the sink's copy, which is to be found out.
    Repair,
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
        // What the sink asked for: otherwise what its position says.
        let mut wanted = None;
        loop {
            let backlog = match wanted.take() {
                Some(wanted) => wanted,
                None => backlog(&baseline, sink.name())?,
            };
            let lacks_rows = matches!(backlog, Backlog::Full | Backlog::Repair);
            if let (true, Retain::Digests) = (lacks_rows, baseline.committed()?.retained) {
                return drop_position(baseline, sink.name()).await;
            }
            let outbox;
            (baseline, outbox) = match self.outbox(sink, baseline, backlog).await? {
                (baseline, Ok(Some(outbox))) => (baseline, outbox),
                (baseline, Ok(None)) => return Ok((baseline, Ok(()))),
                (baseline, Err(error)) => return Ok((baseline, Err(error))),
            };
            let cycle = outbox.cycle();
            match send(sink, outbox).await? {
                Ok(counts) => {
                    *self.sent.entry(sink.name()).or_default() += counts;
                    let name = sink.name().to_owned();
                    baseline = blocking(move || {
                        let mut manifest = baseline.committed()?.clone();
                        manifest.sinks.insert(name, cycle.number());
                        baseline.commit(manifest)?;
                        Ok(baseline)
                    })
                    .await?;
                }
                // The sink lost what it had: an old copy was put back, or it was changed by hand.
                Err(error) if error.kind() == ErrorKind::Incomplete && !cycle.is_full() => {
                    info!(
                        "sink {} lacks rows of {}: {error:#}",
                        sink.name(),
                        baseline.id
                    );
                    wanted = Some(if cycle.is_repair() {
                        Backlog::Full
                    } else {
                        Backlog::Repair
                    });
                }
                Err(error) => return Ok((baseline, Err(error))),
            }
        }
    }

    /// Opens what is sent next. The outer error is the store's, the inner one the sink's.
    async fn outbox(
        &self,
        sink: &NamedSink,
        mut baseline: Baseline,
        mut backlog: Backlog,
    ) -> Result<(Baseline, Result<Option<Outbox>>)> {
        if let Backlog::Repair = backlog {
            let repair;
            (baseline, repair) = self.repair(sink, baseline).await?;
            match repair {
                Ok(None) => backlog = Backlog::Full,
                found => return Ok((baseline, found)),
            }
        }
        blocking(move || {
            let manifest = baseline.committed()?;
            let id = baseline.id.clone();
            let outbox = match backlog {
                Backlog::Nothing => None,
                Backlog::Changes(i) => {
                    let changes = &manifest.changes[i];
                    let segment = baseline.open_segment(&changes.segment)?;
                    Some(Outbox::changes(id, changes, &segment))
                }
                Backlog::Full | Backlog::Repair => {
                    Some(Outbox::full(id, manifest, &baseline.layers()?)?)
                }
            };
            Ok((baseline, Ok(outbox)))
        })
        .await
    }

    /// Finds what a sink lacks; none when it can't tell, or when that is nearly everything.
    async fn repair(
        &self,
        sink: &NamedSink,
        baseline: Baseline,
    ) -> Result<(Baseline, Result<Option<Outbox>>)> {
        let mut sink = sink.lock().await;
        let Some(copies) = sink.copies() else {
            return Ok((baseline, Ok(None)));
        };
        let (baseline, compared) = blocking(move || {
            let compared = Compared::new(&baseline)?;
            Ok((baseline, compared))
        })
        .await?;
        let fixes = compared.fixes(copies).await?;
        let outbox = fixes.map(|fixes| fixes.map(|fixes| Outbox::repair(compared, fixes)));
        Ok((baseline, outbox))
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
