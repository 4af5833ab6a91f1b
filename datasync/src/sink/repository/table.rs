//! The table that holds one data set, and what it and its columns are called.

use std::{collections::HashSet, sync::Arc};

use connector_core::Schema;

/// Names the connector that a row came from, so that rows of several tables can be told apart in
/// one query. It is computed.
pub(in crate::sink) const PROVENANCE: &str = "_connector";

/// How a database lets tables and columns be called.
#[derive(Debug)]
pub(in crate::sink) struct Names {
    /// How many bytes a name may have.
    pub(in crate::sink) longest: usize,
    /// Letters in either case are the same where they are not quoted, and these are the ones to use.
    pub(in crate::sink) lower: bool,
    /// Names of tables that start so are the database's own.
    pub(in crate::sink) own_tables: &'static str,
    /// Tells names of columns that are the database's own, in small letters.
    pub(in crate::sink) is_own_column: fn(&str) -> bool,
}

impl Names {
    /// Returns a name as the database may have it.
    pub(super) fn plain(&self, name: &str) -> String {
        // SQL text ends at a zero.
        let mut plain = name.replace('\0', "\u{fffd}");
        if self.lower {
            plain.make_ascii_lowercase();
        }
        cut(&mut plain, self.longest);
        plain
    }

    /// The same with a number at its end.
    fn numbered(&self, plain: &str, number: u32) -> String {
        let end = format!("_{number}");
        let mut numbered = plain.to_owned();
        cut(&mut numbered, self.longest.saturating_sub(end.len()));
        numbered + &end
    }

    /// Names with `_` in front are the repository's own.
    pub(super) fn is_reserved_table(&self, name: &str) -> bool {
        let own = name
            .get(..self.own_tables.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(self.own_tables));
        name.is_empty() || name.starts_with('_') || own
    }

    /// Names the columns as the data set does. Letters in either case are the same, so the later of
    /// two such names gets a number; a column that has a name keeps it.
    fn columns(&self, schema: &Schema, known: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let mut taken: HashSet<String> = [PROVENANCE.to_owned()].into();
        let columns = schema.columns();
        let mut names: Vec<_> = columns.iter().map(|column| known(column.name())).collect();
        taken.extend(names.iter().flatten().map(|name| name.to_ascii_lowercase()));
        let mut free = |name: &str| {
            let name = name.to_ascii_lowercase();
            !(self.is_own_column)(&name) && taken.insert(name)
        };
        for (name, column) in names.iter_mut().zip(columns) {
            if name.is_none() {
                let plain = self.plain(column.name());
                let mut found = plain.clone();
                let mut number = 2;
                while !free(&found) {
                    found = self.numbered(&plain, number);
                    number += 1;
                }
                *name = Some(found);
            }
        }
        names.into_iter().flatten().collect()
    }
}

/// Cuts text to so many bytes, between two characters.
fn cut(text: &mut String, longest: usize) {
    text.truncate(text.floor_char_boundary(longest));
}

/// A table with the columns of a data set.
#[derive(Debug, Clone)]
pub(in crate::sink) struct Table {
    /// Its name, not quoted.
    pub(in crate::sink) name: String,
    pub(in crate::sink) schema: Arc<Schema>,
    /// What each column of the schema is called in the table.
    pub(in crate::sink) columns: Vec<String>,
}

impl Table {
    /// A table for a schema, with names for its columns.
    pub(in crate::sink) fn new(names: &Names, name: &str, schema: &Arc<Schema>) -> Self {
        Self {
            name: name.to_owned(),
            schema: Arc::clone(schema),
            columns: names.columns(schema, |_| None),
        }
    }

    /// The same table after its schema grew, and the places of the columns that it lacks so far.
    ///
    /// Returns none when the new schema is not the old one with more columns.
    pub(super) fn extended(
        &self,
        names: &Names,
        schema: &Arc<Schema>,
    ) -> Option<(Self, Vec<usize>)> {
        let (table, added) = self.reshaped(names, schema);
        let kept = table.schema.columns().len() - added.len();
        (kept == self.schema.columns().len()).then_some((table, added))
    }

