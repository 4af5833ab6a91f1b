//! The table that holds one data set.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use connector_core::{Batch, Column, Digest, Error, ErrorKind, Result, Row, Schema, Value};
use rusqlite::{CachedStatement, Connection, Statement};

use super::{
    failed,
    value::{self, Cell},
};

/// Names the connector that a row came from, so that rows of several tables can be told apart in
/// one query. It is computed and takes no space.
pub(super) const PROVENANCE: &str = "_connector";

/// So many rows are read back at a time.
const READ_ROWS: usize = 1024;

/// Quotes a name for use in SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes text for use in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table with the columns of a data set.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its name, not quoted.
    pub(super) name: String,
    pub(super) schema: Arc<Schema>,
    /// What each column of the schema is called in the table.
    pub(super) columns: Vec<String>,
    sql: Sql,
}

/// The statements that change it.
#[derive(Debug, Clone)]
struct Sql {
    insert: String,
    update: String,
    delete: String,
}

impl Table {
    /// Takes a table as it was recorded.
    pub(super) fn new(name: String, schema: Arc<Schema>, columns: Vec<String>) -> Self {
        let sql = Sql::new(&name, &schema, &columns);
        Self {
            name,
            schema,
            columns,
            sql,
        }
    }

    /// Makes a table for a schema, with names for its columns.
    pub(super) fn named(name: &str, schema: &Arc<Schema>) -> Self {
        Self::new(
            name.to_owned(),
            Arc::clone(schema),
            name_columns(schema, |_| None),
        )
    }

    /// The same table after its schema grew; the second part is the SQL that makes it so.
    ///
    /// Returns none when the new schema is not the old one with more columns.
    pub(super) fn extended(&self, schema: &Arc<Schema>) -> Option<(Self, Vec<String>)> {
        let kept = self.schema.columns().iter().all(|old| {
            schema
                .column(old.name())
                .is_some_and(|new| new.ty() == old.ty() && new.is_key() == old.is_key())
        });
        if !kept {
            return None;
        }
        let known = |name: &str| {
            let place = self.schema.position(name)?;
            self.columns.get(place).cloned()
        };
        let columns = name_columns(schema, known);
        let added = schema
            .columns()
            .iter()
            .zip(&columns)
            .filter(|(column, _)| self.schema.column(column.name()).is_none())
            .map(|(column, name)| {
                format!(
                    "ALTER TABLE {} ADD COLUMN {} {}",
                    quote(&self.name),
                    quote(name),
                    value::declared(column.ty())
                )
            })
            .collect();
        let table = Self::new(self.name.clone(), Arc::clone(schema), columns);
        Some((table, added))
    }

    /// The SQL that makes it. The key comes later; see [`Table::create_key`].
    pub(super) fn create(&self, connector: &str) -> String {
        let mut sql = format!("CREATE TABLE {} (", quote(&self.name));
        for (column, name) in self.schema.columns().iter().zip(&self.columns) {
            // Other columns may become nullable, and SQLite can't lift a rule in place.
            let null = if column.is_key() { " NOT NULL" } else { "" };
            // Writing to a `String` can't fail.
            let _ = write!(
                sql,
                "{} {}{null}, ",
                quote(name),
                value::declared(column.ty())
            );
        }
        let _ = write!(
            sql,
            "{PROVENANCE} TEXT NOT NULL GENERATED ALWAYS AS ({}) VIRTUAL)",
            literal(connector)
        );
        sql
    }

    /// The name of the unique index over the key.
    pub(super) fn key_name(&self) -> String {
        format!("_{}_key", self.name)
    }

    /// The SQL that makes the key's index. Made when all rows are there, it is one sort; kept up
    /// row by row while they arrive in no order, it would touch a page a row.
    pub(super) fn create_key(&self) -> String {
        let key: Vec<_> = self.key_columns().map(quote).collect();
        format!(
            "CREATE UNIQUE INDEX {} ON {} ({})",
            quote(&self.key_name()),
            quote(&self.name),
            key.join(", ")
        )
    }

