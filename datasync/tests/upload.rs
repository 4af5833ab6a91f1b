//! `datasync sync` to `datasync receive` with the network cut and both sides killed at random: the
//! tables become what the files say.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use connector_testkit::{
    Authority,
    peer::{PostgresDatabase, PostgresPeer},
};

/// For how long things go wrong.
const CHAOS: Duration = Duration::from_secs(15);

/// What the receiver keeps the records in.
enum Repository {
    Sqlite,
    Postgres(PostgresDatabase<'static>),
}

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

/// Leads to the receiver, and while it is told so, cuts each connection after some bytes.
struct Network {
    port: u16,
    cuts: Arc<AtomicBool>,
    cut: Arc<AtomicU64>,
}

impl Network {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let network = Self {
            port: listener.local_addr().unwrap().port(),
            cuts: Arc::new(AtomicBool::new(true)),
            cut: Arc::default(),
        };
        let (cuts, cut) = (Arc::clone(&network.cuts), Arc::clone(&network.cut));
        thread::spawn(move || {
            let mut random = Random(3);
            for near in listener.incoming().flatten() {
                let most = match random.below(3) {
                    _ if !cuts.load(Relaxed) => u64::MAX,
                    0 => random.below(20_000),
                    _ => random.below(1_000_000),
                };
                // Nobody listens while the receiver is down.
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let left = Arc::new(AtomicU64::new(most));
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let from = from.try_clone().unwrap();
                    let into = into.try_clone().unwrap();
                    let (left, cut) = (Arc::clone(&left), Arc::clone(&cut));
                    thread::spawn(move || carry(&from, &into, &left, &cut));
                }
            }
        });
        network
    }
}

fn carry(mut from: &TcpStream, mut into: &TcpStream, left: &AtomicU64, cut: &AtomicU64) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let less = |left: u64| left.checked_sub(read as u64);
        if left.fetch_update(Relaxed, Relaxed, less).is_err() {
            cut.fetch_add(1, Relaxed);
            break;
        }
        if into.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = into.shutdown(Shutdown::Both);
}

type Rows = BTreeMap<String, (String, Option<i64>)>;

struct Lab {
    folder: tempfile::TempDir,
    repository: Repository,
    random: Random,
    rows: Rows,
    next: u32,
}

