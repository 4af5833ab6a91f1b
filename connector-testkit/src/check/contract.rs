//! Declarations, and how a read behaves on its thread.

use std::{
    collections::HashSet,
    pin::{Pin, pin},
    sync::mpsc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use connector_core::{DatasetExt, Schema};

use super::{Probe, Shown, read::MANY};
use crate::generate::numbered_rows;

/// A read that does not give its thread back for so long blocks it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each of the first awaits is tried, then ever fewer.
const EVERY_AWAIT: u32 = 64;

pub(super) async fn declarations(probe: &Probe<'_>) -> Shown {
    let subjects = probe.harness.subjects();
    probe.ensure(!subjects.is_empty(), || {
        "the harness names no subject".to_owned()
    })?;
    for subject in &subjects {
        let rows = numbered_rows(&subject.schema, 3);
        probe.harness.load(subject, &rows).await;
    }
    let connector = probe.harness.connector();
    let info = connector.info();
    let lower_case = info
        .kind
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    probe.ensure(!info.kind.is_empty() && lower_case, || {
        format!("the kind {:?} is not one lower-case word", info.kind)
    })?;
    probe.ensure(!info.name.is_empty() && !info.version.is_empty(), || {
        "the connector has no name or no version".to_owned()
    })?;
    let datasets = connector
        .datasets()
        .await
        .map_err(probe.unexpected("listing the data sets"))?;
    let mut names = HashSet::new();
    for dataset in &datasets {
        let info = dataset.info();
        probe.ensure(!info.name.trim().is_empty(), || {
            "a data set has no name".to_owned()
        })?;
        probe.ensure(names.insert(info.name.to_lowercase()), || {
            format!("two data sets are called {} but for case", info.name)
        })?;
        probe.ensure(!info.category.trim().is_empty(), || {
            format!("{} has no category", info.name)
        })?;
    }
    for subject in &subjects {
        let dataset = probe.dataset(subject).await?;
        let first = dataset
            .schema(None)
            .await
            .map_err(probe.unexpected("asking for the schema"))?;
        probe.ensure(same_columns(&first, &subject.schema), || {
            format!(
                "{} has columns {first:?} instead of {:?}",
                subject.name, subject.schema
            )
        })?;
        // What was found once stays, as long as the source allows it.
        let again = dataset
            .schema(Some(&first))
            .await
            .map_err(probe.unexpected("asking for the schema again"))?;
        probe.ensure(same_columns(&again, &first), || {
            format!(
                "{} turns from {first:?} into {again:?} by itself",
                subject.name
            )
        })?;
    }
    Ok(())
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.columns() == b.columns()
}

/// Reads on another thread, which tells when it goes into a poll and when it comes out.
pub(super) async fn blocking(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, MANY);
        probe.harness.load(&subject, &rows).await;
        let dataset = probe.dataset(&subject).await?;
        let (polls, watch) = mpsc::channel();
        let spawned = thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let mut read = dataset.collect();
                // An error is another check's matter.
                let _ = runtime.block_on(std::future::poll_fn(|context| {
                    let _ = polls.send(());
                    let poll = Pin::new(&mut read).poll(context);
                    let _ = polls.send(());
                    poll
                }));
            }
        });
        spawned.map_err(|error| probe.fail(format!("no thread to read on: {error}")))?;
        while watch.recv().is_ok() {
            if let Err(mpsc::RecvTimeoutError::Timeout) = watch.recv_timeout(PATIENCE) {
                return Err(probe.fail(format!(
                    "reading {} did not give its thread back for {PATIENCE:?}; use \
                     `SnapshotWriter::blocking` for what blocks",
                    subject.name
                )));
            }
        }
    }
    Ok(())
}

pub(super) async fn cancel(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, MANY);
        probe.harness.load(&subject, &rows).await;
        let expected = probe.rows(&subject, &rows)?;
        let mut polls = 1;
        loop {
            let dataset = probe.dataset(&subject).await?;
            let finished = poll_times(dataset.collect(), polls).await;
            let what = format!("after a read that was dropped at await {polls}");
            let seen = dataset.collect().await.map_err(probe.unexpected(&what))?;
            probe.same(&what, &subject, &expected, &seen)?;
            if finished {
                break;
            }
            polls += 1 + polls / EVERY_AWAIT * polls;
        }
    }
    Ok(())
}

/// Polls a future at most so many times, each time after it was woken, and drops it. Tells whether
/// it was ready.
async fn poll_times<F: Future>(future: F, mut polls: u32) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context: &mut Context<'_>| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
