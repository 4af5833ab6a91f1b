//! Large data sets, read in ranges over several connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use connector_core::{
    Connector, Cycle, DatasetExt, DatasetId, ErrorKind, NamedSink, Outcome, Retry, Row, Store,
    memory::MemorySink,
};
use connector_mssql::{
    SqlServer,
    dataset::{Range, SqlDataset, text},
};
use connector_testkit::{
    cells,
    tds::{Column, Gate, Reply, Request, Script, ServerError, SqlType},
};

use crate::lab::{Described, FROM, ID, Lab, catalogue, hurried, id_column, script};

/// What the server counts: four ranges.
const ROWS: i64 = 200_000;
/// Of which these arrive.
const EVERY: i64 = 1000;

fn extent() -> Reply {
    let column = |name| Column::new(name, SqlType::BigInt);
    Reply::columns([column("a"), column("b"), column("c")]).row(cells![0, ROWS - 1, ROWS])
}

/// The number after a text, if it is there.
fn number(text: &str, after: &str) -> Option<i64> {
    let (_, rest) = text.split_once(after)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// The rows that a statement asks for.
fn asked(request: &Request) -> (i64, Reply) {
    let from = number(&request.text, "[id] >= ").unwrap_or(0);
    let below = number(&request.text, "[id] < ").unwrap_or(ROWS);
    let ids = (from..below).filter(|id| id % EVERY == 0);
    (
        from,
        ids.fold(id_column(), |reply, id| reply.row([id.into()])),
    )
}

fn large(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Script {
    script(&[ID])
        .on_each(FROM, answer)
        .on("SELECT MIN(", extent())
}

async fn lab(script: Script) -> Lab {
    let mut lab = Lab::start(script).await;
    lab.config.datasets[0].range = Some("id".to_owned());
    lab.config.large = 100_000;
    lab
}

fn assert_each_once(rows: &[Row]) {
    let ids: Vec<_> = rows.iter().map(|row| row.at(0).to_string()).collect();
    let once: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), once.len());
    assert_eq!(ids.len(), usize::try_from(ROWS / EVERY).unwrap());
}

/// How often each range was asked for, by where it begins.
fn tries(lab: &Lab) -> BTreeMap<i64, usize> {
    let mut tries = BTreeMap::new();
    for read in lab.reads().iter().filter(|text| !text.contains("MIN(")) {
        *tries
            .entry(number(read, "[id] >= ").unwrap_or(0))
            .or_default() += 1;
    }
    tries
}

#[tokio::test]
async fn two_connections_read_every_row_once() {
    let gate = Gate::new();
    let hold = gate.clone();
    let lab = lab(large(move |request| asked(request).1.wait(&hold))).await;
    let both = async {
        gate.reached(2).await;
        (0..4).for_each(|_| gate.open());
        std::future::pending::<()>().await;
    };
    let rows = tokio::select! {
        rows = lab.read() => rows,
        () = both => unreachable!(),
    };
    assert_each_once(&rows.unwrap());
    assert_eq!(
        tries(&lab),
        [(0, 1), (50_000, 1), (100_000, 1), (150_000, 1)].into()
    );
    assert_eq!(lab.server.connections(), 2);
    let first = lab.reads().into_iter().find(|text| {
        // What has no value is in the first range.
        text.contains("([t].[id] < 50000 OR [t].[id] IS NULL)")
    });
    assert!(first.is_some(), "{:?}", lab.reads());
    assert!(!lab.reads().iter().any(|text| text.contains("ORDER BY")));
}

#[tokio::test]
async fn what_is_not_large_is_read_in_one() {
    let mut lab = lab(large(|request| asked(request).1)).await;
    lab.config.large = 200_000;
    assert_each_once(&lab.read().await.unwrap());
    assert_eq!(tries(&lab), [(0, 1)].into());
    assert_eq!(lab.server.connections(), 1);
}

#[tokio::test]
async fn a_range_that_fails_in_the_middle_is_repeated_alone() {
    let failed = Arc::new(AtomicUsize::new(0));
    let failures = Arc::clone(&failed);
    let lab = lab(large(move |request| {
        let (from, reply) = asked(request);
        if from == 50_000 && failures.fetch_add(1, Ordering::Relaxed) == 0 {
            reply.then_error(ServerError::new(1205, 13, 51, "Deadlock."))
        } else {
            reply
        }
    }))
    .await;
    assert_each_once(&hurried(lab.read()).await.unwrap());
    assert_eq!(
        tries(&lab),
        [(0, 1), (50_000, 2), (100_000, 1), (150_000, 1)].into()
    );
}

