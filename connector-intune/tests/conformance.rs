//! The conformance kit over a Graph that answers as scripted.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{Column, Connector, Secret, Type, Value};
use connector_graph::{Authentication, Call, Cloud, GraphDataset};
use connector_intune::{Intune, IntuneConfig, IntuneSettings, datasets};
use connector_testkit::{
    Fault, FaultKind, Harness, Subject, Unsupported, Values,
    graph::{Graph, GraphApp, GraphCollection, GraphExport, GraphFault, Times, cells, record},
};
use serde_json::Value as Json;

/// Objects of a collection, elements of arrays in objects under a key of two columns, and the
/// cells of an export. `tests/datasets.rs` and `tests/behavior.rs` read the others.
const SUBJECTS: [&str; 3] = ["mobileApps", "managedDeviceUsers", "AppInvAggregate"];

struct IntuneHarness {
    graph: Graph,
    connector: Arc<Intune>,
    /// What each place holds.
    held: Mutex<BTreeMap<String, Vec<Json>>>,
}

fn declared(name: &str) -> &'static GraphDataset {
    let all = datasets(&IntuneSettings::default());
    all.into_iter().find(|d| d.name() == name).unwrap()
}

fn is_export(declared: &GraphDataset) -> bool {
    matches!(declared.call, Call::Export(_))
}

fn place(declared: &GraphDataset) -> String {
    declared.path().unwrap_or(declared.name()).to_owned()
}

#[async_trait]
impl Harness for IntuneHarness {
    async fn start(secret: &Secret) -> Self {
        // Looks at a job wait, and so do requests beyond a quota. Time that stands still goes on by
        // itself only while no thread works, and a cycle has one that waits for the read.
        tokio::time::pause();
        tokio::spawn(async {
            loop {
                tokio::time::advance(Duration::from_millis(50)).await;
                tokio::task::yield_now().await;
            }
        });
        let app = GraphApp {
            secret: Some(secret.expose().to_owned()),
            ..GraphApp::default()
        };
        let auth = Authentication::Secret {
            client_id: app.client_id.clone(),
            client_secret: secret.clone(),
        };
        let mut config = IntuneConfig::new(app.tenant.clone(), auth);
        let graph = Graph::new();
        graph.app(app);
        for declared in SUBJECTS.map(declared) {
            let select = declared.select(Cloud::Global);
            let place = place(declared);
            if is_export(declared) {
                graph.export(GraphExport::new(&place, select));
            } else {
                let known = GraphCollection::new(&place).largest(1000);
                graph.collection(known.select_of(select));
            }
        }
        config.beta = true;
        config.skip = datasets(&IntuneSettings::default())
            .into_iter()
            .map(|declared| declared.name().to_owned())
            .filter(|name| !SUBJECTS.contains(&name.as_str()))
            .collect();
        // Reads on other threads have no time that can be stopped.
        config.export.pause = Duration::from_millis(1);
        config.http.retry.attempts = 1;
        let connector = Intune::over("intune", config, graph.transport(), graph.clock());
        Self {
            connector: Arc::new(connector.unwrap()),
            graph,
            held: Mutex::default(),
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        let subjects = SUBJECTS.map(declared);
        subjects
            .iter()
            .map(|declared| Subject::new(declared.name(), declared.schema().unwrap()))
            .collect()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        let declared = declared(&subject.name);
        let to_json = if is_export(declared) { cells } else { record };
        let rows = rows.iter().map(|row| to_json(&declared.reply, row));
        let rows: Vec<_> = rows.collect();
        let place = place(declared);
        self.graph.heal(&place);
        self.graph.load(&place, rows.clone());
        self.held.lock().unwrap().insert(place, rows);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let declared = declared(&subject.name);
        let place = place(declared);
        let file = if is_export(declared) {
            format!("{place}/file")
        } else {
            place.clone()
        };
        let (place, fault) = match fault {
            Fault::Cut => (file, GraphFault::Cut),
            Fault::Hang => (file, GraphFault::Hang),
            Fault::Vanish => (place, GraphFault::Missing),
            Fault::Deny => (place, GraphFault::Denied),
            Fault::Malformed { text } => {
                self.spoil(declared, &place, text);
                return true;
            }
            _ => return false,
        };
        self.graph.fault(&place, fault, Times::ALWAYS);
        true
    }

    fn holds(&self, column: &Column, value: &Value<'static>) -> bool {
        match value {
            // A file has nothing but the empty cell for null.
            Value::Text(text) => !(text.is_empty() && column.is_nullable()),
            // The first day there is means that there was none.
            Value::Timestamp(at) => !at.to_string().starts_with("0001-01-01"),
            _ => true,
        }
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[(
            Unsupported::Fault(FaultKind::ChangeWhileRead),
            "a walk has no point in time: what changes meanwhile comes with the next cycle; \
             connector-graph's tests have walks that the source forgets, and objects on two pages",
        )]
    }
}

impl IntuneHarness {
    /// Puts a text where none can be: into a number or a time.
    fn spoil(&self, declared: &GraphDataset, place: &str, text: &str) {
        let mut held = self.held.lock().unwrap();
        let rows = held.get_mut(place).unwrap();
        let is_other = |ty| matches!(ty, Type::Int | Type::Timestamp);
        let mut columns = declared.reply.columns.iter();
        let column = columns.find(|column| is_other(column.ty())).unwrap();
        let row = rows.last_mut().unwrap();
        let cell = match column.path().split_once('/') {
            Some((list, member)) => &mut row[list][0][member],
            None => &mut row[column.path()],
        };
        *cell = text.into();
        self.graph.load(place, rows.clone());
    }
}

connector_testkit::conformance!(IntuneHarness);
