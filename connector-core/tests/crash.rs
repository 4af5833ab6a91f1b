//! The process dies at every single storage call of a run over several cycles, and everything that
//! was not synced is lost, kept, torn or zeroed. Whatever is left is opened and driven on.

mod lab;

use std::sync::Arc;

use connector_core::{
    CycleId, Outcome, Value,
    schema::{Declared, int, text},
};
use connector_testkit::{SinkFault, Unsynced};
use lab::{Lab, device, devices};

const WIDER: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    int("free").null().volatile(),
    text("owner").null(),
]);

/// The steps of the run: what the source holds, and what goes wrong at a sink.
const STEPS: usize = 8;

async fn step(lab: &mut Lab, step: usize) {
    lab.options.clean = false;
    let many = |cores| [devices(0..30, cores), devices(100..700, 8)].concat();
    match step {
        // A full load.
        0 => lab.source.set(many(1)),
        // Changes; the second sink fails after it has done its work.
        1 => {
            lab.source.set(many(2));
            lab.sinks[1].1.fail(SinkFault::AfterCommit, 0);
        }
        // More; the second sink fails before.
        2 => {
            lab.source.set([many(2), devices(700..730, 8)].concat());
            lab.sinks[1].1.fail(SinkFault::BeforeWrite, 0);
        }
        // Enough for a fold.
        3 => lab
            .source
            .set([devices(0..30, 3), devices(100..720, 9)].concat()),
        // Nothing.
        4 => {}
        // A new column.
        5 => {
            lab.source.set_schema(Arc::new(WIDER.into()));
            let mut rows = [devices(0..30, 3), devices(100..720, 9)].concat();
            for row in &mut rows {
                row.push(Value::Null);
            }
            rows[7][3] = Value::Text("Ann".into());
            lab.source.set(rows);
        }
        // Clean.
        6 => lab.options.clean = true,
        _ => {
            let mut row = device("last", 1);
            row.push(Value::Null);
            lab.source.set(vec![row]);
            lab.options.guard.rows = u64::MAX;
        }
    }
    let _ = lab.sync().await;
}

/// How many steps a dead process had begun, and what is left of it.
async fn run_until(call: u64) -> (Lab, usize) {
    let mut lab = Lab::new(&["one", "two"]);
    lab.storage.freeze_at(call);
    for number in 0..STEPS {
        step(&mut lab, number).await;
        if lab.storage.is_frozen() {
            return (lab, number);
        }
    }
    (lab, STEPS)
}

/// C1: what a restart opens is one whole committed state. C2 and C3: what a sink saw fits what it
/// is sent afterwards, which the memory sink checks event by event, by `before` images and digest.
#[tokio::test]
async fn c1_c2_c3_a_crash_at_any_call_leaves_a_state_that_goes_on() {
    let (whole, steps) = run_until(u64::MAX).await;
    assert_eq!(steps, STEPS);
    let calls = whole.storage.calls();
    assert!(
        calls > 150,
        "{calls} calls are too few to be the run that is meant"
    );

    let mut images = 0;
    // The first call is the lock: without it there is no process to die.
    for call in 2..=calls {
        for unsynced in Unsynced::ALL {
            let (mut lab, begun) = run_until(call).await;
            let died_in = lab.storage.call(call).unwrap_or_default();
            lab.stop();
            lab.storage = lab.storage.reopen(unsynced);
            images += 1;

            let before = lab.store().await.status(&Lab::id()).await;
            let before =
                before.unwrap_or_else(|e| panic!("call {call} ({died_in}), {unsynced:?}: {e:#}"));
            // What a sink has committed, the store knows of: else its next cycle would not fit.
            for (name, sink) in &lab.sinks {
                let received = sink.inner().cycle(&Lab::id()).map(CycleId::number);
                let stored = before.as_ref().map(|status| status.cycle.number());
                assert!(
                    stored >= received,
                    "call {call} ({died_in}), {unsynced:?}: {stored:?}, sink {name} {received:?}"
                );
            }
            if let Some(status) = &before {
                let rows = lab.baseline().await;
                assert_eq!(
                    rows.len() as u64,
                    status.rows,
                    "call {call} ({died_in}), {unsynced:?}"
                );
                let mut digest = connector_core::Digest::default();
                for row in &rows {
                    digest.add(row);
                }
                assert_eq!(
                    digest, status.digest,
                    "call {call} ({died_in}), {unsynced:?}"
                );
            }
            // On from the step that was cut, as the next start of the process would.
            for number in begun..STEPS {
                step(&mut lab, number).await;
            }
            let report = lab.sync().await;
            assert!(
                matches!(report.outcome, Outcome::Synced(_)) && report.is_ok(),
                "call {call} ({died_in}), {unsynced:?}: {report:?}"
            );
            let rows = lab.baseline().await;
            assert_eq!(rows.len(), 1);
            assert_eq!(lab.copy(0), rows, "call {call} ({died_in}), {unsynced:?}");
            assert_eq!(lab.copy(1), rows, "call {call} ({died_in}), {unsynced:?}");
        }
    }
    assert!(images > 600, "{images}");
}

/// Every single storage call fails once, with the process going on.
#[tokio::test]
async fn a_storage_call_that_fails_costs_at_most_its_own_cycle() {
    let (whole, _) = run_until(u64::MAX).await;
    for call in 2..=whole.storage.calls() {
        let mut lab = Lab::new(&["one", "two"]);
        lab.storage.fail_at(call, std::io::ErrorKind::StorageFull);
        for number in 0..STEPS {
            step(&mut lab, number).await;
        }
        let report = lab.sync().await;
        assert!(report.is_ok(), "call {call}: {report:?}");
        let rows = lab.baseline().await;
        assert_eq!(lab.copy(0), rows, "call {call}");
        assert_eq!(lab.copy(1), rows, "call {call}");
    }
}
