//! The SQL of one data set's table.

use connector_core::DatasetId;

use super::{
    field::{CHANGE, Field},
    session::Session,
};
use crate::sink::repository::{PROVENANCE, Table, literal, quote};

/// The table that rows and changes are sent to. Only this connection sees it, and it is gone with the
/// transaction.
pub(super) const STAGING: &str = "pg_temp._staging";

/// The SQL that makes a data set's table. The key comes later; see [`create_key`].
pub(super) fn create(session: &Session, table: &Table, id: &DatasetId) -> String {
    let mut columns: Vec<_> = Field::all(table)
        .iter()
        .map(|field| {
            // Other columns may become nullable.
            let null = if field.is_key { " NOT NULL" } else { "" };
            field.declared() + null
        })
        .collect();
    columns.push(format!(
        "{PROVENANCE} text NOT NULL GENERATED ALWAYS AS ({}) STORED",
        literal(id.connector())
    ));
    let name = session.table(&table.name);
    format!("CREATE TABLE {name} ({})", columns.join(", "))
}

/// The SQL that makes the table aside: for a full load, or with marks for changes.
pub(super) fn create_staging(table: &Table, marked: bool) -> String {
    let mark = marked.then(|| format!("{CHANGE} \"char\" NOT NULL"));
    let columns = Field::all(table).into_iter().map(|f| f.declared());
    let columns: Vec<_> = mark.into_iter().chain(columns).collect();
    format!(
        "CREATE TEMPORARY TABLE _staging ({}) ON COMMIT DROP",
        columns.join(", ")
    )
}

/// The SQL that makes the key. Made when all rows are there, it is one sort.
pub(super) fn create_key(session: &Session, table: &Table) -> String {
    let fields = Field::all(table);
    let key: Vec<_> = fields
        .iter()
        .filter(|f| f.is_key)
        .map(|f| &*f.name)
        .collect();
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})",
        session.table(&table.name),
        quote(&key_name(table)),
        key.join(", ")
    )
}

fn key_name(table: &Table) -> String {
    format!("_{}_key", table.name)
}

/// Tells whether nobody has removed a table's key.
pub(super) fn has_key(session: &Session, table: &Table) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT FROM pg_constraint AS held JOIN pg_class AS rows ON rows.oid = conrelid
               WHERE contype = 'p' AND conname = $1 AND relname = $2
               AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $3)";
    let found = session.row(sql, &[&key_name(table), &table.name, &session.schema])?;
    Ok(found.is_some())
}

/// The SQL that adds columns, by their places, to a table that SQL names so.
pub(super) fn add_columns(
    name: &str,
    table: &Table,
    added: &[usize],
    rules: bool,
) -> Option<String> {
    let fields = Field::all(table);
    let fields = fields.iter().filter(|field| added.contains(&field.place));
    let clauses: Vec<_> = fields
        .map(|field| {
            let null = if rules && field.is_key {
                " NOT NULL"
            } else {
                ""
            };
            format!("ADD COLUMN {}{null}", field.declared())
        })
        .collect();
    alter(name, &clauses)
}

fn alter(name: &str, clauses: &[String]) -> Option<String> {
    (!clauses.is_empty()).then(|| format!("ALTER TABLE {name} {}", clauses.join(", ")))
}

/// What gives a table other columns, in place: what stands on those that stay does too.
pub(super) struct Reshaping {
    pub(super) sql: Vec<String>,
    /// The key is another, so no row stays.
    pub(super) rekeyed: bool,
}

