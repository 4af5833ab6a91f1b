//! S1 to S3, D1 and D2: what a cycle may make of what was read.

use connector_core::{Column, DatasetStatus, DeleteGuard, Duplicates, ErrorKind, Outcome};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Probe, Shown, changed_row,
    fault::faults,
    rig::{Rig, guarded, summary, synced},
    twin,
};
use crate::{
    generate::{Script, numbered_rows, script, shuffle},
    harness::{FaultKind, Subject, Values},
    model::Model,
};

/// Scripts tried with each data set. The seed is fixed: a failure comes again.
const SCRIPTS: u32 = 16;
const SEED: [u8; 32] = *b"connector-testkit edit scripts 1";
/// Attempts to make a failing script smaller.
const SHRINKS: u32 = 200;

pub(super) async fn s1(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for fault in faults() {
            let kind = fault.kind();
            // Once before there is a baseline, once with one.
            for synced_before in [false, true] {
                let rows = numbered_rows(&subject.schema, 100);
                let rig = Rig::new(probe).await?;
                probe.harness.load(&subject, &rows).await;
                if synced_before {
                    rig.sync(probe, &subject).await?;
                    rig.sink.take_seen();
                }
                let before = rig.status(probe, &subject).await?;
                let dataset = probe.dataset(&subject).await?;
                if !probe.fault(&subject, &fault).await? {
                    break;
                }
                let report = rig.run_dataset(&*dataset).await;
                let seen = rig.sink.take_seen();
                probe.ensure(seen.is_empty(), || {
                    format!("{} under {kind:?} sent {}", subject.name, summary(&seen))
                })?;
                // What need not be there, and never was, is no failure.
                let never = kind == FaultKind::Vanish && !synced_before;
                let told = match &report.outcome {
                    Outcome::NotCollected { .. } => never,
                    outcome => matches!(outcome, Outcome::Failed(_)),
                };
                probe.ensure(told, || {
                    format!(
                        "{} under {kind:?} ended with {:?}",
                        subject.name, report.outcome
                    )
                })?;
                let after = rig.status(probe, &subject).await?;
                let state =
                    |s: Option<DatasetStatus>| s.map(|s| (s.rows, s.digest, s.cycle, s.synced));
                probe.ensure(state(before) == state(after), || {
                    format!("{} under {kind:?} changed the baseline", subject.name)
                })?;

                probe.harness.load(&subject, &rows).await;
                let events = rig.sync(probe, &subject).await?;
                probe.ensure(!synced_before || events == 0, || {
                    format!("{} after {kind:?} sent {events} events", subject.name)
                })?;
                let expected = probe.rows(&subject, &rows)?;
                let what = format!("after {kind:?}");
                rig.holds(probe, &subject, &what, &expected).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn s2(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, 10);
        let expected = probe.rows(&subject, &rows)?;
        let rig = Rig::new(probe).await?;
        let mut repeated = rows.clone();
        repeated.extend_from_slice(&rows[2..5]);
        probe.harness.load(&subject, &repeated).await;
        rig.sync(probe, &subject).await?;
        rig.holds(probe, &subject, "with equal rows", &expected)
            .await?;

        let Some(twin) = twin(&subject, &rows[3], &rows[4]) else {
            probe.note(format!("{}: every column is part of the key", subject.name));
            continue;
        };
        let dataset = probe.dataset(&subject).await?;
        let schema = dataset.schema(None).await;
        let policy = schema
            .map_err(probe.unexpected("asking for the schema"))?
            .duplicates();
        let mut differing = rows.clone();
        differing.push(twin);
        rig.sink.take_seen();
        let mut kept = None;
        for order in ["one order", "the other"] {
            probe.harness.load(&subject, &differing).await;
            let report = rig.run(probe, &subject).await?;
            match policy {
                Duplicates::Fail => {
                    let data = matches!(&report.outcome, Outcome::Failed(error) if error.kind() == ErrorKind::Data);
                    probe.ensure(data, || {
                        let outcome = &report.outcome;
                        format!(
                            "{}, differing rows under one key: {outcome:?}",
                            subject.name
                        )
                    })?;
                    let seen = rig.sink.take_seen();
                    probe.ensure(seen.is_empty(), || format!("it sent {}", summary(&seen)))?;
                    rig.holds(probe, &subject, "after repeated keys", &expected)
                        .await?;
                }
                Duplicates::KeepGreatest => {
                    let events = synced(probe, &report)?;
                    probe.ensure(kept.is_none() || events == 0, || {
                        format!("{}: which row is kept depends on their order", subject.name)
                    })?;
                    kept = rig.baseline(probe, &subject).await?;
                    let held = kept.as_ref().map_or(0, Vec::len);
                    probe.ensure(held == rows.len(), || {
                        format!(
                            "{}, {order}: {held} rows for {} keys",
                            subject.name,
                            rows.len()
                        )
                    })?;
                }
            }
            differing.reverse();
        }
    }
    Ok(())
}

pub(super) async fn s3(probe: &Probe<'_>) -> Shown {
    let guard = || {
        guarded(DeleteGuard {
            rows: 5,
            share: 0.1,
            empty: true,
        })
    };
    for subject in probe.harness.subjects() {
        let rows = numbered_rows(&subject.schema, 20);
        let expected = probe.rows(&subject, &rows)?;
        let rig = Rig::new(probe).await?;
        let connector = probe.harness.connector();
        let name = &connector.info().name;
        probe.harness.load(&subject, &rows).await;
        rig.sync(probe, &subject).await?;
        rig.sink.take_seen();
        for (what, left) in [("a mass deletion", 10), ("an empty result", 0)] {
            probe.harness.load(&subject, &rows[..left]).await;
            let dataset = probe.dataset(&subject).await?;
            let report = rig.cycle(guard()).run_dataset(name, &*dataset).await;
            let outcome = &report.outcome;
            probe.ensure(matches!(outcome, Outcome::Held(_)), || {
                format!("{}: {what} was not held: {outcome:?}", subject.name)
            })?;
            let seen = rig.sink.take_seen();
            probe.ensure(seen.is_empty(), || {
                format!("{what} sent {}", summary(&seen))
            })?;
            rig.holds(probe, &subject, "while held", &expected).await?;
        }
        let rejected = rig.cycle(guard()).reject(&rig.id(&subject)).await;
        rejected.map_err(probe.unexpected("rejecting the cycle"))?;
        rig.holds(probe, &subject, "after a rejection", &expected)
            .await?;

        // Few deletes pass; many pass when a person says so.
        probe.harness.load(&subject, &rows[5..]).await;
        let dataset = probe.dataset(&subject).await?;
        synced(
            probe,
            &rig.cycle(guard()).run_dataset(name, &*dataset).await,
        )?;
        rig.holds(probe, &subject, "after five deletes", &expected[5..])
            .await?;
        probe.harness.load(&subject, &rows[18..]).await;
        rig.cycle(guard()).run_dataset(name, &*dataset).await;
        synced(probe, &rig.cycle(guard()).approve(&rig.id(&subject)).await)?;
        rig.holds(probe, &subject, "after an approval", &expected[18..])
            .await?;
    }
    Ok(())
}

pub(super) async fn d1(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        for_all(probe, &script(&subject.schema), async |mut script| {
            probe.fit_script(&subject, &mut script);
            follow(probe, &subject, &script).await
        })
        .await?;
    }
    Ok(())
}

