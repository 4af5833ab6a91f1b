//! Prism: a server that holds requests against an OpenAPI document.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{node::NodePackages, process::Process};

/// What Microsoft Graph expects of the requests that our connectors send, as an OpenAPI document.
pub const GRAPH_CONTRACT: &str = include_str!("../../peers/graph-openapi.yaml");

/// What ServiceNow's Table API expects of the requests that our connector sends, as an OpenAPI
/// document.
pub const SERVICENOW_CONTRACT: &str = include_str!("../../peers/servicenow-openapi.yaml");

const PACKAGES: NodePackages = NodePackages {
    name: "prism",
    files: &[
        (
            "package.json",
            include_str!("../../peers/prism/package.json"),
        ),
        (
            "package-lock.json",
            include_str!("../../peers/prism/package-lock.json"),
        ),
        (SCRIPT, include_str!("../../peers/prism/serve.js")),
    ],
};
const SCRIPT: &str = "serve.js";
const LISTENING: &str = "Prism is listening on http://";
/// How long one request of ours may take: a machine under load, not a hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that knows of a source's interface what an OpenAPI document says, and that we did not
/// write: Prism 5.16.0.
///
/// It listens on a free port of 127.0.0.1 in clear text, and answers a request that keeps the
/// contract with the document's example. Any other one is a *violation*. The process ends when
/// this is dropped, and that panics, so fails the test, if there are violations that
/// [`violations`](Self::violations) has not returned.
///
/// # What it does
///
/// Found by asking it, version 5.16.0:
///
/// | asked | answered |
/// | --- | --- |
/// | no bearer where the document wants one | 401 |
/// | a parameter that is missing, or of the wrong type, length, pattern or word; each item of a list | 422 |
/// | a body without a required property, or with a wrong one; of JSON and of forms | 422 |
/// | a body of another type than the document's | 415 |
/// | an unknown path; a method that the path does not have | 404; 405 |
/// | a query parameter that the document does not have | accepted: declare with `not: {}` what must not be sent |
/// | names and words of the query percent-encoded, `%24select=id%2CdisplayName` | as if they were not |
/// | quotes of a path percent-encoded, `exportJobs(%27id%27)` | 422: it compares them as they are |
/// | the bearer's value | any |
/// | an example that does not keep its own schema | 500, a violation, too |
/// | state: pages, jobs that end, times | none |
///
/// Needs Node.js from 20.19 on, with `npm`, and the npm registry once.
pub struct Prism {
    log: Mutex<Log>,
    address: SocketAddr,
    /// Holds the document.
    _folder: TempDir,
}

impl Prism {
    /// Installs Prism if that was not done before, starts it with an OpenAPI document in YAML or
    /// JSON, and waits until it listens.
    ///
    /// Blocks the thread for a second or two, and for the time of a download once.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started, or the document is not valid: with what was printed,
    /// and what to do.
    pub fn start(document: &str) -> Self {
        match Self::try_start(document) {
            Ok(prism) => prism,
            Err(error) => panic!("no Prism: {error}"),
        }
    }

    fn try_start(document: &str) -> io::Result<Self> {
        let script = PACKAGES.folder()?.join(SCRIPT);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("contract.yaml");
        fs::write(&file, document)?;
        let mut node = Command::new("node");
        // The log is read, so it is without colours, whatever the environment says.
        node.arg(script).arg(file).env("FORCE_COLOR", "0");
        let mut log = Log {
            process: Process::start(&mut node)?,
            times_read: 0,
        };
        Ok(Self {
            address: log.address()?,
            log: Mutex::new(log),
            _folder: folder,
        })
    }

    /// Returns the address of a path, which begins with `/`, and a query if there is one.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns what was wrong with the requests that were answered since the last call, in the
    /// words of Prism's log: a line for each rule that was broken, and one for the request.
    ///
    /// # Panics
    ///
    /// When Prism has ended.
    pub fn violations(&self) -> Vec<String> {
        match self.log().violations(self.address) {
            Ok(violations) => violations,
            Err(error) => panic!("{error}"),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        // A test that fails already says why.
        if !thread::panicking() {
            let violations = self.violations();
            assert!(
                violations.is_empty(),
                "requests that break the contract:\n{}",
                violations.join("\n")
            );
        }
    }
}

struct Log {
    process: Process,
    times_read: u32,
}

impl Log {
    /// Reads until Prism says where it listens.
    fn address(&mut self) -> io::Result<SocketAddr> {
        let mut said = Vec::new();
        loop {
            let line = self.process.line().map_err(|error| {
                io::Error::other(format!(
                    "{error}\n{}\nIt needs Node.js 20.19 or newer.",
                    said.join("\n")
                ))
            })?;
            if let Some((_, address)) = line.split_once(LISTENING) {
                return address.trim().parse().map_err(io::Error::other);
            }
            said.push(line);
        }
    }

    /// Prism answers before it writes its log, so a request of our own marks the end.
    fn violations(&mut self, address: SocketAddr) -> io::Result<Vec<String>> {
        self.times_read += 1;
        // Deeper than a template of any document.
        let mark = format!("/-/-/-/-/-/-/-/-/-/-/log-{}", self.times_read);
        send(address, &mark)?;
        let mut violations = Vec::new();
        loop {
            let line = self.process.line()?;
            let Some(violation) = violation(&line) else {
                continue;
            };
            if violation.contains(&mark) {
                return Ok(violations);
            }
            violations.push(violation);
        }
    }
}

/// A line of the log without its time, if it tells of a violation.
fn violation(line: &str) -> Option<String> {
    let (_time, said) = line.split_once('›')?;
    let words: Vec<_> = said.split_whitespace().collect();
    let is_level = |level| words.contains(&level);
    let validates = words.first() == Some(&"[VALIDATOR]");
    (is_level("error") || (validates && is_level("warning"))).then(|| words.join(" "))
}

fn send(address: SocketAddr, path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
