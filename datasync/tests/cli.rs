//! The program as a person uses it: the built binary on real files.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::{
    fmt::Write,
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use connector_core::Store;
use tempfile::TempDir;

const CONFIG: &str = r#"
[sink.repository]
kind = "sqlite"
path = "repository.db"

[sink.events]
kind = "ndjson"
path = "events.ndjson"

[connector.hr]
kind = "fileupload"
folder = "inbox"
every = "1h"
delete_guard = { rows = 2, share = 0.5 }

[[connector.hr.dataset]]
name = "devices"
files = "devices.csv"
key = ["name"]
types = { cores = "int" }
"#;

struct Lab(TempDir);

/// What a run of the program left behind.
struct Ran {
    code: i32,
    out: String,
    log: String,
}

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        fs::create_dir(lab.path("inbox")).unwrap();
        lab.write("datasync.toml", CONFIG);
        lab.write("inbox/devices.csv", "name,cores\nPC-1,4\nPC-2,8\nPC-3,\n");
        lab.write("inbox/users.tsv", "account\tmail\nada\ta@x\nbob\tb@x\n");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datasync"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            log: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs a command that must go well.
    fn good(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.log);
        ran
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.path("repository.db")).unwrap();
        let mut select = connection.prepare(sql).unwrap();
        let found = select.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    }

    fn devices(&self) -> Vec<String> {
        self.query("SELECT name || ' ' || coalesce(cores, '-') FROM devices ORDER BY name")
    }
}

impl Ran {
    /// What the log says of how a data set was synced.
    fn done(&self, dataset: &str) -> &str {
        let start = format!("Done syncing data set {dataset} in ");
        let mut lines = self.log.lines().filter_map(|line| line.split_once(&start));
        let (_, rest) = lines
            .next()
            .unwrap_or_else(|| panic!("no {dataset} in {}", self.log));
        let (took, counts) = rest.split_once(": ").unwrap();
        // HH:MM:SS.fffffff
        assert_eq!(took.len(), 16, "{took}");
        counts
    }
}

#[test]
fn the_first_sync_is_full_and_later_ones_send_exactly_the_difference() {
    let lab = Lab::new();
    let first = lab.good(&["sync"]);
    assert_eq!(
        first.done("devices"),
        "Truncates: 1, Inserts: 3, SnapshotCompletes: 1"
    );
    assert_eq!(
        first.done("users"),
        "Truncates: 1, Inserts: 2, SnapshotCompletes: 1"
    );
    assert!(first.log.contains("Syncing data set devices"));
    assert!(first.out.is_empty());
    assert!(
        !first.log.contains(['\r', '\u{1b}']),
        "a pipe is shown no progress"
    );
    assert_eq!(lab.devices(), ["PC-1 4", "PC-2 8", "PC-3 -"]);

    let second = lab.good(&["sync"]);
    assert_eq!(second.done("devices"), "No events sent");
    assert_eq!(second.done("users"), "No events sent");

    // Another order, one row gone, one new, one changed.
    lab.write("inbox/devices.csv", "cores,name\n2,PC-4\n16,PC-2\n,PC-3\n");
    let third = lab.good(&["sync"]);
    assert_eq!(
        third.done("devices"),
        "Inserts: 1, Updates: 1, Deletes: 1, SnapshotCompletes: 1"
    );
    assert_eq!(third.done("users"), "No events sent");
    assert_eq!(lab.devices(), ["PC-2 16", "PC-3 -", "PC-4 2"]);
    assert_eq!(lab.good(&["sync"]).done("devices"), "No events sent");

    let verified = lab.good(&["verify"]);
    assert!(
        verified
            .out
            .contains("hr/devices in repository: 3 records in table devices, equal")
    );
    lab.query("UPDATE devices SET cores = 1 WHERE name = 'PC-4' RETURNING name");
    let verified = lab.run(&["verify"]);
    assert_eq!(verified.code, 1);
    assert!(
        verified.out.contains("table devices differs"),
        "{}",
        verified.out
    );
    let clean = lab.good(&["sync", "--clean", "--dataset", "devices"]);
    assert_eq!(
        clean.done("devices"),
        "Truncates: 1, Inserts: 3, SnapshotCompletes: 1"
    );
    lab.good(&["verify"]);
}

