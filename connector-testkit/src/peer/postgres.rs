//! The PostgreSQL peer.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use tempfile::TempDir;

use super::{
    debian::DebianPackages,
    install::{install_once, peers_folder, run},
};
use crate::{Authority, Certificate};

const PACKAGES: DebianPackages = DebianPackages {
    packages: &["postgresql"],
};

/// What it writes when it takes connections.
const READY: &str = "database system is ready to accept connections";
/// How often a server is started that finds its port or its memory still in use.
const STARTS: usize = 100;

/// Runs a program until standard input ends, which it does when the test's process does, however
/// that ends. Then nobody else removes its folder, unless something was written.
const GUARD: &str = r#"folder=$1; shift
"$@" </dev/null 2>&1 & server=$!
keep=$(cat)
kill -QUIT $server 2>/dev/null
wait $server
[ -n "$keep" ] || rm -rf "$folder""#;

/// A PostgreSQL server of Debian's package `postgresql`, whatever version that is.
///
/// It listens on a free port of 127.0.0.1 and takes connections in clear text and with TLS, by
/// password (SCRAM). Its settings are the package's own, so what it has confirmed is on disk. The
/// process ends with the test's. Where the package is not installed, it is fetched and unpacked
/// into cargo's target folder; nothing of the system is touched.
///
/// The server refuses to run as root; a test that does has it run as `nobody`.
///
/// ```no_run
/// use connector_testkit::peer::PostgresPeer;
///
/// let database = PostgresPeer::shared().database();
/// database.query("CREATE TABLE devices (name text); INSERT INTO devices VALUES ('PC-1')");
/// assert_eq!(database.query("SELECT name, 4 FROM devices"), ["PC-1|4"]);
/// ```
#[derive(Debug)]
pub struct PostgresPeer {
    programs: Programs,
    folder: TempDir,
    port: u16,
    authority_pem: String,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// A database of a [`PostgresPeer`], made for one test.
#[derive(Debug)]
pub struct PostgresDatabase<'a> {
    peer: &'a PostgresPeer,
    name: String,
}

/// Where the server's programs are.
#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    /// Where their libraries are, when they were unpacked.
    libraries: Option<PathBuf>,
}

impl PostgresPeer {
    /// The name of the account that may do everything.
    pub const USER: &str = "owner";
    /// Its password.
    pub const PASSWORD: &str = "Pa55 w%rd@:/'\\";

    /// Starts a server of one's own: one that is killed, or that is measured.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn start() -> Self {
        match Self::try_start() {
            Ok(peer) => peer,
            Err(error) => panic!("no PostgreSQL peer: {error}"),
        }
    }

    /// Returns the server that all tests of this process share.
    ///
    /// # Panics
    ///
    /// As [`PostgresPeer::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresPeer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn try_start() -> io::Result<Self> {
        let programs = Programs::find()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        let authority = Authority::new();
        let certificate = authority.issue(&["localhost", "127.0.0.1"]);
        fs::write(path.join("password"), Self::PASSWORD)?;
        give_away(path)?;
        let mut initdb = programs.command("initdb", path);
        initdb
            .arg("--pgdata=data")
            .arg(format!("--username={}", Self::USER))
            .args(["--pwfile=password", "--auth=scram-sha-256"])
            // Sorted otherwise than by bytes, as servers are.
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        run(&mut initdb)?;
        present(&path.join("data"), &certificate)?;
        let peer = Self {
            programs,
            folder,
            port: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            authority_pem: authority.pem(),
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        peer.run()?;
        Ok(peer)
    }

    /// Starts the server's process and waits until it takes connections.
    fn run(&self) -> io::Result<()> {
        let mut log = Vec::new();
        for _ in 0..STARTS {
            log.clear();
            if let Some(child) = self.run_once(&mut log)? {
                *self.child() = Some(child);
                return Ok(());
            }
        }
        Err(io::Error::other(format!(
            "the server does not start:\n{}",
            log.join("\n")
        )))
    }

    fn run_once(&self, log: &mut Vec<String>) -> io::Result<Option<Child>> {
        let mut server = Command::new("sh");
        self.programs.set_up(&mut server, self.folder.path());
        let mut child = server
            .args(["-c", GUARD, "sh"])
            .arg(self.folder.path())
            .arg(self.programs.folder.join("postgres"))
            .args(["-D", "data", "-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "ssl=on", "-c", "max_connections=200"])
            .args(["-c", "lc_messages=C", "-c", "logging_collector=off"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines =
            BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
        for line in &mut lines {
            let line = line?;
            let failed = line.contains("FATAL");
            let ready = line.contains(READY);
            log.push(line);
            if failed {
                break;
            }
            if ready {
                // The server's log is read on, so that it never waits for a reader.
                thread::spawn(move || lines.for_each(drop));
                return Ok(Some(child));
            }
        }
        end(&mut child);
        Ok(None)
    }

    /// Makes a database.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub fn database(&self) -> PostgresDatabase<'_> {
        let name = format!("test{}", self.databases.fetch_add(1, Relaxed));
        let made = format!("CREATE DATABASE {name}");
        if let Err(error) = self.psql("postgres", &made) {
            panic!("{error}");
        }
        PostgresDatabase { peer: self, name }
    }

    /// Kills the server as a power cut does (SIGKILL): no process of it does anything more.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn kill(&self) {
        let first = fs::read_to_string(self.folder.path().join("data/postmaster.pid"))
            .ok()
            .and_then(|text| text.lines().next()?.parse().ok())
            .expect("the server runs");
        // A process that serves a connection lives on for a moment when the first one is gone, and
        // could commit. The first one is stopped meanwhile, so that it starts no others.
        signal("STOP", first);
        for child in children(first) {
            signal("KILL", child);
        }
        signal("KILL", first);
        if let Some(mut child) = self.child().take() {
            end(&mut child);
        }
    }

    /// Starts the server again, at the same port.
    ///
    /// # Panics
    ///
    /// When it does not start: with what it wrote.
    pub fn restart(&self) {
        if let Some(mut child) = self.child().take() {
            end(&mut child);
        }
        if let Err(error) = self.run() {
            panic!("{error}");
        }
    }

    /// Returns the port of 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the certificate, as PEM, of the authority that signed the server's.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn psql(&self, database: &str, sql: &str) -> io::Result<String> {
        let mut psql = self.programs.command("psql", self.folder.path());
        psql.env("PGPASSWORD", Self::PASSWORD)
            .env("PGSSLMODE", "disable")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", Self::USER, "-d", database])
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["-P", "null=NULL", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        run(&mut psql)
    }
}

impl Drop for PostgresPeer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            end(&mut child);
        }
    }
}

