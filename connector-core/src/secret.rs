//! Secrets that can't be printed.

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

/// A password, token or key: redacted in `Debug`, without `Display` and `Serialize`, and wiped
/// from memory when dropped.
///
/// Configuration gives it as a literal, as `{ env = "NAME" }` or as `{ file = "path" }` (the
/// file's text without the line break at its end).
///
/// ```
/// use connector_core::Secret;
///
/// let secret = Secret::new("s3cret");
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// assert_eq!(secret.expose(), "s3cret");
/// ```
///
/// It has no `Display`, so this does not compile:
///
/// ```compile_fail
/// let secret = connector_core::Secret::new("s3cret");
/// format!("{secret}");
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a literal.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(SecretString::from(secret.into()))
    }

    /// Returns the secret itself. Call it where the credential is sent, and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

const NOT_TEXT: &str = "a secret is text: put it in quotes";

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret: text, { env = \"NAME\" } or { file = \"path\" }")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Secret, E> {
        Ok(Secret::new(v))
    }

    // serde's own message for these would show the value.
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let origin = map.next_key::<String>()?;
        let secret = match origin.as_deref() {
            Some("env") => from_env(&map.next_value::<String>()?),
            Some("file") => from_file(&map.next_value::<PathBuf>()?),
            _ => return Err(de::Error::custom("expected `env` or `file`")),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom("expected only one of `env` and `file`"));
        }
        secret.map_err(de::Error::custom)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "configuration may name an environment variable"
)]
fn from_env(name: &str) -> Result<Secret, String> {
    match std::env::var(name) {
        Ok(text) => Ok(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("environment variable {name} is not set"))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("environment variable {name} is not valid text"))
        }
    }
}

fn from_file(path: &PathBuf) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("can't read the secret in {}: {error}", path.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Secret, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn takes_a_literal_and_a_file() {
        assert_eq!(parse("\"a\"").unwrap().expose(), "a");
        let path = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        std::fs::write(&path, "from file\r\n").unwrap();
        let json = serde_json::json!({ "file": path }).to_string();
        assert_eq!(parse(&json).unwrap().expose(), "from file");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_wrong_type_is_not_shown() {
        for json in ["4711", "-4711", "4711.5", "true"] {
            let error = parse(json).unwrap_err().to_string();
            assert!(
                error.starts_with(NOT_TEXT) && !error.contains(json),
                "{error}"
            );
        }
    }

    #[test]
    fn names_a_missing_variable() {
        let error = parse(r#"{"env":"SURELY_NOT_SET_HERE"}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("environment variable SURELY_NOT_SET_HERE is not set"),
            "{error}"
        );
        assert!(parse(r#"{"env":"A","file":"b"}"#).is_err());
        assert!(parse(r#"{"vault":"A"}"#).is_err());
    }
}
