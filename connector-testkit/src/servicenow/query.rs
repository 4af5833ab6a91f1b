//! Encoded queries, as far as connectors use them.
//! <https://github.com/ServiceNow/ServiceNowDocs> (`c_EncodedQueryStrings`,
//! `r_OpAvailableFiltersQueries`)

use super::table::Record;

/// A query that was taken apart.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// All of these, each any of its parts.
    conditions: Vec<Vec<Condition>>,
    /// Whether records come in the order of their ids. In no order that one could rely on otherwise.
    pub(super) by_id: bool,
}

#[derive(Debug)]
struct Condition {
    field: String,
    operator: &'static str,
    value: String,
}

/// Longer ones first, where one begins as another does.
const OPERATORS: [&str; 12] = [
    "ISNOTEMPTY",
    "ISEMPTY",
    "STARTSWITH",
    "ENDSWITH",
    "LIKE",
    "IN",
    "!=",
    ">=",
    "<=",
    "=",
    ">",
    "<",
];

impl Query {
    /// Takes a query apart. What it does not understand, or asks about a field that there is not, is
    /// left out and the rest still counts, as an instance does by default: then everything is found.
    pub(super) fn parse(text: &str, is_field: impl Fn(&str) -> bool) -> Self {
        let mut query = Self::default();
        for part in text.split('^').filter(|part| !part.is_empty()) {
            if part == "ORDERBYsys_id" {
                query.by_id = true;
                continue;
            }
            let (is_or, part) = match part.strip_prefix("OR") {
                Some(rest) if !part.starts_with("ORDERBY") => (true, rest),
                _ => (false, part),
            };
            let Some(condition) = Condition::parse(part).filter(|c| is_field(&c.field)) else {
                continue;
            };
            match query.conditions.last_mut() {
                Some(last) if is_or => last.push(condition),
                _ => query.conditions.push(vec![condition]),
            }
        }
        query
    }

    /// Returns the ids that records of it are behind and up to, as far as that is asked for.
    pub(super) fn after(&self) -> Option<&str> {
        let mut alone = self.conditions.iter().filter(|any| any.len() == 1);
        let found = alone.find(|any| any[0].field == "sys_id" && any[0].operator == ">")?;
        Some(&found[0].value)
    }

    pub(super) fn holds(&self, record: &Record) -> bool {
        self.conditions
            .iter()
            .all(|any| any.iter().any(|condition| condition.holds(record)))
    }
}

impl Condition {
    fn parse(part: &str) -> Option<Self> {
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
        let at = part.find(|c| !is_name(c))?;
        let (field, rest) = part.split_at(at);
        let operator = OPERATORS.iter().find(|own| rest.starts_with(**own))?;
        Some(Self {
            field: field.to_owned(),
            operator,
            value: rest[operator.len()..].to_owned(),
        })
    }

    fn holds(&self, record: &Record) -> bool {
        let (own, value) = (record.value(&self.field), self.value.as_str());
        match self.operator {
            "ISNOTEMPTY" => !own.is_empty(),
            "ISEMPTY" => own.is_empty(),
            "STARTSWITH" => own.starts_with(value),
            "ENDSWITH" => own.ends_with(value),
            "LIKE" => own.contains(value),
            "IN" => value.split(',').any(|one| one == own),
            "!=" => own != value,
            ">=" => own >= value,
            "<=" => own <= value,
            "=" => own == value,
            ">" => own > value,
            _ => own < value,
        }
    }
}
