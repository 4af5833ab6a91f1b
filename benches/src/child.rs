//! What a process of its own used.

use std::{
    collections::BTreeMap,
    io::{Read, Write, stdout},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use wait4::Wait4;

use crate::Result;

/// What a child counted, by name. It prints a line `name=count` for each, whatever language it is
/// written in.
pub type Report = BTreeMap<String, u64>;

/// What a process used, and what it reported.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Seconds of the processor, its own and the system's for it.
    pub cpu: Duration,
    /// Bytes resident at most. Of a process with children, those of the largest of them all.
    pub peak: u64,
    /// From its start to its end.
    pub wall: Duration,
    /// What it counted.
    pub report: Report,
}

/// Runs a command to its end.
///
/// The peak of a child is never less than that of its parent when it started, which on Linux it
/// shares for a moment; so whoever measures stays small and leaves all work to children.
///
/// # Errors
///
/// When it can't be started, fails, or prints anything but a report.
#[expect(clippy::disallowed_methods, reason = "a measurement measures time")]
pub fn usage_of(command: &mut Command) -> Result<Usage> {
    let failed = |command: &Command, what: &dyn std::fmt::Display| format!("{command:?}: {what}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(command, &error))?;
    let mut printed = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut printed)?;
    }
    let used = child.wait4()?;
    let wall = start.elapsed();
    if !used.status.success() {
        return Err(failed(command, &used.status).into());
    }
    let report = read(&printed).ok_or_else(|| {
        let what = format!("not a report: {printed:?}");
        failed(command, &what)
    })?;
    Ok(Usage {
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
        wall,
        report,
    })
}

fn read(printed: &str) -> Option<Report> {
    let lines = printed.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, count) = line.split_once('=')?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .collect()
}

/// Prints a report for the parent to read.
pub(crate) fn print(report: &Report) -> Result<()> {
    let mut out = stdout().lock();
    for (name, count) in report {
        writeln!(out, "{name}={count}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_printed() {
        let report = read("inserts=3\n\nrows=1000\n").unwrap();
        assert_eq!((report["inserts"], report["rows"]), (3, 1000));
        assert!(read("Segmentation fault").is_none());
    }
}