impl Lab {
    fn new(repository: Repository, receiver: u16, network: u16) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
            repository,
            random: Random(11),
            rows: Rows::new(),
            next: 0,
        };
        fs::create_dir(lab.path("inbox")).unwrap();
        let authority = Authority::new();
        let own = authority.issue(&["localhost"]);
        fs::write(lab.path("ca.pem"), authority.pem()).unwrap();
        fs::write(lab.path("own.pem"), own.pem()).unwrap();
        fs::write(lab.path("own.key"), own.key_pem()).unwrap();
        fs::write(lab.path("password"), PostgresPeer::PASSWORD).unwrap();
        let sink = match &lab.repository {
            Repository::Sqlite => "kind = 'sqlite', path = 'received.db'".to_owned(),
            Repository::Postgres(database) => format!(
                "kind = 'postgres', host = '127.0.0.1', port = {}, database = '{}', user = '{}', \
                 password = {{ file = '{}' }}, sslmode = 'disable', schema = 'inventory'",
                PostgresPeer::shared().port(),
                database.name(),
                PostgresPeer::USER,
                lab.path("password").display()
            ),
        };
        let receive = format!(
            r#"
            [receive]
            listen = "127.0.0.1:{receiver}"
            tls = {{ certificate = "own.pem", key = {{ file = '{}' }} }}
            largest_batch = "128 KiB"
            rate = 100000
            [[receive.tenant]]
            name = "acme"
            syncs = ["hr"]
            sink = {{ {sink} }}
            "#,
            lab.path("own.key").display()
        );
        fs::write(lab.path("receive.toml"), receive).unwrap();
        let printed = lab.run(
            &["receive", "token", "--tenant", "acme", "--sync", "hr"],
            "receive",
        );
        assert!(printed.status.success(), "{printed:?}");
        let token = String::from_utf8(printed.stdout).unwrap();
        let send = format!(
            r#"
            [sink.service]
            kind = "upload"
            data_sync_api_url = "https://localhost:{network}"
            auth_service_url = "https://localhost:{network}/auth"
            client_cert_token = "{}"
            [sink.service.http]
            ca_file = "ca.pem"
            retry = {{ attempts = 3, pause = "20ms", elapsed = "5s" }}
            [connector.hr]
            kind = "fileupload"
            folder = "inbox"
            delete_guard = {{ rows = 1000000, share = 1.0 }}
            [[connector.hr.dataset]]
            name = "software"
            files = "software.tsv"
            key = ["product"]
            types = {{ seats = "int" }}
            "#,
            token.trim()
        );
        fs::write(lab.path("send.toml"), send).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str], config: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datasync"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path(&format!("{config}.toml")));
        command
    }

    fn run(&self, arguments: &[&str], config: &str) -> Output {
        self.command(arguments, config).output().unwrap()
    }

    /// Starts a process whose log goes to the end of a file.
    fn start(&self, arguments: &[&str], config: &str) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(&format!("{config}.log")))
            .unwrap();
        self.command(arguments, config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self, config: &str) -> String {
        fs::read_to_string(self.path(&format!("{config}.log"))).unwrap()
    }

    fn edit(&mut self) {
        let keys: Vec<_> = self.rows.keys().cloned().collect();
        if !keys.is_empty() {
            for _ in 0..self.random.below(2000) {
                let key = &keys[usize::try_from(self.random.below(keys.len() as u64)).unwrap()];
                if self.random.below(4) == 0 {
                    self.rows.remove(key);
                } else if let Some((version, _)) = self.rows.get_mut(key) {
                    *version = format!("{:x}", self.random.below(u64::MAX));
                }
            }
        }
        while self.rows.len() < 5000 {
            let seats = (self.random.below(4) > 0).then(|| i64::from(self.next));
            let version = format!("{:x}", self.random.below(u64::MAX));
            self.rows
                .insert(format!("Product {:06}", self.next), (version, seats));
            self.next += 1;
        }
        let mut text = String::from("product\tversion\tseats\n");
        for (product, (version, seats)) in &self.rows {
            let seats = seats.map(|seats| seats.to_string()).unwrap_or_default();
            writeln!(text, "{product}\t{version}\t{seats}").unwrap();
        }
        fs::write(self.path("new"), text).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the source's file, not the store's"
        )]
        fs::rename(self.path("new"), self.path("inbox").join("software.tsv")).unwrap();
    }

    fn received(&self) -> Rows {
        if let Repository::Postgres(database) = &self.repository {
            let sql = "SELECT product || '|' || version || '|' || coalesce(seats::text, '')
                       FROM inventory.software";
            let line = |line: String| {
                let mut cells = line.split('|').map(str::to_owned);
                let mut cell = || cells.next().unwrap();
                (cell(), (cell(), cell().parse().ok()))
            };
            return database.query(sql).into_iter().map(line).collect();
        }
        let database = rusqlite::Connection::open(self.path("received.db")).unwrap();
        let mut all = database
            .prepare("SELECT product, version, seats FROM software")
            .unwrap();
        let rows = all.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn whatever_is_cut_or_killed_the_receiver_becomes_what_the_source_is() {
    chaos(Repository::Sqlite);
}

#[test]
fn whatever_is_cut_or_killed_so_does_postgresql_behind_it() {
    chaos(Repository::Postgres(PostgresPeer::shared().database()));
}

#[expect(
    clippy::disallowed_methods,
    reason = "random moments are what is tested; no outcome hangs on them"
)]
fn chaos(repository: Repository) {
    let receiver_port = free_port();
    let network = Network::start(receiver_port);
    let mut lab = Lab::new(repository, receiver_port, network.port);
    let mut receiver = lab.start(&["receive"], "receive");
    let (start, mut kills) = (Instant::now(), [0, 0]);
    while start.elapsed() < CHAOS {
        lab.edit();
        let mut sender = lab.start(&["sync"], "send");
        let soon = Duration::from_millis(20 + lab.random.below(600));
        match lab.random.below(3) {
            0 => {
                thread::sleep(soon);
                sender.kill().unwrap();
                kills[0] += 1;
            }
            1 => {
                thread::sleep(soon);
                receiver.kill().unwrap();
                receiver.wait().unwrap();
                kills[1] += 1;
                thread::sleep(Duration::from_millis(lab.random.below(200)));
                receiver = lab.start(&["receive"], "receive");
            }
            _ => {}
        }
        sender.wait().unwrap();
    }
    network.cuts.store(false, Relaxed);
    lab.edit();
    // The receiver may have been started a moment ago.
    let ended = (0..20).any(|_| {
        let ended = lab.start(&["sync"], "send").wait().unwrap();
        ended.success()
    });
    let (sent, taken) = (lab.log("send"), lab.log("receive"));
    assert!(ended, "{sent}\n{taken}");
    assert!(lab.received() == lab.rows, "rows differ\n{sent}\n{taken}");
    let cuts = network.cut.load(Relaxed);
    assert!(kills[0] > 2 && kills[1] > 2 && cuts > 2, "{kills:?} {cuts}");
    // The logs say what happened.
    for said in ["Enrolled", "sink service failed"] {
        assert!(sent.contains(said), "{said}: {sent}");
    }
    assert!(taken.contains("Committed data set hr/software"), "{taken}");
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}
