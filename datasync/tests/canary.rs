//! A value of a row appears in no log, whatever goes wrong with it and however much is logged.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{fs, path::Path, process::Command};

const CANARY: &str = "kanarienvogel-4711";

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(arguments)
        .arg("-vv")
        .arg("--config")
        .arg(folder.join("datasync.toml"))
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn values_of_rows_are_in_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = r#"
        state = "state"
        [sink.repository]
        kind = "sqlite"
        path = "repository.db"
        [sink.events]
        kind = "ndjson"
        path = "events.ndjson"
        [connector.hr]
        kind = "fileupload"
        folder = "inbox"
        sinks = ["repository", "events"]
        [[connector.hr.dataset]]
        name = "good"
        files = "good.csv"
        key = ["name"]
        [[connector.hr.dataset]]
        name = "typed"
        files = "typed.csv"
        key = ["name"]
        types = { count = "int" }
        [[connector.hr.dataset]]
        name = "quarantined"
        files = "quarantined.csv"
        key = ["name"]
        types = { count = "int" }
        bad_rows = "quarantine"
        [[connector.hr.dataset]]
        name = "twice"
        files = "twice.csv"
        key = ["name"]
        [[connector.hr.dataset]]
        name = "torn"
        files = "torn.csv"
        key = ["name"]
    "#;
    fs::write(folder.join("datasync.toml"), config).unwrap();
    let inbox = folder.join("inbox");
    fs::create_dir(&inbox).unwrap();
    let files = [
        (
            "good",
            format!("name,note\n{CANARY},{CANARY}\n"),
            "Inserts: 1",
        ),
        (
            "typed",
            format!("name,count\n{CANARY},{CANARY}\n"),
            "typed.csv:2",
        ),
        (
            "quarantined",
            format!("name,count\na,1\n{CANARY},{CANARY}\n"),
            "quarantine",
        ),
        (
            "twice",
            format!("name,note\n{CANARY},1\n{CANARY},2\n"),
            "rows: 1 and 2",
        ),
        ("torn", format!("name,note\na,\"{CANARY}\n"), "torn.csv"),
        // Found by itself, its key too.
        ("found", format!("name,note\n{CANARY},\n"), "found"),
    ];
    for (name, text, _) in &files {
        fs::write(inbox.join(format!("{name}.csv")), text).unwrap();
    }
    for format in ["text", "json"] {
        for command in ["check", "sync", "status", "verify"] {
            let log = run(folder, &[command, "--log-format", format]);
            assert!(!log.contains(CANARY), "{command}, {format}:\n{log}");
            for (_, _, seen) in files
                .iter()
                .filter(|_| command == "sync" && format == "text")
            {
                assert!(
                    log.contains(seen),
                    "{seen} is not in the log, so nothing was shown:\n{log}"
                );
            }
        }
        // Changes of such values, with both images.
        fs::write(
            inbox.join("good.csv"),
            format!("name,note\n{CANARY},{CANARY}.{format}\n"),
        )
        .unwrap();
    }
    let events = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    assert!(events.contains(CANARY), "it was there to be logged");
}
