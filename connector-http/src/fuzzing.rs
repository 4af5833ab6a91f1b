//! What the fuzzers in `fuzz/` run, and what the tests replay over their kept inputs.

mod files;

use std::sync::Arc;

use connector_core::{Batch, ErrorKind, Type, Value};
use serde_json::Value as Json;

pub use self::files::{csv, zip};

use crate::decode::{
    PageDecoder, Reply, ReplyColumn, bool, date, float, int, json, text, time, uuid,
};

const PAGE: Reply = Reply {
    name: "fuzzed",
    columns: &[
        text("id", "id").key(),
        text("name", "name").to_text().empty_is_null(),
        int("bytes", "bytes").zero_is_null().minus_one_is_null(),
        float("score", "score").null(),
        bool("on", "on").from_text().null(),
        time("seen", "seen").year_one_is_null(),
        date("day", "a/day").null(),
        uuid("uuid", "a/uuid").null(),
        text("tags", "tags").joined(";").null(),
        json("all", "a").null(),
    ],
    ..Reply::ODATA
}
.checked();

const EACH: Reply = Reply {
    name: "fuzzed",
    each: "a/list",
    columns: &[
        text("id", "id").key(),
        text("plan", "a/list/plan").to_text().key(),
        int("n", "a/list/n").null(),
    ],
    ..Reply::ODATA
}
.checked();

const BARE: Reply = Reply {
    name: "fuzzed",
    columns: &[
        int("id", "id").from_text().key(),
        text("name", "name").null(),
    ],
    ..Reply::NEW
}
.checked();

/// Decodes any bytes at all as a page. The first byte chooses the declaration.
///
/// # Panics
///
/// When the rows are not those that come of what `serde_json` makes of the page, or when one of the
/// two refuses what the other takes; when an error calls itself a defect; when a second page is
/// read otherwise than the first.
pub fn page(data: &[u8]) {
    let Some((choice, page)) = data.split_first() else {
        return;
    };
    let reply = match choice % 3 {
        0 => &PAGE,
        1 => &EACH,
        _ => &BARE,
    };
    let mut decoder = PageDecoder::new(reply).expect("the declaration is right");
    let mut read = || {
        let mut rows = Batch::new(Arc::clone(decoder.schema()));
        let facts = decoder.decode(page, &mut rows);
        facts.map(|facts| {
            let width = rows.schema().columns().len();
            let cells = |row: connector_core::RowRef<'_>| -> Vec<_> {
                (0..width).map(|place| row.at(place).into_owned()).collect()
            };
            (facts, rows.rows().map(cells).collect::<Vec<_>>())
        })
    };
    let (first, again) = (read(), read());
    // What was learned of the first does not show in the second.
    let known = |read: &Result<_, connector_core::Error>| read.as_ref().ok().cloned();
    assert_eq!(known(&first), known(&again));
    let refused = first.as_ref().err().map(ToString::to_string);
    let ours = match first {
        Ok((facts, rows)) => {
            assert_eq!(facts.rows, rows.len());
            Some((facts.next, facts.count, rows))
        }
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Unexpected, "{error:?}");
            // A `Value` keeps the last of them.
            if error.to_string().contains("twice") || error.to_string().contains("repeats a key") {
                return;
            }
            None
        }
    };
    let page = page.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(page);
    let theirs = match serde_json::from_slice::<Json>(page) {
        // It reads numbers that nobody asked for.
        Err(error) if error.to_string().contains("out of range") => return,
        Err(_) => None,
        Ok(page) => match rows_of(reply, &page) {
            Reference::Rows(next, count, rows) => Some((next, count, rows)),
            Reference::Refused => None,
            Reference::Unclear => return,
        },
    };
    match (ours, theirs) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => {
            assert_eq!((ours.0, ours.1), (theirs.0, theirs.1));
            assert_eq!(ours.2.len(), theirs.2.len());
            for (ours, theirs) in ours.2.iter().zip(&theirs.2) {
                assert!(
                    ours.len() == theirs.len() && ours.iter().zip(theirs).all(same),
                    "{ours:?} {theirs:?}"
                );
            }
        }
        (ours, theirs) => panic!("one of the two refuses it: {ours:?} {theirs:?} {refused:?}"),
    }
}

