//! One canonical text for a JSON document.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::time::ParseError;

/// Documents nest less than this in inventory; the bound keeps the stack small.
const MAX_DEPTH: usize = 128;

const NOT_JSON: ParseError = ParseError("not a JSON document");

/// Returns the document with sorted keys and without white space. Numbers stand as written, since
/// reading them as 64-bit floats would lose digits.
///
/// A repeated key is an error: keeping either value would lose the other.
pub(crate) fn canonical(text: &str) -> Result<Cow<'_, str>, ParseError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
    let mut out = String::with_capacity(text.len());
    write(raw, &mut out, 0)?;
    Ok(if out == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(out)
    })
}

fn write(raw: &RawValue, out: &mut String, depth: usize) -> Result<(), ParseError> {
    if depth > MAX_DEPTH {
        return Err(ParseError("JSON that nests over 128 levels deep"));
    }
    let text = raw.get().trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Object(mut members) = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            members.sort_by(|a, b| a.0.cmp(&b.0));
            if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(ParseError("JSON that repeats a key"));
            }
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out)?;
                out.push(':');
                write(value, out, depth + 1)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
            write_string(&string, out)?;
        }
        _ => out.push_str(text),
    }
    Ok(())
}

/// Escapes alike whatever the source's own way of escaping was.
fn write_string(string: &str, out: &mut String) -> Result<(), ParseError> {
    out.push_str(&serde_json::to_string(string).map_err(|_| NOT_JSON)?);
    Ok(())
}

/// The members in the order of the text, repeated keys included.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_trims_at_every_level() {
        let text = " { \"b\" : [ 1.0 , { \"z\":null, \"a\" : \"\\u0041\" } ] , \"a\":true } ";
        assert_eq!(
            canonical(text).unwrap(),
            r#"{"a":true,"b":[1.0,{"a":"A","z":null}]}"#
        );
    }

    #[test]
    fn refuses_what_would_be_lost() {
        assert!(canonical(r#"{"a":1,"a":2}"#).is_err());
        assert!(canonical("{} {}").is_err());
        assert!(canonical("").is_err());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(canonical(&deep).is_err());
    }
}
