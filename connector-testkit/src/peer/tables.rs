//! The SQL Server peer as the source of a harness.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, PoisonError},
};

use connector_core::{Column, Type, Value};
use serde_json::{Value as Json, json};
use tempfile::NamedTempFile;

use super::sqlserver::{SqlServerPeer, SqlTable};
use crate::{
    check::Check,
    harness::{Fault, FaultKind, Subject, Unsupported, Values},
};

/// What `varbinary(n)` and `nvarchar(n)` have at most. An empty `nvarchar(max)` of the peer lacks its
/// end.
const MOST_BYTES: usize = 8000;
const MOST_UNITS: usize = 4000;
/// 1 January 1753, where `datetime` begins, in ticks of 100 ns since 1970.
const FIRST_DATETIME: i64 = -79_257 * 86_400 * SECOND;
const SECOND: i64 = 10_000_000;

/// A [`SqlServerPeer`] with a table for each [`Subject`], called as the subject is and with columns
/// made from its schema: what a [`Harness`](crate::Harness) over SQL Server forwards to.
pub struct SqlSubjects {
    peer: SqlServerPeer,
    authority: NamedTempFile,
    subjects: Vec<Subject>,
    state: Mutex<State>,
}

/// What differs from empty tables of the schemas.
#[derive(Default)]
struct State {
    rows: BTreeMap<String, Vec<Values>>,
    faults: BTreeMap<String, Fault>,
}

impl SqlSubjects {
    /// Starts the peer with empty tables.
    ///
    /// # Panics
    ///
    /// When it can't be started, and for a subject with a column of a type that the peer lacks.
    pub fn start(user: &str, password: &str, subjects: Vec<Subject>) -> Self {
        let peer = SqlServerPeer::start(user, password);
        let authority = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(authority.path(), peer.authority_pem()).expect("it can be written");
        let started = Self {
            peer,
            authority,
            subjects,
            state: Mutex::default(),
        };
        started.change(|_| ());
        started
    }

    /// Returns the server as configurations name it.
    pub fn server(&self) -> String {
        format!("localhost,{}", self.peer.port())
    }

    /// Returns the file with the certificate to trust.
    pub fn ca_file(&self) -> &Path {
        self.authority.path()
    }

    /// Returns the peer, to serve other tables than the subjects'.
    pub fn peer(&self) -> &SqlServerPeer {
        &self.peer
    }

    /// Returns the subjects.
    pub fn subjects(&self) -> Vec<Subject> {
        self.subjects.clone()
    }

    /// Serves one subject with other columns than its own and no rows, and the others empty.
    pub fn serve_as(&self, name: &str, columns: &[Column]) {
        let mut others = self.subjects();
        others.retain(|subject| subject.name != name);
        let mut tables: Vec<_> = others
            .iter()
            .map(|subject| SqlTable::of(&subject.name, subject.schema.columns(), &[]))
            .collect();
        tables.push(SqlTable::of(name, columns, &[]));
        self.peer().serve(&tables);
    }

    /// As [`Harness::load`](crate::Harness::load).
    pub fn load(&self, subject: &Subject, rows: &[Values]) {
        self.change(|state| {
            state.rows.insert(subject.name.clone(), rows.to_vec());
            state.faults.remove(&subject.name);
        });
    }

    /// As [`Harness::fault`](crate::Harness::fault). A malformed value makes its column one of text,
    /// as a value of another type can't be in a column.
    pub fn fault(&self, subject: &Subject, fault: &Fault) -> bool {
        let can = matches!(fault, Fault::Vanish | Fault::Deny | Fault::Malformed { .. });
        if can {
            self.change(|state| {
                state.faults.insert(subject.name.clone(), fault.clone());
            });
        }
        can
    }

    /// As [`Harness::holds`](crate::Harness::holds).
    pub fn holds(value: &Value<'_>) -> bool {
        // Of the steps of 1/300 s only whole seconds are those of the kit's clock.
        let datetime = |ticks: i64| ticks >= FIRST_DATETIME && ticks % SECOND == 0;
        match value {
            Value::Float(v) => v.is_finite(),
            Value::Bytes(v) => v.len() <= MOST_BYTES,
            Value::Text(v) | Value::Json(v) => v.encode_utf16().count() <= MOST_UNITS,
            Value::Timestamp(v) => datetime(v.ticks()),
            Value::LocalTimestamp(v) => datetime(v.ticks()),
            _ => true,
        }
    }