/// Numbers that `serde_json` rounds may differ in the last bit; its own documents are in its order.
fn same((ours, theirs): (&Value<'_>, &Value<'_>)) -> bool {
    match (ours, theirs) {
        (Value::Float(a), Value::Float(b)) => (a - b).abs() <= a.abs() * 1e-15,
        (Value::Json(a), Value::Json(b)) => {
            let read = |text: &str| serde_json::from_str::<Json>(text).expect("it is JSON");
            read(a) == read(b)
        }
        (a, b) => a == b,
    }
}

enum Reference {
    Rows(Option<String>, Option<u64>, Vec<Vec<Value<'static>>>),
    Refused,
    /// A number that a `Value` does not keep as it is written.
    Unclear,
}

fn at<'a>(json: &'a Json, path: &str) -> Result<Option<&'a Json>, Reference> {
    let mut at = json;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = match at {
            Json::Object(members) => match members.get(name) {
                Some(member) => member,
                None => return Ok(None),
            },
            Json::Null => return Ok(None),
            Json::String(text) if text.is_empty() => return Ok(None),
            _ => return Err(Reference::Refused),
        };
    }
    Ok(Some(at))
}

fn rows_of(reply: &Reply, page: &Json) -> Reference {
    let rows = || -> Result<_, Reference> {
        let fact = |path: &str| -> Result<Option<String>, Reference> {
            let fact = (!path.is_empty()).then(|| at(page, path)).transpose()?;
            match fact.flatten() {
                None | Some(Json::Null) => Ok(None),
                Some(Json::String(text)) => Ok(Some(text.clone())),
                Some(Json::Bool(fact)) => Ok(Some(fact.to_string())),
                Some(Json::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
                Some(_) => Err(Reference::Unclear),
            }
        };
        let list = match at(page, reply.list)? {
            Some(Json::Array(list)) => list.iter().collect(),
            Some(record @ Json::Object(_)) => vec![record],
            _ => return Err(Reference::Refused),
        };
        let mut rows = Vec::new();
        for record in list {
            // What stands above two columns must be an object, whichever is asked for.
            let within = |column: &&ReplyColumn| reply.within_element(column.path).is_none();
            for column in reply.columns.iter().filter(within) {
                if let Some((parent, _)) = column.path.rsplit_once('/') {
                    at(record, &format!("{parent}/-"))?;
                }
            }
            if !record.is_object() {
                return Err(Reference::Refused);
            }
            if reply.each.is_empty() {
                rows.push(row_of(reply, record, record)?);
                continue;
            }
            match at(record, reply.each)? {
                None | Some(Json::Null) => {}
                Some(Json::Array(elements)) => {
                    for element in elements {
                        rows.push(row_of(reply, record, element)?);
                    }
                }
                Some(_) => return Err(Reference::Refused),
            }
        }
        if fact(reply.error)?.is_some() {
            return Err(Reference::Refused);
        }
        let count = fact(reply.count)?.map(|count| count.parse());
        let count = count.transpose().map_err(|_| Reference::Refused)?;
        let next = fact(reply.next)?.filter(|next| !next.is_empty());
        Ok(Reference::Rows(next, count, rows))
    };
    rows().unwrap_or_else(|refused| refused)
}

fn row_of(reply: &Reply, record: &Json, element: &Json) -> Result<Vec<Value<'static>>, Reference> {
    let cells = reply.columns.iter().map(|column| {
        let value = match reply.within_element(column.path) {
            Some(path) => at(element, path)?,
            None => at(record, column.path)?,
        };
        let cell = value_of(column, value.unwrap_or(&Json::Null))?;
        if cell.is_null() && !column.nullable {
            return Err(Reference::Refused);
        }
        Ok(cell)
    });
    cells.collect()
}

