//! The conformance kit over three declared data sets, on a server that speaks SQL Server's protocol
//! and that we did not write.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[expect(dead_code, reason = "the kit brings rows of its own")]
mod site;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use connector_core::{Column, Connector, Secret, Type, Value};
use connector_sccm::{
    Sccm, SccmConfig, SccmSettings,
    connector_mssql::{Authentication, SqlDataset},
    datasets,
};
use connector_testkit::{
    Check, Fault, FaultKind, Harness, Subject, Unsupported, Values,
    peer::{SqlServerPeer, SqlTable},
};
use serde_json::json;

/// An optional class of inventory with columns that move by themselves, read in ranges if it is
/// large; updates, with times in UTC and bytes; collections, whose key is text.
const SUBJECTS: [&str; 3] = ["v_GS_SERVICE", "v_UpdateCIs", "Collections"];

const USER: &str = "reader";
/// What `varbinary(n)` and `nvarchar(n)` have at most.
const MOST_BYTES: usize = 8000;
const MOST_UNITS: usize = 4000;
/// 1 January 1753, where `datetime` begins, in 100 ns since 1970.
const FIRST_DATETIME: i64 = -79_258 * 86_400 * 10_000_000;
const SECOND: i64 = 10_000_000;

struct SccmHarness {
    peer: SqlServerPeer,
    connector: Arc<Sccm>,
    _authority: tempfile::NamedTempFile,
    state: Mutex<State>,
}

/// What the peer serves.
#[derive(Default)]
struct State {
    rows: BTreeMap<String, Vec<Values>>,
    vanished: BTreeSet<String>,
    denied: BTreeSet<String>,
    malformed: BTreeMap<String, String>,
}

fn declared() -> Vec<SqlDataset> {
    datasets(&SccmSettings::default())
}

fn declaration(subject: &Subject) -> SqlDataset {
    let mut all = declared().into_iter();
    all.find(|dataset| dataset.name == subject.name).unwrap()
}

/// The object behind a data set, without its alias.
fn object(subject: &Subject) -> &'static str {
    declaration(subject).from.split_once(' ').unwrap().0
}

fn subjects() -> Vec<Subject> {
    let chosen = declared().into_iter();
    chosen
        .filter(|dataset| SUBJECTS.contains(&dataset.name))
        .map(|dataset| Subject::new(dataset.name, dataset.schema().unwrap()))
        .collect()
}

fn cell(value: &Value<'_>) -> serde_json::Value {
    site::told(value)
}

impl State {
    fn tables(&self) -> Vec<SqlTable> {
        let there = subjects()
            .into_iter()
            .filter(|subject| !self.vanished.contains(&subject.name));
        let mut tables: Vec<_> = there.map(|subject| self.table(&subject)).collect();
        // The list that bounds of ranges come from.
        tables.push(SqlTable::new("v_R_System").column("ResourceID", "int"));
        tables
    }

    fn table(&self, subject: &Subject) -> SqlTable {
        let columns = subject.schema.columns();
        // A text where a number is declared: nobody reads a row of it.
        let wrong = self.malformed.get(&subject.name);
        let place = wrong.and_then(|_| columns.iter().rposition(|c| c.ty() == Type::Int));
        let mut table = SqlTable::new(object(subject));
        for (number, column) in columns.iter().enumerate() {
            let ty = if place == Some(number) {
                Type::Text
            } else {
                column.ty()
            };
            table = table.column(column.name(), site::sql_type(column.name(), ty));
        }
        let rows = self.rows.get(&subject.name).cloned().unwrap_or_default();
        table.rows(rows.iter().map(|values| {
            let cells = values.iter().enumerate();
            cells
                .map(|(number, value)| match wrong {
                    Some(text) if place == Some(number) => json!(text),
                    _ => cell(value),
                })
                .collect()
        }))
    }
}

impl SccmHarness {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        let denied: Vec<_> = subjects()
            .iter()
            .filter(|subject| state.denied.contains(&subject.name))
            .map(object)
            .collect();
        self.peer.deny(&state.tables(), denied);
    }
}

#[async_trait]
impl Harness for SccmHarness {
    async fn start(secret: &Secret) -> Self {
        let peer = SqlServerPeer::start(USER, secret.expose());
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), peer.authority_pem()).unwrap();
        let server = format!("localhost,{}", peer.port()).parse().unwrap();
        let mut config = SccmConfig::new(server, "CM_P01");
        config.auth = Authentication::Sql {
            user: USER.to_owned(),
            password: secret.clone(),
        };
        config.ca_file = Some(authority.path().to_owned());
        let others = declared().into_iter().map(|dataset| dataset.name);
        config.skip = others
            .filter(|name| !SUBJECTS.contains(name))
            .map(str::to_owned)
            .collect();
        let connector = Arc::new(Sccm::new("lab", config).unwrap());
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
            state.rows.insert(name.clone(), rows.to_vec());
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
            Value::Text(v) => v.encode_utf16().count() <= MOST_UNITS,
            Value::Bytes(v) => v.len() <= MOST_BYTES,
            // Of the steps of 1/300 s only whole seconds are those of the kit's clock.
            Value::Timestamp(v) => v.ticks() >= FIRST_DATETIME && v.ticks() % SECOND == 0,
            Value::LocalTimestamp(v) => v.ticks() >= FIRST_DATETIME && v.ticks() % SECOND == 0,
            _ => true,
        }
    }

    fn unsupported(&self) -> &[(Unsupported, &'static str)] {
        const SCRIPTED: &str =
            "the peer always answers whole; connector-mssql tests it with a server that does not";
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

connector_testkit::conformance!(SccmHarness);
