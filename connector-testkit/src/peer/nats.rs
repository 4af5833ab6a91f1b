//! The NATS peers.

use std::{
    fmt::Write as _,
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::json;
use tempfile::TempDir;

use super::{
    debian::DebianPackages,
    install::{install_once, peers_folder},
    process::Process,
};

const PACKAGES: DebianPackages = DebianPackages {
    packages: &["nats-server"],
};

/// Runs a server until it is told the signal to end it with; with nobody left to tell, kills it.
const GUARD: &str =
    r#""$@" 2>&1 & server=$!; read -r signal; kill -s "${signal:-KILL}" $server; wait; echo gone"#;
const GONE: &str = "gone";

const READY: &str = "Server is ready";
/// What each server of a cluster writes once JetStream can be asked.
const LED: &str = "metadata leader";

/// A NATS server with JetStream that others wrote: `nats-server` of Debian, version 2.9.10 in
/// Debian 12.
///
/// It listens on a free port of 127.0.0.1 and keeps its data in a temporary folder. The process ends
/// when this is dropped. The first test that needs it fetches it with `apt-get` and unpacks it in
/// cargo's target folder.
///
/// # What it does
///
/// Found by asking it, version 2.9.10:
///
/// | asked | answered |
/// | --- | --- |
/// | a message whose id is within the window of the stream | an acknowledgement, `duplicate`, with the place of the first one |
/// | the same after the server was stopped and started | the same: ids are read from the messages again |
/// | a message to an API that the account may not ask | nothing; an error of the connection tells which subject |
/// | a message with no stream for its subject | `no responders` |
#[derive(Debug)]
pub struct NatsServer {
    name: String,
    port: u16,
    folder: TempDir,
    process: Mutex<Option<Process>>,
    /// The line that says that it can be used.
    usable: &'static str,
}

impl NatsServer {
    /// Installs the peer if that was not done before, and starts it.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same, with more lines of configuration, as nats-server reads it.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn with(settings: &str) -> Self {
        let start = || {
            let [port] = free_ports()?;
            let server = Self::new("alone", port, settings, READY)?;
            server.run()?;
            Ok(server)
        };
        expect(start())
    }

    fn new(name: &str, port: u16, settings: &str, usable: &'static str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut text = format!("server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n");
        let store = json!(folder.path().join("data"));
        let _ = writeln!(text, "jetstream {{ store_dir: {store} }}\n{settings}");
        fs::write(folder.path().join(CONFIG), text)?;
        Ok(Self {
            name: name.to_owned(),
            port,
            folder,
            process: Mutex::new(None),
            usable,
        })
    }

    /// Starts the process; it may take until others are there before it can be used.
    fn spawn(&self) -> io::Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(program()?).arg("-c");
        let process = Process::start(command.arg(self.folder.path().join(CONFIG)))?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let process = process.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut written = Vec::new();
        loop {
            let line = process
                .line()
                .map_err(|error| io::Error::other(format!("{error}\n{}", written.join("\n"))))?;
            if line.contains(self.usable) {
                return Ok(());
            }
            let failed = line.contains("[FTL]") || line.starts_with("nats-server:");
            written.push(line);
            if failed {
                return Err(io::Error::other(written.join("\n")));
            }
        }
    }

    fn run(&self) -> io::Result<()> {
        self.spawn()?;
        self.wait()
    }

    fn end(&self, signal: &str) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut process) = process.take() {
            process.tell(signal)?;
            while process.line()? != GONE {}
        }
        Ok(())
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns its name, by which a cluster tells who leads a stream.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops it as its administrator does: what it has acknowledged is in its files.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn stop(&self) {
        expect(self.end("TERM"));
    }

    /// Kills it as when the process dies.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn kill(&self) {
        expect(self.end("KILL"));
    }

    /// Starts it again, on the same port and with the data that it left.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&self) {
        expect(self.run());
    }

    /// Forgets all its data; it must have been ended before.
    ///
    /// # Panics
    ///
    /// When the folder can't be removed.
    pub fn erase(&self) {
        expect(fs::remove_dir_all(self.folder.path().join("data")));
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // The guard kills it too when its input ends, but nobody would wait for that.
        let _ = self.end("KILL");
    }
}

/// Three NATS servers in a cluster, so that a stream of three replicas outlives any one of them.
#[derive(Debug)]
pub struct NatsCluster {
    servers: [NatsServer; 3],
}

impl NatsCluster {
    /// Installs the peer if that was not done before, and starts three of it.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn start() -> Self {
        let start = || {
            let ports: [u16; 6] = free_ports()?;
            let routes: Vec<_> = ports[3..]
                .iter()
                .map(|port| format!("\"nats-route://127.0.0.1:{port}\""))
                .collect();
            let server = |i: usize| {
                let settings = format!(
                    "cluster {{ name: three, listen: \"127.0.0.1:{}\", routes: [{}] }}",
                    ports[3 + i],
                    routes.join(", ")
                );
                NatsServer::new(&format!("n{}", i + 1), ports[i], &settings, LED)
            };
            let servers = [server(0)?, server(1)?, server(2)?];
            servers.iter().try_for_each(NatsServer::spawn)?;
            servers.iter().try_for_each(NatsServer::wait)?;
            Ok(Self { servers })
        };
        expect(start())
    }

    /// Returns the addresses of all three.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Returns one of them, by its name.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    pub fn server(&self, name: &str) -> &NatsServer {
        let found = self.servers.iter().find(|server| server.name == name);
        found.unwrap_or_else(|| panic!("no server of the cluster is called {name}"))
    }
}

const CONFIG: &str = "nats.conf";

fn expect<T>(outcome: io::Result<T>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("no NATS peer: {error}"),
    }
}

/// Ports that nobody listens on. Held together, so that no two are the same.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Returns the program, once it is unpacked.
fn program() -> io::Result<PathBuf> {
    let folder = peers_folder()?.join("nats");
    install_once(&folder, || PACKAGES.unpack(&folder).map(drop))?;
    let unpacked = folder.join("root/usr/sbin/nats-server");
    // Nothing is unpacked of what the system has.
    let installed = Path::new("/usr/sbin/nats-server");
    Ok(if unpacked.exists() {
        unpacked
    } else {
        installed.to_owned()
    })
}