fn value_of(column: &ReplyColumn, json: &Json) -> Result<Value<'static>, Reference> {
    let unknown = &column.unknown;
    let parse = |text: &str| match text {
        "" if unknown.empty => Ok(Value::Null),
        text if unknown.year_one && text.starts_with("0001-01-01") => Ok(Value::Null),
        text if column.ty == Type::Bool && text.eq_ignore_ascii_case("yes") => {
            Ok(Value::Bool(true))
        }
        text if column.ty == Type::Bool && text.eq_ignore_ascii_case("no") => {
            Ok(Value::Bool(false))
        }
        text => match column.ty.parse(text) {
            // The same moment in UTC.
            Ok(Value::Timestamp(at))
                if unknown.year_one && at.to_string().starts_with("0001-01-01") =>
            {
                Ok(Value::Null)
            }
            Ok(Value::Int(0)) if unknown.zero => Ok(Value::Null),
            Ok(Value::Int(-1)) if unknown.minus_one => Ok(Value::Null),
            Ok(value) => Ok(value.into_owned()),
            Err(_) => Err(Reference::Refused),
        },
    };
    let text = |json: &Json| match json {
        Json::String(text) => Ok(text.clone()),
        Json::Bool(word) => Ok(word.to_string()),
        Json::Number(number) if !number.is_f64() => Ok(number.to_string()),
        Json::Number(_) => Err(Reference::Unclear),
        _ => Err(Reference::Refused),
    };
    match (json, column.ty) {
        (Json::Null, _) => Ok(Value::Null),
        (json, Type::Json) => Ok(Value::Json(json.to_string().into())),
        (Json::String(text), Type::Int | Type::Float | Type::Bool) if !column.from_text => {
            match text.as_str() {
                "" if unknown.empty => Ok(Value::Null),
                _ => Err(Reference::Refused),
            }
        }
        (Json::String(text), _) => parse(text),
        (Json::Bool(word), Type::Bool) => Ok(Value::Bool(*word)),
        (Json::Number(number), Type::Int) => match number.as_i64() {
            Some(number) => parse(&number.to_string()),
            None if number.as_f64() == Some(0.0) => Err(Reference::Unclear),
            None => Err(Reference::Refused),
        },
        (Json::Number(number), Type::Float) => {
            Ok(number.as_f64().map_or(Value::Null, Value::Float))
        }
        (Json::Number(_) | Json::Bool(_), Type::Text) if column.to_text => parse(&text(json)?),
        (Json::Array(elements), Type::Text) if column.joined.is_some() => {
            let texts = elements
                .iter()
                .filter(|element| !element.is_null())
                .map(text);
            let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
            parse(&texts.join(column.joined.unwrap_or_default()))
        }
        _ => Err(Reference::Refused),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fuzzing_found_of_pages() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/page");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // A find names its file.
            println!("{}", path.display());
            page(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 5, "{count} inputs are kept for page");
    }

    fn any_value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|word| word.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            Just("0".to_owned()),
            Just("-1".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
            any::<String>().prop_map(|text| Json::from(text).to_string()),
            "\"([ -!#-\\[\\]-~]{0,40}|(\\\\[\"\\\\/bfnrtu]|\\\\u00[0-9a-f]{2}|\\\\ud83d\\\\ude00|\\\\ud83d){0,4})\"",
            Just("\"0001-01-01T00:00:00Z\"".to_owned()),
            "\"20[0-9]{2}-0[1-9]-[0-2][0-9]T[01][0-9]:00:00(\\.[0-9]{1,8})?(Z|[+-]0[0-9]:00)\"",
            "\"20[0-9]{2}-[01][0-9]-[0-2][0-9]\"",
            "\"[0-9a-f]{8}-0000-0000-0000-0123456789ab\"",
            "\"(true|Yes|no|1|)\"",
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| format!("[ {} ]", values.join(" , "))),
                members(inner),
            ]
        })
    }

    fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let name = prop_oneof![
            4 => Just("id"), 1 => Just("name"), 1 => Just("bytes"), 1 => Just("score"),
            1 => Just("on"), 1 => Just("seen"), 1 => Just("a"), 1 => Just("tags"),
            1 => Just("day"), 1 => Just("uuid"), 1 => Just("list"), 1 => Just("plan"),
            1 => Just("n"), 1 => Just("other"), 1 => Just("\\u0069d"), 1 => Just("@odata.type"),
        ];
        prop::collection::vec((name, value), 0..7).prop_map(|members| {
            let mut seen = std::collections::HashSet::new();
            let members: Vec<String> = members
                .into_iter()
                .filter(|(name, _)| seen.insert(*name))
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    }

    /// A record that has a good chance to be right, in any order.
    fn record() -> impl Strategy<Value = String> {
        let list = prop::collection::vec(("[a-c]{1,3}", any::<i64>()), 0..3).prop_map(|list| {
            let list: Vec<String> = list
                .iter()
                .map(|(plan, n)| format!("{{\"n\":{n},\"plan\":\"{plan}\"}}"))
                .collect();
            format!("{{\"list\":[{}],\"day\":null}}", list.join(","))
        });
        (
            "\"[a-z0-9\\\\n]{0,20}\"".prop_map(|id| id.replace('\\', "")),
            prop::option::of("\"[ -!#-\\[\\]-~é€]{0,40}\""),
            prop::option::of(-3_i64..9_000_000_000),
            prop::option::of("-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,5})?"),
            prop::option::of(any::<bool>()),
            list,
            any::<prop::sample::Index>(),
        )
            .prop_map(|(id, name, bytes, score, on, a, turn)| {
                let mut members = vec![format!("\"id\":{id}"), format!("\"a\":{a}")];
                members.extend(name.map(|name| format!("\"name\":{name}")));
                members.extend(bytes.map(|bytes| format!("\"bytes\": {bytes}")));
                members.extend(score.map(|score| format!("\"score\" :{score}")));
                members.extend(on.map(|on| format!("\"on\":{on}")));
                let turn = turn.index(members.len());
                members.rotate_left(turn);
                format!("{{{}}}", members.join(","))
            })
    }

    fn pages() -> impl Strategy<Value = String> {
        let records = prop_oneof![
            prop::collection::vec(record(), 0..5),
            prop::collection::vec(prop_oneof![4 => record(), 1 => members(any_value())], 0..5),
        ];
        (records, any_value(), 0..6).prop_map(|(records, other, shape)| {
            let list = records.join(",");
            match shape {
                0 => format!("[{list}]"),
                1 => format!("{{\"value\":[{list}],\"@odata.nextLink\":{other}}}"),
                2 => format!("{{\"@odata.count\":{other},\"value\":[{list}]}}"),
                3 => format!(
                    "{{\"value\":{}}}",
                    records.first().cloned().unwrap_or(other)
                ),
                4 => format!(" {{ \"x\":{other}, \"value\" : [ {list} ] }} "),
                _ => format!("{{\"value\":[{list}],\"error\":{other}}}"),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn rows_are_those_of_what_serde_json_makes_of_a_page(choice in 0_u8..3, text in pages()) {
            page(&[&[choice], text.as_bytes()].concat());
        }

        #[test]
        fn what_is_no_json_is_refused_as_serde_json_does(
            choice in 0_u8..3,
            text in pages(),
            place in any::<prop::sample::Index>(),
            byte in prop_oneof![Just(b'"'), Just(b','), Just(b'}'), Just(b'\\'), Just(0), any::<u8>()],
            cut in any::<bool>(),
        ) {
            let mut bytes = text.into_bytes();
            let place = place.index(bytes.len());
            if cut { bytes.truncate(place); } else { bytes[place] = byte; }
            page(&[&[choice], &*bytes].concat());
        }
    }
}
