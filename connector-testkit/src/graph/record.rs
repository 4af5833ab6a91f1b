//! Rows of a declared data set back into what a reply holds of them.

use base64::{Engine, prelude::BASE64_STANDARD};
use connector_core::Value;
use connector_http::decode::{Reply, ReplyColumn};
use serde_json::{Map, Number, Value as Json};

/// Returns the object that a row is in a page of that declaration. Where each element of an array
/// is a row, the array has this one alone.
///
/// # Panics
///
/// When the values are none of its columns', or one is no value of JSON.
pub fn record(reply: &Reply, row: &[Value<'_>]) -> Json {
    let mut object = Map::new();
    for (column, value) in cells_of(reply, row) {
        let value = json_of(value);
        match within(reply.each, column.path()) {
            None => put(&mut object, column.path(), value),
            Some(rest) => {
                let list = at(&mut object, reply.each);
                if !list.is_array() {
                    *list = Json::Array(vec![Json::Null]);
                }
                let element = &mut list[0];
                if rest.is_empty() {
                    *element = value;
                } else {
                    if !element.is_object() {
                        *element = Json::Object(Map::new());
                    }
                    if let Json::Object(element) = element {
                        put(element, rest, value);
                    }
                }
            }
        }
    }
    Json::Object(object)
}

/// Returns the cells that a row is in a CSV file of that declaration, by header.
///
/// # Panics
///
/// As [`record`].
pub fn cells(reply: &Reply, row: &[Value<'_>]) -> Json {
    let cells = cells_of(reply, row);
    let cells = cells.map(|(column, value)| (column.path().to_owned(), json_of(value)));
    Json::Object(cells.collect())
}

fn cells_of<'a, 'v>(
    reply: &'a Reply<'a>,
    row: &'a [Value<'v>],
) -> impl Iterator<Item = (&'a ReplyColumn<'a>, &'a Value<'v>)> {
    assert_eq!(reply.columns.len(), row.len(), "a value for each column");
    let cells = reply.columns.iter().zip(row);
    cells.filter(|(column, _)| !column.is_given())
}

/// Returns the rest of a path that begins with another one.
fn within<'a>(each: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(each).filter(|_| !each.is_empty())?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

fn put(object: &mut Map<String, Json>, path: &str, value: Json) {
    *at(object, path) = value;
}

/// Returns the place of a path, and makes the objects on the way.
fn at<'a>(object: &'a mut Map<String, Json>, path: &str) -> &'a mut Json {
    match path.split_once('/') {
        None => object.entry(path).or_insert(Json::Null),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert(Json::Null);
            if !inner.is_object() {
                *inner = Json::Object(Map::new());
            }
            let inner = inner.as_object_mut().expect("it was just made one");
            at(inner, rest)
        }
    }
}

fn json_of(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::Number((*value).into()),
        Value::Float(value) => {
            Json::Number(Number::from_f64(*value).expect("a number that JSON has"))
        }
        Value::Text(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => Json::String(BASE64_STANDARD.encode(bytes)),
        Value::Json(text) => serde_json::from_str(text).expect("JSON of a row is JSON"),
        Value::Decimal(value) => Json::String(value.to_string()),
        Value::Timestamp(value) => Json::String(value.to_string()),
        Value::LocalTimestamp(value) => Json::String(value.to_string()),
        Value::Date(value) => Json::String(value.to_string()),
        Value::Uuid(value) => Json::String(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use connector_http::decode::{int, text};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_becomes_the_record_that_it_was() {
        const PLANS: Reply = Reply {
            name: "plans",
            each: "plans",
            columns: &[
                text("user", "id").key(),
                text("plan", "plans/id").key(),
                int("units", "prepaid/units").null(),
            ],
            ..Reply::ODATA
        }
        .checked();
        let row = [
            Value::Text("u".into()),
            Value::Text("p".into()),
            Value::Int(3),
        ];
        assert_eq!(
            record(&PLANS, &row),
            json!({"id": "u", "plans": [{"id": "p"}], "prepaid": {"units": 3}})
        );
        assert_eq!(
            cells(&PLANS, &row),
            json!({"id": "u", "plans/id": "p", "prepaid/units": 3})
        );
    }
}
