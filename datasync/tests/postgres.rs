//! A repository in PostgreSQL from end to end: files are synced, edited and synced again by the
//! program, which is killed at random moments meanwhile; compared with the files by the server's own
//! client.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use connector_testkit::peer::{PostgresDatabase, PostgresPeer};
use tempfile::TempDir;

/// Device to cores; none is null.
type Rows = BTreeMap<String, Option<u32>>;

struct Lab {
    folder: TempDir,
    database: PostgresDatabase<'static>,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
            database: PostgresPeer::shared().database(),
        };
        fs::create_dir(lab.folder().join("inbox")).unwrap();
        fs::write(lab.folder().join("password"), PostgresPeer::PASSWORD).unwrap();
        let config = format!(
            r#"
            state = "state"
            [sink.repository]
            kind = "postgres"
            host = "127.0.0.1"
            port = {}
            database = "{}"
            user = "{}"
            password = {{ file = '{}' }}
            sslmode = "disable"
            schema = "inventory"
            [connector.hr]
            kind = "fileupload"
            folder = "inbox"
            delete_guard = {{ rows = 1000000, share = 1.0 }}
            [[connector.hr.dataset]]
            name = "Devices"
            files = "devices.csv"
            key = ["name"]
            types = {{ cores = "int" }}
            "#,
            PostgresPeer::shared().port(),
            lab.database.name(),
            PostgresPeer::USER,
            lab.folder().join("password").display(),
        );
        fs::write(lab.folder().join("datasync.toml"), config).unwrap();
        lab
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, rows: &Rows) {
        let mut text = String::from("name,cores\n");
        for (name, cores) in rows {
            let cores = cores.map(|cores| cores.to_string()).unwrap_or_default();
            writeln!(text, "{name},{cores}").unwrap();
        }
        fs::write(self.folder().join("inbox/devices.csv"), text).unwrap();
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_datasync"))
            .args(arguments)
            .arg("--config")
            .arg(self.folder().join("datasync.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the program to its end, and returns all that it says.
    fn run(&self, arguments: &[&str], good: bool) -> String {
        let output = self.start(arguments).wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.success(), good, "{said}");
        assert!(!said.contains(PostgresPeer::PASSWORD), "{said}");
        said
    }

    fn assert_holds(&self, rows: &Rows) {
        let sql = "SELECT name, cores FROM inventory.devices ORDER BY name COLLATE \"C\"";
        let found = self.database.query(sql);
        let line = |(name, cores): (&String, &Option<u32>)| {
            let cores = cores.map_or_else(|| "NULL".to_owned(), |cores| cores.to_string());
            format!("{name}|{cores}")
        };
        assert!(found.iter().eq(&rows.iter().map(line).collect::<Vec<_>>()));
        assert!(self.run(&["verify"], true).contains("equal"));
    }
}

fn numbered(count: u32) -> Rows {
    (0..count)
        .map(|number| {
            (
                format!("PC-{number:05}"),
                (number % 7 > 0).then_some(number),
            )
        })
        .collect()
}

#[test]
fn edits_are_exactly_what_is_sent() {
    let lab = Lab::new();
    let mut rows = numbered(3_000);
    lab.write(&rows);
    // A check makes nothing.
    lab.run(&["check"], true);
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'inventory'";
    assert_eq!(lab.database.query(schemas), ["0"]);
    let said = lab.run(&["sync"], true);
    assert!(said.contains("Truncates: 1, Inserts: 3000"), "{said}");
    lab.assert_holds(&rows);
    assert!(lab.run(&["sync"], true).contains("No events sent"));

    let written = "SELECT xmin, name FROM inventory.devices ORDER BY name";
    let before = lab.database.query(written);
    rows.remove("PC-00001");
    rows.insert("PC-00002".to_owned(), Some(99));
    rows.insert("new".to_owned(), None);
    lab.write(&rows);
    let said = lab.run(&["sync"], true);
    let sent = "Inserts: 1, Updates: 1, Deletes: 1, SnapshotCompletes: 1";
    assert!(said.contains(sent), "{said}");
    lab.assert_holds(&rows);
    let after = lab.database.query(written);
    let kept = after.iter().filter(|line| before.contains(line)).count();
    assert_eq!(kept, 2_998, "no other row was written");

    lab.run(&["check"], true);
    let log = "SELECT action FROM inventory._process_log ORDER BY id";
    assert_eq!(lab.database.query(log), ["sync", "sync", "sync", "check"]);
    let log = "SELECT inserts, updates, deletes, outcome FROM inventory._sync_log ORDER BY id";
    let lines = ["3000|0|0|synced", "0|0|0|synced", "1|1|1|synced"];
    assert_eq!(lab.database.query(log), lines);
}

#[test]
fn what_somebody_changed_is_found_and_repaired() {
    let lab = Lab::new();
    let mut rows = numbered(3_000);
    lab.write(&rows);
    lab.run(&["sync"], true);
    lab.database.query(
        "DELETE FROM inventory.devices WHERE name = 'PC-00007';
         UPDATE inventory.devices SET cores = -1 WHERE name = 'PC-00008';
         INSERT INTO inventory.devices VALUES ('mine', 1)",
    );
    assert!(lab.run(&["verify"], false).contains("differs"));
    rows.insert("PC-00007".to_owned(), Some(70));
    lab.write(&rows);
    let said = lab.run(&["sync"], true);
    let sent = "Inserts: 1, Updates: 1, Deletes: 1, SnapshotCompletes: 1";
    assert!(said.contains(sent), "{said}");
    lab.assert_holds(&rows);
    // The whole schema is gone: everything is sent again, out of the store.
    lab.database.query("DROP SCHEMA inventory CASCADE");
    fs::remove_dir_all(lab.folder().join("inbox")).unwrap();
    fs::create_dir(lab.folder().join("inbox")).unwrap();
    lab.write(&rows);
    lab.run(&["sync"], true);
    lab.assert_holds(&rows);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "random moments are what is tested; no outcome hangs on them"
)]
fn killed_at_random_moments_it_always_goes_on_and_converges() {
    const KILLS: u32 = 25;
    let lab = Lab::new();
    let mut rows = numbered(8_000);
    lab.write(&rows);
    let start = Instant::now();
    lab.run(&["sync"], true);
    let whole = start.elapsed();
    for kill in 0..KILLS {
        for number in 0..400 {
            let name = format!("PC-{:05}", (kill * 7919 + number * 31) % 9_000);
            match number % 3 {
                0 => drop(rows.remove(&name)),
                _ => drop(rows.insert(name, Some(kill * 1_000 + number))),
            }
        }
        lab.write(&rows);
        let clean: &[&str] = if kill % 3 == 0 {
            &["sync", "--clean"]
        } else {
            &["sync"]
        };
        let mut child = lab.start(clean);
        // Spread over the run, the end of it too.
        std::thread::sleep(whole / (KILLS + 1) * ((kill * 11) % KILLS + 1));
        child.kill().unwrap();
        child.wait().unwrap();
        if kill % 4 == 3 {
            lab.run(&["sync"], true);
            lab.assert_holds(&rows);
        }
    }
    lab.run(&["sync"], true);
    lab.assert_holds(&rows);
    // Nothing of what was cut off is left.
    let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^_'
                  AND relnamespace = 'inventory'::regnamespace";
    assert_eq!(lab.database.query(tables), ["devices"]);
}
