//! The files of a data set, and whether they stayed as they were.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use connector_core::{Error, ErrorKind, Result, Retry};

/// A file below the connector's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceFile {
    /// Its path relative to the folder, with `/` between the parts: what messages show.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl SourceFile {
    /// Takes a path below `folder`.
    pub(crate) fn new(folder: &Path, path: PathBuf) -> Self {
        let parts = path.strip_prefix(folder).unwrap_or(&path).components();
        let parts: Vec<_> = parts
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        Self {
            name: parts.join("/"),
            path,
        }
    }

    /// Returns the name's extension in lower case.
    pub(crate) fn extension(&self) -> Option<String> {
        let extension = Path::new(&self.name).extension()?;
        Some(extension.to_string_lossy().to_lowercase())
    }

    /// Says what an error of the file system means for a file that was listed.
    pub(crate) fn failed(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::NotFound {
            return Error::new(
                ErrorKind::NotFound,
                "the file vanished after the folder was listed",
            )
            .with("file", &self.name)
            .with_source(error);
        }
        failed("the file can't be read", error).with("file", &self.name)
    }
}

/// Gives an error of the file system its kind.
pub(crate) fn failed(message: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        // A share that is away, or a program that holds the file.
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, message).with_source(error)
}

/// Does some work on files that must not change meanwhile.
///
/// # Errors
///
/// [`ErrorKind::Incomplete`] naming the file that changed or is gone, which is the reason for
/// whatever else went wrong with it; else what the work returns.
pub(crate) fn while_unchanged<T>(
    files: &[SourceFile],
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let stamps = Stamps::take(files)?;
    match work() {
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        outcome => stamps.verify().and(outcome),
    }
}

/// What files looked like before they were read.
struct Stamps<'a>(Vec<(&'a SourceFile, Stamp)>);

#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    /// None where the file system does not keep it.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn take(file: &SourceFile) -> Result<Self> {
        let metadata = fs::metadata(&file.path).map_err(|error| file.failed(error))?;
        Ok(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

impl<'a> Stamps<'a> {
    /// Looks at every file.
    fn take(files: &'a [SourceFile]) -> Result<Self> {
        files
            .iter()
            .map(|file| Ok((file, Stamp::take(file)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Looks again. Files are one snapshot only if none of them changed until the last was read.
    fn verify(&self) -> Result<()> {
        for (file, before) in &self.0 {
            if Stamp::take(file)? != *before {
                return Err(Error::new(
                    ErrorKind::Incomplete,
                    "the file changed while it was read; write it under a name that begins with a \
                     dot and rename it when it is whole",
                )
                .with("file", &file.name)
                .with_retry(Retry::Backoff));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_and_a_loss_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "a\n1\n").unwrap();
        let files = [SourceFile::new(folder.path(), path.clone())];

        let stamps = Stamps::take(&files).unwrap();
        stamps.verify().unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let touched = fs::File::options().write(true).open(&path).unwrap();
        let later = written + std::time::Duration::from_secs(2);
        touched.set_modified(later).unwrap();
        let error = stamps.verify().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        assert!(error.to_string().ends_with("(file: a.csv)"), "{error}");

        touched.set_modified(written).unwrap();
        stamps.verify().unwrap();
        touched.set_len(2).unwrap();
        touched.set_modified(written).unwrap();
        assert_eq!(stamps.verify().unwrap_err().kind(), ErrorKind::Incomplete);

        fs::remove_file(&path).unwrap();
        let error = stamps.verify().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("vanished"));
    }

    #[test]
    fn names_are_relative_with_slashes() {
        let folder = Path::new("inbox");
        let file = SourceFile::new(folder, folder.join("north").join("Devices.v2.TSV"));
        assert_eq!(file.name, "north/Devices.v2.TSV");
        assert_eq!(file.extension().as_deref(), Some("tsv"));
    }
}
