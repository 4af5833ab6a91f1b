//! The instance's dictionary: which tables and fields there are, and of which types.
//!
//! It is read before any row, since an instance passes over names that it does not know: a misspelt
//! field is left out of the rows, and a misspelt condition out of the query, which then means the
//! whole table.

use std::collections::{BTreeMap, btree_map::Entry};

use connector_core::{Column, Error, ErrorKind, Result, Schema, Type};
use connector_http::decode::{PageDecoder, Reply, text};

use crate::{
    declare::is_stamp,
    definition::{Definition, KEY},
    link::{Ask, Link},
    query::is_name,
    walk::{Walk, text_of},
};

/// Tables extend one another no deeper.
const DEEPEST: usize = 32;

const RESULT: Reply = Reply {
    list: "result",
    error: "error",
    ..Reply::NEW
};

const TABLES: Reply = Reply {
    name: "sys_db_object",
    columns: &[
        text("sys_id", "sys_id").member("value").key(),
        text("name", "name").member("value").empty_is_null(),
        text("extends", "super_class.name")
            .member("value")
            .empty_is_null(),
    ],
    ..RESULT
}
.checked();

const FIELDS: Reply = Reply {
    name: "sys_dictionary",
    columns: &[
        text("sys_id", "sys_id").member("value").key(),
        text("name", "name").member("value").empty_is_null(),
        text("element", "element").member("value").empty_is_null(),
        text("internal_type", "internal_type")
            .member("value")
            .empty_is_null(),
        text("reference", "reference")
            .member("value")
            .empty_is_null(),
    ],
    ..RESULT
}
.checked();

/// What a data set turned out to be.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) schema: Schema,
    /// Declared fields that the instance does not have.
    pub(crate) absent: Vec<&'static str>,
}

/// The dictionary as far as it was asked for.
pub(crate) struct Dictionary<'a> {
    link: &'a Link,
    tables: BTreeMap<String, Option<Table>>,
}

/// The fields of a table, with those of the tables that it extends.
type Table = BTreeMap<String, FieldType>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldType {
    internal: String,
    /// The table that it refers to; empty for none.
    reference: String,
}

/// What becomes of a field by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Column(Type),
    /// It is never asked for.
    Secret,
    /// It has no value of its own.
    Nothing,
}

impl FieldType {
    fn meaning(&self) -> Meaning {
        Meaning::Column(match self.internal.as_str() {
            "boolean" => Type::Bool,
            "integer" | "longint" | "auto_increment" => Type::Int,
            "decimal" | "float" | "double" | "percent_complete" => Type::Float,
            "glide_date_time" | "due_date" | "datetime" => Type::Timestamp,
            "glide_date" | "date" => Type::Date,
            "password" | "password2" => return Meaning::Secret,
            "collection" | "journal" | "journal_input" | "journal_list" => {
                return Meaning::Nothing;
            }
            // Choices are their codes, references ids, and amounts of money, durations and lists as
            // they are written.
            _ => Type::Text,
        })
    }
}

impl<'a> Dictionary<'a> {
    pub(crate) fn new(link: &'a Link) -> Self {
        Self {
            link,
            tables: BTreeMap::new(),
        }
    }