impl PostgresDatabase<'_> {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how clients are told of it, with user and password.
    pub fn url(&self) -> String {
        let (user, port) = (PostgresPeer::USER, self.peer.port);
        let mut url = format!("postgresql://{user}:");
        for byte in PostgresPeer::PASSWORD.bytes() {
            // Writing to a `String` can't fail.
            let _ = write!(url, "%{byte:02X}");
        }
        let _ = write!(url, "@127.0.0.1:{port}/{}", self.name);
        url
    }

    /// Runs SQL as a person would, with the server's own client, and returns a line for each row:
    /// its cells with `|` between them.
    ///
    /// # Panics
    ///
    /// When the server refuses, with what it says.
    pub fn query(&self, sql: &str) -> Vec<String> {
        match self.peer.psql(&self.name, sql) {
            Ok(lines) => lines.lines().map(str::to_owned).collect(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends a signal to a process of ours.
fn signal(name: &str, process: u32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status();
    assert!(sent.is_ok_and(|sent| sent.success()), "can't kill");
}

/// Finds the processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("Linux has it");
    let is_child = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Number, name in brackets, state, number of the parent.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(is_child)
        .collect()
}

/// Ends a server and keeps its folder.
fn end(child: &mut Child) {
    // Both fail only for a process that has ended.
    let _ = child.stdin.take().map(|mut input| input.write_all(b"keep"));
    let _ = child.wait();
}

impl Programs {
    /// Finds those of the system, or else unpacks the package.
    fn find() -> io::Result<Self> {
        if let Some(folder) = newest(Path::new("/usr/lib/postgresql")) {
            return Ok(Self {
                folder,
                libraries: None,
            });
        }
        let folder = peers_folder()?.join("postgresql");
        install_once(&folder, || PACKAGES.unpack(&folder).map(drop))?;
        let root = folder.join("root");
        let libraries = fs::read_dir(root.join("usr/lib"))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.join("libpq.so.5").exists());
        match newest(&root.join("usr/lib/postgresql")) {
            Some(folder) => Ok(Self { folder, libraries }),
            None => Err(io::Error::other(format!(
                "no server in {}: remove that folder to have it fetched again",
                folder.display()
            ))),
        }
    }

    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        self.set_up(&mut command, folder);
        command
    }

    fn set_up(&self, command: &mut Command, folder: &Path) {
        command.current_dir(folder);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        unprivileged(command);
    }
}

/// The programs of the newest version in a folder that has one of each version.
fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(number)
        .map(|version| version.join("bin"))
}

/// Has the server present a certificate to clients that ask for TLS.
fn present(data: &Path, certificate: &Certificate) -> io::Result<()> {
    let chain = data.join("server.crt");
    fs::write(&chain, certificate.pem())?;
    give_away(&chain)?;
    let key = data.join("server.key");
    let mut file = fs::File::options()
        .create_new(true)
        .append(true)
        .open(&key)?;
    private(&file)?;
    file.write_all(certificate.key_pem().as_bytes())?;
    give_away(&key)
}

/// The account that the server runs as in tests that run as root: `nobody`.
#[cfg(unix)]
const NOBODY: u32 = 65534;

/// Tells whether this process runs as root.
#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // What this process makes belongs to who runs it.
    tempfile::tempfile().is_ok_and(|file| file.metadata().is_ok_and(|made| made.uid() == 0))
}

#[cfg(unix)]
fn unprivileged(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Gives a file, or a folder and what is in it, to the account that the server runs as.
#[cfg(unix)]
fn give_away(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::chown;
    if !is_root() {
        return Ok(());
    }
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path())?;
        }
    }
    chown(path, Some(NOBODY), Some(NOBODY))
}

#[cfg(unix)]
fn private(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

// Debian's packages run on Linux; elsewhere there is nothing to drop.
#[cfg(not(unix))]
fn unprivileged(_: &mut Command) {}

#[cfg(not(unix))]
fn give_away(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn private(_: &fs::File) -> io::Result<()> {
    Ok(())
}