    /// As [`Harness::unsupported`](crate::Harness::unsupported).
    pub fn unsupported() -> &'static [(Unsupported, &'static str)] {
        const WHOLE: &str =
            "the peer always answers whole; connector-mssql is tested with a server that does not";
        &[
            (Unsupported::Check(Check::Hang), WHOLE),
            (Unsupported::Fault(FaultKind::Cut), WHOLE),
            (
                Unsupported::Fault(FaultKind::ChangeWhileRead),
                "a statement sees what the peer served when it began",
            ),
        ]
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let under = |wanted: FaultKind| -> BTreeSet<&str> {
            let faults = state.faults.iter();
            faults
                .filter(|(_, fault)| fault.kind() == wanted)
                .map(|(name, _)| name.as_str())
                .collect()
        };
        let vanished = under(FaultKind::Vanish);
        let there = self.subjects.iter();
        let there = there.filter(|subject| !vanished.contains(subject.name.as_str()));
        let tables: Vec<_> = there.map(|subject| state.table(subject)).collect();
        self.peer.deny(&tables, under(FaultKind::Deny));
    }
}

impl State {
    fn table(&self, subject: &Subject) -> SqlTable {
        let columns = subject.schema.columns();
        let malformed = match self.faults.get(&subject.name) {
            Some(Fault::Malformed { text }) => Some(text),
            _ => None,
        };
        let typed = columns.iter().position(|column| column.ty() != Type::Text);
        let wrong = malformed.and(typed);
        let mut table = SqlTable::new(&subject.name);
        for (place, column) in columns.iter().enumerate() {
            let ty = match wrong {
                Some(wrong) if wrong == place => sql_type(Type::Text),
                _ => sql_type(column.ty()),
            };
            table = table.column(column.name(), ty);
        }
        let rows = self.rows.get(&subject.name).map_or(&[][..], Vec::as_slice);
        let last = rows.len().saturating_sub(1);
        table.rows(rows.iter().enumerate().map(|(number, values)| {
            let cells = values.iter().enumerate();
            cells
                .map(|(place, value)| match malformed {
                    Some(text) if wrong == Some(place) && number == last => json!(text),
                    Some(_) if wrong == Some(place) && !value.is_null() => json!(value.to_string()),
                    _ => cell(value),
                })
                .collect()
        }))
    }
}

/// The type of a column of the peer that holds every value which
/// [`SqlSubjects::holds`] lets through.
///
/// # Panics
///
/// For a type that the peer lacks.
fn sql_type(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bit",
        Type::Int => "bigint",
        Type::Float => "float",
        Type::Text | Type::Json => "nvarchar(4000)",
        Type::Bytes => "varbinary(8000)",
        Type::Timestamp | Type::LocalTimestamp => "datetime",
        Type::Uuid => "uniqueidentifier",
        other => panic!("the peer has no {other}"),
    }
}

fn cell(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(v) => json!(v),
        Value::Int(v) => json!(v),
        Value::Float(v) => json!(v),
        Value::Bytes(v) => {
            let digits = v.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
            json!(digits.collect::<String>())
        }
        Value::Timestamp(v) => json!(v.to_string().trim_end_matches('Z')),
        other => json!(other.to_string()),
    }
}

impl SqlTable {
    /// Makes a table with these columns and rows.
    ///
    /// # Panics
    ///
    /// For a column of a type that the peer lacks.
    #[must_use]
    pub fn of<'a>(
        name: &str,
        columns: impl IntoIterator<Item = &'a Column>,
        rows: &[Values],
    ) -> Self {
        let columns = columns.into_iter();
        let table = columns.fold(Self::new(name), |table, column| {
            table.column(column.name(), sql_type(column.ty()))
        });
        table.rows(rows.iter().map(|row| row.iter().map(cell).collect()))
    }
}