    /// Meets a definition with the instance.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting and the field that the instance does not have;
    /// [`ErrorKind::NotCollected`] when it does not have a declared table, and
    /// [`ErrorKind::NotFound`] for one of the customer's own; [`ErrorKind::Permission`] when the
    /// dictionary can't be read.
    pub(crate) async fn meet(&mut self, definition: &Definition) -> Result<Met> {
        let Some(table) = self.table(&definition.table).await?.cloned() else {
            let (kind, message) = if definition.role.is_some() {
                let message = "the instance does not have the table: what it belongs to is not \
                               installed";
                (ErrorKind::NotCollected, message)
            } else {
                let message = "the instance does not have the table: see `table` and `scope`";
                (ErrorKind::NotFound, message)
            };
            return Err(Error::new(kind, message).with("table", &definition.table));
        };
        for field in definition.filter.fields() {
            self.field(definition, &table, "filter", field).await?;
        }
        let mut columns = Columns {
            definition,
            columns: vec![Column::new(KEY, Type::Text).key()],
        };
        let mut absent = Vec::new();
        for field in &definition.declared {
            match table.get(field.name) {
                Some(found) => {
                    if let Meaning::Column(ty) = found.meaning() {
                        columns.add(field.name, ty, field.volatile);
                    }
                }
                None => absent.push(field.name),
            }
        }
        for name in &definition.named {
            let found = self.field(definition, &table, "columns", name).await?;
            match found.meaning() {
                Meaning::Column(ty) => columns.add(name, ty, false),
                Meaning::Secret => {
                    return Err(wrong(definition, "columns", name, "holds a secret"));
                }
                Meaning::Nothing => {
                    return Err(wrong(
                        definition,
                        "columns",
                        name,
                        "has no value of its own",
                    ));
                }
            }
        }
        if definition.is_whole() {
            for (name, found) in table.iter().filter(|(name, _)| *name != KEY) {
                if let Meaning::Column(ty) = found.meaning() {
                    columns.add(name, ty, false);
                }
            }
        }
        for name in &definition.without {
            if !absent.contains(&name.as_str()) {
                self.field(definition, &table, "without", name).await?;
            }
        }
        columns.check()?;
        let schema = Schema::new(columns.columns).map_err(|error| {
            let message = "two columns have one name: a field is called as a display value is";
            Error::new(ErrorKind::Config, message).with_source(error)
        })?;
        Ok(Met { schema, absent })
    }

    /// Finds a field that a person named, by way of references where there are dots.
    async fn field(
        &mut self,
        definition: &Definition,
        table: &Table,
        setting: &str,
        path: &str,
    ) -> Result<FieldType> {
        let none = |table: &str| {
            let what = format!("is no field of the table {table}");
            wrong(definition, setting, path, &what)
        };
        let mut names = path.split('.');
        let first = names.next().unwrap_or_default();
        let mut found = table.get(first).ok_or_else(|| none(&definition.table))?;
        let mut held;
        for name in names {
            let reference = found.reference.clone();
            if !is_name(&reference) {
                let what = "goes by way of a field that refers to no table";
                return Err(wrong(definition, setting, path, what));
            }
            held = self.table(&reference).await?.cloned().unwrap_or_default();
            found = held.get(name).ok_or_else(|| none(&reference))?;
        }
        Ok(found.clone())
    }

    /// Returns the fields of a table, or nothing when there is no such table.
    async fn table(&mut self, name: &str) -> Result<Option<&Table>> {
        let name = name.to_owned();
        let table = match self.tables.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let found = find(self.link, unknown.key()).await?;
                unknown.insert(found)
            }
        };
        Ok(table.as_ref())
    }
}

/// The columns of a definition, one after the other.
struct Columns<'a> {
    definition: &'a Definition,
    columns: Vec<Column>,
}

impl Columns<'_> {
    fn add(&mut self, name: &str, ty: Type, volatile: bool) {
        let definition = self.definition;
        let names = |list: &[String]| list.iter().any(|own| own == name);
        if names(&definition.without) {
            return;
        }
        let volatile = volatile || is_stamp(name) || names(&definition.volatile);
        let mut add = |name: &str, ty| {
            let column = Column::new(name, ty).null();
            let column = if volatile { column.volatile() } else { column };
            self.columns.push(column);
        };
        add(name, ty);
        if names(&definition.display) {
            add(&Definition::display_column(name), Type::Text);
        }
    }

    /// Refuses settings about columns that there are not.
    fn check(&self) -> Result<()> {
        let definition = self.definition;
        for (setting, names) in [
            ("display", &definition.display),
            ("volatile", &definition.volatile),
        ] {
            let is_none = |name: &&String| !self.columns.iter().any(|c| c.name() == **name);
            if let Some(name) = names.iter().find(is_none) {
                return Err(wrong(definition, setting, name, "is no column"));
            }
        }
        Ok(())
    }
}

