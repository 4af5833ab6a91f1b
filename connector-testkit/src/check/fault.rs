//! A source that breaks.

use std::time::Duration;

use connector_core::{Availability, DatasetExt, Error, ErrorKind};

use super::{Probe, Shown};
use crate::{
    generate::numbered_rows,
    harness::{Fault, FaultKind, Subject},
};

/// A read of a silent source is given up after this. Any wait shows the same.
const SILENCE: Duration = Duration::from_millis(50);

/// Every fault that ends a read.
pub(super) fn faults() -> [Fault; 5] {
    let text = "malformed".to_owned();
    [
        Fault::Cut,
        Fault::Vanish,
        Fault::Deny,
        Fault::Malformed { text },
        Fault::ChangeWhileRead,
    ]
}

/// What a caller does next about each fault.
fn fits(fault: FaultKind, kind: ErrorKind) -> bool {
    use ErrorKind::{
        Auth, Cancelled, Config, Data, Held, Incomplete, NotCollected, NotFound, Permission, Sink,
        Source, Storage, Unavailable, Unexpected,
    };
    match fault {
        // What need not be there is not collected.
        FaultKind::Vanish => matches!(kind, NotFound | NotCollected | Source),
        FaultKind::Deny => matches!(kind, Auth | Permission),
        FaultKind::Malformed => matches!(kind, Data | Source),
        FaultKind::Cut => matches!(kind, Incomplete | Unavailable | Data | Source),
        FaultKind::ChangeWhileRead => matches!(kind, Incomplete | Unavailable | Source),
        FaultKind::Hang => !matches!(
            kind,
            Config | Held | Storage | Sink | Unexpected | Cancelled
        ),
    }
}

pub(super) async fn hang(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, 100);
        probe.harness.load(&subject, &rows).await;
        let dataset = probe.dataset(&subject).await?;
        if !probe.fault(&subject, &Fault::Hang).await? {
            return Ok(());
        }
        // A connector may have a time-out of its own; what it may not do is finish.
        match tokio::time::timeout(SILENCE, dataset.collect()).await {
            Ok(Ok(rows)) => {
                let read = rows.len();
                return Err(probe.fail(format!(
                    "{} was read ({read} rows) from a source that stopped answering",
                    subject.name
                )));
            }
            Ok(Err(error)) => right_kind(probe, &subject, FaultKind::Hang, &error)?,
            Err(_elapsed) => {}
        }
        drop(dataset);
        probe.expect("after a hang", &subject, &rows).await?;
    }
    Ok(())
}

fn right_kind(probe: &Probe<'_>, subject: &Subject, fault: FaultKind, error: &Error) -> Shown {
    probe.ensure(fits(fault, error.kind()), || {
        format!(
            "{} under {fault:?} fails with kind {}, which tells a caller to do the wrong thing: \
             {error:#}",
            subject.name,
            error.kind()
        )
    })
}

pub(super) async fn broken(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for fault in faults() {
            let rows = numbered_rows(&subject.schema, 100);
            probe.harness.load(&subject, &rows).await;
            let before = probe.dataset(&subject).await?;
            if !probe.fault(&subject, &fault).await? {
                continue;
            }
            // A data set from before the fault, and one from a listing after it.
            let after = match probe.harness.connector().datasets().await {
                Ok(datasets) => datasets.into_iter().find(|d| d.name() == subject.name),
                Err(error) => {
                    right_kind(probe, &subject, fault.kind(), &error)?;
                    None
                }
            };
            for dataset in std::iter::once(before).chain(after) {
                match dataset.collect().await {
                    Ok(seen) => {
                        let (kind, seen) = (fault.kind(), seen.len());
                        return Err(probe.fail(format!(
                            "{} is read as complete with {seen} of 100 rows under {kind:?}",
                            subject.name
                        )));
                    }
                    Err(error) => right_kind(probe, &subject, fault.kind(), &error)?,
                }
            }
            probe.expect("after the fault", &subject, &rows).await?;
        }
    }
    Ok(())
}

pub(super) async fn report(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, 10);
        probe.harness.load(&subject, &rows).await;
        let seen = availability(probe, &subject).await?;
        probe.ensure(matches!(seen, Some(Ok(Availability::Available))), || {
            format!(
                "{} can be read, and the check says {}",
                subject.name,
                told(seen.as_ref())
            )
        })?;
        for fault in [Fault::Deny, Fault::Vanish] {
            probe.harness.load(&subject, &rows).await;
            if !probe.fault(&subject, &fault).await? {
                continue;
            }
            let seen = availability(probe, &subject).await?;
            let truth = match (&seen, fault.kind()) {
                (Some(Ok(Availability::MissingPermission { .. })), FaultKind::Deny)
                | (None | Some(Ok(Availability::NotCollected { .. })), FaultKind::Vanish) => true,
                (Some(Ok(Availability::Failed(error)) | Err(error)), kind) => {
                    fits(kind, error.kind())
                }
                _ => false,
            };
            probe.ensure(truth, || {
                let (kind, told) = (fault.kind(), told(seen.as_ref()));
                format!("under {kind:?} the check says of {}: {told}", subject.name)
            })?;
        }
        probe.harness.load(&subject, &rows).await;
    }
    Ok(())
}

/// What the check says of a data set: nothing, its state, or that the source can't be used at all.
async fn availability(
    probe: &Probe<'_>,
    subject: &Subject,
) -> Shown<Option<Result<Availability, Error>>> {
    match probe.harness.connector().check().await {
        Err(error) => Ok(Some(Err(error))),
        Ok(report) => {
            let mut of_subject = report.datasets.into_iter();
            Ok(of_subject
                .find(|dataset| dataset.name == subject.name)
                .map(|dataset| Ok(dataset.availability)))
        }
    }
}

fn told(seen: Option<&Result<Availability, Error>>) -> String {
    match seen {
        None => "nothing".to_owned(),
        Some(Ok(availability)) => availability.to_string(),
        Some(Err(error)) => format!("{error:#}"),
    }
}
