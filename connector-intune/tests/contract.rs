//! What the connector sends, held against the contract of Microsoft Graph by a server that others
//! wrote.

use connector_core::{Connector, DatasetExt, ErrorKind, Secret};
use connector_graph::{Authentication, Hosts};
use connector_intune::{Intune, IntuneConfig};
use connector_testkit::peer::{GRAPH_CONTRACT, Prism};
use futures::future::join_all;

/// Files of exports are at an address where nothing is: there the contract ends.
const NOWHERE: &str = "blob.invalid";

#[tokio::test]
async fn every_request_keeps_the_contract() {
    let prism = Prism::start(GRAPH_CONTRACT);
    let auth = Authentication::Secret {
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        client_secret: Secret::new("s3cret"),
    };
    let mut config = IntuneConfig::new("acme.example", auth);
    let host = prism.url("/");
    config.hosts = Some(Hosts {
        login: host.parse().unwrap(),
        graph: host.parse().unwrap(),
    });
    config.http.retry.attempts = 1;
    config.export.submissions = 1;
    let connector = Intune::new("intune", config).unwrap();
    let datasets = connector.datasets().await.unwrap();
    let reads = datasets.iter().map(async |dataset| {
        let read = dataset.collect().await;
        (dataset.name(), read.map(|rows| rows.len()))
    });
    let (mut rows, mut failed) = (0, Vec::new());
    for (name, read) in join_all(reads).await {
        match read {
            Ok(read) => rows += read,
            Err(error) if error.kind() == ErrorKind::NotCollected => {}
            Err(error) if format!("{error:#}").contains(NOWHERE) => {}
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    assert!(rows > 0);
    assert_eq!(prism.violations(), [""; 0]);
    assert_eq!(failed, [""; 0]);
}
