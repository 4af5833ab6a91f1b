//! Something goes wrong at every storage call, and the process goes on.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use connector_core::{
    Dataset, DatasetInfo, DatasetReport, ErrorKind, Outcome, Result, Schema, SnapshotWriter, Store,
};
use connector_testkit::{StorageFault, Unsynced};
use futures::FutureExt;

use super::{
    lab::{Lab, devices},
    script::{Checkpoint, DIGESTS, ROWS, Rehearsed, STEPS, World, rehearse},
};

async fn fail_everywhere(fault: StorageFault) {
    let mut run = rehearse(ROWS).await;
    run.extend(rehearse(DIGESTS).await);
    let (mut tried, mut told) = (0, 0);
    for Rehearsed {
        step,
        before,
        calls,
    } in &run
    {
        // The first call is the lock: a process that does not get it does nothing.
        for call in 2..=calls.len() {
            if differs(fault, &calls[call - 1]) {
                tried += 1;
                told += u32::from(fail(before, *step, calls, call, fault).await);
            }
        }
    }
    println!("{tried} calls, {told} of them made a cycle fail");
    assert!(tried > 80 && told > tried / 3, "{told} of {tried}");
}

/// Tells whether a fault that begins in the call is another one than if it began in the next.
fn differs(fault: StorageFault, call: &str) -> bool {
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|name| call.starts_with(&format!("{name} ")))
    };
    match fault {
        StorageFault::Fails(_) => true,
        StorageFault::Full => is(&["create", "write"]),
        StorageFault::Denied => !is(&["write", "sync", "size", "read"]) || is(&["sync folder"]),
        StorageFault::Removed => !is(&["read", "list", "sync folder"]),
    }
}

/// Lets one call fail; tells whether anybody was told.
async fn fail(
    before: &Checkpoint,
    step: usize,
    calls: &[String],
    call: usize,
    fault: StorageFault,
) -> bool {
    let name = &calls[call - 1];
    let place = format!("{}, call {call} ({name}), {fault:?}", STEPS[step]);
    let mut world = before.world().await;
    world.lab.storage.fault_at(call as u64, fault);
    let (reports, others) = world.step(step).await;
    let spilled = world.spilled();
    let errors: Vec<_> = reports
        .iter()
        .filter_map(|report| error(report, &place))
        .collect();
    if let StorageFault::Fails(_) = fault {
        for error in &errors {
            let (_, path) = name.rsplit_once(' ').unwrap_or_default();
            let path = format!("memory:{}", path.trim_end_matches(".new"));
            assert!(error.contains(&path), "{place}: {error}");
        }
        if name.contains("lab/devices") {
            let fine = others.iter().all(DatasetReport::is_ok);
            assert!(fine, "C4, {place}: {others:?}");
        }
    }
    if fault != StorageFault::Denied && !name.starts_with("remove ") {
        assert!(spilled.is_empty(), "{place}: {spilled:?}");
    }
    world.lab.storage.mend();

    // Only what somebody else removed from the committed state is lost. A folder without a manifest
    // is one where nothing was committed yet.
    let lost = fault == StorageFault::Removed
        && (name.ends_with("/manifest") || !world.is_whole(step).await);
    if lost {
        assert!(
            was_checked(calls, call),
            "{place}: nobody looked for the file"
        );
        let outcome = world.heal(step).await.outcome;
        assert!(
            matches!(outcome, Outcome::Synced(_)),
            "{place}: {outcome:?}"
        );
    } else {
        world.check_state(step, &place).await;
        // What the store takes for committed must be so, whatever a later sync said.
        let mut crashed = Checkpoint::take(&mut world, step).world().await;
        crashed.reopen(Unsynced::Lost);
        crashed.check_state(step, &place).await;
    }
    world.step(step).await;
    let report = world.settle(step).await;
    assert!(report.is_ok(), "{place}: {report:?}");
    world.check_end(step, &place).await;
    let mut crashed = Checkpoint::take(&mut world, step).world().await;
    crashed.reopen(Unsynced::Lost);
    crashed.check_copies(step, &place).await;
    !errors.is_empty()
}

/// Tells whether the file that a call is about had been found whole before, in this step or one
/// before it. Only then can it be a part of the state that is lost.
fn was_checked(calls: &[String], call: usize) -> bool {
    let (_, path) = calls[call - 1].rsplit_once(' ').unwrap();
    let find = |from: usize, what: &str| {
        let name = format!("{what} {path}");
        calls
            .iter()
            .skip(from)
            .position(|call| *call == name)
            .map(|i| from + i)
    };
    match find(0, "sync").filter(|_| !path.ends_with("manifest")) {
        Some(written) => find(written, "open").is_some_and(|checked| checked < call),
        None => true,
    }
}

/// What a report says went wrong in the store, which names a path.
fn error(report: &DatasetReport, place: &str) -> Option<String> {
    let Outcome::Failed(error) = &report.outcome else {
        return None;
    };
    let text = format!("{error:#}");
    match error.kind() {
        // As the script has it: a read that is cut, and nothing that is held.
        ErrorKind::Unavailable | ErrorKind::NotFound => None,
        kind => {
            assert_eq!(kind, ErrorKind::Storage, "{place}: {text}");
            assert!(text.contains("memory:"), "{place}: {text}");
            Some(text)
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_costs_its_own_cycle() {
    fail_everywhere(StorageFault::Fails(std::io::ErrorKind::Other)).await;
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while() {
    fail_everywhere(StorageFault::Full).await;
}

#[tokio::test]
async fn a_right_that_is_lost_for_a_while() {
    fail_everywhere(StorageFault::Denied).await;
}

#[tokio::test]
async fn a_file_that_somebody_else_removes() {
    fail_everywhere(StorageFault::Removed).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_locked_is_named() {
    let lab = Lab::new(&[]);
    lab.storage.fault_at(1, StorageFault::Denied);
    let store = Store::open(Arc::new(lab.storage.clone()), Arc::new(lab.clock.clone()));
    let error = store.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("path: memory:"), "{error}");
}

/// A source that returns its rows and then no end.
#[derive(Debug)]
struct Endless(Arc<dyn Dataset>);

#[async_trait]
impl Dataset for Endless {
    fn info(&self) -> &DatasetInfo {
        self.0.info()
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        self.0.schema(known).await
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        self.0.read(out).await?;
        std::future::pending().await
    }
}

#[test]
fn what_was_spilled_goes_when_a_cycle_is_dropped() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build().unwrap()
    };
    let mut world = World::new();
    runtime().block_on(async {
        world.lab.source.set(devices((0..20_000).rev(), 1));
        world.lab.synced().await;
    });
    world.lab.stop();
    world.lab.clock.advance(Duration::from_mins(1));
    world.lab.source.set(devices((0..20_000).rev(), 2));
    world.lab.options.memory = 0;

    let dropped = runtime();
    dropped.block_on(async {
        let cycle = world.lab.cycle().await;
        let source = Endless(Arc::clone(&world.lab.source) as Arc<dyn Dataset>);
        let mut run = Box::pin(cycle.run_dataset("lab", &source));
        let mut polls = 0;
        while world.spilled().is_empty() {
            assert!((&mut run).now_or_never().is_none());
            polls += 1;
            assert!(polls < 10_000_000, "nothing is ever spilled");
            tokio::task::yield_now().await;
        }
    });
    // Waits for the threads that the cycle has left.
    drop(dropped);
    assert_eq!(world.spilled(), [""; 0]);
    assert_eq!(world.lab.files(), world.lab.named());
}
