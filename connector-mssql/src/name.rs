//! Names of objects and columns, as the server's language writes them.

use std::fmt;

/// The schema of objects that name none.
const DEFAULT_SCHEMA: &str = "dbo";

/// A table or view, with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    schema: String,
    name: String,
}

impl ObjectName {
    /// Reads `name` or `schema.name`, each part in brackets or not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not the name of an object: write `View` or `schema.View`");
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, after) = if let Some(quoted) = rest.strip_prefix('[') {
                // A bracket within a quoted name is doubled.
                let mut end = 0;
                loop {
                    end += quoted[end..].find(']').ok_or_else(wrong)?;
                    if quoted[end + 1..].starts_with(']') {
                        end += 2;
                    } else {
                        break;
                    }
                }
                (quoted[..end].replace("]]", "]"), &quoted[end + 1..])
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            };
            if part.is_empty() || part.chars().any(char::is_control) {
                return Err(wrong());
            }
            parts.push(part);
            match after.strip_prefix('.') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return Err(wrong()),
            }
        }
        match <[String; 1]>::try_from(parts) {
            Ok([name]) => Ok(Self {
                schema: DEFAULT_SCHEMA.to_owned(),
                name,
            }),
            Err(parts) => match <[String; 2]>::try_from(parts) {
                Ok([schema, name]) => Ok(Self { schema, name }),
                Err(_) => Err(wrong()),
            },
        }
    }
}

/// As statements name it.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// A name in brackets.
pub(crate) fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// Text as a literal of UTF-16.
pub(crate) fn text_literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// Splits `object alias`, or a query in brackets and its alias.
pub(crate) fn split_alias(text: &str) -> (&str, &str) {
    text.rsplit_once(' ').unwrap_or((text, text))
}

/// A part of an expression.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A name and where it ends.
    Name(std::borrow::Cow<'a, str>),
    Dot,
    Other,
}

/// Walks through an expression: names in brackets or not, dots, and the rest; text within quotes is
/// part of the rest.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '\'' => {
                tokens.push(Token::Other);
                after.find('\'').map_or("", |end| &after[end + 1..])
            }
            '[' => match after.find(']') {
                Some(end) => {
                    tokens.push(Token::Name(after[..end].into()));
                    &after[end + 1..]
                }
                None => "",
            },
            '.' => {
                tokens.push(Token::Dot);
                after
            }
            c if c.is_alphabetic() || c == '_' || c == '@' || c == '#' => {
                let inside = |c: char| c.is_alphanumeric() || "_@#$".contains(c);
                let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..end].into()));
                &rest[end..]
            }
            c if c.is_whitespace() => after,
            _ => {
                tokens.push(Token::Other);
                after
            }
        };
    }
    tokens
}

/// The columns that an expression names, each with its alias.
pub(crate) fn references(expression: &str) -> Vec<(String, String)> {
    tokens(expression)
        .windows(3)
        .filter_map(|window| match window {
            [Token::Name(alias), Token::Dot, Token::Name(column)] => {
                Some((alias.to_string(), column.to_string()))
            }
            _ => None,
        })
        .collect()
}

/// Alias and column of an expression that is nothing else.
pub(crate) fn plain_column(expression: &str) -> Option<(String, String)> {
    match &tokens(expression)[..] {
        [Token::Name(alias), Token::Dot, Token::Name(column)] => {
            Some((alias.to_string(), column.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_quoted() {
        for (text, name) in [
            ("v_R_System", "[dbo].[v_R_System]"),
            ("MonitorData.User", "[MonitorData].[User]"),
            ("[My Schema].[a.b]", "[My Schema].[a.b]"),
            ("[a]]b]", "[dbo].[a]]b]"),
            ("x'; DROP TABLE y --", "[dbo].[x'; DROP TABLE y --]"),
        ] {
            assert_eq!(ObjectName::parse(text).unwrap().to_string(), name);
        }
        for text in ["", "a.b.c", "a.", ".a", "[a", "[a]b", "a\nb"] {
            assert!(ObjectName::parse(text).is_err(), "{text}");
        }
        assert_eq!(text_literal("a'b"), "N'a''b'");
        assert_eq!(split_alias("v_R_System s"), ("v_R_System", "s"));
    }

    #[test]
    fn columns_are_found_in_expressions() {
        assert_eq!(
            references("ISNULL(r.[Program Name], N'x.y') + CAST(q.N AS nvarchar(9)) + dbo.f(r.Id)"),
            [
                ("r".to_owned(), "Program Name".to_owned()),
                ("q".to_owned(), "N".to_owned()),
                ("dbo".to_owned(), "f".to_owned()),
                ("r".to_owned(), "Id".to_owned()),
            ]
        );
        let plain = Some(("s".to_owned(), "Name0".to_owned()));
        assert_eq!(plain_column(" s.Name0"), plain);
        assert_eq!(plain_column("s.[Name0]"), plain);
        assert_eq!(plain_column("s.Name0 + 1"), None);
        assert_eq!(plain_column("64"), None);
    }

    proptest! {
        #[test]
        fn any_name_survives_quoting(name in "\\PC{1,20}") {
            prop_assume!(!name.chars().any(char::is_control));
            let object = ObjectName::parse(&format!("s.{}", quoted(&name))).unwrap();
            prop_assert_eq!(object.name, name);
        }

        #[test]
        fn any_text_can_be_looked_at(text in "\\PC{0,40}") {
            let _ = (references(&text), plain_column(&text), ObjectName::parse(&text));
        }
    }
}
