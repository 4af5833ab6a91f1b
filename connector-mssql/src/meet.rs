//! A declaration meets what the server has: pure, so that every case can be tested without one.

use std::fmt::Write;

use connector_core::{Column, Error, ErrorKind, Result, Schema, Type};

use crate::{
    definition::{Defined, Definition, Further, JoinedWhat, PartOf},
    name::{ObjectName, plain_column, quoted, references},
    types::{LARGE, SqlType},
};

/// A column as the catalogue describes it.
#[derive(Debug, Clone)]
pub(crate) struct FoundColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) nullable: bool,
    pub(crate) collation: Option<String>,
}

/// An object that the server has.
#[derive(Debug, Clone)]
pub(crate) struct FoundObject {
    pub(crate) name: ObjectName,
    pub(crate) columns: Vec<FoundColumn>,
}

/// What the server has of everything that a definition names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// One for each part.
    pub(crate) parts: Vec<Option<FoundObject>>,
    /// One for each join; none for a query too.
    pub(crate) joins: Vec<Option<FoundObject>>,
    /// The columns of the statement that a person wrote.
    pub(crate) query: Vec<FoundColumn>,
    /// Whether text that no column is the source of is read as it stands on the wire.
    pub(crate) decoded: bool,
}

/// Why a data set can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// The server has none of its objects.
    NoObject { names: String },
    /// The server has some of the objects that it is put together from, and lacks these.
    NoPart { names: Vec<String> },
    /// The server lacks columns that it can't do without.
    Columns(Vec<String>),
    /// A column is of a type that does not become the declared one without loss.
    Type {
        column: String,
        declared: Option<Type>,
        found: String,
    },
}

impl Unmet {
    /// `optional` data sets need not be there.
    pub(crate) fn into_error(self, optional: bool) -> Error {
        match self {
            Self::NoObject { names } if optional => Error::new(
                ErrorKind::NotCollected,
                format!("the database has no {names}"),
            ),
            Self::NoObject { names } => Error::new(
                ErrorKind::NotFound,
                format!("the database has no {names}: is it the right database?"),
            ),
            Self::NoPart { names } => {
                let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
                let message = format!(
                    "the database has no {}, which is one of the objects that the data set is put \
                     together from: its rows would look deleted; if the site has none, set \
                     `without = [{}]` in `[override.NAME]`",
                    names.join(" and no "),
                    quoted.join(", ")
                );
                Error::new(ErrorKind::NotFound, message)
            }
            Self::Columns(columns) => Error::new(
                ErrorKind::Data,
                "the server lacks columns that the data set can't do without",
            )
            .with("columns", columns.join(", ")),
            Self::Type {
                column,
                declared: Some(declared),
                found,
            } => Error::new(
                ErrorKind::Data,
                format!("the column is {found} at the server, which does not become {declared} without loss"),
            )
            .with("column", column),
            Self::Type {
                column,
                declared: None,
                found,
            } => Error::new(
                ErrorKind::Data,
                format!(
                    "the column is {found} at the server, which can't be carried: leave it out, or \
                     give its type"
                ),
            )
            .with("column", column),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) schema: Schema,
    pub(crate) parts: Vec<MetPart>,
    /// What is null in every row or left out, for people.
    pub(crate) missing: Vec<String>,
}

/// One statement to be.
#[derive(Debug)]
pub(crate) struct MetPart {
    pub(crate) object: Option<ObjectName>,
    /// One for each column; none reads as null.
    pub(crate) cells: Vec<Option<MetCell>>,
    /// What follows `FROM`.
    pub(crate) from: String,
    pub(crate) filters: Vec<String>,
    /// The column that ranges go by, and whether it may be null.
    pub(crate) range: Option<(String, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetCell {
    pub(crate) select: String,
    pub(crate) padded: bool,
}

/// The objects of one statement by alias.
struct Scope<'a> {
    definition: &'a Definition,
    found: &'a Found,
    part: &'a FoundObject,
}

/// What a scope knows of an alias.
enum Known<'a> {
    /// It is no alias: a schema, or a function's.
    Nothing,
    Missing,
    /// A query's columns are its own business.
    Anything,
    Columns(&'a FoundObject),
}

impl<'a> Scope<'a> {
    fn alias(&self, alias: &str) -> Known<'a> {
        if alias.eq_ignore_ascii_case(&self.definition.alias) {
            return Known::Columns(self.part);
        }
        let joins = self.definition.joins.iter().zip(&self.found.joins);
        for (join, found) in joins {
            if alias.eq_ignore_ascii_case(&join.alias) {
                return match (&join.what, found) {
                    (JoinedWhat::Query(_), _) => Known::Anything,
                    (JoinedWhat::Object(_), Some(found)) => Known::Columns(found),
                    (JoinedWhat::Object(_), None) => Known::Missing,
                };
            }
        }
        Known::Nothing
    }

