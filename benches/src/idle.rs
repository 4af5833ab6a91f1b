//! A host that waits.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Instant,
};

use wait4::Wait4;

use crate::{Data, Inventory, Order, Result, Usage};

/// Starts `datasync run` over a small file and returns how long it took until it was ready
/// (`wall`) and what it keeps in memory once its first cycle is done (`peak`).
///
/// # Errors
///
/// When the host ends by itself.
#[expect(clippy::disallowed_methods, reason = "a measurement measures time")]
pub fn idle(data: &Data) -> Result<Usage> {
    let inbox = data.inbox(Inventory::new(1000, Order::Key))?;
    let folder = data.empty("idle")?;
    std::fs::create_dir(&folder)?;
    let config = folder.join("datasync.toml");
    let settings = format!(
        "state = 'state'\n\
         [sink.repository]\nkind = 'sqlite'\npath = 'repository.db'\n\
         [connector.bench]\nkind = 'fileupload'\nfolder = '{}'\nevery = '1h'\n",
        inbox.display()
    );
    std::fs::write(&config, settings)?;

    let mut host = data.work("host", []);
    host.args(["run", "--config"]).arg(config);
    let start = Instant::now();
    let mut host = host
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = host.stderr.take().ok_or("the host has no log")?;
    let mut lines = BufReader::new(log).lines();
    let mut wait_for = |words: &str| -> Result<()> {
        for line in &mut lines {
            if line?.contains(words) {
                return Ok(());
            }
        }
        Err(format!("the host ended before it logged `{words}`").into())
    };
    let ready = wait_for("Running connector").map(|()| start.elapsed());
    let resident = wait_for("Done syncing").map(|()| resident(&host));
    host.kill()?;
    let used = host.wait4()?;
    Ok(Usage {
        cpu: used.rusage.utime + used.rusage.stime,
        peak: resident?.unwrap_or(used.rusage.maxrss),
        wall: ready?,
        report: crate::Report::new(),
    })
}

/// What a process keeps in memory; where nobody can tell, its peak is taken instead.
#[cfg(target_os = "linux")]
fn resident(process: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

#[cfg(not(target_os = "linux"))]
fn resident(_: &Child) -> Option<u64> {
    None
}
