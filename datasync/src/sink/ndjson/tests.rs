use std::path::PathBuf;

use connector_core::Value;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sink::testing::{Source, all_types, deliver, values};

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("events.ndjson")
}

fn text(folder: &TempDir) -> String {
    std::fs::read_to_string(path(folder)).unwrap()
}

async fn open(folder: &TempDir) -> NdjsonSink {
    NdjsonSink::open(&path(folder)).await.unwrap()
}

#[tokio::test]
async fn lines_have_the_published_form() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4), source.device("PC-2", 8)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    let rows = vec![source.row(&[Value::Text("PC-2".into()), Value::Null])];
    deliver(&mut sink, &source.change(rows)).await.unwrap();
    let digest = source.digest();
    let head = r#"{"connector":"hr","dataset":"devices","cycle":"2026-11-21T03:08:"#;
    let lines: Vec<_> = text(&folder)
        .lines()
        .map(|line| line.strip_prefix(head).unwrap().to_owned())
        .collect();
    assert_eq!(lines[0], r#"01Z.1.full","seq":1,"op":"truncate"}"#);
    assert_eq!(
        lines[1],
        r#"01Z.1.full","seq":2,"op":"insert","after":{"name":"PC-1","cores":4}}"#
    );
    assert_eq!(
        lines[4],
        r#"02Z.2","seq":1,"op":"delete","before":{"name":"PC-1","cores":4}}"#
    );
    assert_eq!(
        lines[5],
        concat!(
            r#"02Z.2","seq":2,"op":"update","before":{"name":"PC-2","cores":8},"#,
            r#""after":{"name":"PC-2","cores":null},"changed":["cores"]}"#
        )
    );
    assert_eq!(
        lines[6],
        format!(r#"02Z.2","seq":3,"op":"snapshot_complete","rows":1,"digest":"{digest}"}}"#)
    );
    assert_eq!(lines.len(), 7);
}

#[tokio::test]
async fn a_torn_line_and_a_cycle_that_was_cut_off_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    deliver(&mut open(&folder).await, &full).await.unwrap();
    let whole = text(&folder);

    // The process dies after any byte of the next cycle.
    let rows = vec![source.device("PC-1", 5), source.device("PC-2", 5)];
    let change = source.change(rows);
    deliver(&mut open(&folder).await, &change).await.unwrap();
    let both = text(&folder);
    for cut in 0..both.len() {
        std::fs::write(path(&folder), &both[..cut]).unwrap();
        let mut sink = open(&folder).await;
        let left = text(&folder);
        assert_eq!(
            left,
            if cut < whole.len() { "" } else { &whole },
            "at {cut}"
        );
        if cut % 97 == 0 {
            deliver(&mut sink, &full).await.unwrap();
            deliver(&mut sink, &change).await.unwrap();
            assert_eq!(text(&folder), both, "at {cut}");
        }
    }
    // Whole and committed, and only the confirmation was lost: a repeat adds nothing.
    std::fs::write(path(&folder), &both).unwrap();
    deliver(&mut open(&folder).await, &change).await.unwrap();
    assert_eq!(text(&folder), both);
}

#[tokio::test]
async fn the_last_whole_cycle_is_found_however_long_the_next_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    deliver(&mut open(&folder).await, &full).await.unwrap();
    let whole = text(&folder);
    let long = "x".repeat(200_000);
    let rows = (0..5)
        .map(|i| source.device(&format!("{long}{i}"), i))
        .collect();
    let (cycle, mut events) = source.change(rows);
    events.pop();
    let mut sink = open(&folder).await;
    sink.write(&events).await.unwrap();
    // Which waits for the piece before.
    sink.write(&[]).await.unwrap();
    assert!(sink.commit(&cycle).await.is_err(), "not complete");
    drop(sink);
    assert!(text(&folder).len() > 1_000_000);
    drop(open(&folder).await);
    assert_eq!(text(&folder), whole);
}

