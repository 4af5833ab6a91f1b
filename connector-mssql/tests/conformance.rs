//! The conformance kit, over a server that speaks SQL Server's protocol and that we did not write.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use connector_core::{
    Column, Connector, Duplicates, Schema, Secret, Type, Value,
    schema::{Declared, bool, bytes, float, int, json, text, time, uuid},
};
use connector_mssql::{Authentication, DatasetConfig, SqlServer, SqlServerConfig};
use connector_testkit::{
    Check, Fault, FaultKind, Harness, Subject, Unsupported, Values,
    peer::{SqlServerPeer, SqlTable},
};
use serde_json::json;

/// Every type that the peer's tables have; `tests/scripted.rs` has the others. Only the key is
/// never null: a column that a person's configuration names may always be null.
const EVERYTHING: Declared = Declared::new(&[
    text("name").key(),
    bool("bool").null(),
    int("int").null(),
    float("float").null(),
    text("text").null(),
    bytes("bytes").null(),
    time("timestamp").null(),
    time("local").local().null(),
    uuid("uuid").null(),
    json("json").null(),
]);

/// A key of two types, a column that moves by itself, and the other policy for duplicates.
const STAMPED: Declared = Declared::new(&[
    int("site").key(),
    uuid("device").key(),
    text("note").null(),
    json("stamp").null().volatile(),
]);

const USER: &str = "reader";
/// What `varbinary(n)` has at most.
const MOST_BYTES: usize = 8000;
/// 1 January 1753, where `datetime` begins, in 100 ns since 1970.
const FIRST_DATETIME: i64 = -79_258 * 86_400 * 10_000_000;
const SECOND: i64 = 10_000_000;

struct MssqlHarness {
    peer: SqlServerPeer,
    connector: Arc<SqlServer>,
    _authority: tempfile::NamedTempFile,
    state: Mutex<State>,
}

/// What the peer serves.
#[derive(Default)]
struct State {
    tables: BTreeMap<String, Vec<Values>>,
    vanished: BTreeSet<String>,
    denied: BTreeSet<String>,
    malformed: BTreeMap<String, String>,
}

fn subjects() -> Vec<Subject> {
    let stamped = Schema::from(STAMPED).with_duplicates(Duplicates::KeepGreatest);
    vec![
        Subject::new("everything", EVERYTHING),
        Subject::new("stamped", stamped),
    ]
}

fn declare(subject: &Subject) -> DatasetConfig {
    let schema = &subject.schema;
    let key = schema.key().map(Column::name);
    let mut config = DatasetConfig::new(&subject.name, &subject.name, key);
    config.columns = schema
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    for column in schema.columns() {
        config.types.insert(column.name().to_owned(), column.ty());
        if column.is_volatile() {
            config.volatile.push(column.name().to_owned());
        }
    }
    config.duplicates = schema.duplicates();
    config
}

fn sql_type(column: &Column) -> &'static str {
    match column.ty() {
        Type::Bool => "bit",
        Type::Int => "bigint",
        Type::Float => "float",
        Type::Text | Type::Json => "nvarchar(max)",
        Type::Bytes => "varbinary(8000)",
        Type::Timestamp | Type::LocalTimestamp => "datetime",
        Type::Uuid => "uniqueidentifier",
        other => panic!("the peer has no {other}"),
    }
}

fn cell(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => json!(null),
        Value::Bool(v) => json!(v),
        Value::Int(v) => json!(v),
        Value::Float(v) => json!(v),
        Value::Bytes(v) => json!(v.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Value::Timestamp(v) => json!(v.to_string().trim_end_matches('Z')),
        other => json!(other.to_string()),
    }
}

impl State {
    fn tables(&self) -> Vec<SqlTable> {
        let there = subjects()
            .into_iter()
            .filter(|subject| !self.vanished.contains(&subject.name));
        there.map(|subject| self.table(&subject)).collect()
    }

    fn table(&self, subject: &Subject) -> SqlTable {
        let columns = subject.schema.columns();
        let mut table = SqlTable::new(&subject.name);
        for column in columns {
            table = table.column(column.name(), sql_type(column));
        }
        let rows = self.tables.get(&subject.name).cloned().unwrap_or_default();
        let last = rows.len().checked_sub(1);
        let wrong = self.malformed.get(&subject.name);
        table.rows(rows.iter().enumerate().map(|(number, values)| {
            let cells = columns.iter().zip(values);
            cells
                .map(|(column, value)| match wrong {
                    Some(text) if Some(number) == last && column.ty() == Type::Json => json!(text),
                    _ => cell(value),
                })
                .collect()
        }))
    }
}

impl MssqlHarness {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        let denied = state.denied.iter().map(String::as_str);
        self.peer.deny(&state.tables(), denied);
    }
}

#[async_trait]
impl Harness for MssqlHarness {
    async fn start(secret: &Secret) -> Self {
        let peer = SqlServerPeer::start(USER, secret.expose());
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), peer.authority_pem()).unwrap();
        let server = format!("localhost,{}", peer.port()).parse().unwrap();
        let mut config = SqlServerConfig::<()>::new(server, "pysqlbridge");
        config.auth = Authentication::Sql {
            user: USER.to_owned(),
            password: secret.clone(),
        };
        config.ca_file = Some(authority.path().to_owned());
        config.datasets = subjects().iter().map(declare).collect();
        let connector = Arc::new(SqlServer::new("mssql", "lab", config, &[]).unwrap());
        let harness = Self {
            peer,
            connector,
            _authority: authority,
            state: Mutex::default(),
        };
        harness.change(|_| ());
        harness
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector) as Arc<dyn Connector>
    }

    fn subjects(&self) -> Vec<Subject> {
        subjects()
    }

    async fn load(&self, subject: &Subject, rows: &[Values]) {
        self.change(|state| {
            let name = &subject.name;
            state.tables.insert(name.clone(), rows.to_vec());
            state.vanished.remove(name);
            state.denied.remove(name);
            state.malformed.remove(name);
        });
    }

    async fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let name = subject.name.clone();
        match fault {
            Fault::Vanish => self.change(|state| {
                state.vanished.insert(name);
            }),
            Fault::Deny => self.change(|state| {
                state.denied.insert(name);
            }),
            Fault::Malformed { text } => self.change(|state| {
                state.malformed.insert(name, text.clone());
            }),
            _ => return false,
        }
        true
    }

    fn holds(&self, _: &Column, value: &Value<'static>) -> bool {
        match value {
            Value::Float(v) => v.is_finite(),
            Value::Bytes(v) => v.len() <= MOST_BYTES,
            // Of the steps of 1/300 s only whole seconds are those of the kit's clock.
            Value::Timestamp(v) => v.ticks() >= FIRST_DATETIME && v.ticks() % SECOND == 0,
            Value::LocalTimestamp(v) => v.ticks() >= FIRST_DATETIME && v.ticks() % SECOND == 0,
            _ => true,
        }
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        const SCRIPTED: &str =
            "the peer always answers whole; `tests/scripted.rs` has a server that does not";
        &[
            (Unsupported::Check(Check::Hang), SCRIPTED),
            (Unsupported::Fault(FaultKind::Cut), SCRIPTED),
            (
                Unsupported::Fault(FaultKind::ChangeWhileRead),
                "a statement sees what the peer served when it began",
            ),
        ]
    }
}

connector_testkit::conformance!(MssqlHarness);
