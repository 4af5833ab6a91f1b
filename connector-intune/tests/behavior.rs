//! Every data set over a Graph that answers as scripted, made from the declarations.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use connector_core::{
    Column, Connector, Cycle, ErrorKind, NamedSink, Outcome, Secret, Store, Type, Value,
    memory::MemorySink,
};
use connector_graph::{Authentication, Call, Cloud, GraphDataset, Version};
use connector_intune::{Intune, IntuneConfig, IntuneSettings, datasets};
use connector_testkit::{
    graph::{Graph, GraphApp, GraphCollection, GraphExport, GraphFault, Times, cells, record},
    http::Scripted,
    read_by_key,
};
use serde_json::{Value as Json, json};

fn all() -> Vec<&'static GraphDataset> {
    let settings = IntuneSettings {
        device_details: true,
    };
    datasets(&settings)
}

/// A row whose values say which column they are of.
fn values(dataset: &GraphDataset, key: &str) -> Vec<Value<'static>> {
    let columns = dataset.reply.columns.iter();
    let value = |name: &'static str, is_key: bool, ty: Type| match ty {
        Type::Bool => Value::Bool(true),
        Type::Int => Value::Int(7),
        Type::Float => Value::Float(1.5),
        Type::Timestamp => Value::Timestamp("2026-11-21T12:00:00.1234567Z".parse().unwrap()),
        _ if is_key => Value::Text(key.to_owned().into()),
        _ => Value::Text(name.into()),
    };
    columns
        .map(|column| value(column.name(), column.is_key(), column.ty()))
        .collect()
}

/// Makes a source of all declarations: collections by path, with all properties that any of them
/// asks for.
fn source() -> Graph {
    let graph = Graph::new();
    let mut paths: Vec<(String, Vec<&str>, Json)> = Vec::new();
    for dataset in all() {
        let select = dataset.select(Cloud::Global);
        let row = values(dataset, "k");
        if let Call::Export(_) = dataset.call {
            graph.export(GraphExport::new(dataset.name(), select));
            graph.load(dataset.name(), [cells(&dataset.reply, &row)]);
            continue;
        }
        let object = record(&dataset.reply, &row);
        let path = dataset
            .path()
            .unwrap()
            .replace("/{id}/", "/k/")
            .replace("/{id}", "");
        match paths.iter_mut().find(|(known, ..)| *known == path) {
            Some((_, properties, whole)) => {
                properties.extend(select);
                let members = object.as_object().unwrap().clone();
                whole.as_object_mut().unwrap().extend(members);
            }
            None => paths.push((path, select, object)),
        }
    }
    for (path, properties, object) in paths {
        graph.collection(GraphCollection::new(&path).select_of(properties));
        graph.load(&path, [object]);
    }
    graph
}

fn over(graph: &Graph, set: impl FnOnce(&mut IntuneConfig)) -> (Intune, Arc<Scripted>) {
    let app = GraphApp::default();
    let auth = Authentication::Secret {
        client_id: app.client_id,
        client_secret: Secret::new("s3cret"),
    };
    let mut config = IntuneConfig::new(app.tenant, auth);
    config.beta = true;
    config.product.device_details = true;
    set(&mut config);
    let transport = graph.transport();
    let client = Arc::clone(&transport) as Arc<_>;
    let connector = Intune::over("intune", config, client, graph.clock());
    (connector.unwrap(), transport)
}

#[tokio::test(start_paused = true)]
async fn every_data_set_is_read_as_it_is_declared() {
    let graph = source();
    let (connector, _) = over(&graph, |_| {});
    for dataset in all() {
        let rows = read_by_key(&connector, dataset.name()).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(rows.len(), 1, "{}", dataset.name());
        let columns = rows[0].schema().columns().iter().map(Column::name);
        for ((name, seen), meant) in columns.zip(rows[0].values()).zip(values(dataset, "k")) {
            assert_eq!(seen, meant, "{}: {name}", dataset.name());
        }
    }
    let report = connector.check().await.unwrap();
    for dataset in &report.datasets {
        let availability = dataset.availability.to_string();
        assert_eq!(availability, "available", "{}", dataset.name);
    }
    assert_eq!(report.datasets.len(), all().len());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_asked_for_is_not_read() {
    let graph = source();
    let (connector, _) = over(&graph, |config| {
        config.beta = false;
        config.product.device_details = false;
    });
    let offered = connector.datasets().await.unwrap();
    assert_eq!(offered.len(), all().len() - 2);
    let error = read_by_key(&connector, "managedDeviceUsers")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCollected);
    // Names of a secret's kind are in no request whatever is switched on.
    let (connector, transport) = over(&graph, |_| {});
    for dataset in all() {
        read_by_key(&connector, dataset.name()).await.unwrap();
    }
    for request in transport.requests() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        for secret in ["activationLock", "remoteAssistance", "CommandLine"] {
            let asked = request.target.contains(secret) || body.contains(secret);
            assert!(!asked, "{secret}: {}", request.target);
        }
        let is_beta = request.target.contains("/beta/");
        let of_beta = all().into_iter().filter(|d| d.version == Version::Beta);
        assert!(!is_beta || of_beta.count() > 0);
    }
}

/// Three devices on pages of one; which of them are at the sink.
async fn cycle(connector: &Intune, store: &Store, sink: &MemorySink) -> Outcome {
    let cycle = Cycle::new(store).sink(NamedSink::new("copy", sink.clone()));
    let mut reports = cycle.run(connector).await.unwrap();
    reports.remove(0).outcome
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_is_forgotten_deletes_nothing_and_is_walked_again() {
    let place = "deviceManagement/detectedApps";
    let graph = Graph::new();
    graph.collection(GraphCollection::new(place).largest(1));
    graph.load(place, ["a", "b", "c"].map(|id| json!({"id": id})));
    let others = |config: &mut IntuneConfig| {
        let names = all().into_iter().map(|dataset| dataset.name().to_owned());
        config.skip = names.filter(|name| name != "detectedApps").collect();
    };
    let (connector, transport) = over(&graph, others);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_folder(folder.path()).await.unwrap();
    let sink = MemorySink::default();
    // Forgotten twice, and then not.
    graph.fault(place, GraphFault::ExpiredPageToken, Times::at(3));
    graph.fault(place, GraphFault::ExpiredPageToken, Times::at(5));
    let outcome = cycle(&connector, &store, &sink).await;
    assert!(matches!(outcome, Outcome::Synced(_)), "{outcome:?}");
    let walks = transport.requests();
    let walks = walks
        .iter()
        .filter(|r| r.target.contains("$select") && !r.target.contains("skip"));
    assert_eq!(walks.count(), 3);
    // Always forgotten: an error, and what was there stays.
    graph.load(place, [json!({"id": "a"}), json!({"id": "b"})]);
    graph.fault(place, GraphFault::ExpiredPageToken, Times::from(2));
    let outcome = cycle(&connector, &store, &sink).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}
