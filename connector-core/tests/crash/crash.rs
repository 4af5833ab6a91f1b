//! The process dies at every storage call, and what was not synced is lost, kept, torn, zeroed, or
//! each name and each file by itself any of these.

use std::{collections::HashSet, ops::Range};

use connector_core::{Counts, Outcome};
use connector_testkit::Unsynced;

use super::script::{Checkpoint, DIGESTS, ROWS, Rehearsed, STEPS, World, rehearse, run_of};

/// So many parts of the first run are tried at a time, a test each.
const PARTS: usize = 4;

/// How many times chance says which names and bytes a crash has kept, in either run.
const SEEDS: [u64; 2] = [40, 8];

async fn crash(run: Range<usize>, part: impl Fn(usize) -> bool) {
    let seeds = SEEDS[usize::from(run == DIGESTS)];
    let run = rehearse(run).await;
    let (mut calls_seen, mut images, mut different) = (0, 0, 0);
    for Rehearsed {
        step,
        before,
        calls,
    } in run
    {
        if !part(step) {
            continue;
        }
        let mut seen = HashSet::new();
        // The first call is the lock: without it there is no process to die.
        for call in 2..=calls.len() {
            calls_seen += 1;
            let mut dying = before.world().await;
            dying.lab.storage.freeze_at(call as u64);
            dying.step(step).await;
            dying.lab.stop();
            let left = Checkpoint::take(&mut dying, step);
            let mixed = (5..=seeds).map(Unsynced::Mixed);
            for unsynced in Unsynced::ALL.into_iter().chain(mixed) {
                let place = format!("{}, {}, {unsynced:?}", STEPS[step], calls[call - 1]);
                images += 1;
                // A call that reads leaves what the call before it has left.
                if seen.insert(left.image(unsynced)) {
                    different += 1;
                    let mut world = left.world().await;
                    world.reopen(unsynced);
                    go_on(world, step, &place).await;
                }
            }
        }
    }
    println!("{calls_seen} calls, {images} images, {different} of them different");
    assert!(images > 2500 && different > 150, "{images}, {different}");
}

/// The next start of the process.
async fn go_on(mut world: World, step: usize, place: &str) {
    world.check_state(step, place).await;
    // The step that was cut once more, and one after it.
    let end = run_of(step).end.min(step + 2);
    for step in step..end {
        world.step(step).await;
        let report = world.settle(step).await;
        assert!(report.is_ok(), "{place}: {report:?}");
        world.check_end(step, place).await;
    }
    let outcome = world.settle(end - 1).await.outcome;
    assert!(
        matches!(outcome, Outcome::Synced(counts) if counts == Counts::default()),
        "D2, {place}: {outcome:?}"
    );
}

#[tokio::test]
async fn s1_to_c4_hold_after_a_crash_at_any_call_first_part() {
    crash(ROWS, |step| step % PARTS == 0).await;
}

#[tokio::test]
async fn s1_to_c4_hold_after_a_crash_at_any_call_second_part() {
    crash(ROWS, |step| step % PARTS == 1).await;
}

#[tokio::test]
async fn s1_to_c4_hold_after_a_crash_at_any_call_third_part() {
    crash(ROWS, |step| step % PARTS == 2).await;
}

#[tokio::test]
async fn s1_to_c4_hold_after_a_crash_at_any_call_last_part() {
    crash(ROWS, |step| step % PARTS == 3).await;
}

#[tokio::test]
async fn s1_to_c4_hold_after_a_crash_at_any_call_with_digests() {
    crash(DIGESTS, |_| true).await;
}