    /// The same table with other columns: those that stay what they are keep their names. The second
    /// part are the places of the others.
    pub(in crate::sink) fn reshaped(
        &self,
        names: &Names,
        schema: &Arc<Schema>,
    ) -> (Self, Vec<usize>) {
        let held = |name: &str| {
            let place = self.schema.position(name)?;
            let (old, new) = (&self.schema.columns()[place], schema.column(name)?);
            let same = old.ty() == new.ty() && old.is_key() == new.is_key();
            same.then(|| self.columns.get(place).cloned()).flatten()
        };
        let places = schema.columns().iter().enumerate();
        let added = places
            .filter(|(_, column)| held(column.name()).is_none())
            .map(|(place, _)| place)
            .collect();
        let table = Self {
            name: self.name.clone(),
            schema: Arc::clone(schema),
            columns: names.columns(schema, held),
        };
        (table, added)
    }

    /// Returns the names of the key's columns.
    pub(in crate::sink) fn key(&self) -> impl Iterator<Item = &str> {
        let columns = self.schema.columns().iter().zip(&self.columns);
        columns.filter_map(|(column, name)| column.is_key().then_some(name.as_str()))
    }
}

/// Quotes a name for use in SQL.
pub(in crate::sink) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes text for use in SQL.
pub(in crate::sink) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use connector_core::{
        Column,
        schema::{int, text},
    };

    use super::*;

    const ANY_CASE: Names = Names {
        longest: usize::MAX,
        lower: false,
        own_tables: "sqlite_",
        is_own_column: |_| false,
    };
    const SHORT: Names = Names {
        longest: 8,
        lower: true,
        own_tables: "pg_",
        is_own_column: |name| name == "ctid",
    };

    fn schema(columns: Vec<Column<&'static str>>) -> Arc<Schema> {
        Arc::new(Schema::new(columns).unwrap())
    }

    #[test]
    fn names_that_are_the_same_to_a_database_get_a_number() {
        let old = schema(vec![text("Name").key(), text("name"), text("_Connector")]);
        let table = Table::new(&ANY_CASE, "t", &old);
        assert_eq!(table.columns, ["Name", "name_2", "_Connector_2"]);
    }

    #[test]
    fn names_that_are_too_long_are_cut_between_characters_and_stay_apart() {
        let old = schema(vec![
            text("Serial_Number").key(),
            text("serial_nr"),
            text("CTID"),
            text("Größe_ä€"),
        ]);
        let table = Table::new(&SHORT, "t", &old);
        assert_eq!(table.columns, ["serial_n", "serial_2", "ctid_2", "größe_"]);
        assert!(table.columns.iter().all(|name| name.len() <= 8));
        assert!(SHORT.is_reserved_table("PG_x") && SHORT.is_reserved_table("_x"));
    }

    #[test]
    fn a_column_keeps_its_name_when_others_come_before_it() {
        let old = schema(vec![text("id").key(), text("name")]);
        let new = schema(vec![text("NAME").null(), text("name"), text("id").key()]);
        let (table, added) = Table::new(&ANY_CASE, "t", &old)
            .extended(&ANY_CASE, &new)
            .unwrap();
        assert_eq!(table.columns, ["NAME_2", "name", "id"]);
        assert_eq!(added, [0]);
    }

    #[test]
    fn another_type_is_no_extension() {
        let old = Table::new(
            &ANY_CASE,
            "t",
            &schema(vec![text("id").key(), text("name")]),
        );
        let new = schema(vec![text("id").key(), int("name")]);
        assert!(old.extended(&ANY_CASE, &new).is_none());
        let (table, added) = old.reshaped(&ANY_CASE, &new);
        assert_eq!((&*table.columns[1], &*added), ("name", &[1][..]));
        let fewer = schema(vec![text("id").key()]);
        assert!(old.extended(&ANY_CASE, &fewer).is_none());
    }
}
