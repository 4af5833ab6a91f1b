//! Counts what a cycle writes and what it sends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use connector_core::{
    ChangeEvent, CycleId, FileStorage, ReadFile, Result, Sink, Storage, WriteFile,
};

/// The state folder, with a count of all bytes that are written to it: segments, manifests and
/// what is only there for a moment.
#[derive(Debug)]
pub(crate) struct CountedStorage {
    files: FileStorage,
    written: Arc<AtomicU64>,
}

impl CountedStorage {
    /// Takes the folder and where to count.
    pub(crate) fn new(files: FileStorage, written: Arc<AtomicU64>) -> Self {
        Self { files, written }
    }
}

impl Storage for CountedStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(CountedFile {
            file: self.files.create(path)?,
            written: Arc::clone(&self.written),
        }))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn ReadFile>> {
        self.files.open(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.remove(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.files.list(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }

    fn lock(&self, holder: &str) -> io::Result<Box<dyn Send + Sync>> {
        self.files.lock(holder)
    }

    fn locate(&self, path: &str) -> String {
        self.files.locate(path)
    }
}

struct CountedFile {
    file: Box<dyn WriteFile>,
    written: Arc<AtomicU64>,
}

impl WriteFile for CountedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Takes events and drops them: what a cycle costs without what its receiver does.
pub(crate) struct NoSink;

#[async_trait]
impl Sink for NoSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        std::hint::black_box(events);
        Ok(())
    }

    async fn commit(&mut self, _: &CycleId) -> Result<()> {
        Ok(())
    }
}
