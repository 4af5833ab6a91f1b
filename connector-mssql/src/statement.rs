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
                        "the column is {} at the server, which does not become {} without loss",
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

#[cfg(test)]
mod tests {
    use connector_core::Column;

    use super::*;
    use crate::{meet::MetCell, name::ObjectName, types::SqlType};

    const TEXT: SqlType = SqlType::Text {
        wide: true,
        padded: true,
        length: None,
    };

    fn schema(columns: &[(&str, Type)]) -> Schema {
        let columns = columns.iter().enumerate().map(|(number, (name, ty))| {
            let column = Column::new(*name, *ty);
            if number == 0 {
                column.key()
            } else {
                column.null()
            }
        });
        Schema::new(columns).unwrap()
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "one that the server has, beside `None` for one that it lacks"
    )]
    fn cell(select: &str) -> Option<MetCell> {
        Some(MetCell {
            select: select.to_owned(),
            padded: select == "[t].[Name]",
        })
    }

    /// Id, name, and a column that the server lacks.
    fn met() -> Met {
        Met {
            schema: schema(&[
                ("id", Type::Int),
                ("name", Type::Text),
                ("gone", Type::Text),
            ]),
            parts: vec![MetPart {
                object: Some(ObjectName::parse("t").unwrap()),
                cells: vec![cell("[t].[Id]"), cell("[t].[Name]"), None],
                from: "[dbo].[t] AS [t]".to_owned(),
                filters: vec!["t.a = 1 OR t.b = 2".to_owned()],
                range: Some(("[t].[Id]".to_owned(), false)),
            }],
            missing: Vec::new(),
        }
    }

    fn made(target: &Schema) -> Statement {
        statements(&met(), None, target).unwrap().remove(0)
    }

    fn bounds(from: Option<&str>, below: Option<&str>) -> Bounds {
        Bounds {
            from: from.map(str::to_owned),
            below: below.map(str::to_owned),
        }
    }

    fn replied(columns: &[(&str, SqlType)]) -> Vec<ResultColumn> {
        let columns = columns.iter();
        columns
            .map(|(name, ty)| ResultColumn {
                name: (*name).to_owned(),
                ty: ty.clone(),
            })
            .collect()
    }

    #[test]
    fn columns_come_in_the_order_of_the_snapshot() {
        // Which may have one more, and another order, than what was met.
        let target = schema(&[
            ("id", Type::Int),
            ("gone", Type::Text),
            ("older", Type::Int),
            ("name", Type::Text),
        ]);
        let statement = made(&target);
        assert_eq!(
            statement.sql(&Bounds::default(), 2),
            "SELECT [t].[Id] AS [id], [t].[Name] AS [name] FROM [dbo].[t] AS [t] \
             WHERE (t.a = 1 OR t.b = 2) OPTION (MAXDOP 2)"
        );
        // The reply does not tell that the text is padded, the catalogue did.
        let reply = replied(&[("id", SqlType::Int { bits: 32 }), ("name", SqlType::Xml)]);
        let at = |place, ty, trim| Reading::Cell { place, ty, trim };
        assert_eq!(
            statement.readings(&reply).unwrap(),
            [
                at(0, Type::Int, false),
                Reading::Absent,
                Reading::Absent,
                at(1, Type::Text, true)
            ]
        );
    }

    #[test]
    fn a_column_that_went_between_two_looks_is_an_error_if_it_can_not_be_null() {
        let target = schema(&[("other", Type::Int), ("id", Type::Int)]);
        let error = statements(&met(), None, &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("column: other"), "{error}");
    }

    #[test]
    fn ranges_are_conditions_beside_the_filters() {
        let statement = made(&met().schema);
        let condition = |from, below| {
            let sql = statement.sql(&bounds(from, below), 0);
            sql.split_once(" AND ").map(|(_, rest)| rest.to_owned())
        };
        assert_eq!(condition(None, None), None);
        assert_eq!(condition(None, Some("5")).unwrap(), "[t].[Id] < 5");
        assert_eq!(
            condition(Some("5"), Some("9")).unwrap(),
            "[t].[Id] >= 5 AND [t].[Id] < 9"
        );
        assert_eq!(condition(Some("9"), None).unwrap(), "[t].[Id] >= 9");

        let mut nullable = met();
        nullable.parts[0].range = Some(("[t].[Id]".to_owned(), true));
        nullable.parts[0].filters.clear();
        let statement = &statements(&nullable, None, &nullable.schema).unwrap()[0];
        let sql = statement.sql(&bounds(None, Some("5")), 0);
        assert!(sql.ends_with(" WHERE ([t].[Id] < 5 OR [t].[Id] IS NULL)"));
        let sql = statement.sql(&bounds(Some("5"), None), 0);
        assert!(sql.ends_with(" WHERE [t].[Id] >= 5"));
    }

    #[test]
    fn a_trial_asks_for_no_row_and_an_extent_for_one() {
        let statement = made(&met().schema);
        let trial = statement.trial().unwrap();
        assert!(
            trial.starts_with("SELECT TOP (0) [t].[Id] AS [id],"),
            "{trial}"
        );
        assert_eq!(
            statement.extent().unwrap(),
            "SELECT MIN([t].[Id]), MAX([t].[Id]), COUNT_BIG(*) FROM [dbo].[t] AS [t] \
             WHERE (t.a = 1 OR t.b = 2)"
        );
    }

    #[test]
    fn a_written_statement_stays_as_it_is_and_its_columns_go_by_name() {
        const QUERY: &str = "WITH q AS (SELECT 1 AS Id) SELECT * FROM q";
        let mut met = met();
        met.parts[0].cells = vec![cell("Id"), cell("Name"), None];
        let statement = &statements(&met, Some(QUERY), &met.schema).unwrap()[0];
        assert_eq!(statement.sql(&Bounds::default(), 2), QUERY);
        assert_eq!(statement.trial(), None);
        let id = ("Id", SqlType::Int { bits: 32 });
        let turned = replied(&[("Name", TEXT), ("More", TEXT), id.clone()]);
        let places: Vec<_> = statement
            .readings(&turned)
            .unwrap()
            .into_iter()
            .map(|reading| match reading {
                Reading::Cell { place, .. } => Some(place),
                Reading::Absent => None,
            })
            .collect();
        assert_eq!(places, [Some(2), Some(0), None]);
        let error = statement.readings(&replied(&[id])).unwrap_err();
        assert!(error.to_string().contains("column: Name"), "{error}");
    }

    #[test]
    fn a_reply_of_another_type_is_an_error_before_any_row() {
        let statement = made(&met().schema);
        let reply = replied(&[("id", SqlType::Float), ("name", TEXT)]);
        let error = statement.readings(&reply).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let text = error.to_string();
        assert!(
            text.contains("column: id") && text.contains("float"),
            "{text}"
        );
    }
}