#[tokio::test]
async fn a_range_that_fails_for_good_fails_the_whole_and_deletes_nothing() {
    let lab = lab(large(|request| asked(request).1)).await;
    let connector = lab.connector();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    let sink = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("copy", sink.clone()));
    let reports = cycle.run(&connector).await.unwrap();
    assert!(reports[0].is_ok(), "{reports:?}");
    sink.take_events();

    for (number, kind, retry) in [
        (229, ErrorKind::Permission, Retry::Never),
        (1205, ErrorKind::Source, Retry::Exhausted),
    ] {
        let error = Reply::error(ServerError::new(number, 13, 51, "No."));
        lab.server.on("[id] >= 100000", error);
        let reports = hurried(cycle.run(&connector)).await.unwrap();
        let Outcome::Failed(error) = &reports[0].outcome else {
            panic!("{reports:?}");
        };
        assert_eq!((error.kind(), error.retry()), (kind, retry));
        assert!(error.to_string().contains("[id] >= 100000"), "{error}");
        assert!(sink.take_events().is_empty());
        let id = DatasetId::new("lab", "t");
        assert_each_once(&sink.rows(&id));
    }
}

/// One row for each piece of software on each device.
const SOFTWARE: SqlDataset = SqlDataset {
    name: "software",
    category: "Devices",
    from: "Software s",
    columns: &[
        text("Device", "s.Device").key(),
        text("Product", "s.Product").key(),
    ],
    range: Some(Range::of("s.Device").keys("Devices.Name", 60_000).always()),
    ..SqlDataset::NEW
}
.checked();

#[tokio::test]
async fn a_smaller_list_of_text_gives_the_bounds_in_the_servers_order() {
    const NAMES: [Described; 2] = [
        ("Device", 231, 512, 0, 0, Some("Latin1_General_CI_AS")),
        ("Product", 231, 512, 0, 0, Some("Latin1_General_CI_AS")),
    ];
    let name = || Column::new("k", SqlType::NVarChar(256));
    // As the server sorts them, which is not by bytes.
    let list = Reply::columns([name()])
        .row(cells!["a'b"])
        .row(cells!["B"])
        .row(cells!["c"]);
    let answered = Reply::columns([name(), name()]);
    let script = script(&[ID])
        .on("OBJECT_ID(N'[dbo].[Software]')", catalogue(&NAMES))
        .on("FROM [dbo].[Software] AS [s]", answered)
        .on(
            "SELECT DISTINCT [k].[Name] AS [k] FROM [dbo].[Devices]",
            list,
        );
    let mut lab = Lab::start(script).await;
    lab.config.datasets.clear();
    lab.config.connections = 1;
    let connector = SqlServer::new("mssql", "lab", lab.config.clone(), &[SOFTWARE]).unwrap();
    let dataset = connector.datasets().await.unwrap().swap_remove(0);
    assert_eq!(dataset.collect().await.unwrap().len(), 0);
    let requests = lab.server.requests().into_iter();
    let bounds: Vec<_> = requests
        .filter_map(|request| {
            let (_, rest) = request.text.split_once("[s] WHERE ")?;
            Some(rest.replace(" OPTION (MAXDOP 2)", ""))
        })
        .collect();
    assert_eq!(
        bounds,
        [
            "([s].[Device] < N'B' OR [s].[Device] IS NULL)",
            "[s].[Device] >= N'B' AND [s].[Device] < N'c'",
            "[s].[Device] >= N'c'",
        ]
    );
}

#[tokio::test]
async fn a_list_of_bounds_that_cannot_be_read_stops_no_data_set_but_one_too_large_for_that() {
    const NAMES: [Described; 2] = [
        ("Device", 231, 512, 0, 0, Some("Latin1_General_CI_AS")),
        ("Product", 231, 512, 0, 0, Some("Latin1_General_CI_AS")),
    ];
    let sometimes = SqlDataset {
        range: Some(Range::of("s.Device").keys("Devices.Name", 60_000)),
        ..SOFTWARE
    };
    for (dataset, rows) in [(sometimes, Some(1)), (SOFTWARE, None)] {
        let name = || Column::new("k", SqlType::NVarChar(256));
        let denied = ServerError::new(229, 14, 5, "The SELECT permission was denied.");
        let script = script(&[ID])
            .on("OBJECT_ID(N'[dbo].[Software]')", catalogue(&NAMES))
            .on(
                "FROM [dbo].[Software] AS [s]",
                Reply::columns([name(), name()]).row(cells!["PC-1", "Editor"]),
            )
            .on("FROM [dbo].[Devices]", Reply::error(denied));
        let mut lab = Lab::start(script).await;
        lab.config.datasets.clear();
        let connector = SqlServer::new("mssql", "lab", lab.config.clone(), &[dataset]).unwrap();
        let dataset = connector.datasets().await.unwrap().swap_remove(0);
        match (dataset.collect().await, rows) {
            (Ok(read), Some(rows)) => assert_eq!(read.len(), rows),
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Permission),
            (other, _) => panic!("{other:?}"),
        }
    }
}