impl Reshaping {
    /// Without its key there is no telling which of the rows that are there is which.
    pub(super) fn new(
        session: &Session,
        old: &Table,
        new: &Table,
        added: &[usize],
        has_key: bool,
    ) -> Self {
        let name = session.table(&old.name);
        let kept = |field: &Field| {
            let column = &old.columns[field.place];
            let places = new.columns.iter().enumerate();
            places
                .filter(|(place, _)| !added.contains(place))
                .any(|(_, kept)| kept == column)
        };
        let dropped: Vec<_> = Field::all(old).into_iter().filter(|f| !kept(f)).collect();
        let key = |table: &Table| -> Vec<String> { table.key().map(str::to_owned).collect() };
        let (mut old_key, mut new_key) = (key(old), key(new));
        old_key.sort();
        new_key.sort();
        let key_added = added
            .iter()
            .any(|&place| new.schema.columns()[place].is_key());
        let rekeyed = !has_key || old_key != new_key || key_added;
        let mut sql = Vec::new();
        if rekeyed {
            sql.push(format!("DELETE FROM {name}"));
            sql.push(format!(
                "ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {}",
                key_name(old)
            ));
        }
        let drops: Vec<_> = dropped
            .iter()
            .map(|field| format!("DROP COLUMN IF EXISTS {}", field.name))
            .collect();
        sql.extend(alter(&name, &drops));
        sql.extend(add_columns(&name, new, added, true));
        if rekeyed {
            sql.push(create_key(session, new));
        }
        Self { sql, rekeyed }
    }
}

/// The statements that bring what is aside into the table.
pub(super) struct Merge {
    name: String,
    all: String,
    staged: String,
    /// That the row aside is of the same record.
    same: String,
    assign: Option<String>,
    differs: String,
}

impl Merge {
    pub(super) fn new(session: &Session, table: &Table) -> Self {
        let fields = Field::all(table);
        let list = |of: &[&Field], each: &dyn Fn(&Field) -> String, between: &str| {
            let parts: Vec<_> = of.iter().map(|field| each(field)).collect();
            parts.join(between)
        };
        let all: Vec<_> = fields.iter().collect();
        let (key, others): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.is_key);
        let assign = list(&others, &|f| format!("{0} = staged.{0}", f.name), ", ");
        let record = |row: &str| {
            let cells = list(&others, &|f| format!("{row}.{}", f.name), ", ");
            format!("ROW({cells})::record")
        };
        Self {
            name: session.table(&table.name),
            all: list(&all, &|f| f.name.clone(), ", "),
            staged: list(&all, &|f| format!("staged.{}", f.name), ", "),
            same: list(&key, &|f| format!("held.{0} = staged.{0}", f.name), " AND "),
            assign: (!others.is_empty()).then_some(assign),
            // By their bytes: some types can't be compared otherwise, and none is compared finer.
            differs: format!("{} *<> {}", record("held"), record("staged")),
        }
    }

    /// Removes what is not aside, replaces what differs from it, and adds what is new.
    pub(super) fn whole(&self) -> Vec<String> {
        let Self {
            name,
            all,
            staged,
            same,
            assign,
            differs,
        } = self;
        let mut sql = vec![format!(
            "DELETE FROM {name} AS held WHERE NOT EXISTS (
                 SELECT FROM {STAGING} AS staged WHERE {same})"
        )];
        sql.extend(assign.iter().map(|assign| {
            format!(
                "UPDATE {name} AS held SET {assign} FROM {STAGING} AS staged
                 WHERE {same} AND {differs}"
            )
        }));
        sql.push(format!(
            "INSERT INTO {name} ({all}) SELECT {staged} FROM {STAGING} AS staged
             WHERE NOT EXISTS (SELECT FROM {name} AS held WHERE {same})"
        ));
        sql
    }

    /// Adds all that is aside.
    pub(super) fn everything(&self) -> String {
        let Self {
            name, all, staged, ..
        } = self;
        format!("INSERT INTO {name} ({all}) SELECT {staged} FROM {STAGING} AS staged")
    }

    pub(super) fn delete(&self, mark: char) -> String {
        let Self { name, same, .. } = self;
        format!(
            "DELETE FROM {name} AS held USING {STAGING} AS staged
             WHERE {same} AND staged.{CHANGE} = '{mark}'"
        )
    }

    /// None when the key is all there is.
    pub(super) fn update(&self, mark: char) -> Option<String> {
        let Self {
            name, same, assign, ..
        } = self;
        let assign = assign.as_ref()?;
        Some(format!(
            "UPDATE {name} AS held SET {assign} FROM {STAGING} AS staged
             WHERE {same} AND staged.{CHANGE} = '{mark}'"
        ))
    }

    pub(super) fn insert(&self, mark: char) -> String {
        format!("{} WHERE staged.{CHANGE} = '{mark}'", self.everything())
    }
}
