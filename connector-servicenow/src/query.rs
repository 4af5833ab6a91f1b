//! Encoded queries.

use connector_core::{Error, ErrorKind, Result};

/// A condition that a person set, of which is known which fields it asks about.
///
/// That matters: an instance leaves out a condition about a field that it does not know, and answers
/// with the whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    text: String,
    fields: Vec<String>,
}

impl Filter {
    /// Takes an encoded query apart as far as to know its fields.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |message: &str| {
            Err(Error::new(
                ErrorKind::Config,
                format!(
                    "`filter` {message}: it is an encoded query such as `active=true^nameLIKEpc`"
                ),
            ))
        };
        let text = text.trim();
        let mut fields = Vec::new();
        if text.is_empty() {
            return Ok(Self::default());
        }
        for condition in text.split('^') {
            if condition.starts_with("ORDERBY") {
                return wrong("has no `ORDERBY`, since rows are read in the order of their ids");
            }
            if condition.starts_with("NQ") || condition.starts_with("EQ") {
                return wrong("is one query, without `^NQ` and `^EQ`; `^OR` joins conditions");
            }
            let condition = condition.strip_prefix("OR").unwrap_or(condition);
            let is_name =
                |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
            let field: String = condition.chars().take_while(is_name).collect();
            if field.is_empty() || field.len() == condition.len() {
                return wrong("has a condition that is none of a field");
            }
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            fields,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }
}

/// Joins two conditions, of which either may be empty.
pub(crate) fn and(one: &str, other: &str) -> String {
    let join = if one.is_empty() || other.is_empty() {
        ""
    } else {
        "^"
    };
    [one, join, other].concat()
}

/// Returns the query for rows behind one id, up to another one, in the order of ids.
pub(crate) fn between(filter: &str, after: Option<&str>, until: Option<&str>) -> String {
    let mut query = filter.to_owned();
    if let Some(after) = after {
        query = and(&query, &format!("sys_id>{after}"));
    }
    if let Some(until) = until {
        query = and(&query, &format!("sys_id<={until}"));
    }
    and(&query, "ORDERBYsys_id")
}

/// Tells whether text can be a name of a table, or of a field by way of references.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_conditions_are_found() {
        for (text, fields) in [
            ("", &[][..]),
            ("active=true", &["active"]),
            (
                "install_status!=7^nameLIKEpc^ORnameSTARTSWITHsrv^companyISNOTEMPTY",
                &["install_status", "name", "company"],
            ),
            ("company.name=ACME Inc.", &["company.name"]),
            (
                "sys_created_on>javascript:gs.daysAgo(30)",
                &["sys_created_on"],
            ),
        ] {
            assert_eq!(Filter::parse(text).unwrap().fields(), fields, "{text}");
        }
        for text in [
            "ORDERBYname",
            "active=true^ORDERBYDESCname",
            "active=true^NQname=x",
            "active=true^EQ",
            "active",
            "^active=true",
            "active=true^",
            "GOTOname=x",
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        }
    }

    #[test]
    fn a_range_of_ids_comes_behind_the_filter() {
        assert_eq!(between("", None, None), "ORDERBYsys_id");
        assert_eq!(
            between("a=1^ORb=2", Some("x"), Some("y")),
            "a=1^ORb=2^sys_id>x^sys_id<=y^ORDERBYsys_id"
        );
    }
}
