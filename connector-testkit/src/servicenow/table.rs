//! A table: its fields, and the records that it holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// A table of a scripted instance. Its `sys_id` and what each record has besides are there already:
/// `sys_created_on`, `sys_updated_on` and `sys_mod_count`.
#[derive(Debug, Clone)]
pub struct ServiceNowTable {
    pub(super) name: String,
    pub(super) parent: Option<String>,
    /// Its own fields: the type, and what it refers to.
    pub(super) fields: BTreeMap<String, (String, String)>,
    pub(super) records: Vec<Record>,
    /// Ids of records that the user may not read, and fields.
    pub(super) hidden: BTreeSet<String>,
    pub(super) hidden_fields: BTreeSet<String>,
}

impl ServiceNowTable {
    /// Makes one that extends no other.
    pub fn new(name: &str) -> Self {
        let table = Self {
            name: name.to_owned(),
            parent: None,
            fields: BTreeMap::new(),
            records: Vec::new(),
            hidden: BTreeSet::new(),
            hidden_fields: BTreeSet::new(),
        };
        table
            .field("sys_id", "GUID")
            .field("sys_created_on", "glide_date_time")
            .field("sys_updated_on", "glide_date_time")
            .field("sys_mod_count", "integer")
    }

    /// Makes it extend another one, whose fields it has and whose rows are its own too.
    #[must_use]
    pub fn extends(mut self, parent: &str) -> Self {
        self.parent = Some(parent.to_owned());
        self.fields.clear();
        self
    }

    /// Adds a field of that type of the dictionary.
    #[must_use]
    pub fn field(mut self, name: &str, internal_type: &str) -> Self {
        let ty = (internal_type.to_owned(), String::new());
        self.fields.insert(name.to_owned(), ty);
        self
    }

    /// Adds a field that refers to a table.
    #[must_use]
    pub fn reference(mut self, name: &str, table: &str) -> Self {
        let ty = ("reference".to_owned(), table.to_owned());
        self.fields.insert(name.to_owned(), ty);
        self
    }

    /// Puts records in, in the order of their ids.
    pub(super) fn load(&mut self, records: impl IntoIterator<Item = Json>) {
        self.records = records.into_iter().map(Record::new).collect();
        self.records.sort_by(|a, b| a.id.cmp(&b.id));
    }
}

/// A record: its id, and its values by field.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    values: BTreeMap<String, Cell>,
}

/// A value as the database has it, and as people see it.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) value: String,
    pub(super) display: String,
}

impl Record {
    /// Takes an object whose members are texts, or objects of `value` and `display_value`.
    ///
    /// # Panics
    ///
    /// When it is another one, or has no `sys_id`.
    fn new(object: Json) -> Self {
        let Json::Object(members) = object else {
            panic!("a record is an object");
        };
        let text = |json: &Json| json.as_str().expect("values are texts").to_owned();
        let values: BTreeMap<_, _> = members
            .into_iter()
            .map(|(name, json)| {
                let cell = if json.is_object() {
                    Cell {
                        value: text(&json["value"]),
                        display: text(&json["display_value"]),
                    }
                } else {
                    let value = text(&json);
                    Cell {
                        display: value.clone(),
                        value,
                    }
                };
                (name, cell)
            })
            .collect();
        let id = values.get("sys_id").expect("a record has a `sys_id`");
        Self {
            id: id.value.clone(),
            values,
        }
    }

    pub(super) fn cell(&self, field: &str) -> Option<&Cell> {
        self.values.get(field)
    }

    /// Returns a value; empty where there is none.
    pub(super) fn value(&self, field: &str) -> &str {
        self.cell(field).map_or("", |cell| &cell.value)
    }
}