#[test]
fn every_event_line_fits_the_published_schema() {
    let lab = Lab::new();
    lab.good(&["sync"]);
    lab.write("inbox/devices.csv", "name,cores\nPC-2,16\nPC-3,\nPC-4,2\n");
    lab.good(&["sync"]);
    let schema: serde_json::Value = serde_json::from_str(datasync::EVENT_SCHEMA).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for line in lab.read("events.ndjson").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&line), "{line}");
        kinds.insert(line["op"].as_str().unwrap().to_owned());
    }
    let all = [
        "delete",
        "insert",
        "snapshot_complete",
        "truncate",
        "update",
    ];
    assert!(kinds.iter().eq(all), "{kinds:?}");

    // The kept history is the second cycle, as it was sent.
    let changes = lab.good(&["changes", "hr", "devices"]).out;
    assert!(lab.read("events.ndjson").ends_with(&changes), "{changes}");
    assert_eq!(changes.lines().count(), 4);
}

#[test]
fn one_bad_file_fails_alone() {
    let lab = Lab::new();
    lab.good(&["sync"]);
    lab.write("inbox/devices.csv", "name,cores\nPC-1,canary-value\n");
    lab.write("inbox/users.tsv", "account\tmail\nada\tnew@x\nbob\tb@x\n");
    let ran = lab.run(&["sync"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.done("users"), "Updates: 1, SnapshotCompletes: 1");
    let failed = ran.log.lines().find(|line| line.contains("ERROR")).unwrap();
    for part in ["data set devices", "devices.csv:2", "column cores"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    assert!(!ran.log.contains("canary-value"), "{}", ran.log);
    assert_eq!(lab.devices().len(), 3);
    let outcomes = lab.query("SELECT dataset || ' ' || outcome FROM _sync_log ORDER BY id");
    assert_eq!(outcomes[2..], ["devices failed", "users synced"]);
}

#[test]
fn a_file_that_vanished_deletes_nothing() {
    let lab = Lab::new();
    lab.good(&["sync"]);
    fs::remove_file(lab.path("inbox/users.tsv")).unwrap();
    let ran = lab.run(&["sync"]);
    assert_eq!(ran.code, 1);
    assert!(ran.log.contains("Failed data set users"), "{}", ran.log);
    assert_eq!(ran.done("devices"), "No events sent");
    assert_eq!(
        lab.query("SELECT account FROM users ORDER BY 1"),
        ["ada", "bob"]
    );

    lab.good(&["forget", "hr", "users"]);
    assert!(lab.query("SELECT account FROM users").is_empty());
    lab.good(&["sync"]);
    assert_eq!(lab.run(&["forget", "hr", "users"]).code, 1);
}

#[test]
fn mass_deletions_wait_for_a_person() {
    let lab = Lab::new();
    lab.write(
        "inbox/devices.csv",
        "name,cores\nPC-1,4\nPC-2,8\nPC-3,\nPC-4,1\n",
    );
    lab.good(&["sync"]);
    lab.write("inbox/devices.csv", "name,cores\nPC-1,4\n");
    let ran = lab.run(&["sync"]);
    assert_eq!(ran.code, 1);
    assert!(ran.log.contains("Held data set devices"), "{}", ran.log);
    assert_eq!(lab.devices().len(), 4);
    assert!(lab.good(&["status"]).out.contains("Deletes: 3"));

    lab.good(&["reject", "hr", "devices"]);
    assert_eq!(
        lab.run(&["reject", "hr", "devices"]).code,
        1,
        "nothing is held"
    );
    assert_eq!(lab.run(&["sync"]).code, 1, "held again");
    let approved = lab.good(&["approve", "hr", "devices"]);
    assert_eq!(approved.done("devices"), "Deletes: 3, SnapshotCompletes: 1");
    assert_eq!(lab.devices(), ["PC-1 4"]);
    lab.good(&["sync"]);
}

#[test]
fn a_selection_is_kept_to() {
    let lab = Lab::new();
    let ran = lab.good(&["sync", "hr", "--dataset", "users"]);
    assert!(!ran.log.contains("devices"), "{}", ran.log);
    assert_eq!(lab.query("SELECT table_name FROM _dataset"), ["users"]);
    lab.good(&["sync", "--category", "general"]);
    assert_eq!(lab.devices().len(), 3);
}

/// No file may grow past a limit: what a full disk looks like, without filling one.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on() {
    for (sink, file) in [("events", "events.ndjson"), ("repository", "repository.db")] {
        let lab = Lab::new();
        let config = CONFIG.replace("every =", &format!("sinks = [\"{sink}\"]\nevery ="));
        lab.write("datasync.toml", &config);
        lab.good(&["sync"]);
        let before = lab.good(&["status"]).out;
        // The store packs these names, the sinks do not.
        let wide = "x".repeat(200);
        let mut devices = lab.read("inbox/devices.csv");
        for i in 0..4000 {
            writeln!(devices, "{wide}{i},{i}").unwrap();
        }
        lab.write("inbox/devices.csv", &devices);

        // In blocks of 512 bytes or 1 KiB. The signal would end the program where a full disk
        // does not.
        let mut limited = Command::new("sh");
        limited.current_dir(lab.0.path());
        let script = "trap '' XFSZ; ulimit -f 900; exec \"$0\" \"$@\"";
        let command = lab.command(&["sync"]);
        limited.args(["-c", script]).arg(command.get_program());
        let ran = limited.args(command.get_args()).output().unwrap();
        let log = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{log}");
        assert!(
            log.contains(&format!("sink {sink}")) && log.contains(file),
            "{log}"
        );
        let held_up = lab.good(&["status"]).out;
        assert_ne!(held_up, before, "the store goes on");

        lab.good(&["sync"]);
        match sink {
            "events" => {
                let events = lab.read(file);
                let ends = events
                    .lines()
                    .filter(|line| line.contains("snapshot_complete"));
                assert_eq!(ends.count(), 3, "two first loads, one cycle");
                assert_eq!(events.lines().count(), 5 + 4 + 4001);
            }
            _ => assert_eq!(lab.query("SELECT '' || count(*) FROM devices"), ["4003"]),
        }
    }
}

#[test]
fn mistakes_of_usage_and_configuration_exit_with_2_and_name_the_place() {
    let lab = Lab::new();
    for (arguments, expected) in [
        (
            &["sync", "it"][..],
            "there is no [connector.it]; configured: hr",
        ),
        (
            &["sync", "--dataset", "nothing"],
            "no connector offers the data set `nothing`",
        ),
        (
            &["sync", "--category", "nothing"],
            "no connector offers the category `nothing`",
        ),
        (&["sync", "--config", "none.toml"], "datasync init"),
        (&["approve", "it", "devices"], "there is no [connector.it]"),
        (&["dance"], "unrecognized subcommand"),
        (&[], "Usage"),
    ] {
        let ran = lab.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.log);
        assert!(ran.log.contains(expected), "{arguments:?}: {}", ran.log);
    }
    for (wrong, expected) in [
        (
            "every = \"1h\"",
            ("every = \"soon\"", "connector.hr.every: "),
        ),
        (
            "kind = \"fileupload\"",
            ("kind = \"floppy\"", "connector.hr.kind: "),
        ),
        (
            "folder = \"inbox\"",
            ("folders = \"inbox\"", "connector.hr.folders: "),
        ),
        (
            "key = [\"name\"]",
            ("key = 5", "connector.hr.dataset[0].key: "),
        ),
        (
            "cores = \"int\"",
            (
                "cores = \"integer\"",
                "connector.hr.dataset[0].types.cores: ",
            ),
        ),
    ] {
        lab.write("datasync.toml", &CONFIG.replace(wrong, expected.0));
        let ran = lab.run(&["sync"]);
        assert_eq!(ran.code, 2, "{}", ran.log);
        assert!(
            ran.log.contains(expected.1),
            "{} in {}",
            expected.1,
            ran.log
        );
        assert!(ran.log.contains("datasync.toml"), "{}", ran.log);
    }
}

