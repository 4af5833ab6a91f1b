//! The conformance kit over an instance of ServiceNow that answers as scripted.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{
    Column, Connector, Secret, Type, Value,
    schema::{Schema, bool, date, float, int, text, time},
};
use connector_servicenow::{Authentication, ServiceNow, ServiceNowConfig, TableConfig, datasets};
use connector_testkit::{
    Fault, FaultKind, Harness, Subject, Unsupported, Values,
    graph::Times,
    servicenow::{
        ServiceNow as Instance, ServiceNowApp, ServiceNowFault as Failure, ServiceNowTable,
    },
};
use serde_json::{Map, Value as Json};

/// A declared data set, and a customer's table with a column of each type that the dictionary leads
/// to.
const SUBJECTS: [(&str, &str); 2] = [("companies", "core_company"), ("usage", "x_acme_inv_usage")];

struct ServiceNowHarness {
    instance: Instance,
    connector: Arc<ServiceNow>,
    /// What each table holds.
    held: Mutex<BTreeMap<String, Vec<Json>>>,
}

fn table(subject: &Subject) -> &'static str {
    let mut subjects = SUBJECTS.iter();
    subjects.find(|(name, _)| *name == subject.name).unwrap().1
}

#[async_trait]
impl Harness for ServiceNowHarness {
    async fn start(secret: &Secret) -> Self {
        // Time that stands still goes on by itself only while no thread works, and a cycle has one
        // that waits for the read.
        tokio::time::pause();
        tokio::spawn(async {
            loop {
                tokio::time::advance(Duration::from_millis(50)).await;
                tokio::task::yield_now().await;
            }
        });
        let app = ServiceNowApp {
            password: Some(secret.expose().to_owned()),
            ..ServiceNowApp::default()
        };
        let auth = Authentication::Basic {
            user: app.user.clone(),
            password: secret.clone(),
        };
        let instance = Instance::new();
        instance.app(app);
        instance.table(
            ServiceNowTable::new("core_company")
                .field("name", "string")
                .field("manufacturer", "boolean")
                .field("vendor", "boolean")
                .field("customer", "boolean")
                .reference("parent", "core_company")
                .field("stock_symbol", "string")
                .field("website", "url"),
        );
        instance.table(
            ServiceNowTable::new("x_acme_inv_usage")
                .reference("device", "core_company")
                .field("minutes", "integer")
                .field("share", "decimal")
                .field("is_open", "boolean")
                .field("seen", "glide_date_time")
                .field("bought", "glide_date")
                .field("password", "password2"),
        );
        let mut config = ServiceNowConfig::new(instance.url().parse().unwrap(), auth);
        "x_acme_inv".clone_into(&mut config.scope);
        config.datasets = vec![TableConfig::new("usage", "usage")];
        config.skip = datasets()
            .iter()
            .map(|declared| declared.name.to_owned())
            .filter(|name| name != "companies")
            .collect();
        // Reads on other threads have no time that can be stopped.
        config.http.retry.attempts = 1;
        let connector = ServiceNow::over("cmdb", &config, instance.transport(), instance.clock());
        Self {
            connector: Arc::new(connector.unwrap()),
            instance,
            held: Mutex::default(),
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        let record = [
            time("sys_created_on").null(),
            time("sys_updated_on").null().volatile(),
            int("sys_mod_count").null().volatile(),
        ];
        let companies = [
            text("sys_id").key(),
            text("name").null(),
            bool("manufacturer").null(),
            bool("vendor").null(),
            bool("customer").null(),
            text("parent").null(),
            text("stock_symbol").null(),
            text("website").null(),
        ];
        let usage = [
            text("sys_id").key(),
            date("bought").null(),
            text("device").null(),
            bool("is_open").null(),
            int("minutes").null(),
            time("seen").null(),
            float("share").null(),
            record[0],
            record[2],
            record[1],
        ];
        let schema = |columns: Vec<_>| Schema::new(columns).unwrap();
        vec![
            Subject::new("companies", schema([&companies[..], &record[..]].concat())),
            Subject::new("usage", schema(usage.to_vec())),
        ]
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        let table = table(subject);
        let columns = subject.schema.columns();
        let rows = rows.iter().map(|row| {
            let cells = columns.iter().zip(row).map(|(column, value)| {
                let text = match value {
                    Value::Null => String::new(),
                    Value::Timestamp(at) => at.to_string().replace('T', " ").replace('Z', ""),
                    value => value.to_string(),
                };
                (column.name().to_owned(), Json::String(text))
            });
            Json::Object(cells.collect::<Map<_, _>>())
        });
        let rows: Vec<_> = rows.collect();
        self.instance.heal(table);
        self.instance.load(table, rows.clone());
        self.held.lock().unwrap().insert(table.to_owned(), rows);
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let table = table(subject);
        let failure = match fault {
            Fault::Cut => Failure::Cut,
            Fault::Hang => Failure::Hang,
            Fault::Vanish => Failure::Missing,
            Fault::Deny => Failure::Denied,
            Fault::Malformed { text } => {
                self.spoil(subject, text);
                return true;
            }
            _ => return false,
        };
        self.instance.fault(table, failure, Times::ALWAYS);
        true
    }

    fn holds(&self, column: &Column, value: &Value<'static>) -> bool {
        match value {
            // Empty text is null.
            Value::Text(text) => !(text.is_empty() && column.is_nullable()),
            Value::Float(float) => float.is_finite(),
            _ => true,
        }
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        &[(
            Unsupported::Fault(FaultKind::ChangeWhileRead),
            "a walk has no point in time: what changes meanwhile comes with the next cycle; \
             tests/behavior.rs has tables that change between pages",
        )]
    }
}

impl ServiceNowHarness {
    /// Puts a text where none can be: into a number, a truth value or a time.
    fn spoil(&self, subject: &Subject, text: &str) {
        let table = table(subject);
        let mut held = self.held.lock().unwrap();
        let rows = held.get_mut(table).unwrap();
        let is_other = |column: &&Column| column.ty() != Type::Text;
        let column = subject.schema.columns().iter().find(is_other).unwrap();
        rows.last_mut().unwrap()[column.name()] = text.into();
        self.instance.load(table, rows.clone());
    }
}

connector_testkit::conformance!(ServiceNowHarness);