fn wrong(definition: &Definition, setting: &str, field: &str, what: &str) -> Error {
    let message = format!("`{setting}` names the field {field}, which {what}");
    Error::new(ErrorKind::Config, message).with("table", &definition.table)
}

/// Reads the fields of a table and of those that it extends.
async fn find(link: &Link, name: &str) -> Result<Option<Table>> {
    let mut family: Vec<String> = Vec::new();
    let mut next = name.to_owned();
    while !next.is_empty() {
        if family.contains(&next) || family.len() == DEEPEST || !is_name(&next) {
            let message = "the tables that a table extends lead nowhere";
            return Err(Error::new(ErrorKind::Source, message).with("table", name));
        }
        let condition = format!("name={next}");
        let rows = all(link, &TABLES, "name,super_class.name", &condition).await?;
        let Some(row) = rows.into_iter().find(|row| row[1] == next) else {
            if family.is_empty() {
                return Ok(None);
            }
            let message = "the dictionary lacks a table that another one extends";
            return Err(Error::new(ErrorKind::Source, message).with("table", next));
        };
        family.push(std::mem::replace(&mut next, row[2].clone()));
    }
    let condition = format!("nameIN{}^elementISNOTEMPTY^active=true", family.join(","));
    let rows = all(
        link,
        &FIELDS,
        "name,element,internal_type,reference",
        &condition,
    )
    .await?;
    let mut table = Table::new();
    // What a table says of a field counts more than what the one says that it extends.
    for own in family.iter().rev() {
        for row in rows.iter().filter(|row| row[1] == *own) {
            let found = FieldType {
                internal: row[3].clone(),
                reference: row[4].clone(),
            };
            table.insert(row[2].clone(), found);
        }
    }
    Ok(Some(table))
}

/// Reads rows of the dictionary, all of them: one that the user may not read would look like a field
/// that there is not.
async fn all(
    link: &Link,
    reply: &'static Reply<'static>,
    fields: &'static str,
    filter: &str,
) -> Result<Vec<Vec<String>>> {
    let mut asked = vec![KEY];
    asked.extend(fields.split(','));
    let ask = Ask {
        table: reply.name,
        filter,
        fields: asked,
        display: false,
    };
    let mut decoder = PageDecoder::new(reply)?;
    let mut walk = Walk::new(link, ask, link.page());
    let mut rows = Vec::new();
    let width = reply.columns.len();
    let refused = |error: Error| {
        if error.kind() != ErrorKind::Permission {
            return error;
        }
        let message = format!(
            "the user may not read `{}`, where an instance says which fields its tables have: grant \
             the right to read `sys_dictionary` and `sys_db_object`",
            reply.name
        );
        Error::new(ErrorKind::Permission, message).with_source(error)
    };
    while let Some(batch) = walk.next(&mut decoder).await.map_err(refused)? {
        rows.extend(batch.rows().map(|row| {
            let cells = (0..width).map(|place| text_of(&row.at(place)));
            cells.collect::<Vec<_>>()
        }));
    }
    match walk.counts() {
        (_, 0) => Ok(rows),
        (read, hidden) => {
            let message = format!("it may read {read} rows, and {hidden} not");
            Err(refused(Error::new(ErrorKind::Permission, message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_dictionary() {
        for (internal, meaning) in [
            ("string", Meaning::Column(Type::Text)),
            ("reference", Meaning::Column(Type::Text)),
            ("choice", Meaning::Column(Type::Text)),
            ("currency", Meaning::Column(Type::Text)),
            ("glide_duration", Meaning::Column(Type::Text)),
            ("boolean", Meaning::Column(Type::Bool)),
            ("integer", Meaning::Column(Type::Int)),
            ("decimal", Meaning::Column(Type::Float)),
            ("glide_date_time", Meaning::Column(Type::Timestamp)),
            ("glide_date", Meaning::Column(Type::Date)),
            ("password2", Meaning::Secret),
            ("journal_input", Meaning::Nothing),
        ] {
            let field = FieldType {
                internal: internal.to_owned(),
                reference: String::new(),
            };
            assert_eq!(field.meaning(), meaning, "{internal}");
        }
    }
}
