//! A data set as it is read: declared in code or in configuration, with what was overridden.

use std::{collections::BTreeMap, time::Duration};

use connector_core::{Column, DatasetInfo, Duplicates, Error, ErrorKind, Gone, Result, Type};

use crate::{
    config::{DatasetConfig, Override},
    dataset::{Others, Range, SqlColumn, SqlDataset},
    name::{ObjectName, split_alias},
};

/// The alias of the object of a data set that configuration declares.
const ALIAS: &str = "t";

/// Everything that statements are made from.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) info: DatasetInfo,
    /// The alias of the first object, and of every part.
    pub(crate) alias: String,
    pub(crate) parts: Vec<PartOf>,
    pub(crate) joins: Vec<Joined>,
    pub(crate) columns: Vec<Defined>,
    /// Columns of the first object that the catalogue describes.
    pub(crate) further: Further,
    /// Of columns that the catalogue describes: which are the key.
    pub(crate) key: Vec<String>,
    pub(crate) types: BTreeMap<String, Type>,
    pub(crate) volatile: Vec<String>,
    pub(crate) filters: Vec<String>,
    pub(crate) optional: bool,
    pub(crate) range: Option<Ranged>,
    pub(crate) first_row: Option<Duration>,
    pub(crate) duplicates: Duplicates,
    pub(crate) gone: Gone,
    /// Instead of parts and joins: a statement that a person wrote.
    pub(crate) query: Option<String>,
}

/// Rows from one object.
#[derive(Debug, Clone)]
pub(crate) struct PartOf {
    /// In order of preference.
    pub(crate) objects: Vec<ObjectName>,
    /// Expressions instead of the declared ones, by column.
    pub(crate) values: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) what: JoinedWhat,
    pub(crate) alias: String,
    pub(crate) on: String,
    pub(crate) left: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum JoinedWhat {
    Object(ObjectName),
    /// With its brackets.
    Query(String),
}

/// One declared column.
#[derive(Debug, Clone)]
pub(crate) struct Defined {
    pub(crate) column: Column,
    pub(crate) expression: String,
    pub(crate) instead: Option<String>,
    pub(crate) optional: bool,
}

/// Which columns are taken as the catalogue describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Further {
    /// Those of these names.
    Named(Vec<String>),
    /// All but those of these names.
    AllExcept(Vec<String>),
}

#[derive(Debug, Clone)]
pub(crate) struct Ranged {
    /// `alias.Column`.
    pub(crate) column: String,
    pub(crate) keys: Option<Keys>,
    pub(crate) always: bool,
}

/// The smaller list that bounds are taken from.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) object: ObjectName,
    pub(crate) column: String,
    pub(crate) rows: u32,
}

impl Defined {
    fn new(declared: &SqlColumn, own: &Override) -> Self {
        let mut names = own.volatile.iter();
        let volatile = names.any(|name| name.eq_ignore_ascii_case(declared.name));
        let mut expressions = own.expressions.iter();
        let expression = expressions.find(|(name, _)| name.eq_ignore_ascii_case(declared.name));
        Self {
            column: if volatile && !declared.key {
                declared.column().volatile()
            } else {
                declared.column()
            },
            expression: expression
                .map_or(declared.expression, |(_, own)| own)
                .to_owned(),
            // What a person says is not second-guessed.
            instead: declared
                .instead
                .filter(|_| expression.is_none())
                .map(str::to_owned),
            optional: declared.optional,
        }
    }
}

impl Ranged {
    fn new(declared: &Range) -> Result<Self, String> {
        let keys = declared.keys.map(|(list, rows)| {
            let (object, column) = list
                .rsplit_once('.')
                .ok_or_else(|| format!("the list of keys `{list}` names no column"))?;
            Ok::<_, String>(Keys {
                object: ObjectName::parse(object)?,
                column: column.to_owned(),
                rows,
            })
        });
        Ok(Self {
            column: declared.column.to_owned(),
            keys: keys.transpose()?,
            always: declared.always,
        })
    }
}