    fn has(&self, expression: &str) -> bool {
        references(expression)
            .iter()
            .all(|(alias, column)| match self.alias(alias) {
                Known::Nothing | Known::Anything => true,
                Known::Missing => false,
                Known::Columns(object) => find(&object.columns, column).is_some(),
            })
    }

    /// The column that the expression is, if it is nothing else.
    fn column(&self, expression: &str) -> Option<(String, &'a FoundColumn)> {
        let (alias, name) = plain_column(expression)?;
        match self.alias(&alias) {
            Known::Columns(object) => {
                let column = find(&object.columns, &name)?;
                // As the server spells it: some databases tell the case of names.
                let select = format!("{}.{}", quoted(&alias), quoted(&column.name));
                Some((select, column))
            }
            _ => None,
        }
    }

    /// Puts the objects' names where `{alias}` stands for them.
    fn named(&self, text: &str) -> String {
        let mut named = text.replace(
            &format!("{{{}}}", self.definition.alias),
            &self.part.name.to_string(),
        );
        for (join, found) in self.definition.joins.iter().zip(&self.found.joins) {
            if let Some(found) = found {
                named = named.replace(&format!("{{{}}}", join.alias), &found.name.to_string());
            }
        }
        named
    }

    fn cell(&self, column: &Column, expression: &str) -> Result<MetCell, Unmet> {
        if let Some((select, found)) = self.column(expression) {
            return found_cell(column, found, &select);
        }
        let select = self.named(expression);
        Ok(MetCell {
            select: if column.ty() == Type::Text && !self.found.decoded {
                format!("CAST({select} AS nvarchar(max))")
            } else {
                select
            },
            padded: false,
        })
    }

    fn part(
        &self,
        part: &PartOf,
        further: &[Column],
        missing: &mut Vec<String>,
        lacking: &mut Vec<String>,
    ) -> Result<MetPart, Unmet> {
        let definition = self.definition;
        let mut cells = Vec::new();
        for defined in &definition.columns {
            let name = defined.column.name();
            let value = part.values.get(name).map(String::as_str);
            let expression = choose(self, defined, value);
            if expression.is_none() {
                let list = if defined.optional {
                    &mut *missing
                } else {
                    &mut *lacking
                };
                list.push(name.to_owned());
            }
            let cell = expression.map(|expression| self.cell(&defined.column, expression));
            cells.push(cell.transpose()?);
        }
        for column in further {
            let found = find(&self.part.columns, column.name());
            let cell = found.map(|found| {
                let (alias, name) = (quoted(&definition.alias), quoted(&found.name));
                found_cell(column, found, &format!("{alias}.{name}"))
            });
            cells.push(cell.transpose()?);
        }
        let range = definition.range.as_ref().and_then(|range| {
            let column = self.column(&range.column);
            if column.is_none() {
                lacking.push(range.column.clone());
            }
            column.map(|(select, column)| (select, column.nullable))
        });
        let filters = definition.filters.iter();
        Ok(MetPart {
            object: Some(self.part.name.clone()),
            cells,
            from: self.from(),
            filters: filters.map(|filter| self.named(filter)).collect(),
            range,
        })
    }

    fn from(&self) -> String {
        let definition = self.definition;
        let mut from = format!("{} AS {}", self.part.name, quoted(&definition.alias));
        for (join, found) in definition.joins.iter().zip(&self.found.joins) {
            let what = match (&join.what, found) {
                (JoinedWhat::Query(query), _) => self.named(query),
                (JoinedWhat::Object(_), Some(found)) => found.name.to_string(),
                (JoinedWhat::Object(_), None) => continue,
            };
            let kind = if join.left { "LEFT JOIN" } else { "JOIN" };
            let alias = quoted(&join.alias);
            let on = self.named(&join.on);
            let _ = write!(from, " {kind} {what} AS {alias} ON {on}");
        }
        from
    }
}

fn find<'a>(columns: &'a [FoundColumn], name: &str) -> Option<&'a FoundColumn> {
    columns
        .iter()
        .find(|column| column.name == name)
        .or_else(|| {
            columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
        })
}

