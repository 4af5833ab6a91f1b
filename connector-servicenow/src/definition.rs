//! A data set as it is read: the declaration, and what a person set about it.

use connector_core::{DatasetInfo, Error, ErrorKind, Result, Schema, Type};
use connector_http::decode::{ReplyColumn, bool, date, float, int, text, time};

use crate::{
    config::{Override, ServiceNowConfig, TableConfig},
    declare::{Field, ServiceNowDataset},
    query::{Filter, is_name},
};

/// What stands before a field's name in that of the column of its display value, as in ServiceNow's
/// own ODBC driver.
const DISPLAY: &str = "dv_";

/// The key of every table.
pub(crate) const KEY: &str = "sys_id";

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) info: DatasetInfo,
    pub(crate) table: String,
    pub(crate) filter: Filter,
    /// Fields that are columns where the instance has them.
    pub(crate) declared: Vec<&'static Field>,
    /// Fields that a person named: the instance has them, or it is a mistake.
    pub(crate) named: Vec<String>,
    pub(crate) without: Vec<String>,
    pub(crate) display: Vec<String>,
    pub(crate) volatile: Vec<String>,
    /// A role that may read the table; none for a table of the customer's own.
    pub(crate) role: Option<&'static str>,
}

impl Definition {
    pub(crate) fn declared(
        declared: &ServiceNowDataset,
        config: &ServiceNowConfig,
    ) -> Result<Self> {
        let own = config
            .overrides
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(declared.name))
            .map(|(_, own)| own.clone())
            .unwrap_or_default();
        let Override {
            table,
            filter,
            columns,
            without,
            display,
            volatile,
        } = own;
        let definition = Self {
            info: declared.info(),
            table: table.unwrap_or_else(|| declared.table.to_owned()),
            filter: parse(declared.name, filter.as_deref())?,
            declared: declared.columns().collect(),
            named: columns,
            without,
            display,
            volatile,
            role: Some(declared.role),
        };
        definition.checked()
    }

    pub(crate) fn configured(own: &TableConfig, config: &ServiceNowConfig) -> Result<Self> {
        let scope = own.scope.as_ref().unwrap_or(&config.scope);
        let prefix = format!("{scope}_");
        let table = if scope.is_empty() || own.table.starts_with(&prefix) {
            own.table.clone()
        } else {
            format!("{prefix}{}", own.table)
        };
        if own.name.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "a data set of `dataset` has no `name`",
            ));
        }
        let definition = Self {
            info: DatasetInfo::named(&own.name, &own.category),
            table,
            filter: parse(&own.name, own.filter.as_deref())?,
            declared: Vec::new(),
            named: own.columns.clone(),
            without: own.without.clone(),
            display: own.display.clone(),
            volatile: own.volatile.clone(),
            role: None,
        };
        definition.checked()
    }

    fn checked(mut self) -> Result<Self> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Config, message).with("data set", &self.info.name))
        };
        if !is_name(&self.table) || self.table.contains('.') {
            return wrong(format!("`table` names {:?}, which is no name", self.table));
        }
        for (setting, names) in [
            ("columns", &self.named),
            ("without", &self.without),
            ("display", &self.display),
            ("volatile", &self.volatile),
        ] {
            for (place, name) in names.iter().enumerate() {
                if !is_name(name) {
                    return wrong(format!("`{setting}` names {name:?}, which is no name"));
                }
                if name == KEY && setting != "columns" {
                    return wrong(format!("`{setting}` names {name}, which is the key"));
                }
                if names[..place].contains(name) {
                    return wrong(format!("`{setting}` names {name} twice"));
                }
            }
        }
        // What is declared, or the key, may be named too.
        let declared = std::mem::take(&mut self.declared);
        let is_other = |name: &String| name != KEY && !declared.iter().any(|f| f.name == *name);
        self.named.retain(is_other);
        self.declared = declared;
        Ok(self)
    }

    pub(crate) fn name(&self) -> &str {
        &self.info.name
    }

    /// Tells whether all fields of the table are columns.
    pub(crate) fn is_whole(&self) -> bool {
        self.declared.is_empty() && self.named.is_empty()
    }

    /// Returns the name of the column of a field's display value.
    pub(crate) fn display_column(field: &str) -> String {
        format!("{DISPLAY}{field}")
    }

    /// Returns the field whose display value is in the column of that name.
    fn displayed<'a>(&self, column: &'a str) -> Option<&'a str> {
        let field = column.strip_prefix(DISPLAY)?;
        let is_it = |display: &String| display == field;
        self.display.iter().any(is_it).then_some(field)
    }

    /// Returns the field that a column is read from.
    pub(crate) fn field<'a>(&self, column: &'a str) -> &'a str {
        self.displayed(column).unwrap_or(column)
    }

    /// Returns where in a record the columns of a schema stand. Every value is text or, by what is
    /// asked for, an object of `value` and `display_value`; empty text is null.
    pub(crate) fn reply<'a>(&self, schema: &'a Schema) -> Vec<ReplyColumn<'a>> {
        let columns = schema.columns().iter().map(|column| {
            let name = column.name();
            let (path, member) = match self.displayed(name) {
                Some(field) => (field, "display_value"),
                None => (name, "value"),
            };
            let mut read = match column.ty() {
                Type::Bool => bool(name, path),
                Type::Int => int(name, path),
                Type::Float => float(name, path),
                Type::Timestamp => time(name, path).utc(),
                Type::Date => date(name, path),
                _ => text(name, path),
            };
            read = read.member(member).from_text();
            if column.is_key() {
                return read.key();
            }
            if column.is_volatile() {
                read = read.volatile();
            }
            read.empty_is_null()
        });
        columns.collect()
    }
}

fn parse(name: &str, filter: Option<&str>) -> Result<Filter> {
    let filter = Filter::parse(filter.unwrap_or_default());
    filter.map_err(|error| error.with("data set", name))
}
