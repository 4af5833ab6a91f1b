//! C1 to C4: crashes, sinks that fail and data sets that fail.

use connector_core::{ChangeEvent, CycleId, DatasetReport, Outcome, Row};

use super::{
    Probe, Shown, changed_row,
    rig::{Rig, no_guard, summary, synced},
};
use crate::{
    generate::numbered_rows,
    harness::{Fault, Subject, Values},
    sink::SinkFault,
    storage::{CrashStorage, Unsynced},
};

/// Crashes tried with each data set and way of losing what was not synced. The store's own tests
/// crash at every call; here it is the connector that is asked to take it.
const CRASHES: u64 = 6;

/// What the source holds in three cycles: a full load, changes, changes again.
fn generations(subject: &Subject) -> [Vec<Values>; 3] {
    let first = numbered_rows(&subject.schema, 30);
    let change = |rows: &[Values], number| {
        let changed = |row| changed_row(subject, row, number, |column| !column.is_key());
        rows.iter().map(changed).collect::<Vec<_>>()
    };
    let mut second = first[3..].to_vec();
    second.splice(..5, change(&second[..5], 4001));
    let mut third = second[..20].to_vec();
    third.extend_from_slice(&numbered_rows(&subject.schema, 40)[30..]);
    third.splice(8..12, change(&third[8..12], 4002));
    [first, second, third]
}

pub(super) async fn c1(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let generations = generations(&subject);
        let whole = Rig::new(probe).await?;
        for rows in &generations {
            probe.harness.load(&subject, rows).await;
            whole.sync(probe, &subject).await?;
        }
        let calls = whole.storage.calls();
        for unsynced in Unsynced::ALL {
            for crash in 1..=CRASHES {
                let at = calls * crash / (CRASHES + 1);
                crash_at(probe, &subject, &generations, at.max(2), unsynced).await?;
            }
        }
    }
    Ok(())
}

async fn crash_at(
    probe: &Probe<'_>,
    subject: &Subject,
    generations: &[Vec<Values>],
    call: u64,
    unsynced: Unsynced,
) -> Shown {
    let storage = CrashStorage::new();
    storage.freeze_at(call);
    let mut rig = Rig::on(probe, storage).await?;
    let mut last_whole = None;
    for (number, rows) in generations.iter().enumerate() {
        probe.harness.load(subject, rows).await;
        let report = rig.run(probe, subject).await?;
        if !rig.storage.is_frozen() && report.is_ok() {
            last_whole = Some(number);
        }
    }
    let crash = rig.storage.call(call).unwrap_or_default();
    let what = format!("after a crash in call {call} ({crash}), unsynced {unsynced:?}");
    rig.restart(probe, unsynced).await?;

    let opened = rig.baseline(probe, subject).await?;
    let found = match &opened {
        None => None,
        Some(opened) => Some(which(probe, subject, generations, opened)?.ok_or_else(|| {
            probe.fail(format!("{}, {what}: a state that never was", subject.name))
        })?),
    };
    probe.ensure(found >= last_whole, || {
        format!(
            "{}, {what}: cycle {last_whole:?} is lost, {found:?} is there",
            subject.name
        )
    })?;
    // What the receiver has committed, the store knows.
    let status = rig.status(probe, subject).await?;
    let stored = status.map(|status| status.cycle.number());
    let received = rig.sink.inner().cycle(&rig.id(subject));
    let received = received.map(CycleId::number);
    probe.ensure(stored >= received, || {
        format!(
            "{}, {what}: the receiver is at cycle {received:?}, the store at {stored:?}",
            subject.name
        )
    })?;

    rig.sync(probe, subject).await?;
    let expected = match generations.last() {
        Some(rows) => probe.rows(subject, rows)?,
        None => Vec::new(),
    };
    rig.holds(probe, subject, &what, &expected).await
}