/// Syncs after each step of a script.
async fn follow(probe: &Probe<'_>, subject: &Subject, script: &Script) -> Shown {
    let rig = Rig::new(probe).await?;
    let mut model = Model::new();
    let mut source = probe.source(subject, &script.start)?;
    for (number, step) in script.steps.iter().enumerate() {
        source
            .apply(step)
            .map_err(probe.unexpected("making rows that the subject's schema allows"))?;
        probe.harness.load(subject, &source.given(step)).await;
        rig.sync(probe, subject).await?;
        rig.deliver_to(probe, &mut model)?;
        let what = format!("after step {number}");
        let expected = source.rows();
        let held: Vec<_> = model.rows().cloned().collect();
        probe.same(&format!("{what}, in the model"), subject, &expected, &held)?;
        rig.holds(probe, subject, &what, &expected).await?;
    }
    Ok(())
}

/// Tries generated cases; of one that fails, the smallest that fails too is told.
async fn for_all<S: Strategy>(
    probe: &Probe<'_>,
    strategy: &S,
    shows: impl AsyncFn(S::Value) -> Shown,
) -> Shown
where
    S::Value: Clone,
{
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..SCRIPTS {
        let mut tree = strategy
            .new_tree(&mut runner)
            .map_err(|reason| probe.fail(format!("no script could be made: {reason}")))?;
        let Err(mut failure) = shows(tree.current()).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut goes_on = tree.simplify();
        for _ in 0..SHRINKS {
            if !goes_on {
                break;
            }
            goes_on = match shows(tree.current()).await {
                Err(smaller) => {
                    (failure, smallest) = (smaller, tree.current());
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        return Err(probe.fail(format!("{}\nscript: {smallest:?}", failure.message())));
    }
    Ok(())
}

pub(super) async fn d2(probe: &Probe<'_>) -> Shown {
    for subject in probe.harness.subjects() {
        let mut rows = numbered_rows(&subject.schema, 100);
        let rig = Rig::new(probe).await?;
        probe.harness.load(&subject, &rows).await;
        rig.sync(probe, &subject).await?;
        silent(probe, &rig, &subject, "the same source").await?;
        probe.harness.load(&subject, &rows).await;
        silent(probe, &rig, &subject, "the same rows loaded again").await?;
        for seed in 0..3 {
            shuffle(&mut rows, seed);
            probe.harness.load(&subject, &rows).await;
            silent(probe, &rig, &subject, "another order").await?;
        }
        rows.push(rows[7].clone());
        probe.harness.load(&subject, &rows).await;
        silent(probe, &rig, &subject, "a row repeated").await?;
        if subject.schema.columns().iter().any(Column::is_volatile) {
            let moved: Vec<Values> = rows
                .iter()
                .map(|row| changed_row(&subject, row, 5000, Column::is_volatile))
                .collect();
            probe.harness.load(&subject, &moved).await;
            silent(probe, &rig, &subject, "volatile columns moved").await?;
        }
    }
    Ok(())
}

async fn silent(probe: &Probe<'_>, rig: &Rig, subject: &Subject, what: &str) -> Shown {
    rig.sink.take_seen();
    rig.sync(probe, subject).await?;
    let seen = rig.sink.take_seen();
    probe.ensure(seen.is_empty(), || {
        format!("{}, {what}: sent {}", subject.name, summary(&seen))
    })
}
