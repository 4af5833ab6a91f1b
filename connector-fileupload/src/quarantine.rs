//! The side file of bad rows.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use connector_core::{Error, FileStorage, Result, Storage, WriteFile};
use csv::Writer;

use crate::{
    bad::BadRow, config::BadRows as Policy, datasets::Files, file::failed, record::Record,
};

/// The folder below the connector's folder; hidden, so that it is not read as data.
const FOLDER: &str = ".quarantine";

/// Keeps two reads at once, in one process or two, from writing one temporary file.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes bad rows to `.quarantine/DATASET.csv`, which is replaced as a whole by each read.
pub(crate) struct Quarantine {
    storage: FileStorage,
    temporary: String,
    path: String,
    rows: Option<Writer<Sequential>>,
    committed: bool,
}

/// Turns the store's kind of file into the standard library's.
struct Sequential(Box<dyn WriteFile>);

impl io::Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn storage(folder: &Path) -> FileStorage {
    FileStorage::new(folder.join(FOLDER))
}

fn path(files: &Files) -> String {
    format!("{}.csv", files.name)
}

impl Quarantine {
    /// Begins a file with the columns `reason`, `file`, `line` and those given.
    ///
    /// # Errors
    ///
    /// When the folder can't be written to.
    pub(crate) fn begin(files: &Files, columns: &[String]) -> Result<Self> {
        let storage = storage(&files.folder);
        let path = path(files);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let temporary = format!("{path}.{process}-{next}.tmp");
        let file = storage
            .create(&temporary)
            .map_err(|error| unwritable(&storage, &path, error))?;
        // Rows of a wrong length are what this is for.
        let rows = csv::WriterBuilder::new()
            .flexible(true)
            .from_writer(Sequential(file));
        let mut quarantine = Self {
            storage,
            temporary,
            path,
            rows: Some(rows),
            committed: false,
        };
        let header = ["reason", "file", "line"].into_iter();
        quarantine.write(
            header
                .chain(columns.iter().map(String::as_str))
                .map(str::as_bytes),
        )?;
        Ok(quarantine)
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub(crate) fn add(
        &mut self,
        record: &Record,
        file: &str,
        line: u64,
        bad: &BadRow,
    ) -> Result<()> {
        let (reason, line) = (bad.to_string(), line.to_string());
        let leading = [reason.as_bytes(), file.as_bytes(), line.as_bytes()];
        self.write(leading.into_iter().chain(record.iter()))
    }

    fn write<'a>(&mut self, cells: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        rows.write_record(cells)
            .map_err(|error| unwritable(&self.storage, &self.path, error.into()))
    }

    /// Puts the file in the place of the last read's; returns where it is.
    ///
    /// # Errors
    ///
    /// When the folder can't be written to.
    pub(crate) fn commit(mut self) -> Result<String> {
        if let Some(mut rows) = self.rows.take() {
            rows.flush()
                // Closed before it is renamed, as Windows demands.
                .map(|()| drop(rows))
                .and_then(|()| self.storage.rename(&self.temporary, &self.path))
                .map_err(|error| unwritable(&self.storage, &self.path, error))?;
        }
        self.committed = true;
        Ok(self.storage.locate(&self.path))
    }

    /// Removes the last read's file: no row is bad any more.
    ///
    /// # Errors
    ///
    /// When the folder can't be written to.
    pub(crate) fn clear(files: &Files) -> Result<()> {
        if files.settings.bad_rows != Policy::Quarantine {
            return Ok(());
        }
        let (storage, path) = (storage(&files.folder), path(files));
        match storage.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unwritable(&storage, &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// A read that failed leaves the last read's file as it is.
impl Drop for Quarantine {
    fn drop(&mut self) {
        if !self.committed {
            drop(self.rows.take());
            // What can't be removed is hidden, and says by its name what it is.
            let _ = self.storage.remove(&self.temporary);
        }
    }
}

fn unwritable(storage: &FileStorage, path: &str, error: io::Error) -> Error {
    failed("the quarantine of bad rows can't be written", error)
        .with("file", PathBuf::from(storage.locate(path)).display())
}
