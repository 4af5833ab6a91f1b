//! A real inventory from end to end: this machine's package database, exported by its own tool,
//! synced, edited and synced again; compared with a computation over the two files that shares no
//! code with the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

const COLUMNS: [&str; 7] = [
    "package",
    "version",
    "architecture",
    "status",
    "size",
    "section",
    "summary",
];
const FORMAT: &str = "${Package}\t${Version}\t${Architecture}\t${Status}\t${Installed-Size}\t\
                      ${Section}\t${binary:Summary}\n";

/// Key (package, architecture) to the whole row; an empty cell is no value.
type Rows = BTreeMap<(String, String), Vec<Option<String>>>;

/// The export of this machine, or where there is no such database, one that was taken of Debian 12.
fn export() -> String {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", FORMAT])
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => include_str!("data/dpkg.tsv").to_owned(),
    }
}

fn parse(text: &str) -> Rows {
    let row = |line: &str| {
        let cells = line
            .split('\t')
            .map(|cell| (!cell.is_empty()).then(|| cell.to_owned()));
        let cells: Vec<_> = cells.collect();
        assert_eq!(cells.len(), COLUMNS.len(), "{line}");
        (
            (cells[0].clone().unwrap(), cells[2].clone().unwrap()),
            cells,
        )
    };
    text.lines().map(row).collect()
}

/// What the edits do, on the text alone: rows removed, changed, added, and the whole turned round.
fn edit(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        match i % 20 {
            3 => {}
            7 => lines.push(line.replacen('\t', "\t2:", 1)),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.push(
        "zz-new\t1.0\tall\tinstall ok installed\t12\tmisc\tnew, with \"quotes\" and ünïcode"
            .to_owned(),
    );
    lines.push("zz-empty\t1.0\tall\tinstall ok installed\t\t\t".to_owned());
    lines.reverse();
    lines.join("\n") + "\n"
}

fn repository(path: &Path) -> Rows {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut all = database
        .prepare(&format!("SELECT {} FROM packages", COLUMNS.join(", ")))
        .unwrap();
    let rows = all.query_map([], |row| {
        (0..COLUMNS.len())
            .map(|i| match COLUMNS[i] {
                "size" => Ok(row.get::<_, Option<i64>>(i)?.map(|size| size.to_string())),
                _ => row.get(i),
            })
            .collect::<Result<Vec<Option<String>>, _>>()
    });
    let rows = rows.unwrap().map(|cells| {
        let cells = cells.unwrap();
        (
            (cells[0].clone().unwrap(), cells[2].clone().unwrap()),
            cells,
        )
    });
    rows.collect()
}

fn sync(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    log
}

#[test]
fn the_machines_own_packages_become_a_repository_and_then_exactly_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("inbox")).unwrap();
    let columns = COLUMNS.map(|column| format!("{column:?}")).join(", ");
    let config = format!(
        r#"
        state = "state"
        [sink.repository]
        kind = "sqlite"
        path = "repository.db"
        [sink.events]
        kind = "ndjson"
        path = "events.ndjson"
        [connector.local]
        kind = "fileupload"
        folder = "inbox"
        sinks = ["repository", "events"]
        [[connector.local.dataset]]
        name = "packages"
        files = "packages.tsv"
        quoting = "raw"
        columns = [{columns}]
        key = ["package", "architecture"]
        types = {{ size = "int" }}
        "#
    );
    fs::write(folder.join("datasync.toml"), config).unwrap();
    let file = folder.join("inbox/packages.tsv");

    let first = export();
    let old = parse(&first);
    assert!(old.len() > 100, "{} packages", old.len());
    fs::write(&file, &first).unwrap();
    sync(folder);
    assert_eq!(repository(&folder.join("repository.db")), old);
    assert!(sync(folder).contains("No events sent"));

    let second = edit(&first);
    let new = parse(&second);
    fs::write(&file, &second).unwrap();
    let before = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    sync(folder);
    assert_eq!(repository(&folder.join("repository.db")), new);

    let mut sent: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    let after = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    for line in after[before.len()..].lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let row = if event["after"].is_null() {
            &event["before"]
        } else {
            &event["after"]
        };
        if event["op"] == "update" {
            assert_eq!(event["changed"], serde_json::json!(["version"]));
        }
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let op = event["op"].as_str().unwrap().to_owned();
        assert!(
            sent.entry(op)
                .or_default()
                .insert((text("package"), text("architecture")))
        );
    }
    assert_eq!(
        sent.remove("snapshot_complete").map(|keys| keys.len()),
        Some(1)
    );
    let keys = |wanted: &dyn Fn(&(String, String)) -> bool| -> BTreeSet<(String, String)> {
        old.keys()
            .chain(new.keys())
            .filter(|key| wanted(key))
            .cloned()
            .collect()
    };
    let expected = [
        (
            "delete",
            keys(&|key| old.contains_key(key) && !new.contains_key(key)),
        ),
        (
            "insert",
            keys(&|key| !old.contains_key(key) && new.contains_key(key)),
        ),
        (
            "update",
            keys(&|key| {
                new.get(key)
                    .is_some_and(|row| old.get(key).is_some_and(|old| old != row))
            }),
        ),
    ];
    for (op, keys) in expected {
        assert!(!keys.is_empty(), "{op}");
        assert_eq!(sent.remove(op), Some(keys), "{op}");
    }
    assert!(sent.is_empty(), "{sent:?}");
}