    fn key_columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.schema.columns().iter().zip(&self.columns);
        columns.filter_map(|(column, name)| column.is_key().then_some(name.as_str()))
    }

    /// Prepares to add records.
    pub(super) fn inserting<'c>(&self, connection: &'c Connection) -> rusqlite::Result<Insert<'c>> {
        connection.prepare_cached(&self.sql.insert).map(Insert)
    }

    /// Adds a record with this table's schema.
    pub(super) fn insert(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        self.inserting(connection)?.insert(row)
    }

    /// Replaces all but the key of a record with this table's schema.
    pub(super) fn update(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        let mut update = connection.prepare_cached(&self.sql.update)?;
        let next = bind(&mut update, 1, row, |column| !column.is_key())?;
        bind(&mut update, next, row, Column::is_key)?;
        update.raw_execute()
    }

    /// Removes the record of that row's key; the row may be a digest.
    pub(super) fn delete(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        let mut delete = connection.prepare_cached(&self.sql.delete)?;
        let key = self
            .schema
            .columns()
            .iter()
            .filter(|column| column.is_key());
        for (column, place) in key.zip(1..) {
            let value = row.value(column.name()).unwrap_or(Value::Null);
            delete.raw_bind_parameter::<usize, _>(place, Cell(value))?;
        }
        delete.raw_execute()
    }

    /// Counts and digests what the table really holds.
    pub(super) fn digest(&self, connection: &Connection) -> Result<(u64, Digest)> {
        self.digest_as(connection, &self.schema)
    }

    /// The same for rows of a schema that may have more columns, which are null so far.
    pub(super) fn digest_as(
        &self,
        connection: &Connection,
        schema: &Arc<Schema>,
    ) -> Result<(u64, Digest)> {
        let (mut rows, mut digest) = (0, Digest::default());
        self.read(connection, schema, |batch| {
            rows += batch.len() as u64;
            digest.add_batch(batch);
        })?;
        Ok((rows, digest))
    }

    /// Reads every record back, in no order.
    fn read(
        &self,
        connection: &Connection,
        schema: &Arc<Schema>,
        mut each: impl FnMut(&Batch),
    ) -> Result<()> {
        let failed = |error| failed(error, "can't read a table back").with("table", &self.name);
        let cells: Vec<_> = schema
            .columns()
            .iter()
            .map(|column| match self.schema.position(column.name()) {
                Some(place) => quote(&self.columns[place]),
                None => "NULL".to_owned(),
            })
            .collect();
        let select = format!("SELECT {} FROM {}", cells.join(", "), quote(&self.name));
        let mut select = connection.prepare(&select).map_err(failed)?;
        let mut found = select.raw_query();
        let mut batch = Batch::new(Arc::clone(schema));
        loop {
            let row = found.next().map_err(failed)?;
            if batch.len() == READ_ROWS || row.is_none() {
                each(&batch);
                batch = Batch::new(Arc::clone(schema));
            }
            let Some(row) = row else { return Ok(()) };
            let mut writer = batch.row();
            for (place, column) in schema.columns().iter().enumerate() {
                let cell = row.get_ref(place).map_err(failed)?;
                let Some(value) = value::read(column.ty(), cell) else {
                    return Err(Error::new(
                        ErrorKind::Sink,
                        "a cell is not what was written there",
                    )
                    .with("table", &self.name)
                    .with("column", column.name()));
                };
                writer.value(&value);
            }
            writer
                .end()
                .map_err(|error| error.with("table", &self.name))?;
        }
    }
}

/// Adds records to a table, one after the other.
pub(super) struct Insert<'c>(CachedStatement<'c>);

impl Insert<'_> {
    /// Adds a record with the table's schema.
    pub(super) fn insert(&mut self, row: &Row) -> rusqlite::Result<usize> {
        bind(&mut self.0, 1, row, |_| true)?;
        self.0.raw_execute()
    }
}