#[test]
fn a_state_folder_in_use_names_its_holder() {
    let lab = Lab::new();
    lab.good(&["sync"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let held = runtime
        .block_on(Store::open_folder(lab.path("state")))
        .unwrap();
    let holder = format!("process {}", std::process::id());
    for arguments in [&["sync"][..], &["status"], &["show", "hr", "devices"]] {
        let ran = lab.run(arguments);
        assert_eq!(ran.code, 1);
        assert!(ran.log.contains(&holder), "{}", ran.log);
    }
    lab.good(&["datasets", "--schema"]);
    lab.good(&["check"]);
    drop(held);
    lab.good(&["status"]);
}

#[test]
fn what_was_synced_can_be_looked_at() {
    let lab = Lab::new();
    assert_eq!(lab.run(&["show", "hr", "devices"]).code, 1, "never synced");
    lab.good(&["status"]);
    lab.good(&["sync"]);
    let mut csv: Vec<_> = lab
        .good(&["show", "hr", "Devices"])
        .out
        .lines()
        .map(str::to_owned)
        .collect();
    csv[1..].sort();
    assert_eq!(csv, ["name,cores", "PC-1,4", "PC-2,8", "PC-3,"]);
    let ndjson = lab
        .good(&["show", "hr", "devices", "--format", "ndjson"])
        .out;
    assert!(
        ndjson.contains(r#"{"name":"PC-3","cores":null}"#),
        "{ndjson}"
    );
    let datasets = lab.good(&["datasets"]).out;
    assert!(datasets.contains("hr         devices"), "{datasets}");
    let schema = lab.good(&["datasets", "--schema"]).out;
    assert!(
        schema.contains("  name: text key\n  cores: int null\n"),
        "{schema}"
    );
    let check = lab.good(&["check"]).out;
    assert!(check.contains("devices: available"), "{check}");
    let actions = lab.query("SELECT action FROM _process_log ORDER BY id");
    assert_eq!(actions, ["sync", "check"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let lab = Lab::new();
    // More than a pipe holds.
    let rows: Vec<_> = (0..50_000).map(|i| format!("PC-{i},{i}")).collect();
    let text = format!("name,cores\n{}\n", rows.join("\n"));
    lab.write("inbox/devices.csv", &text);
    lab.good(&["sync"]);
    let mut child = lab
        .command(&["show", "hr", "devices"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "name,cores\n");
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log}");
    assert_eq!(log, "");
}

#[test]
fn events_can_go_to_standard_output() {
    let lab = Lab::new();
    lab.write(
        "datasync.toml",
        &CONFIG.replace("\"events.ndjson\"", "\"-\""),
    );
    let ran = lab.good(&["sync", "--dataset", "users"]);
    assert_eq!(ran.out.lines().count(), 4);
    assert!(
        ran.out
            .lines()
            .all(|line| line.starts_with(r#"{"connector":"hr","#))
    );
}

#[test]
fn the_log_can_be_json() {
    let lab = Lab::new();
    let ran = lab.good(&["sync", "--log-format", "json"]);
    let lines: Vec<serde_json::Value> = ran
        .log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let message = |line: &serde_json::Value| line["fields"]["message"].as_str().unwrap().to_owned();
    assert!(
        lines
            .iter()
            .map(message)
            .any(|m| m.starts_with("Done syncing data set devices in"))
    );
    assert!(lab.good(&["sync", "--quiet"]).log.is_empty());
}

#[test]
fn an_example_is_written_once() {
    let lab = Lab::new();
    let ran = lab.run(&["init"]);
    assert_eq!(ran.code, 2);
    assert_eq!(lab.read("datasync.toml"), CONFIG);
    lab.good(&["init", "other.toml"]);
    lab.good(&["check", "--config", "other.toml"]);
}

#[test]
fn shells_can_complete() {
    let ran = Lab::new().good(&["completions", "bash"]);
    assert!(ran.out.contains("complete -F _datasync"));
}

#[cfg(unix)]
#[test]
fn a_running_host_syncs_at_once_and_stops_when_told() {
    let lab = Lab::new();
    for signal in ["TERM", "INT"] {
        let mut child = lab
            .command(&["run"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let done = |line: &std::io::Result<String>| {
            line.as_ref()
                .unwrap()
                .contains("Done syncing data set users")
        };
        assert!(log.any(|line| done(&line)));
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let rest: Vec<_> = log.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("Stopped")), "{rest:?}");
    }
    let actions = lab.query("SELECT action FROM _process_log ORDER BY id");
    assert_eq!(actions, ["start", "sync", "stop", "start", "sync", "stop"]);
}