/// How a column that the catalogue describes is read.
fn found_cell(column: &Column, found: &FoundColumn, select: &str) -> Result<MetCell, Unmet> {
    if !found.ty.fits(column.ty()) {
        return Err(Unmet::Type {
            column: column.name().to_owned(),
            declared: Some(column.ty()),
            found: found.ty.to_string(),
        });
    }
    Ok(MetCell {
        select: found.ty.select(select, found.collation.as_deref()),
        padded: found.ty.is_padded(),
    })
}

/// Meets a definition with what was found. `known` are the columns of the last snapshot.
pub(crate) fn meet(
    definition: &Definition,
    found: &Found,
    known: Option<&Schema>,
) -> Result<Met, Unmet> {
    let mut missing = Vec::new();
    if definition.query.is_some() {
        let further = further(definition, &found.query, known, &mut missing)?;
        let part = of_query(&further, &found.query);
        return Ok(Met {
            schema: schema(definition, further)?,
            parts: vec![part],
            missing,
        });
    }
    missing.extend(absent_joins(definition, found)?);
    let Some(first) = found.parts.iter().flatten().next() else {
        let names = definition.parts.iter().flat_map(|part| &part.objects);
        let names: Vec<_> = names.map(ToString::to_string).collect();
        return Err(Unmet::NoObject {
            names: names.join(" and no "),
        });
    };
    let pairs = || definition.parts.iter().zip(&found.parts);
    let absent = pairs().filter(|(_, object)| object.is_none());
    let absent: Vec<_> = absent.filter_map(|(part, _)| part.name()).collect();
    if !absent.is_empty() {
        return Err(Unmet::NoPart { names: absent });
    }
    let others = undeclared(definition, first);
    let further = further(definition, &others, known, &mut missing)?;
    let mut lacking = Vec::new();
    let mut parts = Vec::new();
    for (part, object) in pairs() {
        let Some(object) = object else { continue };
        let scope = Scope {
            definition,
            found,
            part: object,
        };
        parts.push(scope.part(part, &further, &mut missing, &mut lacking)?);
    }
    if !lacking.is_empty() {
        lacking.dedup();
        return Err(Unmet::Columns(lacking));
    }
    missing.sort();
    missing.dedup();
    let declared = definition.columns.iter().map(|d| d.column.clone());
    Ok(Met {
        schema: schema(definition, declared.chain(further).collect())?,
        parts,
        missing,
    })
}

/// A person's statement, whose columns go by their names.
fn of_query(columns: &[Column], found: &[FoundColumn]) -> MetPart {
    let cells = columns.iter().map(|column| {
        let found = find(found, column.name())?;
        Some(MetCell {
            select: found.name.clone(),
            padded: found.ty.is_padded(),
        })
    });
    MetPart {
        object: None,
        cells: cells.collect(),
        from: String::new(),
        filters: Vec::new(),
        range: None,
    }
}

/// The objects of outer joins that the server lacks.
fn absent_joins(definition: &Definition, found: &Found) -> Result<Vec<String>, Unmet> {
    let mut absent = Vec::new();
    for (join, found) in definition.joins.iter().zip(&found.joins) {
        if let (JoinedWhat::Object(name), None) = (&join.what, found) {
            let name = name.to_string();
            if !join.left {
                return Err(Unmet::NoObject { names: name });
            }
            absent.push(name);
        }
    }
    Ok(absent)
}

/// The columns of the first object that no declared one is read from.
fn undeclared(definition: &Definition, object: &FoundObject) -> Vec<FoundColumn> {
    let is = |expression: &str, name: &str| {
        plain_column(expression).is_some_and(|(alias, column)| {
            alias.eq_ignore_ascii_case(&definition.alias) && column.eq_ignore_ascii_case(name)
        })
    };
    let declared = |name: &str| {
        definition.columns.iter().any(|defined| {
            let instead = defined.instead.as_deref();
            defined.column.name().eq_ignore_ascii_case(name)
                || is(&defined.expression, name)
                || instead.is_some_and(|instead| is(instead, name))
        })
    };
    let columns = object.columns.iter();
    columns
        .filter(|column| !declared(&column.name))
        .cloned()
        .collect()
}

/// The first expression whose columns are all there.
fn choose<'a>(scope: &Scope<'_>, defined: &'a Defined, value: Option<&'a str>) -> Option<&'a str> {
    let first = value.unwrap_or(&defined.expression);
    [Some(first), defined.instead.as_deref()]
        .into_iter()
        .flatten()
        .find(|expression| scope.has(expression))
}

