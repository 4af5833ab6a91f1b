//! Which moment the rows are of, and what is said of it.

use connector_core::Connector;
use connector_mssql::Isolation;
use connector_testkit::{
    Listener,
    tds::{Reply, ServerError},
};

use crate::lab::{FROM, ID, Lab, database, hurried, ids, script};

const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION;";
const COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";
const UNCOMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;";

fn levels(lab: &Lab) -> Vec<String> {
    let requests = lab.server.requests().into_iter();
    let texts = requests.map(|request| request.text);
    texts
        .filter(|text| text.contains("ISOLATION LEVEL"))
        .collect()
}

#[tokio::test]
async fn the_best_that_the_database_allows_is_taken_and_logged() {
    for (snapshots, versions, isolation, level, said) in [
        (true, true, Isolation::Best, SNAPSHOT, "snapshot: all rows"),
        (
            false,
            true,
            Isolation::Best,
            COMMITTED,
            "read committed with row versions",
        ),
        (
            false,
            false,
            Isolation::Best,
            COMMITTED,
            "read committed with locks",
        ),
        (
            true,
            true,
            Isolation::ReadUncommitted,
            UNCOMMITTED,
            "read uncommitted, as configured",
        ),
    ] {
        let listener = Listener::start().unwrap();
        let script = script(&[ID]).on(FROM, ids(3));
        let script = script.on("sys.databases", database(snapshots, versions));
        let mut lab = Lab::start(script).await;
        lab.config.isolation = isolation;
        assert_eq!(lab.read().await.unwrap().len(), 3);
        assert_eq!(levels(&lab), [level]);
        let logged = format!("127.0.0.1,{}: {said}", lab.server.port());
        assert!(listener.heard().contains(&logged), "{logged}");
        let report = lab.connector().check().await.unwrap();
        let told = |(name, text): &(String, String)| name == "isolation" && text.starts_with(said);
        assert!(report.facts.iter().any(told), "{:?}", report.facts);
    }
}

#[tokio::test]
async fn a_refused_snapshot_is_done_without_and_logged() {
    let listener = Listener::start().unwrap();
    let refused = Reply::error(ServerError::new(3952, 16, 1, "Not allowed."));
    let script = script(&[ID]).on(FROM, ids(3)).once(FROM, refused);
    let lab = Lab::start(script).await;
    let connector = lab.connector();
    let dataset = connector.datasets().await.unwrap().swap_remove(0);
    let read = connector_core::DatasetExt::collect(&*dataset);
    assert_eq!(hurried(read).await.unwrap().len(), 3);
    assert_eq!(levels(&lab), [SNAPSHOT, COMMITTED]);
    let name = format!("127.0.0.1,{}", lab.server.port());
    let logged = format!("{name}: the server refuses snapshots");
    assert_eq!(listener.heard().matches(&logged).count(), 1);

    // From then on it does not ask for one, and says so.
    let read = connector_core::DatasetExt::collect(&*dataset);
    assert_eq!(read.await.unwrap().len(), 3);
    assert_eq!(levels(&lab), [SNAPSHOT, COMMITTED, COMMITTED]);
    let logged = format!("{name}: read committed with row versions");
    assert!(listener.heard().contains(&logged));
}
