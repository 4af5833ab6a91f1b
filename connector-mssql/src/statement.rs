//! The statements that a read consists of.

use std::{fmt::Write, sync::Arc};

use connector_core::{Error, ErrorKind, Result, Schema, Type};

use crate::{
    driver::{Reading, ResultColumn},
    meet::{Met, MetPart},
    name::quoted,
};

/// One statement, whole or for a range.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    /// What stands between `SELECT` and `FROM`, and after; or a person's statement.
    text: Text,
    /// How each column of the data set is read; none is null.
    columns: Arc<[Option<Wanted>]>,
    /// The column that ranges go by, and whether it may be null.
    pub(crate) range: Option<(String, bool)>,
    pub(crate) object: Option<String>,
}

#[derive(Debug, Clone)]
enum Text {
    Made {
        list: String,
        from: String,
        filters: Vec<String>,
    },
    Written(String),
}

/// A column of the reply.
#[derive(Debug, Clone)]
struct Wanted {
    name: String,
    ty: Type,
    trim: bool,
}

/// A range of the column that ranges go by, as literals: from the first on, below the second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: Option<String>,
    pub(crate) below: Option<String>,
}

/// Makes the statements that bring rows of the schema.
///
/// # Errors
///
/// [`ErrorKind::Data`] when the server no longer has what the schema needs.
pub(crate) fn statements(
    met: &Met,
    written: Option<&str>,
    target: &Schema,
) -> Result<Vec<Statement>> {
    met.parts
        .iter()
        .map(|part| statement(met, part, written, target))
        .collect()
}

fn statement(
    met: &Met,
    part: &MetPart,
    written: Option<&str>,
    target: &Schema,
) -> Result<Statement> {
    let mut list = String::new();
    let mut columns = Vec::new();
    for column in target.columns() {
        let place = met.schema.position(column.name());
        let cell = place.and_then(|place| part.cells.get(place)?.as_ref());
        let Some(cell) = cell else {
            if column.is_nullable() {
                columns.push(None);
                continue;
            }
            let message = "the server lacks a column that was there a moment ago";
            return Err(Error::new(ErrorKind::Data, message).with("column", column.name()));
        };
        if !list.is_empty() {
            list.push_str(", ");
        }
        let _ = write!(list, "{} AS {}", cell.select, quoted(column.name()));
        columns.push(Some(Wanted {
            name: match written {
                Some(_) => cell.select.clone(),
                None => column.name().to_owned(),
            },
            ty: column.ty(),
            trim: cell.padded,
        }));
    }
    Ok(Statement {
        text: match written {
            Some(query) => Text::Written(query.to_owned()),
            None => Text::Made {
                list,
                from: part.from.clone(),
                filters: part.filters.clone(),
            },
        },
        columns: columns.into(),
        range: part.range.clone(),
        object: part.object.as_ref().map(ToString::to_string),
    })
}

impl Statement {
    /// The text for all rows of the bounds.
    pub(crate) fn sql(&self, bounds: &Bounds, max_dop: u16) -> String {
        self.render("SELECT ", bounds, max_dop)
    }

    /// The text that asks for no row, to see whether it may be asked; none for what a person
    /// wrote.
    pub(crate) fn trial(&self) -> Option<String> {
        match &self.text {
            Text::Made { .. } => Some(self.render("SELECT TOP (0) ", &Bounds::default(), 0)),
            Text::Written(_) => None,
        }
    }

    fn render(&self, select: &str, bounds: &Bounds, max_dop: u16) -> String {
        let (list, from, filters) = match &self.text {
            Text::Written(query) => return query.clone(),
            Text::Made {
                list,
                from,
                filters,
            } => (list, from, filters),
        };
        let mut sql = format!("{select}{list} FROM {from}");
        let mut conditions: Vec<_> = filters.iter().map(|filter| format!("({filter})")).collect();
        if let Some((column, nullable)) = &self.range {
            match (&bounds.from, &bounds.below) {
                // What has no value in that column is in the first range.
                (None, Some(below)) if *nullable => {
                    conditions.push(format!("({column} < {below} OR {column} IS NULL)"));
                }
                (from, below) => {
                    conditions.extend(from.iter().map(|from| format!("{column} >= {from}")));
                    conditions.extend(below.iter().map(|below| format!("{column} < {below}")));
                }
            }
        }
        if !conditions.is_empty() {
            let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
        }
        if max_dop > 0 {
            let _ = write!(sql, " OPTION (MAXDOP {max_dop})");
        }
        sql
    }

    /// The statement that asks for least and greatest value of the range's column and the number
    /// of rows.
    pub(crate) fn extent(&self) -> Option<String> {
        let (column, _) = self.range.as_ref()?;
        let Text::Made { from, filters, .. } = &self.text else {
            return None;
        };
        let mut sql = format!("SELECT MIN({column}), MAX({column}), COUNT_BIG(*) FROM {from}");
        if !filters.is_empty() {
            let filters: Vec<_> = filters.iter().map(|filter| format!("({filter})")).collect();
            let _ = write!(sql, " WHERE {}", filters.join(" AND "));
        }
        Some(sql)
    }

    /// Says where in a reply each column is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`] naming the column, before any row.
    pub(crate) fn readings(&self, reply: &[ResultColumn]) -> Result<Vec<Reading>> {
        let mut next = 0;
        self.columns
            .iter()
            .map(|wanted| {
                let Some(wanted) = wanted else {
                    return Ok(Reading::Absent);
                };
                let place = match &self.text {
                    Text::Made { .. } => Some(next),
                    Text::Written(_) => reply.iter().position(|column| column.name == wanted.name),
                };
                next += 1;
                let found = place.and_then(|place| reply.get(place));
                let wrong = |message: String| {
                    Err(Error::new(ErrorKind::Data, message).with("column", &wanted.name))
                };
                let (Some(found), Some(place)) = (found, place) else {
                    return wrong("the reply lacks the column".to_owned());
                };
                if !found.ty.fits(wanted.ty) {
                    return wrong(format!(
                        "the column is {} at the server, which does not become {} without loss; \
                         money is to be cast to decimal(19,4)",
                        found.ty, wanted.ty
                    ));
                }
                Ok(Reading::Cell {
                    place,
                    ty: wanted.ty,
                    trim: wanted.trim || found.ty.is_padded(),
                })
            })
            .collect()
    }
}
