//! How long is waited, on the paused clock.

use std::time::Duration;

use connector_core::{ErrorKind, Result, Retry, Row};
use connector_testkit::tds::{Gate, Reply};
use tokio::time::Instant;

use crate::lab::{FROM, ID, Lab, hurried, id_column, ids, script};

/// A statement is tried three times, with pauses of one and two seconds.
const TRIES: u32 = 3;
const PAUSES: Duration = Duration::from_secs(3);

/// Reads from a server that answers so, and says how long that took.
async fn read(reply: Reply, adjust: impl FnOnce(&mut Lab)) -> (Result<Vec<Row>>, Duration) {
    let mut lab = Lab::start(script(&[ID]).on(FROM, reply)).await;
    adjust(&mut lab);
    hurried(async {
        let start = Instant::now();
        let read = lab.read().await;
        (read, start.elapsed())
    })
    .await
}

fn assert_late(read: Result<Vec<Row>>, setting: &str) {
    let error = read.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Exhausted)
    );
    let text = error.to_string();
    assert!(text.contains(setting) && text.contains(FROM), "{text}");
}

/// Time passes in steps.
fn assert_about(took: Duration, expected: Duration) {
    let late = Duration::from_secs(30);
    assert!((expected..expected + late).contains(&took), "{took:?}");
}

#[tokio::test]
async fn the_first_row_may_take_its_time_and_no_longer() {
    let minutes = Duration::from_mins(7);
    let (outcome, took) = read(Reply::hang(), |lab| {
        lab.config.timeouts.first_row = minutes;
    })
    .await;
    assert_late(outcome, "(`timeouts.first_row`)");
    assert_about(took, minutes * TRIES + PAUSES);

    // Columns are no row.
    let (outcome, _) = read(id_column().then_hang(), |_| ()).await;
    assert_late(outcome, "(`timeouts.first_row`)");
}

#[tokio::test]
async fn a_data_set_may_have_a_time_of_its_own() {
    let minutes = Duration::from_mins(20);
    let (outcome, took) = read(Reply::hang(), |lab| {
        lab.config.timeouts.statement = Duration::from_mins(5);
        lab.config.datasets[0].first_row = Some(minutes);
    })
    .await;
    assert_late(outcome, "timeouts.");
    assert_about(took, minutes * TRIES + PAUSES);
}

#[tokio::test]
async fn rows_may_not_stop_coming() {
    let (outcome, took) = read(ids(5).then_hang(), |_| ()).await;
    assert_late(outcome, "(`timeouts.between_rows`)");
    assert_about(took, Duration::from_mins(1) * TRIES + PAUSES);
}

#[tokio::test]
async fn a_statement_may_not_go_on_for_ever() {
    let gate = Gate::new();
    let rows = (0..10).fold(ids(1), |reply, _| reply.wait(&gate).row([1.into()]));
    let script = script(&[ID]).on(FROM, rows);
    let mut lab = Lab::start(script).await;
    lab.config.timeouts.statement = Duration::from_mins(3);
    let slowly = async {
        loop {
            tokio::time::sleep(Duration::from_secs(50)).await;
            gate.open();
        }
    };
    let outcome = hurried(async {
        tokio::select! {
            read = lab.read() => read,
            () = slowly => unreachable!(),
        }
    })
    .await;
    assert_late(outcome, "(`timeouts.statement`)");
}

#[tokio::test]
async fn slow_rows_within_the_limits_arrive() {
    let gate = Gate::new();
    let reply = ids(1).wait(&gate).row([1.into()]);
    let lab = Lab::start(script(&[ID]).on(FROM, reply)).await;
    let slowly = async {
        gate.reached(1).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        gate.open();
        std::future::pending::<()>().await;
    };
    let outcome = hurried(async {
        tokio::select! {
            read = lab.read() => read,
            () = slowly => unreachable!(),
        }
    })
    .await;
    assert_eq!(outcome.unwrap().len(), 2);
    assert_eq!(lab.reads().len(), 1);
}
