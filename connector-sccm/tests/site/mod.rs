//! A site made from the declarations, so that a wrong column or type of one shows: a table for each
//! object that a data set reads, with rows that tell which is which.

use std::collections::BTreeMap;

use connector_core::{Type, Value};
use connector_sccm::connector_mssql::SqlDataset;
use connector_testkit::peer::SqlTable;
use serde_json::{Value as Json, json};

/// The first device's id: "systems lie in 16777216 to 33554431".
pub(crate) const FIRST_DEVICE: usize = 16_777_216;

/// One table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) columns: Vec<(String, Type)>,
    pub(crate) rows: Vec<Vec<Json>>,
}

impl Table {
    pub(crate) fn place(&self, column: &str) -> usize {
        let place = self.columns.iter().position(|(name, _)| name == column);
        place.unwrap_or_else(|| panic!("no column {column}"))
    }

    pub(crate) fn set(&mut self, row: usize, column: &str, value: Json) {
        let place = self.place(column);
        self.rows[row][place] = value;
    }
}

/// A site.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site(pub(crate) BTreeMap<String, Table>);

impl Site {
    /// Makes the objects of these data sets, each with as many rows as asked for. A table with
    /// more rows than there are devices has several for each of them.
    pub(crate) fn new(
        datasets: &[SqlDataset],
        devices: usize,
        rows: impl Fn(&str) -> usize,
    ) -> Self {
        let mut site = Self::default();
        for object in datasets.iter().flat_map(SqlDataset::objects) {
            let table = site.0.entry(object.name.to_owned()).or_insert(Table {
                columns: Vec::new(),
                rows: Vec::new(),
            });
            for (name, ty) in object.columns {
                if !table.columns.iter().any(|(known, _)| *known == name) {
                    table.columns.push((name, ty));
                }
            }
        }
        for (object, table) in &mut site.0 {
            let columns = &table.columns;
            table.rows = (0..rows(object))
                .map(|row| {
                    let cells = columns.iter();
                    cells
                        .map(|(name, ty)| cell(name, *ty, row, devices))
                        .collect()
                })
                .collect();
        }
        site
    }

    pub(crate) fn table(&mut self, object: &str) -> &mut Table {
        let table = self.0.get_mut(object);
        table.unwrap_or_else(|| panic!("no object {object}"))
    }

    /// As the peer takes it.
    pub(crate) fn tables(&self) -> Vec<SqlTable> {
        let tables = self.0.iter().map(|(name, table)| {
            let columns = table.columns.iter();
            columns
                .fold(SqlTable::new(name), |sql, (column, ty)| {
                    sql.column(column, sql_type(column, *ty))
                })
                .rows(table.rows.iter().cloned())
        });
        tables.collect()
    }
}

/// What a column of the type is at the server.
pub(crate) fn sql_type(column: &str, ty: Type) -> &'static str {
    match ty {
        Type::Int => "bigint",
        Type::Text => "nvarchar(4000)",
        Type::Bytes => "varbinary(8000)",
        Type::Timestamp | Type::LocalTimestamp => "datetime",
        // As Active Directory has it; ids of Entra are what they are.
        Type::Uuid if column == "Object_GUID0" => "varbinary(16)",
        Type::Uuid => "uniqueidentifier",
        other => panic!("no data set has {other}"),
    }
}

/// The value of a column in a row, other for each row, and the same in every table, so that joins
/// find each other.
fn cell(column: &str, ty: Type, row: usize, devices: usize) -> Json {
    match (column, ty) {
        ("ResourceID" | "MachineID", _) => json!(FIRST_DEVICE + row % devices),
        ("GroupID" | "InstanceKey", _) => json!(1 + row / devices),
        // Applications that are shown, in their latest revision.
        ("CIType_ID", _) => json!(10),
        ("IsLatest", _) => json!(1),
        ("IsHidden" | "Action", _) => json!(0),
        // Two devices with one board.
        ("SMBIOS_GUID0" | "Hardware_ID0", _) if row < 2 => json!("cloned"),
        (_, Type::Int) => json!(row + 1),
        (_, Type::Text) => json!(format!("{column} {row}")),
        (_, Type::Bytes) => json!(format!("{row:08x}")),
        (_, Type::Timestamp | Type::LocalTimestamp) => {
            let (hour, minute) = (row / 60 % 24, row % 60);
            json!(format!("2026-01-02T{hour:02}:{minute:02}:00"))
        }
        // The same in either order of bytes.
        ("Object_GUID0", _) => json!(format!("{:02x}", row % 256).repeat(16)),
        (_, Type::Uuid) => json!(format!("00000000-0000-0000-0000-{row:012x}")),
        (_, other) => panic!("no data set has {other}"),
    }
}

/// A value as it stands in a table, for comparison.
pub(crate) fn told(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => json!(number),
        Value::Bytes(bytes) => {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!(hex.concat())
        }
        Value::Timestamp(time) => json!(time.to_string().trim_end_matches('Z')),
        other => json!(other.to_string()),
    }
}
