//! Small files with keys in them: replaced in one step, readable by their owner only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Reads a whole file; none when there is none. Blocks.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Replaces a file, or makes it: a crash leaves the old one or the new one. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    // One that a crash has left may have been anybody's.
    remove(&new)?;
    let mut file = create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    #[expect(
        clippy::disallowed_methods,
        reason = "files of the store may be read by others, this one may not"
    )]
    fs::rename(&new, path)?;
    sync(folder)
}

/// Removes a file, if it is there. Blocks.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the file, and takes everybody's rights but those of its owner and of the system before
/// anything is written.
#[cfg(windows)]
fn create(path: &Path) -> io::Result<fs::File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // By their ids, since names differ with the language: owner rights, and the system.
    let limited = std::process::Command::new("icacls")
        .arg(path)
        .args(["/inheritance:r", "/grant:r", "*S-1-3-4:F", "*S-1-5-18:F"])
        .stdout(std::process::Stdio::null())
        .status()?;
    if limited.success() {
        Ok(file)
    } else {
        Err(io::Error::other("icacls can't limit who reads the file"))
    }
}

#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// NTFS journals names; a folder can't be synced there.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "the twin on Unix can fail")]
fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_reads_it_and_a_crash_s_leftover_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("key.json");
        assert_eq!(read(&path).unwrap(), None);
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), text.as_bytes());
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            fs::write(path.with_extension("new"), "half").unwrap();
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
