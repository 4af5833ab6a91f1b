//! What systemd itself says of a unit.

use std::{fs, io, path::Path, process::Command};

use super::{
    debian::DebianPackages,
    install::{install_once, peers_folder},
};

const PACKAGES: DebianPackages = DebianPackages {
    packages: &["systemd"],
};

/// Has `systemd-analyze` of Debian's packages look at a unit that is in a file, and returns what it
/// prints: of `verify` all that it has to say against the unit. Nothing is installed into the
/// system, and no systemd needs to run.
///
/// # Panics
///
/// When it can't be had: with what was printed, and what to do.
///
/// # Errors
///
/// What it prints, when it refuses the unit.
pub fn systemd_analyze(arguments: &[&str], unit: &Path) -> Result<String, String> {
    let done = analyze().and_then(|mut command| command.args(arguments).arg(unit).output());
    let done = match done {
        Ok(done) => done,
        Err(error) => panic!("no systemd-analyze: {error}"),
    };
    let printed = [done.stdout, done.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if done.status.success() {
        Ok(printed)
    } else {
        Err(printed)
    }
}

fn analyze() -> io::Result<Command> {
    let folder = peers_folder()?.join("systemd");
    install_once(&folder, || PACKAGES.unpack(&folder).map(drop))?;
    let root = folder.join("root");
    let program = root.join("usr/bin/systemd-analyze");
    if !program.exists() {
        // What the system has is not unpacked.
        return Ok(Command::new("systemd-analyze"));
    }
    // Its libraries are in the folder of the machine's kind, and its own in one below that.
    let mut libraries = Vec::new();
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let folder = entry?.path();
        libraries.extend([folder.join("systemd"), folder]);
    }
    let libraries = std::env::join_paths(libraries).map_err(io::Error::other)?;
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries);
    Ok(command)
}