/// Which generation these rows are.
fn which(
    probe: &Probe<'_>,
    subject: &Subject,
    generations: &[Vec<Values>],
    rows: &[Row],
) -> Shown<Option<usize>> {
    for (number, values) in generations.iter().enumerate() {
        let expected = probe.rows(subject, values)?;
        if crate::model::difference(&expected, rows).is_none() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// What a sink saw of one cycle before and after it failed.
struct Redelivery {
    what: String,
    before: Vec<ChangeEvent>,
    after: Vec<ChangeEvent>,
}

/// Lets a sink fail in the first cycle or the second, then goes on with the source changed; with
/// and without a restart in between. Sees that the receiver is right in the end.
async fn redeliveries(probe: &Probe<'_>, subject: &Subject) -> Shown<Vec<Redelivery>> {
    let generations = generations(subject);
    let mut all = Vec::new();
    for fault in SinkFault::ALL {
        for failing in [0, 1] {
            for restart in [false, true] {
                let what = format!(
                    "{}, sink failed {fault:?} in cycle {}{}",
                    subject.name,
                    failing + 1,
                    if restart { " and a restart" } else { "" }
                );
                let mut rig = Rig::new(probe).await?;
                for rows in &generations[..failing] {
                    probe.harness.load(subject, rows).await;
                    rig.sync(probe, subject).await?;
                }
                rig.sink.take_seen();
                probe.harness.load(subject, &generations[failing]).await;
                rig.sink.fail(fault, 0);
                let report = rig.run(probe, subject).await?;
                probe.ensure(!rig.sink.is_armed(), || format!("{what}: nothing was sent"))?;
                probe.ensure(report.sink_errors.len() == 1, || {
                    format!("{what}: the sink's failure is not reported")
                })?;
                let before = rig.sink.take_seen();
                if restart {
                    rig.restart(probe, Unsynced::Lost).await?;
                }
                probe.harness.load(subject, &generations[2]).await;
                rig.sync(probe, subject).await?;
                let expected = probe.rows(subject, &generations[2])?;
                rig.holds(probe, subject, &what, &expected).await?;
                let after = rig.sink.take_seen();
                all.push(Redelivery {
                    what,
                    before,
                    after,
                });
            }
        }
    }
    Ok(all)
}

pub(super) async fn c2(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for Redelivery {
            what,
            before,
            after,
        } in redeliveries(probe, &subject).await?
        {
            let again = |event: &ChangeEvent| {
                after
                    .iter()
                    .any(|other| other.cycle == event.cycle && other.change == event.change)
            };
            probe.ensure(before.iter().all(again), || {
                format!("{what}: of {} not all are sent again", summary(&before))
            })?;
        }
    }
    Ok(())
}

pub(super) async fn c3(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for Redelivery {
            what,
            before,
            after,
        } in redeliveries(probe, &subject).await?
        {
            probe.ensure(after.starts_with(&before), || {
                format!(
                    "{what}: first {}, then {} that do not begin with the same under the same ids",
                    summary(&before),
                    summary(&after)
                )
            })?;
        }
    }
    Ok(())
}

pub(super) async fn c4(probe: &Probe<'_>) -> Shown {
    let subjects = probe.harness.subjects();
    let [failing, other, ..] = &subjects[..] else {
        return Err(probe.fail(
            "the harness names fewer than two subjects; if the connector has one data set only, \
             declare this check in `unsupported` with the reason",
        ));
    };
    let text = "malformed".to_owned();
    let [first, second, _] = generations(failing);
    let [other_first, other_second, _] = generations(other);
    for fault in [Fault::Malformed { text }, Fault::Cut, Fault::Vanish] {
        let kind = fault.kind();
        let rig = Rig::new(probe).await?;
        probe.harness.load(failing, &first).await;
        probe.harness.load(other, &other_first).await;
        for report in run_all(probe, &rig).await? {
            synced(probe, &report)?;
        }
        probe.harness.load(failing, &second).await;
        probe.harness.load(other, &other_second).await;
        if !probe.fault(failing, &fault).await? {
            continue;
        }
        for report in run_all(probe, &rig).await? {
            if report.id == rig.id(failing) {
                let failed = matches!(report.outcome, Outcome::Failed(_));
                probe.ensure(failed, || {
                    format!("{} is synced under {kind:?}", failing.name)
                })?;
            } else if report.id == rig.id(other) {
                synced(probe, &report)?;
            }
        }
        let what = format!("while the other is under {kind:?}");
        rig.holds(probe, other, &what, &probe.rows(other, &other_second)?)
            .await?;
        let what = format!("under {kind:?}");
        rig.holds(probe, failing, &what, &probe.rows(failing, &first)?)
            .await?;
        probe.harness.load(failing, &second).await;
        for report in run_all(probe, &rig).await? {
            synced(probe, &report)?;
        }
        let what = format!("after {kind:?}");
        rig.holds(probe, failing, &what, &probe.rows(failing, &second)?)
            .await?;
    }
    Ok(())
}

async fn run_all(probe: &Probe<'_>, rig: &Rig) -> Shown<Vec<DatasetReport>> {
    let reports = rig.cycle(no_guard()).run(&*probe.harness.connector()).await;
    reports.map_err(probe.unexpected("a cycle over all data sets"))
}