#[tokio::test]
async fn a_cycle_begun_anew_leaves_no_half_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = (0..5000)
        .map(|i| source.device(&format!("PC-{i}"), i))
        .collect();
    let full = source.full(rows);
    // A piece is in the file when the next one is taken.
    sink.write(&full.1[..2000]).await.unwrap();
    sink.write(&full.1[2000..4000]).await.unwrap();
    assert!(text(&folder).lines().count() >= 2000);
    let mut other = Source::devices("lab");
    deliver(&mut sink, &other.full(vec![])).await.unwrap();
    assert_eq!(text(&folder).lines().count(), 2);
    deliver(&mut sink, &full).await.unwrap();
    let found = text(&folder);
    assert_eq!(found.lines().count(), 2 + 5002);
    assert!(
        found
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();

    // Between two cycles: a new file is begun, as after a restart.
    std::fs::remove_file(path(&folder)).unwrap();
    let rows = vec![source.device("PC-1", 5)];
    deliver(&mut sink, &source.change(rows)).await.unwrap();
    assert_eq!(text(&folder).lines().count(), 2);

    // Within one: that cycle fails, naming the file, and is whole when it is sent again.
    let rows = vec![source.device("PC-1", 6)];
    let (cycle, events) = source.change(rows);
    sink.write(&events).await.unwrap();
    std::fs::remove_file(path(&folder)).unwrap();
    let error = sink.commit(&cycle).await.unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains("events.ndjson") && message.contains("removed"),
        "{message}"
    );
    assert!(!path(&folder).exists());
    deliver(&mut sink, &(cycle, events)).await.unwrap();
    assert_eq!(text(&folder).lines().count(), 2);
}

#[tokio::test]
async fn an_event_out_of_order_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(&folder).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    assert!(sink.write(&full.1[1..]).await.is_err());
    sink.write(&full.1[..1]).await.unwrap();
    assert!(sink.write(&full.1[2..]).await.is_err());
    assert!(sink.commit(&full.0).await.is_err());
    let mut other = Source::devices("lab");
    deliver(&mut sink, &other.full(vec![])).await.unwrap();
    assert_eq!(text(&folder).lines().count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_line_fits_the_schema_and_loses_nothing(
        before in prop::collection::vec(values(&all_types()), 0..5),
        after in prop::collection::vec(values(&all_types()), 0..5),
    ) {
        let schema: serde_json::Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut source = Source::new("hr", "all", all_types());
        let rows: Vec<_> = before.iter().map(|values| source.row(values)).collect();
        let first = source.full(rows);
        let mut rows: Vec<_> = after.iter().map(|values| source.row(values)).collect();
        rows.extend(before.iter().map(|values| {
            let mut values = values.clone();
            values[11..].fill(Value::Null);
            source.row(&values)
        }));
        let second = source.change(rows);
        runtime.block_on(async {
            let mut sink = open(&folder).await;
            deliver(&mut sink, &first).await.unwrap();
            deliver(&mut sink, &second).await.unwrap();
        });
        let found = text(&folder);
        prop_assert_eq!(found.lines().count(), first.1.len() + second.1.len());
        for (line, event) in found.lines().zip(first.1.iter().chain(&second.1)) {
            prop_assert_eq!(line, serde_json::to_string(&EventLine::from(event)).unwrap());
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let outcome = validator.validate(&line);
            prop_assert!(outcome.is_ok(), "{:?}", outcome.err());
            let (Change::Insert { after: row } | Change::Update { after: row, .. }) = &event.change
            else { continue };
            for (column, value) in row.schema().columns().iter().zip(row.values()) {
                let cell = &line["after"][column.name()];
                let read = match cell {
                    serde_json::Value::Null => Value::Null,
                    serde_json::Value::String(text) => column.ty().parse(text).unwrap(),
                    other => column.ty().parse(&other.to_string()).unwrap().into_owned(),
                };
                prop_assert_eq!(read, value);
            }
        }
    }
}

#[test]
fn the_schema_refuses_lines_of_another_form() {
    let schema: serde_json::Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let head = serde_json::json!({
        "connector": "hr", "dataset": "devices", "cycle": "2026-11-21T03:08:00Z.1", "seq": 1,
    });
    for (rest, fits) in [
        (serde_json::json!({ "op": "truncate" }), true),
        (serde_json::json!({ "op": "truncate", "rows": 1 }), false),
        (serde_json::json!({ "op": "insert" }), false),
        (
            serde_json::json!({ "op": "insert", "after": { "a": 1 } }),
            true,
        ),
        (
            serde_json::json!({ "op": "insert", "after": { "a": 1 }, "more": 1 }),
            false,
        ),
        (
            serde_json::json!({ "op": "upsert", "after": { "a": 1 } }),
            false,
        ),
    ] {
        let mut line = head.clone();
        line.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        assert_eq!(validator.is_valid(&line), fits, "{line}");
    }
}