/// Takes away the parts whose objects a person does not want, by any of their names.
fn leave_out(parts: &mut Vec<PartOf>, without: &[String]) -> Result<(), String> {
    let mut unwanted = Vec::new();
    for name in without {
        let object = ObjectName::parse(name)?;
        if !parts.iter().any(|part| part.is(&object)) {
            let known: Vec<_> = parts.iter().filter_map(PartOf::name).collect();
            return Err(format!(
                "`without` names {object}, which it is not read from; it is read from {}",
                known.join(", ")
            ));
        }
        unwanted.push(object);
    }
    parts.retain(|part| !unwanted.iter().any(|object| part.is(object)));
    if parts.is_empty() {
        return Err("`without` leaves nothing to read: name the data set in `skip`".to_owned());
    }
    Ok(())
}

impl PartOf {
    /// What it is called for people: by the first of its objects.
    pub(crate) fn name(&self) -> Option<String> {
        self.objects.first().map(ToString::to_string)
    }

    fn is(&self, object: &ObjectName) -> bool {
        let name = object.to_string();
        let mut names = self.objects.iter().map(ToString::to_string);
        names.any(|known| known.eq_ignore_ascii_case(&name))
    }
}

impl Definition {
    /// Takes a declaration. What is malformed in it, the compiler has already refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the data set.
    pub(crate) fn declared(dataset: &SqlDataset, own: Option<&Override>) -> Result<Self> {
        let own = own.cloned().unwrap_or_default();
        let wrong =
            |message: String| Error::new(ErrorKind::Config, message).with("data set", dataset.name);
        let object = |text: &str| ObjectName::parse(text).map_err(wrong);
        let (from, alias) = split_alias(dataset.from);
        let mut objects = vec![object(from)?];
        for instead in dataset.instead {
            objects.push(object(instead)?);
        }
        if let Some(from) = &own.from {
            objects = vec![object(from)?];
        }
        let mut parts = vec![PartOf {
            objects,
            values: BTreeMap::new(),
        }];
        if own.from.is_none() {
            for part in dataset.parts {
                let values = part.values.iter();
                parts.push(PartOf {
                    objects: vec![object(split_alias(part.from).0)?],
                    values: values
                        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                        .collect(),
                });
            }
        }
        leave_out(&mut parts, &own.without).map_err(wrong)?;
        let mut joins = Vec::new();
        for join in dataset.joins {
            let (what, alias) = split_alias(join.object);
            joins.push(Joined {
                what: if what.starts_with('(') {
                    JoinedWhat::Query(what.to_owned())
                } else {
                    JoinedWhat::Object(object(what)?)
                },
                alias: alias.to_owned(),
                on: join.on.to_owned(),
                left: join.left,
            });
        }
        let unknown = own.expressions.keys().find(|name| {
            let mut declared = dataset.columns.iter();
            !declared.any(|column| column.name.eq_ignore_ascii_case(name))
        });
        if let Some(name) = unknown {
            return Err(wrong(format!(
                "`expressions` names the column {name}, which is none of the declared ones"
            )));
        }
        let columns = dataset.columns.iter();
        let columns = columns.map(|column| Defined::new(column, &own)).collect();
        let further = match dataset.others {
            Others::Ignored => Further::Named(own.columns.clone()),
            Others::ReadExcept(names) => {
                Further::AllExcept(names.iter().map(|name| (*name).to_owned()).collect())
            }
        };
        let range = dataset.range.as_ref().map(Ranged::new);
        let range = range.transpose().map_err(wrong)?;
        let mut filters = Vec::new();
        if !dataset.filter.is_empty() {
            filters.push(dataset.filter.to_owned());
        }
        filters.extend(own.filter);
        Ok(Self {
            info: dataset.info(),
            alias: alias.to_owned(),
            parts,
            joins,
            columns,
            further,
            key: Vec::new(),
            types: own.types,
            volatile: own.volatile,
            filters,
            optional: dataset.optional,
            range,
            first_row: own.first_row.or(dataset.first_row),
            duplicates: own.duplicates.unwrap_or(dataset.duplicates),
            gone: own.gone.unwrap_or(dataset.gone),
            query: None,
        })
    }

