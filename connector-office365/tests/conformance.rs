//! The conformance kit over a Graph that answers as scripted.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use connector_core::{Column, Connector, Secret, Type, Value};
use connector_graph::GraphDataset;
use connector_office365::DATASETS;
use connector_testkit::{
    Fault, FaultKind, Harness, Subject, Unsupported, Values,
    graph::{Graph, GraphFault, Times, cells, record},
};
use serde_json::Value as Json;

use crate::lab::{Lab, declared, is_report, place};

/// Objects of a collection; elements of arrays in them; cells of a file. `tests/datasets.rs` reads
/// all data sets.
const SUBJECTS: [&str; 3] = ["users", "servicePlans", "mailboxUsage"];

struct Office365Harness {
    lab: Lab,
    /// What each place holds.
    held: Mutex<BTreeMap<String, Vec<Json>>>,
}

#[async_trait]
impl Harness for Office365Harness {
    async fn start(secret: &Secret) -> Self {
        let graph = Graph::new();
        let transport = graph.transport();
        let lab = Lab::start(graph, transport, secret, |config| {
            let others = DATASETS.iter().map(GraphDataset::name);
            let others = others.filter(|name| !SUBJECTS.contains(name));
            config.skip = others.map(str::to_owned).collect();
            // The kit's time does not stand still: what is tried again is in `tests/behavior.rs`.
            config.http.retry.attempts = 1;
        });
        Self {
            lab,
            held: Mutex::default(),
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.lab.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        let subjects = SUBJECTS.iter().map(|name| declared(name));
        subjects
            .map(|declared| Subject::new(declared.name(), declared.schema().unwrap()))
            .collect()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        let declared = declared(&subject.name);
        let to_json = if is_report(declared) { cells } else { record };
        let rows = rows.iter().map(|row| to_json(&declared.reply, row));
        let rows: Vec<_> = rows.collect();
        let place = place(declared);
        self.lab.graph.heal(&place);
        self.lab.graph.load(&place, rows.clone());
        self.held.lock().unwrap().insert(place, rows);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let declared = declared(&subject.name);
        let place = place(declared);
        let file = if is_report(declared) {
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
                self.spoil(declared.name(), &place, text);
                return true;
            }
            _ => return false,
        };
        self.lab.graph.fault(&place, fault, Times::ALWAYS);
        true
    }

    fn holds(&self, column: &Column, value: &Value<'static>) -> bool {
        match value {
            // A file has nothing but the empty cell for null.
            Value::Text(text) if text.is_empty() && column.is_nullable() => {
                let columns = declared("mailboxUsage").reply.columns;
                !columns
                    .iter()
                    .any(|of_file| of_file.name() == column.name())
            }
            // The first day there is means that there was none.
            Value::Timestamp(at) => !at.to_string().starts_with("0001-01-01"),
            _ => true,
        }
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[(
            Unsupported::Fault(FaultKind::ChangeWhileRead),
            "a walk has no point in time: what changes meanwhile comes with the next cycle; \
             `tests/behavior.rs` has walks that the source forgets, and objects on two pages",
        )]
    }
}

impl Office365Harness {
    /// Puts a text where none can be: into a uuid, a truth value or a number.
    fn spoil(&self, name: &str, place: &str, text: &str) {
        let mut held = self.held.lock().unwrap();
        let rows = held.get_mut(place).unwrap();
        let is_other = |ty| matches!(ty, Type::Uuid | Type::Bool | Type::Int);
        let mut columns = declared(name).reply.columns.iter();
        let column = columns.find(|column| is_other(column.ty())).unwrap();
        let row = rows.last_mut().unwrap();
        let cell = match column.path().split_once('/') {
            Some((list, member)) => &mut row[list][0][member],
            None => &mut row[column.path()],
        };
        *cell = text.into();
        self.lab.graph.load(place, rows.clone());
    }
}

connector_testkit::conformance!(Office365Harness);
