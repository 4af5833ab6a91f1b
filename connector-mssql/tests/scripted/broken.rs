//! Replies that break off: never complete, never deletions.

use connector_core::{
    Cycle, DatasetExt, DatasetId, ErrorKind, NamedSink, Outcome, Retry, Store, memory::MemorySink,
};
use connector_testkit::{
    cells,
    tds::{Column, Reply, ServerError, SqlType},
};

use crate::lab::{FROM, ID, Lab, hurried, id_column, ids, script};

/// DONE: token, status, command and count.
fn done(status: u16, rows: u64) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    [&[0xfd, low, high, 0xc1, 0][..], &rows.to_le_bytes()].concat()
}

const COUNT: u16 = 0x10;
const ERROR: u16 = 0x02;
const SERVER_ERROR: u16 = 0x100;

#[tokio::test]
async fn a_reply_that_breaks_off_is_never_complete() {
    for (how, reply) in [
        ("cut", ids(10).then_cut()),
        ("cut in a row", ids(10).then_cut_in_row(cells![11], 3)),
        ("reset", ids(10).then_reset()),
        ("without DONE", ids(10).then_end_without_done()),
        ("nothing", Reply::cut()),
        (
            "DONE with the error bit and no error",
            ids(10).then_raw(done(ERROR, 0)).then_end_without_done(),
        ),
        (
            "DONE of a severe error",
            ids(10)
                .then_raw(done(SERVER_ERROR | COUNT, 10))
                .then_end_without_done(),
        ),
        (
            "a count of more rows",
            ids(10).then_raw(done(COUNT, 11)).then_end_without_done(),
        ),
        ("garbage", ids(10).then_raw([1, 2]).then_end_without_done()),
    ] {
        let lab = Lab::start(script(&[ID]).on(FROM, reply)).await;
        let error = hurried(lab.read()).await.expect_err(how);
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Incomplete, Retry::Exhausted),
            "{how}: {error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(FROM) && text.contains("data set: t"),
            "{how}: {text}"
        );
        assert_eq!(lab.reads().len(), 3, "{how}");
    }
}

#[tokio::test]
async fn an_error_after_rows_is_an_error() {
    let reply = ids(10).then_error(ServerError::new(50_000, 16, 1, "No."));
    let lab = Lab::start(script(&[ID]).on(FROM, reply)).await;
    let error = lab.read().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Source, Retry::Never)
    );
    assert_eq!(lab.reads().len(), 1);
}

#[tokio::test]
async fn a_count_is_not_needed() {
    let lab = Lab::start(script(&[ID]).on(FROM, ids(10).without_count())).await;
    assert_eq!(lab.read().await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_deadlock_is_tried_again_and_loses_and_repeats_nothing() {
    let deadlock = || ids(10).then_error(ServerError::new(1205, 13, 51, "Deadlock."));
    let script = || script(&[ID]).on(FROM, ids(20));
    let lab = Lab::start(script().once(FROM, deadlock())).await;
    assert_eq!(hurried(lab.read()).await.unwrap().len(), 20);

    let lab = Lab::start(script().on(FROM, deadlock())).await;
    let error = hurried(lab.read()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Source, Retry::Exhausted)
    );
}

#[tokio::test]
async fn what_is_too_large_to_hold_back_is_not_repeated() {
    let columns = [
        Column::new("id", SqlType::Int),
        Column::new("note", SqlType::NVarCharMax),
    ];
    // Rows of one mebibyte; sixteen are held back.
    let note = "x".repeat(1 << 20);
    let rows = Reply::columns(columns).rows(20, move |number| {
        cells![i64::try_from(number).unwrap(), note.as_str()].to_vec()
    });
    let deadlock = rows.then_error(ServerError::new(1205, 13, 51, "Deadlock."));
    let described = [ID, ("note", 231, -1, 0, 0, None)];
    let mut lab = Lab::start(script(&described).on(FROM, deadlock)).await;
    lab.config.datasets[0].columns = vec!["note".to_owned()];
    let error = hurried(lab.read()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Source, Retry::Exhausted)
    );
    assert_eq!(lab.reads().len(), 1);
}

#[tokio::test]
async fn what_broke_off_deletes_nothing() {
    let lab = Lab::start(script(&[ID]).on(FROM, ids(10))).await;
    let connector = lab.connector();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    let sink = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("copy", sink.clone()));
    let id = DatasetId::new("lab", "t");
    let reports = cycle.run(&connector).await.unwrap();
    assert!(reports[0].is_ok(), "{reports:?}");
    sink.take_events();

    for reply in [
        ids(4).then_cut(),
        ids(4).then_end_without_done(),
        ids(4).then_error(ServerError::new(1205, 13, 51, "Deadlock.")),
        ids(0).then_end_without_done(),
        id_column().then_raw(done(ERROR, 0)).then_end_without_done(),
    ] {
        lab.server.on(FROM, reply);
        let reports = hurried(cycle.run(&connector)).await.unwrap();
        assert!(
            matches!(reports[0].outcome, Outcome::Failed(_)),
            "{reports:?}"
        );
        assert!(sink.take_events().is_empty());
        assert_eq!(sink.rows(&id).len(), 10);
    }

    // And what is whole does.
    lab.server.on(FROM, ids(9));
    let reports = cycle.run(&connector).await.unwrap();
    assert!(reports[0].is_ok(), "{reports:?}");
    assert_eq!(sink.rows(&id).len(), 9);
}

#[tokio::test]
async fn a_dropped_read_closes_its_connections() {
    let lab = Lab::start(script(&[ID]).on(FROM, ids(5).then_hang())).await;
    let dataset = lab.dataset().await;
    {
        let mut read = Box::pin(dataset.collect());
        tokio::select! {
            _ = &mut read => panic!("read whole"),
            () = lab.server.requested(FROM, 1) => {}
        }
    }
    // With that the server stops what it does for them; an ATTENTION would have to be waited for.
    lab.server.all_closed().await;
}
