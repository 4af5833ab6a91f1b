//! The SQL of one data set's table.

use std::{fmt::Write, sync::Arc};

use connector_core::{Batch, Column, Result, Row, Schema, Value};
use rusqlite::{CachedStatement, Connection, Statement};

use super::{
    failed,
    value::{self, Cell},
};
use crate::sink::repository::{PROVENANCE, Table, literal, not_as_written, quote};

/// So many rows are read back at a time.
const READ_ROWS: usize = 1024;

/// The SQL that adds a column.
pub(super) fn add_column(table: &Table, place: usize) -> String {
    format!(
        "ALTER TABLE {} ADD COLUMN {} {}",
        quote(&table.name),
        quote(&table.columns[place]),
        value::declared(table.schema.columns()[place].ty())
    )
}

/// The SQL that makes a table. The key comes later; see [`create_key`].
pub(super) fn create(table: &Table, connector: &str) -> String {
    let mut sql = format!("CREATE TABLE {} (", quote(&table.name));
    for (column, name) in table.schema.columns().iter().zip(&table.columns) {
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
    // Takes no space.
    let _ = write!(
        sql,
        "{PROVENANCE} TEXT NOT NULL GENERATED ALWAYS AS ({}) VIRTUAL)",
        literal(connector)
    );
    sql
}

/// The name of the unique index over the key.
pub(super) fn key_name(table: &Table) -> String {
    format!("_{}_key", table.name)
}

/// The SQL that makes the key's index. Made when all rows are there, it is one sort; kept up
/// row by row while they arrive in no order, it would touch a page a row.
pub(super) fn create_key(table: &Table) -> String {
    let key: Vec<_> = table.key().map(quote).collect();
    format!(
        "CREATE UNIQUE INDEX {} ON {} ({})",
        quote(&key_name(table)),
        quote(&table.name),
        key.join(", ")
    )
}

/// Reads every record back, in no order.
pub(super) fn read(
    connection: &Connection,
    table: &Table,
    schema: &Arc<Schema>,
    each: &mut dyn FnMut(&Batch),
) -> Result<()> {
    let failed = |error| failed(error, "can't read a table back").with("table", &table.name);
    let cells: Vec<_> = schema
        .columns()
        .iter()
        .map(|column| match table.schema.position(column.name()) {
            Some(place) => quote(&table.columns[place]),
            None => "NULL".to_owned(),
        })
        .collect();
    let select = format!("SELECT {} FROM {}", cells.join(", "), quote(&table.name));
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
            let value =
                value::read(column.ty(), cell).ok_or_else(|| not_as_written(table, column))?;
            writer.value(&value);
        }
        writer
            .end()
            .map_err(|error| error.with("table", &table.name))?;
    }
}

/// The statements that change a table.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    insert: String,
    update: String,
    delete: String,
}

impl Sql {
    pub(super) fn new(table: &Table) -> Self {
        let name = quote(&table.name);
        let pick = |key: bool| -> Vec<String> {
            let columns = table.schema.columns().iter().zip(&table.columns);
            columns
                .filter(|(column, _)| column.is_key() == key)
                .map(|(_, name)| format!("{} = ?", quote(name)))
                .collect()
        };
        let columns: Vec<_> = table.columns.iter().map(|name| quote(name)).collect();
        let key = pick(true).join(" AND ");
        Self {
            insert: format!(
                "INSERT INTO {name} ({}) VALUES ({})",
                columns.join(", "),
                vec!["?"; columns.len()].join(", ")
            ),
            update: format!("UPDATE {name} SET {} WHERE {key}", pick(false).join(", ")),
            delete: format!("DELETE FROM {name} WHERE {key}"),
        }
    }

    /// Prepares to add records.
    pub(super) fn inserting<'c>(&self, connection: &'c Connection) -> rusqlite::Result<Insert<'c>> {
        connection.prepare_cached(&self.insert).map(Insert)
    }

    /// Adds a record with the table's schema.
    pub(super) fn insert(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        self.inserting(connection)?.insert(row)
    }

    /// Replaces all but the key of a record with the table's schema.
    pub(super) fn update(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        let mut update = connection.prepare_cached(&self.update)?;
        let next = bind(&mut update, 1, row, |column| !column.is_key())?;
        bind(&mut update, next, row, Column::is_key)?;
        update.raw_execute()
    }

    /// Removes the record of that row's key; the row may be a digest.
    pub(super) fn delete(&self, connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
        let mut delete = connection.prepare_cached(&self.delete)?;
        let columns = row.record_schema().columns().iter();
        let key = columns.filter(|column| column.is_key());
        for (column, place) in key.zip(1..) {
            let value = row.value(column.name()).unwrap_or(Value::Null);
            delete.raw_bind_parameter::<usize, _>(place, Cell(value))?;
        }
        delete.raw_execute()
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

#[cfg(test)]
mod tests {
    use connector_core::schema::text;

    use super::*;
    use crate::sink::sqlite::NAMES;

    #[test]
    fn names_are_quoted() {
        let schema = Schema::new(vec![text("x\"; --").key()]).unwrap();
        let table = Table::new(&NAMES, "a\"b", &Arc::new(schema));
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&create(&table, "it's")).unwrap();
        connection.execute_batch(&create_key(&table)).unwrap();
        let row = Row::from_values(&table.schema, &[Value::Text("1".into())]);
        Sql::new(&table).insert(&connection, &row.unwrap()).unwrap();
        let connector: String = connection
            .query_row("SELECT _connector FROM \"a\"\"b\"", [], |row| row.get(0))
            .unwrap();
        assert_eq!(connector, "it's");
    }
}