    /// Takes what a person declared.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the data set.
    pub(crate) fn configured(config: &DatasetConfig) -> Result<Self> {
        let wrong =
            |message: &str| Error::new(ErrorKind::Config, message).with("data set", &config.name);
        if config.name.is_empty() || config.name.chars().any(char::is_control) {
            return Err(wrong("a data set has a name without control characters"));
        }
        if config.key.is_empty() {
            return Err(wrong("`key` names no column"));
        }
        let repeated = |names: &[String]| {
            (1..names.len()).any(|i| names[..i].iter().any(|n| n.eq_ignore_ascii_case(&names[i])))
        };
        if repeated(&config.key) || repeated(&config.columns) {
            return Err(wrong("`key` or `columns` names a column twice"));
        }
        if let Some(name) = config
            .volatile
            .iter()
            .find(|name| config.key.contains(name))
        {
            let message = format!("the column {name} can't be in `key` and in `volatile`");
            return Err(wrong(&message));
        }
        let (parts, query) = match (&config.from, &config.query) {
            (Some(from), None) => {
                let object = ObjectName::parse(from).map_err(|error| wrong(&error))?;
                let part = PartOf {
                    objects: vec![object],
                    values: BTreeMap::new(),
                };
                (vec![part], None)
            }
            (None, Some(query)) => {
                if config.filter.is_some() || config.range.is_some() {
                    return Err(wrong(
                        "`filter` and `range` go with `from`: write the condition into the query",
                    ));
                }
                (Vec::new(), Some(query.trim().to_owned()))
            }
            _ => return Err(wrong("either `from` or `query` says where rows come from")),
        };
        let further = if config.columns.is_empty() {
            Further::AllExcept(Vec::new())
        } else {
            let key = config.key.iter().filter(|key| {
                !config
                    .columns
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(key))
            });
            Further::Named(key.chain(&config.columns).cloned().collect())
        };
        Ok(Self {
            info: DatasetInfo::named(config.name.clone(), config.category.clone()),
            alias: ALIAS.to_owned(),
            parts,
            joins: Vec::new(),
            columns: Vec::new(),
            further,
            key: config.key.clone(),
            types: config.types.clone(),
            volatile: config.volatile.clone(),
            filters: config.filter.iter().cloned().collect(),
            optional: config.optional,
            range: config.range.as_ref().map(|column| Ranged {
                column: format!("{ALIAS}.{column}"),
                keys: None,
                always: false,
            }),
            first_row: config.first_row,
            duplicates: config.duplicates,
            gone: config.gone,
            query,
        })
    }

    /// The type that a person gave a column which the catalogue describes.
    pub(crate) fn own_type(&self, name: &str) -> Option<Type> {
        let mut types = self.types.iter();
        types
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, ty)| *ty)
    }
}

#[cfg(test)]
mod tests {
    use connector_core::Gone;

    use super::*;
    use crate::dataset::{int, text};

    const OFFERED: SqlDataset = SqlDataset {
        name: "Offered",
        from: "Offered o",
        columns: &[text("Id", "o.Id").key(), int("N", "o.N").or("0").optional()],
        ..SqlDataset::NEW
    }
    .checked();

    fn overridden(toml: &str) -> Result<Definition> {
        let own = toml::from_str(toml).unwrap();
        Definition::declared(&OFFERED, Some(&own))
    }

    #[test]
    fn columns_are_read_as_a_person_says() {
        let definition = overridden("expressions = { n = 'o.Number' }\ngone = 'keep'").unwrap();
        let column = &definition.columns[1];
        assert_eq!(column.expression, "o.Number");
        assert_eq!(
            column.instead, None,
            "the declared one is not taken instead"
        );
        assert_eq!(definition.columns[0].expression, "o.Id");
        assert_eq!(definition.gone, Gone::Keep);
    }

    #[test]
    fn an_expression_for_no_column_is_a_mistake() {
        let error = overridden("expressions = { M = 'o.M' }").unwrap_err();
        assert!(
            error.to_string().contains("the column M, which is none"),
            "{error}"
        );
    }
}
