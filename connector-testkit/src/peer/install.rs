//! Folders that are installed once and used by every later run.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// What is written last, so that a folder without it was never finished.
pub(super) const COMPLETE: &str = "complete";

/// Makes a folder with `install`, unless that was done before.
///
/// One process installs at a time, and a folder that was left half made is made again.
pub(super) fn install_once(
    folder: &Path,
    install: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.with_extension("lock"))?;
    // Released when the file is closed, whatever becomes of this process.
    lock.lock()?;
    if folder.join(COMPLETE).exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    install()?;
    fs::write(folder.join(COMPLETE), "")
}

/// Runs a command to its end and returns what it wrote.
pub(super) fn run(command: &mut Command) -> io::Result<String> {
    let shown = format!("{command:?}");
    let done = command
        .output()
        .map_err(|error| io::Error::other(format!("can't run {shown}: {error}")))?;
    let written = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(written);
    }
    let failure = String::from_utf8_lossy(&done.stderr);
    let status = done.status;
    Err(io::Error::other(format!(
        "{shown} failed ({status}):\n{written}{failure}"
    )))
}

/// The folder `peers` in cargo's target folder, which the running test stands in, or else in the
/// user's cache.
pub(super) fn peers_folder() -> io::Result<PathBuf> {
    let test = env::current_exe()?;
    // Cargo marks its target folder as a cache.
    let target = test.ancestors().find(|a| a.join("CACHEDIR.TAG").exists());
    let cache = target.map(Path::to_path_buf).or_else(user_cache);
    let cache = cache.ok_or_else(|| {
        io::Error::other(format!(
            "{} is in no target folder of cargo, and there is no home folder to install into",
            test.display()
        ))
    })?;
    Ok(cache.join("peers"))
}

fn user_cache() -> Option<PathBuf> {
    let folder = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else {
        variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
    };
    Some(folder?.join("datasync-tests"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| value != OsStr::new(""))
        .map(PathBuf::from)
}