impl Sql {
    fn new(name: &str, schema: &Schema, columns: &[String]) -> Self {
        let table = quote(name);
        let pick = |key: bool| -> Vec<String> {
            let columns = schema.columns().iter().zip(columns);
            columns
                .filter(|(column, _)| column.is_key() == key)
                .map(|(_, name)| format!("{} = ?", quote(name)))
                .collect()
        };
        let names: Vec<_> = columns.iter().map(|name| quote(name)).collect();
        let key = pick(true).join(" AND ");
        Self {
            insert: format!(
                "INSERT INTO {table} ({}) VALUES ({})",
                names.join(", "),
                vec!["?"; names.len()].join(", ")
            ),
            update: format!("UPDATE {table} SET {} WHERE {key}", pick(false).join(", ")),
            delete: format!("DELETE FROM {table} WHERE {key}"),
        }
    }
}

/// Binds the chosen cells of a row one after another and returns the next place.
fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    row: &Row,
    chosen: impl Fn(&Column) -> bool,
) -> rusqlite::Result<usize> {
    let mut next = first;
    for (place, column) in row.schema().columns().iter().enumerate() {
        if chosen(column) {
            statement.raw_bind_parameter(next, Cell(row.at(place)))?;
            next += 1;
        }
    }
    Ok(next)
}

/// Names the columns as the data set does. SQLite holds letters in either case for the same, so
/// the later of two such names gets a number; a column that has a name keeps it.
fn name_columns(schema: &Schema, known: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut taken: HashSet<String> = [PROVENANCE.to_owned()].into();
    let columns = schema.columns();
    let mut names: Vec<_> = columns.iter().map(|column| known(column.name())).collect();
    taken.extend(names.iter().flatten().map(|name| name.to_ascii_lowercase()));
    for (name, column) in names.iter_mut().zip(columns) {
        if name.is_none() {
            // SQL text ends at a zero.
            let plain = column.name().replace('\0', "\u{fffd}");
            let mut free = plain.clone();
            let mut number = 2;
            while !taken.insert(free.to_ascii_lowercase()) {
                free = format!("{plain}_{number}");
                number += 1;
            }
            *name = Some(free);
        }
    }
    names.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use connector_core::schema::{int, text};

    use super::*;

    fn schema(columns: Vec<Column<&'static str>>) -> Arc<Schema> {
        Arc::new(Schema::new(columns).unwrap())
    }

    #[test]
    fn names_that_sqlite_holds_for_the_same_get_a_number() {
        let old = schema(vec![text("Name").key(), text("name"), text("_Connector")]);
        let table = Table::named("t", &old);
        assert_eq!(table.columns, ["Name", "name_2", "_Connector_2"]);
    }

    #[test]
    fn a_column_keeps_its_name_when_others_come_before_it() {
        let old = schema(vec![text("id").key(), text("name")]);
        let new = schema(vec![text("NAME").null(), text("name"), text("id").key()]);
        let (table, added) = Table::named("t", &old).extended(&new).unwrap();
        assert_eq!(table.columns, ["NAME_2", "name", "id"]);
        assert_eq!(added, ["ALTER TABLE \"t\" ADD COLUMN \"NAME_2\" TEXT"]);
    }

    #[test]
    fn another_type_is_no_extension() {
        let old = schema(vec![text("id").key(), text("name")]);
        let new = schema(vec![text("id").key(), int("name")]);
        assert!(Table::named("t", &old).extended(&new).is_none());
    }

    #[test]
    fn names_are_quoted() {
        let table = Table::named("a\"b", &schema(vec![text("x\"; --").key()]));
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&table.create("it's")).unwrap();
        connection.execute_batch(&table.create_key()).unwrap();
        let row = Row::from_values(&table.schema, &[connector_core::Value::Text("1".into())]);
        table.insert(&connection, &row.unwrap()).unwrap();
        let connector: String = connection
            .query_row("SELECT _connector FROM \"a\"\"b\"", [], |row| row.get(0))
            .unwrap();
        assert_eq!(connector, "it's");
    }
}
