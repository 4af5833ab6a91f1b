//! `kill -9` at random moments, 200 times: while a data set is loaded in full, while changes are
//! found, committed and sent, with a sink that fails and with what it missed being sent again.
//! Whatever a kill leaves, the next run goes on from it, and the repository becomes what the files
//! say, row by row and by digest.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const KILLS: u32 = 200;

/// `SplitMix64`: the same schedule in every run of the test, but for the clock.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The source: device and product, with a version that changes.
type Rows = BTreeMap<(String, String), (String, Option<i64>)>;

struct Lab {
    folder: tempfile::TempDir,
    random: Random,
    rows: Rows,
    next: u32,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inbox")).unwrap();
        // Stands where a failing sink's file should be.
        fs::create_dir(folder.path().join("a folder")).unwrap();
        let mut lab = Self {
            folder,
            random: Random(7),
            rows: Rows::new(),
            next: 0,
        };
        for (name, repository, events) in [
            ("good", "repository.db", "events.ndjson"),
            ("no-repository", "a folder", "events.ndjson"),
            ("no-events", "repository.db", "a folder"),
        ] {
            let text = format!(
                r#"
                state = "state"
                [sink.repository]
                kind = "sqlite"
                path = "{repository}"
                [sink.events]
                kind = "ndjson"
                path = "{events}"
                [connector.hr]
                kind = "fileupload"
                folder = "inbox"
                sinks = ["repository", "events"]
                # Mass deletion is not what this is about.
                delete_guard = {{ rows = 1000000, share = 1.0 }}
                [[connector.hr.dataset]]
                name = "software"
                files = "software.tsv"
                key = ["device", "product"]
                types = {{ seats = "int" }}
                [[connector.hr.dataset]]
                name = "few"
                files = "few.csv"
                key = ["name"]
                "#
            );
            fs::write(lab.path(&format!("{name}.toml")), text).unwrap();
        }
        for _ in 0..2500 {
            lab.insert();
        }
        lab.write();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn insert(&mut self) {
        let key = (
            format!("PC-{:04}", self.next / 20),
            format!("Product {:02}", self.next % 20),
        );
        self.next += 1;
        let seats = (self.random.below(4) > 0).then(|| i64::try_from(self.next).unwrap());
        self.rows
            .insert(key, (format!("{}.0", self.random.below(90)), seats));
    }

    fn edit(&mut self) {
        let keys: Vec<_> = self.rows.keys().cloned().collect();
        for _ in 0..self.random.below(60) {
            let key = &keys[usize::try_from(self.random.below(keys.len() as u64)).unwrap()];
            if self.random.below(3) == 0 {
                self.rows.remove(key);
            } else if let Some((version, _)) = self.rows.get_mut(key) {
                *version = format!("{}.1", self.random.below(1000));
            }
        }
        for _ in 0..self.random.below(30) {
            self.insert();
        }
    }

    /// Writes the files as a careful exporter does: whole, under another name, then renamed.
    fn write(&mut self) {
        let mut software = String::from("device\tproduct\tversion\tseats\n");
        for ((device, product), (version, seats)) in &self.rows {
            let seats = seats.map(|seats| seats.to_string()).unwrap_or_default();
            writeln!(software, "{device}\t{product}\t{version}\t{seats}").unwrap();
        }
        let few = format!("name,count\nrows,{}\n", self.rows.len());
        for (name, text) in [("software.tsv", software), ("few.csv", few)] {
            let new = self.path("new");
            fs::write(&new, text).unwrap();
            #[expect(
                clippy::disallowed_methods,
                reason = "the source's file, not the store's"
            )]
            fs::rename(new, self.path("inbox").join(name)).unwrap();
        }
    }

    fn start(&self, command: &str, config: &str, clean: bool) -> Child {
        let mut program = Command::new(env!("CARGO_BIN_EXE_datasync"));
        program
            .arg(command)
            .arg("--config")
            .arg(self.path(&format!("{config}.toml")));
        if clean {
            program.arg("--clean");
        }
        program
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A run that nobody disturbs, and what it leaves.
    fn converges(&self, what: &str) {
        let output = self
            .start("sync", "good", false)
            .wait_with_output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {}\n{log}", output.status);
        let found = read_repository(&self.path("repository.db"));
        assert!(
            found == self.rows,
            "{what}: {} rows, {} expected\n{log}",
            found.len(),
            self.rows.len()
        );
    }

    fn verifies(&self, what: &str) {
        let output = self
            .start("verify", "good", false)
            .wait_with_output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {}\n{log}", output.status);
    }
}

fn read_repository(path: &Path) -> Rows {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut all = database
        .prepare("SELECT device, product, version, seats FROM software")
        .unwrap();
    let rows = all.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "random moments are what is tested; no outcome hangs on them"
)]
fn killed_at_random_moments_it_always_goes_on_and_converges() {
    let mut lab = Lab::new();
    let start = Instant::now();
    lab.converges("the first run");
    let mut whole = start.elapsed();

    let (mut kills, mut missed) = (0, 0);
    while kills < KILLS {
        lab.edit();
        lab.write();
        let config = match lab.random.below(6) {
            0 => "no-repository",
            1 => "no-events",
            _ => "good",
        };
        let clean = lab.random.below(5) == 0;
        let what = format!("kill {kills} ({config}, clean: {clean})");
        let mut child = lab.start("sync", config, clean);
        let micros = u64::try_from(whole.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(lab.random.below(micros)));
        if child.try_wait().unwrap().is_some() {
            missed += 1;
            assert!(missed < 3 * KILLS, "the runs end before they can be killed");
        } else {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Often the next run is killed too, over what this one left.
        if lab.random.below(3) == 0 {
            let start = Instant::now();
            lab.converges(&what);
            whole = start.elapsed();
        }
        if kills % 25 == 0 {
            lab.converges(&what);
            lab.verifies(&what);
        }
    }
    lab.converges("the last run");
    lab.verifies("the last run");
    let database = rusqlite::Connection::open(lab.path("repository.db")).unwrap();
    let count: i64 = database
        .query_row("SELECT count FROM few", [], |row| row.get::<_, String>(0))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        usize::try_from(count).unwrap(),
        lab.rows.len(),
        "the other data set went on too"
    );
    // Every line of the events is whole: a torn one was cut off before the next was written.
    for line in fs::read_to_string(lab.path("events.ndjson"))
        .unwrap()
        .lines()
    {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
