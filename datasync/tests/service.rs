//! The host as a service: what it answers, what it logs, how it is installed.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use connector_testkit::peer::systemd_analyze;
use tempfile::TempDir;

const CONFIG: &str = r#"
log = { folder = "logs", keep = 2 }
health = { listen = "127.0.0.1:0" }

[sink.repository]
kind = "sqlite"
path = "repository.db"

[connector.hr]
kind = "fileupload"
folder = "inbox"
every = "1h"
"#;

fn lab() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    fs::write(folder.path().join("datasync.toml"), CONFIG).unwrap();
    let devices = "name,cores\nPC-1,4\nPC-2,8\n";
    fs::write(folder.path().join("inbox/devices.csv"), devices).unwrap();
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datasync"));
    command.args(arguments).current_dir(folder);
    command
}

/// Ends the host, whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fetch(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_asks_is_told_how_it_goes_and_the_log_is_in_a_file() {
    let folder = lab();
    let mut child = command(folder.path(), &["run"]);
    let mut running = Running(child.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let mut line = |wanted: &str| loop {
        let line = log.next().unwrap().unwrap();
        if line.contains(wanted) {
            break line;
        }
    };
    let health = line("Health at");
    let address = health.split("http://").nth(1).unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    line("Done syncing data set devices");
    // What is answered is taken in after the line is written; both are moments.
    let metrics = loop {
        let metrics = fetch(&address, "/metrics");
        if metrics.contains("datasync_cycles_total{") {
            break metrics;
        }
    };
    let of = r#"{connector="hr",dataset="devices""#;
    for line in [
        format!("datasync_rows{of}}} 2"),
        format!(r#"datasync_events_total{of},op="insert"}} 2"#),
        format!(r#"datasync_undelivered_cycles{of},sink="repository"}} 0"#),
        format!(r#"datasync_cycles_total{of},outcome="synced"}} 1"#),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
    assert!(metrics.contains("datasync_lag_seconds{"), "{metrics}");
    let health = fetch(&address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    assert!(health.contains(r#""status":"ok""#), "{health}");
    drop(running);

    let logs: Vec<_> = fs::read_dir(folder.path().join("logs")).unwrap().collect();
    let [Ok(file)] = &logs[..] else {
        panic!("{logs:?}");
    };
    let text = fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("Done syncing data set devices"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = lab();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = CONFIG.replace("127.0.0.1:0", &address);
    fs::write(folder.path().join("datasync.toml"), config).unwrap();
    let out = command(folder.path(), &["run"]).output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{log}");
    assert!(
        log.contains("health.listen") && log.contains(&address),
        "{log}"
    );
}

#[cfg(unix)]
#[test]
fn a_unit_is_printed_for_a_configuration_that_fits_it() {
    let folder = lab();
    let out = command(folder.path(), &["install", "--service", "--print"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{log}");
    assert!(log.contains("\"/var/lib/datasync/state\""), "{log}");

    let config = "state = '/var/lib/datasync/state'\n";
    fs::write(folder.path().join("datasync.toml"), config).unwrap();
    let out = command(folder.path(), &["install", "--service", "--print"])
        .output()
        .unwrap();
    assert!(out.status.success());
    // As systemd itself reads it, and how exposed such a service is: 10 at worst.
    let unit = folder.path().join("datasync.service");
    fs::write(&unit, out.stdout).unwrap();
    let complaints = systemd_analyze(&["verify"], &unit).unwrap();
    assert_eq!(complaints, "");
    let security = ["security", "--offline=yes", "--threshold=20", "--no-pager"];
    systemd_analyze(&security, &unit).unwrap();
}