/// The columns that only the catalogue describes: first those of the last snapshot in its order,
/// then what is new.
fn further(
    definition: &Definition,
    found: &[FoundColumn],
    known: Option<&Schema>,
    missing: &mut Vec<String>,
) -> Result<Vec<Column>, Unmet> {
    let is_in = |names: &[String], name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    let wanted = |name: &str| match &definition.further {
        Further::Named(names) => is_in(names, name),
        Further::AllExcept(names) => !is_in(names, name),
    };
    let declared = |name: &str| {
        definition
            .columns
            .iter()
            .any(|defined| defined.column.name().eq_ignore_ascii_case(name))
    };
    let flagged = |name: &str, ty: Type| {
        let column = Column::new(name, ty);
        if is_in(&definition.key, name) {
            column.key()
        } else if is_in(&definition.volatile, name) {
            column.null().volatile()
        } else {
            column.null()
        }
    };
    let mut columns: Vec<Column> = Vec::new();
    for column in known.map(Schema::columns).unwrap_or_default() {
        let name = column.name();
        if declared(name) || !wanted(name) {
            continue;
        }
        match find(found, name) {
            Some(found) => columns.extend(
                describe(definition, found, Some(column.ty()))?.map(|ty| flagged(name, ty)),
            ),
            None if is_in(&definition.key, name) => {
                return Err(Unmet::Columns(vec![name.to_owned()]));
            }
            None => {
                missing.push(name.to_owned());
                columns.push(flagged(name, column.ty()));
            }
        }
    }
    for found in found {
        let seen = columns
            .iter()
            .any(|column| column.name().eq_ignore_ascii_case(&found.name));
        if !seen && wanted(&found.name) && !found.name.is_empty() {
            let ty = describe(definition, found, None)?;
            columns.extend(ty.map(|ty| flagged(&found.name, ty)));
        }
    }
    // What a person named and nobody ever saw is a mistake.
    let named = match &definition.further {
        Further::Named(names) => names,
        Further::AllExcept(_) => &definition.key,
    };
    let lacking: Vec<_> = named
        .iter()
        .filter(|name| {
            !declared(name) && !columns.iter().any(|c| c.name().eq_ignore_ascii_case(name))
        })
        .cloned()
        .collect();
    if lacking.is_empty() {
        Ok(columns)
    } else {
        Err(Unmet::Columns(lacking))
    }
}

/// The type of a column that only the catalogue describes, or none when nobody asked for it and it
/// can't be carried.
fn describe(
    definition: &Definition,
    found: &FoundColumn,
    known: Option<Type>,
) -> Result<Option<Type>, Unmet> {
    let unmet = |declared, found: String, column: &str| {
        Err(Unmet::Type {
            column: column.to_owned(),
            declared,
            found,
        })
    };
    if let Some(own) = definition.own_type(&found.name) {
        if found.ty.fits(own) {
            return Ok(Some(own));
        }
        return unmet(Some(own), found.ty.to_string(), &found.name);
    }
    if let Some(known) = known.filter(|known| found.ty.fits(*known)) {
        return Ok(Some(known));
    }
    let asked = match &definition.further {
        Further::Named(_) => true,
        Further::AllExcept(_) => definition
            .key
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&found.name)),
    };
    match found.ty.natural() {
        Some(ty) if asked || definition.query.is_some() || !found.ty.is_large() => Ok(Some(ty)),
        None if asked || definition.query.is_some() => {
            unmet(None, found.ty.to_string(), &found.name)
        }
        natural => {
            let why = natural.map_or_else(|| found.ty.to_string(), |_| LARGE.to_owned());
            tracing::debug!(
                "data set {}: column {} is not read: {why}",
                definition.info.name,
                found.name
            );
            Ok(None)
        }
    }
}

fn schema(definition: &Definition, columns: Vec<Column>) -> Result<Schema, Unmet> {
    // The key's columns that a person named, in that order: it is part of the key.
    let mut columns = columns;
    columns.sort_by_key(|column| {
        let place = definition
            .key
            .iter()
            .position(|name| name.eq_ignore_ascii_case(column.name()));
        place.unwrap_or(definition.key.len())
    });
    match Schema::new(columns) {
        Ok(schema) => Ok(schema
            .with_duplicates(definition.duplicates)
            .with_gone(definition.gone)),
        // Names that differ in case alone, say: two columns, one name.
        Err(error) => Err(Unmet::Columns(vec![error.to_string()])),
    }
}

#[cfg(test)]
mod tests;
